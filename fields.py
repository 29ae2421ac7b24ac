"""Pictures of whole numbers to strings: over-segmentation, the one network, and the best path; and the command line.

    python fields.py 1024.png scans/                 a table
    python fields.py scans/ --csv out.csv --resume   a file, one row per picture; a run that was stopped goes on
    python fields.py codes/ --rule '\\d{5}'           numbers of five digits; what the ink alone says stands beside them
"""

import argparse
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from archive import fill
from console import (
    Parser,
    add_max_error,
    add_pictures,
    count_bad,
    end_well,
    find_pictures,
    in_parallel,
    share_processors,
    shown,
    spare_pictures,
)
from decode import KEPT_SIDE, PictureError, open_picture, size_of, to_pixels
from lattice import DEAREST, DOUBTS, Candidate, Group, Way, best_ways, doubts, groups_of, score, shares
from preprocess import is_blob
from recognize import DIGITS, NUMBERS, ODD, Recognizer, how_sure
from rules import Rule
from segments import Field, Pieces, box_of, count_lines, cut, find_field, picture_of
from signs import allowed, digits_but, is_odd, percent_in, sign_of, slashes_in, things_of

STRING_ERROR = 0.05  # share of wrong answers among the sure ones; a string has many digits that can be wrong
BELOW = 0.5, 0.1  # of the narrower, and of the lower, of two digits below one another: what they share across, and down at most
ALTERNATIVES = 5  # strings that are named
NO_NUMBER = "There is no number to read here. Write one, or send a picture that shows one."
UNMEASURED = (2.0, *[0.0] * DOUBTS)  # weights of doubts where none were measured: how far the string is ahead, alone
NOTHING = "This does not look like a number."
CROWDED = "There is too much in this picture for one number. Crop it to the number."
LEFT_OUT = {  # one and several of what is left out and shown by no sign of its own
    "*": ("other sign", "other signs"),
    "": ("thing above or below the line", "things above or below the line"),
    "speck": ("speck", "specks"),
}


class DigitBox(NamedTuple):
    """A digit of a number: `box` (x, y, width, height) in pixels of the picture, `probabilities` (10,) that sum to 1."""

    box: tuple[float, float, float, float]
    probabilities: np.ndarray


class Mark(NamedTuple):
    """What stands among the digits and is none: `box` as a digit's; `sign` ".", ",", "-", "'", "/", "%", "*" for any other, or ""
    for what lies above or below the line."""

    box: tuple[float, float, float, float]
    sign: str


class Alternative(NamedTuple):
    """A string that the ink could be as well, and the probability that it is."""

    text: str
    probability: float


@dataclass(frozen=True)
class NumberReading:
    """What was read in one picture.

    text: the digits, left to right, no separators; "" where there are none
    display: the digits with what stands among them: ".", ",", "-", "'", "/", "%", or "*" for any other sign
    digits: a DigitBox for every digit of the text
    alternatives: up to five other strings, the likeliest first
    confidence: the probability, 0 to 1, that the text is right
    verdict: "number", "unsure", "blank", "several" (up to six lines of digits), "not_a_number" or "unreadable"
    message: what to tell the user
    doubts: (5,) what the confidence was made of, as `lattice.doubts` gives it; None where there are no digits
    by_rule: was the text chosen by the rule, against what the ink alone says?
    ink_text: what the ink alone says; the text itself where no rule was given
    marks: what stands among the digits and is none
    """

    text: str
    display: str
    digits: list[DigitBox]
    alternatives: list[Alternative]
    confidence: float
    verdict: str
    message: str
    doubts: np.ndarray | None = None
    by_rule: bool = False
    ink_text: str = ""
    marks: tuple[Mark, ...] = ()

    @staticmethod
    def without_digits(verdict: str, message: str, ink_text: str = "", marks: tuple[Mark, ...] = ()) -> "NumberReading":
        """Return the reading of a picture in which there is no digit, or none that the rule allows."""
        return NumberReading("", "", [], [], 0.0, verdict, message, ink_text=ink_text, marks=marks)


class Opened(NamedTuple):
    """A picture before the network has seen it: its field, the pieces, the `groups` of them that could be digits, and how many
    pixels of the picture, as it was sent, lie in one of those that `decode.to_pixels` made of it, side by side."""

    field: Field
    pieces: Pieces
    groups: list[Group]
    zoom: float


