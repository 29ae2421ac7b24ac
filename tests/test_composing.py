"""Composed numbers are what they say, and what is learned from their pieces is labelled right."""

import cv2
import numpy as np
import pytest
import torch
from conftest import STROKES, make_number, make_sketch

from composing import (
    LONGEST,
    calibrate_numbers,
    compose,
    compose_one,
    draw_numbers,
    hands_of,
    measure_fields,
    measure_numbers,
    render_cuts,
)
from data import NO_DIGIT, Pictures, Strokes
from fields import FieldReader
from lattice import DOUBTS
from preprocess import see
from segments import lean_of


@pytest.fixture(scope="module")
def strokes() -> Strokes:
    """Two writers with ten digits each, and one with a single letter."""
    labels = list(STROKES) * 4
    samples = [[np.array(stroke, np.float32) for stroke in STROKES[label]] for label in labels]
    writers = ["Ada"] * 10 + ["Bob"] * 10
    return Strokes([*samples, samples[0]], np.array([*labels, "o"]), np.array([*writers, "Eve"]))


def no_pictures() -> Pictures:
    """Return pictures of which there are none."""
    return Pictures(torch.zeros(0, 28, 28, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64))


def test_a_number_has_as_many_things_as_digits_or_fewer_where_they_touch(strokes):
    for touching in (False, True):
        pictures, texts = compose(strokes, 12, 0, touching)
        # a 4 and a 5 of ours may come in two things
        things = [cv2.connectedComponents((picture < 128).view(np.uint8))[0] - 1 for picture in pictures]
        more = [count - len(text) for count, text in zip(things, texts, strict=True)]
        assert all(1 <= len(text) <= LONGEST and set(text) <= set(STROKES) for text in texts)
        assert (min(more) < 0) if touching else (min(more) >= 0)


def test_the_same_seed_composes_the_same_numbers(strokes):
    one, other = compose(strokes, 3, 7, True), compose(strokes, 3, 7, True)
    assert one[1] == other[1] and all(np.array_equal(a, b) for a, b in zip(one[0], other[0], strict=True))


def test_every_inked_pixel_belongs_to_a_digit(strokes):
    random, hands = np.random.default_rng(1), hands_of(strokes)
    assert len(hands) == 2  # one letter makes no hand
    for _ in range(5):
        ink, owners, text = compose_one(strokes, hands, random, touching=True)
        assert set(np.unique(owners)) == set(range(len(text) + 1)) and (owners[ink > 127] > 0).all()


def test_a_joined_hand_leads_from_digit_to_digit_with_ink_that_is_nobodys(strokes, monkeypatch):
    monkeypatch.setattr("composing.JOINED", 1.0)
    hands, random, drawn, most = hands_of(strokes), np.random.default_rng(2), [], 0
    monkeypatch.setattr("composing.in_another_hand", lambda sample, label, _: drawn.append(label) or sample)
    for _ in range(8):
        ink, owners, labels = compose_one(strokes, hands, random, False, signs=np.array([], int))
        most = max(most, np.count_nonzero((ink > 200) & (owners == 0)))
        assert labels[-2:] == ["0"] * len(labels[-2:])
    assert most > 50 and set(drawn) >= {"0", "7"}


def test_a_free_hand_leans_to_the_right_with_all_that_belongs_to_its_digits(strokes, monkeypatch):
    monkeypatch.setattr("composing.in_another_hand", lambda sample, label, _: sample)
    hands, none, leans = hands_of(strokes), np.array([], int), {}
    for share in (0.0, 1.0):
        monkeypatch.setattr("composing.LEANING", share)
        numbers = [compose_one(strokes, hands, np.random.default_rng(seed), False, none) for seed in range(12)]
        leans[share] = np.mean([lean_of(ink) for ink, _, _ in numbers])
        assert all((owners[ink > 200] > 0).mean() > 0.6 for ink, owners, _ in numbers)
        assert all(set(np.unique(owners)) == set(range(len(labels) + 1)) for _, owners, labels in numbers)
    assert leans[1.0] > leans[0.0] + 0.1


def test_a_sign_among_the_digits_is_learned_as_none(strokes, monkeypatch):
    monkeypatch.setattr("composing.SIGNED", 1.0)
    monkeypatch.setattr("composing.LONGEST", 1)
    cross = Strokes([[np.float32([[0, 0], [20, 20]]), np.float32([[20, 0], [0, 20]])]], np.array(["x"]), np.array(["Eve"]))
    pictures = render_cuts(strokes[:20] + cross, no_pictures(), 4, 0)
    assert pictures.labels.tolist() == [NO_DIGIT] * 4


