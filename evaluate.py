"""Weights to numbers: weights/metrics.json, the figures, and the tables of the card.

    python evaluate.py                    measure on MNIST's test part, write metrics.json, figures and the card's tables
    python evaluate.py --check            do card, metrics, figures, examples and weights belong together? needs no data
    python evaluate.py --check --data-dir data      measure again as well, and compare
"""

import argparse
import hashlib
import json
import os
import platform
import re
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from huggingface_hub import EvalResult, ModelCard

from data import Pictures, load_mnist
from model import HERE, WEIGHTS, WEIGHTS_FILE, DigitNet
from preprocess import see, to_tensor
from recognize import DIGITS, Recognizer, find_pictures

CARD = HERE / "MODEL_CARD.md"
EXAMPLES = HERE / "examples"
METRICS_FILE = "metrics.json"
BINS = 15  # of the calibration error, as Guo et al. 2017
SAME = 0.0002  # of an accuracy; two of MNIST's test pictures may fall the other way on another processor
EXAMPLE_TOLERANCE = 0.02  # of a probability, likewise
MARKERS = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.DOTALL)


# --- measures -----------------------------------------------------------------------------------------------------------

def logits_of(net: DigitNet, seen: torch.Tensor, batch: int = 512) -> torch.Tensor:
    """Return the logits (N, 10) float32, on the CPU, of pictures (N, 28, 28) uint8; puts the network into eval mode."""
    net.eval()
    device = next(net.parameters()).device
    with torch.no_grad():  # not inference_mode: fit_temperature differentiates what comes after
        return torch.cat([net(to_tensor(part).to(device)).float().cpu() for part in seen.split(batch)])


