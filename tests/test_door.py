"""Whatever is asked, and by however many: a status and a sentence, nothing opened, nothing kept, nobody let in."""

import asyncio
import base64
import gc
import json
import socket
import threading
import time
import tracemalloc
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import gradio.routes
import pytest
from conftest import ROOT, free_port
from gradio_client import Client
from gradio_client.exceptions import AppError
from gradio_client.utils import QueueError

import answers
import app
import calls
import door
import waiting

PICTURE = (ROOT / "examples" / "7_crossed_transparent.png").read_bytes()
URL = {"url": "data:image/png;base64," + base64.b64encode(PICTURE).decode()}
BUSY = "Busy: try again in a moment."
AS_SHIPPED = (app.KEPT, app.SWEEP, door.KEPT, door.SWEEP)  # before a test sets them
INSIDE = next(number for number, function in app.build().fns.items() if function.api_name == "look_inside")
SESSION = {"session_hash": "here", "fn_index": INSIDE}  # what the page asks with a picture


def ask(address: str, method: str, path: str, body=None, **headers: str) -> tuple[int, bytes, dict]:
    """Return (status, body, headers) of an answer, of a stream its first part alone."""
    url = urlsplit(address)
    connection = HTTPConnection(url.hostname, url.port, timeout=30)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, {"Content-Type": "application/json", **headers} if body is not None else headers)
    answer = connection.getresponse()
    stream = answer.headers.get("content-type", "").startswith("text/event-stream") and "/call/" not in path
    content = answer.read1() if stream else answer.read()
    connection.close()
    return answer.status, content, {name.lower(): value for name, value in answer.getheaders()}


def sentence(status: int, content: bytes) -> str:
    """Return the sentence of an error, which is all that the answer holds: no path, no class, no traceback."""
    answer = json.loads(content)
    assert status >= 400 and list(answer) == ["error"], content
    assert answer["error"][0].isupper() and answer["error"].rstrip(".").count(" ") > 3, answer
    assert not any(word in answer["error"] for word in (str(ROOT), "site-packages", "Error", "Traceback", "line ", "None")), answer
    return answer["error"]


def call(address: str, body: dict | bytes, path: str = "run/predict") -> tuple[int, bytes]:
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask(address, "POST", f"/gradio_api/{path}", body)[:2]


def outcome(address: str, event: str) -> tuple[str, object]:
    """Return (event, data) of the end of a queued call."""
    status, content, _ = ask(address, "GET", f"/gradio_api/call/predict/{event}")
    assert status == 200, content
    name, data = content.decode().strip().splitlines()[-2:]
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def form(name: bytes, content: bytes = PICTURE) -> bytes:
    return (b'--x\r\nContent-Disposition: form-data; name="files"; filename="' + name
            + b'"\r\nContent-Type: image/png\r\n\r\n' + content + b"\r\n--x--\r\n")


