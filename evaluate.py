"""Weights to numbers: weights/metrics.json, the figures, and the tables of the card.

    python evaluate.py                      measure on MNIST's test part, write metrics.json, figures and the card's tables
    python evaluate.py --strokes FILES      the same, and on drawings of unseen writers, under every condition
    python evaluate.py --pictures TABLES    the same, and on labelled photographs and scans
    python evaluate.py --strokes FILES --numbers FILE      the same, and on whole numbers that unseen writers wrote
    python evaluate.py --untaught FOLDER    the same, and what the recipe reached without its teachers beside
    python evaluate.py --check              do card, metrics, figures, examples and weights belong together? needs no data
    python evaluate.py --check --data-dir data      measure again as well, and compare
"""

import hashlib
import json
import sys
from datetime import date
from pathlib import Path

import numpy as np
import torch

from card import CARD, card_mistakes, card_tables, check_card, write_card
from composing import measure_fields, measure_numbers
from console import Parser
from data import load_strokes, split_writers
from fields import FieldReader
from figures import draw_figures, draw_hands
from files import refuse, write_whole
from model import HERE, WEIGHTS, WEIGHTS_FILE, named_by
from recognize import Recognizer
from trials import (
    load_unseen,
    measure_corruptions,
    measure_hands,
    measure_pictures,
    measure_refusal,
    measure_seeds,
    measure_speed,
    measure_test,
    open_weights,
    recipe_of,
)

EXAMPLES = HERE / "examples"
METRICS_FILE = "metrics.json"
HANDS_FIGURE = "hands.png"
CORRUPTED = 1000  # pictures of MNIST's test part that are corrupted, the first ones
SAME = 0.0002  # of an accuracy; two of MNIST's test pictures may fall the other way on another processor
KEPT = ("hands", "refusal", "pictures", "fields", "seeds", "numbers", "untaught")  # parts of the metrics that ask for more data
TEACHING = ("teacher", "trust", "precision")  # settings in which the recipe without teachers may be another one
EXAMPLE_TOLERANCE = 0.02  # of a probability, likewise


# --- metrics ------------------------------------------------------------------------------------------------------------

def read_examples(recognizer: Recognizer) -> dict:
    """Return what is read in every picture of a digit in examples/: {file name: {digit, confidence}}."""
    paths = sorted(EXAMPLES.glob("[0-9]_*"))
    readings = recognizer.read_batch(paths)
    return {path.name: {"digit": reading.digit, "confidence": round(reading.confidence, 4)}
            for path, reading in zip(paths, readings, strict=True)}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def describe_weights(recognizer: Recognizer, file: Path) -> dict:
    """Return what identifies the weights: hashes, parameters, bytes, temperature, seed, validation."""
    net = recognizer.net
    return {"hash": net.facts["hash"], "file_sha256": _sha256(file), "bytes": file.stat().st_size,
            "parameters": sum(p.numel() for p in net.parameters()), "temperature": net.temperature,
            "seed": net.facts["seed"], "pictures": net.facts["pictures"],
            "validation_accuracy": net.facts["validation_accuracy"]}


def evaluate(name: str | None, data_dir: str, strokes: str | None = None, tables: str | None = None,
             seeds: str | None = None, numbers: str | None = None, untaught: str | None = None) -> None:
    """Measure everything and write metrics.json and the figures beside the weights; the card if they are the project's.

    Without stroke files, tables of pictures or weights of other seeds or without teachers, what was measured on them before is
    kept if it was measured on the same weights.
    """
    if numbers and not strokes:
        raise ValueError("--numbers goes with --strokes, of whose digits numbers are composed. Name stroke files as well.")
    recognizer = open_weights(name)
    folder = Path(WEIGHTS if name is None else name)
    if not (folder / WEIGHTS_FILE).is_file():
        raise ValueError(f"{folder} is no folder with {WEIGHTS_FILE}. Results are written beside the weights: name a folder.")
    if folder.resolve() == WEIGHTS:
        check_card()
    before = read_metrics(folder) if (folder / METRICS_FILE).exists() else {}
    unseen = load_unseen(strokes) if strokes else None
    written = split_writers(load_strokes(numbers, numbers=True))[1] if numbers else None
    reader = FieldReader(recognizer)
    more = {"pictures": measure_pictures(recognizer, tables), "fields": measure_fields(reader, tables)} if tables else {}
    more |= {"seeds": measure_seeds(recognizer, seeds, data_dir)} if seeds else {}
    more |= {"untaught": results_without_teachers(recognizer, Path(untaught))} if untaught else {}
    test, pictures, probabilities = measure_test(recognizer, data_dir)
    metrics = {"date": date.today().isoformat(), "weights": describe_weights(recognizer, folder / WEIGHTS_FILE), "test": test,
               "limits": recognizer.net.facts.get("limits"),
               "limits_of_numbers": recognizer.net.facts.get("numbers", {}).get("errors"),
               "corruptions": measure_corruptions(recognizer, pictures[:CORRUPTED]),
               "speed": measure_speed(recognizer, pictures.seen[:64]), "examples": read_examples(recognizer),
               "versions": {"torch": torch.__version__, "numpy": np.__version__}}
    if before and before["weights"]["hash"] == metrics["weights"]["hash"]:
        metrics |= {part: before[part] for part in KEPT if part in before}
    else:
        before = {}
        (folder / "figures" / HANDS_FIGURE).unlink(missing_ok=True)
    metrics |= more
    (folder / "figures").mkdir(exist_ok=True)
    if unseen is not None:
        hands, mistakes = measure_hands(recognizer, unseen)
        metrics |= {"hands": hands, "refusal": measure_refusal(recognizer, unseen),
                    "numbers": measure_numbers(reader, unseen, written, pictures)}
        draw_hands(folder / "figures" / HANDS_FIGURE, mistakes)
    for part in ("pictures", "fields", "numbers"):  # rows of other tables, and of numbers that are not named now, stay
        if part in metrics:
            metrics[part] = before.get(part, {}) | metrics[part]
    draw_figures(folder / "figures", recognizer.net.facts["history"], metrics, pictures, probabilities)
    metrics["figures"] = figure_hashes(folder)
    write_whole(folder / METRICS_FILE, (json.dumps(metrics, indent=1) + "\n").encode())
    if folder.resolve() == WEIGHTS:
        write_card(metrics)
    print(card_tables(metrics))
    card = f" and {CARD.name}" if folder.resolve() == WEIGHTS else ""
    print(f"wrote {folder / METRICS_FILE}, {len(metrics['figures'])} figures{card}")


