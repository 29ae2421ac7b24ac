"""Turn any picture of a digit into the picture MNIST would have held.

The road is `walk`: every stage has a name and can be looked at. It ends at the junction `seen`: a 28x28 grey picture, white
ink on black, the digit scaled into 20x20 pixels and centred by its mass (LeCun et al. 1998, "Gradient-based learning applied
to document recognition", section III.A). `to_tensor` then is the only place where the mean and the standard deviation live.
"""

from collections.abc import Iterator

import cv2
import numpy as np
import torch

from boxes import inner_things, left_white
from cleaning import clean_ink, count_things, cut_neighbours, drop_specks, drop_underline
from decode import shrink, to_pixels
from paper import INK_LEVEL, find_ink, ink_is_dark, lay_on_paper, to_grey
from sheet import find_sheet

SIDE = 28  # pixels; the side of an MNIST picture
DIGIT_BOX = 20  # pixels; MNIST scaled its digits into 20x20
NARROWEST = 0.4  # of its length; a sheet that holds one digit is no bar
MEAN, STD = 0.1307, 0.3081  # of MNIST's 60,000 training pictures, ink from 0 to 1

WORK_SIDE = 192  # pixels; ink is looked for at this size, and looked at again closer where it is small

THIN, THICK = 1.2, 5.6  # pixels in the 20x20 box; 99 % of MNIST's strokes are between them
BLOB = 8.2  # pixels; the widest stroke of MNIST's 60,000 training pictures, of a 0 run full, has 7.8, a pen's dot over 8.4
CIRCLED = 0.68  # of its circle's height; of 148 circled 1s none is higher than 0.64
FULL, STUBBY = 0.966, 1.8  # of its hull, and times its width; of 98,000 digits the fullest that is as short has 0.964, discs 0.969
DEEP, NEARLY_FULL = 6.5, 0.9  # pixels from its edge, and of its hull: of 100,332 digits what is as deep has at most 0.89
THINNEST, THICKEST = 1.9, 4.5  # pixels in the 20x20 box; where strokes outside of THIN and THICK are brought
MERGED = 3.5  # pixels in that box; made thicker, hairlines of a digit are up to 2.2 wide, the letters of a page one block of 8


# --- the road -----------------------------------------------------------------------------------------------------------

