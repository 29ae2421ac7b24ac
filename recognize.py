"""Pictures to readings: preprocessing, network and verdict in one object; and the command line.

    python recognize.py 7.png scans/            a table
    python recognize.py scans/ --csv out.csv    a file; --json for JSON Lines on standard output
    python recognize.py 7.png --plot out.png    the picture, what the network saw, and its ten probabilities
"""

import argparse
import base64
import csv
import json
import logging
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from console import (
    Parser,
    add_max_error,
    add_pictures,
    count_bad,
    end_well,
    find_pictures,
    in_parallel,
    progress,
    share_processors,
    shown,
    spare_pictures,
)
from decode import PictureError, open_picture, to_pixels
from model import DigitNet, find_weights
from preprocess import free_looks, is_blob, second_looks, split_digits, to_tensor, walk

DIGITS = "0123456789"
BATCH = 64  # pictures in one forward pass: larger ones are no faster on a processor
SELF_TEST_TOLERANCE = 0.01  # of a probability; processors round differently, damage is far larger
PLOTS = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".eps", ".ps")  # what --plot can write
TINY = 64  # pixels; two threads read smaller pictures a quarter slower than one does, larger ones a quarter faster
PLOTTED = 12  # pictures on one sheet of --plot
LOOK_AGAIN = 0.9  # of a probability; where less is reached, neighbours at the border are cut off and the digit is looked at again
PALEST = 128  # of 255; of 100,332 digits the palest has a pixel of 185 in what the network sees, pages of letters have up to 103
STRANGE_COST = 2.3  # times the logarithm of the two largest probabilities together, as for the digits of a number
CUT_COST = 0.6  # of the logarithm of a probability, for cutting the whole width away; chosen on strings of training writers' digits
MAX_ERROR = 0.01  # share of wrong answers among the sure ones
ERRORS = "0.05, 0.01 or 0.001"  # for which the weights carry limits
NUMBERS = {2: "Two", 3: "Three", 4: "Four", 5: "Five", 6: "Six"}
ODD = "This picture could not be read. Save it as a PNG or JPEG file and send that."
RIVAL = 0.2  # probability from which the second digit is named beside the first
HINTS = {  # what to change where two digits are hard to tell apart, one way for the one and one for the other
    "06": "Close the 0 at its top, or let the stem of the 6 rise above its loop.",
    "08": "Leave the inside of the 0 empty, or cross the lines of the 8 in the middle.",
    "09": "Make the 0 an oval, or give the 9 a straight stem.",
    "12": "Draw the 1 as one straight line, or give the 2 a long foot.",
    "14": "Draw the 1 as one straight line, or the bar of the 4 right across it.",
    "17": "Draw the 1 as one straight line, or the bar of the 7 longer.",
    "23": "Give the 2 a flat foot, or the 3 a second bow.",
    "27": "Give the 2 a long foot, or the 7 a sharp corner and no foot.",
    "35": "Round the top of the 3, or give the 5 a flat top and a straight neck.",
    "38": "Leave the 3 open on its left, or close both loops of the 8.",
    "39": "Leave the 3 open on its left, or close the loop of the 9.",
    "46": "Draw the bar of the 4 right across, or close the loop of the 6.",
    "47": "Draw the bar of the 4 right across, or leave the 7 without a loop.",
    "49": "Close the top of the 4 to a point, or make the loop of the 9 round.",
    "56": "Give the 5 a flat top, or close the loop of the 6.",
    "58": "Leave the 5 open, or close both loops of the 8.",
    "59": "Give the 5 a flat top, or close the loop of the 9.",
    "68": "Leave the stem of the 6 open, or close both loops of the 8.",
    "79": "Leave the 7 without a loop, or close the loop of the 9.",
    "89": "Close both loops of the 8, or give the 9 a straight stem.",
}
AS_NUMBER = "or read them as a number: /read_number, fields.py"  # for clients, and the command line
NO_INK = "There is no ink to read here. Draw a digit, or send a picture that shows one."


@dataclass(frozen=True)
class Reading:
    """What was read in one picture.

    probabilities: (10,) float64 that sums to 1, calibrated; None where no ink was found
    digit: "0" to "9", the likeliest whatever the verdict; None where no ink was found
    confidence: the largest probability, or 0.0
    verdict: "digit", "unsure", "blank", "several", "not_a_digit" or "unreadable"
    message: one sentence for the user
    seen: (28, 28) uint8, white on black, what the network saw; None where no ink was found
    """

    probabilities: np.ndarray | None
    digit: str | None
    confidence: float
    verdict: str
    message: str
    seen: np.ndarray | None

    @staticmethod
    def without_ink(verdict: str, message: str) -> "Reading":
        """Return the reading of a picture that never came to the network."""
        return Reading(None, None, 0.0, verdict, message, None)

    @property
    def candidates(self) -> list[str]:
        """The two likeliest digits, the likelier first; [] where no ink was found."""
        return [] if self.probabilities is None else [DIGITS[digit] for digit in self.probabilities.argsort()[:-3:-1]]


