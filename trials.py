"""What is measured of a recogniser: MNIST's test part, drawings, refusals, corruptions, photographs, other seeds, speed."""

import os
import platform
import re
import sys
import time
from dataclasses import asdict
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from conditions import CONDITIONS, LEARNED, NEVER_LEARNED, STYLES, draw_style, is_restyled
from data import LOOK_ALIKES, Pictures, Strokes, are_whole, load_labelled, load_mnist, load_strokes, split_writers, tables_of
from measures import auroc, calibration_error, confusion_of, logits_of, per_class, share, wilson
from model import DigitNet, named_by
from no_digits import pattern, scribble
from preprocess import see, to_tensor
from recipe import TrainConfig
from recognize import BATCH, DIGITS, Reading, Recognizer

SEED = 12345  # of every drawing and every corruption


def open_weights(name: str | None) -> Recognizer:
    """Return the recogniser of some weights; raise ValueError with a sentence where they do not say how they were made."""
    recognizer = Recognizer.from_pretrained(name)
    missing = sorted({"seed", "recipe", "pictures", "history", "validation_accuracy"} - recognizer.net.facts.keys())
    if missing:
        raise ValueError(f"These weights do not say how they were made: their header has no {missing[0]}. Name a folder that "
                         f"train.py wrote.")
    return recognizer


def recipe_of(net: DigitNet, *but: str) -> dict:
    """Return the settings that weights were learned with, but for the seed, some others, and the threads, which weights of before
    have there; what there was not yet when they learned is as it is by default: off."""
    recipe = asdict(TrainConfig()) | net.facts["recipe"]
    return {name: value for name, value in recipe.items() if name not in ("seed", "threads", *but)}


def through_the_road(recognizer: Recognizer, pictures: Pictures) -> float:
    """Return the accuracy on pictures that take the whole road of an upload, `preprocess.see` first; no ink is wrong."""
    seen = [see(picture) for picture in pictures.seen.numpy()]
    kept = [row for row, picture in enumerate(seen) if picture is not None]
    logits = logits_of(recognizer.net, torch.from_numpy(np.stack([seen[row] for row in kept])))
    return float((logits.argmax(1) == pictures.labels[kept]).sum() / len(pictures))


def measure_test(recognizer: Recognizer, data_dir: str) -> tuple[dict, Pictures, np.ndarray]:
    """Return the figures on MNIST's test part, its pictures, and the probabilities (10,000, 10)."""
    pictures = load_mnist(data_dir, train=False)
    logits = logits_of(recognizer.net, pictures.seen)
    probabilities = (logits / recognizer.net.temperature).softmax(1).double().numpy()
    labels = pictures.labels.numpy()
    confusion = confusion_of(probabilities.argmax(1), labels)
    right = int(confusion.trace())
    return {
        "n": len(labels), "right": right, "accuracy": right / len(labels), "interval": wilson(right, len(labels)),
        "accuracy_through_the_road": through_the_road(recognizer, pictures),
        "calibration_error": calibration_error(probabilities, labels),
        "per_class": per_class(confusion), "confusion": confusion.tolist(),
    }, pictures, probabilities


def read_all(recognizer: Recognizer, pictures) -> list[Reading]:
    """Return the readings of many pictures, some at a time; the whole road is taken."""
    pictures, readings = iter(pictures), []
    while batch := list(islice(pictures, BATCH)):
        readings += recognizer.read_batch(batch)
    return readings


def digits_of(readings: list[Reading]) -> np.ndarray:
    """Return the digit, 0 to 9, that is likeliest in every reading (N,); -1 where none was read."""
    return np.array([int(reading.digit or -1) for reading in readings])


def plainly_resized(picture: np.ndarray) -> np.ndarray:
    """Return (28, 28) uint8 as most demos see a picture: grey by Pillow, resized as it is, inverted."""
    return 255 - np.asarray(Image.fromarray(picture).convert("L").resize((28, 28)))


