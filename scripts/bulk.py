"""Read the numbers in more pictures than one machine can: Ray Data reads them, Parquet files take the rows.

    python scripts/bulk.py scans/ rows/                                            all processors of this machine
    python scripts/bulk.py 'scans/2024-*/*.png' rows/ --rule '\\d{5}'               a glob, and what the numbers look like
    python scripts/bulk.py s3://archive/scans s3://archive/rows --address auto     a cluster, on one of its machines

One row for every picture; where it cannot be read the row says why. The same command again reads what has no row yet.
"""

import argparse
import contextlib
import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from glob import glob
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch
from tqdm import tqdm

from bounds import MAX_BYTES, SUFFIXES
from console import Parser, find_pictures
from decode import PictureError, open_picture
from fields import FieldReader, add_string_error
from files import HEADER, refuse, remove_parts, write_whole
from recognize import ODD
from rules import Rule

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import fs
except ImportError:
    pa = None

BATCH = 32  # pictures that an actor reads at a time, in one forward pass: a second's work
ROWS = 50_000  # of one Parquet file, at most
SECONDS = 10  # after which a file is written; a kill costs as much work, and no more
MEMORY = 256 * 2 ** 20  # bytes that a local Ray may share between processes; paths and rows are small
QUIET = 30  # seconds between two signs of life in a log; a terminal gets ten a second
MISSING = "Reading in bulk needs one more package. Run 'pip install -r requirements-bulk.txt'."
UNFETCHED = "This file could not be fetched from its storage. Check that it is there and may be read."


def schema(settings: dict | None = None) -> "pa.Schema":
    """Return the columns of a row; with settings, those of a file, whose header says what its rows were made with."""
    text, number = pa.string(), pa.float64()
    alternatives = pa.list_(pa.struct({"text": text, "probability": number}))
    columns = {"path": text, "text": text, "display": text, "confidence": number, "verdict": text, "message": text,
               "alternatives": alternatives, "by_rule": pa.bool_(), "seconds": number}
    return pa.schema(columns, settings and {HEADER: json.dumps(settings)})


class Worker:
    """One actor of the pool: it holds a reader, and makes a table of rows of a table of names."""

    def __init__(self, reader: FieldReader, rule: str | None, filesystem: "fs.FileSystem", scheme: str):
        torch.set_num_threads(1)  # there is an actor for every processor
        self.reader, self.rule, self.filesystem, self.scheme = reader, rule, filesystem, scheme

    def __call__(self, waiting: "pa.Table") -> "pa.Table":
        """Return a row for each path; its `seconds` are the batch's, shared equally."""
        started = time.perf_counter()
        names = [os.fsdecode(name) for name in waiting["name"].to_pylist()]
        rows = [{"path": path_of(name, self.scheme), **row} for name, row in zip(names, self.read(names), strict=True)]
        seconds = (time.perf_counter() - started) / len(rows)
        return pa.Table.from_pylist([{**row, "seconds": seconds} for row in rows], schema())

    def read(self, names: list[str]) -> list[dict]:
        """Return what was read of each file. What nobody foresaw costs one picture its answer and does not stop the run."""
        try:
            readings = self.reader.read_batch(map(self.fetch, names), self.rule)  # one picture at a time in memory
        except Exception:
            if len(names) > 1:
                return [row for name in names for row in self.read([name])]
            readings = self.reader.read_batch([PictureError(ODD)], self.rule)
        return [{"text": each.text, "display": each.display, "confidence": each.confidence, "verdict": each.verdict,
                 "message": each.message, "by_rule": each.by_rule,
                 "alternatives": [{"text": text, "probability": probability} for text, probability in each.alternatives]}
                for each in readings]

    def fetch(self, name: str):
        """Return a file as the reader takes it: a path, or a picture from storage, or what became of that."""
        if not self.scheme:
            return name
        try:
            with self.filesystem.open_input_stream(name) as file:
                return open_picture(file.read(MAX_BYTES + 1))  # one more is too large, and it says so
        except PictureError as error:
            return error
        except Exception:  # every storage raises its own
            return PictureError(UNFETCHED)


# --- what there is to read, and what has been read ---------------------------------------------------------------------------

def storage(name: str) -> "tuple[fs.FileSystem, str, str]":
    """Return the file system of a path or URL, the path in it, and the scheme, "" on this machine. Raises ValueError."""
    if "://" not in name:
        return fs.LocalFileSystem(), os.path.abspath(name), ""
    try:
        filesystem, path = fs.FileSystem.from_uri(name)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{name} names no storage that can be reached. Give a folder, or a URL such as s3://BUCKET/FOLDER or "
                         "gs://BUCKET/FOLDER.") from error
    return filesystem, path, "" if isinstance(filesystem, fs.LocalFileSystem) else name.partition("://")[0]