def walk(image) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the stages of the road as (name, (H, W) uint8 picture), the junction `seen` (28, 28) last.

    `image` is a PIL picture, a numpy array ((H, W), (H, W, 1..4) or (1..4, H, W), any real dtype), the path of a picture
    file, or a Sketchpad value. Raises decode.PictureError, with a sentence for the user, for anything else. Where no ink is
    found the road ends early: the last stage then is not "seen".
    """
    pixels = lay_on_paper(to_pixels(image))
    grey = to_grey(pixels)  # (H, W)
    yield "grey", grey
    work = shrink(grey, WORK_SIDE)
    sheet = find_sheet(pixels, grey, work, NARROWEST)
    if sheet:
        grey = to_grey(sheet.pixels)
        work = shrink(grey, WORK_SIDE)
        yield "sheet", grey
    dark = ink_is_dark(work)
    ink = find_ink(work, dark)
    cleaned = clean_ink(ink)
    box = ink_box(cleaned)
    if box is not None and work is not grey and max(box[2:]) < WORK_SIDE // 3:
        grey = crop(grey, box, scale=grey.shape[0] / work.shape[0], margin=0.5)
        yield "closer", grey
        ink = find_ink(grey, dark)
        cleaned = clean_ink(ink)
        box = ink_box(cleaned)
    yield "ink", ink
    yield "cleaned", cleaned
    if box is None:
        return
    digit = even_strokes(crop(cleaned, box))
    yield "stroke", digit
    yield "seen", center_by_mass(scale_to_box(digit))  # (28, 28)


def see(image) -> np.ndarray | None:
    """Return `seen`, the (28, 28) uint8 picture MNIST would have held, white ink on black; None where there is no ink.

    Takes what `walk` takes and raises what it raises.
    """
    name, picture = list(walk(image))[-1]
    return picture if name == "seen" else None


def split_digits(cleaned: np.ndarray) -> list[np.ndarray]:
    """Return `seen` pictures of the things that stand side by side in cleaned ink, left to right; [] where there is one alone.

    Side by side: as tall as half of the tallest, with next to no overlap across. The flag of a 5 lies above, not beside.
    """
    if count_things(cleaned) < 2:
        return []
    _, labels, stats, _ = cv2.connectedComponentsWithStats((cleaned > INK_LEVEL).view(np.uint8))
    tall = 1 + np.flatnonzero(stats[1:, 3] >= 0.5 * stats[1:, 3].max())
    groups: list[list[int]] = []
    for label in sorted(tall, key=lambda label: stats[label, 0]):
        left, wide = stats[label, 0], stats[label, 2]
        end = max((stats[other, 0] + stats[other, 2] for other in groups[-1]), default=0) if groups else -1
        if groups and end - left > 0.2 * min(wide, end - stats[groups[-1][0], 0]):
            groups[-1].append(label)
        else:
            groups.append([label])
    if len(groups) < 2:
        return []
    alone = [np.where(cv2.dilate(np.isin(labels, group).view(np.uint8), np.ones((3, 3), np.uint8)), cleaned, 0) for group in groups]
    return [frame(ink) for ink in alone]


def free_looks(cleaned: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Return (share of the width cut away, `seen`) for whatever stands alone inside of something else in cleaned ink, a circle for
    one, for what stands above a bar, and for what is left white in a disc; [] where there is nothing of the kind.

    Nothing is cut away, and even -1, where it is so much smaller than what is around it as no slash of a 0 is.
    """
    white, looks = left_white(cleaned), []
    if white is not None:
        looks.append((0.0, drop_specks(white)))
    if count_things(cleaned) >= 2:
        above, high = drop_underline(cleaned), ink_box(cleaned)[3]
        inner = [ink for ink in map(clean_ink, inner_things(cleaned)) if ink_box(ink)]
        looks += [(-1.0 if ink_box(ink)[3] < CIRCLED * high else 0.0, ink) for ink in inner]
        looks += [] if above is cleaned else [(0.0, above)]
    return [(share, frame(ink)) for share, ink in looks if ink_box(ink)]