def fit_temperature(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the temperature, 0.05 to 20, that makes the labels likeliest (Guo et al. 2017)."""
    scale = torch.zeros((), requires_grad=True)  # the logarithm of the temperature
    optimiser = torch.optim.LBFGS([scale], lr=0.1, max_iter=100)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = F.cross_entropy(logits / scale.exp(), labels)
        value.backward()
        return value

    optimiser.step(loss)
    return float(scale.detach().exp().clamp(0.05, 20))


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


def measure_speed(recognizer: Recognizer) -> dict:
    """Return milliseconds a picture, medians on one thread, and the machine they were measured on."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    sketch = np.full((280, 280), 255, np.uint8)
    sketch[60:220, 130:150] = 0
    one, many = torch.zeros(1, 1, 28, 28), torch.zeros(64, 1, 28, 28)
    speed = {"read": _milliseconds(lambda: recognizer.read(sketch)),
             "network": _milliseconds(lambda: recognizer.net.probabilities(one)),
             "network_in_batches_of_64": _milliseconds(lambda: recognizer.net.probabilities(many)) / 64}
    torch.set_num_threads(threads)
    return speed | {"machine": f"one core of {_processor()} ({os.cpu_count()} cores)"}


def _milliseconds(call, times: int = 50) -> float:
    """Return the median time of a call."""
    for _ in range(5):
        call()
    spent = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        spent.append(time.perf_counter() - started)
    return round(1000 * float(np.median(spent)), 3)


def _processor() -> str:
    """Return the name of this machine's processor."""
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def read_examples(recognizer: Recognizer) -> dict:
    """Return what is read in every picture of examples/: {file name: {digit, confidence}}."""
    paths = find_pictures([str(EXAMPLES)])
    readings = recognizer.read_batch(paths)
    return {path.name: {"digit": reading.digit, "confidence": round(reading.confidence, 4)}
            for path, reading in zip(paths, readings, strict=True)}


# --- figures ------------------------------------------------------------------------------------------------------------

def draw_figures(folder: Path, recognizer: Recognizer, metrics: dict, pictures: Pictures, probabilities: np.ndarray) -> dict:
    """Draw the figures of the card into a folder; return {file name: SHA-256}."""
    import matplotlib
    matplotlib.use("Agg")  # no screen needed
    import matplotlib.pyplot as plt

    folder.mkdir(exist_ok=True)
    ink, accent, soft = "#1c1917", "#c2410c", "#a8a29e"
    plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "text.color": ink})

    figure, axis = plt.subplots(figsize=(6, 5.4), layout="constrained")
    confusion = np.array(metrics["test"]["confusion"])
    wrong = confusion - np.diag(confusion.diagonal())
    axis.imshow(wrong, cmap="Oranges", vmax=max(wrong.max(), 1))
    for row, column in np.ndindex(10, 10):
        if confusion[row, column]:
            dark = wrong[row, column] > 0.6 * wrong.max()
            axis.text(column, row, confusion[row, column], ha="center", va="center", color="white" if dark else ink)
    axis.set(xticks=range(10), yticks=range(10), xlabel="read as", ylabel="written", title="MNIST's test part (shade: mistakes)")
    axis.spines[:].set_visible(False)
    figure.savefig(folder / "confusion.png", dpi=110)

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    history = recognizer.net.facts["history"]
    epochs = [row["epoch"] for row in history]
    left.plot(epochs, [row["train_loss"] for row in history], color=soft, label="training (augmented, smoothed labels)")
    left.plot(epochs, [row["validation_loss"] for row in history], color=accent, label="validation")
    left.set(xlabel="epoch", ylabel="cross-entropy", ylim=(0, None), title="Loss")
    left.legend(frameon=False)
    right.plot(epochs, [100 * (1 - row["validation_accuracy"]) for row in history], color=accent)
    right.set(xlabel="epoch", ylabel="validation error, %", yscale="log", title="Error of the averaged weights")
    figure.savefig(folder / "training.png", dpi=110)

    figure, axis = plt.subplots(figsize=(4.6, 4.2), layout="constrained")
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == pictures.labels.numpy()
    low = confidence < 0.98
    bins = np.minimum((confidence[low] * 8).astype(int), 7)
    axis.plot([0, 1], [0, 1], color=soft, linewidth=1)
    for b in np.unique(bins):
        inside = bins == b
        axis.errorbar(confidence[low][inside].mean(), correct[low][inside].mean(), fmt="o", color=accent,
                      yerr=np.abs(np.array(wilson(correct[low][inside].sum(), inside.sum()))
                                  - correct[low][inside].mean())[:, None])
    axis.set(xlabel="confidence", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02),
             title=f"Calibration where it is less than 98 % sure\n(n = {low.sum()} of {len(low):,}; 95 % intervals)")
    figure.savefig(folder / "reliability.png", dpi=110)

    answers, labels = probabilities.argmax(1), pictures.labels.numpy()
    worst = np.flatnonzero(answers != labels)
    worst = worst[np.argsort(-probabilities[worst, answers[worst]])][:24]
    figure, axes = plt.subplots(3, 8, figsize=(9, 4.3), layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for row, axis in zip(worst, axes.flat, strict=False):
        axis.imshow(pictures.seen[row], cmap="gray_r")
        axis.set_title(f"{labels[row]} read as {answers[row]}\n{100 * probabilities[row].max():.0f} %", fontsize=9)
    figure.suptitle("What is read wrong, the surest mistakes first", fontsize=10)
    figure.savefig(folder / "mistakes.png", dpi=110)
    plt.close("all")
    return {path.name: _sha256(path) for path in sorted(folder.glob("*.png"))}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- metrics and card ---------------------------------------------------------------------------------------------------

def describe_weights(recognizer: Recognizer, file: Path) -> dict:
    """Return what identifies the weights: hashes, parameters, bytes, temperature, seed, validation."""
    net = recognizer.net
    return {"hash": net.facts["hash"], "file_sha256": _sha256(file), "bytes": file.stat().st_size,
            "parameters": sum(p.numel() for p in net.parameters()), "temperature": net.temperature,
            "seed": net.facts["seed"], "pictures": net.facts["pictures"],
            "validation_accuracy": net.facts["validation_accuracy"]}


def card_tables(metrics: dict) -> str:
    """Return the Markdown that stands between the card's markers."""
    weights, test, speed = metrics["weights"], metrics["test"], metrics["speed"]
    low, high = test["interval"]
    held = sum(count for name, count in weights["pictures"].items() if name.endswith("_validation"))
    rows = [
        ("MNIST test, as it is", f"{100 * test['accuracy']:.2f} % ({100 * low:.2f} to {100 * high:.2f})", f"{test['n']:,}"),
        ("MNIST test, through the road of an upload", f"{100 * test['accuracy_through_the_road']:.2f} %", f"{test['n']:,}"),
        ("Validation at the last epoch", f"{100 * weights['validation_accuracy']:.2f} %", f"{held:,}"),
        (f"Calibration error on MNIST test ({BINS} bins)", f"{test['calibration_error']:.4f}", f"{test['n']:,}"),
    ]
    lines = ["| Measure | Value (95 % interval) | n |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows), "",
             f"One network, seed {weights['seed']}, {weights['parameters']:,} parameters, {weights['bytes'] / 1e6:.2f} MB, "
             f"temperature {weights['temperature']:.3f}, weights `{weights['hash'][:12]}`. Measured on {metrics['date']}.", "",
             "| Digit | Precision | Recall | F1 | n |", "|---|---|---|---|---|",
             *(f"| {row['digit']} | {row['precision']:.4f} | {row['recall']:.4f} | {row['f1']:.4f} | {row['n']:,} |"
               for row in test["per_class"]), "",
             "| Time for one picture | Milliseconds (median) |", "|---|---|",
             f"| read a 280x280 sketch, everything included | {speed['read']:.2f} |",
             f"| the network alone | {speed['network']:.2f} |",
             f"| the network, in batches of 64 | {speed['network_in_batches_of_64']:.2f} |", "",
             f"On {speed['machine']}.", ""]
    return "\n".join(lines)


def card_results(metrics: dict) -> list[EvalResult]:
    """Return the entries of the card's model-index."""
    return [EvalResult(task_type="image-classification", task_name="Handwritten digit recognition", dataset_type="ylecun/mnist",
                       dataset_name="MNIST", dataset_split="test", metric_type="accuracy", metric_name=name,
                       metric_value=round(value, 4))
            for name, value in (("Accuracy", metrics["test"]["accuracy"]),
                                ("Accuracy through the road of an upload", metrics["test"]["accuracy_through_the_road"]))]


def write_card(metrics: dict) -> None:
    """Put tables and model-index into MODEL_CARD.md, between the markers and into the front matter."""
    card = ModelCard.load(CARD)
    card.data.model_name = "DigitVision"
    card.data.eval_results = card_results(metrics)
    CARD.write_text(MARKERS.sub(lambda found: found[1] + card_tables(metrics) + found[2], str(card)), encoding="utf-8")


def evaluate(name: str | None, data_dir: str) -> None:
    """Measure everything and write metrics.json and the figures beside the weights; the card if they are the project's."""
    recognizer = Recognizer.from_pretrained(name)
    folder = Path(WEIGHTS if name is None else name)
    if not (folder / WEIGHTS_FILE).is_file():
        raise ValueError(f"{folder} is no folder with {WEIGHTS_FILE}. Results are written beside the weights: name a folder.")
    test, pictures, probabilities = measure_test(recognizer, data_dir)
    metrics = {"date": date.today().isoformat(), "weights": describe_weights(recognizer, folder / WEIGHTS_FILE), "test": test,
               "speed": measure_speed(recognizer), "examples": read_examples(recognizer),
               "versions": {"torch": torch.__version__, "numpy": np.__version__}}
    metrics["figures"] = draw_figures(folder / "figures", recognizer, metrics, pictures, probabilities)
    (folder / METRICS_FILE).write_text(json.dumps(metrics, indent=1) + "\n")
    if folder.resolve() == WEIGHTS:
        write_card(metrics)
    print(card_tables(metrics))
    card = f" and {CARD.name}" if folder.resolve() == WEIGHTS else ""
    print(f"wrote {folder / METRICS_FILE}, {len(metrics['figures'])} figures{card}")


def check(name: str | None, data_dir: str | None) -> list[str]:
    """Return what does not belong together, one sentence each; [] where all is well."""
    folder = Path(WEIGHTS if name is None else name)
    recognizer = Recognizer.from_pretrained(name)
    try:
        metrics = json.loads((folder / METRICS_FILE).read_text())
        tables, results = card_tables(metrics), card_results(metrics)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder / METRICS_FILE} is missing or damaged. Run 'make evaluate'.") from error
    wrong = []
    if metrics["weights"] != describe_weights(recognizer, folder / WEIGHTS_FILE):
        wrong.append("metrics.json was measured with other weights.")
    drawn = {path.name: _sha256(path) for path in sorted((folder / "figures").glob("*.png"))}
    wrong += [f"The figure {file} is missing, foreign or was changed." for file in sorted(
        {*drawn.items()} ^ {*metrics["figures"].items()}, key=str)]
    wrong += _check_examples(metrics["examples"], read_examples(recognizer))
    if folder.resolve() == WEIGHTS:
        card = ModelCard.load(CARD)
        found = MARKERS.search(card.text)
        if not found or found[0] != f"<!-- results -->\n{tables}<!-- /results -->":
            wrong.append("The tables of MODEL_CARD.md are not those of metrics.json.")
        if card.data.eval_results != results:
            wrong.append("The model-index of MODEL_CARD.md is not that of metrics.json.")
    if data_dir:
        again = measure_test(recognizer, data_dir)[0]
        for key in ("accuracy", "accuracy_through_the_road", "calibration_error"):
            if abs(again[key] - metrics["test"][key]) > SAME:
                wrong.append(f"Measured again, {key} is {again[key]:.4f}, not {metrics['test'][key]:.4f}.")
    return wrong


def _check_examples(recorded: dict, read: dict) -> list[str]:
    """Return a sentence for every example that is not read as recorded, or not as its file name says."""
    wrong = []
    for file in sorted(recorded.keys() | read.keys()):
        now, then = read.get(file, {}), recorded.get(file, {})
        if now.get("digit") != then.get("digit") or now.get("digit") != file[0] or abs(
                now["confidence"] - then["confidence"]) > EXAMPLE_TOLERANCE:
            wrong.append(f"examples/{file} is read as {now.get('digit')}, recorded was {then.get('digit')}.")
    return wrong


def main() -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--weights", help="folder of the weights (default: weights/)")
    parser.add_argument("--data-dir", help="folder of MNIST (default: data; with --check: none, nothing is measured again)")
    parser.add_argument("--check", action="store_true", help="only check that everything belongs together; writes nothing")
    flags = parser.parse_args()
    try:
        if not flags.check:
            evaluate(flags.weights, flags.data_dir or "data")
            return 0
        wrong = check(flags.weights, flags.data_dir)
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    print("Run 'make evaluate' and look at what changed." if wrong else
          "Card, metrics, figures, examples and weights belong together.", file=sys.stderr if wrong else sys.stdout)
    return 2 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
