"""Slashes and percent signs are signs where they stand out from the digits, and doubts where they do not."""

import time
from itertools import product

import cv2
import numpy as np
import pytest
from conftest import HIGH, make_number

from fields import FieldReader, alternatives_among
from lattice import Candidate, Way, best_ways, score
from segments import Pieces, cut, find_field, picture_of
from signs import (
    MOST,
    Choice,
    Ring,
    Stroke,
    are_parted,
    belief,
    evidence,
    is_date,
    is_odd,
    percent_in,
    slashes_in,
    stroke_of,
    things_of,
)


@pytest.fixture(scope="module")
def reader(recognizer) -> FieldReader:
    return FieldReader(recognizer)


@pytest.mark.parametrize("text", ["14/10/75", "5/4/77", "11/11/11", "4/7", "11/14", "75%", "4%", "14,5%", "100%"])
def test_slashes_and_percent_signs_are_no_digits(reader, text):
    reading = reader.read(make_number(text)[0])
    assert (reading.text, reading.display, reading.verdict) == ("".join(filter(str.isdigit, text)), text, "number")
    assert [mark.sign for mark in reading.marks] == [sign for sign in text if not sign.isdigit()]
    assert reading.message.startswith(f"This is {text} (")


@pytest.mark.parametrize("text", ["4.", "10,", "40.", "0", "1", "7-4", "50507"])
def test_dots_and_dashes_stay_what_they_are(reader, text):
    reading = reader.read(make_number(text)[0])
    assert (reading.display, reading.verdict) == (text, "number")


def strokes_beside(*leans: float, high: float = 1.0, pen: int = 9, text: str = "") -> np.ndarray:
    """Return a picture of a number, 4 and 7 with 1s between them, that has straight strokes for 1s; they lean so, and are `high` in
    heights of a digit."""
    text = text or "4" + "1" * len(leans) + "7"
    picture, boxes = make_number(text, gap=0.6)
    leans = iter(leans)
    for x, y, wide, tall in (box for box, digit in zip(boxes, text, strict=True) if digit == "1"):
        lean, reach = next(leans), high * tall - pen
        picture[:, round(x) - 3:round(x + wide) + 3] = 255
        foot = np.array([x + wide / 2 - lean * reach / 2, y + tall / 2 + reach / 2])
        cv2.line(picture, *np.round([foot, foot + (lean * reach, -reach)]).astype(int).tolist(), 0, pen, cv2.LINE_AA)
    return picture


def choices_in(reader: FieldReader, picture: np.ndarray) -> list[Choice]:
    """Return what a picture's 1s may be."""
    opened = reader._open(picture)
    seen = np.stack([picture_of(opened.field.ink, opened.pieces, group.chosen) for group in opened.groups])
    ways = best_ways(opened.pieces, score(opened.pieces, opened.groups, reader.recognizer.probabilities(seen)))
    return slashes_in(opened.pieces, *next(iter(ways.items())))


def test_slashes_are_two_at_most_apart_from_one_another_and_straight(reader):
    assert {choice.places for choice in choices_in(reader, strokes_beside(0.4, 0.4, 0.4))} == {(), (1,), (2,), (3,), (1, 3)}
    assert len(choices_in(reader, strokes_beside(*[0.3] * 12))) <= 1 + MOST + MOST * (MOST - 1) / 2
    for picture in (strokes_beside(0.0, pen=25), strokes_beside(-0.5), make_number("4")[0], make_number("14")[0]):
        assert choices_in(reader, picture) == [(1.0, ())]


def test_a_date_tells_that_an_upright_stroke_is_a_slash(reader):
    dated = strokes_beside(-0.1, 0.5, high=1.15, text="514175")
    assert reader.read(dated).display == "5/4/75"
    assert reader.read(strokes_beside(-0.1, high=1.15, text="5147")).display == "5147"


def test_what_makes_a_stroke_a_slash():
    digit = Stroke(0.1, 0.4, 10, 50, -1.0, 10.0)
    usual = Stroke(0.4, 0.1, 10, 50, -4.0, 10.0)

    def slash(stroke: Stroke = usual, other: Stroke = digit) -> float:
        return evidence([other, stroke, digit], (1,), 40.0)

    assert slash(usual._replace(lean=0.5)) > slash() > slash(usual._replace(spread=0.2))
    assert slash(usual._replace(top=8)) > slash() < slash(usual._replace(foot=52))
    assert slash(other=digit._replace(mixed=-4.0)) < slash()
    assert slash(other=digit._replace(top=5)) < slash() > slash(other=digit._replace(foot=55))


