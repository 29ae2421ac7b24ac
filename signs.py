"""Signs: what is left out of a number, and what is a digit to the network: the slashes of 18/01/1999 are 1s, 25% is 2596 or 25010.

Slashes show beside the other digits, and by what the parts say; a percent sign by where its rings and its stroke lie.
"""

from collections.abc import Sequence
from itertools import combinations, product
from typing import NamedTuple

import cv2
import numpy as np

from lattice import FLAT, LOW, Way, is_peak
from rules import Rule
from segments import BIT, Pieces

MOST = 8  # strokes, of more the likeliest, and rings that are looked at: two are chosen in as many ways as there are pairs

# Which strokes may be slashes; of 1,091 none spreads more, but every other 1 does, and 6 lean further to the left (LOG.md)
STRAIGHT = 0.22  # spread across a stroke, as a share of that along it
LEFT = -0.35  # lean to the right, in radians

LONGER = 0.05  # heights, at either end; as much lines between digits are longer than these

# How much likelier a stroke is a slash than a 1, as a logarithm: a logistic regression on 1,091 slashes and 1,075 straight 1s
# between digits, in numbers of training writers' strokes and of MNIST val, and in printed ones (LOG.md)
OFFSET = 1.4
LEANS = 9.3  # for its lean, in radians
OTHERS_LEAN = -7.5  # for the lean of all the others together
SPREAD = -22.7  # for its spread across, as a share of that along it
ABOVE, BELOW = 18.3, 23.5  # for what it reaches above the highest and below the lowest of the others, in heights of the line

# How much likelier a number has slashes at some places than 1s, as a logarithm, before they are looked at: so that next to no
# number without slashes becomes another or unsure (LOG.md); and how much rarer it is by chance that parts are a date
ONE, TWO, DATE = -4.0, -4.0, -0.5  # a slash somewhere; two of them somewhere; two of them where they make a date
PHONE = -1.0  # a slash where it makes a telephone number
DAY, YEAR = 1.4, 3.9  # for every day or month of two digits, and for a year of four: by chance one in four and one in fifty are one

# A percent sign, in heights of the line; found in 150 of 240, of training writers and printed, and in no other picture of 11,235
TAIL = 1.7  # it, and what is left of it that matters
RING, HOLE = (0.08, 0.65), (0.08, 0.5)  # sides of a ring or a dot that stands free, and of the hole of one that the stroke touches
ACROSS, DOWN = (0.1, 1.1), (0.2, 1.0)  # from the middle of the ring above to that of the ring below
TALL = (0.4, 1.6)  # from the top of the one to the foot of the other
APART = -0.15  # from the foot of the one to the top of the other
ASLANT = 0.25  # least from the foot of the stroke to its top, across
BESIDE = (0.06, 0.6)  # from the middle of either ring to the stroke
INKED = 0.9  # least share of the stroke that is ink, without an eighth at either end


# --- slashes --------------------------------------------------------------------------------------------------------------

class Stroke(NamedTuple):
    """A digit's ink as one stroke: `lean` of its axis to the right, in radians; `spread` across the axis, as a share of that along
    it; its first row and the one below its last; its second moments by columns and rows, and by rows, in pixels."""

    lean: float
    spread: float
    top: int
    foot: int
    mixed: float
    upright: float


class Choice(NamedTuple):
    """The probability that the digits at these `places` of a string, and no others, are slashes."""

    probability: float
    places: tuple[int, ...]


