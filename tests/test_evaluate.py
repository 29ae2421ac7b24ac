"""Every number is right, and card, metrics, figures, examples and weights belong together or the check is red."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, STROKES, run_main, run_program
from huggingface_hub import ModelCard

import card
import evaluate
from conditions import CONDITIONS
from data import NO_DIGIT, Pictures, Strokes
from evaluate import METRICS_FILE, check, measure_seeds, results_without_teachers
from measures import (
    auroc,
    calibration_error,
    confusion_of,
    error_limits,
    find_limits,
    fit_temperature,
    least_threshold,
    per_class,
    wilson,
)
from model import WEIGHTS, WEIGHTS_FILE, load_weights, save_weights
from preprocess import MEAN, STD
from recognize import Recognizer
from trials import _spread, measure_hands


def test_the_confusion_matrix_counts_written_against_read():
    confusion = confusion_of(np.array([1, 1, 2, 9]), np.array([1, 7, 2, 9]))
    assert confusion[7, 1] == 1 and confusion.trace() == 3 and confusion.sum() == 4


def test_precision_recall_and_f1_are_those_of_a_hand_sum():
    confusion = np.zeros((10, 10), int)
    confusion[1, 1], confusion[1, 7], confusion[7, 1], confusion[7, 7] = 8, 2, 1, 9
    one = per_class(confusion)[1]
    assert (one["precision"], one["recall"], one["n"]) == (8 / 9, 8 / 10, 10)
    assert one["f1"] == pytest.approx(2 * (8 / 9) * 0.8 / (8 / 9 + 0.8))


def test_the_calibration_error_is_that_of_a_hand_sum():
    sure = np.full((10, 10), 0.2 / 9)
    sure[:, 3] = 0.8
    labels = np.array([3] * 6 + [4] * 4)  # 80 % sure, 60 % right
    assert calibration_error(sure, labels) == pytest.approx(0.2)


def test_the_wilson_interval_is_the_textbooks():
    low, high = wilson(8, 10)  # Brown, Cai and DasGupta 2001 give the formula; 0.4902 to 0.9433
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)


def test_the_area_under_the_curve_counts_pairs():
    assert auroc(np.array([3.0, 2.0]), np.array([1.0, 2.0])) == (1 + 1 + 1 + 0.5) / 4


def test_the_temperature_undoes_an_overconfidence():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 10, generator=generator) * 2
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    assert fit_temperature(logits * 3, labels) == pytest.approx(3, rel=0.05)


def test_the_error_limit_keeps_the_wrong_answers_within_the_target():
    confidence = np.linspace(0.99, 0.50, 100)
    wrong = np.zeros(100, bool)
    wrong[[30, 60, 61, 62]] = True  # four wrong answers
    two, five = error_limits({"all": (confidence, wrong)}, (0.02, 0.05))
    kept, counts = confidence >= two["threshold"], two["kinds"]["all"]
    assert kept.sum() == counts["n"] == 60 and counts["wrong"] == 1 and counts["coverage"] == 0.6
    assert counts["upper"] == wilson(1, 60)[1]
    assert two["max_error"] == 0.02 and five["threshold"] == 0.0
    sure_and_wrong = np.r_[np.full(10, 0.9), np.full(990, 0.8)], np.r_[np.ones(1, bool), np.zeros(999, bool)]
    rest = np.r_[np.full(100, 0.95), np.full(100, 0.7)], np.r_[np.zeros(100, bool), np.ones(100, bool)]
    assert least_threshold([sure_and_wrong], 0.01) == 0 and least_threshold([rest], 0.01) == 0.95
    both = least_threshold([sure_and_wrong, rest], 0.01)  # at 0.9 one in ten of the first kind would be wrong
    assert both == 0.8
    assert all(wrong[confidence >= both].sum() <= 0.01 * (confidence >= both).sum() for confidence, wrong in (sure_and_wrong, rest))
    assert least_threshold([(np.array([1.0]), np.array([True]))], 0.01) == 1
    tied, = error_limits({"all": (np.array([0.9] * 98 + [0.5] * 2), np.array([False] * 98 + [True] * 2))}, (0.01,))
    assert tied["threshold"] == 0.9 and tied["kinds"]["all"]["wrong"] == 0  # with one of two that are as sure both would be kept


class Saying(torch.nn.Module):
    """A network that gives a picture's brightness as its confidence in a 3."""

    temperature = 1.0

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        share = (images.mean(dim=(1, 2, 3)) * STD + MEAN).clamp(0.2, 0.98)[:, None]  # (B, 1)
        return torch.log(torch.where(torch.arange(10) == 3, share, (1 - share) / 9))