class Recognizer:
    """A network together with its preprocessing, so that the two cannot drift apart."""

    def __init__(self, net: DigitNet, max_error: float = MAX_ERROR):
        """Take a network in eval mode; `from_pretrained` is the usual way to one.

        `max_error` is the share of wrong answers among the sure ones that the user accepts, one of those measured when the
        weights were made (0.05, 0.01, 0.001). Raises ValueError with a sentence for another, and for weights without limits.
        """
        try:
            limits = net.facts["limits"]
            known = {float(row["max_error"]): float(row["threshold"]) for row in limits["errors"]}
            strange = float(limits["not_a_digit"])
            if not known or not all(0 <= number <= 1 for number in (*known, *known.values(), strange)):
                raise ValueError("no shares")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError("The weights carry no usable limits. Name a file that train.py wrote.") from error
        if max_error not in known:
            raise ValueError(f"No threshold was measured for an error of {max_error}. Give one of "
                             f"{', '.join(map(str, known))}.")
        self.net = net
        self.quick = net.folded()  # gives the answers
        self.sure = known[max_error]  # the least confidence of a sure answer
        self.strange = strange  # below it, the two largest probabilities together are those of no digit

    @classmethod
    def from_pretrained(cls, name: str | Path | None = None, max_error: float = MAX_ERROR) -> "Recognizer":
        """Return a recogniser with the weights of a folder, a .safetensors file or a hub id; None takes weights/.

        A hub id is ORG/NAME or ORG/NAME@REVISION; an existing folder wins over it. Raises FileNotFoundError, ValueError,
        PermissionError or ConnectionError with a sentence, also for weights that fail the self-test in their header.
        """
        recognizer = cls(find_weights(name), max_error)
        recognizer.check()
        return recognizer

    @property
    def version(self) -> str:
        """The first twelve hexadecimal digits of the hash of the weights."""
        return self.net.facts.get("hash", "")[:12]

    def check(self) -> None:
        """Read the self-test picture in the header of the weights; raise ValueError where its answer is another one."""
        try:
            test = self.net.facts["self_test"]
            seen = np.frombuffer(base64.b64decode(test["seen"], validate=True), np.uint8).reshape(1, 28, 28)
            expected = np.array(test["probabilities"], float).reshape(10)
            with np.errstate(all="ignore"):  # damaged numbers overflow
                passed = np.abs(self.probabilities(seen)[0] - expected).max() < SELF_TEST_TOLERANCE  # not where one is NaN
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError("The weights carry no usable self-test. Name a file that train.py wrote.") from error
        if not passed:
            raise ValueError("The weights fail their self-test: they do not give the answer they were saved with. Take a "
                             "fresh copy, or run 'make train'.")

    def read(self, image) -> Reading:
        """Return the reading of one picture: a PIL picture, a numpy array, the path of a file, or a Sketchpad value.

        Never raises for a bad picture: its verdict is "unreadable" and its message says what to do.
        """
        return self.read_batch([image])[0]

    def read_batch(self, images: Iterable) -> list[Reading]:
        """Return the readings of some pictures, in their order, all shown to the network together; a bad picture spoils no other.

        A picture that is not read surely, and into which neighbours reach from the border, is looked at again, and so is one with
        a circle, a disc or an underline.
        """
        looks: list[Reading | tuple] = []  # a reading already, or (seen, parts, cleaned) for the network
        for image in images:
            try:
                stages = dict(walk(image))
                looks.append((stages["seen"], split_digits(stages["cleaned"]), stages["cleaned"]) if "seen" in stages else
                             Reading.without_ink("blank", NO_INK))
            except PictureError as error:
                looks.append(Reading.without_ink("unreadable", str(error)))
            except Exception:  # whatever odd objects do inside Pillow, numpy and OpenCV: the others in the batch are read
                logging.getLogger("digitvision").debug("unreadable", exc_info=True)
                looks.append(Reading.without_ink("unreadable", ODD))
        pictures = [picture for look in looks if isinstance(look, tuple) for picture in (look[0], *look[1])]
        rows = iter(self.probabilities(np.stack(pictures)) if pictures else ())
        return [look if isinstance(look, Reading) else
                self._look_again(self._judge(look[0], next(rows), list(islice(rows, len(look[1])))), look[2]) for look in looks]

    def _look_again(self, reading: Reading, cleaned: np.ndarray) -> Reading:
        """Return the reading itself, or one of what stands inside of a circle, in a disc or above a bar in its cleaned ink, or of
        that ink with the neighbours cut off: the one that the network likes best (over-segmentation, LeCun et al. 1998, section V),
        and the less is cut the better."""
        if reading.verdict == "several":
            return reading
        free = free_looks(cleaned)  # however sure: a circled 7 looks like a 0
        looks = free + (second_looks(cleaned) if reading.confidence < LOOK_AGAIN else [])
        if not looks:
            return reading
        probabilities = self.probabilities(np.stack([seen for _, seen in looks]))
        scores = liking(probabilities) - CUT_COST * np.array([share for share, _ in looks])
        best = int(scores.argmax())
        if scores[best] <= liking(reading.probabilities[None])[0]:
            return reading
        may_be_slash = best < len(free) and looks[best][0] == 0
        if may_be_slash and reading.digit == "0" and probabilities[best].argmax() == 1:  # or a circled 1
            return self._judge(reading.seen, (reading.probabilities + probabilities[best]) / 2, [])
        return self._judge(looks[best][1], probabilities[best], [])

    def _judge(self, seen: np.ndarray, probabilities: np.ndarray, parts: list[np.ndarray]) -> Reading:
        """Return the reading for the probabilities (10,) of a picture, and those of each thing in it if there are several."""
        first, second = probabilities.argsort()[:-3:-1]
        confidence = float(probabilities[first])
        sure, hint = how_sure(confidence), HINTS.get("".join(sorted(DIGITS[first] + DIGITS[second])), "")
        if parts and all(np.sort(part)[-2:].sum() >= max(self.strange, 0.9) for part in parts):
            verdict, message = "several", f"{NUMBERS.get(len(parts), str(len(parts)))} digits: write one at a time, {AS_NUMBER}."
        elif probabilities[[first, second]].sum() < self.strange or is_blob(seen) or seen.max() < PALEST:
            verdict, message = "not_a_digit", "This does not look like a digit."
        elif confidence < self.sure:
            verdict, message = "unsure", f"Unsure: {first} or {second}? {hint}".rstrip()
        elif probabilities[second] > RIVAL:
            verdict, message = "digit", f"This is probably {_a(first)} ({sure} sure), or else {_a(second)}. {hint}".rstrip()
        else:
            verdict, message = "digit", f"This is {_a(first)} ({sure} sure)."
        return Reading(probabilities, DIGITS[first], confidence, verdict, message, seen)

    def probabilities(self, seen: np.ndarray) -> np.ndarray:
        """Return (N, 10) float64 probabilities, each row summing to 1, of (N, 28, 28) uint8 pictures."""
        probabilities = self.quick.probabilities(to_tensor(seen)).double().numpy()
        return probabilities / probabilities.sum(axis=1, keepdims=True)  # float32 sums to 1 within 1e-6 only


