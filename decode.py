"""Turn anything that people send as a picture into upright pixels, within bounds; nothing else here decodes a file."""

import warnings
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # what people send; Pillow's other decoders stay shut
MAX_PIXELS = 40_000_000  # pixels; a 40-megapixel photograph is the largest that a phone takes by default
ORIENTATION = 0x0112  # the EXIF tag, and how a picture with each of its values is turned upright
TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
         5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90}
OVERSHOOT = 1.5  # floats up to this were meant to end at 1: bicubic and Lanczos resizing swing beyond
KEPT_SIDE = 1024  # pixels; larger pictures are reduced at once: a digit on 3 % of the side still has 30 pixels


class PictureError(ValueError):
    """What people sent is no picture that can be read; the text is a sentence for them."""


def open_picture(file: str | Path | bytes) -> Image.Image:
    """Return the decoded picture, first frame, of a file or of its bytes; a large JPEG is made smaller while it is decoded.

    Raises PictureError with a sentence for a file that is missing, empty, too large, or no picture.
    """
    kinds = ", ".join(FORMATS[:-1]) + " or " + FORMATS[-1]
    if not isinstance(file, bytes) and not Path(file).is_file():
        raise PictureError("There is no such file. Check the name and the folder.")
    if (len(file) if isinstance(file, bytes) else Path(file).stat().st_size) == 0:
        raise PictureError("This file is empty. Save the picture again and send that file.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's warnings speak to programmers; the limit below is ours
            with Image.open(BytesIO(file) if isinstance(file, bytes) else file, formats=FORMATS) as image:
                check_size(*image.size)
                image.draft(None, (KEPT_SIDE, KEPT_SIDE))
                image.load()
                return _reduced(image)
    except PictureError:
        raise
    except (Exception, Image.DecompressionBombError) as error:  # Pillow's decoders raise nearly anything
        raise PictureError(f"This file is not a picture that can be read. Send a {kinds}.") from error


def check_size(width: int, height: int) -> None:
    """Raise PictureError with a sentence for more than MAX_PIXELS pixels."""
    if width * height > MAX_PIXELS:
        raise PictureError(f"This picture has {width} x {height} pixels, more than {MAX_PIXELS // 1_000_000} million. Make it "
                           "smaller and send it again.")


def _reduced(image: Image.Image) -> Image.Image:
    """Return a picture at most twice as long as KEPT_SIDE, so that what follows takes little memory; modes that Pillow cannot
    average come back as they are."""
    factor = max(image.size) // KEPT_SIDE
    if factor < 2 or image.mode not in ("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F") or "transparency" in image.info:
        return image
    smaller = image.reduce(min(factor, *image.size))
    smaller.info = image.info
    smaller = upright(smaller)
    smaller.info = {}
    return smaller


def upright(image: Image.Image) -> Image.Image:
    """Return the picture turned as its EXIF orientation says; as it lies where there is none, or none that can be read.

    Pillow's own exif_transpose raises for EXIF data that is broken anywhere.
    """
    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION))
    except Exception:  # as many kinds as there are ways to break it
        turn = None
    return image if turn is None else image.transpose(turn)


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
        check_size(*image.size)
        return shrink(pil_to_array(image), KEPT_SIDE)
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu().numpy()
    if isinstance(image, np.ndarray):
        return shrink(full_range(channels_last(image)), KEPT_SIDE)
    raise PictureError("This is no picture. Give a PIL picture, a numpy array, or the path of a picture file.")


def flatten_sketch(sketch: dict):
    """Return the picture of a Sketchpad value {"background", "layers", "composite"}: what the person sees.

    An untouched pad is a blank sheet. Raises PictureError for a dictionary that is no Sketchpad value.
    """
    if not sketch.keys() & {"background", "layers", "composite"}:
        raise PictureError("This is no sketch. Give a dictionary with background, layers and composite.")
    if sketch.get("composite") is not None:
        return sketch["composite"]
    sheets = [sheet for sheet in (sketch.get("background"), *(sketch.get("layers") or [])) if sheet is not None]
    if not sheets:
        return Image.new("L", (1, 1), 255)
    sheets = [sheet if isinstance(sheet, Image.Image) else Image.fromarray(to_pixels(sheet)) for sheet in sheets]
    drawing = sheets[0].convert("RGBA")
    for sheet in sheets[1:]:
        drawing.alpha_composite(sheet.convert("RGBA").resize(drawing.size))
    return drawing


def pil_to_array(image: Image.Image) -> np.ndarray:
    """Return a PIL picture of any mode as uint8 (H, W), (H, W, 3) or (H, W, 4), turned upright by its EXIF orientation."""
    if image.width * image.height == 0:
        raise PictureError("The picture has no pixels. Send another one.")
    image = upright(image)
    if image.mode.startswith(("I", "F")):
        return full_range(np.asarray(image))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or isinstance(
            image.info.get("transparency"), (int, bytes, tuple)):
        if image.mode in ("La", "RGBa"):  # Pillow only unmultiplies through these two
            image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
        return np.asarray(image.convert("RGBA"))
    return np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))


def channels_last(array: np.ndarray) -> np.ndarray:
    """Return (H, W), (H, W, 3) or (H, W, 4) for an array of any of the usual layouts. Raises PictureError for others."""
    if array.size == 0:
        raise PictureError("The picture has no pixels. Send another one.")
    if array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4) and array.shape[0] in (1, 3, 4):
        array = np.moveaxis(array, 0, 2)  # (C, H, W), the layout of torch
    if array.ndim in (2, 3):
        check_size(array.shape[1], array.shape[0])
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim == 3 and array.shape[2] == 2:  # grey and alpha
        array = array[:, :, [0, 0, 0, 1]]
    if array.ndim == 2 or array.ndim == 3 and array.shape[2] in (3, 4):
        return array
    shape = " x ".join(map(str, array.shape))
    raise PictureError(f"An array of {shape} is no single picture. Give height x width, or height x width x 1, 3 or 4.")


def full_range(array: np.ndarray) -> np.ndarray:
    """Return numbers of any real dtype as uint8: the smallest full scale (1, 255, 10, 12, 14, 16 bits) that holds them is 255.

    Floats that resizing left a little above 1 are cut to it. Negative and larger numbers are scaled from their own smallest to
    their largest. Raises PictureError for NaN, infinity and things that are no numbers.
    """
    if array.dtype == np.uint8 and array.max() != 1:
        return array
    if array.dtype.kind not in "buif":
        raise PictureError("The array does not hold numbers. Give integers from 0 to 255 or floats from 0 to 1.")
    if array.dtype.kind == "f" and 1 < array.max(initial=0) <= OVERSHOOT:
        array = np.minimum(array, 1)
    array = array.astype(np.float64)
    low, high = array.min(), array.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise PictureError("The picture holds NaN or infinity. Replace them by paper and try again.")
    scales = [scale for scale in (1, 255, 1023, 4095, 16383, 65535) if high <= scale]
    if low >= 0 and scales:
        low, high = 0, scales[0]
    return ((array - low) * (255 / max(high - low, np.finfo(float).tiny)) + 0.5).astype(np.uint8)


def shrink(pixels: np.ndarray, side: int) -> np.ndarray:
    """Return the picture itself, or, where it is longer than `side`, reduced to it by the mean of the pixels it covers."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
