"""Scribbles, patterns and halves of digits are none of the ten, and each of its own kind."""

import numpy as np
from conftest import write_strokes

from data import NO_DIGIT, load_strokes, render
from no_digits import HALVES, _on_one_side, pattern, render_halves, scribble


def test_a_scribble_is_long_and_runs_in_more_than_one_direction():
    for seed in range(20):
        strokes = scribble(np.random.default_rng(seed))
        extent = np.ptp(np.concatenate(strokes), axis=0)
        assert extent.min() > 0.4 * extent.max() and sum(map(len, strokes)) > 4 * extent.max()


def test_patterns_are_of_many_kinds_and_the_same_for_one_seed():
    random = np.random.default_rng(0)
    pictures = [pattern(random) for _ in range(40)]
    assert all(picture.shape == (64, 64) and picture.dtype == np.uint8 for picture in pictures)
    assert len({picture.tobytes() for picture in pictures}) == 40 and max(np.ptp(picture) for picture in pictures) > 100
    assert np.array_equal(pattern(np.random.default_rng(0)), pictures[0])


def test_halves_of_digits_are_no_digits_and_each_has_less_than_the_whole(tmp_path):
    strokes = load_strokes(write_strokes(tmp_path / "strokes.npz", writers=1))
    halves = render_halves(strokes, 20, 0)
    assert len(halves) == 20 and (halves.labels == NO_DIGIT).all()
    whole = render(strokes, 1, 0)
    shown = {picture.tobytes() for picture in whole.seen.numpy()}
    assert not any(picture.tobytes() in shown for picture in halves.seen.numpy())


def test_a_half_is_what_lies_furthest_to_its_side():
    line = np.stack([np.linspace(0, 10, 101), np.zeros(101)], axis=1)
    (left,), (right,) = (_on_one_side(line, line, 0.3, side) for side in "lr")
    assert (left[0, 0], right[-1, 0]) == (0, 10)
    assert np.allclose((left[-1, 0], right[0, 0]), (3, 7), atol=0.1)


def test_of_a_1_or_an_8_no_half_is_taken(tmp_path):
    assert not set("18") & set(HALVES)  # half of a 1 is one, and half of an 8 a 3
    strokes = load_strokes(write_strokes(tmp_path / "strokes.npz", writers=2))
    assert len(render_halves(strokes[strokes.labels == "1"], 5, 0)) == 0
