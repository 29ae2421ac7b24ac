"""MNIST, folders of pictures and pen strokes become pictures at the junction, or one sentence says why not."""

import re
import shutil

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT, STROKES, make_sketch, write_strokes
from PIL import Image

from data import (
    NO_DIGIT,
    Pictures,
    draw,
    load_folder,
    load_labelled,
    load_mnist,
    load_strokes,
    name_of,
    render,
    split_mnist,
    split_writers,
    tables_of,
)


def test_mnist_is_read_from_its_own_files(small_mnist):
    train, test = load_mnist(small_mnist, train=True), load_mnist(small_mnist, train=False)
    assert train.seen.shape == (240, 28, 28) and train.seen.dtype == torch.uint8 and len(test) == 60
    assert set(train.labels.tolist()) == {int(digit) for digit in STROKES}


def test_the_real_mnist_is_whole(real_data):
    train = load_mnist(real_data, train=True)
    assert len(train) == 60_000 and torch.bincount(train.labels).tolist()[:3] == [5923, 6742, 5958]  # LeCun's own counts


def test_the_last_5000_are_for_validation_whatever_the_seed():
    train, validation = split_mnist(Pictures(torch.zeros(60_000, 1, 1, dtype=torch.uint8), torch.arange(60_000)))
    assert len(train) == 55_000 and validation.labels.tolist() == list(range(55_000, 60_000))


def test_a_folder_by_class_takes_the_road_of_an_upload(tmp_path):
    for digit in ("4", "7"):
        (tmp_path / digit).mkdir()
        Image.fromarray(255 - make_sketch(digit, pad=150)).save(tmp_path / digit / "one.png")
    Image.fromarray(255 - make_sketch("7", pad=150)).save(tmp_path / "7" / "two.gif")
    (tmp_path / ".checkpoints").mkdir()  # what programs leave
    (tmp_path / ".checkpoints" / "9.png").write_text("")
    (tmp_path / "7" / ".DS_Store").write_text("")
    for hidden in (".thumbnails/normal", "7/.cache/large/256", ".thumbnails/7/normal"):
        (tmp_path / hidden).mkdir(parents=True)
        Image.fromarray(make_sketch("7", pad=150)).save(tmp_path / hidden / "x.png")
    pictures = load_folder(tmp_path)
    assert pictures.labels.tolist() == [4, 7, 7] and pictures.seen.shape == (3, 28, 28)
    (tmp_path / "7").rename(tmp_path / ".thumbnails" / "7" / "normal" / "7")
    (tmp_path / "4").rename(tmp_path / ".thumbnails" / "7" / "normal" / "4")
    assert len(load_folder(tmp_path / ".thumbnails" / "7" / "normal")) == 3  # it may itself be called as it is


@pytest.mark.parametrize("files, words", [
    ({}, "no sub-folders"),
    ({"cat/one.png": True}, "'cat' that is no digit"),
    ({"7/notes.txt": False}, "hold no pictures"),
    ({"7/one.png": False}, "not a picture"),
])
def test_a_folder_that_is_laid_out_otherwise_is_refused_in_a_sentence(tmp_path, files, words):
    for name, picture in files.items():
        (tmp_path / name).parent.mkdir()
        Image.fromarray(make_sketch()).save(tmp_path / name) if picture else (tmp_path / name).write_text("text")
    with pytest.raises(ValueError, match=words):
        load_folder(tmp_path)


