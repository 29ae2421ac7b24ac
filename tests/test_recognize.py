"""Pictures become readings; the command line writes them as a table, JSON Lines, CSV or a sheet."""

import csv
import json
import os
import re
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from conftest import STROKES, make_field, make_sketch, run_main, run_program
from PIL import Image

from fields import FieldReader
from recognize import HINTS, Recognizer, liking, plot


@pytest.fixture
def scans(tmp_path):
    """A folder with a 4, a 7 and a file that is no picture."""
    for digit in "47":
        Image.fromarray(make_sketch(digit)).save(tmp_path / f"{digit}.png")
    (tmp_path / "notes.png").write_text("not a picture")
    return tmp_path


@pytest.mark.parametrize("digit", STROKES)
def test_a_drawing_is_read(recognizer, digit):
    reading = recognizer.read(make_sketch(digit))
    assert (reading.verdict, reading.digit) == ("digit", digit)
    assert reading.probabilities.shape == (10,) and reading.probabilities.sum() == pytest.approx(1, abs=1e-12)
    assert reading.confidence == reading.probabilities.max() and reading.seen.shape == (28, 28)


def test_every_kind_of_input_gives_the_same_reading(recognizer, tmp_path):
    sketch = make_sketch()
    image = Image.fromarray(sketch)
    image.save(tmp_path / "7.png")
    value = {"background": None, "layers": [], "composite": image}
    readings = recognizer.read_batch([sketch, image, tmp_path / "7.png", str(tmp_path / "7.png"), value])
    assert all(np.array_equal(reading.probabilities, readings[0].probabilities) for reading in readings)


def test_a_batch_keeps_its_order_and_a_bad_picture_spoils_no_other(recognizer):
    batch = [make_sketch("7"), "missing.png", np.full((50, 50), 255, np.uint8), None, make_sketch("4")]
    verdicts = [(reading.verdict, reading.digit) for reading in recognizer.read_batch(batch)]
    assert verdicts == [("digit", "7"), ("unreadable", None), ("blank", None), ("unreadable", None), ("digit", "4")]


def test_a_picture_reads_the_same_alone_and_in_a_batch(recognizer):
    alone = recognizer.read(make_sketch("4")).probabilities
    together = recognizer.read_batch([make_sketch("7"), make_sketch("4"), make_sketch("0")])[1].probabilities
    assert np.allclose(alone, together, atol=1e-6)


def test_no_pictures_give_no_readings(recognizer):
    assert recognizer.read_batch([]) == []


def test_an_odd_object_is_unreadable_in_a_sentence_of_ours(recognizer):
    closed = Image.new("L", (9, 9))
    closed.close()
    loop = {"composite": None, "background": None}
    loop["layers"] = [loop]
    for odd in (closed, loop, {"composite": None, "layers": np.zeros((9, 9))}, ["7.png"], b"7", object(), "\0.png"):
        reading = recognizer.read(odd)
        assert reading.verdict == "unreadable" and reading.message.endswith(".") and "Error" not in reading.message, odd


@pytest.mark.parametrize("image, verdict", [(np.zeros((9, 9)), "blank"), (np.zeros(3), "unreadable"), ({}, "unreadable")])
def test_what_has_no_digit_has_a_sentence_and_no_probabilities(recognizer, image, verdict):
    reading = recognizer.read(image)
    assert reading.verdict == verdict and reading.probabilities is None and reading.digit is None and reading.seen is None
    assert reading.confidence == 0.0 and reading.message.endswith(".")


def judged(recognizer, probabilities, parts=()):
    return recognizer._judge(np.diag([255] * 28).astype(np.uint8), np.array(probabilities), list(parts))


@pytest.fixture
def strict(recognizer):
    """A recogniser that calls less than 90 % unsure, and less than 50 % for two digits together no digit."""
    strict = Recognizer(recognizer.net)
    strict.sure, strict.strange = 0.9, 0.5
    return strict


