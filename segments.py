"""Cut a picture of a number into pieces, none of them larger than a digit: over-segmentation (LeCun et al. 1998, section VII).

Which pieces belong together is not decided here: `lattice.py` lets the network say it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from boxes import drop_boxes, drop_discs, drop_punched, drop_rings
from cleaning import drop_base_line, drop_haze, drop_lines, drop_rules, smooth_noise
from decode import shrink
from paper import INK_LEVEL, find_ink, ink_is_dark, lay_on_paper, to_grey
from preprocess import crop, frame, ink_box
from sheet import find_sheet

FIELD_SIDE = 640  # pixels; ink is looked for at this size, and looked at again closer where it is small
HEIGHT = 40  # pixels; taller lines of digits are reduced to it: twice what the network sees of a digit
LEANS = np.arange(-6, 11) * 0.08  # pixels across per pixel up; writing leans to the right more often than to the left
MOST_THINGS = 100  # more than these are a texture or a page of text
SPECK = 0.002  # of the squared height of the line; less ink than this is dirt

# all in heights of the line of digits
WIDE = 0.5  # wider things may be several digits that touch
SWAY = 0.07  # how far a cut may leave its column, to either side
THICK = 0.6  # what a cut may cost, as ink that it goes through
CORNER = 0.05  # the neighbourhood in which a corner is looked for
SHARED = 0.03  # beyond a cut; ink that both sides may be made of, as where two zeros touch
PIECE = 0.04  # of the squared height; no piece has less ink, and so no two cuts are nearer to one another
APART = 0.25  # lines of digits are further from one another than the parts of a digit that a fold or a printer tore
BIT = 0.4  # lower things than this are bits: dots, commas, dashes, the flag of a 5

STRAY = 0.005  # pixels of ink that a cut would rather go through than leave its column by a pixel
SIDESTEP = 0.2  # the same for a step across from one row to the next
TURN = 1.5  # pixels of ink that a corner is worth, where strokes meet, at its sharpest
STROKE = 85  # of the depths of a thing's ink the percentile that is half of its strokes' width
MERGED = 0.95, 1.3  # of that half; between these depths what ink costs falls to nothing: strokes lie there side by side


class Field(NamedTuple):
    """A line of ink: `ink` (H, W) uint8, of which a pixel (x, y) lies on its sheet at origin + scale * (x, y); how far its digits
    lean to the right, in pixels across per pixel up; and the matrix (3, 3) that takes a place on the sheet to the picture's, None
    where the picture itself is the sheet."""

    ink: np.ndarray
    origin: tuple[float, float]
    scale: float
    lean: float
    sheet: np.ndarray | None = None


class Pieces(NamedTuple):
    """The N pieces of a field, from left to right.

    labels (H, W): 1 to N where a piece is, 0 elsewhere; boxes (N, 4) x, y, width, height; height: of the line of digits
    things (N,): number of the connected thing that a piece was cut from
    cuts (N,): what the cut at a piece's left costs, as ink that it goes through, in heights; 0 where there is none
    bits (N,): is it a dot, a comma, a dash or the like; specks: how much dirt was left out; lean: of the digits
    """

    labels: np.ndarray
    boxes: np.ndarray
    height: float
    things: np.ndarray
    cuts: np.ndarray
    bits: np.ndarray
    specks: int
    lean: float

    def corners(self, chosen: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Return (x, y), in pixels, of the first and of the one beyond the last corner of the box around some of the pieces."""
        boxes = self.boxes[chosen]
        return boxes[:, :2].min(axis=0), (boxes[:, :2] + boxes[:, 2:]).max(axis=0)

    def size(self, chosen: Sequence[int]) -> np.ndarray:
        """Return (width, height), in pixels, of the box around some of the pieces."""
        start, end = self.corners(chosen)
        return end - start


