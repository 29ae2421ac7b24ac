"""Find the sheet of paper that a picture shows on a table."""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from decode import shrink
from paper import find_ink, ink_is_dark, to_grey

SHEET_SIDE = 128  # pixels; a sheet on a table is looked for at this size
DIGITS_STROKE, NUMBERS_STROKE = 0.086, 0.039  # of the picture's longer side; strokes are narrower, and the body of a sheet wider
LEAST_SHEET, MOST_SHEET = 0.04, 0.9  # of the picture
FULL = 0.85  # of the four-sided shape around it is a sheet
ANGULAR = 0.92  # the same; the body of a thick 0, whose hole would be what is written, fills less
BLANK = 0.7  # of a sheet, at least, has nothing written on it
EDGE = 2.5  # pixels to either side of a sheet's edge
SHEET_CONTRAST = 25  # grey levels of 255 between a sheet and the table
INSETS = 0.04, 0.02, 0.1  # of the sheet's shorter side, tried in turn: its edge and its shadow, ink near the edge, a printed border


class Sheet(NamedTuple):
    """A sheet of paper that lies on something else in a picture: its pixels, upright and without its edge, and the matrix (3, 3)
    that takes a place (x, y, 1) on it to the picture's."""

    pixels: np.ndarray
    matrix: np.ndarray


def find_sheet(pixels: np.ndarray, grey: np.ndarray, small: np.ndarray, narrowest: float) -> Sheet | None:
    """Return the sheet with something written on it that a picture shows, the one on it where two lie on one another: a note on a
    table on a dark floor. None where there is none. Takes what `_lowest_sheet` takes, and `small`, `grey` reduced to any size at
    which a drawing can be told."""
    if _is_a_drawing(small, narrowest):
        return None
    lower = _lowest_sheet(pixels, grey, narrowest)
    upper = lower and _lowest_sheet(lower.pixels, to_grey(lower.pixels), narrowest)
    return Sheet(upper.pixels, lower.matrix @ upper.matrix) if upper else lower


def _lowest_sheet(pixels: np.ndarray, grey: np.ndarray, narrowest: float) -> Sheet | None:
    """Return the sheet with something written on it that a picture shows on a table, a note or a label; None where there is none.

    `pixels` are (H, W) or (H, W, 3) uint8, `grey` (H, W) what `to_grey` makes of them. The sheet's shorter side is at least
    `narrowest` times its longer one: a bar may be a digit. It has four straight sides, is lighter or darker than what lies around
    it on all of them, and what is written on it stands free of them: the ring of an angular 0 has nothing inside.
    """
    if min(grey.shape) < SHEET_SIDE // 2:
        return None
    small = cv2.blur(shrink(grey, SHEET_SIDE), (3, 3))
    if _is_a_drawing(small, narrowest):
        return None
    zoom = grey.shape[1] / small.shape[1]
    for mask in _levels(small):
        for corners, table in _quadrangles(mask, small, narrowest):
            for inset in INSETS:
                sheet = _flatten(pixels, zoom * (corners + 0.5), inset)
                if _is_written(sheet.pixels, table):
                    return sheet
    return None


def _is_a_drawing(grey: np.ndarray, narrowest: float) -> bool:
    """Say at once, of most pictures, that there is no sheet: the rim is even, and what differs from it is strokes, wider where a
    sheet would hold one digit."""
    stroke = round((DIGITS_STROKE if narrowest else NUMBERS_STROKE) * max(grey.shape))  # pixels
    rim = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    least, most = int(rim.min()), int(rim.max())
    if most - least >= SHEET_CONTRAST:
        return False
    other = cv2.bitwise_not(cv2.inRange(grey, least - SHEET_CONTRAST, most + SHEET_CONTRAST))
    return cv2.countNonZero(cv2.erode(other, np.ones((stroke, stroke), np.uint8))) == 0


def _levels(grey: np.ndarray) -> Iterator[np.ndarray]:
    """Yield (H, W) uint8 masks of what may be a sheet in a picture: the lighter and the darker part, and the same within each."""
    _, light = cv2.threshold(grey, 0, 1, cv2.THRESH_OTSU)
    yield light
    yield 1 - light
    for part, brighter in ((grey[light > 0], True), (grey[light == 0], False)):
        if len(part) > LEAST_SHEET * grey.size and np.ptp(part) > 2 * SHEET_CONTRAST:
            further = cv2.threshold(part, 0, 1, cv2.THRESH_OTSU)[0]
            yield ((grey > further) == brighter).view(np.uint8)


