"""Compose numbers of pen strokes, spaced or touching, and measure how many of them are read as a whole."""

from collections.abc import Iterable, Sequence
from itertools import product

import cv2
import numpy as np
import torch

from conditions import on_a_table, pad, scanned
from data import LOOK_ALIKES, NO_DIGIT, Pictures, Strokes, are_whole, read_table, tables_of
from fields import STRING_ERROR, FieldReader, NumberReading
from hands import in_another_hand
from lattice import groups_of
from measures import error_limits, share
from preprocess import crop, ink_box
from segments import cut, find_field, picture_of, tilt

LONGEST = 10  # digits of a composed number
JOINED = 0.3  # share of the numbers learned from that are written without lifting the pen everywhere
LEANING, LEAN = 0.5, 0.45  # share of them that lean, and their greatest lean, in pixels across per pixel up
SIGNED = 0.3  # share of them that have a sign or a letter among their digits
COMPOSED = 500  # numbers of each kind
BY_A_MACHINE = 0.03  # share of wrong strings that is accepted where nobody looks at the sure ones
SEED = 12345  # of every composed number and every pen


# --- drawing --------------------------------------------------------------------------------------------------------------

MARKS = (  # dot, comma and dash as lines (N, 2), in heights of a digit, from the foot of the line
    lambda random: np.array([[0, 0], [0.02, 0.02]]),
    lambda random: np.array([[0.03, -0.03], [0.05, 0.03], [-0.05, random.uniform(0.1, 0.25)]]),
    lambda random: np.array([[0, -0.35], [random.uniform(0.15, 1.0), -0.35 - random.uniform(-0.1, 0.2)]]),
)


