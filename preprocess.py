"""Turn any picture of a digit into the picture MNIST would have held.

The road is `walk`: every stage has a name and can be looked at. It ends at the junction `seen`: a 28x28 grey picture, white
ink on black, the digit scaled into 20x20 pixels and centred by its mass (LeCun et al. 1998, "Gradient-based learning applied
to document recognition", section III.A). `to_tensor` then is the only place where the mean and the standard deviation live.
"""

from collections.abc import Iterator

import cv2
import numpy as np
import torch

from cleaning import INK_LEVEL, clean_ink, count_things, cut_neighbours, drop_underline, inner_things
from decode import shrink, to_pixels

SIDE = 28  # pixels; the side of an MNIST picture
DIGIT_BOX = 20  # pixels; MNIST scaled its digits into 20x20
MEAN, STD = 0.1307, 0.3081  # of MNIST's 60,000 training pictures, ink from 0 to 1

WORK_SIDE = 192  # pixels; ink is looked for at this size, and looked at again closer where it is small

MIN_CONTRAST = 14  # grey levels of 255; fainter than this, ink cannot be told from paper
UNIFORM = 0.95  # of the rim's pixels; paper, a frame or a table all around
SHADOW = 0.35  # of the light; what is darker than this is no shadow but ink, a frame or a table
THIN, THICK = 1.2, 5.6  # pixels in the 20x20 box; 99 % of MNIST's strokes are between them
THINNEST, THICKEST = 1.9, 4.5  # pixels in the 20x20 box; where strokes outside of THIN and THICK are brought


# --- the road -----------------------------------------------------------------------------------------------------------

def walk(image) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the stages of the road as (name, (H, W) uint8 picture), the junction `seen` (28, 28) last.

    `image` is a PIL picture, a numpy array ((H, W), (H, W, 1..4) or (1..4, H, W), any real dtype), the path of a picture
    file, or a Sketchpad value. Raises decode.PictureError, with a sentence for the user, for anything else. Where no ink is
    found the road ends early: the last stage then is not "seen".
    """
    grey = to_grey(lay_on_paper(to_pixels(image)))  # (H, W)
    yield "grey", grey
    work = shrink(grey, WORK_SIDE)
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
    """Return (0.0, `seen`) for whatever stands alone inside of something else in cleaned ink, a circle for one, and for what
    stands above a bar; [] where there is nothing of the kind."""
    if count_things(cleaned) < 2:
        return []
    above = drop_underline(cleaned)
    looks = [*map(clean_ink, inner_things(cleaned)), *([] if above is cleaned else [above])]
    return [(0.0, frame(ink)) for ink in looks if ink_box(ink)]


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


# --- pixels to grey -------------------------------------------------------------------------------------------------------

def lay_on_paper(pixels: np.ndarray) -> np.ndarray:
    """Return (H, W) or (H, W, 3): transparent pixels laid on paper that contrasts with what is drawn.

    A sheet that is opaque for the most part and has a drawing in it (a screenshot with round corners) gets its own paper.
    """
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return pixels
    alpha = cv2.extractChannel(pixels, 3)
    if alpha.min() == 255:
        return cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB)
    drawn = (alpha > alpha.max() // 2).view(np.uint8)  # half of the strongest: ink may be half transparent itself
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGBA2GRAY)
    darkest, lightest, _, _ = cv2.minMaxLoc(grey, mask=drawn)
    if darkest == lightest:  # one colour on nothing, as on a sketch pad: what covers is the drawing
        return cv2.bitwise_not(alpha) if darkest < 128 else alpha
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(grey, mask=drawn))
    if deviation > MIN_CONTRAST and cv2.countNonZero(drawn) > drawn.size / 2:
        paper = float(np.median(grey[drawn > 0]))
    else:
        paper = 255 if mean < 128 else 0
    cover = cv2.merge([alpha, alpha, alpha])
    ink = cv2.multiply(cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB), cover, scale=1 / 255)
    return cv2.add(ink, cv2.convertScaleAbs(cv2.bitwise_not(cover), alpha=paper / 255))


def to_grey(pixels: np.ndarray) -> np.ndarray:
    """Return (H, W) uint8: luminance, or the one colour channel in which the ink stands out clearly better.

    Yellow ink on white paper has next to no luminance contrast; in the blue channel it is black.
    """
    if pixels.ndim == 2:
        return pixels
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    contrasts = cv2.meanStdDev(pixels)[1].ravel()  # (3,)
    best = int(contrasts.argmax())
    return np.ascontiguousarray(pixels[:, :, best]) if contrasts[best] > 1.25 * cv2.meanStdDev(grey)[1][0, 0] + 1 else grey


# --- grey to ink --------------------------------------------------------------------------------------------------------

def ink_is_dark(grey: np.ndarray) -> bool:
    """Say whether the ink is darker than the paper: what is rare and strong about a picture's own background is ink.

    Where neither is rare, in a thick digit that fills its picture, the paper is what lies along the rim, or, where a frame or
    a table does, the sheet inside of it.
    """
    small = shrink(grey, 64)
    if (light := _clean_split(small)) is not None:
        if not 0.25 < light.mean() < 0.75:
            return bool(light.mean() > 0.5)
        rim = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]]).mean()
        uniform = max(rim, 1 - rim) > UNIFORM
        return bool(rim > 0.5) != _is_sheet(light != (rim > 0.5), 0.85 if uniform else 0.93)
    wide = cv2.copyMakeBorder(small, 16, 16, 16, 16, cv2.BORDER_REFLECT)  # else a frame at the edge would pass for paper
    paper = cv2.medianBlur(wide, 31)[16:-16, 16:-16]
    return float((np.subtract(small, paper, dtype=np.float32) ** 3).sum()) <= 0


def _clean_split(grey: np.ndarray) -> np.ndarray | None:
    """Return (H, W) bool, the lighter part of a picture of two clear levels, further apart than a shadow's; None for others."""
    if min(grey.shape) < 4:
        return None
    mask = cv2.threshold(grey, 0, 255, cv2.THRESH_OTSU)[1]
    share = cv2.countNonZero(mask) / mask.size
    if not 0 < share < 1:
        return None
    (bright, above), (dim, below), (_, all_over) = (
        [float(value[0, 0]) for value in cv2.meanStdDev(grey, mask=part)] for part in (mask, cv2.bitwise_not(mask), None))
    within = share * above ** 2 + (1 - share) * below ** 2
    return mask > 0 if within < 0.12 * all_over ** 2 and dim < SHADOW * bright else None


