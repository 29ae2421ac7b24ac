"""Turn any picture of a digit into the picture MNIST would have held.

The road is `walk`: every stage has a name and can be looked at. It ends at the junction `seen`: a 28x28 grey picture, white
ink on black, the digit scaled into 20x20 pixels and centred by its mass (LeCun et al. 1998, "Gradient-based learning applied
to document recognition", section III.A). `to_tensor` then is the only place where the mean and the standard deviation live.
"""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
import torch

from decode import shrink, to_pixels

SIDE = 28  # pixels; the side of an MNIST picture
DIGIT_BOX = 20  # pixels; MNIST scaled its digits into 20x20
MEAN, STD = 0.1307, 0.3081  # of MNIST's 60,000 training pictures, ink from 0 to 1

WORK_SIDE = 192  # pixels; ink is looked for at this size, and looked at again closer where it is small

MIN_CONTRAST = 14  # grey levels of 255; fainter than this, ink cannot be told from paper
INK_LEVEL = 64  # of 255; a quarter of the ink's full strength: darker than noise, fainter than a soft edge's middle
UNIFORM = 0.95  # of the rim's pixels; paper, a frame or a table all around
SHADOW = 0.35  # of the light; what is darker than this is no shadow but ink, a frame or a table
FRAME = 160  # of 255; a line along an edge that is darker than this is a printed frame
PALE = 200  # of 255; a line paler than this is ruled paper, whatever else it crosses
NEIGHBOUR = 0.28  # of the picture's side; a piece at the border with its middle this far out is not the digit in the middle
SPECK = 0.1  # of the digit's longest side; MNIST's detached strokes are longer than this
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
    count, labels, stats, _ = cv2.connectedComponentsWithStats((cleaned > INK_LEVEL).view(np.uint8))
    tall = 1 + np.flatnonzero(stats[1:, 3] >= 0.5 * stats[1:, 3].max()) if count > 2 else []
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


def frame(ink: np.ndarray) -> np.ndarray:
    """Return `seen`, (28, 28) uint8, of ink that is there: cropped, strokes evened, scaled, centred."""
    return center_by_mass(scale_to_box(even_strokes(crop(ink, ink_box(ink)))))


def to_tensor(seen: np.ndarray | torch.Tensor) -> torch.Tensor:
    """Return (..., 28, 28) uint8 pictures as float32 (..., 1, 28, 28), normalised: what the network takes."""
    return normalise((seen if isinstance(seen, torch.Tensor) else torch.tensor(seen)).unsqueeze(-3).float() / 255)


def normalise(ink: torch.Tensor) -> torch.Tensor:
    """Return ink from 0 to 1, any shape, less MNIST's mean and over its standard deviation."""
    return (ink - MEAN) / STD


# --- pixels to grey -------------------------------------------------------------------------------------------------------

def lay_on_paper(pixels: np.ndarray) -> np.ndarray:
    """Return (H, W) or (H, W, 3): transparent pixels laid on paper that contrasts with what is drawn.

    A sheet that is opaque for the most part and has a drawing in it (a screenshot with round corners) gets its own paper.
    """
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return pixels
    colour, alpha = cv2.cvtColor(pixels, cv2.COLOR_RGBA2RGB), cv2.extractChannel(pixels, 3)
    if alpha.min() == 255:
        return colour
    drawn = (alpha > alpha.max() // 2).view(np.uint8)  # half of the strongest: ink may be half transparent itself
    grey = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(grey, mask=drawn))
    if deviation == 0:  # one colour on nothing, as on a sketch pad: what covers is the drawing
        return cv2.bitwise_not(alpha) if mean < 128 else alpha
    if deviation > MIN_CONTRAST and cv2.countNonZero(drawn) > drawn.size / 2:
        paper = float(np.median(grey[drawn > 0]))
    else:
        paper = 255 if mean < 128 else 0
    cover = cv2.merge([alpha, alpha, alpha])
    ink = cv2.multiply(colour, cover, scale=1 / 255)
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
    light = grey > cv2.threshold(grey, 0, 255, cv2.THRESH_OTSU)[0]
    share = light.mean()
    if not 0 < share < 1:
        return None
    within = share * grey[light].var() + (1 - share) * grey[~light].var()
    return light if within < 0.12 * grey.var() and grey[~light].mean() < SHADOW * grey[light].mean() else None


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
    histogram = cv2.calcHist([depth], [0], None, [256], [0, 256]).ravel()  # (256,)
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


