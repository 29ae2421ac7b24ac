"""What we learn and measure from: MNIST, folders of pictures by class, and pen strokes drawn on paper."""

import csv
import gzip
import hashlib
import json
import os
import socket
from dataclasses import dataclass
from http.client import HTTPException
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from torchvision import datasets

from bounds import SUFFIXES
from decode import PictureError, open_picture, size_of, to_pixels
from hands import in_another_hand
from preprocess import see

VALIDATION = 5_000  # pictures; the last of MNIST's 60,000, written by people who wrote none of those before them
VALIDATION_WRITERS = 0.2  # share of the writers of stroke files that are never learned from
NO_DIGIT = -1  # the label of what is no digit: letters, signs, scribbles
LOOK_ALIKES = frozenset("OoIliZzSsqgbB/|")  # letters and signs that are digits in shape; neither learned from nor measured
PAD = 280  # pixels; the side of the page's sketch pad, on which strokes are drawn
SILENCE = 30  # seconds that a mirror of MNIST may say nothing
FARTHEST = 1e9  # from the origin that a point of a stroke may lie, in any unit: a square of it is still a float32
WIDER = 0.15  # of a box's side, on each side of it: what lies around a digit in a field
DIGITS = frozenset("0123456789")
# of UNIPEN's digits, those that show no whole digit, or another than their label, found by eye among what was read wrong
BROKEN = frozenset((
    "df4a0310", "51d982a6", "8e08c8fb", "103812fc", "4d5e20f9",  # the stem of a 4 alone
    "35a9a046", "6fe8ef4c",  # the slash of a 0 alone
    "b7635727", "f92fbac4",  # one ring of an 8
    "bc2a38b0",  # a 2, labelled 1
))
MISSING = "There is no {} {}. Check the name."
MNIST_FILES = {True: "train", False: "t10k"}


@dataclass(frozen=True)
class Pictures:
    """Pictures at the junction and what they show: `seen` (N, 28, 28) uint8, `labels` (N,) int64, 0 to 9 or NO_DIGIT."""

    seen: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows) -> "Pictures":
        return Pictures(self.seen[rows], self.labels[rows])

    def __add__(self, other: "Pictures") -> "Pictures":
        return Pictures(torch.cat([self.seen, other.seen]), torch.cat([self.labels, other.labels]))


class MNIST(datasets.MNIST):
    """torchvision's, but for files of an older layout beside the right ones: they are pickled."""

    def _check_legacy_exist(self) -> bool:
        return False


def load_mnist(data_dir: str | Path, train: bool) -> Pictures:
    """Return MNIST's 60,000 training pictures, or its 10,000 test pictures, downloaded and checked where they are not there.

    Raises ValueError with a sentence where they can neither be read nor fetched.
    """
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE)  # torchvision would wait for ever
    try:
        os.makedirs(data_dir, exist_ok=True)
        mnist = MNIST(str(data_dir), train=train, download=True)
    except (ConnectionError, TimeoutError, HTTPException) as error:
        raise ValueError(f"The connection broke while MNIST was fetched into {data_dir}. Run the same command again.") from error
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile):
            raise ValueError(_damaged(data_dir, train)) from error
        raise ValueError(f"The folder {data_dir} cannot be used for MNIST ({error.strerror or error}). Name another one with "
                         "--data-dir.") from error
    except (EOFError, ValueError, AssertionError, KeyError, TypeError) as error:
        raise ValueError(_damaged(data_dir, train)) from error
    except RuntimeError as error:
        if "corrupted" in str(error):
            raise ValueError(f"MNIST arrived damaged: what the mirrors send has another checksum. Run again, or put its files into "
                             f"{Path(data_dir) / 'MNIST' / 'raw'} yourself.") from error
        if "download" not in str(error):
            raise ValueError(_damaged(data_dir, train)) from error
        raise ValueError(f"MNIST is not in {data_dir} and could not be fetched: no mirror answers. Connect to the network, or "
                         "name a folder that has MNIST/raw with --data-dir.") from error
    finally:
        socket.setdefaulttimeout(patience)
    pictures = Pictures(mnist.data, mnist.targets)
    if pictures.seen.shape != (len(pictures), 28, 28) or len(pictures) < 2 or not 0 <= int(mnist.targets.min()) <= int(
            mnist.targets.max()) <= 9:
        raise ValueError(_damaged(data_dir, train))
    return pictures


