"""Whatever is sent ends in an answer, in "no digit here", or in one sentence: what is made at random, and what is known to hurt."""

import re
import sys
import threading

import numpy as np
import pytest
from conftest import make_sketch
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.numpy import array_shapes, arrays, scalar_dtypes
from PIL import Image

import decode
from bench import fuzz

SKETCH = make_sketch()
UNREADABLE = "This file is not a picture that can be read. Send a PNG, JPEG, WEBP, GIF, BMP or TIFF."
NO_NUMBERS = "The array does not hold numbers. Give integers from 0 to 255 or floats from 0 to 1."
NO_PICTURE = "This is no picture. Give a PIL picture, a numpy array, or the path of a picture file."
NO_SKETCH = "This is no sketch. Give a dictionary with background, layers and composite."
NOT_FINITE = "The picture holds NaN or infinity. Replace them by paper and try again."
NO_PIXELS = "The picture has no pixels. Send another one."
NO_INK = "There is no ink to read here. Draw a digit, or send a picture that shows one."
TENSOR = "This tensor cannot be turned into an array. Give tensor.float(), dense and with its data."
A_7 = r"This is a 7 \(.*sure\)\."
BEGINNINGS = [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"RIFF\x99\0\0\0WEBPVP8 "]
few = settings(derandomize=True, deadline=None, max_examples=40, database=None)


def ends_well(reading) -> bool:
    """Say whether a reading is an answer or one sentence, which gives nothing away."""
    return bool(fuzz.SENTENCE.fullmatch(reading.message)) and not fuzz.LEAK.search(reading.message) and (
        (reading.probabilities is None) == (reading.verdict in ("blank", "unreadable")))


@pytest.fixture(scope="module")
def apart() -> dict[str, tuple[str, float]]:
    """{name: (message, megabytes)} of the large and the hostile files, read in a process of their own."""
    if sys.platform != "linux":
        pytest.skip("the peak of memory is read from /proc")
    jobs = [("file", number) for number in range(len(fuzz.LARGE) + 40)]
    return {name: (message, megabytes) for _, _, name, _, message, _, megabytes in fuzz.read_apart(jobs, seed=0)}


# --- what is known to hurt: input and what becomes of it ---------------------------------------------------------------------

@pytest.mark.parametrize("name, message", [
    ("nothing", "This file is empty. Save the picture again and send that file."),
    ("text", UNREADABLE), ("HTML", UNREADABLE), ("SVG", UNREADABLE), ("EPS", UNREADABLE), ("PDF", UNREADABLE), ("PPM", UNREADABLE),
    ("ICO", UNREADABLE), ("XBM", UNREADABLE),
    ("GIF and script", A_7), ("PNG and archive", A_7), ("JPEG and page", A_7), ("JPEG and film", A_7),
    ("PNG that claims 4 thousand million squared", "more than 40 million"), ("GIF that claims a giant", "more than 40 million"),
    ("PNG that claims too much", "This picture has 8000 x 8000 pixels, more than 40 million. Make it smaller and send it again."),
    ("PNG that claims 40 million", UNREADABLE), ("PNG of no width", UNREADABLE), ("PNG bomb", NO_INK),
    ("PNG with a bomb of a text", UNREADABLE), ("PNG with a bomb of a profile", UNREADABLE), ("PNG with a long text", A_7),
    ("PNG of a million chunks", UNREADABLE), ("PNG of a million pieces", UNREADABLE), ("PNG with endless EXIF", A_7),
    ("JPEG of 9,999 scans", UNREADABLE), ("JPEG of a million comments", UNREADABLE), ("JPEG of fill bytes", UNREADABLE),
    ("JPEG with endless EXIF", A_7), ("JPEG with EXIF in parts", A_7), ("GIF with a long comment", UNREADABLE),
    ("BMP that skips 4 thousand million", "more than 100000 in one direction. Cut out the digit and send that."),
    ("BMP of 39 million in runs",
        "takes too much memory"),
    ("TIFF with endless tags", UNREADABLE), ("TIFF with a giant tile", "takes too much memory to decode"),
    ("TIFF of 40 million tiles", UNREADABLE), ("TIFF with every strip in one place", UNREADABLE),
    ("TIFF with a million depths", UNREADABLE), ("TIFF with a rational of everything", "picture"),
])
def test_a_hostile_file_ends_in_an_answer_or_a_sentence(apart, name, message):
    said, megabytes = apart[name]
    assert re.search(message if message == A_7 else re.escape(message), said) and fuzz.SENTENCE.fullmatch(said), said
    assert megabytes < fuzz.MEGABYTES


