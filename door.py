"""What stands in front of all of Gradio: only what the product needs comes in, and what lies in the folder of uploads goes."""

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
from starlette.datastructures import Headers

from answers import BROKEN, NO_ANSWER, NO_CALL, NO_URL, Answer, Refused
from quicker import let_everybody_in, look_for_calls_first
from waiting import MAX_BODY, Room

MAX_PARTS = 10_000  # of the JSON of a call: each takes 70 bytes, and two may stand for it; 64 pictures, told at length, have 700
LONG = 1_000_000  # letters of a text that can only be a data URL
PATIENCE = 20  # seconds that a caller may be silent in the middle of a request
FREE = 200_000_000  # bytes that uploads, and the pictures made of them, leave free on the disk
KEPT = 3600  # seconds after which an upload, and a picture made from it, is deleted
SWEEP = 600  # seconds from one deletion to the next

# what the page, gradio_client, @gradio/client and curl ask for; whatever else Gradio opens is closed
GET = r"/|{pages}|/(config|gradio_api/(info|app_id))/?|/(favicon\.ico|robots\.txt|manifest\.json|theme\.css)|/(assets|static)/.+" \
      r"|/gradio_api/(openapi\.json|startup-events|theme\.css|upload_progress|heartbeat/[^/]+|queue/data|file=.+)" \
      r"|/gradio_api/call/(v2/)?{names}/(?P<event>[^/]+)"
POST = r"/gradio_api/((?P<upload>upload)|(?P<small>cancel|reset)/?|(?P<queue>queue/join)" \
       r"|(?P<door>run|api|call|call/v2)/(?P<name>{names})/?)"
MCP = r"/gradio_api/mcp(/.*)?"

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

class Door:
    """ASGI around all of Gradio: nothing passes that the product does not need, no call that is none, too large, too slow or one
    too many; every answer gets HEADERS, and every error is {"error": sentence}.
    """

    def __init__(self, app, demo: Blocks):
        self.app, self.gradio, self.room = app, demo.app, Room(demo._queue)
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
        if asked["event"] and not self.room.has_answer(asked["event"]):
            raise Refused(404, NO_ANSWER)
        if path.endswith("/queue/data"):
            session = re.search(r"session_hash=([^&]*)", scope["query_string"].decode("latin-1"))
            if not session or not self.room.listens(session[1]):
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
                self.room.take(weight * len(part))
            if sum(map(body.count, (b",", b"[", b"{"))) > MAX_PARTS:  # before anybody makes objects of them
                raise Refused(400, NO_CALL)
            if asked:
                self.check_call(bytes(body), asked)
            messages = [{"type": "http.request", "body": bytes(body)}]

            async def again():
                return messages.pop() if messages else await receive()

            if queued:
                self.room.drop_unread()
            with self.room.place():
                await self.app(scope, again, answer)
            if queued:
                with contextlib.suppress(ValueError, TypeError, KeyError):  # of one that was refused
                    self.room.queued[json.loads(answer.last)["event_id"]] = weight * len(body)
        finally:
            self.room.held -= weight * len(body)

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
