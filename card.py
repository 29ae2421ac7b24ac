"""Numbers to card: the tables and the model-index of MODEL_CARD.md, made from metrics.json and from nothing else."""

import re

from huggingface_hub import EvalResult, ModelCard

from composing import BY_A_MACHINE, LONGEST, SEED
from fields import STRING_ERROR
from files import write_whole
from hands import HANDS
from measures import BINS
from model import HERE

FIGURE = re.compile(r"\]\((weights/figures/[^)]+)\)")
CARD = HERE / "MODEL_CARD.md"
MARKERS = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.DOTALL)


def card_tables(metrics: dict) -> str:
    """Return the Markdown that stands between the card's markers."""
    weights, test, speed = metrics["weights"], metrics["test"], metrics["speed"]
    low, high = test["interval"]
    held = sum(count for name, count in weights["pictures"].items() if name.endswith("_validation"))
    seeds, untaught = metrics.get("seeds"), metrics.get("untaught")
    lines = _table(("Measure", "Value (95 % interval)", "n"), [
        ("MNIST test, as it is", f"{100 * test['accuracy']:.2f} % ({100 * low:.2f} to {100 * high:.2f})", f"{test['n']:,}"),
        *([("MNIST test, mean +- standard deviation over seeds", f"{100 * seeds['mean']:.2f} +- {100 * seeds['deviation']:.2f} %",
            f"{len(seeds['seeds'])} seeds")] if seeds else []),
        *([(f"MNIST test, the same recipe without teachers, seed {untaught['seed']}", f"{100 * untaught['accuracy']:.2f} %",
            f"{untaught['n']:,}")] if untaught else []),
        *([("MNIST test, without teachers, mean +- standard deviation over seeds", f"{100 * untaught['seeds']['mean']:.2f} +- "
            f"{100 * untaught['seeds']['deviation']:.2f} %", f"{len(untaught['seeds']['seeds'])} seeds")]
          if untaught and untaught["seeds"] else []),
        ("MNIST test, with the preprocessing of uploads", f"{100 * test['accuracy_through_the_road']:.2f} %", f"{test['n']:,}"),
        ("Validation at the last epoch, " + ("MNIST and drawings together" if "strokes_validation" in weights["pictures"] else
                                             "MNIST"), f"{100 * weights['validation_accuracy']:.2f} %", f"{held:,}"),
        (f"Calibration error on MNIST test ({BINS} bins)", f"{test['calibration_error']:.4f}", f"{test['n']:,}")])
    lines += [f"One network, seed {weights['seed']}, {weights['parameters']:,} parameters, {weights['bytes'] / 1e6:.2f} MB, "
              f"temperature {weights['temperature']:.3f}, weights `{weights['hash'][:12]}`. Measured on {metrics['date']}.", ""]
    lines += _table(("Digit", "Precision", "Recall", "F1", "n"), [
        (row["digit"], f"{row['precision']:.4f}", f"{row['recall']:.4f}", f"{row['f1']:.4f}", f"{row['n']:,}")
        for row in test["per_class"]])
    if "hands" in metrics:
        hands, writers = metrics["hands"], metrics["hands"]["writers"]
        lines += ["**Drawings of unseen writers**, with all of the preprocessing, and the same network behind a plain resize as "
                  "most demos have it:", ""]
        lines += _table(("Condition", "Right (95 % interval)", "Plain resize", "n"), [
            (name, _percent(row["road"]), f"{100 * row['plain']['share']:.1f} %", f"{row['road']['n']:,}")
            for name, row in hands["conditions"].items()])
        lines += ["The same digits in styles of other hands, drawn by rules. A climbing 1 has an upstroke from half way up, a flat "
                  "0 is nearly twice as wide as it was, a hanging 9 is a ring from whose foot the stem hangs:", ""]
        lines += _shares("Style", "Right", {name if _learned(name) else f"{name} (never learned)": row
                                            for name, row in hands["styles"].items()})
        lines += [f"Over the {writers['n']} of {writers['of']} writers who wrote ten digits or more: {100 * writers['mean']:.2f} "
                  f"+- {100 * writers['deviation']:.2f} % right on the clean pad; the worst tenth of them ({writers['worst']}) "
                  f"{100 * writers['worst_tenth']:.2f} %. Without the "
                  f"{hands['conditions']['clean pad']['road']['n'] - hands['whole']['n']} broken samples (the stem of a 4 alone, "
                  f"another digit than the label; looked for among the mistakes): {_percent(hands['whole'])}. Calibration error on "
                  f"the clean pad: {hands['calibration_error']:.4f}, without the broken ones "
                  f"{hands['calibration_error_of_whole']:.4f}.", ""]
    if "numbers" in metrics:
        lines += ["**Whole numbers**, composed of whole drawings of unseen writers, of one hand and one pen each, and of MNIST's "
                  f"test pictures (1 to {LONGEST} digits, seed {SEED}); beside them numbers of unseen writers, which they wrote "
                  "whole. A string is right, or not:", ""]
        lines += _shares("Numbers", "Right", metrics["numbers"])
    if "pictures" in metrics:
        lines += ["**Photographs and scans**, with all of the preprocessing (where they are from: Bias, risks and limits):", ""]
        lines += _shares("Pictures", "Right", metrics["pictures"])
    for name, rows in metrics.get("fields", {}).items():
        lines += [f"**Whole fields** ({name}), a string is right as a whole or not; sure by default, and without a person: where "
                  f"the confidence is so high that of composed numbers {100 * STRING_ERROR:g} and {100 * BY_A_MACHINE:g} % are "
                  "wrong:", ""]
        lines += _shares("Fields", "Share", rows)
    for kind, title in (("learned", "training has too"),
                        ("never_learned", "training never has (edges only: a random filter, now and then, comes near it)")):
        lines += [f"**Corrupted pictures** of MNIST's test part, by distortions of our own, of a kind that {title}; not to be "
                  "compared with MNIST-C's scores (mean "
                  f"{100 * metrics['corruptions'][kind]['mean']:.1f} %):", ""]
        lines += _shares("Corruption", "Right", {name: row for name, row in metrics["corruptions"][kind].items() if name != "mean"})
    if metrics["limits"]:
        lines += ["**Error targets**: below the threshold an answer is marked unsure. Set and counted on validation pictures, so "
                  "that each kind by itself keeps the target; drawings without the broken samples:", ""]
        lines += _targets(metrics["limits"]["errors"])
    if metrics.get("limits_of_numbers"):
        counted = [f"{counts['n'] / counts['coverage']:,.0f} " for row in metrics["limits_of_numbers"]
                   for counts in row["kinds"].values() if counts["n"]]
        lines += [f"**Error targets of numbers**, set and counted on {''.join(counted[:1])}numbers composed of unseen writers' "
                  f"drawings for this alone (seed {SEED + 1}), half of which touch, as they were drawn and as small scans on grey "
                  "paper, so that each kind by itself keeps the target; other hands on real fields keep it less well (above):", ""]
        lines += _targets(metrics["limits_of_numbers"])
    if "refusal" in metrics:
        lines += ["**Refused as no digit**, where 99 % of the validation digits are kept (look-alikes such as O, I, l, Z, S left "
                  "out; patterns are filled shapes, waves, grids, clouds and grainy paper); area under the curve "
                  f"{metrics['refusal']['auroc']:.3f}:", ""]
        lines += _shares("Kind", "Refused", {name: row for name, row in metrics["refusal"].items() if name != "auroc"})
    lines += _table(("Processor time for one picture", "Milliseconds (median)"), [
        ("read a 280x280 sketch, everything included", f"{speed['read']:.2f}"),
        ("the network alone", f"{speed['network']:.2f}"),
        ("the network, in batches of 64", f"{speed['network_in_batches_of_64']:.2f}")])
    return "\n".join([*lines, f"On {speed['machine']}.", ""])