def find_field(pixels: np.ndarray) -> Field | None:
    """Return the ink of a number in pixels as `decode.to_pixels` gives them; None where there is none."""
    pixels = lay_on_paper(pixels)
    grey = to_grey(pixels)  # (H, W)
    work = shrink(grey, FIELD_SIDE)
    sheet = find_sheet(pixels, grey, work, 0.0)
    if sheet:
        grey = to_grey(sheet.pixels)
        work = shrink(grey, FIELD_SIDE)
    dark = ink_is_dark(work)
    ink, scale, left, top = _clean(work, dark), grey.shape[1] / work.shape[1], 0, 0
    box = ink_box(ink)
    if box and work is not grey and max(box[2:]) < FIELD_SIDE // 2:
        closer, more = crop(grey, box, scale=scale, margin=0.3), 0.3 * max(box[2:]) * scale
        left, top = max(0, int(box[0] * scale - more)), max(0, int(box[1] * scale - more))
        work = shrink(closer, FIELD_SIDE)
        ink, scale = _clean(work, dark), closer.shape[1] / work.shape[1]
        box = ink_box(ink)
    if not box:
        return None
    height = line_height(ink)
    if height > 1.5 * HEIGHT:
        narrow = min(ink.shape) * HEIGHT < height  # no pixel would be left of it
        ink = cv2.resize(ink, (1, HEIGHT)) if narrow else cv2.resize(ink, None, fx=HEIGHT / height, fy=HEIGHT / height,
                                                                     interpolation=cv2.INTER_AREA)
        scale *= height / HEIGHT
    return Field(ink, (left, top), scale, lean_of(ink), sheet and sheet.matrix)


def _clean(grey: np.ndarray, dark: bool) -> np.ndarray:
    """Return the ink of a line of digits alone: no boxes, rings or discs around it, no printed lines, underlines or haze."""
    ink = drop_base_line(drop_boxes(smooth_noise(find_ink(grey, dark))))
    return drop_rules(drop_haze(drop_rings(drop_discs(drop_punched(drop_lines(ink, of_text=True))))))


def line_height(ink: np.ndarray) -> float:
    """Return the height of the digits, in pixels: of the things that are not much lower than the tallest, weighted by their ink."""
    _, _, stats, _ = cv2.connectedComponentsWithStats((ink > INK_LEVEL).view(np.uint8))
    heights, inks = stats[1:, 3], stats[1:, 4]
    if not len(heights):
        return float(ink.shape[0])
    order = np.argsort(heights)
    order = order[heights[order] >= 0.4 * heights.max()]
    weight = inks[order].cumsum()
    return float(heights[order][np.searchsorted(weight, weight[-1] / 2)])


def count_lines(ink: np.ndarray) -> int:
    """Return how many lines of digits lie below one another: groups of things as high as digits, with paper between them from left
    to right. Things that lie aslant beside one another are one line."""
    _, _, stats, _ = cv2.connectedComponentsWithStats((ink > INK_LEVEL).view(np.uint8))
    height = line_height(ink)
    boxes = stats[1:][(stats[1:, 3] >= 0.55 * height) & (stats[1:, 3] < 3 * height)]
    lines: list[tuple[float, float, float]] = []  # lower end, left and right side of each
    for left, top, wide, high in sorted(boxes[:, :4].tolist(), key=lambda box: box[1]):
        if lines and top < lines[-1][0] + APART * height:
            foot, start, end = lines[-1]
            lines[-1] = (max(foot, top + high), min(start, left), max(end, left + wide))
        else:
            lines.append((top + high, left, left + wide))
    below = [min(end, other_end) - max(start, other_start) > 0.3 * min(end - start, other_end - other_start)
             for (_, start, end), (_, other_start, other_end) in zip(lines[:-1], lines[1:], strict=True)]
    return 1 + sum(below)


def lean_of(ink: np.ndarray) -> float:
    """Return how far writing leans to the right, in pixels across per pixel up: so that its columns are as full and as empty as can
    be when it is taken off."""
    small, best, best_score = shrink(ink, 320), 0.0, -1.0
    for lean in LEANS:
        columns = cv2.reduce(tilt(small, lean), 0, cv2.REDUCE_SUM, dtype=cv2.CV_32F)[0]
        score = float(columns @ columns) * (1 - 0.15 * abs(lean))  # in doubt it stands
        if score > best_score:
            best, best_score = float(lean), score
    return best if abs(best) > 0.05 else 0.0  # by less than the steps between LEANS nothing leans


def tilt(ink: np.ndarray, lean: float, how: int = cv2.INTER_LINEAR) -> np.ndarray:
    """Return ink with every row moved to the right by `lean` more than the one above, on a sheet wide enough."""
    height, width = ink.shape
    matrix = np.float32([[1, lean, max(0.0, -lean * height)], [0, 1, 0]])
    return cv2.warpAffine(ink, matrix, (int(width + abs(lean) * height) + 1, height), flags=how)