@pytest.mark.parametrize("name", fuzz.LARGE)
def test_the_largest_picture_of_every_kind_takes_less_than_300_megabytes(apart, name):
    said, megabytes = apart[f"large {name}"]
    assert said == NO_INK and megabytes < fuzz.MEGABYTES


@pytest.mark.parametrize("made, message", [
    (lambda: None, NO_PICTURE), (lambda: 7, NO_PICTURE), (lambda: b"7", NO_PICTURE), (lambda: ["7.png"], NO_PICTURE),
    (fuzz.Raises, NO_PICTURE), (lambda: "", "There is no such file. Check the name and the folder."),
    (lambda: "\0.png", "There is no such file. Check the name and the folder."),
    (lambda: "7" * 9999, "There is no such file. Check the name and the folder."),
    (lambda: np.zeros((0, 5)), NO_PIXELS), (lambda: Image.new("L", (0, 5)), NO_PIXELS),
    (lambda: np.array(7), "An array of one number is no single picture. Give height x width, or height x width x 1, 3 or 4."),
    (lambda: np.zeros(5), "An array of 5 is no single picture. Give height x width, or height x width x 1, 3 or 4."),
    (lambda: np.zeros((1, 28, 28, 1)),
        "An array of 1 x 28 x 28 x 1 is no single picture. Give height x width, or height x width x 1, 3 or 4."),
    (lambda: np.full((9, 9), np.nan), NOT_FINITE), (lambda: np.full((9, 9), -np.inf), NOT_FINITE),
    (lambda: np.full((9, 9), np.finfo(np.longdouble).max), NOT_FINITE),  # no float holds it
    (lambda: np.ones((9, 9), complex), NO_NUMBERS), (lambda: np.full((9, 9), "7"), NO_NUMBERS), (lambda: np.full((9, 9), None),
        NO_NUMBERS),
    (lambda: np.zeros((9, 9), "i4,f4"), NO_NUMBERS), (lambda: np.zeros((9, 9), "M8[s]"), NO_NUMBERS),
    (lambda: np.ma.masked_greater(SKETCH, 99),
        "This array has masked pixels. Fill them with paper, as in array.filled(255), and try again."),
    (lambda: np.ma.array(SKETCH), A_7), (lambda: SKETCH.view(fuzz.Array), A_7), (lambda: SKETCH[::-1][::-1], A_7),
    (lambda: SKETCH.astype("float16"), A_7), (lambda: SKETCH.astype("longdouble"), A_7), (lambda: SKETCH.astype(">u2"), A_7),
    (lambda: np.where(SKETCH > 99, np.uint64(2 ** 64 - 1), np.uint64(0)), A_7),
    (lambda: np.where(SKETCH > 99, np.finfo(float).max, np.finfo(float).min), A_7), (lambda: (SKETCH > 99).astype(bool), A_7),
    (lambda: np.full((9, 9), 2 ** 64 - 1, np.uint64), NO_INK), (lambda: np.full((9, 9), -5), NO_INK), (lambda: np.zeros((9, 9,
        4)), NO_INK),
    (lambda: np.zeros((1, 10_000)), NO_INK), (lambda: np.full((10_000, 1, 3), 255, np.uint8), NO_INK), (lambda: np.zeros((1, 1)),
        NO_INK),
    (lambda: np.zeros((1, 100_001)),
        "This picture has 100001 x 1 pixels, more than 100000 in one direction. Cut out the digit and send that."),
    (lambda: fuzz.fixed()["bfloat16"], TENSOR), (lambda: fuzz.fixed()["a tensor without data"], TENSOR),
    (lambda: fuzz.fixed()["a sparse tensor"], TENSOR),
    (lambda: {}, NO_SKETCH), (lambda: {"picture": SKETCH}, NO_SKETCH), (lambda: {"layers": SKETCH}, NO_SKETCH),
    (lambda: {"layers": 7}, NO_SKETCH),
    (lambda: {"layers": [7]}, NO_PICTURE), (lambda: {"composite": object()}, NO_PICTURE), (lambda: {"composite": None}, NO_INK),
    (lambda: {"background": SKETCH, "layers": [np.zeros((9, 9, 4))]}, A_7),
    (lambda: {"layers": [SKETCH] * 17}, "This sketch has 17 layers, more than 16. Send its composite."),
])
def test_an_odd_object_ends_in_an_answer_or_a_sentence(recognizer, made, message):
    reading = recognizer.read(made())
    assert ends_well(reading) and re.fullmatch(message if message == A_7 else re.escape(message), reading.message), reading.message