def liking(probabilities: np.ndarray) -> np.ndarray:
    """Return (N,) how much the network likes pictures, by their probabilities (N, 10): as one digit, and as a digit at all."""
    first, two = probabilities.max(axis=1), np.sort(probabilities, axis=1)[:, -2:].sum(axis=1)
    return np.log(first) + STRANGE_COST * np.log(two)


def how_sure(confidence: float) -> str:
    """Return a confidence in words; nobody is 100.0 % sure."""
    return "over 99.9 %" if confidence > 0.999 else f"{100 * confidence:.1f} %"


def _a(digit: int) -> str:
    """Return a digit with its article: "an 8"."""
    return f"{'an' if digit == 8 else 'a'} {digit}"


# --- the command line ---------------------------------------------------------------------------------------------------

def read_files(recognizer: Recognizer, paths: Sequence[Path]) -> Iterator[tuple[Path, Reading]]:
    """Yield (path, reading) for files in their order, some batches at a time, so that memory stays flat.

    Where the first one is tiny, as all of a data set are, one thread reads: others would mostly wait for it to leave Python.
    """
    batches = (paths[at:at + BATCH] for at in range(0, len(paths), BATCH))
    for batch, readings in in_parallel(recognizer.read_batch, batches, 1 if paths and _is_tiny(paths[0]) else None):
        yield from zip(batch, readings, strict=True)


def _is_tiny(path: Path) -> bool:
    """Say whether a file is a picture of at most TINY pixels a side."""
    try:
        return max(open_picture(path).size) <= TINY
    except PictureError:
        return False


