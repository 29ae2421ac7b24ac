"""What many clients at once get: every answer is compared with what is known of the client's own picture; both doors, in turn.

    python bench/load.py                                1, 8, 32 and 64 clients, a minute each
    python bench/load.py --clients 8 --seconds 5        a short one
    python bench/load.py --calls 20000                  then so many calls more, and what memory they leave in use
"""

import argparse
import base64
import io
import json
import socket
import sys
import threading
import time
from collections import Counter
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))  # the project's modules lie one folder up
from serving import cpu_seconds, memory, start  # noqa: E402

from data import draw  # noqa: E402
from recognize import DIGITS, Recognizer  # noqa: E402

PICTURES = 3  # of every client
ALIKE = 1e-6  # of a probability; from one process to another
APART = 1e-4  # of a probability: what two pictures of different clients differ by
TIMEOUT = 30  # seconds; an answer that takes longer is lost
BUSY = {"error": "Busy: try again in a moment."}


def pictures(clients: int, recognizer: Recognizer) -> list[list[tuple[bytes, np.ndarray]]]:
    """Return for every client its pictures as PNG files, each with its ten probabilities; no two answers are alike."""
    random = np.random.default_rng(0)
    files, answers = [], np.empty((0, 10))
    while len(files) < clients * PICTURES:
        strokes = [random.uniform(0, 10, (random.integers(2, 5), 2)).astype(np.float32) for _ in range(random.integers(1, 3))]
        file = io.BytesIO()
        Image.fromarray(draw(strokes, random.uniform(12, 30), random.uniform(0.4, 0.8))).save(file, "PNG")
        probabilities = recognizer.read(Image.open(file)).probabilities
        if probabilities is not None and (np.abs(answers - probabilities).max(axis=1, initial=0) > APART).all():
            files.append(file.getvalue())
            answers = np.vstack([answers, probabilities])
    both = list(zip(files, answers, strict=True))
    return [both[first:first + PICTURES] for first in range(0, len(both), PICTURES)]


def post(connection: HTTPConnection, path: str, body: bytes, kind: str = "application/json") -> tuple[int, object]:
    """Return (status, JSON) of a POST."""
    connection.request("POST", f"/gradio_api/{path}", body, {"Content-Type": kind})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def one_shot(connection: HTTPConnection, picture: bytes) -> tuple[int, object]:
    """Send a picture as a data URL; return (status, JSON of the label or of the error)."""
    url = "data:image/png;base64," + base64.b64encode(picture).decode()
    status, answer = post(connection, "run/predict", json.dumps({"data": [{"url": url}]}).encode())
    return status, answer["data"][0] if status == 200 else answer


def queued(connection: HTTPConnection, picture: bytes) -> tuple[int, object]:
    """Upload a picture, queue a call, read its stream; return what one_shot does."""
    form = (b'--x\r\nContent-Disposition: form-data; name="files"; filename="7.png"\r\nContent-Type: image/png\r\n\r\n' + picture
            + b"\r\n--x--\r\n")
    status, answer = post(connection, "upload", form, "multipart/form-data; boundary=x")
    if status == 200:
        status, answer = post(connection, "call/predict", json.dumps({"data": [{"path": answer[0]}]}).encode())
    if status != 200:
        return status, answer
    connection.request("GET", f"/gradio_api/call/predict/{answer['event_id']}")
    event, data = connection.getresponse().read().decode().strip().splitlines()[-2:]
    answer = json.loads(data.removeprefix("data: "))
    return (200, answer[0]) if event == "event: complete" else (500, answer)


def judge(status: int, answer, own: np.ndarray, all_answers: np.ndarray) -> str:
    """Return ok, busy, foreign (what another picture should get), or error."""
    if status == 200 and isinstance(answer, dict) and "confidences" in answer:
        shares = {row["label"]: row["confidence"] for row in answer["confidences"]}
        got = np.array([shares[digit] for digit in DIGITS])
        if np.abs(got - own).max() <= ALIKE:
            return "ok"
        return "foreign" if (np.abs(all_answers - got).max(axis=1) <= ALIKE).any() else "error"
    return "busy" if status == 503 and answer == BUSY else "error"