class FieldReader:
    """Reads whole numbers with a recogniser's network."""

    def __init__(self, recognizer: Recognizer, max_error: float = STRING_ERROR):
        """Take a recogniser; `from_pretrained` is the usual way to a reader. `max_error` is the share of wrong strings among the
        sure ones that the user accepts, as the recogniser's is of wrong digits.

        Its weights tell how sure a string is ("numbers" in their header, from `composing.calibrate_numbers`). Where they do not, it
        is as sure as its score is ahead of the next one's, and the limits are those of single digits. Raises ValueError with a
        sentence for damaged limits, and for an error that was not measured.
        """
        self.recognizer = recognizer
        known = recognizer.net.facts.get("numbers") or {}
        try:
            if np.shape(known.get("weights", UNMEASURED)) == (4,):  # of before, with fewer doubts; the limits go too
                known = {}
            self.weights = np.array(known.get("weights", UNMEASURED), float).reshape(DOUBTS + 1)  # of the doubts, and an offset
            self.limits = {float(row["max_error"]): float(row["threshold"]) for row in known.get("errors", ())}
            if not (np.isfinite(self.weights).all() and all(0 <= each <= 1 for each in self.limits.values())):
                raise ValueError("no numbers")
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError("The weights carry no usable limits for numbers. Name a file that train.py wrote.") from error
        if self.limits and max_error not in self.limits:
            raise ValueError(f"No threshold was measured for an error of {max_error}. Give one of "
                             f"{', '.join(map(str, sorted(self.limits)))}.")
        self.sure = self.limits.get(max_error, recognizer.sure)  # the least confidence of a sure answer

    @classmethod
    def from_pretrained(cls, name: str | Path | None = None, max_error: float = STRING_ERROR) -> "FieldReader":
        """Return a reader with the weights that `Recognizer.from_pretrained` takes; raises what that and the class itself raise."""
        return cls(Recognizer.from_pretrained(name), max_error)

    def read(self, image, rule: str | None = None) -> NumberReading:
        """Return the number in a picture: a PIL picture, a numpy array, the path of a file, or a Sketchpad value.

        `rule` is a regular expression that the digits must match (`rules.Rule` says which). Never raises for a bad picture: its
        verdict is "unreadable" and its message says what to do. Raises ValueError with a sentence for a rule that is none.
        """
        return self.read_batch([image], rule)[0]

    def read_batch(self, images: Iterable, rule: str | None = None) -> list[NumberReading]:
        """Return the numbers in some pictures, in their order, all shown to the network together; a bad picture spoils no other."""
        automaton = Rule(rule) if rule else None
        fields = [self._open(image) for image in images]
        dearest = np.inf if automaton else DEAREST  # a rule may want what the ink does not look like
        chosen = [[] if isinstance(each, NumberReading) else [group for group in each.groups if group.cost <= dearest]
                  for each in fields]
        seen = [picture_of(each.field.ink, each.pieces, group.chosen) for each, groups in zip(fields, chosen, strict=True)
                for group in groups]
        probabilities = self.recognizer.probabilities(np.stack(seen)) if seen else np.empty((0, 10))
        probabilities[[is_blob(each) for each in seen]] = 0.1  # which the network did not learn from
        rows = iter(probabilities)
        readings = []
        for each, groups in zip(fields, chosen, strict=True):
            if isinstance(each, NumberReading):
                readings.append(each)
                continue
            looks = score(each.pieces, groups, np.array([next(rows) for _ in groups]).reshape(-1, 10))
            readings.append(self._judge(each, looks, automaton))
        return readings

    def _open(self, image) -> NumberReading | Opened:
        """Return a picture before the network has seen it; a reading at once where there is nothing to see."""
        try:
            image = open_picture(image) if isinstance(image, (str, Path)) else image  # once, for its pixels and its size
            pixels = to_pixels(image)
            field = find_field(pixels)
            if field is None:
                return NumberReading.without_digits("blank", NO_NUMBER)
            pieces = cut(field.ink, field.lean)
            groups = pieces and groups_of(pieces)
            lines = count_lines(field.ink)
            if groups is None or lines > max(NUMBERS):
                return NumberReading.without_digits("not_a_number", CROWDED)
            if lines > 1:
                return NumberReading.without_digits("several", f"{NUMBERS[lines]} lines of digits: send one at a time.")
            longest = max(pixels.shape[:2])
            return Opened(field, pieces, groups, max(size_of(image)) / longest if longest == KEPT_SIDE else 1.0)
        except PictureError as error:
            return NumberReading.without_digits("unreadable", str(error))
        except Exception:  # whatever odd objects do inside Pillow, numpy and OpenCV: the others in the batch are read
            logging.getLogger("digitvision").debug("unreadable", exc_info=True)
            return NumberReading.without_digits("unreadable", ODD)

    def _judge(self, opened: Opened, looks: list[Candidate], rule: Rule | None) -> NumberReading:
        """Return the reading of a field from the candidates that the network has seen."""
        field, pieces, _, zoom = opened
        percent = dict.fromkeys(percent_in(pieces), "%")  # pieces that are signs, where the network sees digits
        alone = best_ways(pieces, looks, known=percent.keys())
        whole, first = next(iter(alone.items()))
        choices = slashes_in(pieces, whole, first)

        def signs_with(places: tuple[int, ...]) -> dict[int, str]:
            return percent | {piece: "/" for place in places for piece in first.digits[place].chosen}

        if choices[0].places:
            alone = best_ways(pieces, looks, known=signs_with(choices[0].places).keys())
        choices = allowed(choices, whole, rule)
        certainty, places = choices[0]
        known = signs_with(places)
        ways = best_ways(pieces, looks, rule, known.keys()) if rule else alone
        against_signs = not ways
        if against_signs:
            known, ways = {}, best_ways(pieces, looks, rule)
        ink_text = next(iter(alone))

        def box(chosen: list[int]) -> tuple[float, float, float, float]:
            return tuple(round(zoom * side, 1) for side in box_of(field, pieces, chosen))

        if not ways or not next(iter(ways)):
            marks = tuple(Mark(box([piece]), "*") for piece in range(len(pieces.boxes)))
            message = NOTHING
            if rule and ink_text:
                message = f"The ink says {ink_text}, and nothing that it could be matches the rule {rule.pattern}."
            return NumberReading.without_digits("not_a_number", message, ink_text, marks)
        probabilities, doubt = shares(ways), doubts(pieces, ways)
        (text, way), *others = ways.items()
        if lie_below_one_another(pieces, way):
            return NumberReading.without_digits("several", "Digits lie below one another: send one line at a time.", ink_text)
        alike = self.confidence(doubt)  # that the strokes which are digits are these
        confidence, rest = certainty * alike, certainty * (1 - alike) / max(1 - probabilities[text], 1e-9)
        guesses = [(other, rest * probabilities[other]) for other, _ in others]
        guesses += [(digits_but(whole, each), share * alike) for share, each in choices[1:]]
        signs = [(chosen, known.get(chosen[0]) or sign_of(pieces, way, chosen)) for chosen in things_of(pieces, way.signs, known)]
        marks = tuple(Mark(box(chosen), sign) for chosen, sign in signs)
        digits = {piece for each in (first.digits if text != ink_text else ()) for piece in each.chosen}  # which a rule forced out
        order = sorted([(each.first, digit) for each, digit in zip(way.digits, text, strict=True)]
                       + [(chosen[0], sign) for chosen, sign in signs if sign != "*" or not digits.issuperset(chosen)])
        unread = sum(sign == "*" and pieces.size(chosen)[1] > 0.7 * pieces.height for chosen, sign in signs)
        sure = confidence >= self.sure and unread < len(text)  # ink as high as the digits, and as much of it, is no dirt
        sure = sure and not against_signs and not is_odd(pieces, text, way)
        reading = NumberReading(
            text, "".join(sign for _, sign in order), [DigitBox(box(each.chosen), each.probabilities) for each in way.digits],
            alternatives_among([(other, share) for other, share in guesses if not rule or rule.matches(other)], text, confidence),
            confidence, "number" if sure else "unsure", "", doubt, text != ink_text, ink_text, marks)
        return replace(reading, message=message_of(reading, rule, pieces.specks))

    def confidence(self, doubt: np.ndarray) -> float:
        """Return the probability that a string is right, by its doubts (DOUBTS,)."""
        return float(1 / (1 + np.exp(-(self.weights[:-1] @ doubt + self.weights[-1]))))