def load_unseen(paths: str) -> Strokes:
    """Return the strokes of stroke files whose writers nothing was learned from.

    Raises ValueError with a sentence where that is not enough to measure: all ten digits, letters, signs, and two writers with
    ten digits each.
    """
    unseen = split_writers(load_strokes(paths))[1]
    labels = [label for label in unseen.labels if label not in LOOK_ALIKES]
    others = {label.isalpha() for label in labels if not label.isdigit()}
    _, digits = np.unique(unseen.writers[np.char.isdigit(unseen.labels)], return_counts=True)
    if not set(DIGITS) <= set(labels) or len(others) < 2 or (digits >= 10).sum() < 2:
        raise ValueError("The stroke files hold too little of unseen writers to measure on. Name files with digits, letters and "
                         "signs of more writers.")
    return unseen


def measure_hands(recognizer: Recognizer, strokes: Strokes) -> tuple[dict, list]:
    """Return shares of right answers on drawings of strokes whose writers nothing was learned from, one drawing per sample,
    and what is still read wrong on the clean pad, the surest first, as (picture, label, reading).

    For every condition and style: the whole road beside a plain resize. On a clean pad also: the share without the samples
    that are broken, the calibration error, and the spread over the writers.
    """
    digits = strokes[np.char.isdigit(strokes.labels)]
    labels = digits.labels.astype(int)
    found, mistakes = {"conditions": {}, "styles": {}}, []
    for name, condition in CONDITIONS.items():
        random = np.random.default_rng(SEED)
        pictures = [condition(sample, random) for sample in digits.samples]
        readings = read_all(recognizer, pictures)
        right = digits_of(readings) == labels
        plain = logits_of(recognizer.net, torch.from_numpy(np.stack([plainly_resized(p) for p in pictures]))).argmax(1).numpy()
        found["conditions"][name] = {"road": share(right.sum(), len(labels)),
                                     "plain": share((plain == labels).sum(), len(labels))}
        if name == "clean pad":
            whole = are_whole(digits.samples)
            probabilities = np.stack([np.full(10, 0.1) if r.probabilities is None else r.probabilities for r in readings])
            found |= {"writers": _spread(digits.writers, right), "whole": share(right[whole].sum(), int(whole.sum())),
                      "calibration_error": calibration_error(probabilities, labels),
                      "calibration_error_of_whole": calibration_error(probabilities[whole], labels[whole])}
            wrong = sorted(np.flatnonzero(~right), key=lambda row: -readings[row].confidence)
            mistakes = [(pictures[row], digits.labels[row], readings[row]) for row in wrong]
    for name, digit in STYLES.items():
        random = np.random.default_rng(SEED)
        samples = [sample for sample in digits[digits.labels == digit].samples if is_restyled(name, sample)]
        if not samples:
            continue
        right = digits_of(read_all(recognizer, [draw_style(name, sample, random) for sample in samples])) == int(digit)
        found["styles"][name] = share(right.sum(), len(samples))
    return found, mistakes


def _spread(writers: np.ndarray, right: np.ndarray) -> dict:
    """Return mean and deviation of the accuracies of the writers who wrote ten digits or more, how many these are ("n") of how many
    ("of"), and the mean of the worst tenth of them, at least one, and how many these are ("worst")."""
    every = np.unique(writers)
    accuracies = np.sort([right[writers == writer].mean() for writer in every if (writers == writer).sum() >= 10])
    worst = accuracies[:max(1, round(len(accuracies) / 10))]
    return {"n": len(accuracies), "of": len(every), "mean": accuracies.mean(), "deviation": accuracies.std(ddof=1),
            "worst": len(worst), "worst_tenth": worst.mean()}


def measure_refusal(recognizer: Recognizer, strokes: Strokes) -> dict:
    """Return how much of what is no digit is refused (letters and signs of unseen writers, scribbles; patterns, of which blank
    counts as refused), and the area under the curve of the score that refuses, for drawings against the same writers' digits."""
    random = np.random.default_rng(SEED)
    kept = np.array([not label.isdigit() and label not in LOOK_ALIKES for label in strokes.labels])
    kinds = {"letters": strokes[kept & np.char.isalpha(strokes.labels)].samples,
             "signs": strokes[kept & ~np.char.isalpha(strokes.labels)].samples,
             "scribbles": [scribble(random) for _ in range(500)],
             "digits": strokes[np.char.isdigit(strokes.labels)].samples}
    clean, dice = CONDITIONS["clean pad"], np.random.default_rng(SEED)
    sketches = {kind: (clean(sample, random) for sample in samples) for kind, samples in kinds.items()}  # drawn one at a time
    sketches["patterns"] = (pattern(dice) for _ in range(500))
    scores, refused = {}, {}
    for kind, pictures in sketches.items():
        readings = read_all(recognizer, pictures)
        scores[kind] = np.array([0.0 if r.probabilities is None else np.sort(r.probabilities)[-2:].sum() for r in readings])
        refused[kind] = share((scores[kind] < recognizer.strange).sum(), len(readings))
    others = np.concatenate([scores[kind] for kind in ("letters", "signs", "scribbles")])
    return {**refused, "auroc": auroc(scores["digits"], others)}


