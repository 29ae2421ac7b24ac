"""Statistics of probabilities and labels: what is measured, wherever it is measured."""

import numpy as np
import torch
import torch.nn.functional as F

from data import NO_DIGIT, Pictures
from model import DigitNet
from preprocess import to_tensor
from recognize import DIGITS

ERROR_TARGETS = (0.05, 0.01, 0.001)  # shares of wrong answers that a user may ask for with --max-error
BINS = 15  # of the calibration error, as Guo et al. 2017


def logits_of(net: DigitNet, seen: torch.Tensor, batch: int = 512) -> torch.Tensor:
    """Return the logits (N, 10) float32, on the CPU, of pictures (N, 28, 28) uint8; puts the network into eval mode."""
    net.eval()
    device = next(net.parameters()).device
    with torch.no_grad():  # not inference_mode: fit_temperature differentiates what comes after
        return torch.cat([net(to_tensor(part).to(device)).float().cpu() for part in seen.split(batch)])


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


def calibrate(net: DigitNet, validation: Pictures) -> None:
    """Set the network's temperature, and in its facts the limits that turn probabilities into verdicts.

    From validation pictures alone: for every error target the smallest confidence above which the share of wrong answers stays
    within it, with coverage, n, and the upper end of the 95 % interval of that share; and the sum of the two largest
    probabilities that 99 % of the digits reach ("not_a_digit"). How many of what is no digit stay below is noted beside it.
    """
    digits = validation.labels != NO_DIGIT
    net.temperature = 1.0  # whatever it was: by it a picture is in doubt, and at 1 nearly all are, so that the fit is of two looks
    net.temperature = fit_temperature(logits_of(net, validation.seen[digits]), validation.labels[digits])
    probabilities = (logits_of(net, validation.seen) / net.temperature).softmax(1).double().numpy()
    digits, labels = digits.numpy(), validation.labels.numpy()
    two = np.sort(probabilities, axis=1)[:, -2:].sum(axis=1)
    strange = float(np.quantile(two[digits], 0.01))
    wrong = probabilities[digits].argmax(axis=1) != labels[digits]
    net.facts["limits"] = {
        "errors": [error_limit(probabilities[digits].max(axis=1), wrong, target) for target in ERROR_TARGETS],
        "not_a_digit": strange,
        "refused": {"right": int((two[~digits] < strange).sum()), "n": int((~digits).sum())},
    }


def error_limit(confidence: np.ndarray, wrong: np.ndarray, target: float) -> dict:
    """Return the least threshold on the confidence (N,) that keeps the share of answers that are wrong (N,) bool within `target`,
    and what it costs."""
    order = np.argsort(-confidence, kind="stable")
    kept = np.arange(1, len(order) + 1)
    within = np.flatnonzero(wrong[order].cumsum() <= target * kept)
    n = int(within[-1]) + 1 if len(within) else 1
    errors = int(wrong[order][:n].sum())
    return {"max_error": target, "threshold": float(confidence[order[n - 1]]) if n < len(order) else 0.0,
            "coverage": n / len(order), "n": n, "wrong": errors, "upper": wilson(errors, n)[1]}


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
    return [{"digit": DIGITS[d], "precision": right[d] / max(read[d], 1), "recall": right[d] / max(written[d], 1),
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
