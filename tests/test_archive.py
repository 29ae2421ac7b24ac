"""The table of an archive holds every name, and a run that goes on knows what it has read."""

import argparse
import csv
from pathlib import Path
from types import SimpleNamespace

import pytest

from archive import fill, read_rows, to_csv

NAMES = ["plain.png", "re\rturn.png", "new\nline.png", "both\r\n.png", 'quo"te,comma.png', "end\r"]


class Counting:
    """A reader that gives one answer, and counts what it was asked for."""

    recognizer = SimpleNamespace(version="v1")

    def __init__(self):
        self.asked = []

    def read(self, path, rule):
        self.asked.append(str(path))
        return SimpleNamespace(text="1", display="1", confidence=0.9, verdict="digits", message="It is\r1.", alternatives=(),
                               ink_text="1")


@pytest.fixture
def flags(tmp_path):
    return argparse.Namespace(csv=str(tmp_path / "out.csv"), rule=None, max_error=0.05, resume=True, worst_first=False)


def paths_of(flags) -> list[str]:
    with open(flags.csv, newline="", encoding="utf-8") as file:
        return [row["path"] for row in csv.DictReader(file)]


def test_a_row_with_any_name_is_read_back_as_it_was_written(flags):
    reader, paths = Counting(), [Path(name) for name in NAMES]
    fill(reader, paths[:4], flags)
    fill(reader, paths, flags)
    assert sorted(reader.asked) == sorted(NAMES) and paths_of(flags) == NAMES
    fill(reader, paths, flags)
    assert len(reader.asked) == len(NAMES) and paths_of(flags) == NAMES


def test_a_row_that_was_being_written_is_read_again_wherever_it_broke_off(flags):
    fill(Counting(), [Path(name) for name in NAMES], flags)
    whole = Path(flags.csv).read_bytes()
    for end in range(len(to_csv([])), len(whole), 7):
        Path(flags.csv).write_bytes(whole[:end])
        reader = Counting()
        fill(reader, [Path(name) for name in NAMES], flags)
        assert paths_of(flags) == NAMES and reader.asked == NAMES[-len(reader.asked):]


def test_a_table_ends_its_rows_as_ever():
    assert to_csv([]).count("\n") == 1 and "\r" not in to_csv([])


def test_a_file_that_begins_like_a_table_and_is_none_is_refused(flags):
    Path(flags.csv).write_text(to_csv([]) + '"' + "1" * 200_000 + "\n")
    with pytest.raises(ValueError, match="is no table that fields.py wrote"):
        read_rows(Path(flags.csv), {})