def cut(ink: np.ndarray, lean: float = 0.0) -> Pieces | None:
    """Return the pieces of a field's ink, cut upright and as its digits lean; None where there are more things than MOST_THINGS, or
    none but dirt."""
    height = line_height(ink)
    count, things, stats, _ = cv2.connectedComponentsWithStats((ink > INK_LEVEL).view(np.uint8))
    real = 1 + np.flatnonzero(stats[1:, 4] >= max(3.0, SPECK * height * height))
    if not 0 < len(real) <= MOST_THINGS:
        return None
    labels, rows = np.zeros(ink.shape, np.int32), []
    for thing in real:
        x, y, wide, high, _ = stats[thing]
        place = slice(y, y + high), slice(x, x + wide)
        mask = things[place] == thing
        parts = [(mask, 0.0)]
        if wide > WIDE * height and high > 0.3 * height:
            parts = _cut_thing(np.where(mask, ink[place], 0), mask, height, lean)
        for part, cost in parts:
            left, top, across, down = cv2.boundingRect(part.view(np.uint8))
            rows.append((x + left, y + top, across, down, thing, cost))
            labels[place][part] = len(rows)
    table = np.array(rows, float)  # (N, 6)
    middles = table[:, 0] + table[:, 2] / 2 + lean * (table[:, 1] + table[:, 3] / 2)  # their lean taken off
    order = np.argsort(middles, kind="stable")
    table, rank = table[order], np.zeros(len(rows) + 1, np.int32)
    rank[1 + order] = np.arange(1, len(rows) + 1)
    boxes, source = table[:, :4].astype(int), table[:, 4].astype(int)
    alone = np.bincount(source)[source] == 1  # not cut off something larger
    bits = alone & (boxes[:, 3] < BIT * height) & (boxes[:, 2] < 2 * BIT * height)
    return Pieces(rank[labels], boxes, height, source, table[:, 5], bits, count - 1 - len(real), lean)


def _cut_thing(ink: np.ndarray, mask: np.ndarray, height: float, lean: float) -> list[tuple[np.ndarray, float]]:
    """Return (mask, cost of the cut at its left) for the pieces of one connected thing, left to right.

    The cheapest cut comes first. Each that follows goes around those before it, and counts where a piece is left at either side.
    """
    leaning = abs(lean) > 2 * SWAY  # further than an upright cut may follow
    prices = prices_of(ink, height)
    ways = sorted([*_ways(prices, height, 0.0), *(_ways(prices, height, lean) if leaning else ())], key=lambda way: way[0])
    columns, least = np.arange(ink.shape[1]), max(3, round(PIECE * height * height))
    beyond, costs = [mask, np.zeros_like(mask)], [0.0, 0.0]  # right of its left end, of every cut, of its right end
    sizes = [np.count_nonzero(mask), 0]
    for cost, path in ways:
        right = mask & (columns >= path[:, None])
        size = np.count_nonzero(right)
        place = next(place for place in range(1, len(sizes)) if sizes[place] <= size)
        right = right & beyond[place - 1] | beyond[place]
        size = np.count_nonzero(right)
        if min(sizes[place - 1] - size, size - sizes[place]) >= least:
            for row, value in ((beyond, right), (costs, max(0.0, cost / height)), (sizes, size)):
                row.insert(place, value)
    return [(here & ~after, cost) for here, after, cost in zip(beyond[:-1], beyond[1:], costs[:-1], strict=True)]


def prices_of(ink: np.ndarray, height: float) -> np.ndarray:
    """Return (H, W) float32, in pixels of ink, what it costs to cut through each pixel of a thing; there must be ink.

    Where two strokes lie side by side the way between them leads lengthwise through ink, and is longer than one across a stroke
    on either side of it: what is much deeper than a stroke's middle costs nothing. Where they part there are corners, which are
    worth something (and so, a little, is any edge: the neighbourhood is a few pixels wide).
    """
    mask = (ink > INK_LEVEL).astype(np.uint8)
    depth = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 5)[1:-1, 1:-1] - 0.5  # from the edge of the ink
    half = np.percentile(depth[mask > 0], STROKE)
    begins, ends = MERGED
    merged = ((depth / half - begins) / (ends - begins)).clip(0, 1)
    side = 2 * max(1, round(CORNER * height)) + 1
    around = cv2.blur(mask.astype(np.float32), (side, side), borderType=cv2.BORDER_CONSTANT)
    edge = cv2.dilate(mask, np.ones((3, 3))) - cv2.erode(mask, np.ones((3, 3)))
    prices = ink / np.float32(255) * (1 - merged) - TURN * edge * np.maximum(0, around - 0.5)
    return prices.astype(np.float32)


