"""Say which ink decided: the digit is read again and again with a little of it covered (Zeiler and Fergus 2014, occlusion)."""

import numpy as np
import torch

from preprocess import SIDE, to_tensor
from recognize import Recognizer

PATCH = 5  # pixels of 28; the side of what is laid over, about twice as wide as a stroke
STRIDE = 2  # pixels from one patch to the next
ZOOM = 10  # pixels of the drawn map for one of `seen`
# Okabe and Ito's vermilion and blue (2008), which people of every colour vision tell apart
FOR, AGAINST, IDLE, PAPER = (213, 94, 0), (0, 114, 178), (168, 162, 158), (255, 255, 255)


def evidence(recognizer: Recognizer, seen: np.ndarray, digit: str) -> np.ndarray:
    """Return (28, 28) float64: how much the ink around a pixel spoke for a digit, "0" to "9"; below 0 against it.

    `seen` is (28, 28) uint8, white on black. The unit is the fall of the digit's log-odds when paper is laid over the ink, mean
    over the patches that cover the pixel; where there is no ink to cover it is 0. One forward pass.
    """
    patches = [(slice(top, top + PATCH), slice(left, left + PATCH)) for top in range(0, SIDE - PATCH + 2, STRIDE)
               for left in range(0, SIDE - PATCH + 2, STRIDE)]
    patches = [patch for patch in patches if seen[patch].any()]
    covered = np.repeat(seen[None], 1 + len(patches), axis=0)  # the first one stays whole
    for picture, patch in zip(covered[1:], patches, strict=True):
        picture[patch] = 0
    whole, *odds = _log_odds(recognizer, covered, int(digit))
    fall, times = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    for patch, value in zip(patches, odds, strict=True):
        fall[patch] += whole - value
        times[patch] += 1
    return np.where(seen > 0, fall / np.maximum(times, 1), 0.0)


def _log_odds(recognizer: Recognizer, seen: np.ndarray, digit: int) -> list[float]:
    """Return the log-odds of a digit against the nine others for (N, 28, 28) uint8 pictures; not cut where one is certain."""
    with torch.inference_mode():  # one look at each: with a second one at some, what is covered would not be all that differs
        logits = recognizer.quick.head(recognizer.quick.features(to_tensor(seen))) / recognizer.net.temperature  # (N, 10)
    others = [other for other in range(10) if other != digit]
    return (logits[:, digit] - logits[:, others].logsumexp(dim=1)).tolist()


def draw_evidence(seen: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """Return (280, 280, 3) uint8: the ink on white paper, vermilion where it spoke for the digit, blue where against it.

    `seen` is (28, 28) uint8, `evidence` (28, 28) as above; the strongest pixel has the full colour, one without weight is grey.
    """
    weight = (evidence / max(np.abs(evidence).max(), 1e-9))[..., None]  # (28, 28, 1), -1 to 1
    colour = np.where(weight > 0, FOR, AGAINST)
    ink = IDLE + np.abs(weight) * (colour - np.array(IDLE))
    cover = seen[..., None] / 255
    picture = (PAPER + cover * (ink - np.array(PAPER)) + 0.5).astype(np.uint8)
    return picture.repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