def results_without_teachers(recognizer: Recognizer, folder: Path) -> dict:
    """Return what evaluate.py measured of the weights in a folder, which learned by the same recipe without teachers: the seed, the
    accuracy on MNIST's test part, and mean and deviation over seeds where they were measured.

    Raises ValueError with a sentence where the recipes differ in more.
    """
    with named_by("--untaught"):
        other = open_weights(folder)
    found = read_metrics(folder)
    if found["weights"]["hash"] != other.net.facts["hash"]:
        raise ValueError(f"The numbers in {folder} are of other weights. Run 'python evaluate.py --weights {folder}' first.")
    ours, theirs = (recipe_of(each.net, *TEACHING) for each in (recognizer, other))
    if not recognizer.net.facts["recipe"].get("teacher") or other.net.facts["recipe"].get("teacher") or ours != theirs:
        raise ValueError(f"The weights in {folder} are not of this recipe without --teacher. Train them with the same settings.")
    return {"seed": found["weights"]["seed"], "accuracy": found["test"]["accuracy"], "n": found["test"]["n"],
            "seeds": found.get("seeds")}


def read_metrics(folder: Path) -> dict:
    """Return the metrics.json beside some weights; raise ValueError with a sentence where it is missing or damaged."""
    try:
        metrics = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
        card_tables(metrics)
        if not isinstance(metrics["weights"]["hash"], str) or not isinstance(metrics["figures"], dict):
            raise TypeError("of another kind")
        metrics["examples"] = {file: {"digit": read["digit"], "confidence": float(read["confidence"])}
                               for file, read in metrics["examples"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{folder / METRICS_FILE} is missing or damaged. Restore it, or delete what is there. Run 'make evaluate' "
                         f"then.") from error
    return metrics


def figure_hashes(folder: Path) -> dict:
    """Return {file name: SHA-256} of the figures beside some weights."""
    return {path.name: _sha256(path) for path in sorted((folder / "figures").glob("*.png"))}


def check(name: str | None, data_dir: str | None) -> list[str]:
    """Return what does not belong together, one sentence each; [] where all is well."""
    folder = Path(WEIGHTS if name is None else name)
    recognizer = open_weights(name)
    metrics = read_metrics(folder)
    wrong = []
    if metrics["weights"] != describe_weights(recognizer, folder / WEIGHTS_FILE):
        wrong.append("metrics.json was measured with other weights.")
    changed = {file for file, _ in figure_hashes(folder).items() ^ metrics["figures"].items()}
    wrong += [f"The figure {file} is missing, foreign or was changed." for file in sorted(changed)]
    wrong += _check_examples(metrics["examples"], read_examples(recognizer))
    if folder.resolve() == WEIGHTS:
        check_card()
        wrong += card_mistakes(metrics)
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
            wrong.append(f"examples/{file} is read as {now.get('digit')} ({now.get('confidence')}), recorded was "
                         f"{then.get('digit')} ({then.get('confidence')}).")
    return wrong


def main() -> int:
    """Run the command line; return its exit code."""
    parser = Parser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--weights", help="folder of the weights (default: weights/)")
    parser.add_argument("--data-dir", help="folder of MNIST (default: data; with --check: none, nothing is measured again)")
    parser.add_argument("--strokes", metavar="FILES",
                        help="stroke files (.npz, commas between them); measure on their unseen writers")
    parser.add_argument("--pictures", metavar="TABLES",
                        help="tables of labelled pictures (.csv with file and label, and boxes_xywh where a file shows several "
                             "digits; commas between them)")
    parser.add_argument("--numbers", metavar="FILE", help="with --strokes, of whose digits numbers are composed: a stroke file of "
                                                          "whole numbers")
    parser.add_argument("--seeds", metavar="FOLDERS", help="folders of weights of the same recipe and other seeds (commas between "
                                                           "them); mean and deviation over all")
    parser.add_argument("--untaught", metavar="FOLDER", help="evaluated weights of the same recipe without --teacher; their "
                                                             "results are told beside")
    parser.add_argument("--check", action="store_true", help="only check that everything belongs together; writes nothing")
    flags = parser.parse_args()
    try:
        if not flags.check:
            evaluate(flags.weights, flags.data_dir or "data", flags.strokes, flags.pictures, flags.seeds, flags.numbers,
                     flags.untaught)
            return 0
        wrong = check(flags.weights, flags.data_dir)
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        return refuse(error)
    for sentence in wrong:
        print(sentence, file=sys.stderr)
    print("Run 'make evaluate' and look at what changed." if wrong else
          "Card, metrics, figures, examples and weights belong together.", file=sys.stderr if wrong else sys.stdout)
    return 2 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
