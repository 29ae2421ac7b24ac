"""Turn anything that people send as a picture into upright pixels, within bounds; nothing else here decodes a file."""

import os
import threading
import warnings
from io import BytesIO
from math import ceil, inf
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

from bounds import (
    FORMATS,
    MAX_BYTES,
    MAX_PIXELS,
    NO_PICTURE,
    ORIENTATION,
    READS,
    BoundedFile,
    PictureError,
    bounded,
    check_memory,
    check_size,
    count_scans,
)

LARGE = 4_200_000  # pixels; larger pictures are decoded one at a time
PATIENCE = 3  # seconds that a large picture waits for another one; the command lines wait for ever
TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
         5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90}
OVERSHOOT = 1.5  # floats up to this were meant to end at 1: bicubic and Lanczos resizing swing beyond
KEPT_SIDE = 1024  # pixels; larger pictures are reduced at once: a digit on 3 % of the side still has 30 pixels
BLOCK = 2 ** 21  # pixels, about, that are converted at a time while a large picture is reduced
LAYERS = 16  # of a sketch
EMPTY = "The picture has no pixels. Send another one."
NO_SKETCH = "This is no sketch. Give a dictionary with background, layers and composite."

slot = threading.Lock()  # held by the one large picture that is decoded


# --- files ----------------------------------------------------------------------------------------------------------------

class LargePicture(Exception):
    """A picture is larger than whoever opens it has time for."""


def open_picture(file: str | Path | bytes, most: float = inf) -> Image.Image:
    """Return the decoded picture, first frame, of a file or of its bytes; a large JPEG is made smaller while it is decoded.

    It takes at most MAX_MEMORY bytes: what is larger is refused by its header. Raises PictureError with a sentence for a file that
    is missing, empty, too large, or no picture; LargePicture, before its pixels are decoded, for one of more than `most` bytes or
    pixels.
    """
    try:
        if isinstance(file, bytes):
            return _open(BytesIO(file), len(file), most)
        if not os.path.isfile(file):  # pathlib raises for names that no file can have
            raise PictureError("There is no such file. Check the name and the folder.")
        with Path(file).open("rb") as opened:
            return _open(opened, os.fstat(opened.fileno()).st_size, most)
    except PermissionError as error:
        raise PictureError("This file may not be read. Check its permissions.") from error
    except (PictureError, LargePicture):
        raise
    except Image.DecompressionBombError as error:  # Pillow's own limit, four times as high
        raise PictureError(f"This picture has more than {MAX_PIXELS // 10 ** 6} million pixels. Make it smaller and send it "
                           "again.") from error
    except Exception as error:  # Pillow's decoders raise nearly anything
        raise PictureError(NO_PICTURE) from error