def _is_sheet(mask: np.ndarray, full: float) -> bool:
    """Say whether the largest thing in a mask is a sheet of paper with something on it, and no digit and no drawn box.

    A sheet covers at least the share `full` of the rectangle around it.
    """
    curves, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(curves, key=cv2.contourArea)
    covered = np.zeros(mask.shape, np.uint8)
    cv2.drawContours(covered, [outline], -1, 1, cv2.FILLED)
    (_, sides, _), area = cv2.minAreaRect(outline), np.count_nonzero(covered)
    if min(sides) < 0.5 * min(mask.shape):  # a bar: a 1
        return False
    return area > full * np.prod(np.add(sides, 1)) and np.count_nonzero(mask & (covered > 0)) > 0.5 * area


def find_ink(grey: np.ndarray, dark: bool) -> np.ndarray:
    """Return (H, W) uint8 ink, 0 on paper, 255 at the full strength of the stroke; all 0 where nothing stands out.

    Dark ink is measured as the share of the paper's light that it takes, so that a shadow changes nothing; light ink as
    the light it adds.
    """
    light = grey if dark else 255 - grey
    paper = paper_under(light)
    depth = cv2.subtract(paper, light)  # (H, W), 0 is paper
    depth = cv2.divide(depth, paper, scale=255) if dark else depth
    floor, peak = ink_levels(depth)
    if peak <= 2 * floor:  # coarse noise, halftone: look again with the eyes half closed
        depth = cv2.GaussianBlur(depth, (0, 0), max(grey.shape) / 60)
        floor, peak = ink_levels(depth)
    if peak <= 2 * floor or peak - floor < MIN_CONTRAST:
        return np.zeros_like(grey)
    levels = (np.arange(256) - floor) * (255 / (peak - floor))
    return cv2.LUT(depth, np.clip(levels + 0.5, 0, 255).astype(np.uint8))


