"""Kill training and saving with SIGKILL, and look at what is left: old weights or new ones, whole, and a run that goes on.

    python bench/kill.py             50 instants of training runs, 10 saves in a loop, 10 saves of training; about 2 minutes

Linux and macOS. A small network learns pictures of noise. Everything random comes from --seed.
"""

import argparse
import contextlib
import os
import random
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = ("--channels", "8,12,16", "--epochs", "3", "--batch-size", "64", "--threads", "1")
SAVES = 3 + 2  # of one run: a checkpoint after every epoch, the weights, config.json
LOOK = 0.0005  # seconds between two looks for a file that is being written
LONGEST = 0.05  # seconds after which a loop that saves is killed, at most
RESUMED = 5  # after the first kill, and every fifth that follows, the run is resumed


def write_noise(folder: Path, pictures: int = 240) -> Path:
    """Write pictures of noise in MNIST's file layout; return the folder to name as --data-dir."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix in ("train", "t10k"):
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 2051, pictures, 28, 28)
                                                            + random.randbytes(784 * pictures))
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 2049, pictures)
                                                            + bytes(i % 10 for i in range(pictures)))
    return folder


def start(work: Callable) -> int:
    """Run `work` in a copy of this process, without what it prints; return the number of the copy."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException), open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
            code = work()
        os._exit(code or 0)
    return child


def finish(work: Callable) -> None:
    """Run `work` in a copy of this process to its end; raise RuntimeError where that fails."""
    if os.waitpid(start(work), 0)[1]:
        raise RuntimeError("a run that nobody killed failed")


def kill(child: int) -> bool:
    """Kill a copy, gone for good when this returns; return False where it had ended by itself."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def has_ended(child: int) -> bool:
    """Return whether a copy of this process has come to its end by itself."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def parts(folder: Path) -> list[Path]:
    """Return the half-written files in a folder."""
    return list(folder.glob(".*.part"))


class Victims:
    """Old weights, new weights, and the runs and loops that go from one to the other in a folder of their own."""

    def __init__(self, folder: Path):
        from model import load_weights, save_weights
        from train import main as train
        self.load, self.save = load_weights, save_weights
        self.folder, self.data, self.train = folder, write_noise(folder / "data"), train
        finish(self.run("old", "--seed", "1"))
        started = time.perf_counter()
        finish(self.run("new"))
        self.seconds = time.perf_counter() - started  # that a run takes
        self.old, self.new = ((folder / name / "model.safetensors").read_bytes() for name in ("old", "new"))

    def run(self, name: str, *flags: str) -> Callable:
        """Return the work of a training run into a folder by this name."""
        def work() -> int:
            sys.argv = ["train.py", "--data-dir", str(self.data), "--out", str(self.folder / name), *SETTINGS, *flags]
            return self.train()
        return work

    def fresh(self, name: str) -> Path:
        """Return a new folder with the old weights."""
        (self.folder / name).mkdir()
        (self.folder / name / "model.safetensors").write_bytes(self.old)
        return self.folder / name

    def is_whole(self, folder: Path) -> bool:
        """Return whether a folder holds the old weights or the new ones, byte by byte, and they load."""
        self.load(folder / "model.safetensors")
        return (folder / "model.safetensors").read_bytes() in (self.old, self.new)

    def goes_on(self, folder: Path) -> bool:
        """Return whether the next run, resumed where an epoch was done, ends with the new weights and cleans up."""
        finish(self.run(folder.name, *["--resume"] if (folder / "checkpoint.safetensors").exists() else []))
        left = sorted(path.name for path in folder.iterdir())
        return (folder / "model.safetensors").read_bytes() == self.new and left == ["config.json", "model.safetensors"]


def at_any_instant(victims: Victims) -> Iterator[tuple[Path, bool]]:
    """Kill training runs, each at a random instant of it; yield (folder, whether half a file is left)."""
    for number in count():
        folder = victims.fresh(f"instant{number}")
        child = start(victims.run(folder.name))
        time.sleep(random.uniform(0, victims.seconds))
        if kill(child):
            yield folder, bool(parts(folder))


def in_a_save_of_training(victims: Victims) -> Iterator[tuple[Path, bool]]:
    """Kill training runs while one of their saves is under way; yield as above."""
    for number in count():
        folder = victims.fresh(f"save{number}")
        child = start(victims.run(folder.name))
        for save in range(random.randrange(SAVES) + 1):
            while save and parts(folder):  # the one before
                time.sleep(LOOK)
            while not parts(folder) and not has_ended(child):
                time.sleep(LOOK)
        time.sleep(random.uniform(0, 0.001))
        if kill(child) and parts(folder):
            yield folder, True


def in_a_loop_of_saves(victims: Victims) -> Iterator[tuple[Path, bool]]:
    """Kill a program that does nothing but save, now the old weights, now the new; yield as above."""
    for number in count():
        folder = victims.fresh(f"loop{number}")

        def loop(file: Path = folder / "model.safetensors") -> None:
            nets = [victims.load(victims.folder / name / "model.safetensors") for name in ("new", "old")]
            while True:
                for net in nets:
                    victims.save(net, file)

        child = start(loop)
        while not parts(folder):
            time.sleep(LOOK)
        time.sleep(random.uniform(0, LONGEST))
        if kill(child) and parts(folder):
            yield folder, True


def main() -> int:
    """Kill, look, print one table; return 1 where anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instants", type=int, default=50, help="kills of training runs (default: %(default)s)")
    parser.add_argument("--saves", type=int, default=20, help="kills in the middle of a save (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: %(default)s)")
    flags = parser.parse_args()
    random.seed(flags.seed)
    sys.path.insert(0, str(ROOT))
    kinds = ((at_any_instant, "a training run, at any instant", flags.instants),
             (in_a_save_of_training, "a training run, in a save", flags.saves - flags.saves // 2),
             (in_a_loop_of_saves, "a loop that only saves, in a save", flags.saves // 2))
    print("| What was killed | Kills | Old or new weights, whole | Half a file left beside them | Went on to the new weights |\n"
          "|---|---|---|---|---|")
    good = total = 0
    with tempfile.TemporaryDirectory() as folder:
        victims = Victims(Path(folder))
        for victim, name, kills in kinds:
            whole = half = resumed = tried = 0
            for left, torn in islice(victim(victims), kills):
                whole, half = whole + victims.is_whole(left), half + torn
                if total % RESUMED == 0:
                    resumed, tried = resumed + victims.goes_on(left), tried + 1
                total += 1
            print(f"| {name} | {kills} | {whole} | {half} | {resumed} of {tried} |", flush=True)
            good += whole - (tried - resumed)
    print(f"\n{good} of {total}; seed {flags.seed}, a run takes {victims.seconds:.1f} s")
    return 0 if good == total else 1


if __name__ == "__main__":
    sys.exit(main())