@pytest.mark.parametrize("probabilities, verdict, message", [
    ([0, 0, 0, 0, 0, 0, 0, 0, 1.0, 0], "digit", "This is an 8 (over 99.9 % sure)."),  # nobody is told 100 %
    ([0, 0.95, 0, 0, 0, 0, 0, 0.05, 0, 0], "digit", "This is a 1 (95.0 % sure)."),
    ([0, 0, 0, 0, 0.6, 0, 0, 0, 0, 0.4], "unsure",
     "Unsure: 4 or 9? Close the top of the 4 to a point, or make the loop of the 9 round."),
    ([0, 0, 0, 0.4, 0.6, 0, 0, 0, 0, 0], "unsure", "Unsure: 4 or 3?"),  # seldom; no advice is better than a strange one
    ([0.1] * 10, "not_a_digit", "This does not look like a digit."),
])
def test_probabilities_become_a_verdict_and_a_sentence(strict, probabilities, verdict, message):
    reading = judged(strict, probabilities)
    assert (reading.verdict, reading.message) == (verdict, message)


def test_a_rival_is_named_where_any_answer_is_accepted(recognizer):
    reading = judged(recognizer, [0, 0.7, 0, 0, 0, 0, 0, 0.3, 0, 0])
    assert (reading.verdict, reading.message) == ("digit", "This is probably a 1 (70.0 % sure), or else a 7. Draw the 1 as one "
                                                  "straight line, or the bar of the 7 longer.")


@pytest.mark.parametrize("pair, hint", HINTS.items())
def test_a_hint_says_in_one_short_sentence_what_to_change_in_both_digits(pair, hint):
    assert len(pair) == 2 and pair[0] < pair[1] and set(re.findall(r"\d", hint)) == set(pair)
    assert ", or " in hint and len(hint) < 80 and hint.count(".") == 1 and hint.endswith(".")


def test_two_digits_in_one_picture_are_counted(recognizer):
    both = np.hstack([make_sketch("4", pad=200, width=15), make_sketch("7", pad=200, width=15)])
    reading = recognizer.read(both)
    assert (reading.verdict, reading.message) == ("several", "Two digits: write one at a time, or read them as a number: "
                                                  "/read_number, fields.py.")
    assert reading.probabilities is not None


def test_things_beside_one_another_are_several_only_where_each_is_a_digit(strict):
    one, four = ([0.99 if digit == sure else 0.01 / 9 for digit in range(10)] for sure in (1, 4))
    strange = [0.1] * 10
    assert judged(strict, one, parts=np.array([one, four])).verdict == "several"
    for parts in ([one, strange], [strange, four], [strange, strange]):
        assert judged(strict, one, parts=np.array(parts)).verdict == "digit"


def test_of_two_cuts_that_the_network_likes_alike_the_one_that_leaves_more_is_taken(recognizer, monkeypatch):
    def sure(share: float) -> np.ndarray:
        return np.array([(1 - share) / 9] * 7 + [share] + [(1 - share) / 9] * 2)

    less, more = np.full((28, 28), 1, np.uint8), np.full((28, 28), 2, np.uint8)
    monkeypatch.setattr("recognize.free_looks", lambda cleaned: [])
    monkeypatch.setattr("recognize.second_looks", lambda cleaned: [(0.06, less), (0.66, more)])
    for likes, chosen in (((0.70, 0.74), less), ((0.50, 0.90), more), ((0.30, 0.30), None)):
        monkeypatch.setattr(recognizer, "probabilities", lambda seen, likes=likes: np.stack([sure(share) for share in likes]))
        reading = judged(recognizer, sure(0.4))
        again = recognizer._look_again(reading, np.zeros((9, 9), np.uint8))
        assert again is reading if chosen is None else again.seen is chosen, likes


def test_a_picture_that_could_be_two_digits_is_liked_better_than_one_that_could_be_any():
    torn, blurred = np.zeros(10), np.full(10, 0.5 / 9)
    torn[[4, 9]], blurred[7] = (0.48, 0.52), 0.5
    assert liking(torn[None])[0] > liking(blurred[None])[0] + 1
    torn[[4, 9]], torn[1] = (0.48, 0.45), 0.07
    assert liking(torn[None])[0] > liking(blurred[None])[0]


