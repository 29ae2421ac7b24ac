"""What we learn and measure from: MNIST, folders of pictures by class, and pen strokes drawn on paper."""

import gzip
import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from torchvision import datasets

from preprocess import see

VALIDATION = 5_000  # pictures; the last of MNIST's 60,000, written by people who wrote none of those before them
VALIDATION_WRITERS = 0.2  # share of the writers of a stroke file that are never learned from
PAD = 280  # pixels; the side of the page's sketch pad, on which strokes are drawn
MNIST_FILES = {True: "train", False: "t10k"}


@dataclass(frozen=True)
class Pictures:
    """Pictures at the junction and what they show: `seen` (N, 28, 28) uint8, `labels` (N,) int64 from 0 to 9."""

    seen: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows) -> "Pictures":
        return Pictures(self.seen[rows], self.labels[rows])

    def __add__(self, other: "Pictures") -> "Pictures":
        return Pictures(torch.cat([self.seen, other.seen]), torch.cat([self.labels, other.labels]))


def load_mnist(data_dir: str | Path, train: bool) -> Pictures:
    """Return MNIST's 60,000 training pictures, or its 10,000 test pictures, downloaded and checked where they are not there.

    Raises ValueError with a sentence where they can neither be read nor fetched.
    """
    try:
        os.makedirs(data_dir, exist_ok=True)
        mnist = datasets.MNIST(str(data_dir), train=train, download=True)
    except (gzip.BadGzipFile, EOFError, ValueError, AssertionError) as error:
        raise ValueError(_damaged(data_dir, train)) from error
    except OSError as error:
        raise ValueError(f"The folder {data_dir} cannot be used for MNIST ({error.strerror or error}). Name another one with "
                         "--data-dir.") from error
    except RuntimeError as error:
        if "download" not in str(error):
            raise ValueError(_damaged(data_dir, train)) from error
        raise ValueError(f"MNIST is not in {data_dir} and could not be fetched: no mirror answers. Connect to the network, or "
                         "name a folder that has MNIST/raw with --data-dir.") from error
    pictures = Pictures(mnist.data, mnist.targets)
    if pictures.seen.shape != (len(pictures), 28, 28) or not len(pictures) or not 0 <= int(mnist.targets.min()) <= int(
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
    try:
        folders = datasets.ImageFolder(str(folder), allow_empty=True)
    except OSError as error:
        raise ValueError(f"{folder} has no sub-folders of pictures. Make one per digit, named 0 to 9.") from error
    strange = [name for name in folders.classes if name not in set("0123456789")]
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


@dataclass(frozen=True)
class Strokes:
    """Pen strokes: sample i is `samples[i]`, a list of (n, 2) float32 arrays (x right, y down, any unit)."""

    samples: list[list[np.ndarray]]
    labels: np.ndarray  # (N,) strings
    writers: np.ndarray  # (N,) strings

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, rows) -> "Strokes":
        rows = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else rows
        return Strokes([self.samples[row] for row in rows], self.labels[rows], self.writers[rows])


def load_strokes(path: str | Path) -> Strokes:
    """Return the samples of a stroke file (.npz with points, stroke_start, sample_start, label, writer; nothing pickled).

    Raises ValueError with a sentence for a file that is missing or laid out in another way.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            points, stroke_start, sample_start = (file[key] for key in ("points", "stroke_start", "sample_start"))
            labels, writers = file["label"], file["writer"]
    except Exception as error:  # numpy, zipfile and the missing keys each raise their own
        raise ValueError(f"{path} is no stroke file. Name an .npz with points, stroke_start, sample_start, label and "
                         "writer.") from error
    strokes = [points[start:stop] for start, stop in pairwise(stroke_start)]
    samples = [strokes[start:stop] for start, stop in pairwise(sample_start)]
    return Strokes(samples, labels, writers)


def split_writers(strokes: Strokes) -> tuple[Strokes, Strokes]:
    """Return (training, validation) strokes that share no writer; the same split whatever the seed."""
    writers = np.unique(strokes.writers)
    held = np.random.default_rng(0).permutation(writers)[:max(1, round(VALIDATION_WRITERS * len(writers)))]
    unseen = np.isin(strokes.writers, held)
    return strokes[~unseen], strokes[unseen]


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
    """Return `times` drawings of every sample, each with a pen and a size of its own, after the road of `preprocess.see`."""
    random = np.random.default_rng(seed)
    seen, labels = [], []
    for sample, label in zip(strokes.samples, strokes.labels, strict=True):
        for _ in range(times):
            size = random.uniform(0.3, 0.9)
            picture = see(draw(sample, width=size * PAD * random.uniform(0.03, 0.16), size=size))
            if picture is not None:
                seen.append(picture)
                labels.append(int(label))
    return Pictures(torch.from_numpy(np.stack(seen)), torch.tensor(labels))
