"""What a call costs beside a function that does nothing: the same page with a no-op predict, run beside ours, calls alternating.

    python bench/serving.py             1 client, 200 calls each way; then 8, 32 and 64 clients; about 3 minutes

In the crowd the server that does nothing has Gradio's default settings: one call at a time.
"""

import argparse
import base64
import json
import os
import socket
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
from ratios import add_store, compare

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
PICTURE = ROOT / "examples" / "7_crossed_transparent.png"
NO_OP = """
import os, sys, threading
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
import gradio as gr
def predict(image):
    return dict.fromkeys("0123456789", 0.1)
with gr.Blocks() as demo:
    sketch, image, label = gr.Sketchpad(type="pil"), gr.Image(type="pil", image_mode=None), gr.Label(num_top_classes=10)
    sketch.change(predict, sketch, label, api_visibility="private")
    image.change(predict, image, label, api_name="predict")
demo.launch(server_port=int(sys.argv[-1]), quiet=True, prevent_thread_lock=True)
print("ready", flush=True)
threading.Event().wait()
"""


def start(code: list[str]) -> tuple[subprocess.Popen, int]:
    """Start a server on a free port; return it and the port once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, *code, "--port", str(port)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()
    return process, port


def one_shot(connection: HTTPConnection) -> None:
    """Send the picture as a data URL and wait for the answer."""
    url = "data:image/png;base64," + base64.b64encode(PICTURE.read_bytes()).decode()
    body = json.dumps({"data": [{"url": url, "meta": {"_type": "gradio.FileData"}}]})
    connection.request("POST", "/gradio_api/run/predict", body, {"Content-Type": "application/json"})
    connection.getresponse().read()


def queued(connection: HTTPConnection) -> None:
    """Upload the picture, queue a call, and wait for the end of its stream."""
    content = (b'--x\r\nContent-Disposition: form-data; name="files"; filename="7.png"\r\nContent-Type: image/png\r\n\r\n'
               + PICTURE.read_bytes() + b"\r\n--x--\r\n")
    connection.request("POST", "/gradio_api/upload", content, {"Content-Type": "multipart/form-data; boundary=x"})
    path = json.loads(connection.getresponse().read())[0]
    body = json.dumps({"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]})
    connection.request("POST", "/gradio_api/call/predict", body, {"Content-Type": "application/json"})
    event = json.loads(connection.getresponse().read())["event_id"]
    connection.request("GET", f"/gradio_api/call/predict/{event}")
    connection.getresponse().read()


def cpu_seconds(process: subprocess.Popen) -> float:
    """Return the processor time that a server has used so far (Linux)."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(process: subprocess.Popen) -> float:
    """Return the MB of memory that a server has in use (Linux)."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def alternate(servers: dict, calls: int) -> dict[str, float]:
    """Let one client call both servers in turn by both doors, print a table, return the ratios of the median times."""
    print("| Door | ours, ms p50 (p5 to p95) | no-op, ms p50 (p5 to p95) | ratio | ours, CPU ms a call | no-op, CPU ms a call |\n"
          "|---|---|---|---|---|---|")
    connections, ratios = {name: HTTPConnection("127.0.0.1", port) for name, (_, port) in servers.items()}, {}
    for name, call in (("one shot, data URL", one_shot), ("upload + queued call", queued)):
        spent = {server: [] for server in servers}
        for connection in connections.values():
            for _ in range(10):
                call(connection)
        used = {server: cpu_seconds(process) for server, (process, _) in servers.items()}
        for _ in range(calls):
            for server, connection in connections.items():
                started = time.perf_counter()
                call(connection)
                spent[server].append(1000 * (time.perf_counter() - started))
        used = {server: 1000 * (cpu_seconds(process) - used[server]) / calls for server, (process, _) in servers.items()}
        ours, floor = (np.percentile(spent[server], (50, 5, 95)) for server in ("ours", "no-op"))
        ratios[name] = ours[0] / floor[0]
        print(f"| {name} | {ours[0]:.1f} ({ours[1]:.1f} to {ours[2]:.1f}) | {floor[0]:.1f} ({floor[1]:.1f} to {floor[2]:.1f}) | "
              f"{ratios[name]:.2f} | {used['ours']:.1f} | {used['no-op']:.1f} |", flush=True)
    return ratios


def crowd(port: int, clients: int, seconds: float) -> float:
    """Let clients upload and queue for some seconds, each as fast as it is answered; return the calls a second."""
    counts, until = [0] * clients, time.perf_counter() + seconds

    def ask(client: int) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        while time.perf_counter() < until:
            queued(connection)
            counts[client] += 1

    threads = [threading.Thread(target=ask, args=(client,)) for client in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - began)


def compare_crowds(servers: dict, sizes: list[int], seconds: float, rounds: int) -> dict[str, float]:
    """Let many clients call both servers, in turn, print a table, return the ratios of the times a call."""
    print("\n| Clients, upload + queued call | ours, calls a second (range) | no-op, calls a second (range) | ours / no-op |\n"
          "|---|---|---|---|")
    ratios = {}
    for clients in sizes:
        rates = {server: [] for server in servers}
        for _ in range(rounds):
            for server, (_, port) in servers.items():
                rates[server].append(crowd(port, clients, seconds))
        ours, floor = (float(np.median(rates[server])) for server in ("ours", "no-op"))
        ratios[f"{clients} clients"] = floor / ours
        print(f"| {clients} | {ours:.0f} ({min(rates['ours']):.0f} to {max(rates['ours']):.0f}) | {floor:.0f} "
              f"({min(rates['no-op']):.0f} to {max(rates['no-op']):.0f}) | {ours / floor:.2f} |", flush=True)
    return ratios


def print_parts(times: int) -> None:
    """Print what a picture costs by its parts, in this process and one thread, in milliseconds of the processor."""
    import io

    import cv2
    import gradio
    import torch
    from PIL import Image

    from decode import open_picture
    from preprocess import walk
    from recognize import Recognizer
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    recognizer, file = Recognizer.from_pretrained(), PICTURE.read_bytes()
    picture = open_picture(file)
    seen, label = recognizer.read(picture).seen[None], gradio.Label(num_top_classes=10)
    answer = dict.fromkeys("0123456789", 0.1)
    sketch, photograph = picture.resize((512, 512)), io.BytesIO()
    Image.open(PICTURE.parent / "9_photo_far_away.jpg").resize((4000, 3000)).convert("RGB").save(photograph, "JPEG")
    parts = {f"decode a PNG of {picture.width}x{picture.height}": lambda: open_picture(file),
             "preprocess it": lambda: [*walk(picture)],
             "the network": lambda: recognizer.probabilities(seen), "Gradio's Label": lambda: label.postprocess(answer),
             "recognize.read of a decoded 512x512 RGBA sketch": lambda: recognizer.read(sketch),
             "decode a JPEG of 12 megapixels": lambda: open_picture(photograph.getvalue())}
    print("\n| Part of a call | CPU ms, median (p5 to p95) |\n|---|---|")
    for name, part in parts.items():
        spent = []
        for _ in range(times):
            began = time.process_time()
            part()
            spent.append(1000 * (time.process_time() - began))
        middle, low, high = np.percentile(spent[times // 10:], (50, 5, 95))
        print(f"| {name} | {middle:.2f} ({low:.2f} to {high:.2f}) |", flush=True)


def main() -> int:
    """Measure both doors on both servers, alone and in a crowd, and print the tables; return 1 where a ratio got worse."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=200, help="calls of each kind to each server (default: %(default)s)")
    parser.add_argument("--clients", default="8,32,64", help="sizes of the crowds, or nothing (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=6, help="of a round of a crowd (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of a crowd at each server, in turn (default: %(default)s)")
    add_store(parser)
    flags = parser.parse_args()
    servers = {"ours": start(["app.py"]), "no-op": start(["-c", NO_OP])}
    try:
        ratios = alternate(servers, flags.calls)
        sizes = [int(size) for size in flags.clients.split(",") if size]
        ratios |= compare_crowds(servers, sizes, flags.seconds, flags.rounds) if sizes else {}
    finally:
        for process, _ in servers.values():
            process.terminate()
    print_parts(50)
    return 1 if compare("serving", ratios, flags.store) else 0


if __name__ == "__main__":
    sys.exit(main())
