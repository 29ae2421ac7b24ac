"""Turn any picture of a digit into the picture MNIST would have held.

The road is `walk`: every stage has a name and can be looked at. It ends at the junction `seen`: a 28x28 grey picture, white
ink on black, the digit scaled into 20x20 pixels and centred by its mass (LeCun et al. 1998, "Gradient-based learning applied
to document recognition", section III.A). `to_tensor` then is the only place where the mean and the standard deviation live.
"""

from collections.abc import Iterator

import cv2
import numpy as np
import torch

from decode import shrink, to_pixels

SIDE = 28  # pixels; the side of an MNIST picture
DIGIT_BOX = 20  # pixels; MNIST scaled its digits into 20x20
MEAN, STD = 0.1307, 0.3081  # of MNIST's 60,000 training pictures, ink from 0 to 1

WORK_SIDE = 320  # pixels; ink is looked for at this size, and looked at again closer where it is small

MIN_CONTRAST = 14  # grey levels of 255; fainter than this, ink cannot be told from paper
INK_LEVEL = 64  # of 255; a quarter of the ink's full strength: darker than noise, fainter than a soft edge's middle
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
    drawn = cv2.compare(alpha, 127, cv2.CMP_GT)
    grey = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)
    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(grey, mask=drawn))
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
    """Say whether the ink is darker than the paper: what is rare and strong about a picture's own background is ink."""
    small = shrink(grey, 64)
    wide = cv2.copyMakeBorder(small, 16, 16, 16, 16, cv2.BORDER_REFLECT)  # else a frame at the edge would pass for paper
    paper = cv2.medianBlur(wide, 31)[16:-16, 16:-16]
    return float((np.subtract(small, paper, dtype=np.float32) ** 3).sum()) <= 0


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
    return upper + (upper - middle) // 2, peak


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
    """Return the ink without straight lines: a printed frame at the edge, and ruled or squared paper."""
    lines = _rows_of_lines(ink) | _rows_of_lines(cv2.transpose(ink)).T
    return np.where(lines, 0, ink).astype(np.uint8) if lines.any() else ink


def _rows_of_lines(ink: np.ndarray) -> np.ndarray:
    """Return (H, W) bool, where lines run from left to right, up to 4 degrees askew.

    A line as dark as the ink along the upper or lower edge is a frame: it goes with everything outside of it. Another goes only
    where it runs from border to border, and is paler than the ink or one of several; the strokes on it and across it stay.
    """
    height, width = ink.shape
    found, inner = np.zeros(ink.shape, bool), []
    mask = (ink > INK_LEVEL // 2).view(np.uint8)
    runs = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((1, max(7, width // 10)), np.uint8))
    if np.count_nonzero(cv2.reduce(runs, 0, cv2.REDUCE_MAX)) < 0.7 * width:  # no line can be there: the usual case, and quick
        return found
    runs &= 1 - cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((max(5, int(0.12 * height)), 1), np.uint8))  # not upright strokes
    lines = cv2.HoughLines(runs, 1, np.pi / 720, int(0.5 * width), min_theta=np.pi / 2 - 0.07, max_theta=np.pi / 2 + 0.07)
    row, column = np.arange(height)[:, None], np.arange(width)
    for distance, angle in lines[:64, 0] if lines is not None else ():  # the longest first
        middle = (distance - column * np.cos(angle)) / np.sin(angle)  # (W,) the row of the line in every column
        if found[np.clip(middle[width // 2].round().astype(int), 0, height - 1), width // 2] or any(
                abs(other - middle[width // 2]) < 0.05 * height for other, *_ in inner):
            continue
        thick = (runs & (np.abs(row - middle) <= 0.06 * height)).sum(axis=0)  # (W,) pixels
        cover = np.count_nonzero(thick) / width
        if cover < 0.5:
            continue
        reach = float(np.median(thick[thick > 0])) / 2 + 1.5
        line = np.abs(row - middle) <= reach
        level = float(np.quantile(np.where(line, ink, 0).max(axis=0)[thick > 0], 0.3))  # strokes lie on less than 70 % of it
        pale = level < 160
        ends = thick[:max(2, width // 10)].any(), thick[-max(2, width // 10):].any()
        for side, out in ((middle.max() < 0.16 * height, middle <= 1), (middle.min() > 0.84 * height, middle >= height - 2)):
            if side and not pale and (all(ends) or out[0] and not ends[0] or out[-1] and not ends[1]):  # or it leaves the picture
                found |= row <= middle + reach if middle.max() < 0.16 * height else row >= middle - reach
        if cover > 0.7 and all(ends):
            inner.append((middle[width // 2], line, reach, level if pale else None))
    for _, line, reach, level in inner:
        if level is not None:
            found |= line & (ink < 1.4 * level + 20)  # what is darker is a stroke, also one along the line
        elif len(inner) > 1:
            strokes = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((int(2 * reach + 2), 1), np.uint8))
            found |= line & (strokes == 0)
    return found


def drop_edge_pieces(ink: np.ndarray) -> np.ndarray:
    """Return the ink without what reaches in from the border (rest of a frame, a neighbour), if a digit stands free of it."""
    height, width = ink.shape
    _, labels, stats, _ = cv2.connectedComponentsWithStats((ink > INK_LEVEL).view(np.uint8))
    left, top, wide, high, area = stats.T
    gap = np.min([left / width, top / height, 1 - (left + wide) / width, 1 - (top + high) / height], axis=0)
    inside = labels[int(0.14 * height):int(0.86 * height), int(0.14 * width):int(0.86 * width)]
    along = np.bincount(inside.ravel(), minlength=len(area)) < 0.3 * area  # most of it lies along the edge
    free = (gap > 0.03) & (np.maximum(wide, high) >= 0.2 * min(height, width))
    if not free.any():
        return ink
    touching, share = gap * min(height, width) < 1.5, area / area[free].max()
    dropped = touching & (along | (share < 0.5)) | along & (gap <= 0.08) & (share < 0.25)
    return _erase(ink, labels, 1 + np.flatnonzero(dropped[1:]))  # component 0 is the paper


def drop_specks(ink: np.ndarray) -> np.ndarray:
    """Return the ink without specks: components much smaller than the digit. A detached stroke of a 4, 5 or 7 stays."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((ink > INK_LEVEL).view(np.uint8))
    if count <= 2:
        return ink
    longest, area = stats[1:, 2:4].max(axis=1), stats[1:, 4]
    specks = (longest < SPECK * longest.max()) | (area < 0.01 * area.max())
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


def _quantile(histogram: np.ndarray, share: float) -> int:
    """Return the grey level below which `share` of a histogram lies; 0 for an empty one."""
    return int(np.searchsorted(histogram.cumsum(), share * histogram.sum())) if histogram.any() else 0
