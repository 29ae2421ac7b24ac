"""The map of which ink decided."""

import numpy as np
import pytest
from conftest import STROKES, make_sketch

from explain import draw_evidence, evidence


@pytest.fixture(scope="module")
def seven(recognizer):
    """`seen` of a 7, and the map of it."""
    seen = recognizer.read(make_sketch("7")).seen
    return seen, evidence(recognizer, seen, "7")


def test_the_ink_of_a_seven_spoke_for_it_and_empty_paper_did_not(seven):
    seen, map = seven
    assert map.shape == (28, 28) and map.max() > 1
    assert map[seen > 0].sum() > 0 and not map[seen == 0].any()


def test_the_map_is_the_fall_of_the_log_odds(recognizer, seven):
    seen, map = seven
    row, column = np.unravel_index(map.argmax(), map.shape)
    covered = seen.copy()
    covered[row - 2:row + 3, column - 2:column + 3] = 0
    before, after = recognizer.read_batch([seen, covered])
    assert after.probabilities[7] < before.probabilities[7]


def test_covered_ink_is_all_that_differs_between_looks(recognizer, seven):
    """A sure picture is read at first sight, and what is covered is not: the map is made of first looks alone."""
    looks = []
    handle = recognizer.quick.features.register_forward_hook(lambda module, given, result: looks.append(len(result)))
    map = evidence(recognizer, seven[0], "7")
    handle.remove()
    assert len(looks) == 1 and looks[0] > 50 and np.array_equal(map, seven[1])


def test_ink_that_makes_another_digit_of_it_spoke_against(recognizer):
    seen = recognizer.read(make_sketch("0")).seen
    assert evidence(recognizer, seen, "1").min() < 0  # the side of an oval


@pytest.mark.parametrize("digit", STROKES)
def test_every_digit_has_finite_evidence_however_sure(recognizer, digit):
    map = evidence(recognizer, recognizer.read(make_sketch(digit)).seen, digit)
    assert np.isfinite(map).all() and map.max() > 0


def test_the_picture_of_the_map_is_white_where_there_is_no_ink_and_vermilion_or_blue_where_it_counts(seven):
    seen, map = seven
    picture = draw_evidence(seen, map)
    assert picture.shape == (280, 280, 3) and picture.dtype == np.uint8
    assert (picture[::10, ::10][seen == 0] == 255).all()
    red, _, blue = picture[::10, ::10].reshape(-1, 3)[map.argmax()]
    assert red > blue  # vermilion; what spoke against is blue
    red, _, blue = draw_evidence(seen, -map)[::10, ::10].reshape(-1, 3)[map.argmax()]
    assert blue > red


def test_no_evidence_at_all_is_grey_ink():
    seen = np.full((28, 28), 255, np.uint8)
    assert len(np.unique(draw_evidence(seen, np.zeros((28, 28))).reshape(-1, 3), axis=0)) == 1
