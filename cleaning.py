"""Ink to the ink of the digit alone: noise, printed lines and frames, neighbours, specks and haze are dropped, step by step."""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from boxes import drop_boxes, drop_punched
from paper import INK_LEVEL

EDGE = 0.16  # of the height or width; a frame's line lies within it
FRAME = 160  # of 255; a line along an edge that is darker than this is a printed frame
PALE = 200  # of 255; a line paler than this is ruled paper, whatever else it crosses
NEIGHBOUR = 0.28  # of the picture's width; a piece at the border with its middle this far out is not the digit in the middle
CUTS = (0, 0.06, 0.12, 0.18, 0.25, 0.33)  # of the picture's width, from either side: where a neighbour may end
SPARSE = 0.01  # of the pixels; where lines cross in fewer, on no squared paper, no piece of a digit lies wholly in their crossings
RULED = 3  # lines; what they cross from border to border is a margin
RULE = 1.4  # of the height of what lies beside it; a straight line from border to border that is as long is no stroke of a digit
CLEAR = 3  # of that height; the same in a picture that may be cropped to its ink
STEEPEST = 0.07  # radians; no ruled line is further askew
SEEN = 0.85  # of the columns; in as many a ruled line is seen
EVEN = 0.45  # pixels; as much, as a root mean square, its middle strays from a straight line
THIN_FOR = 12  # of its thickness; a ruled line is longer, the foot of a digit is not
LEAST_LEFT = 0.5  # of the ink, where neighbours are cut off: out of a slab or out of waves a 1 could be cut
SPECK = 0.1  # of the digit's longest side; MNIST's detached strokes are longer than this


def clean_ink(ink: np.ndarray) -> np.ndarray:
    """Return the ink of the digit alone: noise smoothed, drawn boxes, printed lines, frame, punched holes, pieces at the edge,
    specks and haze dropped."""
    return drop_haze(drop_specks(drop_base_line(drop_edge_pieces(drop_punched(drop_lines(drop_boxes(smooth_noise(ink))))))))