def ink_of(sample: list[np.ndarray] | np.ndarray, high: float, pen: int, rows: int,
           foot: float) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the ink of a sample (rows, W) uint8, white on black, cropped to its columns: its longest side is `high`, and it stands
    on the row `foot`; and where in it the pen began and ended, (2, 2) x and y. Strokes are drawn with the pen; a picture (28, 28)
    of MNIST's is enlarged, and where its pen went is not known."""
    if isinstance(sample, np.ndarray):
        digit = crop(sample, ink_box(sample))
        scale = high / max(digit.shape)
        digit = cv2.resize(digit, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        sheet = np.zeros((rows, digit.shape[1]), np.uint8)
        sheet[int(foot) - len(digit):int(foot)] = digit
        return sheet, None
    points = np.concatenate(sample)
    low, size = points.min(axis=0), np.ptp(points, axis=0)
    scale = high / max(float(size.max()), 1e-6)
    sheet = np.zeros((rows, int(size[0] * scale) + 3 * pen), np.uint8)
    lines = [(stroke - low - (0, size[1])) * scale + (1.5 * pen, foot) for stroke in sample]
    for line in lines:
        draw_line(sheet, line, pen)
    columns = np.flatnonzero(sheet.max(axis=0))
    return sheet[:, columns[0]:columns[-1] + 1], np.array([lines[0][0], lines[-1][-1]]) - (columns[0], 0)


def draw_line(sheet: np.ndarray, line: np.ndarray, pen: int) -> None:
    """Draw a line (N, 2) of points x and y on a sheet."""
    points = np.round(line * 8).astype(np.int32)  # eighths of a pixel
    points = np.repeat(points, 2, axis=0) if len(points) == 1 else points
    cv2.polylines(sheet, [points[:, None]], False, 255, pen, cv2.LINE_AA, shift=3)


def ligature(start: np.ndarray, end: np.ndarray, sag: float) -> np.ndarray:
    """Return a line (9, 2) from one point to another that hangs through by `sag` pixels."""
    way = np.linspace(0, 1, 9)[:, None]
    return start + way * (end - start) + 4 * way * (1 - way) * (0, sag)


def shortened(sample: list[np.ndarray], share: float) -> list[np.ndarray]:
    """Return a sample whose last stroke ends earlier, by a share of its points."""
    return [*sample[:-1], sample[-1][:max(2, round((1 - share) * len(sample[-1])))]]


def compose(strokes: Strokes, count: int, seed: int, touching: bool, free: bool = False) -> tuple[list[np.ndarray], list[str]]:
    """Return numbers of 1 to LONGEST digits, black on white, and their digits; each of one hand and one pen, or written freely, as
    `compose_one` says.

    Spaced ones leave 3 to 30 % of a digit's height between the ink of two neighbours. Touching ones are pushed together until
    their ink meets, or until they overlap by a tenth of the height where nothing of theirs is in one another's way.
    """
    random, hands = np.random.default_rng(seed), hands_of(strokes)
    signs = signs_of(strokes) if free else None
    numbers = [compose_one(strokes, hands, random, touching, signs) for _ in range(count)]
    return [255 - ink for ink, _, _ in numbers], ["".join(filter(str.isdigit, labels)) for _, _, labels in numbers]


def signs_of(strokes: Strokes) -> np.ndarray:
    """Return the rows of what is no digit and does not look like one."""
    return np.flatnonzero(~np.char.isdigit(strokes.labels) & ~np.isin(strokes.labels, list(LOOK_ALIKES)))


def hands_of(strokes: Strokes) -> list[np.ndarray]:
    """Return the rows of every writer's digits that are whole (data.BROKEN), of those who wrote ten or more."""
    kept = np.char.isdigit(strokes.labels) & are_whole(strokes.samples)
    rows = [np.flatnonzero(kept & (strokes.writers == writer)) for writer in np.unique(strokes.writers)]
    return [each for each in rows if len(each) >= 10]


def compose_one(strokes: Strokes, hands: list[np.ndarray], random: np.random.Generator, touching: bool,
                signs: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return (ink, owners, labels) of a number: ink (H, W) uint8, and of every pixel which digit it belongs to, from 1, or 0.

    With the rows of `signs` it is written freely: every digit in another hand (`hands.in_another_hand`), zeros smaller in some,
    dots, commas and dashes that belong to nobody in some, a sign among the digits in some. Some lean, and some are joined: lines
    that belong to nobody lead from one digit to the next, and zeros, of which there are more at the end, stay open.
    """
    hand = hands[random.integers(len(hands))]
    chosen = random.choice(hand, random.integers(1, LONGEST + 1))
    joined = signs is not None and random.random() < JOINED
    if joined and len(zeros := hand[strokes.labels[hand] == "0"]):
        chosen[-2:] = random.choice(zeros, len(chosen[-2:]))
    if signs is not None and len(signs) and random.random() < SIGNED:
        chosen[random.integers(len(chosen))] = random.choice(signs)
    high = random.uniform(40, 110)
    pen, tall = max(2, round(high * random.uniform(0.05, 0.12))), int(2.4 * high)
    sheet, end = np.zeros((tall, int((len(chosen) + 1) * 3 * high)), np.uint8), int(0.5 * high)  # a wide digit and a long dash
    owners, edge = np.zeros(sheet.shape, np.uint8), None  # edge: the rightmost ink of the digit before, in every row
    left_off = None  # where the pen ended the digit before
    small, dotted = (1.0, 0.0) if signs is None else (random.choice([1, random.uniform(0.5, 0.9)]), random.choice([0, 0.25]))
    for number, row in enumerate(chosen, 1):
        sample = strokes.samples[row]
        if signs is not None and isinstance(sample, list):
            sample = in_another_hand(sample, strokes.labels[row], random)
            if joined and strokes.labels[row] == "0":
                sample = shortened(sample, random.uniform(0, 0.2))
        tallness = random.uniform(0.8, 1.1) * (small if strokes.labels[row] == "0" else 1)
        ink, ends = ink_of(sample, high * tallness, pen, tall, high * random.uniform(1.62, 1.78))
        inked = ink > 127
        left = np.where(inked.any(axis=1), inked.argmax(axis=1), 10**6)
        x = end if edge is None else end + round(random.uniform(0.03, 0.3) * high)
        if touching and edge is not None:
            x = max(int((edge - left).max()) + 1 - int(random.integers(0, 2)), end - int(0.1 * high))
        place = slice(x, x + ink.shape[1])
        owners[:, place][ink > np.maximum(sheet[:, place], 16)] = number
        sheet[:, place] = np.maximum(sheet[:, place], ink)
        if joined and ends is not None:
            begun, ended = ends + (x, 0)
            if left_off is not None and 0 < begun[0] - left_off[0] < high and random.random() < 0.7:
                draw_line(sheet, ligature(left_off, begun, random.normal(0, 0.08) * high), pen)
            left_off = ended
        edge = np.where(inked.any(axis=1), x + ink.shape[1] - 1 - inked[:, ::-1].argmax(axis=1), -10**6)
        end = x + ink.shape[1]
        if dotted and random.random() < dotted:
            mark = random.choice(MARKS)(random) * high
            draw_line(sheet, mark - (mark[:, 0].min(), 0) + (end + pen + random.uniform(0.02, 0.15) * high, 1.7 * high), pen)
            end, edge = end + int(np.ptp(mark[:, 0])) + 3 * pen, np.full_like(edge, -10**6)
            left_off = None
    width = end + int(0.5 * high)
    sheet, owners = sheet[:, :width], owners[:, :width]
    if signs is not None and random.random() < LEANING:
        lean = -random.uniform(0, LEAN)
        sheet, owners = tilt(sheet, lean), tilt(owners, lean, cv2.INTER_NEAREST)
    return sheet, owners, strokes.labels[chosen].tolist()


def as_strokes(mnist: Pictures) -> Strokes:
    """Return MNIST's pictures as samples of one hand, so that numbers can be composed of them."""
    return Strokes(list(mnist.seen.numpy()), mnist.labels.numpy().astype(str), np.full(len(mnist), "MNIST"))


def render_cuts(strokes: Strokes, mnist: Pictures, count: int, seed: int) -> Pictures:
    """Return what `count` numbers, two thirds of strokes and a third of MNIST's pictures, give that are cut as `fields.py` cuts
    them: digits, each of pieces that hold nearly all of it and next to nothing else, and as NO_DIGIT what mixes two of them (LeCun
    et al. 1998, section VII, learn from both) and the signs among them."""
    random, hands = np.random.default_rng(seed), hands_of(strokes)
    signs = signs_of(strokes)
    hands += [len(strokes) + np.arange(len(mnist))] * (len(hands) // 2 if len(mnist) else 0)
    strokes = strokes + as_strokes(mnist)
    seen, labels = [], []
    for _ in range(count if hands else 0):
        ink, owners, text = compose_one(strokes, hands, random, random.random() < 0.8, signs)
        field = find_field(255 - ink)
        pieces = field and cut(field.ink, field.lean)
        if pieces is None:
            continue
        rows, columns = np.nonzero(pieces.labels)
        across = np.round(field.origin[0] + field.scale * columns).astype(int)
        down = np.round(field.origin[1] + field.scale * rows).astype(int)
        owner = owners[down.clip(0, len(owners) - 1), across.clip(0, owners.shape[1] - 1)]
        counts = np.zeros((len(pieces.boxes), len(text) + 1))
        np.add.at(counts, (pieces.labels[rows, columns] - 1, owner), 1)
        counts, whole = counts[:, 1:], counts[:, 1:].sum(axis=0)
        right, mixed = {}, []
        for _, _, chosen, _ in groups_of(pieces) or ():
            held = counts[chosen].sum(axis=0)
            digit = int(held.argmax())
            purity, share_of_it = held[digit] / max(held.sum(), 1), held[digit] / max(whole[digit], 1)
            if purity > 0.9 and share_of_it > 0.85:
                right.setdefault(digit, []).append(chosen)
            elif purity < 0.6:
                mixed.append(chosen)
        taken = [(ways[random.integers(len(ways))], int(text[digit]) if text[digit].isdigit() else NO_DIGIT)
                 for digit, ways in right.items()]
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
        pen = max(2, round(high * random.uniform(0.05, 0.12)))
        ink, _ = ink_of(sample, max(wide, tall) * scale, pen, int(3 * high), 2 * high)
        pictures.append(255 - np.pad(ink, ((0, 0), (int(0.4 * high),) * 2)))
    return pictures


# --- measuring ------------------------------------------------------------------------------------------------------------

def read_share(reader: FieldReader, pictures: Iterable, texts: Sequence[str]) -> dict:
    """Return the share of pictures that are read as their texts, one by one."""
    return share(right_ones([reader.read(picture) for picture in pictures], texts).sum(), len(texts))


def right_ones(readings: Sequence[NumberReading], texts: Sequence[str]) -> np.ndarray:
    """Return (N,) bool: which strings are right as a whole."""
    return np.array([reading.text == text for reading, text in zip(readings, texts, strict=True)])


def calibrate_numbers(reader: FieldReader, strokes: Strokes) -> dict:
    """Return what turns a reader's doubts into confidence and verdicts, from composed numbers, spaced and touching, plain and
    freely written, each as it was drawn and as a scan: the weights of a logistic regression, and for STRING_ERROR and BY_A_MACHINE
    the least confidence that keeps it for drawings and for scans (`measures.error_limits`). {} where no writer wrote ten digits: a
    reader then does without."""
    found: dict[str, tuple[list, list]] = {"composed": ([], []), "composed, scanned": ([], [])}
    random = np.random.default_rng(SEED + 1)
    for free, touching in product((False, True), (False, True)) if hands_of(strokes) else ():
        for picture, text in zip(*compose(strokes, COMPOSED, SEED + 1, touching, free), strict=True):
            for (doubts, right), seen in zip(found.values(), (picture, scanned(picture, random)), strict=True):
                reading = reader.read(seen)
                if reading.doubts is not None:
                    doubts.append([*reading.doubts, 1.0])
                    right.append(reading.text == text)
    kinds = {name: (np.array(doubts), np.array(right)) for name, (doubts, right) in found.items() if doubts}
    if not kinds:
        return {}
    weights = logistic(*map(np.concatenate, zip(*kinds.values(), strict=True)))
    answers = {name: (1 / (1 + np.exp(-features @ weights)), ~right) for name, (features, right) in kinds.items()}
    errors = error_limits(answers, (STRING_ERROR, BY_A_MACHINE))  # less leaves too few to count
    return {"weights": weights.tolist(), "errors": errors}


def logistic(features: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the weights (F,) of a logistic regression of `right` (N,) on features (N, F), by Newton's method, slightly damped."""
    weights = np.zeros(features.shape[1])
    for _ in range(60):
        shares = 1 / (1 + np.exp(-np.clip(features @ weights, -30, 30)))
        curvature = (features * (shares * (1 - shares) + 1e-6)[:, None]).T @ features + 0.01 * np.eye(len(weights))
        weights -= np.linalg.solve(curvature, features.T @ (shares - right) + 0.01 * weights)
    return weights


def in_a_box(picture: np.ndarray) -> np.ndarray:
    """Return a grey picture of a number with the box of a form around it, and paper around that."""
    x, y, wide, high = cv2.boundingRect(255 - picture)
    room, paper = round(0.3 * high), round(0.5 * high)
    picture = np.pad(picture[y:y + high, x:x + wide], room + paper, constant_values=255)
    return cv2.rectangle(picture, (paper, paper), (picture.shape[1] - paper, picture.shape[0] - paper), 90, 2)


def measure_numbers(reader: FieldReader, digits: Strokes, numbers: Strokes | None, mnist: Pictures) -> dict:
    """Return shares of strings that are right as a whole: numbers composed of unseen writers' digits and of MNIST's pictures,
    spaced and touching; numbers that unseen writers wrote; and of sketches of one digit, how many are read as one digit."""
    found = {}
    for whose, source in (("drawings", digits), ("MNIST", as_strokes(mnist))):
        for how, touching in (("spaced", False), ("touching", True)):
            pictures, texts = compose(source, COMPOSED, SEED, touching)
            found[f"composed of {whose}, {how}"] = read_share(reader, pictures, texts)
            if whose == "drawings" and not touching:
                photographs, scans = ([put(picture, np.random.default_rng([SEED, row])) for row, picture in enumerate(pictures)]
                                      for put in (on_a_table, scanned))
                for where, put in (("in a drawn box", map(in_a_box, pictures)), ("on a sheet on a table", photographs),
                                   ("scanned small, on grey paper", scans)):
                    found[f"composed of drawings, spaced, {where}"] = read_share(reader, put, texts)
    if numbers is not None and len(numbers):
        found["numbers of unseen writers"] = read_share(reader, draw_numbers(numbers, SEED), numbers.labels)
    random = np.random.default_rng(SEED)
    samples = [sample for sample, label in zip(digits.samples, digits.labels, strict=True) if label.isdigit()]
    lone = sum(len(reader.read(pad(sample, random)).text) == 1 for sample in samples)
    found["one digit stays one digit"] = share(lone, len(samples))
    return found


def measure_fields(reader: FieldReader, tables: str) -> dict:
    """Return, for every table of labelled pictures that has boxes of several digits, commas between their names, the share of
    strings that are right as a whole, how many are sure by default (where STRING_ERROR of the composed numbers are wrong) and
    sure enough to be answered without a person (where BY_A_MACHINE of them are), and how many of those are right."""
    found = {}
    for name, table in tables_of(tables).items():
        rows = [(path, text) for path, text, boxes in read_table(table) if boxes]
        if rows:
            readings = [reader.read(path) for path, _ in rows]
            right = right_ones(readings, [text for _, text in rows])
            found[name] = kinds = {"whole": share(right.sum(), len(rows))}
            for how, target in (("sure by default", STRING_ERROR), ("without a person", BY_A_MACHINE)):
                if (least := reader.limits.get(target)) is not None:
                    sure = np.array([reading.confidence >= least for reading in readings])
                    kinds[how] = share(sure.sum(), len(rows))
                    kinds[f"right, {how}"] = share(right[sure].sum(), max(1, int(sure.sum())))
    return found
