"""How other hands write the same digits: pen strokes shaken, and restyled by rules.

A sample is a list of strokes, (n, 2) float32 arrays of points, x right and y down, in any unit.
"""

import cv2
import numpy as np

HANDS = {  # how often a redrawn digit gets the style of another hand
    "0": {"slashed": 0.1}, "1": {"hooked": 0.4, "footed": 0.2}, "4": {"open": 0.2}, "7": {"crossed": 0.25}}


def restyle(sample: list[np.ndarray], label: str, style: str, reach: float = 1.0) -> list[np.ndarray]:
    """Return a sample as another hand writes it: a "hooked", "climbing" or "footed" 1, a "crossed" 7, a "slashed" or "flat" 0, an
    "open" 4, a "hanging" 9.

    Hook, upstroke, foot, cross and slash are a stroke more; `reach` makes all but the last longer or shorter. A flat 0 is wider by
    `reach`. An open 4 loses what its last stroke has in the upper two fifths, if that is a stroke of its own which begins there. A
    hanging 9 is a ring from whose foot, or further left by `reach`, the stem hangs. Any other sample comes back as it is.
    """
    points = np.concatenate(sample)
    low, high = points.min(axis=0), points.max(axis=0)
    size, middle = float((high - low).max()), (low + high) / 2
    if (label, style) == ("0", "slashed"):
        extra = np.array([[high[0], low[1]], [low[0], high[1]]])
    elif (label, style) == ("7", "crossed"):
        stem = points[np.abs(points[:, 1] - middle[1]).argmin()]  # where the bar crosses, half way down
        extra = stem + np.array([[-0.22, 0.02], [0.22, -0.02]]) * reach * size
    elif (label, style) == ("1", "hooked"):
        top = points[points[:, 1].argmin()]
        extra = np.array([top + np.array([-0.28, 0.24]) * reach * size, top])
    elif (label, style) == ("1", "footed"):
        foot = points[points[:, 1].argmax()]
        extra = foot + np.array([[-0.25, 0.0], [0.25, 0.0]]) * reach * size
    elif (label, style) == ("1", "climbing"):
        top = points[points[:, 1].argmin()]
        extra = np.array([top + np.array([-0.22, 0.5]) * reach * size, top])
    elif (label, style) == ("0", "flat"):
        return [((stroke - middle) * (1 + 0.9 * reach, 1) + middle).astype(np.float32) for stroke in sample]
    elif (label, style) == ("9", "hanging"):
        half = (high - low) / (2, 4)  # of the ring's width and height
        turn = np.pi / 2 + 0.9 * (reach - 0.6) + np.linspace(0, 2 * np.pi, 33)  # from its foot or the left of it, over the top
        ring = low + half * (1 + np.stack([np.cos(turn), np.sin(turn)], axis=1))
        return [np.vstack([ring, [ring[-1, 0] + 0.4 * half[0], high[1]]]).astype(np.float32)]
    elif (label, style) == ("4", "open") and len(sample) > 1 and np.ptp(sample[-1][:, 1]) > 0.6 * np.ptp(points[:, 1]):
        below = sample[-1][sample[-1][:, 1] > low[1] + 0.4 * np.ptp(points[:, 1])]
        return [*sample[:-1], below] if len(below) > 1 else sample
    else:
        return sample
    return [*sample, extra.astype(np.float32)]


def shake(sample: list[np.ndarray], random: np.random.Generator, tremor: float) -> list[np.ndarray]:
    """Return a sample turned, stretched and slanted a little, its strokes trembling by up to `tremor` of its size."""
    points = np.concatenate(sample)
    size = max(float(np.ptp(points, axis=0).max()), 1e-6)
    turn, slant = random.normal(0, 0.08), random.normal(0, 0.1)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ [[1, slant], [0, 1]]
    matrix = matrix @ np.diag(np.exp(random.normal(0, 0.12, 2)))
    amount = tremor * size * random.random()
    shaken = []
    for stroke in sample:
        noise = random.normal(0, 1, stroke.shape)
        noise = cv2.blur(noise, (1, 5)) if len(noise) > 1 else noise  # a hand trembles slower than a pen is sampled
        shaken.append(((stroke + amount * noise) @ matrix.T).astype(np.float32))
    return shaken


def in_another_hand(sample: list[np.ndarray], label: str, random: np.random.Generator) -> list[np.ndarray]:
    """Return a sample shaken and, now and then, in a style of another hand (HANDS)."""
    for style, often in HANDS.get(label, {}).items():
        if random.random() < often:
            sample = restyle(sample, label, style, random.uniform(0.6, 1.6))
    return shake(sample, random, 0.02)
