"""A small hub on this machine: it speaks the requests of the hub client, remembers what was asked, and fails when told to."""

import base64
import hashlib
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import yaml

WRITER, READER = "hf_writer", "hf_reader"  # the tokens that it knows
LARGE = (".safetensors", ".onnx", ".png", ".jpg", ".webp")  # suffixes of what goes the way of large files


class Hub:
    """A server at `endpoint`, in threads of this process; as a context manager it ends with the block.

    repositories: {"models/ORG/NAME": {revision: {path: bytes}}}, main and commits alike
    requests: [(method, path)] in the order they came
    trouble: None, or "500" (every answer), "broken" (contents stop half-way, uploads end without an answer), "damaged"
    (one bit of a content is another)
    """

    def __init__(self):
        self.repositories: dict[str, dict[str, dict[str, bytes]]] = {}
        self.uploads: dict[str, bytes] = {}  # {SHA-256: content} of large files that wait for their commit
        self.requests: list[tuple[str, str]] = []
        self.trouble: str | None = None
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Answer,), {"hub": self}))
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def commit(self, repository: str, files: dict[str, bytes]) -> str:
        """Add files to the main branch of "models/ORG/NAME"; return the commit's name."""
        revisions = self.repositories.setdefault(repository, {"main": {}})
        revisions["main"] = {**revisions["main"], **files}
        oid = hashlib.sha1(repr(sorted(revisions["main"].items())).encode()).hexdigest()
        revisions[oid] = revisions["main"]
        return oid


def etag(path: str, content: bytes) -> str:
    """Return what the hub calls a content: SHA-256 of a large file, git's name of a small one."""
    if path.endswith(LARGE):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Refusal(Exception):
    """Ends a request with a status, the hub's own code for the reason (or None), and a message."""


