"""A field's ink is cut into pieces that lose nothing, between digits as well as through them, and lie where the ink lies."""

import cv2
import numpy as np
import pytest
from conftest import make_number

from lattice import groups_of
from paper import INK_LEVEL
from segments import HEIGHT, MOST_THINGS, PIECE, box_of, count_lines, cut, find_field, line_height, picture_of, prices_of, seams


def two_rings(apart: int) -> np.ndarray:
    """Return the ink of two rings, 40 pixels across, `apart` pixels between them."""
    ink = np.zeros((60, 120), np.uint8)
    for x in (30, 30 + 40 + apart):
        cv2.circle(ink, (x, 30), 18, 255, 4, cv2.LINE_AA)
    return ink


def test_every_inked_pixel_belongs_to_one_piece():
    ink = find_field(make_number("40517", gap=0.02)[0]).ink
    pieces = cut(ink)
    assert ((pieces.labels > 0) == (ink > INK_LEVEL)).all() and pieces.specks == 0
    assert set(np.unique(pieces.labels)) == set(range(len(pieces.boxes) + 1))
    for number, (x, y, wide, high) in enumerate(pieces.boxes, 1):
        rows, columns = np.nonzero(pieces.labels == number)
        assert (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1) == (x, y, wide, high)


def test_pieces_come_from_left_to_right():
    boxes = cut(find_field(make_number("4.0-5,1", gap=0.1)[0]).ink).boxes
    middles = boxes[:, 0] + boxes[:, 2] / 2
    assert (np.diff(middles) >= 0).all()


def test_pieces_of_what_leans_come_as_if_it_stood():
    ink = np.zeros((60, 90), np.uint8)
    cv2.line(ink, (10, 55), (30, 5), 255, 3)  # its foot is left of the dot, its middle is not
    cv2.circle(ink, (18, 54), 2, 255, -1)
    assert [high > 20 for *_, high in cut(ink, lean=0.6).boxes] == [True, False]
    assert [high > 20 for *_, high in cut(ink).boxes] == [False, True]


def test_rings_that_touch_are_cut_where_they_touch():
    pieces = cut(two_rings(0))
    assert any(abs(x - 50) < 4 for x, *_ in pieces.boxes)
    assert pieces.cuts[1:].max() > 0 and pieces.cuts[0] == 0  # nothing is cut at the left of the first


def test_rings_that_stand_apart_share_no_piece():
    pieces = cut(two_rings(6))
    assert len(set(pieces.things)) == 2 and not any(x < 53 < x + wide - 1 for x, _, wide, _ in pieces.boxes)


@pytest.mark.parametrize("pen", [3, 4, 5])
def test_strokes_that_lie_side_by_side_are_parted_lengthwise(pen):
    bowl, stem = np.zeros((2, 60, 80), np.uint8)
    cv2.ellipse(bowl, (28, 30), (18, 22), 0, -130, 130, 255, pen, cv2.LINE_AA)  # as of a 5 or a 3
    cv2.line(stem, (28 + 18 + pen - 1, 6), (28 + 18 + pen - 1, 54), 255, pen, cv2.LINE_AA)  # a 1 that touches it half way down
    pieces = cut(np.maximum(bowl, stem))
    best = 0.0
    for group in groups_of(pieces):
        mine = np.isin(pieces.labels, np.array(group.chosen) + 1)
        best = max(best, (mine & (stem > 127)).sum() / (mine | (stem > 127)).sum())
    assert best > 0.8


def test_the_cheapest_way_through_a_bridge_is_its_thinnest_place():
    ink = np.zeros((40, 60), np.uint8)
    ink[5:35, 5:20] = ink[5:35, 40:55] = 255
    ink[18:24, 20:40] = 255
    ink[20:22, 28:32] = 255
    ink[18:20, 28:32] = ink[22:24, 28:32] = 0
    costs, paths = seams(prices_of(ink, 40), 40)
    assert 26 <= int(costs[10:50].argmin()) + 10 <= 33 and costs[30] < 3 < costs[12]
    assert paths.shape == (60, 40) and (np.abs(np.diff(paths, axis=1)) <= 1).all()


def test_dots_are_bits_and_pieces_of_digits_are_none():
    pieces = cut(find_field(make_number("40.7", gap=0.15)[0]).ink)
    assert pieces.bits.sum() == 1
    x, y, wide, high = pieces.boxes[pieces.bits][0]
    assert max(wide, high) < 0.35 * pieces.height and y > 0.5 * pieces.height