def measure_corruptions(recognizer: Recognizer, pictures: Pictures) -> dict:
    """Return shares of right answers on corrupted pictures of MNIST's test part that take the whole road."""
    found = {}
    for kind, corruptions in (("learned", LEARNED), ("never_learned", NEVER_LEARNED)):
        found[kind] = {}
        for name, corrupt in corruptions.items():
            random = np.random.default_rng(SEED)
            readings = read_all(recognizer, (corrupt(seen, random) for seen in pictures.seen.numpy()))
            right = digits_of(readings) == pictures.labels.numpy()
            found[kind][name] = share(right.sum(), len(right))
        found[kind]["mean"] = float(np.mean([each["share"] for each in found[kind].values()]))
    return found


def measure_seeds(recognizer: Recognizer, folders: str, data_dir: str) -> dict:
    """Return how the accuracy on MNIST's test part varies over seeds: that of the weights and of further folders of weights.

    Raises ValueError with a sentence where the recipes differ in more than the seed, or where a seed comes twice.
    """
    with named_by("--seeds"):
        nets = [recognizer.net, *(open_weights(folder).net for folder in folders.split(","))]
    recipes = [recipe_of(net) for net in nets]
    seeds = [net.facts["seed"] for net in nets]
    if any(recipe != recipes[0] for recipe in recipes) or len(set(seeds)) < len(seeds):
        raise ValueError("These weights are not of one recipe with a seed each. Train them with the same settings, but for --seed.")
    pictures = load_mnist(data_dir, train=False)
    each = [float((logits_of(net, pictures.seen).argmax(1) == pictures.labels).float().mean()) for net in nets]
    return {"seeds": seeds, "accuracies": each, "mean": float(np.mean(each)), "deviation": float(np.std(each, ddof=1))}


def measure_pictures(recognizer: Recognizer, tables: str) -> dict:
    """Return {name of the folder: share of right answers} for tables of labelled pictures, commas between their names."""
    found = {}
    for name, table in tables_of(tables).items():
        pictures, labels, left_out = load_labelled(table)
        if left_out:
            print(f"{table}: {left_out} rows with more or fewer boxes than digits were left out.", file=sys.stderr)
        right = digits_of(read_all(recognizer, pictures)) == labels
        found[name] = share(right.sum(), len(labels))
    return found


def measure_speed(recognizer: Recognizer, seen: torch.Tensor) -> dict:
    """Return milliseconds of processor time a picture, medians on one thread, and the machine they were measured on.

    The network is asked about 64 pictures (64, 28, 28) uint8, one by one and together.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    sketch = np.full((280, 280), 255, np.uint8)
    sketch[60:220, 130:150] = 0
    many = to_tensor(seen)
    one = cycle(many.split(1))
    speed = {"read": _milliseconds(lambda: recognizer.read(sketch)),
             "network": _milliseconds(lambda: recognizer.quick.probabilities(next(one))),
             "network_in_batches_of_64": _milliseconds(lambda: recognizer.quick.probabilities(many)) / 64}
    torch.set_num_threads(threads)
    return speed | {"machine": f"one core of {_processor()} ({os.cpu_count()} cores)"}


def _milliseconds(call, times: int = 50) -> float:
    """Return the median processor time of a call."""
    for _ in range(5):
        call()
    spent = []
    for _ in range(times):
        started = time.process_time()
        call()
        spent.append(time.process_time() - started)
    return round(1000 * float(np.median(spent)), 3)


def _processor() -> str:
    """Return the name of this machine's processor."""
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else []
    return names[0] if names else platform.processor() or platform.machine()