# --- what is said of it ---------------------------------------------------------------------------------------------------

def alternatives_among(guesses: Iterable[tuple[str, float]], text: str, most: float) -> list[Alternative]:
    """Return the likeliest strings but the text, each once: what was guessed in several ways, 2/17 and 21/7, is as likely as all of
    them, and at `most` so."""
    found: dict[str, float] = {}
    for other, share in guesses:
        found[other] = found.get(other, 0.0) + share
    likeliest = sorted(((share, other) for other, share in found.items() if other not in ("", text)), reverse=True)
    return [Alternative(other, min(most, share)) for share, other in likeliest[:ALTERNATIVES]]


def to_json(reading: NumberReading) -> dict:
    """Return a reading as JSON: the fields of NumberReading, with a digit's probabilities by their digits."""
    digits = [{"digit": digit, "box": list(each.box), "probabilities": dict(zip(DIGITS, each.probabilities.tolist(), strict=True))}
              for digit, each in zip(reading.text, reading.digits, strict=True)]
    return {"text": reading.text, "display": reading.display, "confidence": reading.confidence, "verdict": reading.verdict,
            "message": reading.message, "by_rule": reading.by_rule, "ink_text": reading.ink_text, "digits": digits,
            "alternatives": [each._asdict() for each in reading.alternatives],
            "marks": [{"sign": mark.sign, "box": list(mark.box)} for mark in reading.marks]}