@pytest.mark.parametrize("high", [30, 90, 400])
def test_the_height_of_the_line_is_that_of_its_digits(high):
    picture, _ = make_number("0.5", high=high, pen=max(2, high // 10), margin=high)
    assert line_height(255 - picture) == pytest.approx(1.1 * high, rel=0.1)
    assert line_height(find_field(picture).ink) < 1.6 * HEIGHT


def leaning_bars() -> np.ndarray:
    """Return three bars that lean by 0.5, black on white, the first two joined by a bridge."""
    picture = np.full((120, 200), 255, np.uint8)
    for x in (60, 92, 140):
        cv2.line(picture, (x + 20, 20), (x - 20, 100), 0, 7, cv2.LINE_AA)
    cv2.line(picture, (60, 60), (92, 60), 0, 5, cv2.LINE_AA)
    return picture


def test_what_leans_is_cut_as_it_leans_and_boxes_are_upright():
    field = find_field(leaning_bars())
    assert field.lean == pytest.approx(0.5, abs=0.1)
    for lean, parted in ((field.lean, True), (0.0, False)):
        pieces = cut(field.ink, lean)
        boxes = [box_of(field, pieces, group.chosen) for group in groups_of(pieces)]
        for middle in (60, 92):  # 80 high, 40 across, and the pen's width, 48; one of them has most of the bridge, too
            assert any((x + wide, y, high) == pytest.approx((middle + 24, 16, 88), abs=4) and 44 < wide < 59
                       for x, y, wide, high in boxes) == parted


def test_no_piece_is_too_little_to_be_one():
    for text, gap in (("4075", -0.05), ("10010", -0.1), ("44", -0.15)):
        pieces = cut(find_field(make_number(text, gap=gap)[0]).ink, 0.4)
        sizes = np.bincount(pieces.labels.ravel())[1:]
        assert len(sizes) > len(text) and sizes.min() >= int(PIECE * pieces.height ** 2)


def test_an_upright_one_as_high_as_the_picture_is_no_printed_line():
    picture = np.full((100, 300), 255, np.uint8)
    picture[:, 80:88] = picture[:, 200:208] = 0
    assert len(cut(find_field(picture).ink).boxes) == 2


def test_an_upright_frame_at_the_very_edge_goes():
    picture, _ = make_number("47", margin=30)
    picture[:, 2:5] = 0
    assert len(set(cut(find_field(picture).ink).things)) == 2  # the 4 and the 7


def test_a_texture_is_not_cut():
    dots = np.zeros((300, 300), np.uint8)
    for x in range(10, 290, 14):
        for y in range(10, 290, 14):
            cv2.circle(dots, (x, y), 3, 255, -1)
    assert MOST_THINGS < 400 and cut(dots) is None and cut(np.zeros((40, 40), np.uint8)) is None


def test_a_picture_of_some_pieces_holds_nothing_else():
    ink = two_rings(6)
    pieces = cut(ink)
    left = [number for number, (x, *_) in enumerate(pieces.boxes) if x < 50]
    alone = np.where(np.arange(120) < 52, ink, 0).astype(np.uint8)
    whole = cut(alone)
    assert np.array_equal(picture_of(ink, pieces, left), picture_of(alone, whole, list(range(len(whole.boxes)))))


def bars(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Return ink, (300, 300) uint8, with a full box at every (x, y, width, height)."""
    ink = np.zeros((300, 300), np.uint8)
    for x, y, wide, high in boxes:
        ink[y:y + high, x:x + wide] = 255
    return ink


def test_lines_lie_below_one_another_with_paper_between():
    assert count_lines(bars((20, 20, 30, 60), (80, 20, 30, 60), (20, 120, 30, 60), (80, 120, 30, 60))) == 2
    assert count_lines(bars((20, 20, 30, 60), (80, 20, 30, 60), (20, 84, 30, 60), (80, 84, 30, 60))) == 1  # torn apart by a fold
    assert count_lines(bars((20, 20, 30, 60), (80, 120, 30, 60))) == 1  # aslant beside one another
    assert count_lines(bars((20, 20, 30, 60), (80, 20, 30, 60), (20, 120, 90, 12))) == 1  # underlined