def _ways(prices: np.ndarray, height: float, lean: float) -> list[tuple[float, np.ndarray]]:
    """Return (cost, path) for the ways through a thing (H, W) that are cheaper than those beside them; with a lean, along columns
    that lean so. A path (H,) is the column taken in every row."""
    # moved by whole pixels, other than `tilt`: a path has to come back to the very columns that it was found in
    shifts = np.round(lean * np.arange(len(prices))).astype(int)
    shifts -= shifts.min()
    tilted = np.zeros((len(prices), prices.shape[1] + shifts.max()), prices.dtype)
    tilted[np.arange(len(prices))[:, None], shifts[:, None] + np.arange(prices.shape[1])] = prices
    costs, paths = seams(tilted, height)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(costs, 2, constant_values=np.inf), 5).min(axis=1)
    return [(float(costs[x]), paths[x] - shifts) for x in np.flatnonzero((costs <= THICK * height) & (costs <= around))]


def seams(prices: np.ndarray, height: float) -> tuple[np.ndarray, np.ndarray]:
    """Return, for every column of a thing (H, W), the cheapest way through it from top to bottom that stays near the column.

    costs (W,): the prices of the pixels that it goes through and of its steps aside; paths (W, H): the column it takes in every
    row. `height` is that of the line of digits.
    """
    reach = max(2, round(SWAY * height))
    away = np.arange(-reach, reach + 1)
    width = prices.shape[1]
    columns = np.arange(width)[:, None] + away + reach  # (W, ways), into the padded picture
    padded = np.pad(prices, ((0, 0), (reach, reach)))
    stray = (STRAY * np.abs(away)).astype(np.float32)
    cost, steps = np.zeros(columns.shape, np.float32), np.empty((len(prices), *columns.shape), np.int8)
    wall = np.full((width, len(away) + 2), np.inf, np.float32)  # the costs of a step aside, with a wall at either end
    for row, line in enumerate(padded):
        np.add(cost, np.float32(SIDESTEP), out=wall[:, 1:-1])
        left, right = wall[:, :-2], wall[:, 2:]  # where a step comes from
        aside = np.minimum(left, right)
        steps[row] = (aside < cost) * np.where(left <= right, np.int8(-1), np.int8(1))
        cost = np.minimum(cost, aside) + line[columns] + stray
    paths, way, every = np.empty((width, len(prices)), np.int32), cost.argmin(axis=1), np.arange(width)
    for row in range(len(prices) - 1, -1, -1):
        paths[:, row] = every + away[way]
        way = (way + steps[row, every, way]).clip(0, 2 * reach)
    return cost.min(axis=1), paths


def picture_of(ink: np.ndarray, pieces: Pieces, chosen: list[int]) -> np.ndarray:
    """Return `seen` (28, 28) uint8 of some of the pieces together, as if nothing else were there, their lean taken off; with them
    goes what lies right beyond their cuts."""
    (left, top), (right, bottom) = pieces.corners(chosen)
    more = max(1, round(SHARED * pieces.height))
    place = slice(max(0, top - 1), bottom + 1), slice(max(0, left - more), right + more)  # with the soft edge
    labels, kept = pieces.labels[place], np.zeros(len(pieces.boxes) + 1, np.uint8)
    kept[np.array(chosen) + 1] = 1
    mask = kept[labels]
    near = cv2.dilate(mask, np.ones((3, 3), np.uint8))
    near[(labels > 0) & (mask == 0)] = 0
    whole = np.zeros(len(pieces.boxes) + 1, bool)  # of the things that the pieces were cut from
    whole[1:] = (pieces.things[:, None] == pieces.things[chosen]).any(axis=1)
    near |= cv2.dilate(mask, np.ones((1, 2 * more + 1), np.uint8)) & whole[labels]
    alone = np.where(near, ink[place], 0)
    return frame(tilt(alone, pieces.lean) if pieces.lean else alone)


def box_of(field: Field, pieces: Pieces, chosen: list[int]) -> tuple[float, float, float, float]:
    """Return the box (x, y, width, height) of some pieces in pixels of the picture that `decode.to_pixels` gave."""
    (x, y), (right, bottom) = (field.origin + field.scale * corner for corner in pieces.corners(chosen))
    if field.sheet is not None:  # what is upright on a turned sheet
        corners = cv2.perspectiveTransform(np.array([[(x, y), (right, y), (right, bottom), (x, bottom)]]), field.sheet)[0]
        (x, y), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
    return float(x), float(y), float(right - x), float(bottom - y)
