"""Any picture of a digit becomes the picture MNIST would have held, step by step."""

import cv2
import numpy as np
import pytest
import torch
from conftest import STROKES, difference, make_field, make_number, make_sketch, on_a_notebook_page
from PIL import Image
from torchvision.transforms import v2

import cleaning
import preprocess
from boxes import drop_boxes, drop_discs
from cleaning import (
    count_things,
    cut_neighbours,
    drop_base_line,
    drop_edge_pieces,
    drop_haze,
    drop_lines,
    drop_specks,
    smooth_noise,
)
from paper import find_ink, ink_is_dark, lay_on_paper, to_grey
from preprocess import (
    center_by_mass,
    crop,
    even_strokes,
    free_looks,
    ink_box,
    is_blob,
    scale_to_box,
    second_looks,
    see,
    stroke_width,
    to_tensor,
    walk,
)

SKETCH = make_sketch()
SEEN = see(SKETCH)


def looks_like(one: np.ndarray, other: np.ndarray, levels: float = 6.0) -> bool:
    """Say whether two pictures are the same to `levels` of mean difference, wherever the centre of mass was rounded to."""
    return min(difference(np.roll(one, (dy, dx), (0, 1)), other) for dy in (-1, 0, 1) for dx in (-1, 0, 1)) < levels


def test_a_small_digit_is_looked_at_closer_with_paper_around_it():
    stages = dict(walk(make_sketch(size=0.1, pad=900, width=10)))
    height, width = stages["closer"].shape
    left, top, wide, high = ink_box(stages["ink"])
    assert high == pytest.approx(103, abs=2) and height == pytest.approx(2 * high, rel=0.1)  # half of its height on every side
    assert min(left, top, width - left - wide, height - top - high) > 0.4 * high
    assert looks_like(stages["seen"], SEEN, 12)


def test_the_road_has_named_stages_and_ends_at_seen():
    names = [name for name, _ in walk(SKETCH)]
    assert names == ["grey", "ink", "cleaned", "stroke", "seen"]


def test_seen_is_mnists_layout():
    rows, columns = np.flatnonzero(SEEN.any(axis=1)), np.flatnonzero(SEEN.any(axis=0))
    assert SEEN.shape == (28, 28) and SEEN.dtype == np.uint8
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    assert SEEN.max() >= 250 and np.median(SEEN) == 0


@pytest.mark.parametrize("digit", STROKES)
def test_what_was_seen_once_is_seen_the_same_again(digit):
    seen = see(make_sketch(digit))
    assert difference(see(seen), seen) < 1


