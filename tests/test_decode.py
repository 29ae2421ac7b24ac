"""Anything that people send becomes upright pixels, or one sentence."""

import io

import numpy as np
import pytest
from conftest import difference, make_sketch
from PIL import Image

import decode
from decode import PictureError, open_picture, to_pixels

SKETCH = make_sketch()


def encode(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", decode.FORMATS)
def test_every_format_that_people_send_is_read(kind):
    picture = open_picture(encode(Image.fromarray(SKETCH), kind))
    assert difference(to_pixels(picture.convert("L")), SKETCH) < 3


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "LA", "I;16", "PA"])
def test_every_mode_of_pillow_gives_the_same_picture(mode):
    grey = Image.fromarray(SKETCH)
    if mode == "I;16":
        image = Image.fromarray(SKETCH.astype(np.uint16) * 257)
    elif mode == "PA":
        image = grey.convert("LA").convert("PA")
    elif mode in ("LAB", "HSV"):
        image = grey.convert("RGB").convert("HSV") if mode == "HSV" else _to_lab(grey.convert("RGB"))
    else:
        image = grey.convert(mode)
    pixels = to_pixels(image)
    pixels = pixels[..., :3].mean(axis=2) if pixels.ndim == 3 else pixels
    assert difference(pixels, SKETCH) < 4  # mode "1" is dithered at soft edges


def _to_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms
    return ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB")


@pytest.mark.parametrize("image", [
    pytest.param(np.broadcast_to(np.uint8(255), (30_000, 30_000)), id="array"),
    pytest.param(np.broadcast_to(np.float32(1), (1, 30_000, 30_000)), id="channels first"),
    pytest.param(Image.new("1", (7000, 7000)), id="PIL"),
])
def test_more_pixels_than_the_limit_are_refused_before_they_are_copied(image):
    with pytest.raises(PictureError, match=r"pixels, more than 40 million. Make it smaller"):
        to_pixels(image)


@pytest.mark.parametrize("suffix", ["png", "tiff", "jpg", "webp"])
def test_a_large_photograph_is_reduced_and_still_upright(tmp_path, suffix):
    page = Image.fromarray(SKETCH).convert("RGB").resize((3300, 2400))
    exif = Image.Exif()
    exif[274] = 6
    page.save(tmp_path / f"large.{suffix}", exif=exif)
    opened = open_picture(tmp_path / f"large.{suffix}")
    assert max(opened.size) < 2500
    pixels = to_pixels(opened)
    assert pixels.shape[0] > pixels.shape[1]
    turned = np.asarray(Image.fromarray(SKETCH).transpose(Image.Transpose.ROTATE_270).resize(pixels.shape[1::-1]))
    assert np.abs(pixels.mean(axis=2) - turned).mean() < 4