def _targets(limits: list[dict]) -> list[str]:
    """Return the lines of a table of error targets with their thresholds, and how pictures of each kind fare by them."""
    return _table(("Wrong answers accepted", "Threshold", "Of", "Answered", "Wrong of n", "Upper end of the 95 % interval"), [
        (f"{100 * row['max_error']:g} %", f"{row['threshold']:.3f}", kind, f"{100 * counts['coverage']:.2f} %",
         f"{counts['wrong']} of {counts['n']:,}", f"{100 * counts['upper']:.2f} %")
        for row in limits for kind, counts in row["kinds"].items()])


def _learned(style: str) -> bool:
    """Say whether a style, as "crossed 7", is among those that redrawn digits get."""
    name, digit = style.split()
    return name in HANDS.get(digit, ())


def _table(head: tuple, rows: list[tuple]) -> list[str]:
    """Return the lines of a Markdown table and an empty line."""
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rows), ""]


def _shares(kinds: str, what: str, rows: dict) -> list[str]:
    """Return the lines of a table of shares, {kind: share}, under the names of the kinds and of what it is a share of."""
    return _table((kinds, f"{what} (95 % interval)", "n"), [(kind, _percent(row), f"{row['n']:,}") for kind, row in rows.items()])


def _percent(row: dict) -> str:
    """Return a share and its interval in words for a table."""
    low, high = row["interval"]
    return f"{100 * row['share']:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def card_results(metrics: dict) -> list[EvalResult]:
    """Return the entries of the card's model-index."""
    return [EvalResult(task_type="image-classification", task_name="Handwritten digit recognition", dataset_type="ylecun/mnist",
                       dataset_name="MNIST", dataset_split="test", metric_type="accuracy", metric_name=name,
                       metric_value=round(value, 4))
            for name, value in (("Accuracy", metrics["test"]["accuracy"]),
                                ("Accuracy with the preprocessing of uploads", metrics["test"]["accuracy_through_the_road"]))]


def write_card(metrics: dict) -> None:
    """Put tables and model-index into MODEL_CARD.md, between the markers and into the front matter."""
    card = ModelCard.load(CARD)
    card.data.model_name = "DigitVision"
    card.data.eval_results = card_results(metrics)
    write_whole(CARD, MARKERS.sub(lambda found: found[1] + card_tables(metrics) + found[2], str(card)).encode())


def check_card() -> None:
    """Raise ValueError with a sentence where the card cannot be read."""
    try:
        if not MARKERS.search(ModelCard.load(CARD).text):
            raise ValueError("no place for the tables")
    except Exception as error:  # the parsers of its front matter each raise their own
        raise ValueError(f"{CARD.name} is missing or damaged. Restore it.") from error


def card_mistakes(metrics: dict) -> list[str]:
    """Return a sentence for each part of the card that does not say what the metrics say; [] where all does."""
    card = ModelCard.load(CARD)
    found = MARKERS.search(card.text)
    wrong = []
    if not found or found[0] != f"{found[1]}{card_tables(metrics)}{found[2]}":
        wrong.append("The tables of MODEL_CARD.md are not those of metrics.json.")
    if card.data.eval_results != card_results(metrics):
        wrong.append("The model-index of MODEL_CARD.md is not that of metrics.json.")
    wrong += [f"MODEL_CARD.md shows {figure}, which is not there. Take out what it says of it, or measure with --strokes."
              for figure in FIGURE.findall(card.text) if not (HERE / figure).is_file()]
    return wrong