def slashes_in(pieces: Pieces, text: str, way: Way) -> list[Choice]:
    """Return every choice of no, one or two 1s of a string, and one of more, that may be slashes, the likeliest first."""
    beside = [one.last + 1 == other.first for one, other in zip(way.digits, way.digits[1:], strict=False)]  # not in 21.11.1999
    strokes = {place: stroke_of(pieces, way.digits[place].chosen) for place in range(1, len(text) - 1)
               if text[place] == "1" and beside[place - 1] and beside[place] and not pieces.bits[way.digits[place].chosen].any()}
    likely = [place for place, stroke in strokes.items() if stroke.spread < STRAIGHT and stroke.lean > LEFT]
    if not likely:
        return [Choice(1.0, ())]
    rows = [strokes.get(place) or stroke_of(pieces, way.digits[place].chosen) for place in range(len(text))]
    likely = sorted(likely, key=lambda place: -evidence(rows, (place,), pieces.height))[:MOST]
    pairs = [pair for pair in combinations(sorted(likely), 2) if pair[1] > pair[0] + 1]
    choices = [(), *((place,) for place in likely), *pairs, *dividers(rows, likely, pieces.height)]
    scores = np.array([evidence(rows, places, pieces.height) + belief(text, places) for places in choices])
    weights = np.exp(scores - scores.max())
    return sorted(map(Choice, (weights / weights.sum()).tolist(), choices), reverse=True)


def dividers(rows: list[Stroke], likely: list[int], height: float) -> list[tuple[int, ...]]:
    """Return [all those places that are likely slashes] that reach above and below whatever is none, if these are more than two and
    no neighbours: lines between digits, 3|5|2|4."""
    others = [row for place, row in enumerate(rows) if place not in likely]
    top, foot = min(each.top for each in others), max(each.foot for each in others)
    longer = sorted(place for place in likely if min(top - rows[place].top, rows[place].foot - foot) > LONGER * height)
    parted = all(after > before + 1 for before, after in zip(longer, longer[1:], strict=False))
    return [tuple(longer)] if len(longer) > 2 and parted else []


def allowed(choices: list[Choice], text: str, rule: Rule | None) -> list[Choice]:
    """Return those of the choices for a string whose digits match the rule, all of them if none do, in their order; their
    probabilities sum to 1."""
    fitting = [each for each in choices if rule and rule.matches(digits_but(text, each.places))] or choices
    return [Choice(each.probability / sum(one.probability for one in fitting), each.places) for each in fitting]


def digits_but(text: str, places: tuple[int, ...]) -> str:
    """Return a string without the digits at some places."""
    return "".join(digit for place, digit in enumerate(text) if place not in places)


def stroke_of(pieces: Pieces, chosen: list[int]) -> Stroke:
    """Return what some pieces are as one stroke."""
    (left, top), (right, foot) = pieces.corners(chosen)
    kept = np.zeros(len(pieces.boxes) + 1, np.uint8)
    kept[np.array(chosen) + 1] = 1
    moments = cv2.moments(kept[pieces.labels[top:foot, left:right]], binaryImage=True)
    level, mixed, upright = moments["mu20"], moments["mu11"], moments["mu02"]
    apart, both = np.hypot(level - upright, 2 * mixed), level + upright
    spread = np.sqrt(max(0.0, both - apart) / max(both + apart, 1e-6))
    return Stroke(float(np.arctan2(-2 * mixed, upright - level)) / 2, float(spread), int(top), int(foot), mixed, upright)


def evidence(strokes: Sequence[Stroke], places: tuple[int, ...], height: float) -> float:
    """Return how much likelier the strokes at some places are slashes than 1s, as a logarithm; `height` is that of the line."""
    others = [stroke for place, stroke in enumerate(strokes) if place not in places]
    top, foot = min(each.top for each in others), max(each.foot for each in others)
    offset = OFFSET + OTHERS_LEAN * np.arctan2(-sum(each.mixed for each in others), sum(each.upright for each in others))
    return sum(offset + LEANS * each.lean + SPREAD * each.spread + (ABOVE * (top - each.top) + BELOW * (each.foot - foot)) / height
               for each in (strokes[place] for place in places))