def _quadrangles(mask: np.ndarray, grey: np.ndarray, narrowest: float) -> Iterator[tuple[np.ndarray, float | None]]:
    """Yield (4, 2) float64, the corners, clockwise from the upper left, of each of the largest things in a mask that is a sheet;
    and, where it may as well be the body of a thick 0, the grey level of what lies around it."""
    around = [1 - cv2.countNonZero(np.ascontiguousarray(side)) / len(side) for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1])]
    marked = cv2.countNonZero(mask) / mask.size
    if marked < LEAST_SHEET * BLANK or np.mean(around) < 0.6 and not (max(around) > 0.97 and marked < MOST_SHEET):
        return  # no table: the usual case
    solid = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    outlines, _ = cv2.findContours(solid, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for outline in sorted(outlines, key=cv2.contourArea, reverse=True)[:3]:
        area = cv2.contourArea(outline)
        if not LEAST_SHEET * mask.size < area < MOST_SHEET * mask.size:
            continue
        inside = np.zeros(mask.shape, np.uint8)
        cv2.drawContours(inside, [outline], -1, 1, cv2.FILLED)
        covered = cv2.countNonZero(solid & inside)
        if covered < max(BLANK * area, BLANK * cv2.countNonZero(solid)):
            continue  # the ring of a 0, or one thing of many
        corners = cv2.approxPolyN(cv2.convexHull(outline), 4, ensure_convex=True).reshape(-1, 2)
        share = area / max(cv2.contourArea(corners.astype(np.float32)), 1.0)
        if len(corners) != 4 or share < FULL:
            continue
        corners = corners.astype(float)
        if (np.abs(corners / mask.shape[::-1] - 0.5) > 0.75).any():
            continue  # nearly a triangle: a corner far outside of the picture would make a picture of any size
        corners = corners[np.argsort(np.arctan2(*(corners - corners.mean(axis=0)).T[::-1]))]  # clockwise
        sides = np.roll(corners, -1, axis=0) - corners
        to_the_right = int(np.abs(np.arctan2(*sides.T[::-1])).argmin())  # the upper side comes first, whichever way it is turned
        corners = np.roll(corners, -to_the_right, axis=0)
        lengths = np.linalg.norm(sides, axis=1)
        if lengths.min() < max(6, narrowest * lengths.max()):
            continue
        table = _stands_out(corners, grey)
        if table is not None:
            yield corners, table if share < ANGULAR else None


def _stands_out(corners: np.ndarray, grey: np.ndarray) -> float | None:
    """Return the grey level around what lies between four corners, if the light jumps, the same way all around, at its sides
    as far as they lie within the picture; None where it does not: a shadow is soft."""
    starts, sides = corners[:, None], (np.roll(corners, -1, axis=0) - corners)[:, None]  # (4, 1, 2)
    outwards = np.stack([sides[..., 1], -sides[..., 0]], axis=-1) / np.linalg.norm(sides, axis=-1, keepdims=True)
    points = starts + np.linspace(0.1, 0.9, 24)[:, None] * sides  # (4, 24, 2)
    inner, outer = (np.round(points + away * outwards).astype(int).reshape(-1, 2) for away in (-EDGE, EDGE))
    seen = ((inner >= 0) & (outer >= 0) & (inner < grey.shape[::-1]) & (outer < grey.shape[::-1])).all(axis=1)
    if np.count_nonzero(seen) < 12:
        return None
    (inner_x, inner_y), (outer_x, outer_y) = inner[seen].T, outer[seen].T
    jumps = grey[inner_y, inner_x].astype(int) - grey[outer_y, outer_x]
    clear = np.mean(np.sign(np.median(jumps)) * jumps >= SHEET_CONTRAST) >= 0.8
    return float(np.median(grey[outer_y, outer_x])) if clear else None


def _flatten(pixels: np.ndarray, corners: np.ndarray, inset: float) -> Sheet:
    """Return the sheet between four corners, upright and without the share `inset` of its shorter side at its edges."""
    across, down = (float(np.linalg.norm(ends - starts, axis=1).mean())
                    for starts, ends in ((corners[[0, 3]], corners[[1, 2]]), (corners[[0, 1]], corners[[3, 2]])))
    cut = inset * min(across, down)
    frame = np.float32([(-cut, -cut), (across - cut, -cut), (across - cut, down - cut), (-cut, down - cut)])
    matrix = cv2.getPerspectiveTransform(frame, corners.astype(np.float32))
    flat = cv2.warpPerspective(pixels, matrix, (int(across - 2 * cut), int(down - 2 * cut)),
                               flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE)
    return Sheet(flat, matrix)


def _is_written(sheet: np.ndarray, table: float | None) -> bool:
    """Say whether there is ink on a sheet, and next to none of it in things that touch its border; nor is it as light as the table,
    where that is given: what is seen through a hole."""
    small = shrink(to_grey(sheet), SHEET_SIDE)
    ink = (find_ink(small, ink_is_dark(small)) > 127).view(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(ink)
    cut = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    if not ink.any() or stats[cut[cut > 0], 4].sum() > 0.03 * stats[1:, 4].sum():
        return False
    return table is None or abs(np.median(small[ink > 0]) - table) >= SHEET_CONTRAST