def clean_ink(ink: np.ndarray) -> np.ndarray:
    """Return the ink of the digit alone: noise smoothed, printed lines, frame, pieces at the edge, specks and haze dropped."""
    return drop_haze(drop_specks(drop_edge_pieces(drop_lines(smooth_noise(ink)))))


def smooth_noise(ink: np.ndarray) -> np.ndarray:
    """Return the ink after a 3x3 median where it is peppered with single pixels; as it is where it is not."""
    mask = (ink > INK_LEVEL).view(np.uint8)
    around = cv2.boxFilter(mask, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)
    lonely = np.count_nonzero((around == 1) & (mask == 1))
    return cv2.medianBlur(ink, 3) if lonely > max(8, 0.002 * ink.size) else ink


def drop_lines(ink: np.ndarray) -> np.ndarray:
    """Return the ink without straight lines: a printed frame at the edge, and ruled or squared paper.

    Along an edge a line as dark as the ink is a frame, and goes with everything outside of it, if a digit stands free of it;
    or if it runs from border to border while nothing touches the border across, as it would where a picture was cropped to
    its ink. Elsewhere a line goes where it runs from border to border, and is paler than the ink or a thin one of several;
    the strokes on it and across it stay.
    """
    lines = _find_lines(ink) + [line.turned() for line in _find_lines(cv2.transpose(ink))]
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
    cleaned = np.where(gone, 0, ink).astype(np.uint8)
    inner = [line for line in lines if line.through and (line.pale or line.thin)]
    if len(inner) < 3:  # a line that is hidden for the most part is one only among several
        inner = [line for line in inner if line.cover > 0.7]
    for line in inner:
        if line.pale:
            hit = line.band & (ink < line.level + max(20, 0.5 * (255 - line.level)))  # darker: a stroke, also one along it
        elif len(inner) > 1:
            hit = line.band & ~line.strokes
        else:
            continue
        cleaned[hit] = np.minimum(cleaned, line.under)[hit]
    return cleaned


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


