"""What stands in front of all of Gradio: every request on its way in, and every answer on its way out."""

import asyncio
import contextlib
import inspect
import json
import re
import shutil
import time
import traceback
from pathlib import Path
from urllib.parse import urlsplit

import anyio  # which Gradio itself runs on
import httpx  # by which it takes addresses apart
from gradio import Blocks
from gradio.utils import get_upload_folder
from starlette.datastructures import Headers, MutableHeaders

MAX_FILE = 20_000_000  # bytes of one upload; a 40-megapixel photograph as JPEG is smaller
MAX_BODY = MAX_FILE * 4 // 3 + 1_000_000  # bytes of one request: a file of that size in base64, and what stands around it
MAX_HELD = 8 * MAX_BODY  # bytes of all calls together that are in memory at once
MAX_PARTS = 10_000  # of the JSON of a call: each takes 70 bytes, and two may stand for it; 64 pictures, told at length, have 700
LONG = 1_000_000  # letters of a text that can only be a data URL
MAX_CALLS = 100  # calls that run or wait at both doors together; more are told that the server is busy
MAX_UNREAD = 6 * MAX_CALLS  # words to callers that wait to be fetched, three to a call; an answer with a picture takes 0.4 MB
THREADS = 8  # pictures that are opened and read side by side; of the large ones, which take some hundred MB, `decode` opens one
PATIENCE = 20  # seconds that a caller may be silent in the middle of a request
FREE = 200_000_000  # bytes that uploads, and the pictures made of them, leave free on the disk
KEPT = 3600  # seconds after which an upload, and a picture made from it, is deleted
SWEEP = 600  # seconds from one deletion to the next

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

# what the page, gradio_client, @gradio/client and curl ask for; whatever else Gradio opens is closed
GET = r"/|{pages}|/(config|gradio_api/(info|app_id))/?|/(favicon\.ico|robots\.txt|manifest\.json|theme\.css)|/(assets|static)/.+" \
      r"|/gradio_api/(openapi\.json|startup-events|theme\.css|upload_progress|heartbeat/[^/]+|queue/data|file=.+)" \
      r"|/gradio_api/call/(v2/)?{names}/(?P<event>[^/]+)"
POST = r"/gradio_api/((?P<upload>upload)|(?P<small>cancel|reset)/?|(?P<queue>queue/join)" \
       r"|(?P<door>run|api|call|call/v2)/(?P<name>{names})/?)"
MCP = r"/gradio_api/mcp(/.*)?"
CALLS = tuple(f"/gradio_api/{door}" for door in ("run/", "call/", "queue/", "upload"))

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
# headers that Gradio does not get: it knows nobody, sends no part of a file, and has no second server that would name itself
UNSEEN = (b"cookie", b"origin", b"range", b"x-gradio-server")


# --- what lies in the folder of uploads -------------------------------------------------------------------------------------

@contextlib.asynccontextmanager
async def lifespan(app):
    """Put the Door around Gradio's app as it starts, and sweep up behind it; for launch(app_kwargs={"lifespan": lifespan})."""
    app.middleware_stack = Door(app.middleware_stack, app.get_blocks())
    let_everybody_in(app.router)
    look_for_calls_first(app.router)
    sweeping = asyncio.create_task(keep_sweeping(Path(get_upload_folder())))
    yield
    sweeping.cancel()


def let_everybody_in(router) -> None:
    """Ask no caller whether he has logged in: nobody has to here, and Gradio asks it in a thread for every request."""
    for route in router.routes:
        if hasattr(route, "dependencies"):  # of a route of the app's own, and of what becomes of one that was included
            route.dependencies = [each for each in route.dependencies if each.dependency.__name__ != "login_check"]
            route.dependant.dependencies = [each for each in route.dependant.dependencies if each.call.__name__ != "login_check"]
        if inner := getattr(route, "original_router", None):  # of a router that was included
            let_everybody_in(inner)