def _damaged(data_dir: str | Path, train: bool) -> str:
    return (f"The MNIST files in {Path(data_dir) / 'MNIST' / 'raw'} are damaged. Delete those that begin with "
            f"{MNIST_FILES[train]!r} and run again: they are fetched anew.")


def split_mnist(pictures: Pictures) -> tuple[Pictures, Pictures]:
    """Return (training, validation) pictures: the last VALIDATION are held back, or a twelfth of a smaller set."""
    held = min(VALIDATION, max(1, len(pictures) // 12))
    return pictures[:-held], pictures[-held:]


def load_folder(folder: str | Path) -> Pictures:
    """Return the pictures of a folder with one sub-folder per class, "0" to "9" (torchvision's ImageFolder layout).

    Any size, format and polarity: they take the road of `preprocess.see`. Raises ValueError with a sentence for a folder that
    is not laid out so, and for the first picture that cannot be read or has no ink.
    """
    if not os.path.isdir(folder):
        raise ValueError(MISSING.format("folder", folder))
    try:
        folders = datasets.ImageFolder(str(folder), allow_empty=True,
                                       is_valid_file=lambda path: _is_picture(Path(path).relative_to(folder)))
    except OSError as error:
        raise ValueError(f"{folder} has no sub-folders of pictures. Make one per digit, named 0 to 9.") from error
    strange = [name for name in folders.classes if name not in DIGITS and not name.startswith(".")]
    if strange:
        raise ValueError(f"{folder} has a sub-folder {strange[0]!r} that is no digit. Name the sub-folders 0 to 9.")
    if not folders.samples:
        raise ValueError(f"The sub-folders of {folder} hold no pictures. Put some there, or leave --extra out.")
    seen = []
    for path, _ in folders.samples:
        try:
            picture = see(path)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        if picture is None:
            raise ValueError(f"{path} shows no ink. Take it out of the folder.")
        seen.append(picture)
    labels = [int(folders.classes[label]) for _, label in folders.samples]
    return Pictures(torch.from_numpy(np.stack(seen)), torch.tensor(labels))


def _is_picture(path: Path) -> bool:
    """Say whether a file, by its path within a folder, is one that the folder is searched for; what begins with a dot, or lies
    below such a folder, is a program's."""
    return path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.parts)


def tables_of(names: str) -> dict[str, Path]:
    """Return tables of labelled pictures, commas between their names, by the names of their folders, by which results are told.

    Raises ValueError with a sentence where two folders have the same name.
    """
    tables = {}
    for table in map(Path, names.split(",")):
        folder = table.resolve().parent.name
        if folder in tables:
            raise ValueError(f"Two tables lie in folders of the name {folder}, by which results are told. Rename one of them.")
        tables[folder] = table
    return tables


def read_table(table: Path) -> list[tuple[Path, str, list]]:
    """Return (file, label, boxes) for the rows of a CSV table with `file`, beside the table, and `label`, digits; where it has a
    column `boxes_xywh`, a file shows several digits. Raises ValueError with a sentence for another table."""
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:  # some spreadsheets put a mark in front
            rows = [(table.parent / row["file"], row["label"].strip(), json.loads(row.get("boxes_xywh") or "[]"))
                    for row in csv.DictReader(file)]
        if not rows or not all(isinstance(boxes, list) for _, _, boxes in rows):
            raise ValueError("no rows")
    except FileNotFoundError as error:
        raise ValueError(MISSING.format("file", table)) from error
    except (OSError, KeyError, TypeError, AttributeError, ValueError, RecursionError, csv.Error) as error:
        raise ValueError(f"{table} is no table of labelled pictures. Name a CSV file, commas between its columns, with the columns "
                         "file and label.") from error
    for path, label, _ in rows:
        if not (label.isascii() and label.isdigit()):
            raise ValueError(f"{table} gives {path.name} the label {label!r}, which is no digit. Mend the row, or take it out.")
    return rows


def load_labelled(table: Path) -> tuple[list[np.ndarray], np.ndarray, int]:
    """Return pictures, uint8 of any size as `to_pixels` makes them, their digits (N,), and how many rows of a table (`read_table`)
    were left out: those with more or fewer boxes than digits. Every box, larger by a sixth on each side, is a picture.

    Raises ValueError with a sentence for another table, and for a picture that cannot be read.
    """
    pictures, labels, left_out = [], [], 0
    for path, label, boxes in read_table(table):
        if len(label) != (len(boxes) or 1):
            left_out += 1
            continue
        try:
            opened = open_picture(path)
            pixels = to_pixels(opened)
            zoom = pixels.shape[1] / size_of(opened)[0]
            for digit, box in zip(label, boxes or [None], strict=True):
                pictures.append(pixels if box is None else _around(pixels, *(zoom * side for side in box)))
                labels.append(int(digit))
        except PictureError as error:
            raise ValueError(f"{path}: {error}") from error
        except (TypeError, ValueError, OverflowError) as error:  # of boxes of another shape, or beside the picture
            raise ValueError(f"{table} gives {path.name} a box that is none. A box is [x, y, width, height], in its "
                             "pixels.") from error
    if not pictures:
        raise ValueError(f"{table} has no row with as many boxes as digits. Give each digit its box.")
    return pictures, np.array(labels), left_out


def _around(pixels: np.ndarray, x: float, y: float, wide: float, high: float) -> np.ndarray:
    """Return the part of a picture in a box and WIDER around it; raise ValueError where there is none."""
    rows = slice(max(0, int(y - WIDER * high)), max(0, int(y + high + WIDER * high) + 1))
    columns = slice(max(0, int(x - WIDER * wide)), max(0, int(x + wide + WIDER * wide) + 1))
    part = np.ascontiguousarray(pixels[rows, columns])
    if not part.size:
        raise ValueError("beside the picture")
    return part


@dataclass(frozen=True)
class Strokes:
    """Pen strokes: sample i is `samples[i]`, a list of (n, 2) float32 arrays (x right, y down, any unit)."""

    samples: list[list[np.ndarray]]
    labels: np.ndarray  # (N,) strings
    writers: np.ndarray  # (N,) strings

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, rows) -> "Strokes":
        rows = np.arange(len(self))[rows]
        return Strokes([self.samples[row] for row in rows], self.labels[rows], self.writers[rows])

    def __add__(self, other: "Strokes") -> "Strokes":
        return Strokes(self.samples + other.samples, np.concatenate([self.labels, other.labels]),
                       np.concatenate([self.writers, other.writers]))