def test_a_digit_of_two_strokes_is_one_digit(recognizer):
    sketch = make_sketch("5")
    sketch[78:90] = 255  # its flag stands alone
    assert recognizer.read(sketch).verdict in ("digit", "unsure")


@pytest.mark.parametrize("lean", [-12, 0, 12, 24])
def test_a_circled_1_is_no_slashed_0(recognizer, lean):
    picture = np.full((280, 280), 255, np.uint8)
    cv2.ellipse(picture, (140, 140), (74, 86), 0, 0, 360, 0, 10, cv2.LINE_AA)
    cv2.line(picture, (140 - lean, 190), (140 + lean, 90), 0, 10, cv2.LINE_AA)
    assert recognizer.read(picture).digit == "1"
    cv2.line(picture, (115, 215), (165, 65), 0, 10, cv2.LINE_AA)
    assert recognizer.read(picture).digit != "1"  # a slash from rim to rim


@pytest.mark.parametrize("colour", [(30, 60, 200), (200, 30, 30), (20, 20, 20)])
@pytest.mark.parametrize("digit", "1457")
def test_a_white_digit_on_a_disc_is_read(recognizer, digit, colour):
    sign = np.full((280, 280, 3), 255, np.uint8)
    cv2.circle(sign, (140, 140), 120, colour, -1, cv2.LINE_AA)
    sign[make_sketch(digit, size=0.45) < 128] = 255
    assert recognizer.read(sign).digit == digit


@pytest.mark.parametrize("digit", "4570")
def test_a_digit_between_neighbours_that_touch_it_is_read(recognizer, digit):
    reading = recognizer.read(make_field(digit, "0" if digit != "0" else "7"))
    assert reading.digit == digit and reading.probabilities.sum() == pytest.approx(1)


def test_what_is_read_surely_is_not_looked_at_again(recognizer):
    field = make_field("7", "0", gap=3)
    cleaned = np.full((90, 60), 255, np.uint8)  # would be cut
    reading = recognizer.read(field)
    assert reading.confidence > 0.9 and recognizer._look_again(reading, cleaned) is reading


def test_the_candidates_are_the_two_likeliest(strict):
    assert judged(strict, [0, 0, 0, 0, 0.6, 0, 0, 0, 0, 0.4]).candidates == ["4", "9"]


def test_weights_that_fail_their_self_test_are_refused(recognizer, tmp_path):
    from model import find_weights, save_weights
    net = find_weights()
    net.facts["self_test"]["probabilities"] = net.facts["self_test"]["probabilities"][::-1]
    save_weights(net, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="self-test"):
        Recognizer.from_pretrained(tmp_path / "model.safetensors")


def test_the_table_has_a_row_for_every_picture(scans):
    done = run_program("recognize.py", scans / "4.png", scans / "7.png")
    assert done.returncode == 0 and done.stderr == ""
    header, *rows = done.stdout.splitlines()
    assert header.split() == ["path", "digit", "confidence", "verdict", "message"]
    assert [row.split()[1] for row in rows] == ["4", "7"]


def test_json_lines_and_csv_say_the_same(scans, tmp_path):
    out = tmp_path / "out.csv"
    done = run_main("recognize.py", scans, "--json", "--csv", out)
    assert done.returncode == 2 and "not a picture" in done.stderr  # notes.png
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    rows = list(csv.DictReader(out.open()))
    assert list(lines[0]) == list(rows[0]) == ["path", "digit", "confidence", "verdict", "message", *(f"p{d}" for d in range(10))]
    assert [line["digit"] for line in lines] == ["4", "7", None] and [row["digit"] for row in rows] == ["4", "7", ""]
    assert sum(lines[0][f"p{d}"] for d in range(10)) == pytest.approx(1, abs=1e-4)
    assert lines[2]["verdict"] == "unreadable" and lines[2]["p0"] is None


def test_the_plot_is_a_picture(scans, tmp_path):
    out = tmp_path / "sheet.png"
    done = run_main("recognize.py", scans / "4.png", "--plot", out)
    assert done.returncode == 0 and Image.open(out).width > 500