@pytest.mark.parametrize("picture", [
    pytest.param(255 - SKETCH, id="white on black"),
    pytest.param(make_sketch(size=0.3, width=11), id="small"),
    pytest.param(make_sketch(size=0.2, at=(0.85, 0.15), width=7), id="in a corner"),
    pytest.param(make_sketch(pad=900, width=70), id="on a large pad"),
    pytest.param(make_sketch(pad=2000, size=0.06, at=(0.1, 0.9), width=16), id="tiny on a huge sheet"),
    pytest.param(make_sketch(pad=112, width=9), id="on a small pad"),
    pytest.param(SKETCH // 4 + 150, id="low contrast"),
    pytest.param(SKETCH.astype(np.uint16) * 257, id="16 bit"),
    pytest.param(SKETCH / 255, id="floats from 0 to 1"),
    pytest.param(np.dstack([SKETCH, SKETCH, np.full_like(SKETCH, 255)]), id="yellow paper's blue ink"),
])
def test_size_place_polarity_and_range_do_not_matter(picture):
    assert looks_like(see(picture), SEEN)


def test_dark_ink_on_transparent_paper_is_seen():
    clear = np.dstack([SKETCH * 0, SKETCH * 0, SKETCH * 0, 255 - SKETCH])
    assert looks_like(see(clear), SEEN)


def test_light_ink_on_transparent_paper_is_seen():
    clear = np.dstack([SKETCH * 0 + 255] * 3 + [255 - SKETCH])
    assert looks_like(see(clear), SEEN)


@pytest.mark.parametrize("level", [0, 255])
def test_half_transparent_ink_is_seen(level):
    clear = np.dstack([SKETCH * 0 + level] * 3 + [(255 - SKETCH) // 2])
    assert looks_like(see(clear), SEEN)


@pytest.mark.parametrize("alpha", [0, 1, 128, 254, 255])
def test_a_single_pixel_of_any_opacity_is_blank(alpha):
    assert see(np.array([[[10, 200, 90, alpha]]], np.uint8)) is None


def test_a_screenshot_with_round_corners_keeps_its_own_paper():
    corners = np.full_like(SKETCH, 255)
    corners[:9, :9] = corners[-9:, -9:] = 0
    paper = lay_on_paper(np.dstack([SKETCH, SKETCH, SKETCH, corners]))
    assert paper[0, 0, 0] == 255


def test_yellow_ink_is_as_black_as_any_in_the_channel_that_shows_it():
    yellow = np.dstack([np.full_like(SKETCH, 255), np.maximum(SKETCH, 230), SKETCH])
    assert np.array_equal(to_grey(yellow), SKETCH)


def test_what_is_written_on_a_sign_stands_out_where_the_sign_does_not():
    sheet = np.full((280, 280, 3), 255, np.uint8)
    cv2.circle(sheet, (140, 140), 125, (250, 200, 0), -1)
    assert np.array_equal(to_grey(np.minimum(sheet, SKETCH[:, :, None])), np.minimum(sheet[:, :, 0], SKETCH))


def test_grey_is_luminance_where_colour_tells_nothing():
    rgb = np.asarray(Image.fromarray(SKETCH).convert("RGB"))
    assert difference(to_grey(rgb), SKETCH) == 0


@pytest.mark.parametrize("digit", STROKES)
def test_polarity_is_that_of_what_is_rare(digit):
    assert ink_is_dark(make_sketch(digit)) and not ink_is_dark(255 - make_sketch(digit))


def test_polarity_is_right_inside_a_dark_frame():
    framed = np.pad(make_sketch(size=0.7), 12) // 2 + 60
    assert ink_is_dark(framed)


@pytest.mark.parametrize("blank", [
    pytest.param(np.full((280, 280), 255, np.uint8), id="white"),
    pytest.param(np.zeros((280, 280), np.uint8), id="black"),
    pytest.param(np.full((280, 280), 128, np.uint8), id="grey"),
    pytest.param(np.zeros((280, 280, 4), np.uint8), id="transparent"),
    pytest.param(np.random.default_rng(0).normal(200, 3, (280, 280)).astype(np.uint8), id="noise"),
    pytest.param(np.linspace(90, 250, 280 * 280).reshape(280, 280).astype(np.uint8), id="shadow"),
    pytest.param(np.zeros((1, 1), np.uint8), id="one pixel"),
])
def test_a_blank_picture_is_not_a_digit(blank):
    assert see(blank) is None


def test_a_shadow_over_the_paper_changes_nothing():
    light = np.linspace(0.35, 1.0, 280)[None, :] * np.linspace(0.8, 1.0, 280)[:, None]
    assert looks_like(see((SKETCH * light).astype(np.uint8)), SEEN)


def lit(picture: np.ndarray, least: float = 0.35, reach: float = 30, at=(0.3, 0.4)) -> np.ndarray:
    """Return a picture by the light of a lamp: a spot at a place in shares of its sides, and `least` of the light far away."""
    height, width = picture.shape
    y, x = np.indices(picture.shape)
    spot = np.exp(-((x - at[0] * width) ** 2 + (y - at[1] * height) ** 2) / reach ** 2)
    return np.clip(picture * (least + (1 - least) * spot) + 0.5, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("digit", STROKES)
def test_dark_ink_beside_the_spot_of_a_lamp_is_dark(digit):
    picture = lit(np.maximum(make_sketch(digit, width=10), 40))
    assert ink_is_dark(picture)
    assert looks_like(see(picture), see(make_sketch(digit, width=10)), 12)


@pytest.mark.parametrize("at", [(0.3, 0.4), (0.9, 0.8), (0.5, 0.0)])
@pytest.mark.parametrize("paper", [90, 235])
def test_the_spot_of_a_lamp_is_no_ink(at, paper):
    blank = lit(np.full((280, 280), paper, np.uint8), reach=70, at=at)
    assert see(blank) is None and see(255 - blank) is None


def test_the_paper_of_a_clean_drawing_is_left_alone():
    assert np.array_equal(find_ink(255 - SEEN, dark=True), SEEN)


def test_salt_and_pepper_are_smoothed_away():
    random = np.random.default_rng(0)
    noisy = np.where(random.random(SKETCH.shape) < 0.15, random.choice([0, 255], SKETCH.shape), SKETCH).astype(np.uint8)
    assert looks_like(see(noisy), SEEN)


def test_halftone_paper_is_no_ink():
    dots = np.where((np.indices(SKETCH.shape).sum(axis=0) % 4 == 0) & (np.indices(SKETCH.shape)[0] % 2 == 0), 130, 225)
    assert looks_like(see(np.minimum(SKETCH, dots).astype(np.uint8)), SEEN, 9)


def test_rough_paper_leaves_no_haze():
    rough = SKETCH * 0.6 + 80 + np.random.default_rng(0).normal(0, 12, SKETCH.shape)
    assert looks_like(see(rough.clip(0, 255).astype(np.uint8)), SEEN)


def test_a_speck_of_a_twentieth_of_the_digit_is_dropped_and_a_stroke_of_a_fifth_is_kept():
    ink = 255 - make_sketch(size=0.7)  # 196 pixels long
    speck, stroke = ink.copy(), ink.copy()
    speck[250:260, 100:110] = 255
    stroke[230:240, 20:60] = 255
    assert np.array_equal(drop_specks(speck), ink) and np.array_equal(drop_specks(stroke), stroke)


def test_a_clean_drawing_is_not_smoothed():
    assert np.array_equal(smooth_noise(255 - SKETCH), 255 - SKETCH)


@pytest.mark.parametrize("digit", STROKES)
def test_of_a_notebook_page_only_the_digit_is_left(recognizer, digit):
    sketch = make_sketch(digit)
    reading = recognizer.read(on_a_notebook_page(sketch))
    assert (reading.digit, reading.verdict) == (digit, "digit")
    assert see(on_a_notebook_page(np.full_like(sketch, 255))) is None


def test_ruled_lines_are_dropped_and_the_stroke_that_crosses_them_stays():
    ruled = SKETCH.copy()
    ruled[20::40] = np.minimum(ruled[20::40], 170)
    assert looks_like(see(ruled), SEEN)


def test_squared_paper_is_dropped():
    squared = SKETCH.copy()
    squared[15::30] = np.minimum(squared[15::30], 190)
    squared[:, 15::30] = np.minimum(squared[:, 15::30], 190)
    assert looks_like(see(squared), SEEN)


def test_what_is_left_where_a_margin_crosses_ruled_lines_is_dropped():
    page = np.zeros((360, 360), np.uint8)
    page[20::40], page[:, 70:72] = 70, 90
    for down in range(20, 360, 40):  # darker where they cross, and a little beyond
        page[down, 66:76], page[down - 4:down + 5, 70:72] = 170, 170
    assert not (drop_lines(page, of_text=True) > 40).any()


def test_dotted_paper_is_dropped():
    paper = np.full((280, 280), 250, np.uint8)
    paper[np.ix_(np.arange(4, 280, 14), np.arange(4, 280, 14))] = 120
    assert looks_like(see(np.minimum(paper, SKETCH)), SEEN)


def test_a_stroke_along_a_ruled_line_stays():
    bar = np.flatnonzero((SKETCH < 128).sum(axis=1) > 90)  # the rows of the 7's bar
    for place in (bar[2], bar[-3], int(bar.mean())):
        ruled = SKETCH.copy()
        ruled[place:place + 2] = np.minimum(ruled[place:place + 2], 180)
        ruled[place + 90:place + 92] = np.minimum(ruled[place + 90:place + 92], 180)
        assert looks_like(see(ruled), SEEN), place


@pytest.mark.parametrize("level", [120, 150, 180])
def test_a_pale_line_goes_also_where_it_is_the_only_one_and_the_ink_on_it_stays(level):
    bar = np.flatnonzero((SKETCH < 128).sum(axis=1) > 90)  # the rows of the 7's bar
    for place in (bar[2], bar[-3], int(bar.mean()), 100, 150, 160, 220):
        ruled = SKETCH.copy()
        ruled[place:place + 2] = np.minimum(ruled[place:place + 2], level)
        assert looks_like(see(ruled), SEEN), place


@pytest.mark.parametrize("place", [0.02, 0.1, 0.9, 0.97], ids=["head", "neck", "ankle", "foot"])
@pytest.mark.parametrize("digit", "147")
def test_a_line_as_dark_as_the_digit_that_touches_it_goes(recognizer, digit, place):
    sketch = make_sketch(digit, width=14)
    _, top, _, high = cv2.boundingRect(255 - sketch)
    row = top + int(place * high)
    sketch[row - 3:row + 3] = 0
    reading = recognizer.read(sketch)
    assert (reading.digit, reading.verdict) == (digit, "digit")


def test_one_of_two_lines_is_left_to_what_knows_tables():
    ink = 255 - make_sketch("4", width=14)
    ink[60:66] = ink[210:216] = 255
    assert np.array_equal(drop_base_line(ink), ink)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("wide", [1, 2, 5, 12, 13])
def test_no_line_is_fitted_to_less_than_there_is(wide):
    for ink in (np.zeros((30, wide), np.uint8), np.full((30, wide), 255, np.uint8), np.eye(30, wide, dtype=np.uint8) * 255):
        assert drop_base_line(ink).shape == ink.shape and drop_discs(ink).shape == ink.shape


def test_the_foot_of_a_zero_between_zeros_is_no_line():
    field = make_field("0", "0", gap=-0.3)
    ink = 255 - cv2.resize(field, (2 * field.shape[1], field.shape[0]))  # as flat as some write it
    assert np.array_equal(drop_base_line(ink), ink)


def test_no_line_is_looked_for_in_a_picture_cropped_to_its_ink():
    sevens, _ = make_number("77", gap=-0.08)
    x, y, wide, high = cv2.boundingRect(255 - sevens)
    ink = 255 - sevens[y:y + high, x:x + wide]
    assert (ink[4] > 127).mean() > 0.9  # their bars are one line from border to border
    assert np.array_equal(drop_base_line(ink), ink)


@pytest.mark.parametrize("pen", [4, 6, 8])
def test_a_thin_stroke_that_is_covered_by_a_pale_line_stays(pen):
    thin = make_sketch(width=pen)
    bar = int(np.flatnonzero((thin < 128).sum(axis=1) > 90).mean())
    ruled = thin.copy()
    ruled[bar - 1:bar + 3] = np.minimum(ruled[bar - 1:bar + 3], 180)
    assert looks_like(see(ruled), see(thin))


def test_two_lines_of_a_frame_that_meet_go_though_the_digit_touches_them():
    four = make_sketch("4")
    x, y, wide, high = cv2.boundingRect(255 - four)
    corner = four[y - 2:y + high + 40, x - 2:x + wide + 40].copy()  # its stem and its bar begin on the lines
    corner[:4], corner[:, :4] = 0, 0
    assert looks_like(see(corner), see(four), 12)


def test_no_hole_of_a_texture_is_taken_for_a_box(monkeypatch):
    board = np.kron(np.indices((60, 60)).sum(axis=0) % 2, np.ones((4, 4))).astype(np.uint8) * 255
    monkeypatch.setattr(cleaning.cv2, "findContours", None)  # there are 1,800, and each takes its time
    assert drop_boxes(board) is board


def test_a_printed_frame_at_the_edge_is_dropped():
    framed = SKETCH.copy()
    framed[:8] = framed[:, -6:] = 20
    assert looks_like(see(framed), SEEN)


def test_a_drawn_box_around_the_digit_is_dropped():
    boxed = make_sketch(size=0.6)
    cv2.rectangle(boxed, (8, 8), (271, 271), 0, 4)
    assert looks_like(see(boxed), SEEN)


@pytest.mark.parametrize("thick", [1, 3, 6])
def test_a_box_in_the_middle_of_the_paper_is_dropped_and_what_it_touches_stays(thick):
    x, y, wide, high = cv2.boundingRect(255 - SKETCH)
    paper = np.full((400, 400), 255, np.uint8)
    paper[60:340, 60:340] = SKETCH
    free = cv2.rectangle(paper.copy(), (x + 40, y + 45), (x + 80 + wide, y + 75 + high), 60, thick)
    assert looks_like(see(free), SEEN, 12)
    crossed = cv2.rectangle(paper.copy(), (x + 40, y + 45), (x + 80 + wide, y + 40 + high), 60, thick)
    assert difference(see(crossed), SEEN) < 15 and count_things(dict(walk(crossed))["cleaned"]) <= 2  # its foot, cut by the line


def test_a_box_with_nothing_in_it_is_no_box():
    paper = cv2.rectangle(np.full((280, 280), 255, np.uint8), (90, 60), (190, 220), 0, 14)  # an angular 0
    assert see(paper).max() > 200


def test_what_is_circled_or_underlined_is_looked_at_alone(recognizer):
    pad = make_sketch("7", pad=150)
    paper = np.full((280, 280), 255, np.uint8)
    paper[65:215, 65:215] = pad
    x, y, wide, high = cv2.boundingRect(255 - paper)
    ring = cv2.ellipse(paper.copy(), (x + wide // 2, y + high // 2), (wide, high - 20), 0, 0, 360, 0, 7)
    line = cv2.line(paper.copy(), (x - 5, y + high + 20), (x + wide + 5, y + high + 24), 0, 8)
    assert [recognizer.read(picture).digit for picture in (ring, line)] == ["7", "7"]
    assert all(looks_like(recognizer.read(picture).seen, see(paper), 12) for picture in (ring, line))
    assert free_looks(dict(walk(paper))["cleaned"]) == []


def test_two_underlined_digits_are_several_and_a_free_slash_makes_no_sure_1_of_a_0(recognizer):
    paper = np.full((280, 420), 255, np.uint8)
    for place in (40, 230):
        paper[50:200, place:place + 150] = make_sketch("7", pad=150)
    cv2.line(paper, (40, 225), (380, 228), 0, 8)
    assert recognizer.read(paper).verdict == "several"
    zero = cv2.ellipse(np.full((300, 300), 255, np.uint8), (150, 150), (70, 95), 0, 0, 360, 0, 13)
    cv2.line(zero, (138, 182), (162, 118), 0, 12)
    assert recognizer.read(zero).verdict == "unsure" or recognizer.read(zero).digit == "0"


def test_the_foot_of_a_1_that_stands_apart_stays(recognizer):
    paper = np.full((280, 280), 255, np.uint8)
    for start, end in (((100, 90), (140, 50)), ((140, 50), (140, 215)), ((105, 232), (175, 232))):
        cv2.line(paper, start, end, 0, 9)
    assert recognizer.read(paper).digit == "1"


def test_lines_that_leave_the_picture_aslant_are_looked_for_to_its_end():
    for turn in (-4, -3.5, 3.5, 4):
        for place in range(10, 400, 13):
            ruled = np.zeros((400, 400), np.uint8)
            climb = 400 * np.tan(np.radians(turn))
            cv2.line(ruled, (0, place), (400, int(place + climb)), 120, 3)
            drop_lines(ruled)
            drop_lines(ruled.T.copy())


@pytest.mark.parametrize("thick", [4, 14])
def test_a_frame_on_all_four_sides_is_dropped(thick):
    framed = make_sketch(size=0.6)
    framed[:thick] = framed[-thick:] = 0
    framed[:, :thick] = framed[:, -thick:] = 0
    assert looks_like(see(framed), SEEN)


@pytest.mark.parametrize("digit", STROKES)
@pytest.mark.parametrize("margin", [0, 4])
@pytest.mark.parametrize("inverted", [False, True])
def test_a_picture_cropped_to_its_ink_is_no_frame(digit, margin, inverted):
    sketch = make_sketch(digit, width=24)
    cut = np.pad(255 - crop(255 - sketch, ink_box(255 - sketch)), margin, constant_values=255)
    assert looks_like(see(255 - cut if inverted else cut), see(sketch))


def test_a_white_sheet_on_a_dark_table_is_paper():
    table = np.pad(SKETCH, 60, constant_values=40)
    assert ink_is_dark(table) and looks_like(see(table), SEEN)
    assert not ink_is_dark(255 - table) and looks_like(see(255 - table), SEEN)


def test_the_paper_in_a_thick_digit_that_fills_its_picture_is_the_lesser_part():
    slab = make_sketch("5", width=80, size=0.98)
    assert (slab < 128).mean() > 0.5 and ink_is_dark(slab) and not ink_is_dark(255 - slab)


def test_the_bar_of_a_seven_is_no_line():
    ink = 255 - make_sketch(size=0.8)
    assert np.array_equal(drop_lines(ink), ink)


def test_a_neighbours_piece_at_the_edge_is_dropped():
    piece = SKETCH.copy()
    piece[100:180, :12] = 0
    assert looks_like(see(piece), SEEN)


def test_a_neighbour_cut_by_the_border_is_dropped_even_if_it_is_as_large():
    row = np.hstack([make_sketch("5", size=0.7)[:, 130:], make_sketch(size=0.7), make_sketch("5", size=0.7)[:, :130]])
    assert looks_like(see(row), SEEN)


def test_two_digits_are_several_though_one_reaches_the_edge(recognizer):
    four, zero = make_sketch("4", size=0.4, at=(0.25, 0.5)), make_sketch("0", size=0.4, at=(0.7, 0.5))
    left = int(np.flatnonzero((four < 128).any(axis=0))[0])
    four = np.hstack([four[:, left:], np.full((280, left), 255, np.uint8)])
    assert recognizer.read(np.minimum(four, zero)).verdict == "several"


def test_a_neighbour_joined_to_the_digit_is_cut_off_in_one_of_the_ways():
    joined, alone = make_field("4", "0", gap=-1), see(make_field("4", "0", gap=6))
    looks = [seen for _, seen in second_looks(dict(walk(joined))["cleaned"])]
    assert not looks_like(see(joined), alone, 12) and any(looks_like(seen, alone, 12) for seen in looks)


def test_a_digit_that_stands_free_is_cut_in_no_way():
    assert cut_neighbours(255 - SKETCH) == []


def test_no_1_is_cut_out_of_a_slab():
    ink = np.full((60, 60), 255, np.uint8)
    ways = cut_neighbours(ink)
    assert len(ways) > 1 and all(part.sum() >= ink.sum() / 2 for _, part in ways)


def test_things_are_counted_as_connected_components_are():
    random = np.random.default_rng(0)
    for share in (0, 0.002, 0.02, 0.2, 1):
        ink = np.where(cv2.dilate((random.random((60, 80)) < share).astype(np.uint8), np.ones((3, 3))), 255, 0).astype(np.uint8)
        assert count_things(ink) == cv2.connectedComponents(ink)[0] - 1
    ring = cv2.circle(np.zeros((60, 60), np.uint8), (30, 30), 20, 255, 3)
    assert count_things(cv2.circle(ring, (30, 30), 3, 255, -1)) == 2  # a thing in a hole of another


def test_the_lower_ring_of_an_eight_that_leaves_the_pad_stays():
    rings = np.full((280, 280), 255, np.uint8)
    cv2.circle(rings, (140, 120), 40, 0, 16)
    cv2.circle(rings, (140, 230), 50, 0, 16)
    ink = 255 - rings
    assert ink[-1].any() and np.array_equal(drop_edge_pieces(ink), ink)


def test_the_digit_itself_is_never_a_piece_at_the_edge():
    random = np.random.default_rng(0)
    for _ in range(200):
        ink = np.zeros((30, 30), np.uint8)
        y, x = random.integers(1, 20, 2)
        ink[y:y + 9, x:x + 9] = 255
        assert drop_edge_pieces(ink).any()


def test_dirt_is_small_and_paler_than_the_digit():
    ink = 255 - make_sketch(size=0.7)
    dirty, stroke = ink.copy(), ink.copy()
    dirty[230:240, 20:60], stroke[230:240, 20:60] = 150, 250
    assert np.array_equal(drop_specks(dirty), ink) and np.array_equal(drop_specks(stroke), stroke)


def test_a_digit_that_touches_the_border_stays():
    ink = 255 - make_sketch(size=0.9, at=(0.5, 0.4))
    assert ink[0].any() and np.array_equal(drop_edge_pieces(ink), ink)


def test_a_speck_is_dropped():
    dirty = SKETCH.copy()
    dirty[10:16, 250:256] = 0
    assert difference(see(dirty), SEEN) < 1


def test_the_detached_flag_of_a_five_is_kept():
    ink = 255 - make_sketch("5")
    ink[78:90] = 0  # the flag stands alone now
    assert cv2.connectedComponents((ink > 0).astype(np.uint8))[0] == 3
    assert np.array_equal(drop_specks(ink), ink)


def test_haze_is_dropped_and_soft_edges_stay():
    ink = np.zeros((9, 9), np.uint8)
    ink[4, 4], ink[4, 5], ink[0, 0] = 255, 30, 30
    cleaned = drop_haze(ink)
    assert cleaned[4, 5] == 30 and cleaned[0, 0] == 0


@pytest.mark.parametrize("width, low, high", [(1, 1.5, 3.0), (3, 1.5, 3.0), (60, 3.5, 6.5)])
def test_hairlines_and_slabs_get_the_strokes_of_mnist(width, low, high):
    digit = [picture for name, picture in walk(make_sketch(width=width, size=0.7)) if name == "stroke"][0]
    assert low < stroke_width(digit) / max(digit.shape) * 20 < high


def test_a_slab_loses_what_it_is_wider_than_mnists_widest():
    slab = np.zeros((200, 120), np.uint8)
    slab[:, 20:100] = 255  # 200 pixels for 20 of the box: 5.7 of these wide by area and outline, 1.2 more than 4.5
    assert stroke_width(slab) == pytest.approx(57, abs=1) and 80 - even_strokes(slab).shape[1] == pytest.approx(12, abs=2)


def test_strokes_as_wide_as_mnists_stay_as_they_are():
    digit = SEEN[SEEN.any(axis=1)][:, SEEN.any(axis=0)]
    assert np.array_equal(even_strokes(digit), digit)


def test_hairlines_that_would_become_one_block_stay_as_they_are():
    lines = np.zeros((400, 400), np.uint8)
    lines[::16] = 255
    assert np.array_equal(even_strokes(lines) > 0, lines > 0)
    lines[:] = 0
    lines[::100] = 255  # as far apart as those of a digit
    assert (even_strokes(lines) > 0).mean() > 5 * (lines > 0).mean()


def test_faint_noise_has_no_stroke_wider_than_its_picture():
    assert stroke_width(np.full((53, 20), 100, np.uint8)) == 20  # a brush of its area would take minutes


def test_grainy_paper_is_not_thinned_to_nothing():
    grains = np.full((38, 30), 113, np.uint8)
    grains[::2, ::2] = 7  # what would be left of it, and in 28x28 nothing at all
    assert even_strokes(grains).max() == 113


def test_the_width_of_a_bar_is_its_width():
    bar = np.zeros((300, 40), np.uint8)
    bar[:, 14:24] = 255
    assert stroke_width(bar) == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("shape, scaled", [((100, 50), (20, 10)), ((30, 60), (10, 20)), ((8, 4), (20, 10)), ((400, 3), (20, 1))])
def test_a_digit_is_scaled_into_the_box_with_its_proportions(shape, scaled):
    assert scale_to_box(np.full(shape, 255, np.uint8)).shape == scaled


def test_a_digit_is_centred_by_its_mass():
    digit = np.zeros((20, 12), np.uint8)
    digit[6:12, 1:9] = 200
    digit[:, 5] = 90
    seen = center_by_mass(digit)
    y, x = (seen.sum(axis=1) @ np.arange(28) / seen.sum(), seen.sum(axis=0) @ np.arange(28) / seen.sum())
    assert abs(y - 14) <= 0.5 and abs(x - 14) <= 0.5


def test_a_lopsided_digit_is_not_cut():
    digit = np.zeros((20, 20), np.uint8)
    digit[0], digit[19, 19] = 255, 255
    assert center_by_mass(digit).sum() == digit.sum()


def test_the_tensor_is_normalised_as_torchvision_would():
    oracle = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.1307], [0.3081])])
    tensor = to_tensor(SEEN)
    assert tensor.shape == (1, 28, 28) and tensor.dtype == torch.float32
    assert torch.allclose(tensor, oracle(SEEN[:, :, None]), atol=1e-6)


def test_mean_and_deviation_are_those_of_the_training_part(real_data):
    from data import load_mnist
    ink = load_mnist(real_data, train=True).seen.double() / 255
    assert round(float(ink.mean()), 4) == preprocess.MEAN and round(float(ink.std()), 4) == preprocess.STD


def test_mnist_passes_the_road_nearly_unchanged(real_data):
    from data import load_mnist
    pictures = load_mnist(real_data, train=True).seen[-1000:].numpy()
    changed = [difference(see(picture), picture) > 2 for picture in pictures]
    assert np.mean(changed) < 0.03


def test_evening_strokes_is_idle_on_mnist(real_data):
    from data import load_mnist
    pictures = load_mnist(real_data, train=True).seen[-1000:].numpy()
    digits = [dict(walk(picture)) for picture in pictures]
    evened = [stages["stroke"].shape != crop(stages["cleaned"], ink_box(stages["cleaned"])).shape for stages in digits]
    assert np.mean(evened) < 0.01


def test_what_is_filled_and_no_slab_has_no_stroke():
    dot, block, thumb, egg = (np.full((280, 280), 255, np.uint8) for _ in range(4))
    cv2.circle(dot, (140, 140), 9, 0, -1, cv2.LINE_AA)
    cv2.rectangle(block, (90, 80), (190, 200), 0, -1)
    cv2.ellipse(thumb, (150, 280), (40, 70), 15, 0, 360, 0, -1, cv2.LINE_AA)
    cv2.ellipse(egg, (150, 140), (40, 60), 70, 0, 360, 0, -1, cv2.LINE_AA)
    ragged = np.full((280, 280), 255, np.uint8)
    ragged[80:180, 80:180] = 0
    for row in range(80, 180, 20):
        ragged[row:row + 10, 80:92] = ragged[row:row + 10, 168:180] = 255
    assert all(map(is_blob, map(see, (dot, block, thumb, egg, ragged))))
    assert not any(is_blob(see(make_sketch(digit, width=width))) for digit in STROKES for width in (8, 22, 50))