def _open(file, size: int, most: float) -> Image.Image:
    """Return the picture in a file of `size` bytes; raise LargePicture where these, or its pixels, are more than `most`."""
    if size == 0:
        raise PictureError("This file is empty. Save the picture again and send that file.")
    if size > MAX_BYTES:
        raise PictureError(f"This file is larger than {MAX_BYTES // 10 ** 6} MB. Make the picture smaller and send it again.")
    if size > most:
        raise LargePicture
    source = BoundedFile(file, 2 * size + 2 ** 20)
    with bounded(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's warnings speak to programmers; the limits are ours
        with Image.open(source, formats=FORMATS) as image:
            check_size(*image.size)
            if image.width * image.height > most:
                raise LargePicture
            scans = count_scans(file) if image.format in ("JPEG", "MPO") else 1
            whole = image.size
            image.draft(None, (KEPT_SIDE, KEPT_SIDE))
            check_memory(image, whole, scans)
            source.reads = READS[1]
            picture = _load(image, whole[0] * whole[1])
            if picture.size != whole:
                picture.opened_as = picture.size, _as_turned(whole, image)  # for `size_of`
            return picture


# --- pictures -------------------------------------------------------------------------------------------------------------

def _load(image: Image.Image, pixels: int) -> Image.Image:
    """Return a picture with its pixels decoded, reduced where it is large; no two of more than LARGE pixels at the same time.

    Raises PictureError with a sentence where another one takes longer than PATIENCE.
    """
    large = pixels > LARGE
    if large and not slot.acquire(timeout=PATIENCE):
        raise PictureError("Another large picture is being read. Send this one again in a few seconds, or make it smaller.")
    try:
        with bounded():
            image.load()
        return _reduced(image)
    finally:
        if large:
            slot.release()


def _reduced(image: Image.Image) -> Image.Image:
    """Return the picture itself, or, where it is twice as long as KEPT_SIDE, reduced to less than that, upright.

    It is done some rows at a time, so that a picture of any mode takes little more memory than it has already.
    """
    width, height = image.size
    factor = max(width, height) // KEPT_SIDE
    if factor < 2:
        return image
    across, down = min(factor, width), min(factor, height)
    high = down * max(1, BLOCK // (width * down))
    small = None
    for top in range(0, height, high):
        part = plain(image.crop((0, top, width, min(top + high, height)))).reduce((across, down))
        small = small or Image.new(part.mode, (part.width, ceil(height / down)))
        small.paste(part, (0, top // down))
    return upright(small, image)


def upright(image: Image.Image, source: Image.Image) -> Image.Image:
    """Return a picture turned as the EXIF orientation of its source says; as it lies where that has none that can be read.

    Pillow's own exif_transpose raises for EXIF data that is broken anywhere.
    """
    try:
        with bounded():
            turn = TURNS.get(source.getexif().get(ORIENTATION))
    except Exception:  # as many kinds as there are ways to break it
        turn = None
    return image if turn is None else image.transpose(turn)


def plain(image: Image.Image) -> Image.Image:
    """Return a picture of any mode in L, RGB, RGBA, or, where it holds more than bytes, I or F."""
    if image.mode.startswith(("I", "F")):
        return image.convert("I") if image.mode.startswith("I;") else image
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or isinstance(image.info.get("transparency"), (int, bytes, tuple)):
        if image.mode in ("La", "RGBa"):  # Pillow only unmultiplies through these two
            image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
        mode = "RGBA"
    else:
        mode = "L" if image.mode in ("1", "L") else "RGB"
    return image if image.mode == mode else image.convert(mode)


# --- anything at all ------------------------------------------------------------------------------------------------------

def to_pixels(image) -> np.ndarray:
    """Return any picture as (H, W), (H, W, 3) or (H, W, 4) uint8, upright, not transposed, full range 0 to 255.

    16-bit and float values are scaled, not cut. Raises PictureError with a sentence.
    """
    if isinstance(image, PictureError):  # what became of one of many files that were decoded before
        raise image
    if isinstance(image, dict):
        image = flatten_sketch(image)
    if isinstance(image, (str, Path)):
        image = open_picture(image)
    if isinstance(image, Image.Image):
        return shrink(pil_to_array(image), KEPT_SIDE)
    if isinstance(image, torch.Tensor):
        image = tensor_to_array(image)
    if isinstance(image, np.ndarray):
        pixels = shrink(full_range(channels_last(image)), KEPT_SIDE)
        return pixels[:, :, [0, 0, 0, 1]] if pixels.ndim == 3 and pixels.shape[2] == 2 else pixels  # grey and alpha
    raise PictureError("This is no picture. Give a PIL picture, a numpy array, or the path of a picture file.")


def flatten_sketch(sketch: dict):
    """Return the picture of a Sketchpad value {"background", "layers", "composite"}: what the person sees.

    An untouched pad is a blank sheet; layers of other sizes are stretched over the lowest one. Raises PictureError for a
    dictionary that is no Sketchpad value.
    """
    if not sketch.keys() & {"background", "layers", "composite"}:
        raise PictureError(NO_SKETCH)
    if sketch.get("composite") is not None:
        return sketch["composite"]
    layers = () if sketch.get("layers") is None else sketch["layers"]
    if not isinstance(layers, (list, tuple)):
        raise PictureError(NO_SKETCH)
    if len(layers) > LAYERS:
        raise PictureError(f"This sketch has {len(layers)} layers, more than {LAYERS}. Send its composite.")
    sheets = [Image.fromarray(to_pixels(sheet)) for sheet in (sketch.get("background"), *layers) if sheet is not None]
    if not sheets:
        return Image.new("L", (1, 1), 255)
    drawing = sheets[0].convert("RGBA")
    for sheet in sheets[1:]:
        drawing.alpha_composite(sheet.convert("RGBA").resize(drawing.size))
    return drawing


def pil_to_array(image: Image.Image) -> np.ndarray:
    """Return a PIL picture of any mode as uint8 (H, W), (H, W, 3) or (H, W, 4), turned upright by its EXIF orientation."""
    if image.width * image.height == 0:
        raise PictureError(EMPTY)
    check_size(*image.size)
    check_memory(image, image.size)
    image = _load(image, image.width * image.height)
    pixels = np.asarray(plain(upright(image, image)))
    return full_range(pixels) if image.mode.startswith(("I", "F")) else pixels


def tensor_to_array(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor as the array it would be; raise PictureError for one that numpy has no numbers for."""
    try:
        return tensor.numpy(force=True)
    except (TypeError, RuntimeError) as error:  # bfloat16, quantised, sparse, without data
        raise PictureError("This tensor cannot be turned into an array. Give tensor.float(), dense and with its data.") from error


def channels_last(array: np.ndarray) -> np.ndarray:
    """Return (H, W), (H, W, 2), (H, W, 3) or (H, W, 4) for an array of any of the usual layouts.

    Raises PictureError for others, and for masked pixels: nobody knows what is under them.
    """
    if array.size == 0:
        raise PictureError(EMPTY)
    if isinstance(array, np.ma.MaskedArray) and np.any(np.ma.getmaskarray(array)):
        raise PictureError("This array has masked pixels. Fill them with paper, as in array.filled(255), and try again.")
    array = np.asarray(array)  # what a subclass does instead is its own affair
    if array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4) and array.shape[0] in (1, 3, 4):
        array = np.moveaxis(array, 0, 2)  # (C, H, W), the layout of torch
    if array.ndim in (2, 3):
        check_size(array.shape[1], array.shape[0])
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim == 2 or array.ndim == 3 and array.shape[2] in (2, 3, 4):
        return array
    shape = " x ".join(map(str, array.shape)) or "one number"
    raise PictureError(f"An array of {shape} is no single picture. Give height x width, or height x width x 1, 3 or 4.")


def full_range(array: np.ndarray) -> np.ndarray:
    """Return numbers of any real dtype as uint8: the smallest full scale (1, 255, 10, 12, 14, 16 bits) that holds them is 255.

    Floats that resizing left a little above 1 are cut to it. Negative and larger numbers are scaled from their own smallest to
    their largest. Raises PictureError for NaN, infinity and things that are no numbers.
    """
    if array.dtype.kind not in "buif":
        raise PictureError("The array does not hold numbers. Give integers from 0 to 255 or floats from 0 to 1.")
    if array.dtype == np.uint8 and array.max() != 1:
        return array
    with np.errstate(all="ignore"):
        low, high = float(array.min()), float(array.max())  # a longdouble may be larger than any float
    if not (np.isfinite(low) and np.isfinite(high)):
        raise PictureError("The picture holds NaN or infinity. Replace them by paper and try again.")
    if array.dtype.kind == "f" and 1 < high <= OVERSHOOT:
        high = 1.0
    scales = [scale for scale in (1, 255, 1023, 4095, 16383, 65535) if high <= scale]
    if low >= 0 and scales:
        low, high = 0, scales[0]
    half = high / 2 - low / 2  # halves, since the largest float less the smallest is infinite
    pixels = np.zeros(array.shape, np.uint8)
    if half > 1e-300:  # else there is nothing in it that numbers can tell
        for part, out in np.nditer([array, pixels], ["external_loop", "buffered"], [["readonly"], ["writeonly"]],
                                   [np.float64, np.uint8], casting="unsafe", buffersize=2 ** 16):  # no copy of all in float64
            out[...] = (np.minimum(part, high) / 2 - low / 2) * (255 / half) + 0.5
    return pixels


def shrink(pixels: np.ndarray, side: int) -> np.ndarray:
    """Return the picture itself, or, where it is longer than `side`, reduced to it by the mean of the pixels it covers."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def size_of(image) -> tuple[int, int]:
    """Return (width, height), upright, of what `to_pixels` takes, as it was before `to_pixels` or `open_picture` made it smaller.

    Raises PictureError with a sentence, as `to_pixels` does for the same picture.
    """
    if isinstance(image, dict):
        image = flatten_sketch(image)
    if isinstance(image, (str, Path)):
        image = open_picture(image)
    if isinstance(image, Image.Image):
        size, whole = getattr(image, "opened_as", (None, None))
        return whole if size == image.size else _as_turned(image.size, image)  # not where it was changed since it was opened
    height, width = channels_last(tensor_to_array(image) if isinstance(image, torch.Tensor) else image).shape[:2]
    return width, height


def _as_turned(size: tuple[int, int], image: Image.Image) -> tuple[int, int]:
    """Return (width, height) of this size after `upright` turned it as it would turn a picture."""
    return size if upright(Image.new("1", (2, 1)), image).width == 2 else size[::-1]