def path_of(name: str, scheme: str) -> str:
    """Return what a row calls a file: its whole path or URL, in letters that a Parquet file takes."""
    return os.fsencode(f"{scheme}://{name}" if scheme else name).decode(errors="backslashreplace")


def find(source: str) -> "tuple[fs.FileSystem, str, list[str]]":
    """Return the file system, its scheme, and the pictures of a folder, file or glob. Raises ValueError with a sentence.

    In a storage, as its own programs have it, a * takes in the folders below.
    """
    filesystem, path, scheme = storage(source)
    if not scheme:
        named = [] if os.path.exists(path) else sorted(glob(path, recursive=True))
        return filesystem, "", list(dict.fromkeys(map(str, find_pictures(named or [path]))))
    top = path.partition("*")[0].rpartition("/")[0] if "*" in path else path
    one = filesystem.get_file_info(path)
    infos = [one] if one.is_file else filesystem.get_file_info(fs.FileSelector(top, allow_not_found=True, recursive=True))
    names = sorted(info.path for info in infos if info.is_file and
                   (fnmatchcase(info.path, path) if "*" in path else info.path.lower().endswith(SUFFIXES)))
    if not names:
        raise ValueError(f"There are no pictures at {source} ({', '.join(SUFFIXES)}). Check the name.")
    return filesystem, scheme, names


def finished(out: str, settings: dict) -> set[str]:
    """Return the paths that have a row. Raises ValueError for rows made with other settings, and for files that are not ours."""
    filesystem, folder, _ = storage(out)
    done, count = set(), 0
    for info in filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True)):
        if info.extension != "parquet" or info.base_name.startswith("."):
            continue
        try:
            with filesystem.open_input_file(info.path) as file, pq.ParquetFile(file) as part:
                made = json.loads(part.schema_arrow.metadata[HEADER.encode()])
                paths = part.read(["path"])["path"].to_pylist()
        except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{info.path} is damaged, or not from here. Remove it, or name another folder.") from error
        if made != settings:
            was = ", ".join(f"{name} {value}" for name, value in made.items() if value != settings.get(name))
            raise ValueError(f"The rows in {out} were made with other settings ({was}). Give those, or name another folder.")
        count += len(paths)
        done.update(paths)
    if count > len(done):
        raise ValueError(f"{out} holds {count - len(done)} rows twice: two runs wrote into it at once. Name another folder.")
    return done


def write_part(out: str, rows: "list[pa.Table]", settings: dict) -> None:
    """Write rows as one more file, whole or not at all."""
    filesystem, folder, scheme = storage(out)
    content = pa.BufferOutputStream()
    pq.write_table(pa.concat_tables(rows).cast(schema(settings)), content)
    content = content.getvalue().to_pybytes()
    name = f"part-{hashlib.sha256(content).hexdigest()[:16]}.parquet"
    if scheme:  # a storage shows an object once it has all of it
        with filesystem.open_output_stream(f"{folder}/{name}") as file:
            file.write(content)
    else:
        write_whole(Path(folder, name), content)


# --- the run -----------------------------------------------------------------------------------------------------------------

def start(address: str | None, workers: int | None) -> int:
    """Start Ray here, or join a cluster; return the number of actors. Raises ConnectionError with a sentence."""
    os.environ.update(RAY_USAGE_STATS_ENABLED="0")  # before it is imported
    import ray
    sys.stderr = open(os.dup(2), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # Ray's C++ writes there, past its own settings; its log files have it as well
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address:
        try:  # the cluster's machines have torch and the rest of requirements-bulk.txt; our modules go along
            ray.init(address, runtime_env={"py_modules": [str(file) for file in ROOT.glob("*.py")]}, **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            raise ConnectionError(f"No Ray cluster answers at {address}. Check the address, and that RAY_AUTH_MODE is the "
                                  "cluster's, or leave --address out to start one here.") from error
    else:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))  # of its workers
        ray.init("local", num_cpus=workers or os.cpu_count(), include_dashboard=False, object_store_memory=MEMORY, **quiet)
    return workers or int(ray.cluster_resources()["CPU"])


def stream(names: list[str], batch: int, workers: int, *of_worker) -> "Iterator[pa.Table]":
    """Yield the rows of the pictures as they come, in any order, a batch at a time."""
    import ray.data
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # it counts blocks; ours counts pictures
    encoded = [os.fsencode(name) for name in names]
    waiting = [pa.table({"name": pa.array(encoded[at:at + batch], pa.binary())}) for at in range(0, len(encoded), batch)]
    rows = ray.data.from_arrow(waiting).map_batches(
        Worker, batch_size=None, batch_format="pyarrow", num_cpus=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(waiting))),
        fn_constructor_args=of_worker)
    return rows.iter_batches(batch_size=None, batch_format="pyarrow")


