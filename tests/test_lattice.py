"""Groups of pieces cost what their shape says, and what no digit looks like is not shown to the network."""

from itertools import product

import cv2
import numpy as np
import pytest
from conftest import make_number

from fields import CROWDED, FieldReader
from lattice import (
    BEAM,
    COSTS,
    DEAREST,
    Candidate,
    best_ways,
    groups_of,
    is_peak,
    last_of_things,
    score,
    shape_costs,
    signs_of,
    swallowed,
)
from segments import Pieces, cut, find_field


def make_pieces(*boxes: tuple, things=None, cuts=None, bits=None, height: float = 40.0) -> Pieces:
    """Return pieces that are boxes and nothing else."""
    things, cuts = things or range(len(boxes)), cuts or [0.0] * len(boxes)
    return Pieces(np.zeros((1, 1), int), np.array(boxes), height, np.array(things), np.array(cuts),
                  np.array(bits or [False] * len(boxes)), 0, 0.0)


@pytest.mark.parametrize("pieces, group, cost", [
    (make_pieces((0, 0, 20, 40), (30, 0, 20, 40)), (0, 0, [0]), 0.0),
    (make_pieces((0, 28, 10, 12), (30, 0, 20, 40)), (0, 0, [0]), 0.2 * COSTS["low"]),
    (make_pieces((0, 0, 30, 40), (30, 0, 30, 40), things=[0, 1]), (0, 1, [0, 1]), 0.35 * COSTS["wide"]),
    (make_pieces((0, 0, 30, 40), (30, 0, 30, 40), things=[0, 0]), (0, 1, [0, 1]), 0.35 * COSTS["whole"]),
    (make_pieces((0, 0, 10, 40), (18, 0, 10, 40)), (0, 1, [0, 1]), 0.2 * COSTS["gap"]),
    (make_pieces((10, 0, 20, 40), (0, 0, 20, 10), (31, 0, 4, 10)), (0, 1, [0, 1]), 0.0),  # no gap between what overlaps
    (make_pieces((0, 0, 20, 40), (20, 0, 20, 40), things=[0, 0], cuts=[0, 0.3]), (0, 0, [0]), 0.15 * COSTS["ink"]),
    (make_pieces((0, 0, 20, 40), (20, 0, 20, 40), things=[0, 0], cuts=[0, 0.3]), (0, 1, [0, 1]), 0.0),
    (make_pieces((0, 0, 20, 40), (20, 36, 4, 4), bits=[False, True]), (0, 1, [0, 1]), COSTS["loose"]),  # a comma beside it
    (make_pieces((0, 8, 20, 32), (4, 0, 12, 4), bits=[False, True]), (0, 1, [0, 1]), 0.0),  # the flag of a 5 above it
    (make_pieces((0, 0, 4, 4), (4, 0, 4, 4), bits=[True, True]), (0, 1, [0, 1]), 0.4 * COSTS["low"] + COSTS["loose"]),
])
def test_a_shape_costs_what_is_odd_about_it(pieces, group, cost):
    assert shape_costs(pieces, [group]) == pytest.approx([cost])


@pytest.mark.parametrize("whole, left, right, through, likely", [
    (3, 3, 1, 0.0, 1.0),  # a 3 with a 1 beside it
    (3, 3, 1, 0.2, 0.0),  # a stroke was cut across
    (9, 0, 1, 0.0, 0.0),  # without its stem a 9 is none
    (1, 1, 1, 0.0, 0.0),  # a 1 cut lengthwise
])
def test_a_digit_that_stays_one_without_a_part_swallowed_it(whole, left, right, through, likely):
    pieces = make_pieces((0, 0, 20, 40), (20, 0, 8, 40), things=[0, 0], cuts=[0, through])
    groups = groups_of(pieces)
    scores = np.full((3, 10), -9.0)
    scores[np.arange(3), [{(0, 0): left, (1, 1): right, (0, 1): whole}[group.first, group.last] for group in groups]] = 0.0
    found = swallowed(pieces, groups, scores)
    assert [found[row, whole] for row, group in enumerate(groups) if group.last > group.first] == pytest.approx([likely], abs=1e-3)
    assert not found[[group.first == group.last for group in groups]].any()  # what is not cut swallowed nothing