def _find_lines(ink: np.ndarray) -> list[Line]:
    """Return the lines that run from left to right, up to 4 degrees askew."""
    height, width = ink.shape
    inked, near = cv2.reduce(ink, 0, cv2.REDUCE_MAX)[0] > INK_LEVEL // 2, max(2, width // 10)
    if inked.mean() < 0.5 or not (inked[:near].any() or inked[-near:].any()):  # the usual case: nothing runs to a border
        return []
    mask = (ink > INK_LEVEL // 2).view(np.uint8)
    runs = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((1, max(7, width // 10)), np.uint8))
    inked = cv2.reduce(runs, 0, cv2.REDUCE_MAX)[0] > 0
    if inked.mean() < 0.5 or not (inked[:near].any() or inked[-near:].any()):
        return []
    runs &= 1 - cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((max(5, int(0.12 * height)), 1), np.uint8))  # not upright strokes
    found = cv2.HoughLines(runs, 1, np.pi / 720, int(0.5 * width), min_theta=np.pi / 2 - 0.07, max_theta=np.pi / 2 + 0.07)
    row, column = np.arange(height)[:, None], np.arange(width)
    lines, taken, tried, outside = [], [], [], np.zeros(ink.shape, bool)
    for distance, angle in found[:64, 0] if found is not None else ():  # the longest first
        middle = (distance - column * np.cos(angle)) / np.sin(angle)  # (W,) the row of the line in every column
        place = middle[width // 2]
        if (outside[np.clip(round(place), 0, height - 1), width // 2] or any(abs(other - place) < 0.05 * height for other in taken)
                or any(abs(other - place) < 0.02 * height for other in tried)):
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
        edge, beyond = "", band
        if middle.max() < 0.16 * height:
            edge, beyond, leaves = "top", row <= middle + reach, middle <= 1
        elif middle.min() > 0.84 * height:
            edge, beyond, leaves = "bottom", row >= middle - reach, middle >= height - 2
        if edge and not (all(ends) or leaves[0] and not ends[0] or leaves[-1] and not ends[1]):  # or it leaves the picture
            edge = ""
        pale = level < PALE
        if edge and level > FRAME:
            outside |= beyond
        through = all(ends)
        if not edge and not through:
            continue
        taken.append(place)
        strokes = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((int(2 * reach + 2), 1), np.uint8)) > 0
        last = max(2, width // 60)
        whole = (thick[:last].any() or edge and leaves[0]) and (thick[-last:].any() or edge and leaves[-1])
        strokes = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((int(2 * reach + 2), 1), np.uint8)) > 0
        above, below = np.ceil(middle - reach).astype(int) - 1, np.floor(middle + reach).astype(int) + 1
        wide = cv2.dilate(ink, np.ones((1, 2 * int(reach) + 1), np.uint8))  # a stroke may cross it aslant
        inside = (above >= 0) & (below < height)
        under = np.where(inside, np.minimum(wide[above.clip(0), column], wide[below.clip(max=height - 1), column]), 0)
        lines.append(Line(band, beyond, strokes, np.broadcast_to(under, ink.shape).astype(np.uint8), edge, level, cover, through,
                          whole, pale, 2 * (reach - 1) < max(3, 0.03 * height)))
    return lines


def drop_edge_pieces(ink: np.ndarray) -> np.ndarray:
    """Return the ink without what reaches in from the border (rest of a frame, a neighbour), if a digit stands free of it."""
    height, width = ink.shape
    down, across = max(2, int(0.08 * height) + 1), max(2, int(0.08 * width) + 1)
    if max(ink[:down].max(), ink[-down:].max(), ink[:, :across].max(), ink[:, -across:].max()) <= INK_LEVEL:
        return ink
    _, labels, stats, middles = cv2.connectedComponentsWithStats((ink > INK_LEVEL).view(np.uint8))
    left, top, wide, high, area = stats.T
    gap = np.min([left / width, top / height, 1 - (left + wide) / width, 1 - (top + high) / height], axis=0)
    inside = labels[int(0.14 * height):int(0.86 * height), int(0.14 * width):int(0.86 * width)]
    along = np.bincount(inside.ravel(), minlength=len(area)) < 0.3 * area  # most of it lies along the edge
    free = (gap > 0.03) & (np.maximum(wide, high) >= 0.2 * min(height, width))
    if not free.any():
        return ink
    off = np.abs(middles / [width, height] - 0.5).max(axis=1) > NEIGHBOUR
    touching, share = gap * min(height, width) < 1.5, area / area[free].max()
    dropped = touching & (along | off | (share < 0.5)) | along & (gap <= 0.08) & (share < 0.25)
    dropped &= ~(free & (share == 1))  # never the digit itself
    return _erase(ink, labels, 1 + np.flatnonzero(dropped[1:]))  # component 0 is the paper


def drop_specks(ink: np.ndarray) -> np.ndarray:
    """Return the ink without specks: components much smaller than the digit, or small and much paler than it.

    A detached stroke of a 4, 5 or 7 stays.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats((ink > INK_LEVEL).view(np.uint8))
    if count <= 2:
        return ink
    longest, area = stats[1:, 2:4].max(axis=1), stats[1:, 4]
    specks = (longest < SPECK * longest.max()) | (area < 0.01 * area.max())
    for speck in np.flatnonzero(~specks & (longest < 3 * SPECK * longest.max())):
        x, y, wide, high = stats[1 + speck, :4]
        place = slice(y, y + high), slice(x, x + wide)
        specks[speck] = ink[place][labels[place] == 1 + speck].max() < 0.75 * ink.max()
    return _erase(ink, labels, 1 + np.flatnonzero(specks))


def drop_haze(ink: np.ndarray) -> np.ndarray:
    """Return the ink without what is faint and no stroke's soft edge: the rest of pale lines, texture of the paper."""
    return cv2.bitwise_and(ink, cv2.dilate(cv2.threshold(ink, INK_LEVEL, 255, cv2.THRESH_BINARY)[1], np.ones((3, 3), np.uint8)))


def _erase(ink: np.ndarray, labels: np.ndarray, dropped: np.ndarray) -> np.ndarray:
    """Return the ink without the components named, and without the soft edge around them."""
    if not len(dropped):
        return ink
    gone = np.zeros(labels.max() + 1, np.uint8)
    gone[dropped] = 1
    gone = cv2.dilate(gone[labels], np.ones((3, 3), np.uint8))
    gone[(labels > 0) & ~np.isin(labels, dropped)] = 0
    return np.where(gone, 0, ink).astype(np.uint8)


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
        return crop(thinner, ink_box(thinner)) if ink_box(thinner) else digit
    return cv2.dilate(np.pad(digit, brush.shape[0] // 2), brush)


def stroke_width(digit: np.ndarray) -> float:
    """Return the mean width of the strokes in pixels: twice the area over the length of the outline."""
    mask = np.pad(digit > 127, 1).astype(np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    outline = sum(cv2.arcLength(curve, closed=True) for curve in outlines)
    area = float(digit.sum()) / 255
    return 2 * area / max(outline, 1.0)


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
    return int(np.searchsorted(histogram.cumsum(), share * histogram.sum())) if histogram.any() else 0
