"""What the tests share: pictures made here, a small MNIST made here, and one real server."""

import contextlib
import importlib
import io
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1")  # before anything imports gradio or the hub client

import cv2
import numpy as np
import pytest
from hub import Hub
from huggingface_hub import close_session, constants

from data import draw
from recognize import Recognizer

ROOT = Path(__file__).parent.parent
REAL_DATA = Path(os.environ.get("DIGITVISION_DATA", ROOT / "data"))

# strokes of our own, in any unit: x right, y down
STROKES = {
    "0": [[(5, 0), (2, 1), (0, 5), (0, 9), (2, 13), (5, 14), (8, 13), (10, 9), (10, 5), (8, 1), (5, 0)]],
    "1": [[(0, 3), (4, 0), (4, 14)]],
    "4": [[(3, 0), (0, 8), (9, 8)], [(7, 3), (6, 14)]],
    "5": [[(1, 0), (0, 6), (5, 5), (8, 7), (8, 11), (5, 14), (0, 13)], [(1, 0), (8, 0)]],
    "7": [[(0, 0), (9, 0), (4, 14)]],
}
# and of signs, beside digits from 0 to 14
RING = [(2, 0), (0.6, 0.6), (0, 2), (0.6, 3.4), (2, 4), (3.4, 3.4), (4, 2), (3.4, 0.6), (2, 0)]
SIGNS = {
    ".": [[(0, 14), (0.5, 14)]],
    ",": [[(0.6, 13.5), (0.6, 15), (0, 17)]],
    "-": [[(0, 7), (5, 7)]],
    "/": [[(8, -1.5), (0, 16)]],
    "N": [[(0, 14), (0, 0), (8, 14), (8, 0)]],
    "%": [RING, [(10, 0), (2, 14)], [(x + 7.5, y + 10) for x, y in RING]],
}


HIGH = 90  # pixels of a digit in a number


def make_sketch(digit: str = "7", width: float = 22, size: float = 0.6, at=(0.5, 0.5), pad: int = 280) -> np.ndarray:
    """Return a (pad, pad) uint8 sketch of a digit, black on white."""
    return draw([np.array(stroke, np.float32) for stroke in STROKES[digit]], width, size, at, pad)


def make_field(digit: str = "7", neighbour: str = "0", gap: float = -0.5, width: float = 14) -> np.ndarray:
    """Return a digit of a number cut out by its box and 15 % around it, black on white; neighbours on both sides, `gap` away."""
    middle = [np.array(stroke, np.float32) for stroke in STROKES[digit]]
    points = np.concatenate(middle)
    left, right = points[:, 0].min(), points[:, 0].max()
    other = [np.array(stroke, np.float32) for stroke in STROKES[neighbour]]
    wide = np.concatenate(other)[:, 0].max()
    number = [stroke + (across, 0) for across in (left - gap - wide, right + gap) for stroke in other] + middle
    pad, size = 800, 0.8
    high, low = np.concatenate(number).max(axis=0), np.concatenate(number).min(axis=0)
    scale = size * pad / (high - low).max()
    (x0, y0), (x1, y1) = ((corner - (low + high) / 2) * scale + pad / 2 for corner in (points.min(axis=0), points.max(axis=0)))
    dx, dy = 0.15 * (x1 - x0), 0.15 * (y1 - y0)
    return np.ascontiguousarray(draw(number, width, size, pad=pad)[int(y0 - dy):int(y1 + dy), int(x0 - dx):int(x1 + dx)])


def make_number(text: str, gap: float = 0.25, pen: int = 9, high: int = HIGH, margin: int = 40) -> tuple[np.ndarray, list]:
    """Return a picture, black on white, of digits and separators with `gap` heights between them, and the boxes of the digits."""
    paper, x, boxes = np.full((high + 2 * margin, 2 * margin + len(text) * 2 * high), 255, np.uint8), float(margin), []
    unit = high / 14
    for sign in text:
        if sign in STROKES:
            strokes = [np.array(stroke, float) for stroke in STROKES[sign]]
        else:
            strokes = [np.array(line, float) for line in SIGNS[sign]]
        points = np.concatenate(strokes)
        left, right = points[:, 0].min(), points[:, 0].max()
        for stroke in strokes:
            line = np.round(((stroke - (left, 0)) * unit + (x, margin)) * 8).astype(np.int32)
            cv2.polylines(paper, [line[:, None]], False, 0, pen, cv2.LINE_AA, shift=3)
        if sign in STROKES:
            boxes.append((x - pen / 2, margin - pen / 2, (right - left) * unit + pen, high + pen))
        x += (right - left) * unit + gap * high
    return np.ascontiguousarray(paper[:, :int(x - gap * high) + margin]), boxes


