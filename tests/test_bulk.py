"""scripts/bulk.py: every picture gets its row, once, whatever is killed; the rows are the reader's own; Ray stays out elsewhere."""

import ast
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import bulk
import cv2
import numpy as np
import pytest
from conftest import ROOT, make_sketch, run_main, run_program

from decode import PictureError
from fields import FieldReader
from recognize import ODD

DAMAGED = "bad.png"
PATIENCE = 300  # seconds for a run: on a busy machine Ray takes a minute to start


def write_numbers(folder: Path, count: int) -> Path:
    """Write small pictures of numbers of one or two digits into a folder; return it."""
    folder.mkdir(parents=True)
    digits = [make_sketch(digit, width=4, pad=48) for digit in "01457"]
    for number in range(count):
        picture = np.hstack([digits[number % 5], digits[number // 5 % 5]][:1 + number // 25 % 2])
        (folder / f"{number:04}.png").write_bytes(cv2.imencode(".png", picture)[1])
    return folder


@pytest.fixture(scope="session")
def extra():
    """Skip where the extra is not installed."""
    if importlib.util.find_spec("ray") is None or bulk.pa is None:
        pytest.skip("run pip install -r requirements-bulk.txt first")


@pytest.fixture(scope="session")
def reader() -> FieldReader:
    return FieldReader.from_pretrained()


@pytest.fixture(scope="session")
def cluster(extra):
    """The address of a Ray that was started once."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=bulk.MEMORY)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.fixture(scope="session")
def scans(tmp_path_factory) -> Path:
    """Pictures in two folders, and a file that is none."""
    folder = write_numbers(tmp_path_factory.mktemp("scans") / "a", 30).parent
    write_numbers(folder / "b", 10)
    (folder / "a" / DAMAGED).write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="session")
def done(cluster, scans):
    """What a run on the cluster over one of the folders, by a glob, with a rule, says and leaves."""
    out = scans / "rows"
    done = run_program("scripts/bulk.py", scans / "a" / "*.png", out, "--address", cluster, "--workers", 1, "--batch", 7, "--rule",
                       r"\d+", timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done, out


def rows_of(out: Path) -> list[dict]:
    import pyarrow.parquet as pq
    return [row for part in out.glob("*.parquet") for row in pq.read_table(part).to_pylist()]


def refused(*arguments) -> str:
    """Run bulk.py where it has to refuse; return its sentence."""
    done = run_main("bulk.py", *arguments)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1
    return done.stderr.strip()


# --- the rows -----------------------------------------------------------------------------------------------------------

def test_every_picture_of_a_glob_has_one_row_and_the_run_says_so(done, scans):
    printed, out = done
    assert re.fullmatch(rf"{out}: a row for each of 31 pictures; 31 were read now, [\d.]+ a second.\n", printed.stdout)
    assert sorted(row["path"] for row in rows_of(out)) == sorted(str(file) for file in (scans / "a").glob("*.png"))


def test_the_rows_are_what_the_reader_says_itself(done, reader):
    rows = rows_of(done[1])
    for row, reading in zip(rows, reader.read_batch([row["path"] for row in rows], r"\d+"), strict=True):
        assert [row[name] for name in ("text", "display", "verdict", "by_rule")] == [
            reading.text, reading.display, reading.verdict, reading.by_rule]
        assert row["message"] == reading.message
        assert row["confidence"] == pytest.approx(reading.confidence, abs=1e-4)
        assert [each["text"] for each in row["alternatives"]] == [each.text for each in reading.alternatives]
        assert row["seconds"] > 0
    assert len({row["text"] for row in rows}) > 10


def test_a_picture_that_cannot_be_read_has_a_row_that_says_why(done):
    row, = (row for row in rows_of(done[1]) if row["path"].endswith(DAMAGED))
    assert (row["verdict"], row["text"], row["confidence"], row["alternatives"]) == ("unreadable", "", 0, [])
    assert row["message"].endswith(".") and "Error" not in row["message"]


def test_the_same_command_again_reads_nothing_and_starts_no_ray(done, scans, monkeypatch):
    monkeypatch.setattr(bulk, "start", None)
    again = run_main("bulk.py", scans / "a" / "*.png", done[1], "--rule", r"\d+")
    assert again.stdout == f"{done[1]}: a row for each of 31 pictures; 0 were read now.\n", again.stderr


def test_a_run_that_was_killed_goes_on_without_a_lost_or_doubled_row(cluster, tmp_path):
    scans, out = write_numbers(tmp_path / "scans", 200), tmp_path / "rows"
    command = ["scripts/bulk.py", str(scans), str(out), "--workers", "1", "--batch", "4"]
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(out.glob("*.parquet")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = rows_of(out)
    half = next(out.glob("*.parquet")).read_bytes()[:-40]
    (out / f".part-0.parquet.{process.pid}.part").write_bytes(half)  # as a kill in the middle of a write leaves it
    assert 0 < len(kept) < 200

    done = run_program(*command, "--address", cluster, timeout=PATIENCE)
    assert f"a row for each of 200 pictures; {200 - len(kept)} were read now" in done.stdout, done.stderr
    assert sorted(row["path"] for row in rows_of(out)) == sorted(map(str, scans.iterdir()))
    assert all(row in rows_of(out) for row in kept) and not list(out.glob(".*"))


def test_rows_that_came_before_the_end_are_kept(extra, tmp_path):
    def rows():
        for number in range(3):
            yield bulk.pa.Table.from_pylist([{"path": str(number)}], bulk.schema())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(bulk.keep(rows(), str(tmp_path), {"rule": None}))
    assert bulk.finished(str(tmp_path), {"rule": None}) == {"0", "1", "2"} and len(list(tmp_path.iterdir())) == 2


def test_what_nobody_foresaw_in_one_picture_costs_that_row_alone(reader):
    class Fragile:
        def read_batch(self, images, rule):
            images = list(images)
            if "odd.png" in images:
                raise ZeroDivisionError
            return reader.read_batch(images, rule)

    worker = bulk.Worker(Fragile(), None, None, "")
    seven = str(ROOT / "examples" / "7_plain_red_marker.webp")
    assert [(row["text"], row["verdict"]) for row in worker.read([seven, "odd.png", seven])] == [
        ("7", "number"), ("", "unreadable"), ("7", "number")]
    assert worker.read(["odd.png"])[0]["message"] == ODD


# --- storage that is no disk of this machine --------------------------------------------------------------------------------

@pytest.fixture
def bucket(extra, tmp_path, monkeypatch):
    """A storage with names of its own that begins at tmp_path, as s3:// begins at a bucket."""
    storage = bulk.fs.SubTreeFileSystem(str(tmp_path), bulk.fs.LocalFileSystem())
    monkeypatch.setattr(bulk, "storage", lambda name: (storage, name.partition("://")[2], "s3"))
    return storage


def test_pictures_of_a_storage_are_found_and_read(bucket, tmp_path, reader):
    write_numbers(tmp_path / "archive" / "a", 3)
    (tmp_path / "archive" / "note.txt").write_text("no picture")
    shutil.copy(tmp_path / "archive" / "note.txt", tmp_path / "archive" / DAMAGED)
    assert bulk.find("s3://archive")[2] == ["archive/a/0000.png", "archive/a/0001.png", "archive/a/0002.png", "archive/bad.png"]
    assert bulk.find("s3://archive/a/0000.png")[2] == ["archive/a/0000.png"]
    filesystem, scheme, names = bulk.find("s3://archive/*0*.png")
    assert names == ["archive/a/0000.png", "archive/a/0001.png", "archive/a/0002.png"]

    worker = bulk.Worker(reader, None, filesystem, scheme)
    rows = worker(bulk.pa.table({"name": [b"archive/a/0001.png", b"archive/bad.png", b"archive/gone.png"]})).to_pylist()
    assert [row["path"] for row in rows] == ["s3://archive/a/0001.png", "s3://archive/bad.png", "s3://archive/gone.png"]
    assert rows[0]["text"] == reader.read(tmp_path / "archive" / "a" / "0001.png").text
    assert rows[1]["message"] == reader.read(tmp_path / "archive" / DAMAGED).message
    assert rows[2]["message"] == bulk.UNFETCHED and isinstance(worker.fetch("archive/gone.png"), PictureError)


def test_rows_go_to_a_storage_and_are_found_there(bucket, tmp_path):
    (tmp_path / "rows").mkdir()
    rows = bulk.pa.Table.from_pylist([{"path": "s3://archive/1.png"}], bulk.schema())
    bulk.write_part("s3://rows", [rows], {"rule": None})
    assert bulk.finished("s3://rows", {"rule": None}) == {"s3://archive/1.png"}
    assert [file.suffix for file in (tmp_path / "rows").iterdir()] == [".parquet"]


# --- what is refused ----------------------------------------------------------------------------------------------------

def test_rows_of_other_settings_are_not_mixed(done, scans):
    says = f"The rows in {done[1]} were made with other settings (rule \\d+). Give those, or name another folder."
    assert refused(scans, done[1]) == says
    says = f"The rows in {done[1]} were made with other settings (max_error 0.05). Give those, or name another folder."
    assert refused(scans, done[1], "--rule", r"\d+", "--max-error", "0.03") == says


def test_a_source_without_pictures_is_refused(extra, tmp_path):
    (tmp_path / "empty").mkdir()
    assert refused(tmp_path / "empty", tmp_path / "rows").startswith(f"The folder {tmp_path / 'empty'} holds no pictures")
    assert refused(tmp_path / "*.png", tmp_path / "rows").startswith(f"There is no file or folder {tmp_path / '*.png'}.")
    assert not (tmp_path / "rows").exists()


def test_what_cannot_work_is_refused_before_ray_starts(extra, scans, tmp_path):
    assert refused(scans, tmp_path, "--rule", "(").startswith("The rule")
    assert refused("ftp://host/scans", tmp_path).startswith("ftp://host/scans names no storage")
    assert refused(scans, tmp_path, "--weights", tmp_path / "none").startswith("No weights at")
    assert refused(scans, tmp_path, "--address", "ray://host:10001").startswith("Ray Data does not work through ray://.")
    assert refused(scans, scans / "a" / DAMAGED).startswith(f"{scans / 'a' / DAMAGED} cannot be used")
    assert run_main("bulk.py", scans, tmp_path, "--workers", "0").returncode == 2


def test_a_damaged_foreign_or_doubled_file_among_the_rows_is_named(done, scans, tmp_path):
    part = next(done[1].glob("*.parquet"))
    damaged = tmp_path / "part-1.parquet"
    damaged.write_bytes(part.read_bytes()[:-40])
    assert refused(scans, tmp_path) == f"{damaged} is damaged, or not from here. Remove it, or name another folder."
    bulk.pq.write_table(bulk.pa.table({"path": ["1.png"]}), damaged)
    assert refused(scans, tmp_path).startswith(f"{damaged} is damaged, or not from here.")
    for name in ("part-1.parquet", "part-2.parquet"):
        shutil.copy(part, tmp_path / name)
    count = bulk.pq.read_metadata(part).num_rows
    assert refused(scans, tmp_path, "--rule", r"\d+").startswith(f"{tmp_path} holds {count} rows twice: two runs wrote into it")


def test_what_a_file_was_made_with_is_in_its_header(done):
    made = json.loads(bulk.pq.read_schema(next(done[1].glob("*.parquet"))).metadata[b"digitvision"])
    assert made == {"weights": FieldReader.from_pretrained().recognizer.version, "rule": r"\d+", "max_error": 0.05}


# --- one machine does without ---------------------------------------------------------------------------------------------

def test_nothing_but_bulk_imports_ray_or_pyarrow():
    for file in [*ROOT.glob("*.py"), *(ROOT / "scripts").glob("*.py")]:
        names = {name.partition(".")[0] for node in ast.walk(ast.parse(file.read_text()))
                 for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else
                              [node.module or ""] if isinstance(node, ast.ImportFrom) else [])}
        assert bool(names & {"ray", "pyarrow"}) == (file.name == "bulk.py"), file
    others = "".join((ROOT / f"requirements{kind}.txt").read_text() for kind in ("", "-dev", "-mcp"))
    assert not re.search("^(ray|pyarrow)", others, re.MULTILINE)


def test_without_the_extra_it_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(bulk, "pa", None)
    assert refused(tmp_path, tmp_path) == "Reading in bulk needs one more package. Run 'pip install -r requirements-bulk.txt'."
