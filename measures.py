"""Statistics of probabilities and labels: what is measured, wherever it is measured."""

from collections.abc import Collection, Iterable, Mapping
from functools import reduce
from operator import add

import numpy as np
import torch
import torch.nn.functional as F

from data import NO_DIGIT, Pictures
from model import DigitNet
from preprocess import to_tensor

ERROR_TARGETS = (0.05, 0.01, 0.001)  # shares of wrong answers that a user may ask for with --max-error
BINS = 15  # of the calibration error, as Guo et al. 2017


def logits_of(net: DigitNet, seen: torch.Tensor) -> torch.Tensor:
    """Return the logits (N, 10) float32, on the CPU, of pictures (N, 28, 28) uint8; puts the network into eval mode."""
    net.eval()
    device = next(net.parameters()).device
    with torch.no_grad():  # not inference_mode: fit_temperature differentiates what comes after
        return torch.cat([net(to_tensor(part).to(device)).float().cpu() for part in seen.split(512)])  # pictures at a time


def fit_temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the temperature, 0.05 to 20, that makes the labels likeliest (Guo et al. 2017). Raises ValueError for NaN logits."""
    scale = torch.zeros((), requires_grad=True)  # the logarithm of the temperature
    optimiser = torch.optim.LBFGS([scale], lr=0.1, max_iter=100)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = F.cross_entropy(logits / scale.exp(), labels)
        value.backward()
        return value

    optimiser.step(loss)
    temperature = float(scale.detach().exp().clamp(0.05, 20))
    if np.isnan(temperature):
        raise ValueError("The network gives no numbers to measure. Train it anew with a lower --lr.")
    return temperature


def all_digits(kinds: Mapping[str, Pictures]) -> Pictures:
    """Return the digits among pictures of all kinds."""
    pictures = reduce(add, kinds.values())
    return pictures[pictures.labels != NO_DIGIT]


def calibrate(net: DigitNet, validation: Mapping[str, Pictures]) -> None:
    """Set the network's temperature, and the limits in its facts, from validation pictures of one or more kinds alone."""
    pictures = all_digits(validation)
    net.temperature = 1.0  # whatever it was: by it a picture is in doubt, and at 1 nearly all are, so that the fit is of two looks
    net.temperature = fit_temperature(logits_of(net, pictures.seen), pictures.labels)
    net.facts["limits"] = find_limits(net, validation)


def find_limits(net: DigitNet, validation: Mapping[str, Pictures]) -> dict:
    """Return what turns probabilities into verdicts: limits that hold for each kind of validation pictures by itself, since
    MNIST is easy, and drawings must not hide behind it.

    For every error target ("errors") the smallest confidence above which the share of wrong answers stays within it, and how every
    kind fares by it; and the sum of the two largest probabilities that 99 % of the digits of each kind reach ("not_a_digit"). How
    many of what is no digit stay below is noted beside it ("refused").
    """
    kinds, two, others = {}, {}, [np.zeros(0)]
    for kind, pictures in validation.items():
        probabilities = (logits_of(net, pictures.seen) / net.temperature).softmax(1).double().numpy()
        pairs, digits = np.sort(probabilities, axis=1)[:, -2:].sum(axis=1), pictures.labels.numpy() != NO_DIGIT
        others.append(pairs[~digits])
        if digits.any():
            two[kind] = pairs[digits]
            kinds[kind] = probabilities[digits].max(axis=1), probabilities[digits].argmax(axis=1) != pictures.labels.numpy()[digits]
    strange, others = min(float(np.quantile(each, 0.01)) for each in two.values()), np.concatenate(others)
    return {"errors": error_limits(kinds, ERROR_TARGETS), "not_a_digit": strange,
            "refused": {"right": int((others < strange).sum()), "n": len(others)}}


def error_limits(kinds: Mapping[str, tuple[np.ndarray, np.ndarray]], targets: Iterable[float]) -> list[dict]:
    """Return for every target the least threshold on the confidence (N,) at which of each kind of answers, of which some are wrong
    (N,) bool, a share of at most the target is wrong, and how every kind fares by it."""
    rows = []
    for target in targets:
        threshold = least_threshold(kinds.values(), target)
        rows.append({"max_error": target, "threshold": threshold,
                     "kinds": {name: answered(*kind, threshold) for name, kind in kinds.items()}})
    return rows


def least_threshold(kinds: Collection[tuple[np.ndarray, np.ndarray]], target: float) -> float:
    """Return the least threshold on the confidence (N,) at which of each kind of answers, of which some are wrong (N,) bool, a
    share of at most `target` is wrong; 1 where there is none."""
    thresholds = np.unique(np.concatenate([[0.0, 1.0], *(confidence for confidence, _ in kinds)]))  # rising
    within = np.ones(len(thresholds), bool)
    for confidence, wrong in kinds:
        kept, errors = (len(each) - np.searchsorted(np.sort(each), thresholds) for each in (confidence, confidence[wrong]))
        within &= errors <= target * kept
    return float(thresholds[within.argmax()]) if within.any() else 1.0


def answered(confidence: np.ndarray, wrong: np.ndarray, threshold: float) -> dict:
    """Return how answers with a confidence (N,), of which some are `wrong` (N,) bool, fare by a threshold: the share that
    reaches it, how many these are, how many of them are wrong, and the upper end of the 95 % interval of that share, or 1."""
    kept = confidence >= threshold
    n, errors = int(kept.sum()), int(wrong[kept].sum())
    return {"coverage": n / len(confidence), "n": n, "wrong": errors, "upper": wilson(errors, n)[1] if n else 1.0}


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the expected calibration error, 0 to 1: |confidence - accuracy| over BINS equal bins, weighted by their size."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = [abs(confidence[bins == b].sum() - right[bins == b].sum()) for b in range(BINS)]
    return float(sum(gaps) / len(labels))


def wilson(right: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval (Wilson 1927) of a share of `right` in `n`."""
    z, share = 1.96, right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return float(middle - half), float(middle + half)


def confusion_of(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return (10, 10) counts: row is the digit written, column the digit read."""
    return np.bincount(10 * labels + answers, minlength=100).reshape(10, 10)


def per_class(confusion: np.ndarray) -> list[dict]:
    """Return precision, recall, F1 and n of every digit from a confusion matrix."""
    right, read, written = confusion.diagonal(), confusion.sum(axis=0), confusion.sum(axis=1)
    return [{"digit": str(d), "precision": right[d] / max(read[d], 1), "recall": right[d] / max(written[d], 1),
             "f1": 2 * right[d] / max(read[d] + written[d], 1), "n": int(written[d])} for d in range(10)]


def share(right: int, n: int) -> dict:
    """Return a share as it is kept in metrics.json: right, n, share, and the ends of its 95 % interval."""
    return {"right": int(right), "n": int(n), "share": right / n, "interval": wilson(int(right), int(n))}


def auroc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Return the chance that a positive has a larger score than a negative (Mann and Whitney 1947); ties count half."""
    scores = np.concatenate([positives, negatives])
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (counts.cumsum() - (counts - 1) / 2)[inverse]
    n, m = len(positives), len(negatives)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))