def rude(port: int, stop: threading.Event) -> None:
    """Until told to stop, twice a second: leave in the middle of a call, and ask for a stream that is never read."""
    never_read = []
    body = json.dumps({"data": [None]}).encode()
    while not stop.wait(0.5):
        with socket.create_connection(("127.0.0.1", port)) as leaving:
            leaving.sendall(b"POST /gradio_api/run/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n{")
        connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        try:
            status, answer = post(connection, "call/predict", body)
            if status == 200:
                connection.request("GET", f"/gradio_api/call/predict/{answer['event_id']}")
                never_read.append(connection)
        except (OSError, HTTPException):
            pass
    for connection in never_read:
        connection.close()


def measure(port: int, clients: list, seconds: float = 0, calls: int = 0) -> tuple[Counter, np.ndarray, float]:
    """Let clients ask by both doors in turn, for some seconds or until some number of calls were made. Return the counts of ok,
    busy, foreign, error and lost, the sorted seconds of the ok ones, and the seconds that all took.
    """
    counts, spent, lock, stop = Counter(), [], threading.Lock(), threading.Event()
    all_answers = np.array([answer for own in clients for _, answer in own])
    began = time.perf_counter()

    def client(own: list, number: int) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        while time.perf_counter() - began < seconds or counts.total() < calls:
            picture, expected = own[number % PICTURES]
            started = time.perf_counter()
            try:
                verdict = judge(*(one_shot, queued)[number % 2](connection, picture), expected, all_answers)
            except (OSError, HTTPException, ValueError, LookupError):
                verdict = "lost"
                connection.close()
            with lock:
                counts[verdict] += 1
                if verdict == "ok":
                    spent.append(time.perf_counter() - started)
            if verdict == "busy":
                time.sleep(1)  # as Retry-After says
            number += 1

    threads = [threading.Thread(target=client, args=(own, number)) for number, own in enumerate(clients)]
    others = threading.Thread(target=rude, args=(port, stop))
    for thread in (*threads, others):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    others.join()
    return counts, np.sort(spent), time.perf_counter() - began


def row(name: str, counts: Counter, spent: np.ndarray, took: float, used: float) -> str:
    """Return a row of the table; `used` are the seconds of processor time that the server took."""
    times = " | ".join(f"{np.quantile(spent, part):.2f}" if len(spent) else "-" for part in (0.5, 0.95, 0.99))
    kinds = " | ".join(str(counts[kind]) for kind in ("ok", "busy", "error", "lost", "foreign"))
    return f"| {name} | {kinds} | {counts['ok'] / took:.0f} | {times} | {1000 * used / counts.total():.0f} |"


def main() -> int:
    """Measure and print a table; return 1 where an answer was lost, somebody else's, or an error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", default="1,8,32,64", help="how many at once, with commas between (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60, help="of each of them (default: %(default)s)")
    parser.add_argument("--calls", type=int, default=0, help="calls by 8 clients at the end, for the memory (default: %(default)s)")
    parser.add_argument("--port", type=int, help="of a server that runs already: its time and memory stay unknown (default: one is "
                        "started)")
    flags = parser.parse_args()
    torch.set_num_threads(1)
    counts = [int(number) for number in flags.clients.split(",")]
    clients = pictures(max(*counts, 8), Recognizer.from_pretrained())
    process, port = (None, flags.port) if flags.port else start(["app.py"])

    def used() -> tuple[float, float]:  # seconds, MB
        return (cpu_seconds(process), memory(process)) if process else (np.nan, np.nan)

    total = Counter()

    def report(name: str, clients: list, **until: float) -> str:
        before = used()
        measured = measure(port, clients, **until)
        after = used()
        total.update(measured[0])
        return row(name, *measured, after[0] - before[0]) + f" {before[1]:.0f} | {after[1]:.0f} |"

    try:
        measure(port, clients[:8], calls=400)  # until everything is loaded
        print("| Clients | ok | busy | errors | lost | foreign | ok a second | p50, s | p95, s | p99, s | server CPU, ms a call "
              "| MB before | MB after |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|")
        for number in counts:
            print(report(str(number), clients[:number], seconds=flags.seconds), flush=True)
        if flags.calls:
            print(report(f"8, {flags.calls:,} calls", clients[:8], calls=flags.calls))
    finally:
        if process:
            process.terminate()
    return 1 if total["error"] + total["lost"] + total["foreign"] else 0


if __name__ == "__main__":
    sys.exit(main())
