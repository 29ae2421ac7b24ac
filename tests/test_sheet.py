"""A sheet of paper on a table is found, laid upright and read; what is no sheet is left alone."""

import cv2
import numpy as np
import pytest
from conftest import make_number, make_sketch

from fields import FieldReader
from paper import to_grey
from preprocess import walk
from recognize import Recognizer
from sheet import find_sheet

TABLES = {"dark": (45, 45, 50), "wooden": (120, 85, 60), "grey": (175, 178, 182)}


def lay(paper: np.ndarray, turn: float = 0, table=(120, 85, 60), around: int = 110, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return a photograph of a sheet on a table with some grain, (H, W, 3) uint8, and the matrix (2, 3) that laid it there."""
    high, wide = paper.shape[:2]
    matrix = cv2.getRotationMatrix2D((wide / 2, high / 2), turn, 1)
    more = around + int(abs(np.sin(np.radians(turn))) * wide / 2)
    matrix[:, 2] += (around, more)
    size = (wide + 2 * around, high + 2 * more)
    colour = np.repeat(paper[..., None], 3, axis=2) if paper.ndim == 2 else paper
    cover = cv2.warpAffine(np.ones((high, wide), np.float32), matrix, size)[..., None]
    laid = cv2.warpAffine(colour.astype(np.float32), matrix, size)
    grain = np.random.default_rng(seed).normal(0, 4, (size[1], size[0], 1))
    return (laid * cover + np.float32(table) * (1 - cover) + grain).clip(0, 255).astype(np.uint8), matrix


@pytest.mark.parametrize("size", [150, 300, 600])
@pytest.mark.parametrize("stroke, alone, among_others", [(0.02, True, True), (0.06, True, False), (0.11, False, False)])
def test_a_drawing_is_strokes_at_any_size_and_no_sheet_is_looked_for(size, stroke, alone, among_others, monkeypatch):
    picture, looked = np.full((size, size), 255, np.uint8), []
    cv2.line(picture, (size // 2, size // 4), (size // 2, 3 * size // 4), 0, round(stroke * size))
    monkeypatch.setattr("sheet._lowest_sheet", lambda *_: looked.append(1))
    for narrowest, told in ((0.6, alone), (0.0, among_others)):
        looked.clear()
        assert find_sheet(picture, picture, picture, narrowest) is None and bool(looked) != told


def sheet_in(picture: np.ndarray, narrowest: float = 0.0):
    grey = to_grey(picture)
    return find_sheet(picture, grey, grey, narrowest)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
@pytest.mark.parametrize("turn", [0, -18, 12])
def test_a_number_on_a_sheet_on_a_table_is_read(table, turn):
    reading = FieldReader.from_pretrained().read(lay(make_number("4705")[0], turn, table)[0])
    assert (reading.text, reading.verdict) == ("4705", "number")


@pytest.mark.parametrize("colour", [(250, 235, 110), (255, 160, 190), (245, 245, 240)], ids=["yellow", "pink", "white"])
def test_a_digit_on_a_note_on_a_table_is_read(colour):
    note = np.where(make_sketch("4", width=14)[..., None] < 128, (25, 25, 30), colour).astype(np.uint8)
    reading = Recognizer.from_pretrained().read(lay(note, 8)[0])
    assert (reading.digit, reading.verdict) == ("4", "digit")


def test_white_ink_on_a_black_card_is_read():
    reading = FieldReader.from_pretrained().read(lay(255 - make_number("4075")[0], -4, (200, 190, 180))[0])
    assert (reading.text, reading.verdict) == ("4075", "number")


@pytest.mark.parametrize("side", ["left", "top"])
def test_a_sheet_that_leaves_the_picture_on_three_sides_is_read(side):
    paper = np.repeat(make_number("4705")[0][..., None], 3, axis=2)
    strip = np.full((paper.shape[0], 150, 3) if side == "left" else (90, paper.shape[1], 3), 60, np.uint8)
    picture = np.concatenate([strip, paper], axis=1 if side == "left" else 0)
    grain = np.random.default_rng(0).normal(0, 6, picture.shape[:2] + (1,))
    assert FieldReader.from_pretrained().read((picture + grain).clip(0, 255).astype(np.uint8)).text == "4705"


def test_boxes_are_in_the_pixels_of_the_whole_picture():
    paper, boxes = make_number("4705")
    picture, matrix = lay(paper, 15)
    reading = FieldReader.from_pretrained().read(picture)
    for digit, (x, y, wide, high) in zip(reading.digits, boxes, strict=True):
        middle = matrix @ (x + wide / 2, y + high / 2, 1)
        left, top, across, down = digit.box
        assert np.abs(np.array([left + across / 2, top + down / 2]) - middle).max() < 12  # pixels, of digits 100 high


def test_the_sheet_is_a_stage_of_its_own():
    names = [name for name, _ in walk(lay(make_sketch("4", width=14), 8)[0])]
    assert names[:2] == ["grey", "sheet"] and names[-1] == "seen"


def test_a_sheet_seen_from_the_side_is_laid_flat():
    paper, _ = make_number("4705")
    high, wide = paper.shape
    corners = np.float32([(140, 110), (wide + 60, 60), (wide + 130, high + 90), (80, high + 160)])
    matrix = cv2.getPerspectiveTransform(np.float32([(0, 0), (wide, 0), (wide, high), (0, high)]), corners)
    picture = np.full((high + 240, wide + 220), 70, np.uint8)
    cv2.warpPerspective(paper, matrix, picture.shape[::-1], picture, borderMode=cv2.BORDER_TRANSPARENT)
    sheet = sheet_in(picture)
    place = cv2.perspectiveTransform(np.float64([[(0, 0)]]), np.linalg.inv(matrix) @ sheet.matrix)[0, 0]
    assert np.abs(place - 0.04 * high).max() < 0.04 * high  # a little inside of the upper left corner
    assert FieldReader.from_pretrained().read(picture).text == "4705"


@pytest.mark.parametrize("digit", list("01457"))
def test_no_sheet_is_found_in_a_drawing(digit):
    assert sheet_in(make_sketch(digit)) is None and sheet_in(make_sketch(digit, width=40, size=0.9), 0.4) is None


def test_the_ring_of_an_angular_0_is_no_sheet():
    ring = np.full((280, 280), 255, np.uint8)
    cv2.rectangle(ring, (90, 50), (190, 230), 0, 30)
    assert sheet_in(ring) is None and sheet_in(255 - ring) is None


def test_a_shadow_that_crosses_the_ink_is_no_sheet():
    picture = make_sketch("4").astype(float)
    picture[90:200, 90:200] *= 0.5
    assert sheet_in(picture.astype(np.uint8), 0.4) is None


def test_an_empty_sheet_is_not_taken_for_what_is_read():
    assert sheet_in(lay(np.full((200, 300), 250, np.uint8))[0]) is None


@pytest.mark.parametrize("pen", [30, 45, 60])
@pytest.mark.parametrize("sides", [(60, 75), (70, 70), (48, 80)])
def test_the_hole_of_a_thick_0_is_not_written_on_a_sheet(sides, pen):
    picture = np.full((280, 280), 255, np.uint8)
    cv2.ellipse(picture, (140, 140), sides, 0, 0, 360, 0, pen, cv2.LINE_AA)
    assert sheet_in(picture) is None and sheet_in(255 - picture) is None


def test_the_hole_of_a_printed_0_is_not_written_on_a_sheet():
    picture = np.full((300, 300), 255, np.uint8)
    cv2.putText(picture, "0", (70, 230), cv2.FONT_HERSHEY_SIMPLEX, 7, 0, 34, cv2.LINE_AA)
    assert sheet_in(picture) is None


def test_light_with_a_soft_edge_is_no_sheet():
    light = np.full((280, 280), 110, np.uint8)
    light[50:230, 60:220] = 250
    light = cv2.GaussianBlur(light, (0, 0), 30)
    assert sheet_in(np.minimum(light, make_sketch("4", size=0.3))) is None
    sharp = np.full((280, 280), 110, np.uint8)
    sharp[50:230, 60:220] = 250
    assert sheet_in(np.minimum(sharp, make_sketch("4", size=0.3))) is not None


def test_a_sheet_is_found_beside_something_darker_than_the_table():
    picture, _ = lay(make_number("4705")[0], 0, (150, 150, 155))
    beside = np.concatenate([picture, np.full((picture.shape[0], picture.shape[1] // 2, 3), 15, np.uint8)], axis=1)
    assert FieldReader.from_pretrained().read(beside).text == "4705"


def test_a_printed_border_stays_outside():
    paper = np.pad(make_number("4705")[0], 30, constant_values=255)
    cv2.rectangle(paper, (14, 14), (paper.shape[1] - 15, paper.shape[0] - 15), 60, 4)
    assert FieldReader.from_pretrained().read(lay(paper, 6)[0]).text == "4705"
