"""Other hands: what the rules add to a sample, and how often."""

import numpy as np
import pytest
from conftest import STROKES

from hands import in_another_hand, restyle


@pytest.mark.parametrize("label, style", [("0", "slashed"), ("7", "crossed"), ("1", "hooked"), ("1", "climbing"), ("1", "footed")])
def test_a_style_adds_one_stroke_to_its_digit_and_to_no_other(label, style):
    sample = [np.array(line, np.float32) for line in STROKES[label]]
    assert len(restyle(sample, label, style)) == len(sample) + 1
    other = [np.array(line, np.float32) for line in STROKES["4"]]
    assert restyle(other, "4", style) is other


def test_the_slash_of_a_0_climbs_from_the_lower_left_to_the_upper_right():
    (right, top), (left, foot) = restyle([np.array(line, np.float32) for line in STROKES["0"]], "0", "slashed")[-1]
    assert left < right and top < foot  # y downwards


def test_an_open_4_loses_the_top_of_its_last_stroke():
    sample = [np.array(line, np.float32) for line in STROKES["4"]]
    sample[1] = np.linspace((7, 0), (6, 14), 15).astype(np.float32)
    first, last = restyle(sample, "4", "open")
    assert np.array_equal(first, sample[0]) and last[:, 1].min() > 0.4 * 14 and last[:, 1].max() == 14
    alone = [np.concatenate(sample)]
    assert restyle(alone, "4", "open") is alone


@pytest.mark.parametrize("label, style", [("1", "hooked"), ("1", "climbing"), ("1", "footed"), ("7", "crossed")])
def test_a_longer_reach_makes_a_longer_stroke(label, style):
    sample = [np.array([[0, 0], [1, 10]], np.float32)]
    short, long = (np.ptp(restyle(sample, label, style, reach)[-1], axis=0).max() for reach in (0.6, 1.6))
    assert long > 2 * short


def test_an_upstroke_climbs_from_further_down_than_a_hook():
    sample = [np.array([[0, 0], [1, 10]], np.float32)]
    assert np.ptp(restyle(sample, "1", "climbing")[-1][:, 1]) > 2 * np.ptp(restyle(sample, "1", "hooked")[-1][:, 1])


def test_a_flat_0_is_wider_and_as_high_where_it_was():
    sample = [np.array(line, np.float32) for line in STROKES["0"]]
    before, after = np.concatenate(sample), np.concatenate(restyle(sample, "0", "flat", 1.0))
    assert np.allclose(np.ptp(after, axis=0), np.ptp(before, axis=0) * (1.9, 1), atol=1e-4)
    middles = [(points.min(axis=0) + points.max(axis=0)) / 2 for points in (before, after)]
    assert np.allclose(*middles, atol=1e-4)


@pytest.mark.parametrize("reach", [0.6, 1.0, 1.6])
def test_a_hanging_9_is_a_ring_over_a_stem_that_begins_at_or_left_of_its_foot(reach):
    sample = [np.array([(6, 3), (2, 1), (0, 4), (3, 6), (6, 3), (6, 14)], np.float32)]
    low, high = np.concatenate(sample).min(axis=0), np.concatenate(sample).max(axis=0)
    (stroke,) = restyle(sample, "9", "hanging", reach)
    ring, foot = stroke[:-1], stroke[-1]
    assert np.allclose(ring[0], ring[-1], atol=1e-3) and np.allclose(ring.min(axis=0), low, atol=0.02 * np.ptp([low, high]))
    assert ring[:, 1].max() <= (low[1] + high[1]) / 2 + 1e-3 and foot[1] == pytest.approx(high[1])
    middle = (low[0] + high[0]) / 2
    assert ring[0, 0] == pytest.approx(middle, abs=1e-3) if reach == 0.6 else ring[0, 0] < middle


def test_a_digit_is_restyled_now_and_then_and_what_is_no_digit_never():
    sample = [np.array(line, np.float32) for line in STROKES["1"]]
    random = np.random.default_rng(0)
    hooked = sum(len(in_another_hand(sample, "1", random)) > len(sample) for _ in range(200))
    assert 70 < hooked < 140  # of 200: a hook in 0.4 of them, a foot in 0.2
    assert all(len(in_another_hand(sample, "A", random)) == len(sample) for _ in range(50))