@pytest.mark.parametrize("arguments, words", [
    (["missing.png"], "There is no file or folder missing.png"),
    (["7" * 9999], "There is no file or folder 777"),
    (["--weights", "missing", "examples"], "No weights at missing"),
    (["--weights", "README.md", "examples"], "README.md is damaged or is no safetensors file"),
    (["README.md"], "not a picture"),
    (["examples", "--max-error", "0.2"], "No threshold was measured for an error of 0.2"),
    (["tests/clients"], "holds no pictures"),
    (["examples", "--csv", "missing/out.csv"], "missing/out.csv cannot be used (No such file or directory). Mend that"),
])
def test_what_the_user_can_mend_is_one_sentence_and_exit_code_2(arguments, words):
    done = run_main("recognize.py", *arguments)
    assert done.returncode == 2 and words in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="names of files are text there")
def test_a_file_whose_name_is_no_text_is_read_like_any(tmp_path):
    name = os.fsdecode(b"7 \xff $x^$.png")
    Image.fromarray(make_sketch()).save(tmp_path / name)
    done = run_program("recognize.py", tmp_path, "--json", "--csv", tmp_path / "out.csv", "--plot", tmp_path / "out.png",
                       PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and json.loads(done.stdout)["digit"] == "7"
    assert (tmp_path / "out.csv").read_text().splitlines()[1].split(",")[1] == "7" and (tmp_path / "out.png").stat().st_size > 0


def test_a_plot_without_a_suffix_is_refused_before_anything_is_read(tmp_path):
    done = run_main("recognize.py", "examples", "--plot", tmp_path / "sheet")
    assert done.returncode == 2 and "has no suffix of a picture" in done.stderr and not done.stdout


def test_a_plot_beside_no_folder_is_refused_before_anything_is_read(tmp_path):
    done = run_main("recognize.py", "examples", "--plot", tmp_path / "missing" / "sheet.png")
    assert done.returncode == 2 and f"There is no folder {tmp_path / 'missing'}" in done.stderr and not done.stdout


@pytest.mark.parametrize("name", ["124950_amount_with_comma.jpg", "IMG_20240101_123456" * 5 + ".JPG"])
def test_no_word_of_a_plot_is_cut_off_at_its_edges(recognizer, tmp_path, name):
    reading = recognizer.read(make_sketch())
    unsure = replace(reading, message="Unsure: 4 or 9? " + HINTS["49"])
    Image.fromarray(make_sketch()).save(tmp_path / name)
    plot([(tmp_path / name, reading), (tmp_path / name, unsure)], tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("L"))
    assert (sheet[:, :3] == 255).all() and (sheet[:, -3:] == 255).all()


@pytest.mark.parametrize("radius", [6, 11, 40])
def test_a_dot_is_no_digit(recognizer, radius):
    dot = np.full((280, 280), 255, np.uint8)
    cv2.circle(dot, (140, 140), radius, 0, -1, cv2.LINE_AA)
    assert recognizer.read(dot).verdict == "not_a_digit"
    assert FieldReader(recognizer).read(dot).verdict != "number"


@pytest.mark.parametrize("height", [14, 22])
def test_a_page_of_letters_is_no_digit(recognizer, height):
    page = np.full((400, 330), 235, np.uint8)
    for number, base in enumerate(range(height, 400, height)):
        line = ("the quick brown fox jumps over a lazy dog and is gone " * 3)[7 * number % 40:]
        cv2.putText(page, line, (6, base), cv2.FONT_HERSHEY_SIMPLEX, height / 50, 60, 1, cv2.LINE_AA)
    assert recognizer.read(page).verdict == "not_a_digit"


@pytest.mark.parametrize("hole", [6, 8])
def test_two_rings_below_one_another_are_no_digit(recognizer, hole):
    colon = np.full((300, 300), 255, np.uint8)
    for down in (78, 222):
        cv2.circle(colon, (150, down), 21, 0, -1, cv2.LINE_AA)
        cv2.circle(colon, (150, down), hole, 255, -1, cv2.LINE_AA)
    assert recognizer.read(colon).verdict in ("not_a_digit", "blank")  # some pass for punched holes