def load_strokes(paths: str | Path, numbers: bool = False) -> Strokes:
    """Return the samples of stroke files (.npz with points, stroke_start, sample_start, label, writer; nothing pickled).

    Several files are named with commas between them. Only where `numbers` is said may a sample be several digits. Raises
    ValueError with a sentence for a file that is missing or laid out in another way.
    """
    samples, labels, writers = [], [], []
    for path in str(paths).split(","):
        try:
            with np.load(path, allow_pickle=False) as file:
                points, stroke_start, sample_start = (file[key] for key in ("points", "stroke_start", "sample_start"))
                label, writer = file["label"].astype(str), file["writer"].astype(str)
            starts = (stroke_start, len(points)), (sample_start, len(stroke_start) - 1)
            if (points.dtype.kind not in "fiu" or points.shape[1:] != (2,) or not np.abs(points).max() < FARTHEST
                    or not label.shape == writer.shape == (len(sample_start) - 1,)
                    or any(start.dtype.kind not in "iu" or start.ndim != 1 or (np.diff(start.astype(np.int64)) < 1).any()
                           or start[0] < 0 or start[-1] > end for start, end in starts)
                    or any(each.isdigit() and not (each in DIGITS or numbers and each.isascii()) for each in label)):
                raise ValueError("parts that do not fit each other")
        except FileNotFoundError as error:
            raise ValueError(MISSING.format("file", path)) from error
        except Exception as error:  # numpy, zipfile and the missing keys each raise their own
            raise ValueError(f"{path} is no stroke file. Name an .npz with points, stroke_start, sample_start, label and "
                             "writer.") from error
        labels.append(label)
        writers.append(writer)
        strokes = [points[start:stop].astype(np.float32) for start, stop in pairwise(stroke_start)]
        samples += [strokes[start:stop] for start, stop in pairwise(sample_start)]
    return Strokes(samples, np.concatenate(labels), np.concatenate(writers))