def test_limits_hold_for_each_kind_of_pictures_by_itself():
    def kind(wrong: int, level: int, others: int = 0) -> Pictures:  # 1,000 bright pictures; at this level some 3s that are none
        levels = torch.tensor([250] * (1000 - wrong) + [level] * wrong + [60] * others, dtype=torch.uint8)
        labels = torch.tensor([3] * (1000 - wrong) + [7] * wrong + [NO_DIGIT] * others)
        return Pictures(levels[:, None, None].expand(-1, 28, 28), labels)

    easy, hard = kind(2, 150), kind(30, 200, others=4)
    limits = find_limits(Saying(), {"easy": easy, "hard": hard})
    five, one, least = limits["errors"]
    assert five["threshold"] == 0 and one["threshold"] == least["threshold"] == pytest.approx(0.98)
    assert one["kinds"]["easy"]["n"] == 998 and one["kinds"]["hard"]["n"] == 970 and one["kinds"]["hard"]["wrong"] == 0
    assert find_limits(Saying(), {"easy": easy})["errors"][1]["threshold"] == 0
    pooled = find_limits(Saying(), {"all": easy + easy + easy + hard})["errors"]
    assert pooled[1]["threshold"] == 0 and pooled[1]["kinds"]["all"]["wrong"] == 36  # behind the easy ones the hard ones would hide
    hard_alone = find_limits(Saying(), {"hard": hard})
    assert limits["not_a_digit"] == hard_alone["not_a_digit"] == pytest.approx(200 / 255 + (1 - 200 / 255) / 9, abs=1e-3)
    assert limits["refused"] == {"right": 4, "n": 4}


def test_of_a_hundred_digits_one_is_given_up_as_no_digit():
    levels = torch.tensor([60] * 3 + [250] * 197, dtype=torch.uint8)
    kind = Pictures(levels[:, None, None].expand(-1, 28, 28), torch.tensor([3] * 200))
    assert find_limits(Saying(), {"kind": kind})["not_a_digit"] < 0.5  # were two given up, it would be that of the others