def belief(text: str, places: tuple[int, ...]) -> float:
    """Return how much likelier a string has slashes at some places than 1s, as a logarithm, by the digits alone."""
    if not places:
        return 0.0
    parts = [text[start + 1:end] for start, end in zip((-1, *places), (*places, len(text)), strict=True)]
    rare = DAY * sum(len(part) == 2 for part in parts[:-1]) + YEAR * (len(parts[-1]) == 4)
    anywhere = len(places) * np.log(len(text) - 2)
    if len(parts) == 2:
        if is_phone(*parts):
            return PHONE
        return ONE - anywhere + (rare if len(parts[1]) == 4 and is_date(["1", *parts]) else 0.0)
    return DATE + rare if len(parts) == 3 and is_date(parts) else TWO - anywhere


def is_date(parts: Sequence[str]) -> bool:
    """Say whether three parts are a day and a month, in either order, and a year: two digits, or four that begin with 19 or 20."""
    day, month, year = parts
    return (all(len(part) in (1, 2) and 1 <= int(part) <= 31 for part in (day, month)) and min(int(day), int(month)) <= 12
            and (len(year) == 2 or len(year) == 4 and year[:2] in ("19", "20")))


def is_phone(code: str, number: str) -> bool:
    """Say whether two parts are an area code, 0 and two to four digits, and a number in it of five to eight."""
    return code[0] == "0" and 3 <= len(code) <= 5 and 5 <= len(number) <= 8


def is_odd(pieces: Pieces, text: str, way: Way) -> bool:
    """Say whether a string is not to be called sure, whatever its digits look like, each by itself.

    Where three 1s in a row were cut off one thing, strokes of an N, M or H, as in No 52; where two were that meet below, a V; and
    where something that was left out stands inside of a 0: a ring around it, a face.
    """
    of = [pieces.things[digit.first] for digit in way.digits]
    if any(text[place:place + 3] == "111" and len(set(of[place:place + 3])) == 1 for place in range(len(text) - 2)):
        return True
    if any(text[place:place + 2] == "11" and of[place] == of[place + 1]
           and is_peak(pieces, way.digits[place].chosen, way.digits[place + 1].chosen, upside_down=True)
           for place in range(len(text) - 1)):
        return True
    out = pieces.boxes[list(way.signs)]
    starts, ends = out[:, :2], out[:, :2] + out[:, 2:]
    zeros = [pieces.corners(each.chosen) for each, digit in zip(way.digits, text, strict=True) if digit == "0"]
    return any(((starts > start) & (ends < end)).all(axis=1).any() for start, end in zeros)


# --- what is left out ---------------------------------------------------------------------------------------------------

def things_of(pieces: Pieces, chosen: tuple[int, ...], known: dict[int, str]) -> list[list[int]]:
    """Return pieces together with those that the same thing or percent sign was cut into, if they are neighbours; `known` are those
    that are signs, and which."""
    found: list[list[int]] = []
    for piece in sorted(chosen):
        sign, before = known.get(piece), known.get(piece - 1)
        same = pieces.things[piece] == pieces.things[piece - 1] or sign == "%"
        if found and piece == found[-1][-1] + 1 and same and sign == before:
            found[-1].append(piece)
        else:
            found.append([piece])
    return found


def sign_of(pieces: Pieces, way: Way, chosen: list[int]) -> str:
    """Return what some pieces that are no digit are, by their shape and their place on the line of digits."""
    height, digits = pieces.height, np.array([pieces.corners(each.chosen) for each in way.digits])  # (N, 2, 2)
    top, base = np.median(digits[:, :, 1], axis=0)
    (_, above), (wide, high) = pieces.corners(chosen)[0], pieces.size(chosen)
    middle = above + high / 2
    if wide > FLAT * high and high < LOW * height and top + 0.25 * (base - top) < middle < base - 0.15 * height:
        return "-"
    if max(wide, high) >= 2 * BIT * height and high >= BIT * height:
        return "*"
    if above > base + 0.1 * height and high < 0.2 * height or above + high < top - 0.1 * height:
        return ""
    if middle > base - 0.3 * height:
        return "," if high > 1.4 * wide or above + high > base + 0.12 * height else "."
    if max(wide, high) >= 0.25 * height:
        return "*"
    return "'" if middle < top + 0.35 * height else "."


