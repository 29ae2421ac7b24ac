"""Draw the pictures of examples/: handwritten-looking digits and numbers from strokes of our own, each hard in its own way."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

SEED = 7  # of every hand's wobble, every photograph's shadow; the same seed writes the same bytes
FINE = 4  # strokes are drawn this many times larger than the picture, then reduced: soft edges
FOLDER = Path(__file__).resolve().parent.parent / "examples"

# Every string is a smooth curve through points x,y, in hundredths of the digit's height, y downwards; one that ends where it
# began is a ring. A curve that begins where the last one ended is a corner; one that begins elsewhere is a new stroke.
SHAPES = {
    "0 round": ["54,3 33,9 18,36 22,76 46,97 71,82 81,46 72,15 54,3"],
    "0 open top": ["60,5 44,3 32,16 28,50 36,86 52,98 67,84 73,50 66,20 52,9"],
    "0 slashed": ["52,4 30,13 18,45 26,82 48,97 71,82 80,46 71,15 52,4", "86,3 66,30 36,70 16,96"],
    "1 stick": ["54,2 52,35 49,70 47,98"],
    "1 hooked": ["28,30 42,20 56,2", "56,2 55,40 53,98"],
    "1 footed": ["27,30 42,19 55,2", "55,2 54,40 53,95", "26,96 50,95 80,96"],
    "2 swan": ["19,27 29,9 50,2 72,12 74,33 56,60 35,80 15,96", "15,96 42,92 85,95"],
    "2 looped": ["21,22 38,4 62,5 74,24 63,54 40,84 24,95 13,89 20,79 40,86 62,95 88,88"],
    "3 round": ["22,15 42,3 66,8 72,27 58,42 40,47", "40,47 64,51 78,69 68,91 42,98 17,86"],
    "3 flat": ["20,6 48,5 76,3", "76,3 60,22 43,42", "43,42 66,45 80,66 68,91 42,98 17,88"],
    "4 open": ["31,6 27,30 20,58", "20,58 48,58 86,55", "68,8 67,50 64,98"],
    "4 closed": ["62,2 39,34 13,67", "13,67 46,67 86,64", "62,2 63,50 61,98"],
    "5 joined": ["78,4 52,5 30,5", "30,5 27,25 24,44", "24,44 46,38 69,46 77,67 66,90 42,98 17,89"],
    "5 detached": ["31,14 28,30 25,47", "25,47 46,40 69,48 76,68 65,90 42,98 17,89", "44,6 64,5 88,1"],
    "6 slender": ["62,2 42,20 28,46 24,74 37,95 58,96 73,79 66,60 48,56 27,70"],
    "6 wide": ["76,10 58,3 36,14 22,42 20,72 36,95 62,96 78,76 68,55 46,53 23,68"],
    "7 plain": ["17,7 48,7 82,4", "82,4 64,34 50,64 42,98"],
    "7 crossed": ["18,8 30,5 50,8 82,4", "82,4 62,36 48,66 41,98", "32,53 52,51 76,50"],
    "8 one line": ["51,3 35,9 31,25 48,45 68,60 75,78 65,94 49,98 31,92 25,76 33,59 54,44 69,25 66,9 51,3"],
    "8 two rings": ["50,3 36,10 34,32 50,45 66,34 66,11 50,3", "50,45 30,56 24,80 50,98 76,82 71,56 50,45"],
    "9 straight": ["73,14 52,3 31,14 28,36 46,50 65,40 74,13", "74,13 72,50 67,98"],
    "9 curled": ["72,15 52,3 30,13 26,36 44,50 64,40 74,14", "74,14 78,50 68,86 46,98 23,90"],
}
SIGNS = {"comma": ["12,90 15,98 6,118"], "dash": ["5,52 24,50 44,51"]}  # among the digits of a number


class Pen(NamedTuple):
    colour: tuple[int, int, int]  # red, green, blue, 0 to 255
    width: float  # share of the digit's height
    bare: float = 0.0  # share of the stroke where the grain of the paper takes less ink


BLACK = Pen((24, 24, 28), 0.055)
THIN = Pen((30, 30, 34), 0.014)
MARKER = Pen((20, 20, 22), 0.17)
BLUE = Pen((30, 58, 158), 0.045)
RED = Pen((200, 34, 44), 0.06)
PENCIL = Pen((84, 84, 88), 0.04, bare=0.6)
HIGHLIGHTER = Pen((246, 214, 40), 0.14)
CHALK = Pen((238, 238, 230), 0.075, bare=0.7)
WHITE = Pen((255, 255, 255), 0.06)
FAINT = Pen((190, 188, 184), 0.06)


def plain(*colour):
    """Return a paper of one colour. A paper is a function of height and width that returns (H, W, 3) float, 0 to 255."""
    return lambda height, width: np.full((height, width, 3), colour, float)


def lined(count, colour, squares=False):
    """Return writing paper with `count` lines, or rows of squares, to its height."""
    def paper(height, width):
        sheet, pitch = plain(251, 250, 247)(height, width), height // count
        sheet[(np.arange(height) + pitch // 2) % pitch <= pitch // 50] = colour
        if squares:
            sheet[:, (np.arange(width) + pitch // 3) % pitch == 0] = colour
        return sheet
    return paper


CLEAR = None  # no paper at all: a transparent picture
SNOW, NIGHT, CREAM, MIST = plain(255, 255, 255), plain(0, 0, 0), plain(240, 232, 214), plain(222, 221, 218)
RULED, SQUARED = lined(5, (168, 192, 224)), lined(10, (196, 206, 216), squares=True)
GREEN_BOARD, BLACK_BOARD = plain(50, 98, 75), plain(52, 54, 56)


class Example(NamedTuple):
    shape: str  # of SHAPES; of a number several of SHAPES and SIGNS, from left to right, commas between them
    pen: Pen
    paper: Callable | None
    size: tuple[int, int] = (280, 280)  # pixels; width, height
    tall: float = 0.7  # the digit's height as a share of the sheet's
    at: tuple[float, float] = (0.5, 0.5)  # the digit's middle as shares of the sheet's width and height
    tilt: float = 0.0  # degrees, clockwise
    finish: str = ""  # "photo", "16 bit" or "sideways"
    gap: float = 0.14  # between the shapes of a number, a share of the height


EXAMPLES = {
    "0_black_on_white.png": Example("0 round", BLACK, SNOW),
    "0_slashed_blue_ink.png": Example("0 slashed", BLUE, CREAM, (240, 300)),
    "0_small_in_corner.png": Example("0 open top", BLACK, SNOW, (900, 700), tall=0.09, at=(0.91, 0.89)),
    "1_footed_ruled_paper.png": Example("1 footed", BLUE, RULED, (360, 300), tall=0.5, at=(0.45, 0.54)),
    "1_hooked_white_on_black.png": Example("1 hooked", WHITE, NIGHT, (200, 200)),
    "1_stick_tilted.webp": Example("1 stick", BLACK, SNOW, (300, 300), tilt=6),
    "2_dark_on_transparent.png": Example("2 swan", BLACK, CLEAR, (256, 256)),
    "2_looped_pencil.png": Example("2 looped", PENCIL, SNOW, (320, 320), tall=0.6),
    "2_squared_paper.png": Example("2 swan", BLUE, SQUARED, (420, 340), tall=0.5, at=(0.55, 0.47)),
    "3_flat_top_red_ink.jpg": Example("3 flat", RED, SNOW, (300, 360), tall=0.6),
    "3_lined_paper.jpg": Example("3 round", BLACK, RULED, (480, 480), tall=0.39, at=(0.4, 0.5), finish="photo"),
    "3_thick_marker.png": Example("3 round", MARKER, SNOW, (260, 260), tall=0.65),
    "4_black_board.jpg": Example("4 closed", CHALK, BLACK_BOARD, (420, 360), tall=0.55, finish="photo"),
    "4_open_thin_pen.png": Example("4 open", THIN, SNOW, (400, 400), tall=0.6),
    "4_photo_sideways_exif.jpg": Example("4 open", BLUE, CREAM, (360, 480), tall=0.4, finish="sideways"),
    "5_detached_top.png": Example("5 detached", BLACK, SNOW, (240, 280)),
    "5_light_on_transparent.png": Example("5 joined", WHITE, CLEAR, (220, 220)),
    "5_yellow_highlighter.png": Example("5 joined", HIGHLIGHTER, SNOW, (300, 300), tall=0.6),
    "6_chalk_on_green_board.jpg": Example("6 slender", CHALK, GREEN_BOARD, (480, 360), tall=0.55, finish="photo"),
    "6_photo_in_shadow.jpg": Example("6 wide", BLUE, CREAM, (600, 450), tall=0.45, at=(0.45, 0.52), finish="photo"),
    "6_tiny_picture.png": Example("6 wide", BLACK, SNOW, (64, 64), tall=0.8),
    "7_crossed_transparent.png": Example("7 crossed", BLUE, CLEAR, (300, 300)),
    "7_plain_red_marker.webp": Example("7 plain", RED._replace(width=0.11), CREAM, (320, 260), tall=0.6, at=(0.4, 0.5)),
    "7_tilted_squared_paper.jpg": Example("7 crossed", PENCIL, SQUARED, (480, 400), tall=0.45, tilt=12, finish="photo"),
    "8_low_contrast.png": Example("8 one line", FAINT, MIST, (280, 280), tall=0.6),
    "8_sixteen_bit_grey.png": Example("8 two rings", BLACK, SNOW, (200, 240), finish="16 bit"),
    "8_tilted_left_white_on_black.png": Example("8 one line", WHITE, NIGHT, (240, 240), tilt=-20),
    "9_curled_thick_on_transparent.png": Example("9 curled", MARKER._replace(width=0.13), CLEAR, (180, 240)),
    "9_photo_far_away.jpg": Example("9 curled", BLACK, CREAM, (800, 600), tall=0.12, at=(0.3, 0.62), finish="photo"),
    "9_straight_thin_white_on_black.png": Example("9 straight", WHITE._replace(width=0.018), NIGHT, (280, 280)),
    "90210_postcode.png": Example("9 curled,0 round,2 swan,1 hooked,0 open top", BLUE, CREAM, (560, 180), tall=0.5),
    "2026_touching.png": Example("2 swan,0 round,2 looped,6 slender", BLACK, SNOW, (420, 180), tall=0.6, gap=0.02),
    "36581_white_on_black.png": Example("3 flat,6 wide,5 joined,8 one line,1 stick", WHITE, NIGHT, (520, 160)),
    "124950_amount_with_comma.jpg": Example("1 hooked,2 swan,4 closed,9 straight,comma,5 joined,0 round", BLACK, RULED, (720, 300),
                                            tall=0.32, at=(0.5, 0.5), finish="photo"),
    "0307_with_dash.png": Example("0 slashed,3 round,dash,0 round,7 crossed", RED, SQUARED, (480, 200), tall=0.45),
}


def trace(curve: str) -> np.ndarray:
    """Return (N, 2) points of the smooth curve through a string's points (Catmull-Rom), x and y from 0 to 1."""
    points = np.array([pair.split(",") for pair in curve.split()], float) / 100
    ring = (points[0] == points[-1]).all()
    before, after = (points[-2], points[1]) if ring else (2 * points[0] - points[1], 2 * points[-1] - points[-2])
    points = np.vstack([before, points, after])
    a, b, c, d = (points[k:len(points) - 3 + k, None] for k in range(4))  # each (spans, 1, 2)
    t = np.linspace(0, 1, 80)[:, None]
    return (b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))).reshape(-1, 2)