def send_file(address: str, name: bytes = b"7.png", content: bytes = PICTURE) -> tuple[int, bytes]:
    return ask(address, "POST", "/gradio_api/upload", form(name, content), Content_Type="multipart/form-data; boundary=x")[:2]


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """The page, served in this process: its limits can be set, and it deletes after a second what is a second old."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        for module in (app, door):
            patch.setattr(module, "SWEEP", 1)
            patch.setattr(module, "KEPT", 1)
        demo = app.serve("127.0.0.1", free_port())
        yield demo
        demo.close()


# --- what is closed -----------------------------------------------------------------------------------------------------

OPEN = {"GET /", "GET /card", "GET /card/", "GET /number",
        "GET /number/", "GET /config", "GET /config/", "GET /static/x", "GET /assets/x", "GET /favicon.ico",
        "GET /theme.css", "GET /robots.txt", "GET /manifest.json", "GET /gradio_api/info", "GET /gradio_api/info/",
        "GET /gradio_api/openapi.json", "GET /gradio_api/app_id", "GET /gradio_api/app_id/", "GET /gradio_api/theme.css",
        "GET /gradio_api/startup-events", "GET /gradio_api/heartbeat/x", "GET /gradio_api/upload_progress",
        "GET /gradio_api/file=x", "GET /gradio_api/queue/data", "GET /gradio_api/call/predict/x",
        "GET /gradio_api/call/v2/predict/x", "POST /gradio_api/upload", "POST /gradio_api/cancel", "POST /gradio_api/reset",
        "POST /gradio_api/reset/",
        "POST /gradio_api/queue/join", *(f"POST /gradio_api/{way}/predict{end}" for way in ("run", "api", "call", "call/v2")
                                         for end in ("", "/"))}


def routes(router) -> set[str]:
    """Return method and path of every route, with something in place of what varies."""
    found = set()
    for route in router.routes:
        inner = getattr(route, "original_router", None)
        path = getattr(route, "path", "").replace("{api_name}", "predict")
        while "{" in path:
            path = path[:path.index("{")] + "x" + path[path.index("}") + 1:]
        found |= routes(inner) if inner else {f"{method} {path}" for method in route.methods - {"HEAD"}}
    return found


def test_of_all_that_gradio_opens_only_what_the_product_needs_is_open(own):
    """Monitoring, proxy, logins, cookies, deep links, reload, recordings and whatever a new Gradio adds are not."""
    closed, nothing = set(), answers.SENTENCES[404]
    known = routes(own.app)
    for route in known:
        status, content, _ = ask(own.local_url, *route.split(" "), body=b"" if route.startswith("POST") else None)
        if status == 404 and sentence(status, content) == nothing and not route.startswith(("GET /static", "GET /assets")):
            closed.add(route)
    assert known - closed <= OPEN and closed & OPEN <= {"GET /gradio_api/upload_progress"} and len(closed) > 40
    assert {"GET /monitoring", "GET /gradio_api/proxy=x", "POST /gradio_api/component_server", "GET /logout"} <= closed


def test_nobody_is_asked_to_log_in(own):
    def asked(router) -> list[str]:
        """Return what FastAPI asks before it calls any of the routes."""
        called = [each for route in router.routes
                  for each in (route.effective_candidates() if hasattr(route, "original_router") else [route])]
        return [each.call.__name__ for route in called if getattr(route, "dependant", None)
                for each in route.dependant.dependencies]

    before, now = asked(gradio.routes.App.create_app(app.build()).router), asked(own.app.router)
    assert before.count("login_check") > 20 and now.count("login_check") == 0  # else every request waits for a thread to ask it
    assert now.count("get_current_user") == before.count("get_current_user") > 0  # of all else nothing is gone


def test_no_statistics_of_callers_are_kept(own):
    for _ in range(3):
        status, content = call(own.local_url, {"data": [URL]}, "call/predict")
        assert outcome(own.local_url, json.loads(content)["event_id"])[0] == "complete"
    assert len(own._queue.event_analytics) <= 1 and own._queue.cached_event_analytics_summary == {"functions": {}}


def test_hidden_functions_have_no_address(server):
    for name in ("bars", "tell", "look_inside", "load_example", "nothing", "7", "predict/x", "%00"):
        for way in ("run", "api", "call", "call/v2"):
            assert sentence(*call(server, {"data": [URL]}, f"{way}/{name}")) == answers.SENTENCES[404]
    assert "no function of this number" in sentence(*call(server, {"data": [URL], "fn_index": 999}))


# --- what is no call ----------------------------------------------------------------------------------------------------

BODIES = {
    "nothing": b"", "no JSON": b"7", "a list": b"[]", "no data": b"{}", "data that is a dict": b'{"data": {}}',
    "data that is a number": b'{"data": 5}', "no UTF-8": b"\xff", "a number of 5000 digits": b'{"data": ' + b"1" * 5000 + b"}",
    "100,000 nested lists": b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 empty objects": b'{"data": [' + b"{}," * 100_000 + b"null]}",
    "a long session": json.dumps({"data": [None], "fn_index": INSIDE, "session_hash": "s" * 1000}).encode(),
    "a session that is a number": json.dumps({"data": [None], "fn_index": INSIDE, "session_hash": 5}).encode(),
    "an unknown function": json.dumps({"data": [None], "fn_index": 999, "session_hash": "s"}).encode(),
    "a trigger that is a text": json.dumps({"data": [None], **SESSION, "trigger_id": "x"}).encode(),
}


@pytest.mark.parametrize("way", ["run/predict", "api/explain", "call/predict", "call/v2/predict", "queue/join", "cancel"])
def test_what_is_no_call_is_told_so(server, way):
    for name, body in BODIES.items():
        if way == "call/predict" and ("function" in name or "trigger" in name) or way == "cancel" and "session" not in name:
            continue  # these know no such thing
        status, content = call(server, body, way)
        assert status == 400 and sentence(status, content), name


@pytest.mark.parametrize("value", [[[[[[]]]]] * 9, "x" * 10**6, "\0", "\ud800", {"path": "\0" * 999}, {"url": "data:,\0"}, 1e999,
                                   {"path": ["x"]}, {"url": "data:" + "x" * 10**6}, {"path": "x" * 10**5}],
                         ids=lambda value: str(type(value).__name__))
def test_junk_in_place_of_a_picture_gets_the_same_sentence_at_both_doors(server, value):
    status, content = call(server, {"data": [value]})
    said = sentence(status, content)
    _, content = call(server, {"data": [value]}, "call/predict")
    event, data = outcome(server, json.loads(content)["event_id"])
    assert (event, data["error"]) == ("error", said) and "send " in said.lower()


def test_lists_nested_as_deeply_as_json_takes_them_are_no_picture(server):
    for depth in (100, 400, 900):
        assert sentence(*call(server, b'{"data": ' + b"[" * depth + b"]" * depth + b"}")) == answers.NO_PICTURE


def test_a_data_url_over_the_limit_gets_the_same_sentence_at_both_doors(server):
    big = json.dumps({"data": [{"url": "data:image/png;base64," + "A" * (answers.MAX_FILE * 4 // 3 + 8)}]}).encode()
    assert sentence(*call(server, big)) == answers.TOO_LARGE
    _, content = call(server, big, "call/predict")
    event, data = outcome(server, json.loads(content)["event_id"])
    assert (event, data["error"]) == ("error", answers.TOO_LARGE)


def test_a_request_over_the_limit_is_refused_by_its_length_and_as_it_streams(server):
    body = b'{"data": ["' + b"A" * 30_000_000 + b'"]}'
    parts = [body[first:first + 2**20] for first in range(0, len(body), 2**20)]
    for path, content, kind in (("run/predict", body, "application/json"), ("run/predict", iter(parts), "application/json"),
                                ("upload", iter([form(b"7.png")[:-9], *parts]), "multipart/form-data; boundary=x")):
        status, answer, _ = ask(server, "POST", f"/gradio_api/{path}", content, Content_Type=kind)
        assert (status, sentence(status, answer)) == (413, answers.TOO_LARGE)
    assert send_file(server)[0] == 200


def test_the_answer_of_a_call_is_given_once_and_then_not_waited_for(server):
    _, content = call(server, {"data": [URL]}, "call/predict")
    event = json.loads(content)["event_id"]
    assert outcome(server, event)[0] == "complete"
    for path in (f"call/predict/{event}", "call/predict/nothing", "queue/data?session_hash=nothing", "queue/data"):
        status, answer, _ = ask(server, "GET", f"/gradio_api/{path}")
        assert (status, sentence(status, answer)) == (404, answers.NO_ANSWER)


def test_what_nobody_foresaw_is_a_sentence_at_every_door(own, monkeypatch, capfd):
    monkeypatch.setattr(app, "recognizer", lambda: 1 / 0)
    assert sentence(*call(own.local_url, {"data": [URL]})) == answers.BROKEN
    _, content = call(own.local_url, {"data": [URL]}, "call/predict")
    assert outcome(own.local_url, json.loads(content)["event_id"])[1]["error"] == answers.BROKEN
    with pytest.raises(AppError, match="Something went wrong here"):
        Client(own.local_url, verbose=False).predict(URL, api_name="/explain")
    assert "ZeroDivisionError" in capfd.readouterr().err  # for whoever runs the server


# --- nothing is opened --------------------------------------------------------------------------------------------------

def test_no_request_is_made_for_a_caller(server):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.5)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/7.png"
        for value in ({"url": url}, {"path": url}, {"path": url, "meta": {"_type": "gradio.FileData"}}):
            assert sentence(*call(server, {"data": [value]})) == answers.NO_URL
            _, content = call(server, {"image": value}, "call/v2/predict")
            assert outcome(server, json.loads(content)["event_id"])[1]["error"] == answers.NO_URL
        for path in (f"file={url}", f"file={url.upper()}", f"file=%20{url}", f"file=file://{ROOT}/app.py", f"proxy={url}"):
            status, content, _ = ask(server, "GET", f"/gradio_api/{path}")
            assert status in (403, 404) and sentence(status, content)
        with pytest.raises(TimeoutError):
            listener.accept()


def test_no_file_of_the_server_is_given_away(server):
    for path in ("app.py", "/etc/hostname", "../../../../etc/hostname", "%2e%2e/app.py", "..%2f..%2fetc/hostname",
                 str(ROOT / "app.py"), "weights/model.safetensors", "x" * 3000, "%00", "//etc/hostname"):
        for place in ("/gradio_api/file=", "/static/", "/assets/", "/gradio_api/stream/"):
            status, content, _ = ask(server, "GET", place + path)
            assert status in (403, 404) and sentence(status, content), place + path


def test_an_upload_stays_in_its_folder_whatever_its_name(own):
    folder = Path(own.app.uploaded_file_dir)
    for name in (b"../../x.png", b"/etc/x.png", b"a\0b.png", "ü*?.png".encode(), b"x" * 200):
        status, content = send_file(own.local_url, name)
        assert status == 200 and folder in Path(json.loads(content)[0]).resolve().parents
    for name in (b"..", b"x" * 5000):
        assert sentence(*send_file(own.local_url, name))


# --- strangers ----------------------------------------------------------------------------------------------------------

def test_every_answer_carries_the_headers_and_no_cookie(server):
    _, content = call(server, {"data": [None]}, "call/predict")
    event = json.loads(content)["event_id"]
    pages = ("/", "/card", "/gradio_api/info", "/nothing", "/static/nothing", f"/gradio_api/call/predict/{event}")
    for method, path, body in (*(("GET", path, None) for path in pages), ("POST", "/gradio_api/run/predict", b'{"data": [null]}'),
                               ("POST", "/gradio_api/run/predict", b"")):
        _, _, headers = ask(server, method, path, body, Origin="https://a.example", Cookie="access-token=x")
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "same-origin"
        assert "camera=(self)" in headers["permissions-policy"] and "microphone=()" in headers["permissions-policy"]
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["frame-ancestors"] == "'self' https://huggingface.co https://*.hf.space"
        assert policy["default-src"] == "'self'" and policy["object-src"] == "'none'" and "http" not in policy["connect-src"]
        assert headers["access-control-allow-origin"] == "*" and "access-control-allow-credentials" not in headers
        assert "set-cookie" not in headers


def test_a_proxy_that_names_no_host_is_told_so(server, capfd):
    for name in ("::::", "a:b:c", "a\x01", "a:b:c, digits.example"):
        for method, path, body in (("GET", "/", None), ("POST", "/gradio_api/run/predict", b'{"data": [null]}'),
                                   ("POST", "/gradio_api/call/predict", b'{"data": [null]}')):
            status, content, _ = ask(server, method, path, body, X_Forwarded_Host=name)
            assert status == 400 and sentence(status, content), (name, path)
    assert ask(server, "GET", "/", X_Forwarded_Host="[::1]:80, proxy.example")[0] == 200
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_program_on_another_site_may_ask(server):
    status, content, headers = ask(server, "OPTIONS", "/gradio_api/run/predict", Origin="https://a.example",
                                   Access_Control_Request_Method="POST", Access_Control_Request_Headers="content-type")
    assert (status, content) == (204, b"") and headers["access-control-allow-headers"] == "*"
    assert "POST" in headers["access-control-allow-methods"] and "access-control-allow-credentials" not in headers


def test_one_caller_does_not_choose_the_address_that_others_are_told(server):
    ask(server, "GET", "/gradio_api/info", X_Forwarded_Host="foreign.example", X_Forwarded_Proto="https")
    assert b"foreign.example" not in ask(server, "GET", "/gradio_api/info")[1]


# --- many ---------------------------------------------------------------------------------------------------------------

class Slow:
    """The recogniser, that waits for a sign."""

    def __init__(self):
        self.begun, self.sign = threading.Event(), threading.Event()

    def read(self, image):
        self.begun.set()
        assert self.sign.wait(20)
        return app.Recognizer.from_pretrained().read(image)


def held(own) -> tuple[int, int]:
    """Return how many calls, and how many bytes, the server believes to be under way."""
    return own.app.middleware_stack.room.calls + len(own._queue.event_ids_to_events), own.app.middleware_stack.room.held


@pytest.mark.parametrize("way", ["run/predict", "call/predict"])
def test_one_cap_holds_for_both_doors(own, monkeypatch, way):
    slow = Slow()
    monkeypatch.setattr(app, "recognizer", lambda: slow)
    monkeypatch.setattr(calls, "SMALL", 0)  # a thread may wait; the one that serves may not
    monkeypatch.setattr(waiting, "MAX_CALLS", 1)
    first = threading.Thread(target=call, args=(own.local_url, {"data": [URL]}, way))
    first.start()
    assert slow.begun.wait(20)
    for other, body in (("run/predict", {}), ("api/explain", {}), ("call/predict", {}), ("queue/join", SESSION)):
        status, content, headers = ask(own.local_url, "POST", f"/gradio_api/{other}", json.dumps({"data": [URL], **body}).encode())
        assert (status, headers["retry-after"], json.loads(content)) == (503, "1", {"error": BUSY})
    with pytest.raises(QueueError):
        Client(own.local_url, verbose=False).predict(URL, api_name="/predict")
    slow.sign.set()
    first.join()
    wait_until(lambda: held(own) == (0, 0))
    assert call(own.local_url, {"data": [URL]})[0] == 200


def wait_until(true) -> None:
    for _ in range(200):
        if true():
            return
        time.sleep(0.1)
    pytest.fail("it did not come true within 20 seconds")


def test_gradios_own_word_for_a_full_queue_is_ours(own, monkeypatch):
    monkeypatch.setattr(own._queue, "max_size", 0)
    status, content, headers = ask(own.local_url, "POST", "/gradio_api/call/predict", b'{"data": [null]}')
    assert (status, headers["retry-after"], json.loads(content)) == (503, "1", {"error": BUSY})


def test_memory_and_disk_have_a_limit_and_one_who_stops_halfway_is_not_waited_for(own, monkeypatch):
    monkeypatch.setattr(waiting, "MAX_HELD", 1000)
    assert call(own.local_url, {"data": ["x" * 1000]})[0] == 503
    assert send_file(own.local_url)[0] == 200
    monkeypatch.setattr(door, "FREE", 10**18)
    assert send_file(own.local_url)[0] == 503
    monkeypatch.setattr(waiting, "MAX_HELD", 10**8)
    body = {"data": [URL]}
    assert call(own.local_url, body, "run/explain")[0] == call(own.local_url, {**body, **SESSION}, "queue/join")[0] == 503
    assert call(own.local_url, body)[0] == 200  # keeps nothing
    monkeypatch.setattr(door, "PATIENCE", 0.2)
    with socket.create_connection(("127.0.0.1", own.server_port)) as halfway:
        halfway.sendall(b"POST /gradio_api/run/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
        assert halfway.recv(1000).startswith(b"HTTP/1.1 408")
    assert held(own) == (0, 0)


def test_a_call_of_millions_of_parts_takes_no_memory(own):
    for sign in (b"[],", b"{},", b"0,"):
        body = b'{"data": [' + sign * (waiting.MAX_BODY // len(sign) - 100) + b"0]}"
        tracemalloc.start()
        try:
            assert call(own.local_url, body)[0] == 400
            assert tracemalloc.get_traced_memory()[1] < 5 * len(body)  # the body itself, here as sent and there as it comes
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("letter", ["\u20ac", "\\ud83d\\ude00"])
def test_a_long_text_that_is_no_data_url_is_refused_before_it_is_copied(server, letter):
    for body in ('{"data": ["%s"]}', '{"data": [{"url": "data:,%s"}]}', '{"data": [], "%s": 1}'):
        assert sentence(*call(server, (body % ("A" * 2_000_000 + letter)).encode())) == answers.NO_CALL
    assert sentence(*call(server, ('{"data": ["%s"]}' % ("A" * 1000 + letter)).encode())) == answers.NO_PICTURE


def test_sixty_four_pictures_told_at_length_are_not_too_many_parts(own):
    told = {"path": None, "size": 1, "orig_name": "7, [7] and {7}.png", "mime_type": "image/png", "is_stream": False,
            "meta": {"_type": "gradio.FileData"}}
    assert call(own.local_url, {"data": [[told] * 64]}, "run/predict_batch")[0] == 200


def test_answers_that_nobody_fetches_are_forgotten_the_oldest_first(own, monkeypatch):
    monkeypatch.setattr(waiting, "MAX_UNREAD", 12)
    unread = own._queue.pending_messages_per_session
    unread.clear()
    for session in ["same"] * 8 + [f"other{number}" for number in range(8)]:
        assert call(own.local_url, {"data": [URL], **SESSION, "session_hash": session}, "queue/join")[0] == 200
        wait_until(lambda: held(own) == (0, 0))
    assert sum(answer.qsize() for answer in unread.values()) <= 12 + 5  # the last call's own
    assert "same" not in unread and "same" not in own._queue.pending_event_ids_session and unread["other7"].qsize()


def test_calls_in_the_queue_count_until_they_are_done(own, monkeypatch):
    slow = Slow()
    monkeypatch.setattr(app, "recognizer", lambda: slow)
    monkeypatch.setattr(calls, "SMALL", 0)  # a thread may wait; the one that serves may not
    size = len(json.dumps({"data": [URL]}))
    monkeypatch.setattr(waiting, "MAX_HELD", 4.5 * size)
    statuses = [call(own.local_url, {"data": [URL]}, "call/predict")[0] for _ in range(4)]
    assert statuses == [200, 200, 503, 503]  # each counts twice: its bytes, and what was made of them
    slow.sign.set()
    wait_until(lambda: held(own) == (0, 0))
    assert call(own.local_url, {"data": [URL]}, "call/predict")[0] == 200
    wait_until(lambda: held(own) == (0, 0))
    assert own.app.middleware_stack.room.in_queue() == 0


def is_held(thing, mark: str) -> bool:
    """Say whether a text, or its bytes, is in a list or dictionary, or in a dictionary in a list: those of texts alone Python's
    collector does not know by themselves."""
    values = [*thing.values()] if type(thing) is dict else thing if type(thing) is list else ()
    values = [part for value in values for part in (value.values() if type(value) is dict and type(thing) is list else (value,))]
    return any(mark in value if type(value) is str else mark.encode() in value for value in values if type(value) in (str, bytes))


@pytest.mark.parametrize("way", ["run/predict", "call/predict"])
def test_nothing_holds_what_was_sent_after_an_error(own, way):
    mark = "A" * 90_001
    gc.collect()
    gc.disable()  # what is held in a circle would stay
    try:
        status, content = call(own.local_url, {"data": [{"url": f"data:image/png;base64,{mark}"}]}, way)
        if way == "call/predict":
            assert outcome(own.local_url, json.loads(content)["event_id"])[0] == "error"
        wait_until(lambda: held(own) == (0, 0))
        wait_until(lambda: not any(is_held(thing, mark) for thing in gc.get_objects()))
    finally:
        gc.enable()


def test_a_client_that_leaves_or_never_reads_costs_nothing(own):
    body = json.dumps({"data": [URL]}).encode()
    head = b"POST /gradio_api/%s/predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    for way in (b"run", b"call"):
        for sent in (body[:10], body):
            with socket.create_connection(("127.0.0.1", own.server_port)) as leaving:
                leaving.sendall(head % (way, len(body)) + sent)
    _, content = call(own.local_url, {"data": [URL]}, "call/predict")
    with socket.create_connection(("127.0.0.1", own.server_port)) as silent:
        silent.sendall(b"GET /gradio_api/call/predict/%s HTTP/1.1\r\nHost: x\r\n\r\n" % json.loads(content)["event_id"].encode())
        wait_until(lambda: held(own) == (0, 0))
        assert call(own.local_url, {"data": [URL]})[0] == 200


def test_the_names_of_calls_are_forgotten_with_their_answers(own):
    names = own._queue.pending_event_ids_session
    names.update({f"gone{number}": set() for number in range(4001)})
    assert call(own.local_url, {"data": [None]})[0] == 200
    assert not any(name.startswith("gone") for name in names)


def test_under_load_every_client_gets_its_own_answers(server, recognizer, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "bench")
    from load import measure, pictures
    counts, _, _ = measure(urlsplit(server).port, pictures(8, recognizer), seconds=2)
    assert counts["ok"] >= 8 and set(counts) == {"ok"}


# --- nothing is kept ----------------------------------------------------------------------------------------------------

def test_uploads_what_was_made_of_them_and_what_broke_off_are_deleted(own):
    folder = Path(own.app.uploaded_file_dir)
    examples = {path for path in folder.rglob("*") if path.name in {file.name for file in app.EXAMPLES.iterdir()}}
    upload = Path(json.loads(send_file(own.local_url)[1])[0])
    with socket.create_connection(("127.0.0.1", own.server_port)) as leaving:
        leaving.sendall(b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
                        b"Content-Length: 9999\r\n\r\n" + form(b"7.png")[:500])
        wait_until(lambda: any(path.name.startswith("tmp") for path in folder.iterdir()))
    status, content = call(own.local_url, {"data": [{"path": str(upload)}]}, "run/explain")
    made = Path(json.loads(content)["data"][2]["path"])
    assert status == 200 and upload.is_file() and made.is_file()
    wait_until(lambda: not upload.parent.exists() and not made.exists() and not any(
        path.name.startswith("tmp") for path in folder.iterdir()))
    assert examples and all(path.exists() for path in examples)
    assert (answers.SENTENCES[403]) == sentence(*ask(own.local_url, "GET", f"/gradio_api/file={upload}")[:2])


def test_a_sweep_that_fails_is_not_the_last_one(monkeypatch, tmp_path):
    swept = []

    def sweep(*_) -> None:
        swept.append(1)
        raise FileNotFoundError

    async def for_a_moment() -> None:
        sweeping = asyncio.create_task(door.keep_sweeping(tmp_path))
        while len(swept) < 2 and not sweeping.done():
            await asyncio.sleep(0.01)
        sweeping.cancel()

    monkeypatch.setattr(door, "sweep", sweep)
    monkeypatch.setattr(door, "SWEEP", 0.01)
    asyncio.run(for_a_moment())
    assert len(swept) > 1


def test_mcp_takes_no_picture_where_the_disk_is_nearly_full(own, monkeypatch):
    said = []

    async def receive() -> dict:
        return {"type": "http.request", "body": b"{}"}

    async def send(message: dict) -> None:
        said.append(message)

    monkeypatch.setattr(own, "mcp_server", True)
    monkeypatch.setattr(door, "FREE", 10**18)
    scope = {"type": "http", "method": "POST", "path": "/gradio_api/mcp/", "query_string": b"", "headers": []}
    asyncio.run(door.Door(None, own)(scope, receive, send))
    assert said[0]["status"] == 503 and json.loads(said[1]["body"]) == {"error": BUSY}


def test_a_picture_is_not_remembered_with_its_caller(own):
    for body, way in (({"data": [URL]}, "call/predict"), ({"data": [URL], **SESSION}, "queue/join")):
        status, _ = call(own.local_url, body, way)
        assert status == 200
    wait_until(lambda: held(own) == (0, 0))
    assert "here" in own.app.state_holder
    for state in own.app.state_holder.session_data.values():
        assert URL["url"][-80:] not in json.dumps(state.config_values, default=str)


def test_files_are_kept_for_an_hour():
    assert AS_SHIPPED == (3600, 600, 3600, 600) and app.build().delete_cache == (app.SWEEP, app.KEPT)


# --- the page -----------------------------------------------------------------------------------------------------------

def test_the_page_says_that_the_server_is_busy_and_asks_again_with_the_next_stroke(own, monkeypatch):
    from test_page import browser, draw, wait_for_answer, wait_for_brush
    for chromium in browser.__wrapped__():
        page = chromium.new_page(viewport={"width": 1280, "height": 800})
        page.goto(own.local_url)
        wait_for_brush(page)
        monkeypatch.setattr(waiting, "MAX_CALLS", 0)
        draw(page, "1")
        page.get_by_text(BUSY).first.wait_for()
        monkeypatch.setattr(waiting, "MAX_CALLS", 100)
        page.locator("#clear").click()
        draw(page, "7")
        wait_for_answer(page, "7")
        page.close()