def lie_below_one_another(pieces: Pieces, way: Way) -> bool:
    """Say whether any two digits do, as in lines so near to one another that no paper is between them from left to right."""
    starts, ends = np.array([pieces.corners(each.chosen) for each in way.digits]).swapaxes(0, 1)  # (N, 2) x, y
    shared = np.minimum(ends[:, None], ends) - np.maximum(starts[:, None], starts)  # (N, N, 2)
    across, down = np.moveaxis(shared / np.minimum((ends - starts)[:, None], ends - starts), -1, 0)
    return bool(((across > BELOW[0]) & (down < BELOW[1])).any())


def message_of(reading: NumberReading, rule: Rule | None, specks: int) -> str:
    """Return what to tell the user of a reading with digits."""
    shown = reading.display.replace("*", "")
    if reading.verdict == "unsure":
        other = f" or {reading.alternatives[0].text}" if reading.alternatives else ""
        parts = [f"Unsure: {shown}{other}?"]
    else:
        parts = [f"This is {shown} ({how_sure(reading.confidence)} sure)."]
    if reading.by_rule:
        parts.append(f"The rule {rule.pattern} chose it: the ink alone says {reading.ink_text or 'no digits'}.")
    counts = Counter(mark.sign for mark in reading.marks if mark.sign in LEFT_OUT) + Counter({"speck": specks})
    if counts:
        parts.append(f"Left out: {', '.join(f'{count} {LEFT_OUT[kind][count > 1]}' for kind, count in counts.items())}.")
    return " ".join(parts)


# --- the command line ---------------------------------------------------------------------------------------------------

def add_string_error(parser: argparse.ArgumentParser) -> None:
    """Add the flag that sets which numbers are called unsure."""
    add_max_error(parser, STRING_ERROR, "0.05 or 0.03")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the flags of a command line."""
    parser = Parser(description="Read whole numbers in picture files.", allow_abbrev=False)
    add_pictures(parser)
    add_string_error(parser)
    parser.add_argument("--rule", metavar="REGEX", help=r"what the digits must match, such as '\d{5}' for a postcode")
    parser.add_argument("--csv", metavar="FILE", help="write a CSV file, a row as soon as its picture is read")
    parser.add_argument("--resume", action="store_true", help="go on with the CSV file of a run that was stopped")
    parser.add_argument("--worst-first", action="store_true", help="order the rows of the CSV file for a person who checks them")
    return parser.parse_args(arguments)


def run(flags: argparse.Namespace) -> int:
    """Read what the flags name and print or write it; return the exit code: 2 where a picture could not be read."""
    if (flags.resume or flags.worst_first) and not flags.csv:
        raise ValueError("--resume and --worst-first are about a CSV file. Name one with --csv.")
    if flags.json and flags.csv:
        raise ValueError("--json and --csv are two ways to write the same rows. Give one of them.")
    if flags.rule is not None:
        Rule(flags.rule)
    share_processors()
    reader = FieldReader.from_pretrained(flags.weights, flags.max_error)
    paths = find_pictures(flags.paths)
    spare_pictures(paths, csv=flags.csv)
    if flags.csv:
        started, verdicts = time.perf_counter(), fill(reader, paths, flags)
        counts = ", ".join(f"{count} {verdict.replace('_', ' ')}" for verdict, count in verdicts.most_common())
        print(f"wrote {flags.csv}: {verdicts.total()} rows ({counts}) in {time.perf_counter() - started:.1f} s", file=sys.stderr)
        return 2 if verdicts["unreadable"] else 0
    width, bad = max(len(shown(path)) for path in paths), []
    if not flags.json:
        print(f"{'path':{width}}  text          confidence  verdict       message")
    for path, reading in in_parallel(lambda path: reader.read(path, flags.rule), paths):
        if flags.json:
            print(json.dumps({"path": str(path), **to_json(reading)}, ensure_ascii=False), flush=True)
        else:
            print(f"{shown(path):{width}}  {reading.text or '-':12}  {reading.confidence:10.4f}  {reading.verdict:12}  "
                  f"{reading.message}", flush=True)
        if reading.verdict == "unreadable":
            bad.append(reading.message)
    return count_bad(bad, len(paths))


def main() -> int:
    """Run the command line; return its exit code."""
    flags = parse()
    return end_well(lambda: run(flags), f" The rows in {flags.csv} are whole; --resume goes on." if flags.csv else "")


if __name__ == "__main__":
    sys.exit(main())