def lay_out(example: Example) -> list[np.ndarray]:
    """Return the curves (N, 2) of an example's shapes side by side, x and y in heights of a digit; the middle is at (0.5, 0.5)."""
    shapes, curves, end = example.shape.split(","), [], 0.0
    if len(shapes) == 1:
        return [trace(curve) for curve in SHAPES[example.shape]]
    for shape in shapes:
        drawn = [trace(curve) for curve in (SHAPES | SIGNS)[shape]]
        left, right = (edge(np.concatenate(drawn)[:, 0]) for edge in (np.min, np.max))
        curves += [points + (end - left, 0) for points in drawn]
        end += right - left + example.gap
    return [points + (0.5 - (end - example.gap) / 2, 0) for points in curves]


def draw_strokes(example: Example, rng) -> np.ndarray:
    """Return (H, W) float, 0 to 1, how much of each pixel the pen covers: round caps, a hand's wobble, uneven pressure."""
    width, height = example.size
    waves = [(rng.normal(size=2) * pitch, rng.uniform(0, 7, 3), size) for pitch, size in ((3.5, 0.018), (9, 0.004))]
    cos, sin = np.cos(np.radians(example.tilt)), np.sin(np.radians(example.tilt))
    turn = np.array([[1, 0], [-rng.uniform(0, 0.12), 1]]) @ [[cos, sin], [-sin, cos]]  # every hand slants its digits a little
    cover = np.zeros((height * FINE, width * FINE), np.uint8)
    for points in lay_out(example):
        bent = points + sum(size * np.sin(points @ pitch[:, None] + phase[:2]) for pitch, phase, size in waves)
        pressure = 1 + 0.13 * np.sin(points @ waves[0][0] + waves[0][1][2])
        places = (bent - 0.5) @ turn * example.tall * height + np.multiply(example.at, (width, height))
        radii = pressure * example.pen.width * example.tall * height / 2
        for (x, y), radius in zip(places * FINE * 16, radii * FINE * 16, strict=True):  # shift=4: sixteenths of a pixel
            cv2.circle(cover, (round(x), round(y)), round(radius), 255, cv2.FILLED, cv2.LINE_8, shift=4)
    cover = cv2.resize(cover, (width, height), interpolation=cv2.INTER_AREA) / 255
    if example.pen.bare:
        grain = cv2.GaussianBlur(rng.uniform(size=cover.shape), (0, 0), 0.8)
        cover *= np.clip((grain - grain.min()) / (np.quantile(grain, example.pen.bare) - grain.min()), 0, 1) ** 2
    return cover