def second_looks(cleaned: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Return (share of the width cut away, `seen`) for every way to cut neighbours off cleaned ink; [] where none reaches in."""
    return [(share, frame(ink)) for share, ink in cut_neighbours(cleaned)]


def frame(ink: np.ndarray) -> np.ndarray:
    """Return `seen`, (28, 28) uint8, of ink that is there: cropped, strokes evened, scaled, centred."""
    return center_by_mass(scale_to_box(even_strokes(crop(ink, ink_box(ink)))))


def to_tensor(seen: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Return (..., 28, 28) uint8 pictures as float32 (..., 1, 28, 28), normalised: what the network takes."""
    if isinstance(seen, np.ndarray):  # the same in half of the time: for one picture what counts is the number of torch's calls
        return torch.from_numpy(normalise(seen[..., None, :, :].astype(np.float32) / 255))
    return normalise(seen.unsqueeze(-3).float() / 255)


def normalise(ink: np.ndarray | torch.Tensor) -> np.ndarray | torch.Tensor:
    """Return ink from 0 to 1, any shape, less MNIST's mean and over its standard deviation."""
    return (ink - MEAN) / STD


# --- ink to seen --------------------------------------------------------------------------------------------------------

def ink_box(ink: np.ndarray) -> tuple[int, int, int, int] | None:
    """Return the box (x, y, width, height), in pixels, of the ink and its soft edge; None where there is no ink."""
    box = cv2.boundingRect(ink)
    return box if box[2] and box[3] else None


def crop(picture: np.ndarray, box, scale: float = 1.0, margin: float = 0.0) -> np.ndarray:
    """Return the part of a picture in a box, scaled by `scale` first and widened by `margin` of its longest side."""
    x, y, width, height = (side * scale for side in box)
    more = margin * max(width, height)
    rows = slice(max(0, int(y - more)), int(np.ceil(y + height + more)))
    columns = slice(max(0, int(x - more)), int(np.ceil(x + width + more)))
    return np.ascontiguousarray(picture[rows, columns])


def even_strokes(digit: np.ndarray) -> np.ndarray:
    """Return the digit with its strokes brought to the widths of MNIST where they are hairlines or slabs; else as it is."""
    unit = max(digit.shape) / DIGIT_BOX  # pixels of this picture for one pixel of the box
    width = stroke_width(digit) / unit
    if THIN <= width <= THICK:
        return digit
    zoom = max(1, int(np.ceil(6 / unit)))  # a brush needs some pixels to be round
    digit = cv2.resize(digit, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_LINEAR)
    unit *= zoom
    change = (THINNEST - width if width < THIN else width - THICKEST) * unit
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (max(1, round(change)) | 1,) * 2)
    if width > THICK:
        thinner = cv2.erode(digit, brush, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        return crop(thinner, ink_box(thinner)) if thinner.max() > INK_LEVEL else digit  # else nothing would be left of it
    thicker = cv2.dilate(np.pad(digit, brush.shape[0] // 2), brush)
    faint = cv2.threshold(thicker, INK_LEVEL, 255, cv2.THRESH_BINARY)[1]  # hairlines may be, and so may dust around strokes
    return thicker if min(stroke_width(thicker), stroke_width(faint)) < MERGED * unit else digit


def stroke_width(digit: np.ndarray) -> float:
    """Return the mean width of the strokes in pixels, twice the area over the length of the outline; at most the picture's."""
    mask = cv2.copyMakeBorder((digit > 127).view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    outline = sum(cv2.arcLength(curve, closed=True) for curve in outlines)
    area = float(digit.sum()) / 255
    return min(2 * area / max(outline, 1.0), *map(float, digit.shape))  # faint noise has an area and no outline


def is_blob(seen: np.ndarray) -> bool:
    """Say whether there is no stroke in `seen` (28, 28): a dot, a block, a thumb. A slab may be a 1."""
    mask = (seen > 127).view(np.uint8)
    area = np.count_nonzero(mask)
    if area <= BLOB ** 2:  # faint hairlines have no outline to measure
        return False
    return stroke_width(seen) > BLOB or area > 0.6 * np.prod(cv2.boundingRect(mask)[2:]) and _is_filled(seen)


def _is_filled(seen: np.ndarray) -> bool:
    """Say whether `seen` (28, 28) is full to its hull, and no slab."""
    mask = cv2.threshold(cv2.resize(seen, None, fx=3, fy=3, interpolation=cv2.INTER_LINEAR), 127, 1, cv2.THRESH_BINARY)[1]
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    hull = cv2.convexHull(np.concatenate(outlines))
    sides = np.add(cv2.minAreaRect(hull)[1], 1)  # outlines run through the middles of pixels
    within = cv2.contourArea(hull) + cv2.arcLength(hull, closed=True) / 2 + 1
    deepest = cv2.distanceTransform((seen > 127).view(np.uint8), cv2.DIST_L2, 5).max()
    full = FULL if deepest < DEEP else NEARLY_FULL
    return bool(cv2.countNonZero(mask) > full * within and sides.max() < STUBBY * sides.min())


def scale_to_box(digit: np.ndarray) -> np.ndarray:
    """Return the digit scaled, proportions kept, with antialiasing, so that its longest side is DIGIT_BOX pixels."""
    height, width = digit.shape
    scale = DIGIT_BOX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size == (width, height):
        return digit
    return cv2.resize(digit, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def center_by_mass(digit: np.ndarray) -> np.ndarray:
    """Return (28, 28) uint8 with the digit's centre of mass at pixel (14, 14), to the nearest whole pixel, as in MNIST."""
    height, width = digit.shape
    mass = digit.sum(dtype=np.float64)
    y = digit.sum(axis=1) @ np.arange(height) / mass
    x = digit.sum(axis=0) @ np.arange(width) / mass
    top = min(max(round(SIDE / 2 - y), 0), SIDE - height)  # a lopsided digit stops at the border instead of being cut
    left = min(max(round(SIDE / 2 - x), 0), SIDE - width)
    seen = np.zeros((SIDE, SIDE), np.uint8)
    seen[top:top + height, left:left + width] = digit
    return seen
