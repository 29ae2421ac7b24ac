"""Slashes and percent signs are signs where they stand out from the digits, and doubts where they do not."""

import time

import cv2
import numpy as np
import pytest
from conftest import HIGH, make_number

from fields import FieldReader
from segments import cut, find_field
from signs import MOST, belief, is_date, percent_in, stroke_of


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


def strokes_beside(*leans: float, high: float = 1.0) -> np.ndarray:
    """Return a picture of 4 and 7 with straight strokes between them that lean so, as high as the digits or `high` of them."""
    picture = make_number("4" + "1" * len(leans) + "7", gap=0.6)[0]
    _, _, boxes, _ = cv2.connectedComponentsWithStats((picture < 128).view(np.uint8))
    for (x, y, wide, tall, _), lean in zip(sorted(boxes[1:].tolist())[1:-1], leans, strict=True):
        picture[:, x:x + wide] = 255
        middle, foot, reach = x + wide / 2, y + tall / 2 + high * tall / 2 - 5, high * tall - 10
        ends = np.round([(middle - lean * reach / 2, foot), (middle + lean * reach / 2, foot - reach)]).astype(int).tolist()
        cv2.line(picture, *ends, 0, 9, cv2.LINE_AA)
    return picture


def test_a_stroke_is_a_1_a_doubt_and_a_slash_the_more_it_leans_and_stands_out(reader):
    readings = [reader.read(strokes_beside(lean, high=high)) for lean, high in ((0.0, 1.0), (0.45, 1.0), (0.5, 1.4))]
    assert [reading.display for reading in readings] == ["417", "417", "4/7"]
    assert [reading.verdict for reading in readings] == ["number", "unsure", "number"]
    assert readings[1].alternatives[0].text == "47" and readings[1].message == "Unsure: 417 or 47?"


def test_a_slash_leans_more_than_the_number_that_it_stands_in(reader):
    picture = strokes_beside(0.3)
    high, wide = picture.shape
    slanted = cv2.warpAffine(make_number("417", gap=0.6)[0], np.float32([[1, -0.3, 0.3 * high], [0, 1, 0]]),
                             (wide + int(0.3 * high), high), borderValue=255)
    assert reader.read(slanted).verdict == "number" and reader.read(slanted).text == "417"


def test_what_has_a_dot_beside_it_is_no_slash(reader):
    picture = strokes_beside(0.5, high=1.4)
    ink = np.argwhere(picture < 128)
    cv2.circle(picture, ((ink[:, 1].min() + ink[:, 1].max()) // 2 + 8, 40 + HIGH), 5, 0, -1, cv2.LINE_AA)
    reading = reader.read(picture)
    assert (reading.text, reading.display) == ("417", "41.7")


def test_a_rule_says_which_strokes_are_slashes(reader):
    picture = make_number("14/10/75")[0]
    assert reader.read(picture, r"\d{6}").display == "14/10/75"
    ruled = reader.read(picture, r"\d{8}")
    assert (ruled.text, ruled.ink_text, ruled.by_rule) == ("14110175", "141075", True)


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
    assert belief("112199", ()) == 0


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


def test_a_dot_behind_a_nine_is_no_percent_sign():
    pieces = cut(find_field(make_number("75%")[0]).ink)
    assert len(percent_in(pieces)) == 3
    nine = np.full((200, 200), 255, np.uint8)
    cv2.circle(nine, (60, 60), 20, 0, 7, cv2.LINE_AA)
    cv2.line(nine, (100, 30), (55, 150), 0, 7, cv2.LINE_AA)
    cv2.line(nine, (82, 60), (92, 52), 0, 7, cv2.LINE_AA)
    for radius, found in ((6, False), (18, True)):  # a dot, a ring
        picture = nine.copy()
        cv2.circle(picture, (110, 140 - radius), radius, 0, 7, cv2.LINE_AA)
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
    reading = reader.read(make_number(text, pen=7)[0])
    assert reading.confidence > reader.sure and reading.verdict == "unsure"
    assert reader.read(make_number("111" + text[1:], pen=7)[0]).verdict == "number"
