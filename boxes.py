"""What digits are written in: boxes, rings and circles, which go, or are offered to the network without."""

from collections.abc import Iterator

import cv2
import numpy as np

from paper import INK_LEVEL

BOX = 0.9  # of the rectangle around it; a hole that fills more is that of a drawn box
STOUT, ROUND, FULL = 0.5, 0.95, 0.6  # of its longer side, its hull, its inside: at least as much has a disc with white digits on it
WRITTEN = 0.3  # of its shorter side; what is written on a sign is larger
OVAL, COLON = 1.3, 0.3  # of its shorter side, and of the height of digits: a punched hole is rounder and larger
MANY = 100  # things; more are a texture or a page of text, and nobody looks for holes there
TEXTURE = 0.1  # of the pixels; where more of them are edges, every pixel of a checkerboard would be a hole to look into


def is_texture(mask: np.ndarray) -> bool:
    """Say whether so many pixels of a mask are edges that nobody could look into all of its holes."""
    return max(cv2.countNonZero(cv2.absdiff(mask[:, 1:], mask[:, :-1])),
               cv2.countNonZero(cv2.absdiff(mask[1:], mask[:-1]))) > TEXTURE * mask.size


def drop_boxes(ink: np.ndarray) -> np.ndarray:
    """Return the ink without the boxes that it is written in: where a thing has rectangular holes, and something is written in one,
    what lies around each of them goes, as thick as the line turns out to be."""
    mask = (ink > INK_LEVEL // 2).view(np.uint8)
    if is_texture(mask):
        return ink
    written_in, written = [], False
    for hole, thing in holes(mask):
        if min(cv2.boundingRect(hole)[2:]) < 10:
            continue
        hull = cv2.convexHull(hole)
        sides, area = cv2.minAreaRect(hull)[1], cv2.contourArea(hull)
        if min(sides) >= 10 and area >= max(BOX * sides[0] * sides[1], 0.01 * ink.size):
            _, _, wide, high = cv2.boundingRect(thing)
            if wide >= 0.97 * ink.shape[1] or high >= 0.97 * ink.shape[0]:
                continue  # paper that is ruled from border to border, which `drop_lines` knows
            written_in.append(hull)
            written = written or max(cv2.boundingRect(mask & _inside(hull, ink.shape, 2))[2:]) >= 0.3 * min(sides)
    if not written:
        return ink
    gone = np.zeros(ink.shape, np.uint8)
    for hull in written_in:
        hole = wider = _inside(hull, ink.shape)
        for _ in range(max(3, int(0.12 * min(cv2.minAreaRect(hull)[1])))):
            wider, before = cv2.dilate(wider, np.ones((3, 3), np.uint8)), wider
            rim = wider - before
            if 2 * cv2.countNonZero(rim & mask) < cv2.countNonZero(rim) and before is not hole:  # its first rim may be a soft edge
                gone |= wider - _inside(hull, ink.shape, 1)
                break
    return np.where(gone, 0, ink)


def drop_rings(ink: np.ndarray) -> np.ndarray:
    """Return the ink of a line of text without the rings around it: where a thing has a hole without deep bays in which two more
    stand, more than a quarter as high, one of them free, it goes, but for what of it reaches into the hole."""
    mask = (ink > INK_LEVEL).view(np.uint8)
    if is_texture(mask):
        return ink
    least, kept = 0.5 * max(cv2.boundingRect(mask)[2:]), None
    for hole, thing in holes(mask):
        _, _, wide, high = cv2.boundingRect(hole)
        hull = cv2.convexHull(hole)
        if max(wide, high) < least or cv2.contourArea(hole) < 0.8 * cv2.contourArea(hull):
            continue
        inside = _inside(hull, ink.shape, 1)
        _, parts, stats, _ = cv2.connectedComponentsWithStats(mask & inside)
        inner = 1 + np.flatnonzero(stats[1:, 3] > high / 4)
        _, things = cv2.connectedComponents(mask)
        ring = things == things[tuple(thing[0, 0, ::-1])]
        if len(inner) < 2 or not (np.isin(parts, inner) & ~ring).any():  # what cuts across a 0 is a part of it
            continue
        soft = cv2.dilate(ring.view(np.uint8), np.ones((3, 3), np.uint8))
        kept = np.where(soft & (1 - inside), 0, ink if kept is None else kept)
    return ink if kept is None else kept


def inner_things(ink: np.ndarray) -> list[np.ndarray]:
    """Return, of ink that is there, what lies inside of every thing in whose hole another one stands that is not much smaller: a
    circle, a box. The network has to say whether it is a digit."""
    mask = (ink > INK_LEVEL).view(np.uint8)
    least, found = max(12, 0.5 * max(cv2.boundingRect(mask)[2:])), []
    for hole, _ in holes(mask):
        side = max(cv2.boundingRect(hole)[2:])
        if side < least or cv2.contourArea(hole) < 0.9 * cv2.contourArea(cv2.convexHull(hole)):
            continue  # the inside of an outlined digit has bays
        rest = np.where(_inside(hole, ink.shape, 1), ink, 0)  # without the ring's soft edge
        if max(cv2.boundingRect((rest > INK_LEVEL).view(np.uint8))[2:]) >= 0.5 * side:
            found.append(rest)
    return found


def left_white(ink: np.ndarray) -> np.ndarray | None:
    """Return, as ink, what is left white inside of the largest thing of some ink, if that is a disc or another shape without bays
    and mostly ink; None where nothing is. The network has to say whether it is a digit."""
    outlines, _ = cv2.findContours((ink > INK_LEVEL).view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not outlines:
        return None
    outline = max(outlines, key=cv2.contourArea)
    sides = cv2.boundingRect(outline)[2:]
    if min(sides) < STOUT * max(sides) or cv2.contourArea(outline) < ROUND * cv2.contourArea(cv2.convexHull(outline)):
        return None
    inside = _inside(outline, ink.shape, 2)
    if np.count_nonzero(inside & (ink > 127)) <= FULL * np.count_nonzero(inside):
        return None
    white = np.where(inside, 255 - ink, 0)
    return white if max(cv2.boundingRect((white > 127).view(np.uint8))[2:]) > WRITTEN * min(sides) else None


def drop_discs(ink: np.ndarray) -> np.ndarray:
    """Return the ink of a line of text; where two things are left white side by side in a disc, as in no digit, these alone."""
    white = left_white(ink)
    if white is None:
        return ink
    _, _, stats, _ = cv2.connectedComponentsWithStats((white > 127).view(np.uint8))
    left, _, wide, high, _ = stats[1:][stats[1:, 3] >= 0.5 * stats[1:, 3].max()].T
    return white if left.max() >= (left + wide).min() else ink


def drop_punched(ink: np.ndarray) -> np.ndarray:
    """Return the ink without punched holes: filled discs of one size, two or more below one another, beside all
    that is as high as half of them, and larger, or further from one another, than the dots of a colon."""
    mask = (ink > INK_LEVEL).view(np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not 2 <= len(outlines) <= MANY:
        return ink
    discs, boxes, others = [], [], []  # outlines of discs and their boxes, boxes of all else
    for outline in outlines:
        x, y, wide, high = box = cv2.boundingRect(outline)
        sides = np.add(cv2.minAreaRect(outline)[1], 1)  # outlines run through the middles of pixels
        area = cv2.contourArea(outline) + cv2.arcLength(outline, closed=True) / 2 + 1
        is_disc = sides.min() >= 8 and sides.max() < OVAL * sides.min() and abs(area / (np.pi / 4 * np.prod(sides)) - 1) < 0.1
        if is_disc and np.count_nonzero(mask[y:y + high, x:x + wide]) > 0.9 * area:
            discs.append(outline)
            boxes.append(box)
        else:
            others.append(box)
    if len(discs) < 2:
        return ink
    left, top, wide, high = np.array(boxes).T
    side, middle = np.median(high), np.median(left + wide / 2)
    if (np.abs(left + wide / 2 - middle) > 0.5 * side).any() or (np.abs(high / side - 1) > 0.25).any():
        return ink
    tall = np.array([box for box in others if 2 * box[3] >= side]).reshape(-1, 4)
    beside = (tall[:, 0] >= (left + wide).max()).all() or (tall[:, 0] + tall[:, 2] <= left.min()).all()
    if not beside or len(tall) and side < COLON * np.median(tall[:, 3]) and np.ptp(top) < np.median(tall[:, 3]):
        return ink
    gone = np.zeros(ink.shape, np.uint8)
    cv2.drawContours(gone, discs, -1, 1, cv2.FILLED)
    return np.where(cv2.dilate(gone, np.ones((5, 5), np.uint8)), 0, ink)


def holes(mask: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield, of every hole in a mask, its outline and that of the thing it is in; the outlines lie on the thing's pixels."""
    outlines, family = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    for hole, parent in zip(outlines, family[0, :, 3] if outlines else (), strict=True):
        if parent >= 0:
            yield hole, outlines[parent]


def _inside(outline: np.ndarray, shape: tuple[int, int], edge: int = 0) -> np.ndarray:
    """Return (H, W) uint8, 1 on an outline and within it, but for the outermost `edge` pixels."""
    mask = np.zeros(shape, np.uint8)
    cv2.drawContours(mask, [outline], -1, 1, cv2.FILLED)
    return cv2.erode(mask, np.ones((2 * edge + 1,) * 2, np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0) if edge else mask