def test_a_thing_is_all_of_its_pieces_side_by_side():
    pieces = make_pieces(*[(10 * place, 0, 10, 40) for place in range(7)], things=[4, 4, 9, 2, 7, 2, 5])
    assert last_of_things(pieces).tolist() == [1, -1, 2, -1, 4, -1, 6]


def test_groups_cost_the_same_alone_and_together():
    pieces = cut(find_field(make_number("40517.5", gap=-0.02)[0]).ink)
    groups = groups_of(pieces)
    assert len(groups) > 20
    assert [group.cost for group in groups] == pytest.approx([shape_costs(pieces, [group[:3]])[0] for group in groups])
    assert shape_costs(pieces, []).shape == (0,)


def test_a_page_of_waves_is_given_up_before_anything_of_its_many_groups_is_measured(recognizer, monkeypatch):
    page, x = np.full((640, 640), 255, np.uint8), np.arange(207)
    for row, column in product(range(33), range(3)):
        wave = (row + 0.5) * 19.4 + 7.8 * np.sin(x * 0.8)
        cv2.polylines(page, [np.stack([x + 213 * column + 3, wave], axis=1).astype(np.int32)], False, 0, 1)
    pieces = cut(find_field(page).ink)
    assert len(pieces.boxes) > 1000  # and ten times as many groups
    monkeypatch.setattr("lattice.shape_costs", lambda *_: pytest.fail("measured"))
    assert groups_of(pieces) is None
    assert FieldReader(recognizer).read(page).message == CROWDED


def test_what_no_digit_looks_like_is_not_shown_to_the_network_unless_a_rule_asks(recognizer, monkeypatch):
    picture, shown = make_number("4051740517", gap=-0.03)[0], []
    read = recognizer.probabilities
    monkeypatch.setattr("lattice.COSTS", {**COSTS, "ink": 60.0})  # as if its cuts went through thick ink
    monkeypatch.setattr(recognizer, "probabilities", lambda seen: shown.append(len(seen)) or read(seen))
    pieces = cut(find_field(picture).ink)
    groups = groups_of(pieces)
    reader = FieldReader(recognizer)
    reader.read(picture)
    reader.read(picture, r"\d+")
    assert shown == [sum(group.cost <= DEAREST for group in groups), len(groups)] and shown[0] < shown[1]