def on_a_notebook_page(picture: np.ndarray) -> np.ndarray:
    """Return a picture, black on white, on ruled paper with a margin line and two punched holes to its left."""
    page = np.pad(picture, ((30, 30), (110, 20)), constant_values=255)
    high, paper = len(page), page.copy()
    paper[10::44], paper[11::44], paper[:, 80:83] = 170, 170, 110
    for place in (high // 4, high * 3 // 4):
        cv2.circle(paper, (34, place), 13, 70, -1, cv2.LINE_AA)
    return np.minimum(page, paper)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean absolute difference of two pictures, in grey levels."""
    return float(np.abs(one.astype(float) - other.astype(float)).mean())


def write_mnist(folder: Path, train: int = 240, test: int = 60) -> Path:
    """Write a small data set of rendered digits in MNIST's own file layout; return the folder to name as --data-dir."""
    from preprocess import see
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    for prefix, count in (("train", train), ("t10k", test)):
        digits = random.choice(list(STROKES), count)
        pictures = np.stack([see(make_sketch(d, width=random.uniform(12, 30), size=random.uniform(0.4, 0.8))) for d in digits])
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, 28, 28) + pictures.tobytes())
        labels = digits.astype(np.uint8)
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels.tobytes())
    return folder


def write_strokes(path: Path, writers: int = 10) -> Path:
    """Write a stroke file in which every writer drew every digit of ours once."""
    points, strokes, samples, labels, names = [], [0], [0], [], []
    for writer in range(writers):
        for label, lines in STROKES.items():
            for line in lines:
                points += line
                strokes.append(len(points))
            samples.append(len(strokes) - 1)
            labels.append(label)
            names.append(f"writer{writer}")
    np.savez(path, points=np.array(points, np.float32), stroke_start=np.array(strokes, np.int32),
             sample_start=np.array(samples, np.int32), label=np.array(labels), writer=np.array(names))
    return path


def run_program(*arguments: str, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess:
    """Run one of the project's programs as a user would; return what it printed and its exit code."""
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=timeout,
                          env={**os.environ, **environment})


def run_main(program: str, *arguments: str) -> subprocess.CompletedProcess:
    """Run main() of one of the programs in this process, without its start of some seconds; return what run_program does."""
    before, sys.argv = sys.argv, [program, *map(str, arguments)]
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")  # can be reconfigured
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = importlib.import_module(program.removesuffix(".py")).main()
    except SystemExit as exit:  # argparse
        code = exit.code
    finally:
        sys.argv = before
    out.seek(0)
    err.seek(0)
    return subprocess.CompletedProcess(arguments, code, out.read(), err.read())


def heed_ctrl_c() -> None:
    """Let a child be interrupted even where this process, as shells start those in the background, is not."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def recognizer() -> Recognizer:
    return Recognizer.from_pretrained()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub on this machine that the hub client asks, in this process and, by its environment, in programs; an empty cache."""
    with Hub() as hub:
        hub.home = home = tmp_path / "hf"
        for name, value in {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
                            "HF_HUB_DISABLE_PROGRESS_BARS": "1"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        for name, value in {  # read once, when the client was imported
                "ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True, "HF_HUB_CACHE": str(home / "hub"),
                "HUGGINGFACE_CO_URL_TEMPLATE": hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
                "HF_TOKEN_PATH": str(home / "token"), "HF_STORED_TOKENS_PATH": str(home / "stored_tokens")}.items():
            monkeypatch.setattr(constants, name, value)
        yield hub
        close_session()  # its connections end here, and whatever a program did to it


@pytest.fixture(scope="session")
def small_mnist(tmp_path_factory) -> Path:
    return write_mnist(tmp_path_factory.mktemp("mnist"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    if not (REAL_DATA / "MNIST" / "raw").is_dir():
        pytest.skip(f"no MNIST in {REAL_DATA}; 'make train' fetches it, or DIGITVISION_DATA names a folder")
    return REAL_DATA


@pytest.fixture(scope="session")
def server():
    """Yield the address of `python app.py`, started once."""
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if name != "GRADIO_ANALYTICS_ENABLED"}
    process = subprocess.Popen([sys.executable, "app.py", "--port", str(port)], cwd=ROOT, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, env=environment)
    address = f"http://127.0.0.1:{port}"
    for _ in range(120):
        try:
            urllib.request.urlopen(address, timeout=5).read()
            break
        except OSError:
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.5)
    yield address
    process.terminate()
    process.wait(10)


def need(program: str) -> str:
    """Return the path of a program; skip where it is not installed, except under CI."""
    path = shutil.which(program)
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{program} is not installed")
    return path
