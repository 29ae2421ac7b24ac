"""The pictures in examples/ are read as their names say; they are the project's own, two per digit at least."""

from collections import Counter

import pytest
from conftest import ROOT, run_program

EXAMPLES = sorted((ROOT / "examples").glob("[0-9]_*"))


def test_there_are_two_for_every_digit():
    count = Counter(path.name[0] for path in EXAMPLES)
    assert len(EXAMPLES) >= 20 and set(count) == set("0123456789") and min(count.values()) >= 2


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_read_as_its_name_says(recognizer, path):
    reading = recognizer.read(path)
    assert (reading.verdict, reading.digit) == ("digit", path.name[0])


def test_the_examples_are_drawn_by_the_script(tmp_path):
    done = run_program("scripts/draw_examples.py", "--out", tmp_path)
    assert done.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [path.name for path in EXAMPLES]