def to_record(path: Path, reading: Reading) -> dict:
    """Return a reading as the row of a file: path, digit, confidence, verdict, message, p0 to p9."""
    probabilities = [None] * 10 if reading.probabilities is None else reading.probabilities.round(6).tolist()
    return {"path": str(path), "digit": reading.digit, "confidence": round(reading.confidence, 6), "verdict": reading.verdict,
            "message": reading.message, **{f"p{digit}": p for digit, p in enumerate(probabilities)}}


def _lines(words: str, wide: int) -> str:
    """Return a title of --plot in up to three lines of so many letters."""
    return textwrap.fill(words, wide, max_lines=3, placeholder="...")


def plot(readings: list[tuple[Path, Reading]], out: str) -> None:
    """Draw, for every reading, the picture, what the network saw, and its ten probabilities as bars, into a file."""
    import matplotlib
    matplotlib.use("Agg")  # no screen needed
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(readings), 3, figsize=(9, 2.6 * len(readings)), squeeze=False, layout="constrained",
                                width_ratios=(1, 1, 2))
    for (path, reading), (left, middle, right) in zip(readings, axes, strict=True):
        left.set_title(_lines(path.name.encode(errors="replace").decode(), 26), fontsize=9, parse_math=False)
        left.axis("off")
        middle.axis("off")
        if reading.verdict != "unreadable":
            left.imshow(to_pixels(path), cmap="gray", vmin=0, vmax=255)
        if reading.probabilities is None:
            right.axis("off")
            right.text(0, 0.5, reading.message, wrap=True, va="center")
            continue
        middle.imshow(reading.seen, cmap="gray", vmin=0, vmax=255)
        middle.set_title("what the network saw", fontsize=10)
        colours = ["#c2410c" if digit == reading.digit else "#a8a29e" for digit in DIGITS]
        right.bar(list(DIGITS), reading.probabilities, color=colours)
        right.set_ylim(0, 1)
        right.set_title(_lines(reading.message, 60), fontsize=10)
        right.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=110)
    plt.close(figure)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the flags of a command line."""
    parser = Parser(description="Read handwritten digits in picture files.", allow_abbrev=False)
    add_pictures(parser)
    add_max_error(parser, MAX_ERROR, ERRORS)
    parser.add_argument("--csv", metavar="FILE", help="write a CSV file")
    parser.add_argument("--plot", metavar="FILE", help=f"draw the first {PLOTTED} pictures with their probabilities")
    return parser.parse_args(arguments)


def run(flags: argparse.Namespace) -> int:
    """Read what the flags name and print or write it; return the exit code: 2 where a picture could not be read."""
    if flags.plot and Path(flags.plot).suffix.lower() not in PLOTS:
        raise ValueError(f"{flags.plot} has no suffix of a picture. Name a file that ends in {', '.join(PLOTS)}.")
    if flags.plot and not Path(flags.plot).parent.is_dir():
        raise ValueError(f"There is no folder {Path(flags.plot).parent} for --plot. Make it, or name another one.")
    share_processors()
    recognizer = Recognizer.from_pretrained(flags.weights, flags.max_error)
    paths = find_pictures(flags.paths)
    spare_pictures(paths, csv=flags.csv, plot=flags.plot)
    table = writer = None
    if flags.csv:
        table = open(flags.csv, "w", newline="", encoding="utf-8", errors="backslashreplace")
        writer = csv.DictWriter(table, to_record(Path(), Reading.without_ink("", "")).keys())
        writer.writeheader()
    width = max(len(shown(path)) for path in paths)
    if not flags.json and not flags.csv:
        print(f"{'path':{width}}  digit  confidence  verdict      message")
    kept, bad = [], []
    steps = read_files(recognizer, paths)
    for path, reading in progress(steps, len(paths)) if flags.csv or not sys.stdout.isatty() else steps:  # else the rows show it
        if writer:
            writer.writerow(to_record(path, reading))
        if flags.json:
            print(json.dumps(to_record(path, reading), ensure_ascii=False))
        elif not flags.csv:
            print(f"{shown(path):{width}}  {reading.digit or '-':5}  {reading.confidence:10.4f}  {reading.verdict:11}  "
                  f"{reading.message}")
        if reading.verdict == "unreadable":
            bad.append(reading.message)
        if len(kept) < PLOTTED:
            kept.append((path, reading))
    if table:
        table.close()
        print(f"wrote {flags.csv}: {len(paths)} rows", file=sys.stderr)
    if flags.plot:
        plot(kept, flags.plot)
        print(f"wrote {flags.plot}: {len(kept)} of {len(paths)} pictures", file=sys.stderr)
    return count_bad(bad, len(paths))


def main() -> int:
    """Run the command line; return its exit code."""
    return end_well(lambda: run(parse()))


if __name__ == "__main__":
    sys.exit(main())