def ink_levels(depth: np.ndarray) -> tuple[int, int]:
    """Return (floor, peak), grey levels of 255: up to `floor` depth is the paper's noise, from `peak` on it is full ink.

    Otsu's split (1979) tells ink from paper. Where it cuts through the noise, ink is whatever stands far out of all the rest:
    a small digit on a large sheet.
    """
    split = int(cv2.threshold(depth, 0, 255, cv2.THRESH_OTSU)[0])
    x, y, wide, high = cv2.boundingRect(depth)
    histogram = cv2.calcHist([depth[y:y + high, x:x + wide]], [0], None, [256], [0, 256]).ravel()  # (256,)
    histogram[0] += depth.size - wide * high  # to count the even paper around takes longer than all the rest
    middle, upper = _quantile(histogram[:split + 1], 0.5), _quantile(histogram[:split + 1], 0.85)
    peak = split + 1 + _quantile(histogram[split + 1:], 0.85)
    all_middle, all_upper = _quantile(histogram, 0.5), _quantile(histogram, 0.85)
    far = all_middle + 5 * (all_upper - all_middle)
    if histogram[far + 1:].sum() > 3e-4 * depth.size:
        far_peak = far + 1 + _quantile(histogram[far + 1:], 0.5)
        if far_peak > 2 * peak:
            middle, upper, peak = all_middle, all_upper, far_peak
    floor = upper + (upper - middle) // 2
    if floor > peak // 4:  # a digit cropped to its ink, in few pixels: its soft edges are no noise
        ink = histogram[split + 1:]
        within = _variance(histogram[:split + 1]) * (depth.size - ink.sum()) + _variance(ink) * ink.sum()
        if ink.sum() > 0.2 * depth.size and within < 0.2 * _variance(histogram) * depth.size:
            floor = peak // 4
    return floor, peak


def paper_under(light: np.ndarray) -> np.ndarray:
    """Return (H, W) uint8, the light of the paper under the ink: strokes closed over, shadows and vignettes followed.

    Where the paper is even it is one number all over, so that a clean drawing stays exactly as it is.
    """
    small = shrink(light, 64)
    reach = max(small.shape) // 3 | 1
    brush = np.ones((reach, reach), np.uint8)
    paper = cv2.morphologyEx(small, cv2.MORPH_CLOSE, brush)
    if np.ptp(paper) < 12:
        return np.full_like(light, np.median(paper))
    bright = _clean_split(small)
    if bright is not None:
        return np.full_like(light, np.median(small[bright]))  # a digit thicker than the brush
    slope = light_slope(small)  # taken off first: closing lifts the dark end of a slope
    level = np.clip(small - slope + 0.5, 0, 255).astype(np.uint8)
    paper = cv2.morphologyEx(level, cv2.MORPH_CLOSE, brush) + slope
    paper = cv2.GaussianBlur(paper.clip(0, 255).round().astype(np.uint8), (0, 0), 1)
    return cv2.resize(paper, light.shape[::-1], interpolation=cv2.INTER_LINEAR)


def light_slope(light: np.ndarray) -> np.ndarray:
    """Return (H, W) float32, the plane through the lighter pixels, less its highest point."""
    y, x = np.indices(light.shape, np.float32)
    axes = np.stack([np.ones_like(x), x, y], axis=-1).reshape(-1, 3)
    value = light.ravel().astype(np.float32)
    kept = np.ones(len(value), bool)
    for _ in range(4):  # each time the plane climbs further out of the ink
        part = axes[kept]
        plane = axes @ np.linalg.lstsq(part.T @ part, part.T @ value[kept], rcond=None)[0]
        kept = value >= plane - 1
    return (plane - plane.max()).reshape(light.shape)


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
    return cv2.dilate(np.pad(digit, brush.shape[0] // 2), brush)


def stroke_width(digit: np.ndarray) -> float:
    """Return the mean width of the strokes in pixels, twice the area over the length of the outline; at most the picture's."""
    mask = cv2.copyMakeBorder((digit > 127).view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    outline = sum(cv2.arcLength(curve, closed=True) for curve in outlines)
    area = float(digit.sum()) / 255
    return min(2 * area / max(outline, 1.0), *map(float, digit.shape))  # faint noise has an area and no outline


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


def _variance(histogram: np.ndarray) -> float:
    """Return the variance of the levels of a histogram; 0 for an empty one."""
    levels, share = np.arange(len(histogram)), histogram / max(histogram.sum(), 1)
    return float(share @ levels ** 2 - (share @ levels) ** 2)


def _quantile(histogram: np.ndarray, share: float) -> int:
    """Return the grey level below which `share` of a histogram lies; 0 for an empty one."""
    below = histogram.cumsum()
    return int(below.searchsorted(share * below[-1])) if len(below) and below[-1] else 0