def test_the_worst_tenth_of_the_writers_is_told_by_itself():
    writers = np.repeat(np.arange(21).astype(str), [10] * 20 + [9])  # the last one wrote too little
    right = np.concatenate([np.arange(10) < 10 - number // 4 for number in range(20)] + [np.zeros(9, bool)])
    spread = _spread(writers, right)
    assert (spread["n"], spread["of"], spread["worst"]) == (20, 21, 2)
    assert spread["mean"] == pytest.approx(0.8) and spread["worst_tenth"] == pytest.approx(0.6)


def test_a_style_that_changes_no_sample_is_left_out(recognizer, monkeypatch):
    monkeypatch.setattr("trials.CONDITIONS", {"clean pad": CONDITIONS["clean pad"]})
    samples = [[np.concatenate([np.array(stroke, np.float32) for stroke in STROKES[digit]])] for digit in "47" * 10]
    strokes = Strokes(samples, np.array(list("47" * 10)), np.array(["Ada"] * 10 + ["Bob"] * 10))
    found, _ = measure_hands(recognizer, strokes)  # a 4 of one stroke cannot be opened, and there is no 0, 1 and 9
    assert list(found["styles"]) == ["crossed 7"] and found["styles"]["crossed 7"]["n"] == 10


def test_seeds_of_one_recipe_are_compared_and_nothing_else(recognizer):
    with pytest.raises(ValueError, match="not of one recipe with a seed each"):
        measure_seeds(recognizer, str(WEIGHTS), "data")  # the same seed twice


@pytest.mark.parametrize("flag", ["--weights", "--seeds", "--untaught"])
def test_weights_that_are_not_there_are_told_with_the_flag_that_named_them(flag):
    done = run_main("evaluate.py", flag, "missing")
    assert done.returncode == 2
    assert done.stderr == f"No weights at missing. Run 'make train', or name another folder with {flag}.\n"


def test_threads_and_settings_that_there_were_not_yet_are_no_part_of_a_recipe(recognizer, monkeypatch, tmp_path):
    pictures = Pictures(torch.zeros(4, 28, 28, dtype=torch.uint8), torch.zeros(4, dtype=torch.long))
    monkeypatch.setattr("trials.load_mnist", lambda data_dir, train: pictures)

    def saved(seed: int, **recipe) -> str:
        net = load_weights(WEIGHTS / WEIGHTS_FILE)
        net.facts["seed"] = net.facts["recipe"]["seed"] = seed
        net.facts["recipe"] |= recipe
        (tmp_path / str(seed)).mkdir()
        save_weights(net, tmp_path / str(seed) / WEIGHTS_FILE)
        return str(tmp_path / str(seed))

    found = measure_seeds(recognizer, ",".join((saved(101, threads=1), saved(102, threads=7))), "data")
    assert found["seeds"][1:] == [101, 102]
    assert measure_seeds(recognizer, saved(104, lean=0), "data")["seeds"][1:] == [104]
    with pytest.raises(ValueError, match="not of one recipe with a seed each"):
        measure_seeds(recognizer, saved(105, lean=1), "data")
    with pytest.raises(ValueError, match="not of one recipe with a seed each"):
        measure_seeds(recognizer, saved(103, epochs=1), "data")


def test_what_was_reached_without_teachers_is_told_beside_weights_that_had_some(recognizer, tmp_path):
    seeds = {"seeds": [7, 8, 9], "mean": 0.5, "deviation": 0.1}

    def saved(folder: str, **recipe) -> Path:
        net = load_weights(WEIGHTS / WEIGHTS_FILE)
        net.facts["recipe"] |= recipe
        (tmp_path / folder).mkdir()
        save_weights(net, tmp_path / folder / WEIGHTS_FILE)
        metrics = json.loads((WEIGHTS / METRICS_FILE).read_text())
        metrics["weights"] |= {"hash": load_weights(tmp_path / folder / WEIGHTS_FILE).facts["hash"], "seed": 7}
        (tmp_path / folder / METRICS_FILE).write_text(json.dumps(metrics | {"seeds": seeds}))
        return tmp_path / folder

    taught = Recognizer.from_pretrained(saved("taught", teacher="wide", trust=0.7, precision="auto"))
    alone, other = saved("alone", teacher="", precision="float32", threads=3), saved("other", teacher="", epochs=1)
    found = results_without_teachers(taught, alone)
    assert found["seed"] == 7 and found["seeds"] == seeds and found["accuracy"] > 0.99
    for wrong in (other, tmp_path / "taught"):
        with pytest.raises(ValueError, match="not of this recipe without --teacher"):
            results_without_teachers(taught, wrong)
    (other / METRICS_FILE).write_text((other / METRICS_FILE).read_text().replace('"hash": "', '"hash": "0'))
    with pytest.raises(ValueError, match="are of other weights"):
        results_without_teachers(taught, other)
    metrics = json.loads((WEIGHTS / METRICS_FILE).read_text()) | {"untaught": found}
    assert "without teachers, mean +- standard deviation over seeds | 50.00 +- 10.00 % | 3 seeds" in card.card_tables(metrics)


def test_the_repository_belongs_together():
    done = run_program("evaluate.py", "--check")
    assert done.returncode == 0, done.stderr
    assert "belong together" in done.stdout


def test_what_was_measured_is_measured_again(real_data):
    assert check(None, str(real_data)) == []


def test_the_shipped_weights_are_as_good_as_promised():
    test = json.loads((ROOT / "weights" / "metrics.json").read_text())["test"]
    assert test["n"] == 10_000 and test["accuracy"] >= 0.995
    assert abs(test["accuracy"] - test["accuracy_through_the_road"]) <= 0.001


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the weights folder and the card that a test may damage."""
    shutil.copytree(ROOT / "weights", tmp_path / "weights")
    shutil.copy(ROOT / "MODEL_CARD.md", tmp_path)
    monkeypatch.setattr(evaluate, "WEIGHTS", tmp_path / "weights")
    monkeypatch.setattr(card, "CARD", tmp_path / "MODEL_CARD.md")
    assert check(tmp_path / "weights", None) == []
    return tmp_path


def test_one_digit_changed_in_the_card_is_found(copy):
    file = copy / "MODEL_CARD.md"
    text = file.read_text()
    start, stop = (text.index(mark) for mark in ("<!-- results -->", "<!-- /results -->"))
    digits = [found.start() for found in re.finditer(r"\d", text[start:stop])]
    for place in digits[:: max(1, len(digits) // 25)]:
        place += start
        file.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1:])
        assert check(copy / "weights", None) == ["The tables of MODEL_CARD.md are not those of metrics.json."]


def test_one_digit_changed_in_the_model_index_is_found(copy):
    damaged = ModelCard.load(copy / "MODEL_CARD.md")
    damaged.data.eval_results[0].metric_value -= 0.0001
    (copy / "MODEL_CARD.md").write_text(str(damaged))
    assert check(copy / "weights", None) == ["The model-index of MODEL_CARD.md is not that of metrics.json."]


def test_a_number_changed_in_metrics_json_is_found(copy):
    file = copy / "weights" / "metrics.json"
    metrics = json.loads(file.read_text())
    metrics["test"]["accuracy"] -= 0.001
    file.write_text(json.dumps(metrics))
    assert len(check(copy / "weights", None)) == 2  # tables and model-index


def test_a_changed_figure_is_found(copy):
    figure = copy / "weights" / "figures" / "confusion.png"
    figure.write_bytes(figure.read_bytes()[:-1] + b"\0")
    assert "confusion.png" in check(copy / "weights", None)[0]


def test_one_byte_changed_in_the_weights_is_found(copy):
    file = copy / "weights" / "model.safetensors"
    content = bytearray(file.read_bytes())
    for place in np.random.default_rng(0).integers(8, len(content), 20):
        damaged = bytearray(content)
        damaged[place] ^= 1
        file.write_bytes(damaged)
        try:
            assert check(copy / "weights", None)
        except ValueError:
            pass  # refused even earlier, when the weights are loaded


def test_an_example_that_is_read_otherwise_is_found(copy, monkeypatch, tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    one, seven = sorted((tmp_path / "examples").glob("1_*"))[0], sorted((tmp_path / "examples").glob("7_*"))[0]
    shutil.copy(seven, one)
    monkeypatch.setattr(evaluate, "EXAMPLES", tmp_path / "examples")
    assert f"examples/{one.name} is read as 7" in check(copy / "weights", None)[0]


def test_missing_metrics_are_refused_in_a_sentence(copy):
    (copy / "weights" / "metrics.json").unlink()
    with pytest.raises(ValueError, match="Run 'make evaluate'"):
        check(copy / "weights", None)


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"---\n[: no: {yaml\n---\n", b"---\n- a list\n---\n"])
def test_a_damaged_card_is_refused_in_a_sentence(copy, content):
    (copy / "MODEL_CARD.md").unlink() if content is None else (copy / "MODEL_CARD.md").write_bytes(content)
    with pytest.raises(ValueError, match="MODEL_CARD.md is missing or damaged. Restore it."):
        check(copy / "weights", None)


def test_the_tables_say_what_their_rows_are_and_of_how_many():
    metrics = json.loads((ROOT / "weights" / "metrics.json").read_text())
    text = card.card_tables(metrics)
    targets = text[text.index("**Error targets of numbers**"):]
    n, rest = re.match(r".*? on ([\d,]+) numbers .*?\n\n(.*?)\n\n", targets, re.DOTALL).groups()
    for share, answered in re.findall(r"composed \| ([\d.]+) % \| \d+ of ([\d,]+)", rest):
        answered, of = (int(each.replace(",", "")) for each in (answered, n))
        assert round(answered / of, 4) == pytest.approx(float(share) / 100)
    assert "numbers of unseen writers, which they wrote whole" in text
    assert "| Validation at the last epoch, MNIST and drawings together |" in text
    for row in ("climbing 1", "flat 0", "hanging 9", "patterns"):
        assert text.lower().count(row) == 2  # in its table, and where it is explained
    for row in metrics["limits_of_numbers"]:
        row["kinds"] = {kind: counts | {"n": 0, "coverage": 0.0} for kind, counts in row["kinds"].items()}
    assert "set and counted on numbers composed" in card.card_tables(metrics)


def test_the_cards_metadata_round_trips():
    card = ModelCard.load(ROOT / "MODEL_CARD.md")
    again = ModelCard(str(card))
    assert again.data.to_dict() == card.data.to_dict() and str(again) == str(card)
    assert (card.data.license, card.data.library_name, card.data.pipeline_tag) == (
        "apache-2.0", "digitvision", "image-classification")
    assert (card.data.datasets, card.data.metrics, card.data.model_name) == (["ylecun/mnist"], ["accuracy"], "DigitVision")
    accuracy = next(result for result in card.data.eval_results if result.metric_name == "Accuracy")
    assert accuracy.dataset_type == "ylecun/mnist" and accuracy.metric_value >= 0.995