def keep(rows: "Iterable[pa.Table]", out: str, settings: dict) -> Iterator[int]:
    """Write rows into files as they come, the last ones also when the run is stopped; yield how many came.

    Only this process writes, rows come to it once, and a file is there whole or not at all: so a picture has one row, or none
    and is read again by the next run, whatever was killed and whenever. What actors still do after a kill reaches nobody.
    """
    kept, due = [], 0.0  # the first ones at once: where nothing can be written, that is not found out after work was done
    try:
        for table in rows:
            kept.append(table)
            if time.monotonic() >= due or sum(each.num_rows for each in kept) >= ROWS:
                full, kept, due = kept, [], time.monotonic() + SECONDS
                write_part(out, full, settings)
            yield table.num_rows
    finally:
        if kept:
            write_part(out, kept, settings)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the flags of a command line."""
    parser = Parser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("source", metavar="SOURCE", help="folder, picture or glob, or a URL of those: s3://, gs://, abfs://")
    parser.add_argument("out", metavar="OUT", help="folder, or URL of one, for Parquet files")
    parser.add_argument("--workers", type=int, metavar="N", help="actors, a processor for each (default: all there are)")
    parser.add_argument("--address", help="of a Ray cluster, HOST:PORT, or auto on one of its machines; all must see SOURCE "
                                          "(default: start Ray here)")
    parser.add_argument("--weights", help="folder, .safetensors file, or hub id ORG/NAME[@REVISION] (default: weights/)")
    add_string_error(parser)
    parser.add_argument("--rule", metavar="REGEX", help="what every number looks like, such as \\d{5}")
    parser.add_argument("--batch", type=int, default=BATCH, metavar="N", help="pictures read at a time (default: %(default)s)")
    flags = parser.parse_args(arguments)
    for name in ("workers", "batch"):
        if getattr(flags, name) is not None and getattr(flags, name) < 1:
            parser.error(f"--{name} takes a number from 1 on")
    return flags


def run(flags: argparse.Namespace) -> int:
    """Read what the flags name and has no row yet; return the exit code, 0 also where rows say that pictures cannot be read."""
    if pa is None:
        raise ValueError(MISSING)
    if (flags.address or "").startswith("ray://"):
        raise ValueError("Ray Data does not work through ray://. Run this on one of the cluster's machines with --address auto.")
    if flags.rule is not None:
        Rule(flags.rule)  # refuses a bad one before anything starts
    reader = FieldReader.from_pretrained(flags.weights, flags.max_error)
    settings = {"weights": reader.recognizer.version, "rule": flags.rule, "max_error": flags.max_error}
    filesystem, scheme, names = find(flags.source)
    _, folder, remote = storage(flags.out)
    if not remote:
        Path(folder).mkdir(parents=True, exist_ok=True)
        remove_parts(Path(folder))
    done = finished(flags.out, settings)
    waiting = [name for name in names if path_of(name, scheme) not in done]
    started = time.monotonic()
    if waiting:
        workers = start(flags.address, flags.workers)
        rows = stream(waiting, flags.batch, workers, reader, flags.rule, filesystem, scheme)
        with (tqdm(total=len(names), initial=len(names) - len(waiting), unit=" pictures", leave=False,
                   mininterval=0.1 if sys.stderr.isatty() else QUIET) as bar,
              contextlib.closing(keep(rows, flags.out, settings)) as kept):
            for count in kept:
                bar.update(count)
    lost = len({path_of(name, scheme) for name in names} - finished(flags.out, settings))
    if lost:
        raise ValueError(f"{lost} pictures have no row in {flags.out}. Run the same command again.")
    speed = f", {len(waiting) / (time.monotonic() - started):.1f} a second" if waiting else ""
    print(f"{flags.out}: a row for each of {len(names):,} pictures; {len(waiting):,} were read now{speed}.")
    return 0


def main() -> int:
    """Run the command line; return its exit code."""
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return run(parse())
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on where this one ended.", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        return refuse(error)
    except Exception as error:  # Ray's own, of many lines
        reason = str(error).strip().splitlines() or [type(error).__name__]
        return refuse(ValueError(f"Ray gave up ({reason[-1].strip()}). What was read is kept: mend that, and run the same command "
                                 "again."))


if __name__ == "__main__":
    sys.exit(main())