def split_writers(strokes: Strokes) -> tuple[Strokes, Strokes]:
    """Return (training, validation) strokes that share no writer. A writer's name alone decides, whichever files are named."""
    unseen = np.array([hashlib.md5(writer.encode()).digest()[0] < 256 * VALIDATION_WRITERS for writer in strokes.writers])
    return strokes[~unseen], strokes[unseen]


def name_of(sample: list[np.ndarray]) -> str:
    """Return a name, eight hexadecimal digits, that a sample has by its points alone."""
    return hashlib.md5(b"|".join(stroke.astype("<f4").tobytes() for stroke in sample)).hexdigest()[:8]


def are_whole(samples: list[list[np.ndarray]]) -> np.ndarray:
    """Return (N,) bool, which samples are not among the BROKEN ones."""
    return np.array([name_of(sample) not in BROKEN for sample in samples], bool)


def draw(sample: list[np.ndarray], width: float, size: float, at: tuple[float, float] = (0.5, 0.5),
         pad: int = PAD) -> np.ndarray:
    """Return a (pad, pad) uint8 sketch, black ink on white: a sample's longest side is `size` of the pad, its middle at `at`.

    `width` is that of the pen, in pixels of the pad.
    """
    points = np.concatenate(sample)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = size * pad / max(float((high - low).max()), 1e-6)
    middle = np.array(at) * pad
    paper = np.full((pad, pad), 255, np.uint8)
    for stroke in sample:
        line = (stroke - (low + high) / 2) * scale + middle
        line = np.round(line * 8).astype(np.int32)  # eighths of a pixel
        if len(line) == 1:
            line = np.repeat(line, 2, axis=0)
        cv2.polylines(paper, [line[:, None]], False, 0, max(1, round(width)), cv2.LINE_AA, shift=3)
    return paper


def render(strokes: Strokes, times: int, seed: int) -> Pictures:
    """Return drawings of every sample after the road of `preprocess.see`, each with a pen, a size and a hand of its own.

    A digit is drawn `times` times, from the second time on shaken and, now and then, restyled. What is no digit is drawn half
    as often, at least once, with the label NO_DIGIT; what may be one (LOOK_ALIKES) is left out. Raises ValueError with a sentence
    where nothing is left.
    """
    random = np.random.default_rng(seed)
    seen, labels = [], []
    for sample, label in zip(strokes.samples, strokes.labels, strict=True):
        if label in LOOK_ALIKES:
            continue
        for time in range(times if label.isdigit() else max(1, times // 2)):
            hand = in_another_hand(sample, label, random) if time else sample
            size = random.uniform(0.3, 0.9)
            picture = see(draw(hand, width=size * PAD * random.uniform(0.03, 0.16), size=size))
            if picture is not None:
                seen.append(picture)
                labels.append(int(label) if label.isdigit() else NO_DIGIT)
    if not seen:
        raise ValueError("The stroke files give no drawing to learn from, or none to measure on. Name files of more writers.")
    return Pictures(torch.from_numpy(np.stack(seen)), torch.tensor(labels))