def test_pieces_of_a_digit_are_learned_as_it_and_mixtures_as_none(strokes, recognizer):
    seen = np.stack([see(make_sketch(digit)) for digit in STROKES])
    pictures = render_cuts(strokes, Pictures(torch.from_numpy(seen), torch.tensor([int(digit) for digit in STROKES])), 12, 0)
    labels = pictures.labels.numpy()
    assert pictures.seen.shape[1:] == (28, 28) and {*map(str, labels[labels != NO_DIGIT])} <= set(STROKES)
    assert (labels == NO_DIGIT).sum() >= 5
    read = recognizer.probabilities(pictures.seen.numpy()).argmax(axis=1)
    assert (read == labels)[labels != NO_DIGIT].mean() > 0.9


def test_nothing_comes_of_writers_with_too_few_digits(strokes):
    assert len(render_cuts(strokes[:5], no_pictures(), 3, 0)) == 0


def test_a_written_number_keeps_its_shape(strokes):
    number = [stroke + np.float32((place * 14, 0)) for place, digit in enumerate("147") for stroke in
              (np.array(each, np.float32) for each in STROKES[digit])]
    picture, = draw_numbers(Strokes([number], np.array(["147"]), np.array(["Ada"])), 0)
    rows, columns = np.nonzero(picture < 128)
    assert np.ptp(columns) / np.ptp(rows) == pytest.approx(37 / 14, rel=0.15)


def test_limits_for_numbers_keep_their_targets_and_turn_into_verdicts(strokes, recognizer, monkeypatch):
    monkeypatch.setattr("composing.COMPOSED", 20)
    facts = calibrate_numbers(FieldReader(recognizer), strokes)
    assert len(facts["weights"]) == DOUBTS + 1 and [row["max_error"] for row in facts["errors"]] == [0.05, 0.03]
    for row in facts["errors"]:
        assert set(row["kinds"]) == {"composed", "composed, scanned"}
        assert all(counts["wrong"] <= row["max_error"] * counts["n"] for counts in row["kinds"].values())
    monkeypatch.setitem(recognizer.net.facts, "numbers", {**facts, "errors": [{"max_error": 0.05, "threshold": 1.0}]})
    strict = FieldReader(recognizer)
    assert strict.read(compose(strokes, 1, 0, False)[0][0]).verdict == "unsure"


def test_weights_without_limits_for_numbers_are_made_read_and_measured_all_the_same(strokes, recognizer, monkeypatch, tmp_path):
    monkeypatch.delitem(recognizer.net.facts, "numbers")
    reader = FieldReader(recognizer)
    assert calibrate_numbers(reader, strokes[:5]) == {}
    cv2.imwrite(str(tmp_path / "47.png"), make_number("47")[0])
    (tmp_path / "labels.csv").write_text('file,label,boxes_xywh\n47.png,47,"[[0, 0, 9, 9], [9, 0, 9, 9]]"\n')
    assert measure_fields(reader, str(tmp_path / "labels.csv"))[tmp_path.name]["whole"]["right"] == 1


@pytest.mark.parametrize("damage", [{"weights": "heavy"}, {"weights": [1, 2]}, {"errors": 7}, {"errors": [{}]},
                                    {"errors": [{"max_error": 0.05, "threshold": 7}]}, {"weights": [float("nan")] * 6}])
def test_limits_for_numbers_that_are_none_are_refused_in_a_sentence(recognizer, monkeypatch, damage):
    monkeypatch.setitem(recognizer.net.facts, "numbers", damage)
    with pytest.raises(ValueError, match="no usable limits for numbers"):
        FieldReader(recognizer)


def test_weights_of_before_with_fewer_doubts_read_numbers_as_if_none_were_measured(recognizer, monkeypatch):
    monkeypatch.setitem(recognizer.net.facts, "numbers", {"weights": [0.5, -6.7, -4.3, 1.6], "errors": []})
    older = FieldReader(recognizer, 0.05)
    monkeypatch.delitem(recognizer.net.facts, "numbers")
    reading, unmeasured = (reader.read(make_number("1047")[0]) for reader in (older, FieldReader(recognizer)))
    assert reading.text == "1047" and reading.confidence == unmeasured.confidence > 0.9


def test_what_is_measured_of_numbers_is_counted(strokes, recognizer, monkeypatch):
    monkeypatch.setattr("composing.COMPOSED", 5)
    seen = torch.from_numpy(np.stack([see(make_sketch(digit)) for digit in STROKES] * 2))
    mnist = Pictures(seen, torch.tensor([int(digit) for digit in STROKES] * 2))
    found = measure_numbers(FieldReader(recognizer), strokes, None, mnist)
    assert [row["n"] for row in found.values()] == [5, 5, 5, 5, 5, 5, 5, 20]
    assert found["one digit stays one digit"]["right"] >= 19