def photograph(sheet: np.ndarray, rng) -> np.ndarray:
    """Return the sheet as a telephone sees it: a soft shadow over one side, a little out of focus, noise."""
    height, width, _ = sheet.shape
    y, x = np.mgrid[:height, :width] / max(height, width)
    angle = rng.uniform(0, 2 * np.pi)
    across = (x - 0.5) * np.cos(angle) + (y - 0.4) * np.sin(angle)
    light = (0.95 - 0.15 * across) * (1 - 0.3 / (1 + np.exp(-across * 14)))
    return cv2.GaussianBlur(sheet * light[:, :, None], (0, 0), 0.7) + rng.normal(scale=2.5, size=(height, width, 1))


def draw(example: Example, rng) -> Image.Image:
    """Return the picture of one example."""
    cover = draw_strokes(example, rng)[:, :, None]  # (H, W, 1)
    ink = np.full((*cover.shape[:2], 3), example.pen.colour, float)
    if example.paper is CLEAR:
        return Image.fromarray(np.dstack([ink, 255 * cover]).round().astype(np.uint8))
    sheet = example.paper(*cover.shape[:2]) * (1 - cover) + ink * cover
    if example.finish == "16 bit":
        return Image.fromarray((sheet.mean(axis=2) * 257).astype(np.uint16))
    if example.finish:
        sheet = photograph(sheet, rng)
    sheet = sheet.round().clip(0, 255).astype(np.uint8)
    return Image.fromarray(np.rot90(sheet) if example.finish == "sideways" else sheet)


def main() -> None:
    """Write every example into the folder that the command line names, and say how many there are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder to write to (default: examples/)")
    folder = parser.parse_args().out
    folder.mkdir(exist_ok=True)
    for number, (name, example) in enumerate(EXAMPLES.items()):
        image = draw(example, np.random.default_rng([SEED, number]))
        exif = Image.Exif()
        if example.finish == "sideways":
            exif[0x0112] = 6  # EXIF orientation: turn by 90 degrees clockwise to see it upright
        image.save(folder / name, quality=85, exif=exif)
    print(f"{len(EXAMPLES)} pictures in {folder}, seed {SEED}")


if __name__ == "__main__":
    main()