# --- what is made at random ---------------------------------------------------------------------------------------------------

@few
@given(some.sampled_from(sorted(name for name in fuzz.pictures() if "turned" not in name)))
def test_every_format_and_mode_that_pillow_writes_is_read(recognizer, name):
    assert recognizer.read(decode.open_picture(fuzz.pictures()[name])).digit == "7"


@few
@given(some.integers(len(fuzz.pictures()) + 100, 10 ** 6))
def test_a_damaged_file_ends_in_an_answer_or_a_sentence(recognizer, number):
    name, data = fuzz.damaged(number, seed=1)
    try:
        picture = decode.open_picture(data)
    except decode.PictureError as error:
        picture = error
    assert ends_well(recognizer.read(picture)), name


@few
@given(some.sampled_from(BEGINNINGS), some.binary(max_size=99))
def test_bytes_that_begin_like_a_picture_end_in_a_sentence(beginning, data):
    with pytest.raises(decode.PictureError) as refused:
        decode.open_picture(beginning + data)
    assert fuzz.SENTENCE.fullmatch(str(refused.value)) and not fuzz.LEAK.search(str(refused.value))


@few
@given(some.data(), scalar_dtypes() | some.sampled_from([np.dtype("longdouble"), np.dtype(object)]))
def test_an_array_of_any_shape_and_dtype_ends_in_an_answer_or_a_sentence(recognizer, data, dtype):
    shape = data.draw(array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=12))
    array = np.empty(shape, object) if dtype.hasobject else data.draw(arrays(dtype, shape))
    assert ends_well(recognizer.read(array))
    assert ends_well(recognizer.read({"background": array, "layers": [SKETCH, array], "composite": None}))


@few
@given(some.sampled_from(["uint8", "int16", "uint64", "float16", "float32", "longdouble", "bool"]),
       some.tuples(some.integers(1, 60), some.integers(1, 60)), some.integers(0, 99))
def test_the_levels_of_an_array_do_not_depend_on_its_dtype(dtype, shape, seed):
    black_and_white = np.random.default_rng(seed).integers(0, 2, shape)
    pixels = decode.full_range(black_and_white.astype(dtype))
    assert np.array_equal(pixels, 255 * black_and_white)


# --- bounds -------------------------------------------------------------------------------------------------------------------

def test_two_large_pictures_are_never_decoded_at_the_same_time():
    large, small, read = fuzz.large("PNG P"), fuzz.pictures()["PNG L"], []
    with decode.slot:
        thread = threading.Thread(target=lambda: read.append(decode.open_picture(large)))
        thread.start()
        assert decode.open_picture(small).size == (64, 48)  # a small one does not wait
        thread.join(0.5)
        assert not read
    thread.join()
    assert max(read[0].size) < 2 * decode.KEPT_SIDE and not decode.slot.locked()


def test_a_large_picture_that_would_wait_long_is_refused_in_a_sentence(monkeypatch):
    monkeypatch.setattr(decode, "PATIENCE", 0.01)
    with decode.slot, pytest.raises(decode.PictureError, match="Another large picture is being read. Send this one again"):
        decode.open_picture(fuzz.large("PNG P"))


def test_a_picture_that_would_take_too_much_memory_is_refused_by_its_header():
    file = fuzz.io.BytesIO()
    Image.new("RGB", (4200, 4000)).save(file, "WEBP", lossless=True, method=0)
    with pytest.raises(decode.PictureError, match="This WEBP picture of 4200 x 4000 pixels takes too much memory to decode"):
        decode.open_picture(file.getvalue())


def test_a_damaged_tiff_prints_nothing_beside_its_sentence(capfd):
    data = bytearray(fuzz.pictures()["TIFF L lzma"])
    data[80:90] = b"damage!!!!"
    with pytest.raises(decode.PictureError, match="not a picture that can be read"):
        decode.open_picture(bytes(data))
    assert capfd.readouterr() == ("", "")