def test_a_stroke_is_a_1_a_doubt_and_a_slash_the_more_it_leans_and_stands_out(reader):
    readings = [reader.read(strokes_beside(lean, high=high)) for lean, high in ((0.0, 1.0), (0.45, 1.0), (0.5, 1.4))]
    assert [reading.display for reading in readings] == ["417", "417", "4/7"]
    assert [reading.verdict for reading in readings] == ["number", "unsure", "number"]
    assert readings[1].confidence < reader.sure
    assert readings[1].alternatives[0].text == "47" and readings[1].message == "Unsure: 417 or 47?"


def test_a_slash_leans_more_than_the_number_that_it_stands_in(reader):
    picture = strokes_beside(0.3)
    high, wide = picture.shape
    slanted = cv2.warpAffine(make_number("417", gap=0.6)[0], np.float32([[1, -0.3, 0.3 * high], [0, 1, 0]]),
                             (wide + int(0.3 * high), high), borderValue=255)
    assert reader.read(slanted).verdict == "number" and reader.read(slanted).text == "417"


def test_a_rule_settles_a_doubt(reader):
    picture = strokes_beside(0.45)
    assert [(reading.display, reading.verdict) for reading in (reader.read(picture, rule) for rule in (r"\d{2}", r"\d{3}"))] == [
        ("4/7", "number"), ("417", "number")]


def test_a_doubt_that_the_rule_leaves_is_named(reader):
    reading = reader.read(strokes_beside(0.45), r"\d+")
    assert (reading.verdict, reading.message) == ("unsure", "Unsure: 417 or 47?")
    for rule, length in ((r"\d", 1), (r"\d{3}", 3), (r"\d{4}", 4)):
        assert {len(other.text) for other in reader.read(strokes_beside(0.45), rule).alternatives} == {length}


def test_slashes_at_one_place_or_another_that_leave_the_same_digits_are_one_alternative(reader):
    reading = reader.read(strokes_beside(0.5, 0.5))
    texts = [other.text for other in reading.alternatives]
    assert reading.text == "4117" and texts[0] == "417" and len(set(texts)) == len(texts)
    assert reading.alternatives[0].probability > 0.15 and reading.confidence + sum(p for _, p in reading.alternatives) < 1


def test_an_alternative_is_another_string_as_likely_as_all_its_guesses_and_no_likelier_than_the_text():
    guesses = [("417", 0.1), ("", 0.9), ("47", 0.15), ("417", 0.1), ("4117", 0.4), ("7", 0.8)]
    assert alternatives_among(guesses, "4117", 0.5) == [("7", 0.5), ("417", 0.2), ("47", 0.15)]


@pytest.mark.parametrize("high, text", [(1.0, "4171017"), (1.5, "4707")])
def test_lines_between_digits_are_none_where_all_are_longer(reader, high, text):
    assert reader.read(strokes_beside(0.0, 0.0, 0.0, high=high, text="4171017")).text == text