def look_for_calls_first(router) -> None:
    """Put the addresses of calls before all others: FastAPI tries one after the other, and fifty were in front."""
    def is_call(route) -> bool:
        inner = getattr(route, "original_router", None)  # of a router that was included
        return any(map(is_call, inner.routes)) if inner else getattr(route, "path", "").startswith(CALLS)

    router.routes.sort(key=is_call, reverse=True)  # stable: calls, and all others, stay in their order
    for route in router.routes:
        if inner := getattr(route, "original_router", None):
            look_for_calls_first(inner)


async def keep_sweeping(folder: Path) -> None:
    """Sweep a folder every SWEEP seconds; what lies in it now, the examples, stays."""
    ours = set(folder.rglob("*"))
    while True:
        await asyncio.sleep(SWEEP)
        with contextlib.suppress(OSError):  # a folder that went while it was looked through: next time
            await asyncio.to_thread(sweep, folder, ours)


def sweep(folder: Path, ours: set[Path]) -> None:
    """Delete what Gradio's own sweep leaves for ever: uploads that broke off, and folders without a file."""
    for path in sorted(set(folder.rglob("*")) - ours, reverse=True):  # a file before its folder
        with contextlib.suppress(OSError):  # a folder that is not empty; what somebody else deleted
            if time.time() - path.lstat().st_ctime > KEPT + SWEEP:
                path.rmdir() if path.is_dir() else path.unlink()


# --- requests -----------------------------------------------------------------------------------------------------------

class Refused(Exception):
    """An HTTP status and the sentence that goes with it."""

    def __init__(self, status: int, sentence: str | None = None):
        super().__init__(sentence or SENTENCES[status])
        self.status = status


