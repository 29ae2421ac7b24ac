"""Draw digits as people meet them: thin, tiny, inverted, on lined paper, in shadow, blurred; and spoil MNIST's own pictures.

Every condition turns a pen-stroke sample into a picture that takes the whole road of an upload; every corruption turns an MNIST
picture into a worse one (in the manner of MNIST-C, Mu and Gilmer 2019; the distortions are ours). Used to measure and to set
limits, never to learn.
"""

from collections.abc import Callable
from io import BytesIO

import cv2
import numpy as np
from PIL import Image

from data import PAD, draw
from hands import restyle, shake

Random = np.random.Generator


# --- pens and papers: a pen-stroke sample -> a picture ---------------------------------------------------------------------

def pad(sample, random: Random, width=(0.06, 0.10), size=(0.5, 0.75), at=None) -> np.ndarray:
    """Return a clean sketch, (280, 280) uint8; `width` is the pen's as a share of the digit, `size` the digit's of the pad."""
    size = random.uniform(*size)
    room = (1 - size) / 2 - 0.03
    at = at or (0.5 + random.uniform(-room, room), 0.5 + random.uniform(-room, room))
    return draw(sample, random.uniform(*width) * size * PAD, size, at)


def ink_on(sketch: np.ndarray, paper: np.ndarray, ink=(40, 40, 60)) -> np.ndarray:
    """Return (280, 280, 3) uint8: the sketch drawn in a colour on a paper (280, 280, 3)."""
    cover = 1 - sketch[:, :, None] / 255
    return (paper * (1 - cover) + np.array(ink) * cover).round().astype(np.uint8)


def tiny(sample, random: Random) -> np.ndarray:
    x, y = random.choice([0.13, 0.87], 2)
    return draw(sample, random.uniform(3, 5), 0.16, (x, y))


def transparent(sample, random: Random, level: int) -> np.ndarray:
    sketch = pad(sample, random)
    return np.dstack([np.full_like(sketch, level)] * 3 + [255 - sketch])


def coloured(sample, random: Random) -> np.ndarray:
    inks = [(200, 30, 30), (30, 60, 180), (20, 120, 60), (235, 200, 40), (150, 150, 150), (240, 130, 30)]
    return ink_on(pad(sample, random), np.full((PAD, PAD, 3), 255), inks[random.integers(len(inks))])


def ruled(sample, random: Random, squared: bool = False) -> np.ndarray:
    paper = np.full((PAD, PAD, 3), 250.0)
    step, start, colour = random.integers(24, 60), random.integers(0, 24), random.uniform(120, 215, 3)
    thick = random.integers(1, 3)
    for place in range(start, PAD, step):
        paper[place:place + thick] = colour
        if squared:
            paper[:, place:place + thick] = colour
    return ink_on(pad(sample, random), paper, (30, 30, 90))


def dotted(sample, random: Random) -> np.ndarray:
    paper = np.full((PAD, PAD, 3), 250.0)
    step, start, colour, side = random.integers(10, 24), random.integers(0, 10), random.uniform(110, 200, 3), random.integers(1, 3)
    places = np.flatnonzero((np.arange(PAD) - start) % step < side)
    paper[np.ix_(places, places)] = colour
    return ink_on(pad(sample, random), paper, (30, 30, 90))


def between_neighbours(sample, random: Random, gap=(0.015, 0.135)) -> np.ndarray:
    """Return a digit cut out of a number as forms and cheques give it: its box and 15 % around, one like it on either side.

    `gap` is what lies between two of them as a share of the box's width: below 0.15 a piece reaches in, below 0 they overlap.
    """
    points = np.concatenate(sample)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = 0.6 * PAD / max(float((high - low).max()), 1e-6)
    high = (high - low) * scale
    pen = random.uniform(0.06, 0.10) * high.max()
    wide = high[0] + pen
    away = [wide * side * (1 + random.uniform(*gap)) / scale for side in (-1, 0, 1)]
    rows = [[stroke + (across, 0) for stroke in (shake(sample, random, 0) if across else sample)] for across in away]
    sheet = np.full((2 * PAD, 2 * PAD), 255, np.uint8)
    for stroke in (stroke for row in rows for stroke in row):
        line = np.round(((stroke - low) * scale + PAD / 2) * 8).astype(np.int32)
        cv2.polylines(sheet, [np.repeat(line, 2, axis=0)[:, None]], False, 0, max(1, round(pen)), cv2.LINE_AA, shift=3)
    first, last = PAD / 2 - pen / 2 - 0.15 * (high + pen), PAD / 2 + high + pen / 2 + 0.15 * (high + pen)
    (left, top), (right, bottom) = first.astype(int), last.astype(int) + 1
    return np.ascontiguousarray(sheet[top:bottom, left:right])