@pytest.mark.parametrize("aside, display", [(8, "417"), (20, "41.7")])
def test_what_has_a_dot_below_or_beside_it_is_no_slash(reader, aside, display):
    picture = strokes_beside(0.5, high=1.4)
    ink = np.argwhere(picture < 128)
    cv2.circle(picture, ((ink[:, 1].min() + ink[:, 1].max()) // 2 + aside, 40 + HIGH), 5, 0, -1, cv2.LINE_AA)
    reading = reader.read(picture)
    assert (reading.text, reading.display) == ("417", display)


def test_a_rule_says_which_strokes_are_slashes(reader):
    picture = make_number("14/10/75")[0]
    assert reader.read(picture, r"\d{6}").display == "14/10/75"
    ruled = reader.read(picture, r"\d{8}")
    assert (ruled.text, ruled.ink_text, ruled.by_rule) == ("14110175", "141075", True)


@pytest.mark.parametrize("rule", [r"\d{3}", r"\d{4,5}"])
def test_a_percent_sign_that_a_rule_makes_digits_is_no_sign_and_never_sure(reader, rule):
    reading = reader.read(make_number("75%")[0], rule)
    assert reading.text.startswith("75") and "%" not in reading.display and reading.by_rule
    assert reading.verdict == "unsure"


@pytest.mark.parametrize("parts, date", [
    (("31", "12", "1999"), True), (("12", "31", "99"), True), (("1", "2", "03"), True), (("13", "13", "99"), False),
    (("32", "1", "99"), False), (("0", "1", "99"), False), (("1", "2", "1799"), False), (("1", "2", "999"), False),
    (("111", "2", "99"), False),
])
def test_a_date_is_a_day_a_month_and_a_year(parts, date):
    assert is_date(parts) == date


def test_slashes_are_likelier_in_dates_and_least_likely_in_long_numbers():
    dates = belief("0110211999", (2, 5)), belief("112199", (1, 3)), belief("0211999", (2,))
    assert dates[0] > dates[1] > belief("4519991", (2, 4)) and dates[2] > belief("0211799", (2,)) > belief("02117990", (2,))
    assert belief("02107199", (2, 5)) > belief("2107199", (1, 4)) > belief("217199", (1, 3))  # 02/07/99, 2/07/99, 2/7/99
    assert belief("02199", (2,)) == belief("45199", (2,))  # one slash before two digits makes no date
    assert belief("112199", ()) == 0


@pytest.mark.parametrize("text, place, phone", [
    ("030112345", 3, True), ("05691123456", 4, True), ("0211234567", 2, False), ("4301123456", 3, False),
    ("03011234", 3, False), ("0301123456789", 3, False), ("012345112345", 6, False),
])
def test_a_slash_is_likelier_behind_an_area_code(text, place, phone):
    assert (belief(text, (place,)) > belief("4" + text[1:], (place,))) == phone


@pytest.mark.parametrize("lean", [-0.3, 0.0, 0.4, 0.9])
def test_a_stroke_has_the_lean_and_the_spread_that_it_was_drawn_with(lean):
    picture = np.full((200, 300), 255, np.uint8)
    cv2.line(picture, (round(150 - 60 * np.sin(lean)), round(100 + 60 * np.cos(lean))),
             (round(150 + 60 * np.sin(lean)), round(100 - 60 * np.cos(lean))), 0, 9)
    field = find_field(picture)
    pieces = cut(field.ink)
    stroke, points = stroke_of(pieces, list(range(len(pieces.boxes)))), np.argwhere(pieces.labels > 0)
    spreads = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    assert stroke.lean == pytest.approx(lean, abs=0.03) and stroke.spread == pytest.approx(spreads[1] / spreads[0], rel=0.01)
    assert (stroke.top, stroke.foot) == (points[:, 0].min(), points[:, 0].max() + 1)


@pytest.mark.parametrize("what, found", [
    ("rings", True), ("dots", True), ("ring above touching", True), ("ring above touching, dot below", False),
    ("ring above touching, another hole", False), ("no stroke", False), ("upright", False),
    ("stroke on the left", False), ("ring above far off", False), ("foam", False),
])
def test_a_percent_sign_is_two_rings_and_a_stroke_between_them(what, found):
    picture = np.full((240, 340), 255, np.uint8)
    cv2.putText(picture, "4", (20, 165), cv2.FONT_HERSHEY_SIMPLEX, 5, 0, 9, cv2.LINE_AA)
    left, right = (130, 200) if what == "stroke on the left" else (250, 190) if what == "no stroke" else (200, 200)
    radii = (5, 5) if what == "dots" else (18, 5) if what.endswith("dot below") else (18, 18)
    for (x, y), radius in zip(((138 if what.endswith("far off") else 175, 75), (235, 145)), radii, strict=True):
        cv2.circle(picture, (x, y), radius, 0, 7 if radius > 5 else -1, cv2.LINE_AA)
    if what != "no stroke":
        aslant = 0 if what == "upright" else 35 if left == right else 10
        cv2.line(picture, (left - aslant, 170), (left + aslant, 50), 0, 7, cv2.LINE_AA)
    if "touching" in what:
        cv2.line(picture, (175, 75 - 18), (232, 57), 0, 7, cv2.LINE_AA)
    if what.endswith("another hole"):
        cv2.circle(picture, (175, 120), 18, 0, 7, cv2.LINE_AA)
        cv2.line(picture, (175, 92), (175, 102), 0, 7, cv2.LINE_AA)
    for x, y in product(range(150, 290, 26), (20, 200)) if what == "foam" else ():
        cv2.circle(picture, (x, y), 7, 0, 3, cv2.LINE_AA)
    assert bool(percent_in(cut(find_field(picture).ink))) == found


UPPER, LOWER = Ring(70, 40, 20, 20, False, True), Ring(120, 100, 20, 20, False, True)  # where the line is 100 high


@pytest.mark.parametrize("what, above, below, parted", [
    ("as it should be", UPPER, LOWER, True),
    ("too little beside one another", UPPER._replace(left=115), LOWER, False),
    ("too far from one another", UPPER._replace(left=5), LOWER._replace(left=130), False),
    ("hardly below one another", UPPER._replace(top=85), LOWER, False),
    ("too far below one another", UPPER._replace(top=5), LOWER._replace(top=140), False),
    ("too low together", UPPER._replace(top=80, high=10), LOWER._replace(top=105, high=10), False),
    ("too high together", UPPER._replace(top=40, high=100), LOWER._replace(top=100, high=110), False),
    ("on the same rows", UPPER._replace(top=40, high=60), LOWER._replace(top=70, high=60), False),
    ("on the stroke", UPPER._replace(left=112), LOWER._replace(left=124), False),
], ids=lambda what: what if isinstance(what, str) else "")
def test_rings_of_a_percent_sign_lie_to_either_side_of_its_stroke(what, above, below, parted):
    ink = np.zeros((240, 240), np.uint8)
    cv2.line(ink, (80, 125), (130, 35), 1, 5)
    if what.startswith("too"):  # any stroke would do
        ink[:] = 1
    assert are_parted(ink, above, below, 100.0) == parted
    assert not are_parted(ink[:, ::-1], above, below, 100.0) or what.startswith("too")


def test_a_stroke_of_dashes_makes_no_percent_sign():
    ink = np.zeros((240, 240), np.uint8)
    cv2.line(ink, (80, 125), (130, 35), 1, 5)
    ink[::4] = 0  # three quarters of it
    assert not are_parted(ink, UPPER, LOWER, 100.0)


@pytest.mark.parametrize("start, found", [(82, True), (20, False)])
def test_the_end_of_a_bar_is_no_dot(start, found):
    picture = np.full((240, 340), 255, np.uint8)
    cv2.line(picture, (start, 75), (98, 75), 0, 12)  # a dot, or what is left of a bar in the end of the line
    cv2.line(picture, (95, 170), (175, 50), 0, 7, cv2.LINE_AA)
    cv2.circle(picture, (170, 145), 8, 0, -1, cv2.LINE_AA)
    cv2.line(picture, *(((275, 170), (275, 50)) if found else ((290, 170), (290, 50))), 0, 7, cv2.LINE_AA)
    assert bool(percent_in(cut(find_field(picture).ink))) == found


@pytest.mark.parametrize("what", ["slashes", "rings"])
def test_hatching_and_foam_are_given_up_quickly(reader, what):
    page = np.full((300, 640), 255, np.uint8)
    for number, x in enumerate(range(20, 600, 12)):
        if what == "slashes":
            cv2.line(page, (x, 250), (x + 30, 60), 0, 3, cv2.LINE_AA)
        else:
            cv2.circle(page, (x, 60 + 37 * number % 180), 9, 0, 3, cv2.LINE_AA)
    cv2.line(page, (560, 280), (630, 20), 0, 3, cv2.LINE_AA)
    start = time.perf_counter()
    assert reader.read(page).verdict != "number"
    assert time.perf_counter() - start < 2 and MOST < 10


@pytest.mark.parametrize("text", ["N47", "N0,47", "N471"])
def test_an_n_before_a_number_is_not_surely_three_1s(reader, text):
    assert reader.read(make_number(text, pen=7)[0]).verdict == "unsure"
    assert reader.read(make_number("111" + text[1:], pen=7)[0]).verdict == "number"


@pytest.mark.parametrize("text, things, odd", [("111", [0, 0, 0], True), ("111", [0, 0, 1], False), ("171", [0, 0, 0], False)])
def test_three_1s_cut_off_one_thing_are_odd(text, things, odd):
    boxes = np.array([(20 * place, 0, 10, 40) for place in range(3)])
    pieces = Pieces(np.zeros((40, 60), int), boxes, 40.0, np.array(things), np.zeros(3), np.zeros(3, bool), 0, 0.0)
    digits = tuple(Candidate(place, place, [place], np.full(10, 0.1), np.zeros(10)) for place in range(3))
    assert is_odd(pieces, text, Way(0.0, digits, (), None)) is odd


@pytest.mark.parametrize("box, odd", [((14, 10, 12, 20), True), ((34, 10, 12, 20), False), ((14, 45, 12, 20), False)])
def test_a_0_inside_of_which_something_stands_is_odd(box, odd):
    boxes = np.array([(0, 0, 40, 40), box])
    pieces = Pieces(np.zeros((60, 60), int), boxes, 40.0, np.arange(2), np.zeros(2), np.zeros(2, bool), 0, 0.0)
    zero = Candidate(0, 0, [0], np.full(10, 0.1), np.zeros(10))
    assert is_odd(pieces, "0", Way(0.0, (zero,), (1,), None)) is odd
    assert not is_odd(pieces, "8", Way(0.0, (zero,), (1,), None))


def test_what_was_cut_but_is_no_digit_is_one_sign():
    ones = np.ones(6, int)
    pieces = Pieces(np.zeros((1, 1), int), np.ones((6, 4), int), 40.0, np.array([3, 3, 1, 3, 5, 5]), 0.0 * ones, ones > 1, 0, 0.0)
    assert things_of(pieces, (5, 4, 0, 1, 2, 3), {}) == [[0, 1], [2], [3], [4, 5]]
    assert things_of(pieces, (0, 1, 2, 3, 4, 5), {0: "/", 2: "%", 3: "%", 4: "%"}) == [[0], [1], [2, 3, 4], [5]]
    assert things_of(pieces, (1, 2), {}) == [[1], [2]] and things_of(pieces, (), {}) == []