class Door:
    """ASGI around all of Gradio: nothing passes that the product does not need, no call that is none, too large, too slow or one
    too many; every answer gets HEADERS, and every error is {"error": sentence}.
    """

    def __init__(self, app, demo: Blocks):
        self.app, self.gradio, self.queue = app, demo.app, demo._queue
        self.functions = {number for number, function in demo.fns.items() if function.fn}  # else a script's
        # the names of the public functions, each with those of its arguments, of which only the first one must be given
        self.arguments = {function.api_name: list(inspect.signature(function.fn).parameters)
                          for function in demo.fns.values() if function.api_visibility == "public"}
        names = "|".join(self.arguments)
        pages = "|".join(f"/{re.escape(page)}/?" for page, *_ in demo.pages if page)
        self.get, self.post = (re.compile(pattern.format(names=f"(?:{names})", pages=pages), re.ASCII)
                               for pattern in (GET, POST))
        self.prefix = urlsplit(demo.root_path or "").path.rstrip("/")  # before every path, behind a proxy that leaves it there
        self.mcp = re.compile(MCP if demo.mcp_server else "(?!)")  # else what nothing matches
        self.calls = 0  # calls that run in one shot, or are on their way into the queue
        self.held = 0  # bytes
        self.queued: dict[str, int] = {}  # bytes of the calls that Gradio keeps in its queue, by their names

    async def __call__(self, scope, receive, send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = Answer(send)
        try:
            await self.admit(scope, receive, answer)
        except Refused as refused:
            await answer.refuse(refused)
        except Exception:
            if answer.verdict is None:  # else it is Gradio's surprise at a body that was cut off
                traceback.print_exc()
            await answer.refuse(answer.verdict or Refused(500, BROKEN))

    async def admit(self, scope, receive, answer) -> None:
        """Pass a request on to Gradio; raise Refused for one that has no business there."""
        method, path = scope["method"], scope["path"]
        if self.prefix and path.startswith(self.prefix + "/"):
            path = path.removeprefix(self.prefix)
        if method == "OPTIONS":
            await answer({"type": "http.response.start", "status": 204, "headers": []})
            await answer({"type": "http.response.body"})
            return
        scope = {**scope, "headers": [(name, value) for name, value in scope["headers"] if name not in UNSEEN]}
        if not all(map(is_host, Headers(scope=scope).getlist("x-forwarded-host"))):
            raise Refused(400)
        if self.mcp.fullmatch(path):
            answer.raw = True  # its errors are JSON of a shape of their own
            if method == "POST":
                self.check_disk()  # Gradio writes what it is sent into files
                await self.post_call(scope, self.measured(scope, receive, answer), answer)
            else:
                await self.app(scope, receive, answer)
            return
        pattern = self.get if method in ("GET", "HEAD") else self.post if method == "POST" else None
        odd = "\0" in path or any(len(part) > 255 for part in path.split("/")) or len(scope["query_string"]) > 4000
        asked = pattern and not odd and pattern.fullmatch(path)
        if not asked:
            raise Refused(404)
        if pattern is self.get:
            self.check_get(scope, path, asked)
            await self.app(scope, receive, answer)
        elif asked["upload"]:
            self.check_disk()
            await self.app(scope, self.measured(scope, receive, answer), answer)
        else:
            if asked["queue"] or asked["name"] == "explain":  # the page, too, asks for the small pictures of the stages
                self.check_disk()
            await self.post_call(scope, self.measured(scope, receive, answer), answer, asked)

    @staticmethod
    def check_disk() -> None:
        """Raise Refused where pictures, which callers send or ask for, would fill the disk."""
        if shutil.disk_usage(Path(get_upload_folder()).parent).free < FREE:
            raise Refused(503)

    def check_get(self, scope, path: str, asked) -> None:
        """Raise Refused for a URL that a caller wants fetched, and for the answer of a call that is not there."""
        if re.match(r"/gradio_api/file=\W*[a-z]{2,}:/", path, re.IGNORECASE):
            raise Refused(403, NO_URL)
        self.gradio.api_info = None  # Gradio would tell everybody the address by which the first one asked
        waiting = self.queue.pending_event_ids_session
        if asked["event"] and not any(asked["event"] in events for events in (waiting.get(asked["event"], ()), *waiting.values())):
            raise Refused(404, NO_ANSWER)
        if path.endswith("/queue/data"):
            session = re.search(r"session_hash=([^&]*)", scope["query_string"].decode("latin-1"))
            if not session or session[1] not in self.queue.pending_messages_per_session:
                raise Refused(404, NO_ANSWER)

    async def post_call(self, scope, receive, answer, asked=None) -> None:
        """Read a call to its end, and only then let it take a place; raise Refused for one that is none, or one too many.

        `asked` is the match of POST, by which it is checked.
        """
        body, queued = bytearray(), asked and (asked["queue"] or asked["door"] in ("call", "call/v2"))
        weight = 2 if queued else 1  # Gradio keeps the bytes of what waits, and what was made of them
        try:
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise answer.verdict or Refused(408)
                part, more = message.get("body", b""), message.get("more_body", False)
                body += part
                self.held += weight * len(part)
                if self.held + self.in_queue() > MAX_HELD:
                    raise Refused(503)
            if sum(map(body.count, (b",", b"[", b"{"))) > MAX_PARTS:  # before anybody makes objects of them
                raise Refused(400, NO_CALL)
            if asked:
                self.check_call(bytes(body), asked)
            messages = [{"type": "http.request", "body": bytes(body)}]

            async def again():
                return messages.pop() if messages else await receive()

            if queued:
                self.drop_unread()
            await self.in_turn(scope, again, answer)
            if queued:
                with contextlib.suppress(ValueError, TypeError, KeyError):  # of one that was refused
                    self.queued[json.loads(answer.last)["event_id"]] = weight * len(body)
        finally:
            self.held -= weight * len(body)

    def in_queue(self) -> int:
        """Return the bytes of the calls in Gradio's queue."""
        if self.queued:
            self.queued = {event: size for event, size in self.queued.items() if event in self.queue.event_ids_to_events}
        return sum(self.queued.values())

    def check_call(self, body: bytes, asked) -> None:
        """Raise Refused for a body that is no call: it would cost memory for long, or end in an error without a sentence."""
        try:
            call = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Refused(400, NO_CALL) from error
        if len(body) > LONG and is_wide(call):
            raise Refused(400, NO_CALL)
        if asked["small"]:
            if not isinstance(call, dict) or any(type(value) not in (str, int) or len(str(value)) > 64 for value in call.values()):
                raise Refused(400)
            return
        if asked["door"] == "call/v2":
            first, *others = self.arguments[asked["name"]]
            if not isinstance(call, dict) or first not in call or not set(call) <= {first, *others}:
                raise Refused(400, f'This is no call. Send JSON, {{"{first}": ...}}; /gradio_api/openapi.json describes it.')
            return
        if not isinstance(call, dict) or not isinstance(call.get("data"), list):
            raise Refused(400, NO_CALL)
        session, number = call.get("session_hash"), call.get("fn_index")
        named = isinstance(session, str) and re.fullmatch(r"[\w-]{1,64}", session, re.ASCII)
        if not (named or session is None and not asked["queue"]):
            raise Refused(400, "This session has no name that can be kept. Give session_hash 1 to 64 letters or digits.")
        known = type(number) is int and number in self.functions  # the page asks for its examples in one shot, by their number
        if not (known or number is None and not asked["queue"]):
            raise Refused(400, "There is no function of this number. Take fn_index from /config, or call a function by its name.")

    async def in_turn(self, scope, receive, answer) -> None:
        """Pass a call on to Gradio if fewer than MAX_CALLS run or wait; raise Refused otherwise."""
        if self.calls + len(self.queue.event_ids_to_events) >= MAX_CALLS:
            raise Refused(503)
        self.forget()
        self.calls += 1
        try:
            await self.app(scope, receive, answer)
        finally:
            self.calls -= 1

    def forget(self) -> None:
        """Drop the names of calls whose answers Gradio no longer holds; it holds 2,000, and all names for ever."""
        names, answers = self.queue.pending_event_ids_session, self.queue.pending_messages_per_session
        if len(names) > 4000:
            for session in [session for session in names if session not in answers]:
                del names[session]

    def drop_unread(self) -> None:
        """Drop the oldest answers that nobody fetched; Gradio holds any number for each of 2,000 callers."""
        names, answers = self.queue.pending_event_ids_session, self.queue.pending_messages_per_session
        unread = sum(answer.qsize() for answer in answers.values())
        if unread > MAX_UNREAD:
            busy = {event.session_hash for event in self.queue.event_ids_to_events.values()}
            for session, answer in list(answers.items()):
                if unread <= MAX_UNREAD:
                    break
                if not answer.qsize():  # somebody listens
                    continue
                unread -= answer.qsize()
                while answer.qsize():
                    answer.get_nowait()
                if session not in busy:  # else Gradio would look for it
                    del answers[session]
                    names.pop(session, None)

    @staticmethod
    def measured(scope, receive, answer):
        """Return `receive` that breaks off, and says to `answer` why, where a body is too large or its sender silent."""
        length = Headers(scope=scope).get("content-length", "0")
        size, ended = 0, False

        async def measured():
            nonlocal size, ended
            if ended:
                return await receive()
            try:
                while True:
                    with anyio.fail_after(PATIENCE):
                        message = await receive()
                    size += len(message.get("body", b""))
                    ended = not message.get("more_body", False)
                    if size <= MAX_BODY and not (length.isdecimal() and int(length) > MAX_BODY):
                        return message
                    if ended or size > 4 * MAX_BODY:  # many clients hear nothing before they have said all
                        answer.verdict = Refused(413)
                        return {"type": "http.disconnect"}
            except TimeoutError:
                answer.verdict = Refused(408)
                return {"type": "http.disconnect"}

        return measured


def is_host(name: str) -> bool:
    """Say whether what a proxy calls this server can stand in an address."""
    try:
        httpx.URL(f"http://{name.split(',')[0].strip()}")
    except httpx.InvalidURL:
        return False
    return True


def is_wide(call) -> bool:
    """Say whether JSON holds a long text with letters that no data URL has: each of its letters, and of its copies, takes up to
    four bytes."""
    parts = [call]
    while parts:
        part = parts.pop()
        if isinstance(part, str) and len(part) > LONG and not part.isascii():
            return True
        parts += [*part, *part.values()] if isinstance(part, dict) else part if isinstance(part, list) else ()
    return False


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