def smooth_noise(ink: np.ndarray) -> np.ndarray:
    """Return the ink after a 3x3 median where it is peppered with single pixels; as it is where it is not."""
    mask = (ink > INK_LEVEL).view(np.uint8)
    around = cv2.boxFilter(mask, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    lonely = np.count_nonzero((around == 1) & (mask == 1))
    return cv2.medianBlur(ink, 3) if lonely > max(8, 0.002 * ink.size) else ink


def drop_lines(ink: np.ndarray, of_text: bool = False) -> np.ndarray:
    """Return the ink without straight lines: a printed frame at the edge, and ruled or squared paper.

    Along an edge a line as dark as the ink is a frame, and goes with everything outside of it, if a digit stands free of it;
    if two of them meet at a corner; or if it runs from border to border while nothing touches the border across, as it would
    where a picture was cropped to its ink. Elsewhere a line goes where it runs from border to border, and is paler than the
    ink or a thin one of several; the strokes on it and across it stay. In a line `of_text`, which may be cropped to its ink, an
    upright line can be a 1: there it goes only where it is pale, closer to the edge than any digit is wide, or the margin of ruled
    paper.
    """
    near = 0.15 * min(1.0, ink.shape[0] / ink.shape[1]) if of_text else EDGE
    level, upright = _find_lines(ink), [line.turned() for line in _find_lines(cv2.transpose(ink), near)]
    ruled = sum(line.through for line in level) >= RULED
    lines = level + [line for line in upright if not of_text or line.edge or line.pale or line.whole and ruled]
    if not lines:
        return ink
    gone = np.zeros(ink.shape, bool)
    frames = [line for line in lines if line.edge and line.level > FRAME]
    if frames:
        mask = (ink > INK_LEVEL).view(np.uint8)
        band = np.logical_or.reduce([line.outside for line in frames])
        _, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
        free = np.setdiff1d(np.flatnonzero(stats[:, 2:4].max(axis=1) >= 0.2 * min(ink.shape)), [0, *np.unique(labels[band])])
        edges = {line.edge for line in frames}
        corner = edges & {"top", "bottom"} and edges & {"left", "right"}  # no digit has two such strokes
        rest = mask.astype(bool) & ~np.logical_or.reduce([line.outside for line in lines])
        across = {"top": rest[-1], "bottom": rest[0], "left": rest[:, -1], "right": rest[:, 0]}
        for line in frames:
            if len(free) or corner or line.whole and not across[line.edge].any():
                gone |= line.outside
    cleaned = np.where(gone, 0, ink)
    inner = [line for line in lines if line.through and (line.pale or line.thin)]
    if len(inner) < 3:  # a line that is hidden for the most part is one only among several
        inner = [line for line in inner if line.cover > 0.7]
    for line in inner:
        if line.pale:
            hit = line.band & (ink < _darker_than(line.level))  # a stroke along it stays, too
        elif len(inner) > 1:
            hit = line.band & ~line.strokes
        else:
            continue
        cleaned[hit] = np.minimum(cleaned, line.under)[hit]
    crossings = np.sum([line.band for line in inner], axis=0) > 1  # where each line passed for a stroke on the other
    if not crossings.any():
        return cleaned
    around = 7 if crossings.mean() < SPARSE else 5  # pixels
    return _drop_crumbs(cleaned, cv2.dilate(crossings.view(np.uint8), np.ones((around, around), np.uint8)))


class Line(NamedTuple):
    """A straight line in a picture: where it is, (H, W) each, and what it looks like.

    band: the line itself; outside: the line and what lies between it and the edge it runs along
    strokes: what is too long across it to be the line; under: uint8 ink that lies on both sides of it, and so under it
    edge: "top", "bottom", "left", "right" or "", the edge it runs along
    level: its darkness, 0 to 255; pale: paler than ink; thin: no thicker than a pen's line
    cover: the share of it that is seen; through: it runs about from border to border; whole: it touches both, or leaves the picture
    """

    band: np.ndarray
    outside: np.ndarray
    strokes: np.ndarray
    under: np.ndarray
    edge: str
    level: float
    cover: float
    through: bool
    whole: bool
    pale: bool
    thin: bool

    def turned(self) -> "Line":
        """Return the line found in a transposed picture as it lies in the picture itself."""
        return self._replace(band=self.band.T, outside=self.outside.T, strokes=self.strokes.T,
                             under=self.under.T, edge={"top": "left", "bottom": "right", "": ""}[self.edge])


def _find_lines(ink: np.ndarray, near_edge: float = EDGE) -> list[Line]:
    """Return the lines that run from left to right, nearly level; within the share `near_edge` of the height from the upper or
    lower edge they may be a frame's."""
    height, width = ink.shape
    inked, near = ink.max(axis=0) > INK_LEVEL // 2, max(2, width // 10)
    if inked.mean() < 0.5 or not (inked[:near].any() or inked[-near:].any()):  # the usual case: nothing runs to a border
        return []
    mask = (ink > INK_LEVEL // 2).view(np.uint8)
    runs = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((1, max(7, width // 10)), np.uint8))
    runs &= 1 - cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((max(5, int(0.12 * height)), 1), np.uint8))  # not upright strokes
    row, column = np.arange(height)[:, None], np.arange(width)
    lines, taken, tried = [], [], []
    for middle in _guess_lines(runs, 64):
        place = middle[width // 2]
        if any(abs(other - place) < 0.05 * height for other in taken) or any(abs(other - place) < 0.02 * height for other in tried):
            continue
        tried.append(place)
        thick = (runs & (np.abs(row - middle) <= 0.06 * height)).sum(axis=0)  # (W,) pixels
        cover = np.count_nonzero(thick) / width
        if cover < 0.5:
            continue
        reach = float(np.median(thick[thick > 0])) / 2 + min(1.5, 0.5 + height / 50)
        band = np.abs(row - middle) <= reach
        level = float(np.quantile(np.where(band, ink, 0).max(axis=0)[thick > 0], 0.3))  # strokes lie on less than 70 % of it
        ends = thick[:near].any(), thick[-near:].any()
        edge, beyond, leaves = "", band, np.zeros(width, bool)  # leaves: where it leaves the picture there
        if middle.max() < near_edge * height:
            edge, beyond, leaves = "top", row <= middle + reach, middle <= 1
        elif middle.min() > (1 - near_edge) * height:
            edge, beyond, leaves = "bottom", row >= middle - reach, middle >= height - 2
        through = all(ends)
        if not (through or leaves[0] and not ends[0] or leaves[-1] and not ends[1]):
            continue
        taken.append(place)
        last = max(2, width // 60)
        whole = (thick[:last].any() or leaves[0]) and (thick[-last:].any() or leaves[-1])
        strokes = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((int(2 * reach + 2), 1), np.uint8)) > 0
        above, below = np.ceil(middle - reach).astype(int) - 1, np.floor(middle + reach).astype(int) + 1
        wide = cv2.dilate(ink, np.ones((1, 2 * int(reach) + 1), np.uint8))  # a stroke may cross it aslant
        inside = (above >= 0) & (below < height)  # a slanting line leaves the picture at either end
        above, below = above.clip(0, height - 1), below.clip(0, height - 1)
        under = np.where(inside, np.minimum(wide[above, column], wide[below, column]), 0)
        lines.append(Line(band, beyond, strokes, np.broadcast_to(under, ink.shape), edge, level, cover, through, whole,
                          level < PALE, 2 * (reach - 1) < max(3, 0.03 * height)))
    return lines


def _guess_lines(runs: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Yield the row (W,) in every column of what may be lines among runs of ink (H, W), the longest first."""
    column = np.arange(runs.shape[1])
    found = cv2.HoughLines(runs, 1, np.pi / 720, len(column) // 2, min_theta=np.pi / 2 - STEEPEST, max_theta=np.pi / 2 + STEEPEST)
    for distance, angle in found[:most, 0] if found is not None else ():
        yield (distance - column * np.cos(angle)) / np.sin(angle)


def _darker_than(level: float) -> float:
    """Return what is darker than a pale line of some level for sure: a stroke that lies on it."""
    return level + max(20, 0.5 * (255 - level))


def drop_base_line(ink: np.ndarray) -> np.ndarray:
    """Return the ink without the one line that is ruled from border to border and touches what is written: digits stand on it, hang
    from it or cross it.

    What crosses it stays, and of what ends at it the half that is nearer; on a line that is paler than the ink all that is darker.
    """
    height, width = ink.shape
    mask = (ink > INK_LEVEL // 2).view(np.uint8)
    inked, near = mask.max(axis=0) > 0, max(2, width // 20)
    if width < THIN_FOR or inked.mean() < SEEN or not (inked[:near].any() and inked[-near:].any()):  # the usual case
        return ink
    runs = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((1, max(9, min(height // 2, width // 10))), np.uint8))
    lines: list[tuple[np.ndarray, float]] = []
    for middle in _guess_lines(runs, 32):
        if all(abs(middle[width // 2] - other[width // 2]) > max(4, 0.08 * height) for other, _ in lines):
            line = _fit_line(runs, middle, near)
            lines += [line] if line else []
    if len(lines) != 1:  # ruled or squared paper, a table
        return ink
    middle, thick = lines[0]
    away, half = np.arange(height)[:, None] - middle, thick / 2 + 1.5  # with its soft edge
    band = np.abs(away) <= half
    beside = mask & ~band
    cropped = all(band[end].any() or 0 < mask[end].mean() < 0.5 for end in (0, -1))  # it, or a digit, reaches the border
    if width < (CLEAR if cropped else RULE) * cv2.boundingRect(beside)[3]:
        return ink
    level = float(np.quantile(np.where(band, ink, 0).max(axis=0), 0.3))
    if level < PALE:
        stays = ink > _darker_than(level)
    else:
        above = (beside & (away < -half) & (away >= -half - 1.5)).any(axis=0)
        below = (beside & (away > half) & (away <= half + 1.5)).any(axis=0)
        stays = above & (below | (away < 0)) | below & (away > 0)
    return _drop_crumbs(np.where(band & ~stays, 0, ink), np.abs(away) <= half + 1.5)


def _fit_line(runs: np.ndarray, middle: np.ndarray, near: int) -> tuple[np.ndarray, float] | None:
    """Return (the row (W,) of a line in every column, its thickness), fitted to the runs about a first guess of these rows; None
    where they are no straight line that is seen in nearly all columns, and in the first and the last `near` of them."""
    height, width = runs.shape
    row, column = np.arange(height)[:, None], np.arange(width)
    for reach in (0.08 * height, 0.05 * height):
        close = runs & (np.abs(row - middle) <= max(2.5, reach))
        thick = close.sum(axis=0)  # (W,) pixels
        there = thick > 0
        if there.mean() < SEEN or not (there[:near].any() and there[-near:].any()):
            return None
        usual = float(np.quantile(thick[there], 0.3))  # strokes lie on less than 70 % of it
        free = there & (thick <= usual + 1)
        places = (close * row).sum(axis=0)[free] / thick[free]
        slope, start = np.polyfit(column[free], places, 1)
        middle = start + slope * column
    even = np.sqrt(np.mean((places - middle[free]) ** 2)) <= EVEN
    return (middle, usual) if even and width >= THIN_FOR * usual else None


def _drop_crumbs(ink: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the ink without what lies wholly in some places (H, W), where a line was."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((ink > INK_LEVEL // 2).view(np.uint8))
    there = np.bincount(labels.ravel(), places.ravel(), len(stats))  # pixels of each
    return _erase(ink, labels, 1 + np.flatnonzero(there[1:] >= stats[1:, 4]))


def count_things(ink: np.ndarray) -> int:
    """Return the number of things (8-connected components) in ink: what `connectedComponents` says, in a fifth of its time."""
    _, family = cv2.findContours((ink > INK_LEVEL).view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return 0 if family is None else int(np.count_nonzero(family[0, :, 3] < 0))  # without a parent: an outline, not that of a hole


def drop_edge_pieces(ink: np.ndarray) -> np.ndarray:
    """Return the ink without what reaches in from the border (rest of a frame, a neighbour), if a digit stands free of it.

    What is there as a whole and as large as the digit stays: two were written.
    """
    height, width = ink.shape
    down, across = max(2, int(0.08 * height) + 1), max(2, int(0.08 * width) + 1)
    if max(ink[:down].max(), ink[-down:].max(), ink[:, :across].max(), ink[:, -across:].max()) <= INK_LEVEL:
        return ink
    if count_things(ink) < 2:
        return ink
    _, labels, stats, middles = cv2.connectedComponentsWithStats((ink > INK_LEVEL).view(np.uint8))
    left, top, wide, high, area = stats.T
    gap = np.min([left / width, top / height, 1 - (left + wide) / width, 1 - (top + high) / height], axis=0)
    inside = labels[int(0.14 * height):int(0.86 * height), int(0.14 * width):int(0.86 * width)]
    along = np.bincount(inside.ravel(), minlength=len(area)) < 0.3 * area  # most of it lies along the edge
    free = (gap > 0.03) & (np.maximum(wide, high) >= 0.2 * min(height, width))
    if not free.any():
        return ink
    off = np.abs(middles[:, 0] / width - 0.5) > NEIGHBOUR  # neighbours stand beside, an 8's second ring stands below
    touching, share = gap * min(height, width) < 1.5, area / area[free].max()
    dropped = touching & (along | off | (share < 0.5)) | along & (gap <= 0.08) & (share < 0.25)
    largest = int(np.flatnonzero(free & (share == 1))[0])
    whole = ~along & (share > 0.5) & (high > 0.75 * high[largest]) & (wide > 0.5 * wide[largest])
    dropped &= ~whole  # and so never the digit itself
    return _erase(ink, labels, 1 + np.flatnonzero(dropped[1:]))  # component 0 is the paper


def drop_specks(ink: np.ndarray) -> np.ndarray:
    """Return the ink without specks: components much smaller than the digit, or small and much paler than it.

    A detached stroke of a 4, 5 or 7 stays.
    """
    if count_things(ink) < 2:
        return ink
    _, labels, stats, _ = cv2.connectedComponentsWithStats((ink > INK_LEVEL).view(np.uint8))
    longest, area = stats[1:, 2:4].max(axis=1), stats[1:, 4]
    specks = (longest < SPECK * longest.max()) | (area < 0.01 * area.max())
    for speck in np.flatnonzero(~specks & (longest < 3 * SPECK * longest.max())):
        x, y, wide, high = stats[1 + speck, :4]
        place = slice(y, y + high), slice(x, x + wide)
        specks[speck] = ink[place][labels[place] == 1 + speck].max() < 0.75 * ink.max()
    return _erase(ink, labels, 1 + np.flatnonzero(specks))


def drop_underline(ink: np.ndarray) -> np.ndarray:
    """Return ink of two things or more without a flat bar that stands free below all the rest and is at least half as wide: an
    underline, if it is not the foot of a 1. The network has to say it."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((ink > INK_LEVEL).view(np.uint8))
    lowest = 1 + int(stats[1:, 1].argmax())
    _, top, wide, high, _ = stats[lowest]
    others = np.delete(stats, [0, lowest], axis=0)
    left, upper = others[:, :2].min(axis=0)
    right, foot = (others[:, :2] + others[:, 2:4]).max(axis=0)
    tall = foot - upper
    bar = high < min(0.25 * wide, 0.7 * tall) and top >= foot + 0.03 * tall and wide > max(0.3 * tall, 0.5 * (right - left))
    return _erase(ink, labels, np.array([lowest])) if bar else ink


def drop_rules(ink: np.ndarray) -> np.ndarray:
    """Return the ink of a line of text without what is flat and far longer than its letters are high: underlines."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((ink > INK_LEVEL).view(np.uint8))
    wide, high = stats[1:, 2:4].T
    flat = high < 0.12 * wide
    if not flat.any() or flat.all():
        return ink
    return _erase(ink, labels, 1 + np.flatnonzero(flat & (wide > 1.5 * high[~flat].max())))


def drop_haze(ink: np.ndarray) -> np.ndarray:
    """Return the ink without what is faint and no stroke's soft edge: the rest of pale lines, texture of the paper."""
    return cv2.bitwise_and(ink, cv2.dilate(cv2.threshold(ink, INK_LEVEL, 255, cv2.THRESH_BINARY)[1], np.ones((3, 3), np.uint8)))


def cut_neighbours(ink: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Return (share of the width that is cut away, ink) for every way to cut off, at CUTS, what reaches in from the left and the
    right border and is less than half of the ink; [] where there is none. The network has to say which one shows a digit."""
    width = ink.shape[1]
    near = max(2, int(0.03 * width))
    left, right = ((side > INK_LEVEL).any() for side in (ink[:, :near], ink[:, -near:]))
    if not (left or right):
        return []
    ways, whole = [], ink.sum(dtype=np.int64)
    for before in CUTS if left else (0,):
        for after in CUTS if right else (0,):
            part = np.ascontiguousarray(ink[:, int(before * width):width - int(after * width)])
            count, labels, stats, _ = cv2.connectedComponentsWithStats((part > INK_LEVEL).view(np.uint8))
            if count > 1:
                touching = (stats[:, 0] <= 1) | (stats[:, 0] + stats[:, 2] >= part.shape[1] - 1)
                touching[[0, 1 + stats[1:, 4].argmax()]] = False  # neither the paper nor the largest thing
                left_over = _erase(part, labels, np.flatnonzero(touching))
                if left_over.sum(dtype=np.int64) >= LEAST_LEFT * whole:
                    ways.append((before + after, left_over))
    return ways


def _erase(ink: np.ndarray, labels: np.ndarray, dropped: np.ndarray) -> np.ndarray:
    """Return the ink without the components named, and without the soft edge around them."""
    if not len(dropped):
        return ink
    gone = np.zeros(labels.max() + 1, np.uint8)
    gone[dropped] = 1
    gone = cv2.dilate(gone[labels], np.ones((3, 3), np.uint8))
    gone[(labels > 0) & ~np.isin(labels, dropped)] = 0
    return np.where(gone, 0, ink)
