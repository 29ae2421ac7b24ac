"""How many pictures a second `recognize.py` reads from a folder beside a plain loop over `Recognizer.read`, and in what memory;
and how long a number takes.

    python bench/bulk.py                                  1,000 and 10,000 of MNIST's size, 1,000 sketches of 512x512
    python bench/bulk.py --mnist 1000,10000,100000        the long set: is the time of a picture constant, is the memory flat?

The pictures are drawn here with the strokes of examples/; everything random comes from --seed. Start-up is left out: it is what a
run over one picture takes, measured before and after.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
from draw_examples import SHAPES, trace  # noqa: E402
from ratios import add_store, compare  # noqa: E402

LOOPED = 400  # pictures of the plain loop


def draw(side: int, random: np.random.Generator) -> np.ndarray:
    """Return a digit of any shape, (side, side) uint8, white ink on black."""
    curves = [trace(curve) for curve in list(SHAPES.values())[random.integers(len(SHAPES))]]
    paper, slant = np.zeros((8 * side, 8 * side) if side < 100 else (side, side), np.uint8), random.uniform(0, 0.2)
    high, at = random.uniform(0.6, 0.75) * len(paper), random.uniform(0.1, 0.2, 2) * len(paper)
    pen = round(len(paper) * random.uniform(0.05, 0.09))
    for curve in curves:
        points = (curve - slant * curve[:, 1:] @ [[1, 0]] + (slant, 0)) * (0.62 * high, high) + at
        cv2.polylines(paper, [np.round(points * 8).astype(np.int32)[:, None]], False, 255, pen, cv2.LINE_AA, shift=3)
    return cv2.resize(paper, (side, side), interpolation=cv2.INTER_AREA) if len(paper) != side else paper


def fill(folder: Path, count: int, sketches: bool, seed: int) -> None:
    """Write pictures as PNG files, 1,000 to a folder; sketches are as a Sketchpad's layer, ink on nothing."""
    random = np.random.default_rng(seed)
    for number in range(count):
        if number % 1000 == 0:
            (folder / f"{number // 1000:04}").mkdir(parents=True)
        ink = draw(512 if sketches else 28, random)
        picture = cv2.merge([ink * 0, ink * 0, ink * 0, ink]) if sketches else ink
        (folder / f"{number // 1000:04}" / f"{number:06}.png").write_bytes(cv2.imencode(".png", picture)[1])


def run(source: Path, out: Path) -> tuple[float, float]:
    """Run `recognize.py` over a folder; return the seconds it took and the most memory it held, in MB."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, ROOT / "recognize.py", source, "--csv", out], stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"recognize.py failed over {source}")
    return time.perf_counter() - began, used.ru_maxrss / 1024


def loop(source: Path) -> float:
    """Return the seconds a picture that a plain loop takes: one process, one thread, one picture at a time."""
    import torch

    from recognize import Recognizer
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    recognizer, pictures = Recognizer.from_pretrained(), sorted(source.rglob("*.png"))[:LOOPED]
    recognizer.read(pictures[0])
    began = time.perf_counter()
    for picture in pictures:
        recognizer.read(picture)
    return (time.perf_counter() - began) / len(pictures)


def draw_number(length: int, random: np.random.Generator) -> np.ndarray:
    """Return a number, black on white, whose digits touch."""
    digits = [draw(128, random) for _ in range(length)]
    digits = [ink[:, slice(*np.flatnonzero(ink.max(axis=0) > 127)[[0, -1]] + (0, 1))] for ink in digits]  # cropped to its columns
    return np.pad(255 - np.hstack(digits), ((0, 0), (40, 40)), constant_values=255)


def print_numbers(lengths: list[int], count: int, seed: int) -> None:
    """Print the milliseconds of the processor, one thread, in which numbers of so many digits that touch are read."""
    import torch

    from fields import FieldReader
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    reader, random = FieldReader.from_pretrained(), np.random.default_rng(seed)
    print("\n| A number whose digits touch | CPU ms, median (p5 to p95) |\n|---|---|")
    for length in lengths:
        spent = []
        for picture in [draw_number(length, random) for _ in range(count + 1)]:  # the first one is for warming up
            began = time.process_time()
            reader.read(picture)
            spent.append(1000 * (time.process_time() - began))
        middle, low, high = np.percentile(spent[1:], (50, 5, 95))
        print(f"| {length} digits, {count} numbers | {middle:.0f} ({low:.0f} to {high:.0f}) |", flush=True)


def main() -> int:
    """Draw, read, print the tables; return 1 where a ratio got worse."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mnist", default="1000,10000", help="folders of so many pictures of 28x28 (default: %(default)s)")
    parser.add_argument("--sketches", default="1000", help="folders of so many sketches of 512x512 (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: %(default)s)")
    add_store(parser)
    flags = parser.parse_args()
    ratios = {}
    print("| Pictures | Start-up, s | Seconds | A second, without start-up | Plain loop, a second | Ratio of the times | "
          "Memory, MB |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for name, counts, sketches in (("28x28", flags.mnist, False), ("512x512 RGBA", flags.sketches, True)):
            for count in map(int, filter(None, counts.split(","))):
                source, one = Path(folder, f"{name}{count}"), Path(folder, f"{name}{count}one")
                fill(source, count, sketches, flags.seed)
                fill(one, 1, sketches, flags.seed)
                out = Path(folder, "out.csv")
                start = run(one, out)[0]
                seconds, memory = run(source, out)
                if len(out.read_text().splitlines()) != count + 1:
                    raise RuntimeError("recognize.py lost a row")
                start = (start + run(one, out)[0]) / 2
                each, plain = (seconds - start) / count, loop(source)
                ratios[f"{count} of {name}"] = each / plain
                print(f"| {count:,} of {name} | {start:.1f} | {seconds:.1f} | {1 / each:,.0f} | {1 / plain:,.0f} | "
                      f"{each / plain:.2f} | {memory:.0f} |", flush=True)
    print_numbers([1, 2, 5, 10], 60, flags.seed)
    print(f"\nseed {flags.seed}, {os.cpu_count()} processors")
    return 1 if compare("bulk", ratios, flags.store) else 0


if __name__ == "__main__":
    sys.exit(main())
