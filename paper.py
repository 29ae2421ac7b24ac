"""Pixels to ink: transparency, colour, polarity, light and shadow."""

import cv2
import numpy as np

from decode import shrink

INK_LEVEL = 64  # of 255; a quarter of the ink's full strength: darker than noise, fainter than a soft edge's middle
MIN_CONTRAST = 14  # grey levels of 255; fainter than this, ink cannot be told from paper
CLEARLY = 1.1  # times; a colour channel has to show thin things better by it than luminance
FINE = 17  # of 64 pixels; what is narrower than half of it is thin
UNIFORM = 0.95  # of the rim's pixels; paper, a frame or a table all around
EDGES_SIDE = 320  # pixels; edges are looked at at this size at most
SOFT = 1 / 3  # of the steepness of other edges
SEEN_WELL = 20  # pixels; of what is smaller every edge is soft
LIGHT_EDGE, WIDE_EDGE = 0.13, 10  # of the ink's side, and pixels; from light to dark it is further at the edge of a light
GRAIN = 2  # pixels, a deviation; more blurring than this would blur lines away
STEEP = 6  # grey levels a pixel; the grain of a blank sheet has edges that are less steep
SHADOW = 0.35  # of the light; what is darker than this is no shadow but ink, a frame or a table


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

    Yellow ink on white paper has next to no luminance contrast; in the blue channel it is black. What counts is how thin things
    stand out: black ink on a yellow sign stands out in the red channel, where the sign itself does not.
    """
    if pixels.ndim == 2:
        return pixels
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    if cv2.meanStdDev(pixels)[1].max() <= 1.25 * cv2.meanStdDev(grey)[1][0, 0] + 1:
        return grey
    channels = [grey, *cv2.split(pixels)]
    contrasts = np.array([_thin_contrast(shrink(channel, 64)) for channel in channels])
    return channels[int((contrasts * (CLEARLY, 1, 1, 1)).argmax())]


def _thin_contrast(grey: np.ndarray) -> float:
    """Return how far the levels of a small picture stray from those around them, in grey levels, a deviation."""
    reach = FINE // 2
    around = cv2.medianBlur(cv2.copyMakeBorder(grey, reach, reach, reach, reach, cv2.BORDER_REFLECT), FINE)
    return float(np.std(grey - around[reach:-reach, reach:-reach].astype(np.float32)))


# --- grey to ink --------------------------------------------------------------------------------------------------------

def ink_is_dark(grey: np.ndarray) -> bool:
    """Say whether the ink is darker than the paper: what is rare and strong about a picture's own background is ink.

    Where neither is rare, in a thick digit that fills its picture, the paper is what lies along the rim, or, where a frame or
    a table does, the sheet inside of it. The spot of a lamp is rare and strong, too, but its edges are soft.
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
    if float((np.subtract(small, paper, dtype=np.float32) ** 3).sum()) <= 0:
        return True
    middling = shrink(grey, EDGES_SIDE)
    soft, sharp = _edges(middling, find_ink(middling, False), 0.25, 0.75)
    return bool(soft <= SOFT * sharp and _edges(middling, find_ink(middling, True), 0.25)[0] > max(soft / SOFT, STEEP))


def _edges(grey: np.ndarray, ink: np.ndarray, *shares: float) -> np.ndarray:
    """Return how steep the edges of ink are, in grey levels a pixel: along each of these shares of them less than that; 0 where
    there is no ink."""
    edge = cv2.morphologyEx(cv2.threshold(ink, 127, 1, cv2.THRESH_BINARY)[1], cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    if not edge.any():
        return np.zeros(len(shares))
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *order, scale=1 / 8)[edge] for order in ((1, 0), (0, 1)))
    return np.quantile(np.hypot(across, down), shares)


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
    """Return (H, W) uint8 ink, 0 on paper, 255 at the full strength of the stroke; all 0 where nothing stands out but light.

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
    ink = cv2.LUT(depth, np.clip(levels + 0.5, 0, 255).astype(np.uint8))
    return np.zeros_like(grey) if paper.min() < paper.max() and _is_light(light, paper, ink) else ink


def _is_light(light: np.ndarray, paper: np.ndarray, ink: np.ndarray) -> bool:
    """Say whether what was taken for ink is the spot of a lamp or a shadow: next to nowhere does it have an edge."""
    strong = ink > 127
    side = float(np.sqrt(np.prod(cv2.boundingRect(strong.view(np.uint8))[2:])))  # in the mean
    if side < SEEN_WELL:
        return False
    contrast = float(np.quantile(cv2.subtract(paper, light)[strong], 0.85))
    smooth = cv2.GaussianBlur(light, (0, 0), min(side / 100, GRAIN))
    return contrast > max(LIGHT_EDGE * side, WIDE_EDGE) * _edges(smooth, ink, 0.95)[0]


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


def _variance(histogram: np.ndarray) -> float:
    """Return the variance of the levels of a histogram; 0 for an empty one."""
    levels, share = np.arange(len(histogram)), histogram / max(histogram.sum(), 1)
    return float(share @ levels ** 2 - (share @ levels) ** 2)


def _quantile(histogram: np.ndarray, share: float) -> int:
    """Return the grey level below which `share` of a histogram lies; 0 for an empty one."""
    below = histogram.cumsum()
    return int(below.searchsorted(share * below[-1])) if len(below) and below[-1] else 0
