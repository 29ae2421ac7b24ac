"""Many files are read by many threads, in order, with little done ahead; how far a run is can be seen."""

import os
import subprocess
import sys
import threading
import time

import pytest
from conftest import ROOT, make_sketch, run_main
from PIL import Image

import console
import decode
import recognize
from console import in_parallel


def test_the_results_come_in_order_from_several_threads(monkeypatch):
    monkeypatch.setattr(console, "PROCESSORS", 3)
    together = threading.Barrier(3, timeout=10)  # passed only if three work at the same time

    def work(number: int) -> int:
        if number < 3:
            together.wait()
        time.sleep(0.01 * (number % 3 == 0))
        return number * number

    assert list(in_parallel(work, range(12))) == [(number, number * number) for number in range(12)]


def test_little_is_done_ahead_of_what_was_taken(monkeypatch):
    monkeypatch.setattr(console, "PROCESSORS", 2)
    asked = []
    steps = in_parallel(abs, (asked.append(number) or number for number in range(100)))
    for taken in range(1, 20):
        next(steps)
        assert len(asked) <= taken + 4
    steps.close()
    assert len(asked) < 30


def test_an_error_comes_where_its_item_would_have_come():
    steps = in_parallel(lambda number: 1 // number, [1, 1, 0, 1])
    assert next(steps) == next(steps) == (1, 1)
    with pytest.raises(ZeroDivisionError):
        next(steps)


def test_a_pipe_is_told_to_be_no_file_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    command = [sys.executable, "recognize.py", str(tmp_path / "pipe.png")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr == "There is no such file. Check the name and the folder.\n"


@pytest.mark.parametrize("program, flag, name", [("recognize.py", "--csv", "7.png"), ("recognize.py", "--plot", "7.png"),
                                                 ("fields.py", "--csv", "7.png"), ("recognize.py", "--csv", "link.png"),
                                                 ("fields.py", "--csv", "link.csv")])
def test_a_picture_is_not_overwritten_by_what_is_read_in_it(tmp_path, program, flag, name):
    picture = tmp_path / "7.png"
    Image.fromarray(make_sketch("7")).save(picture)
    for link in ("link.png", "link.csv"):
        (tmp_path / link).symlink_to(picture)
    before = picture.read_bytes()
    done = run_main(program, picture, flag, tmp_path / name)
    assert done.returncode == 2 and "is one of the pictures, and would be overwritten" in done.stderr
    assert picture.read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="no such names on Windows")
@pytest.mark.parametrize("program", ["recognize.py", "fields.py"])
def test_the_name_of_a_file_makes_no_row_of_its_own_and_commands_no_terminal(tmp_path, program):
    Image.fromarray(make_sketch("7")).save(tmp_path / "é\x1b[2J\n7.png")
    done = run_main(program, tmp_path)
    assert len(done.stdout.splitlines()) == 2 and "é\\x1b[2J\\n7.png  7" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="a shell's own words")
@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_a_closed_stream_is_written_to_in_vain(tmp_path, closed):
    Image.fromarray(make_sketch("7")).save(tmp_path / "7.png")
    done = subprocess.run(f"{sys.executable} recognize.py {tmp_path} --csv {tmp_path / 'out.csv'} {closed}", shell=True, cwd=ROOT,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "Traceback" not in done.stderr and (tmp_path / "out.csv").read_text().count("\n") == 2


@pytest.mark.parametrize("side, threads", [(28, 1), (280, 2)])
def test_a_folder_of_tiny_pictures_is_read_by_one_thread(tmp_path, recognizer, monkeypatch, side, threads):
    monkeypatch.setattr(console, "PROCESSORS", 2)
    monkeypatch.setattr(recognize, "BATCH", 1)
    paths, used, read_batch = [tmp_path / f"{number}.png" for number in range(4)], set(), recognizer.read_batch
    for path in paths:
        Image.fromarray(make_sketch(pad=280)).resize((side, side)).save(path)
    slow = threading.Barrier(threads, timeout=10)  # passed only if so many read at the same time

    def read(batch):
        slow.wait()
        used.add(threading.get_ident())
        return read_batch(batch)

    monkeypatch.setattr(recognizer, "read_batch", read)
    assert [(path, reading.digit) for path, reading in recognize.read_files(recognizer, paths)] == [(path, "7") for path in paths]
    assert len(used) == threads


def test_no_large_picture_of_a_folder_is_given_up_because_others_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(console, "PROCESSORS", 4)
    monkeypatch.setattr(recognize, "BATCH", 1)  # each to a thread of its own
    monkeypatch.setattr(decode, "PATIENCE", 0)
    seven = Image.open(ROOT / "examples" / "7_crossed_transparent.png").resize((2100, 2100))
    for number in range(4):
        seven.save(tmp_path / f"{number}.png", compress_level=1)
    assert recognize.run(recognize.parse([str(tmp_path), "--csv", str(tmp_path / "out.csv")])) == 0
    assert (tmp_path / "out.csv").read_text().count(",7,") == 4


def test_a_run_over_a_folder_shows_how_far_it_is_where_that_can_be_seen(tmp_path):
    termios = pytest.importorskip("termios", reason="Windows has no such terminals")
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 100)) if hasattr(termios, "tcsetwinsize") else pytest.skip("Python 3.10 sets no size")
    done = subprocess.run([sys.executable, ROOT / "recognize.py", ROOT / "examples", "--csv", tmp_path / "out.csv"], stderr=theirs)
    with open(ours, "rb", buffering=0) as screen:
        said = screen.read(100_000).decode()
    assert done.returncode == 0 and " pictures/s" in said and "<" in said  # the rate, and the time left behind "<"


@pytest.mark.parametrize("program, flags, words", [
    ("train", ["--recipe", "huge"], "invalid choice: 'huge'"), ("train", ["--epoch", "3"], "unrecognized arguments: --epoch 3"),
    ("train", ["--epochs", "many"], "--epochs: invalid int value: 'many'"), ("train", ["--lr"], "--lr: expected one argument"),
    *[(program, ["a", "b", "--max-error", "x"], "invalid float value: 'x'") for program in ("recognize", "fields", "bulk")],
    ("evaluate", ["--seed", "1"], "unrecognized arguments: --seed 1"), ("publish", ["model"], "ORG/NAME is missing"),
])
def test_flags_that_make_no_sense_are_one_line_and_exit_code_2(program, flags, words):
    done = run_main(f"{program}.py", *flags)
    assert done.returncode == 2 and words in done.stderr and done.stderr.endswith("See --help.\n") and done.stderr.count("\n") == 1
