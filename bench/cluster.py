"""What Ray adds: pictures a second with 1 and 2 actors beside a plain loop; and a run that is killed and goes on, row by row.

    python bench/cluster.py             20,000 pictures of numbers drawn here, and 1,000 for the speeds; about 10 minutes

Needs requirements-bulk.txt. Everything random comes from --seed.
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
PROGRAM = ROOT / "scripts" / "bulk.py"
HEIGHT, TALL, WIDE = 48, 30, 22  # pixels of a picture, a digit, and the room that a digit takes
LOOK = 0.2  # seconds between two looks at how far a run is


def draw_numbers(folder: Path, count: int, seed: int) -> Path:
    """Draw numbers of one to three digits with the strokes of examples/, black on white; return the folder."""
    from draw_examples import SHAPES, trace
    curves = [[trace(curve) for curve in shape] for shape in SHAPES.values()]
    random = np.random.default_rng(seed)
    folder.mkdir()
    for number in range(count):
        digits = random.integers(len(curves), size=random.integers(1, 4))
        paper = np.full((HEIGHT, WIDE * (len(digits) + 1)), 255, np.uint8)
        slant, pen = random.uniform(0, 0.15), int(random.integers(2, 5))
        for place, digit in enumerate(digits):
            for curve in curves[digit]:
                points = (curve - (slant * curve[:, 1:] @ [[1, 0]])) * (0.62 * TALL, TALL) + (WIDE * (place + 0.6), 9)
                cv2.polylines(paper, [np.round(points * 8).astype(np.int32)[:, None]], False, 0, pen, cv2.LINE_AA, shift=3)
        (folder / f"{number:06}.png").write_bytes(cv2.imencode(".png", paper)[1])
    return folder


def loop(pictures: list[Path]) -> float:
    """Read pictures in this process, one thread, as many at a time as an actor; return how many a second."""
    import torch
    from bulk import BATCH

    from fields import FieldReader
    torch.set_num_threads(1)
    reader = FieldReader.from_pretrained()
    reader.read_batch(pictures[:1])
    started = time.perf_counter()
    for at in range(0, len(pictures), BATCH):
        reader.read_batch(pictures[at:at + BATCH])
    return len(pictures) / (time.perf_counter() - started)


def start(source: Path, out: Path, workers: int) -> subprocess.Popen:
    """Start scripts/bulk.py; what it says goes into a file beside its rows."""
    with open(f"{out}.log", "w") as said:
        return subprocess.Popen([sys.executable, PROGRAM, str(source), str(out), "--workers", str(workers)], stdout=said,
                                stderr=said, env={**os.environ, "RAY_worker_niceness": "0"})  # as the loop; 15 by default


def read_all(source: Path, out: Path, workers: int) -> None:
    """Run scripts/bulk.py to its end; raise RuntimeError with what it said where it failed."""
    if start(source, out, workers).wait():
        raise RuntimeError(f"scripts/bulk.py failed: {Path(f'{out}.log').read_text().splitlines()[-1]}")


def count_rows(out: Path) -> int:
    """Return how many rows are in whole files by now."""
    import pyarrow.parquet as pq
    return sum(pq.read_metadata(part).num_rows for part in out.glob("*.parquet"))


def speed(source: Path, out: Path, workers: int) -> tuple[float, float]:
    """Return the seconds of a run until its first rows, and how many pictures a second came from then on."""
    began = time.time()
    read_all(source, out, workers)
    import pyarrow.parquet as pq
    first, *others = sorted(out.glob("*.parquet"), key=lambda part: part.stat().st_mtime)
    since, until = first.stat().st_mtime, others[-1].stat().st_mtime
    return since - began, (count_rows(out) - pq.read_metadata(first).num_rows) / (until - since)


def compare(source: Path, folder: Path) -> None:
    """Print the table of the speeds; the loop runs before and after the others, as the machine may be busier now than then."""
    pictures = sorted(source.iterdir())
    before = loop(pictures)
    runs = {workers: speed(source, folder / f"rows{workers}", workers) for workers in (1, 2)}
    plain = (before + loop(pictures)) / 2
    print("| Road | Pictures | Until the first rows, s | Pictures a second, then | Ratio to the loop |\n|---|---|---|---|---|")
    print(f"| a plain loop, before and after | 2 x {len(pictures):,} | | {plain:.1f} | 1 |")
    for workers, (first, rate) in runs.items():
        print(f"| scripts/bulk.py, {workers} actor{'s' * (workers > 1)} | {len(pictures):,} | {first:.0f} | {rate:.1f} | "
              f"{rate / plain:.2f} |", flush=True)


def kill_and_resume(source: Path, out: Path, workers: int) -> tuple[int, int, int, int]:
    """Kill a run with SIGKILL when half of the rows are there, and run it again; return (pictures, rows then, rows, lost)."""
    import pyarrow.parquet as pq
    pictures = sorted(map(str, source.iterdir()))
    process = start(source, out, workers)
    while count_rows(out) < len(pictures) / 2 and process.poll() is None:
        time.sleep(LOOK)
    process.kill()
    process.wait()
    then = count_rows(out)
    read_all(source, out, workers)
    rows = [path for part in out.glob("*.parquet") for path in pq.read_table(part, columns=["path"])["path"].to_pylist()]
    return len(pictures), then, len(rows), len({*pictures} - {*rows})


def main() -> int:
    """Draw, read, kill, count, print two tables; return 1 where a row was lost or doubled, and where the kill came too late."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=20_000, help="pictures of the run that is killed (default: %(default)s)")
    parser.add_argument("--timed", type=int, default=1_000, help="pictures of the speeds, 0 for none (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: %(default)s)")
    flags = parser.parse_args()
    sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
    with tempfile.TemporaryDirectory() as folder:
        if flags.timed:
            compare(draw_numbers(Path(folder, "timed"), flags.timed, flags.seed), Path(folder))
        archive = draw_numbers(Path(folder, "archive"), flags.pictures, flags.seed)
        count, then, rows, lost = kill_and_resume(archive, Path(folder, "rows"), 2)
    print("\n| Pictures | Rows when it was killed | Rows after the same command again | Lost | Doubled |\n|---|---|---|---|---|")
    print(f"| {count:,} | {then:,} | {rows:,} | {lost} | {rows - count + lost} |\n\nseed {flags.seed}")
    return 0 if then < count == rows and not lost else 1


if __name__ == "__main__":
    sys.exit(main())
