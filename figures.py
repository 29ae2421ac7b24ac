"""Draw the figures of the card; the only module beside `recognize --plot` that needs Matplotlib."""

from pathlib import Path

import numpy as np

from data import Pictures
from measures import wilson


def draw_figures(folder: Path, history: list[dict], metrics: dict, pictures: Pictures, probabilities: np.ndarray) -> None:
    """Draw confusion.png, training.png, reliability.png and mistakes.png into a folder.

    `history` is that of the weights; `pictures` and `probabilities` (N, 10) are those of MNIST's test part.
    """
    import matplotlib
    matplotlib.use("Agg")  # no screen needed
    import matplotlib.pyplot as plt

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
    epochs = [row["epoch"] for row in history]
    left.plot(epochs, [row["train_loss"] for row in history], color=soft, label="training (augmented, smoothed labels)")
    left.plot(epochs, [row["validation_loss"] for row in history], color=accent, label="validation")
    top = 1.5 * max(row["train_loss"] for row in history[len(history) // 4:])  # the first epochs would flatten the rest
    left.set(xlabel="epoch", ylabel="cross-entropy", ylim=(0, top), title="Loss")
    left.legend(frameon=False)
    right.plot(epochs, [100 * (1 - row["validation_accuracy"]) for row in history], color=accent)
    right.set(xlabel="epoch", ylabel="validation error, %", yscale="log", title="Error of the averaged weights")
    figure.savefig(folder / "training.png", dpi=110)

    figure, axis = plt.subplots(figsize=(4.6, 4.2), layout="constrained")
    answers, labels, confidence = probabilities.argmax(1), pictures.labels.numpy(), probabilities.max(1)
    low = confidence < 0.98
    bins = np.where(low, np.minimum((confidence * 8).astype(int), 7), -1)
    axis.plot([0, 1], [0, 1], color=soft, linewidth=1)
    for b in np.unique(bins[low]):
        inside = bins == b
        right = answers[inside] == labels[inside]
        axis.errorbar(confidence[inside].mean(), right.mean(), fmt="o", color=accent,
                      yerr=np.abs(np.subtract(wilson(right.sum(), len(right)), right.mean()))[:, None])
    axis.set(xlabel="confidence", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02),
             title=f"Calibration where it is less than 98 % sure\n(n = {low.sum()} of {len(low):,}; 95 % intervals)")
    figure.savefig(folder / "reliability.png", dpi=110)

    worst = np.flatnonzero(answers != labels)
    worst = worst[np.argsort(-confidence[worst])][:24]
    _gallery([(pictures.seen[row], f"{labels[row]} read as {answers[row]}\n{100 * confidence[row]:.0f} %")
              for row in worst],
             "What is read wrong, the surest mistakes first", folder / "mistakes.png", cmap="gray_r")
    plt.close("all")


def draw_hands(file: Path, mistakes: list) -> None:
    """Draw what is still read wrong of unseen writers' drawings, (picture, label, reading) each, the first 24, into a file."""
    _gallery([(picture, f"{label} read as {reading.digit or 'none'}\n{100 * reading.confidence:.0f} %")
              for picture, label, reading in mistakes],
             f"Drawings of unseen writers that are read wrong, the surest of {len(mistakes)} first", file, cmap="gray")


def _gallery(titled: list, title: str, file: Path, cmap: str) -> None:
    """Draw up to 24 (picture, title) side by side into a file."""
    import matplotlib
    matplotlib.use("Agg")  # no screen needed
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 8, figsize=(9, 4.3), layout="constrained")
    for axis in axes.flat:
        axis.axis("off")
    for (picture, words), axis in zip(titled, axes.flat, strict=False):
        axis.imshow(picture, cmap=cmap, vmin=0, vmax=255)
        axis.set_title(words, fontsize=9)
    figure.suptitle(title, fontsize=10)
    figure.savefig(file, dpi=110)
    plt.close(figure)