@pytest.mark.parametrize("broken", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0\0\xff",
                                    b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x0c\0\xff\xff\xff\xff"])
def test_a_picture_with_broken_exif_data_is_read_as_it_lies(tmp_path, broken):
    Image.fromarray(SKETCH).save(tmp_path / "broken.jpg", exif=broken)
    assert to_pixels(tmp_path / "broken.jpg").shape == SKETCH.shape


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_upright_by_its_exif_orientation(orientation):
    upright = SKETCH[:, :200]
    turns = {1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: np.transpose,
             6: lambda a: np.rot90(a, 1), 7: lambda a: np.rot90(a, 2).T, 8: lambda a: np.rot90(a, 3)}  # how it lies in the file
    exif = Image.Exif()
    exif[274] = orientation
    stored = Image.fromarray(np.ascontiguousarray(turns[orientation](upright)))
    assert difference(to_pixels(open_picture(encode(stored, "PNG", exif=exif))), upright) == 0


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint16", "int32", "int64", "float16", "float32", "float64"])
def test_every_range_of_numbers_is_scaled_not_cut(dtype):
    scale = {"bool": 1, "uint16": 65535}.get(dtype, 1 if dtype.startswith("float") else 255)
    array = ((SKETCH > 127) * scale).astype(dtype)
    assert set(np.unique(to_pixels(array))) == {0, 255}


def test_a_twelve_bit_scan_keeps_its_contrast():
    assert to_pixels(SKETCH.astype(np.uint16) * 16).max() > 250


def test_a_mask_of_zeros_and_ones_is_black_and_white():
    mask = (SKETCH < 128).astype(np.uint8)
    assert np.array_equal(to_pixels(mask), 255 * mask)


def test_floats_that_resizing_left_above_one_are_still_from_0_to_1():
    swung = SKETCH / 255 * 1.04
    assert np.array_equal(to_pixels(swung) > 250, SKETCH > 240)


def test_negative_floats_are_scaled_from_their_smallest_to_their_largest():
    assert difference(to_pixels(SKETCH / 127.5 - 1), SKETCH) <= 1


@pytest.mark.parametrize("layout", [(280, 280, 1), (1, 280, 280), (280, 280, 3), (3, 280, 280), (280, 280, 2), (280, 280, 4)])
def test_every_usual_layout_of_an_array_is_understood(layout):
    channels = layout[2] if layout[0] == 280 else layout[0]
    planes = [SKETCH] * channels
    if channels in (2, 4):
        planes[-1] = np.full_like(SKETCH, 255)
    array = np.stack(planes, axis=2 if layout[0] == 280 else 0)
    pixels = to_pixels(array)
    assert difference(pixels if pixels.ndim == 2 else pixels[:, :, 0], SKETCH) == 0


def test_a_large_picture_is_reduced_at_once():
    assert max(to_pixels(Image.new("L", (5000, 3000))).shape) == decode.KEPT_SIDE


def test_a_sketch_without_composite_is_laid_together_from_its_layers():
    paper = Image.new("RGBA", (280, 280), "white")
    ink = Image.fromarray(np.dstack([SKETCH * 0, SKETCH * 0, SKETCH * 0, 255 - SKETCH]))
    pixels = to_pixels({"background": paper, "layers": [ink], "composite": None})
    assert difference(pixels[:, :, 0], SKETCH) < 1


def test_an_untouched_sketch_is_a_blank_sheet():
    assert to_pixels({"composite": None, "layers": [], "background": None}).min() == 255


@pytest.mark.parametrize("bad, words", [
    (np.zeros((0, 5)), "no pixels"),
    (np.zeros((2, 2, 2, 2)), "single picture"),
    (np.zeros(5), "single picture"),
    (np.full((9, 9), np.nan), "NaN"),
    (np.full((9, 9), np.inf), "infinity"),
    (np.array([["a", "b"]]), "numbers"),
    (np.array([[None, object()]]), "numbers"),
    (np.ones((9, 9), complex), "numbers"),
    (42, "no picture"),
    ({}, "no sketch"),
])
def test_what_is_no_picture_is_refused_in_a_sentence(bad, words):
    with pytest.raises(ValueError, match=words):
        to_pixels(bad)


@pytest.mark.parametrize("name, content, words", [
    ("empty.png", b"", "empty"),
    ("notes.png", b"this is text", "not a picture"),
    ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
    ("page.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not a picture"),
    ("cut.png", encode(Image.fromarray(SKETCH), "PNG")[:300], "not a picture"),
    ("cut.jpg", encode(Image.fromarray(SKETCH), "JPEG")[:300], "not a picture"),
])
def test_a_file_that_is_no_picture_is_refused_in_a_sentence(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        open_picture(tmp_path / name)


def test_a_file_that_is_not_there_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        open_picture(tmp_path / "missing.png")


def test_a_picture_with_too_many_pixels_is_refused_before_it_is_decoded():
    bomb = encode(Image.new("1", (8000, 8000)), "PNG")
    with pytest.raises(ValueError, match="8000 x 8000"):
        open_picture(bomb)


def test_other_code_reads_the_tags_that_we_leave_out():
    profile = bytes(560_000)
    file = encode(Image.fromarray(SKETCH), "TIFF", icc_profile=profile)
    assert "icc_profile" not in open_picture(file).info  # more than all the tags of a picture that we read
    assert Image.open(io.BytesIO(file)).info["icc_profile"] == profile
    with pytest.raises(PictureError):
        open_picture(file[:100])
    assert Image.open(io.BytesIO(file)).info["icc_profile"] == profile


def test_other_code_hears_what_libtiff_says(capfd):
    file = bytearray(encode(Image.effect_noise((200, 200), 60), "TIFF", compression="tiff_adobe_deflate"))
    file[200:208] = b"damage!!"
    with pytest.raises(PictureError):
        open_picture(bytes(file))
    assert capfd.readouterr().err == ""
    with pytest.raises(OSError):
        Image.open(io.BytesIO(file)).load()
    assert "ZIPDecode" in capfd.readouterr().err
