"""How every answer leaves: with headers that protect its reader, and every error as {"error": sentence}."""

import contextlib
import json

from starlette.datastructures import MutableHeaders

MAX_FILE = 20_000_000  # bytes of one upload; a 40-megapixel photograph as JPEG is smaller

NO_PICTURE = "This is no picture. Send the file, or data:image/png;base64,..."
NO_URL = "A URL is not fetched here. Send the file, or data:image/png;base64,..."
TOO_LARGE = f"This is larger than {MAX_FILE // 10**6} MB. Make the picture smaller and send it again."
BUSY = "Busy: try again in a moment."
NO_CALL = 'This is no call. Send JSON, {"data": [picture]}; /gradio_api/openapi.json describes it.'
NO_ANSWER = "There is no answer of this name: its call is unknown, or the answer was fetched already. Send the picture again."
BROKEN = "Something went wrong here, and it was not your picture. Try again, and tell whoever runs this server if it stays."
SENTENCES = {
    400: "This request cannot be read. Send it as /gradio_api/openapi.json describes it.",
    403: "This file is not for you. Ask for one that an answer named.",
    404: "There is nothing at this address. /gradio_api/openapi.json describes what there is.",
    408: "The request stopped halfway. Send it again.",
    413: TOO_LARGE,
    422: NO_CALL,
    503: BUSY,
}

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), display-capture=(), payment=(), usb=()",
    # Gradio's page has scripts and styles in its HTML, PixiJS compiles its own; a Space shows the page in a frame
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' "
                               "'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
                               "connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
                               "form-action 'self'; frame-ancestors 'self' https://huggingface.co https://*.hf.space",
    # any site may ask, and none is known by a cookie
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, DELETE",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "600",  # seconds
}


class Refused(Exception):
    """An HTTP status and the sentence that goes with it."""

    def __init__(self, status: int, sentence: str | None = None):
        super().__init__(sentence or SENTENCES[status])
        self.status = status


class Answer:
    """ASGI's `send` with HEADERS on everything; an error is held back and sent as {"error": sentence}."""

    def __init__(self, send):
        self.send = send
        self.verdict: Refused | None = None  # what is to be said whatever Gradio makes of it
        self.raw = False
        self.status, self.body = 0, b""  # of an error that is held back
        self.last = b""  # what was sent last
        self.started = self.ended = False

    async def __call__(self, message) -> None:
        """Send one of ASGI's messages."""
        if message["type"] == "http.response.start":
            if message["status"] >= 400 and not self.raw:
                self.status = message["status"]
                return
            headers = MutableHeaders(raw=list(message["headers"]))
            del headers["set-cookie"]
            headers.update(HEADERS)
            self.started = True
            await self.send({**message, "headers": headers.raw})
        elif self.status:
            self.body += message.get("body", b"")
            if not message.get("more_body", False):
                await self.refuse(self.verdict or Refused(self.status, self.sentence()))
        else:
            self.ended, self.last = not message.get("more_body", False), message.get("body", b"")
            await self.send(message)

    def sentence(self) -> str:
        """Return the sentence of an error of ours, or the one that goes with the status of Gradio's."""
        with contextlib.suppress(ValueError, TypeError, KeyError):
            said = json.loads(self.body)["error"]
            if isinstance(said, str):
                return said
        return SENTENCES.get(self.status, BROKEN)

    async def refuse(self, refused: Refused) -> None:
        """Answer with a status and {"error": sentence}; an answer that broke off in its middle is only brought to its end."""
        if self.ended:
            return
        body = json.dumps({"error": str(refused)}).encode() if not self.started else b""
        if not self.started:
            self.status, self.started = 0, True
            headers = {**HEADERS, "Content-Type": "application/json", "Content-Length": str(len(body)),
                       **({"Retry-After": "1"} if refused.status == 503 else {})}
            # 422 is said with a sentence of their own by some clients
            await self.send({"type": "http.response.start", "status": 400 if refused.status == 422 else refused.status, "headers": [
                (name.lower().encode(), value.encode()) for name, value in headers.items()]})
        self.ended = True
        await self.send({"type": "http.response.body", "body": body})