def shadow(sample, random: Random) -> np.ndarray:
    y, x = np.mgrid[0:PAD, 0:PAD] / PAD - 0.5
    turn = random.uniform(0, 2 * np.pi)
    across = x * np.cos(turn) + y * np.sin(turn) + random.uniform(-0.2, 0.2)
    light = 0.45 + 0.55 / (1 + np.exp(-across / random.uniform(0.02, 0.2)))
    picture = ink_on(pad(sample, random), np.full((PAD, PAD, 3), (235, 230, 220)))
    return (picture * light[:, :, None] + random.normal(0, 3, (PAD, PAD, 1))).clip(0, 255).astype(np.uint8)


def framed(sample, random: Random) -> np.ndarray:
    picture = ink_on(pad(sample, random, size=(0.5, 0.7), at=(0.5, 0.5)), np.full((PAD, PAD, 3), 225))
    for side in random.choice(4, random.integers(1, 5), replace=False):
        np.rot90(picture, side)[:random.integers(4, 16)] = random.integers(10, 70)
    return picture


def boxed(sample, random: Random) -> np.ndarray:
    """A box of a form around the digit, which may touch it, with paper outside."""
    picture = pad(sample, random, size=(0.4, 0.55), at=(0.5, 0.5))
    x, y, wide, high = cv2.boundingRect(255 - picture)
    around = max(wide, high) * random.uniform(0.95, 1.3) / 2
    corner = np.round([x + wide / 2 - around, y + high / 2 - around]).astype(int)
    return cv2.rectangle(picture, corner, corner + round(2 * around), int(random.integers(20, 120)), int(random.integers(1, 5)))


TABLES = (120, 85, 60), (60, 60, 65), (175, 150, 120), (90, 105, 90), (185, 185, 190), (30, 30, 35)  # RGB; wood, stone, plastic


def on_a_table(picture: np.ndarray, random: Random) -> np.ndarray:
    """Return a photograph, (H, W, 3) uint8, of a grey picture as a sheet of paper on a table, turned by up to 15 degrees, in light
    that falls off to one side."""
    high, wide = picture.shape
    turn = random.uniform(-15, 15)
    size = np.array([wide, high]) + random.uniform(0.2, 0.6) * high + abs(np.sin(np.radians(turn))) * np.array([high, wide])
    matrix = cv2.getRotationMatrix2D((wide / 2, high / 2), turn, 1)
    matrix[:, 2] += (size - (wide, high)) / 2
    across, down = size.astype(int)
    cover, sheet = (cv2.warpAffine(layer, matrix, (across, down))[..., None] for layer in (
        np.ones_like(picture, np.float32), picture.astype(np.float32)))
    table = np.array(TABLES[random.integers(len(TABLES))]) + random.normal(0, 6, (down, across, 1))
    light = np.linspace(1, random.uniform(0.6, 1), across)[None, ::random.choice([-1, 1]), None]
    return ((sheet * cover + table * (1 - cover)) * light + random.normal(0, 3, (down, across, 1))).clip(0, 255).astype(np.uint8)