def test_strokes_are_split_by_writer_whatever_else_is_named(tmp_path):
    strokes = load_strokes(write_strokes(tmp_path / "strokes.npz", writers=40))
    seen, unseen = split_writers(strokes)
    assert len(seen) + len(unseen) == len(strokes) and 0.05 < len(unseen) / len(strokes) < 0.4
    assert not set(seen.writers) & set(unseen.writers)
    fewer = split_writers(strokes[:len(strokes) // 2])[1]
    assert set(fewer.writers) <= set(unseen.writers)


def test_several_stroke_files_are_read_as_one(tmp_path):
    one, two = write_strokes(tmp_path / "one.npz", writers=1), write_strokes(tmp_path / "two.npz", writers=2)
    assert len(load_strokes(f"{one},{two}")) == 3 * len(STROKES)


def test_what_is_no_digit_is_labelled_so_and_look_alikes_are_left_out(tmp_path):
    strokes = load_strokes(write_strokes(tmp_path / "strokes.npz", writers=1))
    strokes.labels[:3] = "A", "O", "7"
    pictures = render(strokes[:3], 4, seed=0)
    assert pictures.labels.tolist() == [NO_DIGIT, NO_DIGIT, 7, 7, 7, 7]  # half as often as digits


def test_strokes_come_back_as_they_were_written(tmp_path):
    strokes = load_strokes(write_strokes(tmp_path / "strokes.npz"))
    first = strokes.samples[list(strokes.labels).index("4")]
    assert [stroke.tolist() for stroke in first] == [[list(point) for point in line] for line in STROKES["4"]]


def test_a_drawing_has_the_size_place_and_pen_asked_for():
    line = [np.array([[0, 0], [0, 10]], np.float32)]
    paper = draw(line, width=20, size=0.5, at=(0.25, 0.5), pad=200)
    rows, columns = np.flatnonzero((paper < 128).any(axis=1)), np.flatnonzero((paper < 128).any(axis=0))
    assert np.ptp(columns) + 1 == pytest.approx(20, abs=2) and columns.mean() == pytest.approx(50, abs=1)
    assert np.ptp(rows) + 1 == pytest.approx(120, abs=3) and rows.mean() == pytest.approx(100, abs=1)  # round ends


def test_rendering_is_the_same_for_the_same_seed(tmp_path):
    strokes = load_strokes(write_strokes(tmp_path / "strokes.npz", writers=1))
    one, same, other = render(strokes, 2, seed=0), render(strokes, 2, seed=0), render(strokes, 2, seed=1)
    assert len(one) == 2 * len(STROKES) and torch.equal(one.seen, same.seen) and not torch.equal(one.seen, other.seen)


@pytest.mark.parametrize("load, what", [(load_strokes, "file"), (load_labelled, "file"), (load_folder, "folder")])
def test_what_is_not_there_is_called_so(tmp_path, load, what):
    with pytest.raises(ValueError, match=re.escape(f"There is no {what} {tmp_path / 'missing'}. Check the name.")):
        load(tmp_path / "missing")


@pytest.mark.parametrize("part, value", [
    ("points", np.zeros((5, 3))), ("points", np.full((500, 2), np.nan)), ("label", np.array(["1"])),
    ("sample_start", np.array([0, 99999])),
])
def test_strokes_that_do_not_fit_each_other_are_refused_in_a_sentence(tmp_path, part, value):
    arrays = dict(np.load(write_strokes(tmp_path / "strokes.npz", writers=1)))
    np.savez(tmp_path / "odd.npz", **{**arrays, part: value})
    with pytest.raises(ValueError, match="no stroke file"):
        load_strokes(tmp_path / "odd.npz")


def test_numbers_of_several_digits_are_read_where_they_are_asked_for(tmp_path):
    arrays = dict(np.load(write_strokes(tmp_path / "strokes.npz", writers=1)))
    np.savez(tmp_path / "numbers.npz", **{**arrays, "label": np.array(["47"] * len(arrays["label"]))})
    assert set(load_strokes(tmp_path / "numbers.npz", numbers=True).labels) == {"47"}
    with pytest.raises(ValueError, match="no stroke file"):
        load_strokes(tmp_path / "numbers.npz")


def test_a_sample_has_a_name_by_its_points_alone():
    one, other = np.array([[0, 1], [2, 3]], np.float32), np.array([[0, 1], [2, 4]], np.float32)
    assert name_of([one, one]) == name_of([one.copy(), one.astype(np.float64)])
    assert len({name_of([one]), name_of([other]), name_of([one, one]), name_of([np.concatenate([one, one])])}) == 4


def test_a_table_of_fields_gives_every_box_with_what_lies_around_it(tmp_path):
    Image.fromarray(np.arange(4000).reshape(40, 100).astype(np.uint8)).save(tmp_path / "field.png")
    Image.new("RGB", (9, 7)).save(tmp_path / "one.png")
    (tmp_path / "labels.csv").write_text('file,label,boxes_xywh\nfield.png,42,"[[0, 10, 20, 20], [60, 10, 20, 20]]"\n'
                                         'one.png,7,\nfield.png,123,"[[0, 10, 20, 20]]"\n')
    pictures, labels, left_out = load_labelled(tmp_path / "labels.csv")
    assert labels.tolist() == [4, 2, 7] and left_out == 1
    assert [picture.shape for picture in pictures] == [(27, 24), (27, 27), (7, 9, 3)]


def test_pictures_of_a_table_are_those_that_are_read(tmp_path, recognizer):
    examples = [path for path in sorted((ROOT / "examples").iterdir()) if path.stem[1] == "_"]
    for path in examples:  # on their sides, transparent, with 16 bits
        shutil.copy(path, tmp_path)
    (tmp_path / "labels.csv").write_text("\ufefffile,label\n" + "".join(f"{path.name},{path.name[0]} \n" for path in examples))
    pictures, labels, _ = load_labelled(tmp_path / "labels.csv")
    read = recognizer.read_batch(pictures)
    assert [reading.digit for reading in read] == [path.name[0] for path in examples] == [str(label) for label in labels]
    large = np.full((3000, 4000), 255, np.uint8)
    large[2000:2600, 3000:3600] = cv2.resize(make_sketch("7", pad=150), (600, 600))
    Image.fromarray(large).save(tmp_path / "large.png")
    (tmp_path / "labels.csv").write_text('file,label,boxes_xywh\nlarge.png,7,"[[3000, 2000, 600, 600]]"\n')
    (picture,), _, _ = load_labelled(tmp_path / "labels.csv")  # made smaller as it is opened
    assert max(picture.shape) < 250 and recognizer.read(picture).digit == "7"


@pytest.mark.parametrize("rows, words", [
    ("file,label\none.png,three\n", "the label 'three', which is no digit"),
    ("file,label\nmissing.png,3\n", "missing.png: There is no such file"),
    ("file,label\none.png,33\n", "no row with as many boxes as digits"),
    ('file,label,boxes_xywh\none.png,3,"[[50, 50, 9, 9]]"\n', "a box that is none"),
    ('file,label,boxes_xywh\none.png,3,"[7]"\n', "a box that is none"),
    ('file,label,boxes_xywh\none.png,3,"[[0, 0, Infinity, 1]]"\n', "a box that is none"),
])
def test_a_row_that_cannot_be_measured_is_told_in_a_sentence(tmp_path, rows, words):
    Image.new("RGB", (9, 7)).save(tmp_path / "one.png")
    (tmp_path / "labels.csv").write_text(rows)
    with pytest.raises(ValueError, match=re.escape(words)):
        load_labelled(tmp_path / "labels.csv")


def test_two_tables_of_one_name_are_refused_since_one_would_hide_the_other(tmp_path):
    assert list(tables_of(f"{tmp_path}/a/one.csv,{tmp_path}/b/one.csv")) == ["a", "b"]
    with pytest.raises(ValueError, match="Two tables lie in folders of the name a"):
        tables_of(f"{tmp_path}/a/one.csv,{tmp_path}/a/two.csv")


@pytest.mark.parametrize("text", ["file,digit\n", "", "file;label\none.png;3\n", "file,label,boxes_xywh\none.png,3,[[\n",
                                  "file,label,boxes_xywh\none.png,3,5\n", f"file,label,boxes_xywh\none.png,3,{'[' * 10**5}\n",
                                  f"file,label\n{'x' * 10**6},3\n"])
def test_another_table_is_refused_in_a_sentence(tmp_path, text):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(ValueError, match="no table of labelled pictures"):
        load_labelled(tmp_path / "labels.csv")