# --- percent signs --------------------------------------------------------------------------------------------------------

class Ring(NamedTuple):
    """The box of a ring or, if it is not hollow, a dot, in pixels; or of the hole of a ring that is a part of something else."""

    left: int
    top: int
    wide: int
    high: int
    is_hole: bool
    is_hollow: bool

    @property
    def middle(self) -> tuple[float, float]:
        return self.left + self.wide / 2, self.top + self.high / 2


def percent_in(pieces: Pieces) -> list[int]:
    """Return the pieces of a percent sign at the end of a line; [] where there is none.

    It is a straight stroke aslant, a ring or a dot to the left of its upper half and another to the right of its lower half. Both
    stand free, or one that is no dot: all else is true of 96 and of 9 and a comma, too.
    """
    height, boxes = pieces.height, pieces.boxes
    left = max(0, round((boxes[:, 0] + boxes[:, 2]).max() - TAIL * height))
    ink = np.pad((pieces.labels[:, left:] > 0).astype(np.uint8), ((0, 0), (0, round(height))))  # where a stroke is looked for
    rings = rings_of(ink, height)
    for above, below in product(rings, rings) if len(rings) <= MOST else ():
        free = [each for each in (above, below) if not each.is_hole]
        if (len(free) == 2 or free and free[0].is_hollow) and are_parted(ink, above, below, height):
            return np.flatnonzero(boxes[:, 0] + boxes[:, 2] / 2 >= left + above.left).tolist()
    return []


def rings_of(ink: np.ndarray, height: float) -> list[Ring]:
    """Return what could be rings of a percent sign in the end of a line (H, W) uint8."""
    outlines, family = cv2.findContours(ink, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    found, parents = [], []
    for outline, (_, _, child, parent) in zip(outlines, family[0] if outlines else (), strict=True):
        ring = Ring(*cv2.boundingRect(outline), parent >= 0, child >= 0)
        least, most = HOLE if ring.is_hole else RING
        fits = least * height <= min(ring.wide, ring.high) and max(ring.wide, ring.high) <= most * height
        if fits and (ring.is_hole or ring.left > 0):  # what begins at 0 is the rest of a digit
            found.append(ring)
            parents.append(parent)
    return [ring for ring, parent in zip(found, parents, strict=True) if parent < 0 or parents.count(parent) == 1]  # no 8


def are_parted(ink: np.ndarray, above: Ring, below: Ring, height: float) -> bool:
    """Say whether two rings lie to either side of a straight stroke aslant, as those of a percent sign."""
    (left, upper), (right, lower) = above.middle, below.middle
    start, tall = above.top, below.top + below.high - above.top
    if not (ACROSS[0] * height < right - left < ACROSS[1] * height and DOWN[0] * height < lower - upper < DOWN[1] * height
            and TALL[0] * height < tall < TALL[1] * height and below.top - above.top - above.high > APART * height):
        return False
    feet, tops = np.meshgrid(np.arange(left - 0.4 * height, right), np.arange(left, right + 0.6 * height))
    feet, tops = feet[tops - feet > ASLANT * height], tops[tops - feet > ASLANT * height]  # of every stroke that there could be
    rows = start + tall * np.linspace(1 / 8, 7 / 8, 24)[:, None]

    def columns(row: float | np.ndarray) -> np.ndarray:
        return tops + (feet - tops) * (row - rows[0]) / (rows[-1] - rows[0])

    aside = np.array([columns(upper) - left, right - columns(lower)]) / height
    inked = ink[rows.astype(int), np.round(columns(rows)).astype(int).clip(0, ink.shape[1] - 1)].mean(axis=0)
    return bool((inked[((aside > BESIDE[0]) & (aside < BESIDE[1])).all(axis=0)] > INKED).any())