class Answer(BaseHTTPRequestHandler):
    """Answers one request; `hub` is the server it belongs to."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.path = unquote(urlsplit(self.path).path)
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.hub.requests.append((self.command, self.path))
        self.token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            self.answer()
        except Refusal as refusal:
            status, code, message = refusal.args
            headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
            self.send(status, json.dumps({"error": message}).encode(), headers)

    do_HEAD = do_POST = do_PUT = do_GET

    def answer(self):
        if self.hub.trouble == "500":
            raise Refusal(500, "InternalError", "Something broke here")
        if self.token not in ("", WRITER, READER):
            raise Refusal(401, None, "Invalid credentials in Authorization header")
        for method, pattern, answer in ROADS:
            found = re.fullmatch(pattern, self.path)
            if method == self.command.replace("HEAD", "GET") and found:
                answer(self, **found.groupdict())
                return
        raise Refusal(404, None, f"Nothing answers {self.command} {self.path} here")

    def send(self, status: int, content: bytes = b"", headers: dict | None = None):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def json(self, value, status: int = 200):
        self.send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def files(self, repository: str, revision: str) -> tuple[str, dict[str, bytes]]:
        """Return (commit, files) of a state of "models/ORG/NAME"."""
        if repository not in self.hub.repositories:
            raise Refusal(404 if self.token else 401, "RepoNotFound", "Repository not found")
        revisions = self.hub.repositories[repository]
        if revision not in revisions:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        files = revisions[revision]
        return next((oid for oid, each in revisions.items() if each is files and oid != "main"), "0" * 40), files

    def writer(self):
        """Refuse whoever may not write."""
        if self.token != WRITER:
            raise Refusal(403 if self.token else 401, None, "You don't have the rights for this" if self.token else
                          "Invalid username or password.")

    # --- what a reader asks -----------------------------------------------------------------------------------------------

    def who(self):
        if not self.token:
            raise Refusal(401, None, "Invalid username or password.")
        self.json({"type": "user", "name": self.token, "orgs": []})

    def content(self, repository: str, revision: str, path: str):
        commit, files = self.files(f"models/{repository}", revision)
        if path not in files:
            raise Refusal(404, "EntryNotFound", "Entry not found")
        content = sent = files[path]
        if self.hub.trouble == "damaged":
            sent = sent[:-9] + bytes([sent[-9] ^ 1]) + sent[-8:]
        if self.hub.trouble == "broken" and self.command == "GET":
            sent, self.close_connection = sent[: len(sent) // 2], True
        self.send(200, sent, {"Content-Length": str(len(content)), "ETag": f'"{etag(path, content)}"', "X-Repo-Commit": commit})

    def information(self, kind: str, repository: str, revision: str = "main"):
        commit, files = self.files(f"{kind}/{repository}", revision)
        self.json({"id": repository, "modelId": repository, "sha": commit, "private": False, "tags": [],
                   "siblings": [{"rfilename": path} for path in files]})

    def tree(self, kind: str, repository: str, revision: str):
        self.json([{"type": "file", "path": path, "size": len(content), "oid": etag(path, content)}
                   for path, content in self.files(f"{kind}/{repository}", revision)[1].items()])

    # --- what a writer asks -----------------------------------------------------------------------------------------------

    def create(self):
        self.writer()
        asked = json.loads(self.body)
        repository = f"{asked.get('type', 'model')}s/{asked['organization']}/{asked['name']}"
        self.hub.repositories.setdefault(repository, {"main": {}})
        self.json({"url": f"{self.hub.endpoint}/{repository.removeprefix('models/')}"})

    def validate(self):
        asked = json.loads(self.body)
        front = re.match(r"---\n(.*?)\n---\n", asked["content"], re.DOTALL)
        data = yaml.safe_load(front[1]) if front else None
        wrong = not isinstance(data, dict) or asked["repoType"] == "space" and len(data.get("short_description", "")) > 60
        self.json({"errors": [{"message": "invalid metadata"}] if wrong else [], "warnings": []}, 400 if wrong else 200)

    def preupload(self, **_):
        self.writer()
        self.json({"files": [{"path": file["path"], "shouldIgnore": False,
                              "uploadMode": "lfs" if file["path"].endswith(LARGE) else "regular"}
                             for file in json.loads(self.body)["files"]]})

    def batch(self, **_):
        self.writer()
        self.json({"transfer": "basic", "objects": [
            {"oid": each["oid"], "size": each["size"],
             "actions": {"upload": {"href": f"{self.hub.endpoint}/upload/{each['oid']}", "header": {}}}}
            for each in json.loads(self.body)["objects"]]})

    def upload(self, oid: str):
        if self.hub.trouble == "broken":
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Refusal(400, None, "The content is another one")
        self.hub.uploads[oid] = self.body
        self.send(200)

    def committed(self, kind: str, repository: str, revision: str):
        self.writer()
        lines = [json.loads(line) for line in self.body.splitlines()]
        files = {line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"}
        files |= {line["value"]["path"]: self.hub.uploads[line["value"]["oid"]] for line in lines if line["key"] == "lfsFile"}
        oid = self.hub.commit(f"{kind}/{repository}", files)
        self.json({"success": True, "commitOid": oid, "commitUrl": f"{self.hub.endpoint}/{repository}/commit/{oid}"})


NAME = r"(?P<repository>[^/]+/[^/]+)"
KIND = r"(?P<kind>models|spaces)"
REVISION = r"(?P<revision>.+)"
ROADS = [
    ("GET", "/api/whoami-v2", Answer.who),
    ("GET", "/login", lambda answer: answer.send(200, b"<p>Accept our terms to use this network")),
    ("GET", rf"/{NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", Answer.content),
    ("GET", rf"/api/{KIND}/{NAME}", Answer.information),
    ("GET", rf"/api/{KIND}/{NAME}/revision/{REVISION}", Answer.information),
    ("GET", rf"/api/{KIND}/{NAME}/tree/{REVISION}", Answer.tree),
    ("POST", "/api/repos/create", Answer.create),
    ("POST", "/api/validate-yaml", Answer.validate),
    ("POST", rf"/api/{KIND}/{NAME}/preupload/{REVISION}", Answer.preupload),
    ("POST", r"/(spaces/)?[^/]+/[^/]+\.git/info/lfs/objects/batch", Answer.batch),
    ("PUT", r"/upload/(?P<oid>[0-9a-f]{64})", Answer.upload),
    ("POST", rf"/api/{KIND}/{NAME}/commit/{REVISION}", Answer.committed),
]