def test_pieces_that_are_known_to_be_signs_cost_nothing_and_are_in_no_digit():
    pieces = make_pieces((0, 0, 20, 40), (25, 0, 20, 40), (45, 0, 10, 40), (60, 0, 20, 40), things=[0, 1, 1, 2])
    looks = [Candidate(*group[:3], np.full(10, 0.1), np.full(10, -1.0)) for group in groups_of(pieces)]
    assert {(first, last): cost for first, last, cost in signs_of(pieces, {1, 2}) if first in (1, 2)} == {
        (1, 1): 0.0, (2, 2): 0.0, (1, 2): 0.0}
    assert {(first, last): cost for first, last, cost in signs_of(pieces, {1})}[1, 2] > 0
    way = next(iter(best_ways(pieces, looks, known={1, 2}).values()))
    assert ([look.chosen for look in way.digits], way.score) == ([[0], [3]], -2.0) and sorted(way.signs) == [1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_what_is_given_up_on_the_way_is_never_among_the_best(seed):
    """The strings are the best of all that there are."""
    random = np.random.default_rng(seed)
    pieces = make_pieces(*[(25 * place, 0, 20, 40) for place in range(4)])
    groups = groups_of(pieces)
    looks = [Candidate(*group[:3], np.full(10, 0.1), random.normal(-2, 2, 10)) for group in groups]
    ends = [{"": 0.0}]  # for every piece all strings before it, each with its best score
    for end in range(1, 5):
        found = {}
        steps = [(each.first, str(digit), each.scores[digit]) for each in looks if each.last + 1 == end for digit in range(10)]
        steps += [(first, "", -cost) for first, last, cost in signs_of(pieces) if last + 1 == end]
        for first, digit, gain in steps:
            for text, before in ends[first].items():
                found[text + digit] = max(found.get(text + digit, -np.inf), before + gain)
        ends.append(found)
    best = sorted(ends[-1], key=ends[-1].get, reverse=True)[:BEAM]
    ways = best_ways(pieces, looks)
    assert list(ways) == best and [way.score for way in ways.values()] == pytest.approx([ends[-1][text] for text in best])


def test_a_score_is_the_logarithm_of_the_probability_less_the_costs():
    pieces = make_pieces((0, 22, 27, 18), (30, 0, 20, 40))
    groups = groups_of(pieces)
    one, *_ = score(pieces, groups, np.full((len(groups), 10), 0.1))
    cost = groups[0].cost - COSTS["strange"] * np.log(0.2)
    assert one.scores[7] == pytest.approx(np.log(0.1) - cost) and cost > 0
    assert one.scores[1] == pytest.approx(one.scores[7] - COSTS["short"] * (0.75 - 18 / 40) - COSTS["lying"] * (27 / 18 - 1))


@pytest.mark.parametrize("box, bit, cost", [
    ((0, 10, 40, 12), False, 0.3 * COSTS["dash"]),
    ((0, 10, 80, 12), False, 0.3 * COSTS["dash"]),  # however long
    ((0, 10, 20, 16), False, 0.5 * COSTS["sign"]),  # not as flat
    ((0, 0, 60, 40), False, 1.5 * COSTS["sign"]),  # not as low
    ((0, 10, 20, 12), True, 0.1 * COSTS["bit"]),
])
def test_a_thing_that_is_flat_may_be_a_dash(box, bit, cost):
    assert signs_of(make_pieces(box, bits=[bit])) == [(0, 0, pytest.approx(cost))]


def test_a_thing_is_taken_for_a_sign_as_a_whole_or_in_pieces():
    pieces = make_pieces((0, 0, 40, 40), (40, 0, 20, 40), things=[0, 0])
    fragments = [(0, 0, COSTS["fragment"]), (1, 1, COSTS["fragment"])]
    assert signs_of(pieces) == [*fragments, (0, 1, pytest.approx(1.5 ** 2 * COSTS["sign"]))]
    flat = make_pieces((0, 10, 40, 16), (40, 10, 40, 16), things=[0, 0])
    assert signs_of(flat)[-1] == (0, 1, pytest.approx(0.4 * COSTS["dash"]))


@pytest.mark.parametrize("lines, peak", [
    (([(0, 38), (20, 0)], [(22, 0), (30, 39)]), True),
    (([(0, 30), (20, 0)], [(22, 0), (22, 39)]), True),  # the upstroke ends above the line
    (([(0, 39), (9, 0)], [(11, 0), (2, 39)]), False),  # they meet below as well
    (([(0, 39), (9, 0)], [(11, 0), (8, 39)]), False),  # hardly apart below
    (([(0, 0), (20, 39)], [(22, 39), (30, 0)]), False),  # they meet below, a V
    (([(0, 14), (20, 0)], [(22, 0), (30, 39)]), False),  # a hook
])
def test_strokes_that_meet_above_and_lean_apart_are_a_peak(lines, peak):
    labels = np.zeros((40, 34), np.uint8)
    for number, (start, end) in enumerate(lines, 1):
        cv2.line(labels, start, end, number, 3)
    boxes = [cv2.boundingRect((labels == number).astype(np.uint8)) for number in (1, 2)]
    pieces = make_pieces(*boxes, things=[0, 0])._replace(labels=labels.astype(int))
    assert is_peak(pieces, [0], [1]) is peak