def scanned(picture: np.ndarray, random: Random) -> np.ndarray:
    """Return a scan, (H, W) uint8, of a grey picture, black ink on white: small, in grey ink on uneven paper, out of focus, with
    noise, from a JPEG file."""
    share = random.uniform(0.25, 0.6)  # of its sides
    cover = 1 - cv2.resize(picture, None, fx=share, fy=share, interpolation=cv2.INTER_AREA) / np.float32(255)
    high, wide = cover.shape
    grain = random.normal(0, random.uniform(0, 8), (high // 6 + 2, wide // 6 + 2))
    paper = random.uniform(170, 240) + cv2.resize(grain, (wide, high), interpolation=cv2.INTER_CUBIC)
    paper += random.uniform(-15, 15) * np.linspace(-1, 1, wide)
    sheet = cv2.GaussianBlur(paper * (1 - cover) + random.uniform(40, 120) * cover, (0, 0), random.uniform(0.3, 1))
    sheet += random.normal(0, random.uniform(1, 8), sheet.shape)
    return in_a_jpeg(sheet.clip(0, 255).astype(np.uint8), int(random.integers(40, 90)))


def in_a_jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    """Return what is left of a grey picture in a JPEG file."""
    file = BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def circled(sample, random: Random) -> np.ndarray:
    """A ring drawn around the digit with the same pen."""
    picture = pad(sample, random, size=(0.35, 0.45), at=(0.5, 0.5))
    x, y, wide, high = cv2.boundingRect(255 - picture)
    sides = tuple(int(random.uniform(0.75, 0.9) * max(side, 0.7 * max(wide, high))) for side in (wide, high))
    return cv2.ellipse(picture, (x + wide // 2, y + high // 2), sides, random.uniform(-20, 20), 0, 360, 0, 8, cv2.LINE_AA)


def underlined(sample, random: Random) -> np.ndarray:
    """A line below the digit with the same pen."""
    picture = pad(sample, random, size=(0.45, 0.6), at=(0.5, 0.42))
    x, y, wide, high = cv2.boundingRect(255 - picture)
    foot, more = y + high + random.uniform(0.12, 0.25) * high, random.uniform(0, 0.2) * high
    ends = [(x - more, foot), (x + wide + more, foot + random.normal(0, 0.03) * high)]
    return cv2.line(picture, *np.round(ends).astype(int), 0, 8, cv2.LINE_AA)


def blurred(sample, random: Random) -> np.ndarray:
    return cv2.GaussianBlur(pad(sample, random), (0, 0), random.uniform(4, 7))


def salted(sample, random: Random) -> np.ndarray:
    sketch = pad(sample, random)
    return np.where(random.random(sketch.shape) < 0.05, random.choice([0, 255], sketch.shape), sketch).astype(np.uint8)


def rotated(sample, random: Random) -> np.ndarray:
    turn = np.deg2rad(random.choice([-20, 20]))
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]], np.float32)
    return pad([stroke @ matrix.T for stroke in sample], random)


CONDITIONS: dict[str, Callable] = {
    "clean pad": pad,
    "thin pen": lambda sample, random: pad(sample, random, width=(0.006, 0.015)),
    "thick pen": lambda sample, random: pad(sample, random, width=(0.16, 0.22)),
    "tiny in a corner": tiny,
    "inverted": lambda sample, random: 255 - pad(sample, random),
    "transparent, dark ink": lambda sample, random: transparent(sample, random, 0),
    "transparent, light ink": lambda sample, random: transparent(sample, random, 255),
    "coloured ink": coloured,
    "lined paper": ruled,
    "squared paper": lambda sample, random: ruled(sample, random, squared=True),
    "dotted paper": dotted,
    "shadow": shadow,
    "frame at the edge": framed,
    "in a drawn box, which it may touch": boxed,
    "on a note on a table": lambda sample, random: on_a_table(pad(sample, random, size=(0.4, 0.6)), random),
    "circled": circled,
    "underlined": underlined,
    "pieces of neighbours at the edges": between_neighbours,
    "neighbours that touch or overlap": lambda sample, random: between_neighbours(sample, random, (-0.1, 0)),
    "JPEG, quality 20": lambda sample, random: in_a_jpeg(pad(sample, random), 20),
    "blur": blurred,
    "salt and pepper, 5 %": salted,
    "rotated 20 degrees": rotated,
    "tremor": lambda sample, random: pad(shake(sample, random, 0.05), random),
}

# written by `hands.restyle`; only their own digit is measured; what hands.HANDS does not have is never learned
STYLES = {"crossed 7": "7", "hooked 1": "1", "open 4": "4", "slashed 0": "0", "climbing 1": "1", "flat 0": "0", "hanging 9": "9"}


def is_restyled(name: str, sample) -> bool:
    """Say whether a style of STYLES changes a sample: a 4 of one stroke cannot be opened."""
    style, digit = name.split()
    return restyle(sample, digit, style) is not sample


def draw_style(name: str, sample, random: Random) -> np.ndarray:
    """Return a clean sketch of a sample in a style of STYLES."""
    style, digit = name.split()
    return pad(restyle(sample, digit, style), random)


# --- corruptions: an MNIST picture, (28, 28) uint8 -> a worse one ----------------------------------------------------------

def _warp(picture: np.ndarray, matrix) -> np.ndarray:
    """Return the picture moved by a 2x2 matrix about its middle."""
    matrix = np.array(matrix, np.float32)
    shift = np.array([13.5, 13.5]) - matrix @ [13.5, 13.5]
    return cv2.warpAffine(picture, np.column_stack([matrix, shift]), (28, 28))


def _mix(picture: np.ndarray, layer: np.ndarray) -> np.ndarray:
    """Return the lighter of two pictures, pixel by pixel."""
    return np.maximum(picture, layer.clip(0, 255).astype(np.uint8))


def rotate(picture, random):
    turn = np.deg2rad(random.choice([-1, 1]) * random.uniform(15, 30))
    return _warp(picture, [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])


def noise(picture, random):
    return (picture + random.normal(0, 40, picture.shape)).clip(0, 255).astype(np.uint8)


def fog(picture, random):
    cloud = cv2.resize(random.random((5, 5)), (28, 28), interpolation=cv2.INTER_CUBIC)
    return (picture * 0.55 + 110 * cloud).clip(0, 255).astype(np.uint8)


def stripes(picture, random):
    striped = picture.copy()
    striped[:, random.integers(0, 5)::7] = 180
    return striped


def zigzag(picture, random):
    line = np.zeros_like(picture)
    points = [(int(28 * step / 5), int(random.integers(2, 26))) for step in range(6)]
    cv2.polylines(line, [np.array(points)], False, 200, 1, cv2.LINE_AA)
    return _mix(picture, line)


def spatter(picture, random):
    blobs = cv2.GaussianBlur(random.normal(0, 1, picture.shape), (0, 0), 1.2)
    return _mix(picture, np.where(blobs > np.quantile(blobs, 0.94), 170, 0))


def glass_blur(picture, random):
    rows, columns = np.mgrid[0:28, 0:28]
    moved = picture[(rows + random.integers(-1, 2, (28, 28))).clip(0, 27), (columns + random.integers(-1, 2, (28, 28))).clip(0, 27)]
    return cv2.GaussianBlur(moved, (0, 0), 0.6)


def motion_blur(picture, random):
    return cv2.blur(picture, (5, 1)) if random.random() < 0.5 else cv2.blur(picture, (1, 5))


def edges_only(picture, random):
    return cv2.morphologyEx(picture, cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8))


def pixelated(picture, random):
    return cv2.resize(cv2.resize(picture, (12, 12), interpolation=cv2.INTER_AREA), (28, 28), interpolation=cv2.INTER_NEAREST)


LEARNED = {  # kinds of distortion that training uses too
    "rotation": rotate,
    "slant": lambda picture, random: _warp(picture, [[1, random.uniform(-0.45, 0.45)], [0, 1]]),
    "scale": lambda picture, random: _warp(picture, np.eye(2) * random.uniform(0.55, 0.8)),
    "shift": lambda picture, random: np.roll(picture, random.integers(-4, 5, 2), axis=(0, 1)),
    "noise": noise,
}
NEVER_LEARNED = {
    "fog": fog,
    "brightness": lambda picture, random: (picture * 0.45 + 130).clip(0, 255).astype(np.uint8),
    "low contrast": lambda picture, random: (picture * 0.2 + 90).astype(np.uint8),
    "stripes": stripes,
    "zigzag": zigzag,
    "spatter": spatter,
    "glass blur": glass_blur,
    "motion blur": motion_blur,
    "edges only": edges_only,
    "pixelated": pixelated,
    "inverted": lambda picture, random: 255 - picture,
}
