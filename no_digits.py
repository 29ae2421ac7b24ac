"""What is no digit, to learn that no class is likely, and to measure it: scribbles, patterns, halves of digits."""

import cv2
import numpy as np
import torch

from data import Pictures, Strokes, render

HALVES = {"0": "lr", "2": "l", "3": "l", "4": "l", "5": "lr", "6": "r", "7": "l", "9": "l"}  # which half is like no digit


def scribble(random: np.random.Generator) -> list[np.ndarray]:
    """Return strokes that are no digit: one to four wandering lines, in all longer than any digit is and not all along one
    direction, which could be a 1."""
    while True:
        strokes = []
        for _ in range(random.integers(1, 5)):
            bends = random.normal(0, 0.3, random.integers(20, 140)) + random.normal(0, 0.1)
            heading = bends.cumsum() + random.uniform(0, 2 * np.pi)
            line = np.stack([np.cos(heading), np.sin(heading)], axis=1).cumsum(axis=0)
            strokes.append((line + random.normal(0, 12, 2)).astype(np.float32))
        extent = np.ptp(np.concatenate(strokes), axis=0)
        if sum(map(len, strokes)) > 4 * extent.max() and extent.min() > 0.45 * extent.max():
            return strokes


def pattern(random: np.random.Generator) -> np.ndarray:
    """Return a picture (64, 64) uint8 that shows nothing: a filled shape, waves, a grid, clouds, or grainy paper."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    turn, grain = random.uniform(0, np.pi), random.uniform(0, 0.25)
    x, y = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    kind = random.integers(5)
    if kind == 0:  # from an ellipse to a rectangle, never as narrow as a 1
        corners, size = random.choice([1, 1.5, 2, 4, 10]), random.uniform(0.2, 0.32)
        ink = 1.0 * (np.abs(x / size) ** (2 * corners) + np.abs(y / size / random.uniform(0.65, 1)) ** (2 * corners) < 1)
        grain *= random.integers(2)
    elif kind == 1:
        ink = 0.5 + 0.5 * np.sin(random.uniform(9, 60) * x + random.uniform(0, 3) * np.sin(random.uniform(1, 8) * y))
    elif kind == 2:
        often = random.uniform(9, 40)
        ink = np.maximum(np.sin(often * x), np.sin(often * random.uniform(0.7, 1.4) * y)) > random.uniform(-0.3, 0.9)
    elif kind == 3:
        clouds = cv2.GaussianBlur(random.normal(0, 1, x.shape), (0, 0), random.uniform(1.5, 8))
        ink = (clouds - clouds.min()) / np.ptp(clouds)
    else:
        ink = random.gamma(random.uniform(0.3, 2), 1, x.shape)
        ink = ink / ink.max()
    ink = random.uniform(0.2, 0.9) * ink + grain * random.normal(0, 1, x.shape)
    return (255 * (1 - ink.clip(0, 1)) * random.uniform(0.5, 1)).astype(np.uint8)


def render_scribbles(count: int, seed: int) -> Pictures:
    """Return `count` scribbles after the road of `preprocess.see`, with the label NO_DIGIT."""
    random = np.random.default_rng(seed)
    return _render_no_digits([scribble(random) for _ in range(count)], "scribble", seed)


def render_halves(strokes: Strokes, count: int, seed: int) -> Pictures:
    """Return `count` halves of digits, cut off upright, with the label NO_DIGIT; none of those that can be a digit (HALVES)."""
    random = np.random.default_rng(seed)
    digits = [(sample, HALVES[label]) for sample, label in zip(strokes.samples, strokes.labels, strict=True) if label in HALVES]
    halves = []
    while digits and len(halves) < count:
        sample, sides = digits[random.integers(len(digits))]
        side, share, points = random.choice(list(sides)), random.uniform(0.3, 0.5), np.concatenate(sample)
        half = [part for stroke in sample for part in _on_one_side(stroke, points, share, side)]
        halves += [half] if half else []
    return _render_no_digits(halves, "half", seed)


def _on_one_side(stroke: np.ndarray, points: np.ndarray, share: float, side: str) -> list[np.ndarray]:
    """Return the parts of a stroke in the share of the width of all points that lies furthest to the "l"eft or "r"ight."""
    cut = points[:, 0].min() + (share if side == "l" else 1 - share) * np.ptp(points[:, 0])
    inside = stroke[:, 0] <= cut if side == "l" else stroke[:, 0] >= cut
    begins = np.flatnonzero(np.diff(inside)) + 1  # of every part but the first
    parts = zip(np.split(stroke, begins), inside[[0, *begins]], strict=True)
    return [part.astype(np.float32) for part, kept in parts if kept and len(part) > 1]


def _render_no_digits(samples: list[list[np.ndarray]], name: str, seed: int) -> Pictures:
    if not samples:
        return Pictures(torch.zeros(0, 28, 28, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64))
    return render(Strokes(samples, np.array([name] * len(samples)), np.array([""] * len(samples))), 1, seed)
