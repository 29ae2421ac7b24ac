"""What the command lines that read files share: which pictures, how many at a time, how far they are, and how they end."""

import argparse
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bounds import SUFFIXES
from files import refuse

PROCESSORS = os.cpu_count() or 1


def find_pictures(paths: Sequence[str]) -> list[Path]:
    """Return the files named, and the pictures in the folders named, folders searched through and sorted by name.

    Raises ValueError with a sentence for a path that is not there and for a folder without pictures.
    """
    found = []
    for path in map(Path, paths):
        if not os.path.exists(path):  # pathlib raises for names that no file can have
            raise ValueError(f"There is no file or folder {str(path)[:200]}. Check the name.")
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
            if not inside:
                raise ValueError(f"The folder {path} holds no pictures ({', '.join(SUFFIXES)}). Name another one.")
            found += inside
        else:
            found.append(path)
    return found


def spare_pictures(paths: Sequence[Path], **written: str | None) -> None:
    """Raise ValueError with a sentence where a file that is to be written, named by its flag, is one of the pictures."""
    for flag, name in written.items():
        if name and os.path.exists(name):
            for path in paths:
                if path.exists() and os.path.samefile(path, name):  # by whatever name, also by a link
                    raise ValueError(f"--{flag} {name} is one of the pictures, and would be overwritten. Name another file.")


def shown(path: Path) -> str:
    """Return the name of a file for one row of a table: what would end the row, or command the terminal, is written as a code."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in str(path))


def in_parallel(work: Callable, items: Iterable, threads: int | None = None) -> Iterator[tuple]:
    """Yield (item, work(item)) in the order of the items, from as many threads as there are processors, or as are named; little is
    done ahead of what was taken, so that memory stays flat. `work` spends its time where Python lets others run: in Pillow, OpenCV
    and torch."""
    threads = threads or PROCESSORS
    started: deque = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                started.append((item, pool.submit(work, item)))
                if len(started) >= 2 * threads:
                    first, result = started.popleft()
                    yield first, result.result()
            while started:
                first, result = started.popleft()
                yield first, result.result()
        finally:
            for _, result in started:
                result.cancel()


def share_processors() -> None:
    """Let torch and OpenCV work in the thread that calls them, as `in_parallel` brings the others, and let large pictures wait for
    one another as long as it takes: nobody is there to send them again."""
    import cv2
    import torch

    import decode
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    decode.PATIENCE = -1  # for ever


def progress(steps: Iterable, total: int) -> Iterable:
    """Return the steps with a bar on standard error, where that is a screen: how many, how many a second, how long still."""
    from tqdm import tqdm  # comes with huggingface_hub; the page has no use for it

    return tqdm(steps, total=total, unit=" pictures", disable=None)


class Parser(argparse.ArgumentParser):
    """argparse's, which would print all the flags, a page of them, above what is wrong with one."""

    def error(self, message: str):
        self.exit(2, f"{self.prog}: {message.rstrip('.')}. See --help.\n")


def add_max_error(parser: argparse.ArgumentParser, default: float, known: str) -> None:
    """Add the flag that sets what is called unsure."""
    parser.add_argument("--max-error", type=float, default=default, metavar="SHARE",
                        help=f"share of wrong answers to accept, {known}; less sure ones are marked unsure (default: %(default)s)")


def add_pictures(parser: argparse.ArgumentParser) -> None:
    """Add what every reading of files needs: the pictures, the weights, and JSON if that is wanted."""
    parser.add_argument("paths", nargs="+", metavar="PATHS", help="picture files, and folders of them")
    parser.add_argument("--weights", help="folder, .safetensors file, or hub id ORG/NAME[@REVISION] (default: weights/)")
    parser.add_argument("--json", action="store_true", help="write JSON Lines to standard output")


def count_bad(bad: list[str], count: int) -> int:
    """Say what became of pictures that could not be read, by their messages, of `count`; return the exit code."""
    if bad:
        print(bad[0] if len(bad) == 1 else f"{len(bad)} of {count} pictures could not be read; their rows say why.",
              file=sys.stderr)
    return 2 if bad else 0


def end_well(run: Callable[[], int], stopped: str = "") -> int:
    """Return the exit code of a command line's work, which ends in a sentence whatever happens; `stopped` is for a Ctrl-C."""
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))  # None where it is closed
    sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not be text, nor the console's letters all letters
    try:
        return run()
    except KeyboardInterrupt:
        print("\nStopped." + stopped, file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        return refuse(error)
