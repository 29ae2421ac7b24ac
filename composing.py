"""Compose numbers of pen strokes, spaced or touching, and measure how many of them are read as a whole."""

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from conditions import BROKEN, pad
from data import NO_DIGIT, Pictures, Strokes, name_of
from decode import open_picture
from fields import FieldReader, NumberReading
from lattice import candidates_of
from measures import ERROR_TARGETS, error_limit, share
from preprocess import crop, ink_box
from segments import cut, find_field, picture_of

LONGEST = 10  # digits of a composed number
COMPOSED = 500  # numbers of each kind
BY_A_MACHINE = 0.03  # share of wrong strings that is accepted where nobody looks at the sure ones
SEED = 12345  # of every composed number and every pen


# --- drawing --------------------------------------------------------------------------------------------------------------

def ink_of(sample: list[np.ndarray] | np.ndarray, high: float, pen: int, rows: int, foot: float) -> np.ndarray:
    """Return the ink of a sample (rows, W) uint8, white on black, cropped to its columns: its longest side is `high`, and it stands
    on the row `foot`. Strokes are drawn with the pen; a picture (28, 28) of MNIST's is enlarged."""
    if isinstance(sample, np.ndarray):
        digit = crop(sample, ink_box(sample))
        scale = high / max(digit.shape)
        digit = cv2.resize(digit, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        sheet = np.zeros((rows, digit.shape[1]), np.uint8)
        sheet[int(foot) - len(digit):int(foot)] = digit
        return sheet
    points = np.concatenate(sample)
    low, size = points.min(axis=0), np.ptp(points, axis=0)
    scale = high / max(float(size.max()), 1e-6)
    sheet = np.zeros((rows, int(size[0] * scale) + 3 * pen), np.uint8)
    for stroke in sample:
        line = np.round(((stroke - low - (0, size[1])) * scale + (1.5 * pen, foot)) * 8).astype(np.int32)
        if len(line) == 1:
            line = np.repeat(line, 2, axis=0)
        cv2.polylines(sheet, [line[:, None]], False, 255, pen, cv2.LINE_AA, shift=3)
    columns = np.flatnonzero(sheet.max(axis=0))
    return sheet[:, columns[0]:columns[-1] + 1]


def compose(strokes: Strokes, count: int, seed: int, touching: bool) -> tuple[list[np.ndarray], list[str]]:
    """Return numbers of 1 to LONGEST digits, black on white, and their digits; each of one hand and one pen.

    Spaced ones leave 3 to 30 % of a digit's height between the ink of two neighbours. Touching ones are pushed together until
    their ink meets, or until they overlap by a tenth of the height where nothing of theirs is in one another's way.
    """
    random, hands = np.random.default_rng(seed), hands_of(strokes)
    numbers = [compose_one(strokes, hands, random, touching) for _ in range(count)]
    return [255 - ink for ink, _, _ in numbers], [text for _, _, text in numbers]


def hands_of(strokes: Strokes) -> list[np.ndarray]:
    """Return the rows of every writer's digits that are whole (conditions.BROKEN), of those who wrote ten or more."""
    kept = np.char.isdigit(strokes.labels) & [name_of(sample) not in BROKEN for sample in strokes.samples]
    rows = [np.flatnonzero(kept & (strokes.writers == writer)) for writer in np.unique(strokes.writers)]
    return [each for each in rows if len(each) >= 10]


def compose_one(strokes: Strokes, hands: list[np.ndarray], random: np.random.Generator,
                touching: bool) -> tuple[np.ndarray, np.ndarray, str]:
    """Return (ink, owners, text) of a number: ink (H, W) uint8, and of every pixel which digit it belongs to, from 1, or 0."""
    chosen = random.choice(hands[random.integers(len(hands))], random.integers(1, LONGEST + 1))
    high = random.uniform(40, 110)
    pen, tall = max(2, round(high * random.uniform(0.05, 0.12))), int(2.4 * high)
    sheet, end = np.zeros((tall, int((len(chosen) + 1) * 1.7 * high)), np.uint8), int(0.5 * high)
    owners, edge = np.zeros(sheet.shape, np.uint8), None  # edge: the rightmost ink of the digit before, in every row
    for number, row in enumerate(chosen, 1):
        ink = ink_of(strokes.samples[row], high * random.uniform(0.8, 1.1), pen, tall, high * random.uniform(1.62, 1.78))
        inked = ink > 127
        left = np.where(inked.any(axis=1), inked.argmax(axis=1), 10**6)
        x = end if edge is None else end + round(random.uniform(0.03, 0.3) * high)
        if touching and edge is not None:
            x = max(int((edge - left).max()) + 1 - int(random.integers(0, 2)), end - int(0.1 * high))
        place = slice(x, x + ink.shape[1])
        owners[:, place][ink > np.maximum(sheet[:, place], 16)] = number
        sheet[:, place] = np.maximum(sheet[:, place], ink)
        edge = np.where(inked.any(axis=1), x + ink.shape[1] - 1 - inked[:, ::-1].argmax(axis=1), -10**6)
        end = x + ink.shape[1]
    width = end + int(0.5 * high)
    return sheet[:, :width], owners[:, :width], "".join(strokes.labels[chosen])


def render_cuts(strokes: Strokes, count: int, seed: int) -> Pictures:
    """Return what `count` composed numbers give that are cut as `fields.py` cuts them: digits, each of pieces that hold nearly all
    of it and next to nothing else, and as NO_DIGIT what mixes two of them (LeCun et al. 1998, section VII, learn from both)."""
    random, hands = np.random.default_rng(seed), hands_of(strokes)
    seen, labels = [], []
    for _ in range(count if hands else 0):
        ink, owners, text = compose_one(strokes, hands, random, random.random() < 0.8)
        field = find_field(255 - ink)
        pieces = field and cut(field.ink)
        if pieces is None:
            continue
        rows, columns = np.nonzero(pieces.labels)
        across = np.round(field.origin[0] + field.scale * (columns - field.slant * rows - field.shift)).astype(int)
        down = np.round(field.origin[1] + field.scale * rows).astype(int)
        owner = owners[down.clip(0, len(owners) - 1), across.clip(0, owners.shape[1] - 1)]
        counts = np.zeros((len(pieces.boxes), len(text) + 1))
        np.add.at(counts, (pieces.labels[rows, columns] - 1, owner), 1)
        counts, whole = counts[:, 1:], counts[:, 1:].sum(axis=0)
        right, mixed = {}, []
        for _, _, chosen in candidates_of(pieces):
            held = counts[chosen].sum(axis=0)
            digit = int(held.argmax())
            purity, share_of_it = held[digit] / max(held.sum(), 1), held[digit] / max(whole[digit], 1)
            if purity > 0.9 and share_of_it > 0.85:
                right.setdefault(digit, []).append(chosen)
            elif purity < 0.6:
                mixed.append(chosen)
        taken = [(ways[random.integers(len(ways))], int(text[digit])) for digit, ways in right.items()]
        taken += [(mixed[random.integers(len(mixed))], NO_DIGIT) for _ in range(min(2, len(mixed)))]
        for chosen, label in taken:
            seen.append(picture_of(field.ink, pieces, chosen))
            labels.append(label)
    if not seen:
        return Pictures(torch.zeros(0, 28, 28, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64))
    return Pictures(torch.from_numpy(np.stack(seen)), torch.tensor(labels))


def draw_numbers(strokes: Strokes, seed: int) -> list[np.ndarray]:
    """Return whole numbers as their writers wrote them, black on white, each with a height and a pen of its own."""
    random = np.random.default_rng(seed)
    pictures = []
    for sample, text in zip(strokes.samples, strokes.labels, strict=True):
        high = random.uniform(50, 110)
        wide, tall = np.ptp(np.concatenate(sample), axis=0)
        scale = high / max(float(tall), 0.5 * float(wide) / len(text), 1e-6)
        ink = ink_of(sample, max(wide, tall) * scale, max(2, round(high * random.uniform(0.05, 0.12))), int(3 * high), 2 * high)
        pictures.append(255 - np.pad(ink, ((0, 0), (int(0.4 * high),) * 2)))
    return pictures


# --- measuring ------------------------------------------------------------------------------------------------------------

def right_ones(readings: Sequence[NumberReading], texts: Sequence[str]) -> np.ndarray:
    """Return (N,) bool: which strings are right as a whole."""
    return np.array([reading.text == text for reading, text in zip(readings, texts, strict=True)])


def calibrate_numbers(reader: FieldReader, strokes: Strokes) -> dict:
    """Return what turns a reader's doubts into confidence and verdicts, from composed numbers, spaced and touching: the weights of
    a logistic regression, and for every error target, and for BY_A_MACHINE, the least confidence that keeps it
    (`measures.error_limit`). {} where no writer wrote ten digits: a reader then does without."""
    doubts, right = [], []
    for touching in (False, True) if hands_of(strokes) else ():
        for picture, text in zip(*compose(strokes, COMPOSED, SEED + 1, touching), strict=True):
            reading = reader.read(picture)
            if reading.doubts is not None:
                doubts.append([*reading.doubts, 1.0])
                right.append(reading.text == text)
    if not doubts:
        return {}
    features, right = np.array(doubts), np.array(right)
    weights = logistic(features, right)
    confidence = 1 / (1 + np.exp(-features @ weights))
    errors = [error_limit(confidence, ~right, target) for target in (*ERROR_TARGETS, BY_A_MACHINE)]
    return {"weights": weights.tolist(), "errors": errors}


def logistic(features: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the weights (F,) of a logistic regression of `right` (N,) on features (N, F), by Newton's method, slightly damped."""
    weights = np.zeros(features.shape[1])
    for _ in range(60):
        shares = 1 / (1 + np.exp(-np.clip(features @ weights, -30, 30)))
        curvature = (features * (shares * (1 - shares) + 1e-6)[:, None]).T @ features + 0.01 * np.eye(len(weights))
        weights -= np.linalg.solve(curvature, features.T @ (shares - right) + 0.01 * weights)
    return weights


def measure_numbers(reader: FieldReader, digits: Strokes, numbers: Strokes | None, mnist: Pictures) -> dict:
    """Return shares of strings that are right as a whole: numbers composed of unseen writers' digits and of MNIST's pictures,
    spaced and touching; numbers that unseen writers wrote; and of sketches of one digit, how many are read as one digit."""
    found = {}
    pictured = Strokes(list(mnist.seen.numpy()), mnist.labels.numpy().astype(str), np.full(len(mnist), "MNIST"))
    for whose, source in (("drawings", digits), ("MNIST", pictured)):
        for how, touching in (("spaced", False), ("touching", True)):
            pictures, texts = compose(source, COMPOSED, SEED, touching)
            right = right_ones([reader.read(picture) for picture in pictures], texts)
            found[f"composed of {whose}, {how}"] = share(right.sum(), len(texts))
    if numbers is not None and len(numbers):
        right = right_ones([reader.read(picture) for picture in draw_numbers(numbers, SEED)], numbers.labels)
        found["numbers of unseen writers"] = share(right.sum(), len(right))
    random = np.random.default_rng(SEED)
    samples = [sample for sample, label in zip(digits.samples, digits.labels, strict=True) if label.isdigit()]
    lone = sum(len(reader.read(pad(sample, random)).text) == 1 for sample in samples)
    found["one digit stays one digit"] = share(lone, len(samples))
    return found


def measure_fields(reader: FieldReader, tables: str) -> dict:
    """Return, for every table of labelled pictures that has boxes of several digits, commas between their names, the share of
    strings that are right as a whole, how many are answered without a person where BY_A_MACHINE of the composed numbers are wrong,
    and how many of those are right."""
    found = {}
    for table in map(Path, tables.split(",")):
        with open(table, newline="", encoding="utf-8") as file:
            rows = [(row["file"], row["label"]) for row in csv.DictReader(file) if row.get("boxes_xywh")]
        if rows:
            readings = [reader.read(open_picture(table.parent / name)) for name, _ in rows]
            right = right_ones(readings, [text for _, text in rows])
            found[table.resolve().parent.name] = kinds = {"whole": share(right.sum(), len(rows))}
            if (least := reader.limits.get(BY_A_MACHINE)) is not None:
                sure = np.array([reading.confidence >= least for reading in readings])
                kinds["without a person"] = share(sure.sum(), len(rows))
                kinds["right without a person"] = share(right[sure].sum(), max(1, int(sure.sum())))
    return found
