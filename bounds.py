"""What a picture file may ask of a decoder: limits that are read from its header, before its pixels are decoded."""

import ctypes
import re
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from math import ceil

from PIL import Image
from PIL import TiffImagePlugin as tiff

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # what people send; Pillow's other decoders stay shut
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")  # of their files; what a folder is searched for
MAX_PIXELS = 40_000_000  # pixels; a 40-megapixel photograph is the largest that a phone takes by default
MAX_SIDE = 100_000  # pixels; longer than any of JPEG, and no digit
MAX_BYTES = 130_000_000  # bytes of a file: 40 megapixels in three colours, not compressed
MAX_MEMORY = 256_000_000  # bytes that a picture may take while it is decoded
SCANS = 20  # times that a JPEG of MAX_PIXELS may go over its pixels: each takes a tenth of a second, and 88 bytes of the file
TILES = 200_000  # strips or tiles of a TIFF; 40 megapixels in its smallest tiles, 16x16, are 156,250
READS = 2000, 300_000  # pieces that a decoder may ask for until it knows what the file is, and until it has the pixels
TAGS = 2 ** 18, 2 ** 20  # bytes of all tags of a TIFF or of EXIF data, and of each of those that say where its tiles are
PLACES = tiff.STRIPOFFSETS, tiff.STRIPBYTECOUNTS, tiff.TILEOFFSETS, tiff.TILEBYTECOUNTS  # these
ORIENTATION = 0x0112  # the EXIF tag
NO_PICTURE = f"This file is not a picture that can be read. Send a {', '.join(FORMATS[:-1])} or {FORMATS[-1]}."


class PictureError(ValueError):
    """What people sent is no picture that can be read; the text is a sentence for them."""


class BoundedFile:
    """A file that cannot be read without end: for ever in small pieces, or the same piece over and over, as hostile files ask."""

    def __init__(self, file, size: int, reads: int = READS[0]):
        """Take a file, how many bytes may be read from it all in all, and in how many pieces."""
        self.file, self.left, self.reads = file, size, reads

    def read(self, size: int = -1) -> bytes:
        """Return what the file's own read returns; raise PictureError where it is too much."""
        data = self.file.read(size)
        self.left -= len(data)
        self.reads -= 1
        if self.left < 0 or self.reads < 0:
            raise PictureError(NO_PICTURE)
        return data

    def __getattr__(self, name: str):
        return getattr(self.file, name)


_ours = ContextVar("ours", default=False)  # whether it is we who read a picture, in this thread; other code may read any tags
_lock = threading.Lock()
_silencing = {"threads": 0, "before": None}  # how many threads read a picture here, and what libtiff did with its messages before


@contextmanager
def bounded():
    """While we read a picture, hold the limits of tags, and keep libtiff silent, which writes lines beside our sentence."""
    token = _ours.set(True)
    with _lock:
        _silencing["threads"] += 1
        if _silencing["threads"] == 1:
            _silencing["before"] = _tell_libtiff(None)
    try:
        yield
    finally:
        with _lock:
            _silencing["threads"] -= 1
            if _silencing["threads"] == 0:
                _tell_libtiff(_silencing["before"])
        _ours.reset(token)


def _find_libtiff():
    """Return the function that says what libtiff does with its messages; one that does nothing where Pillow was built otherwise."""
    try:
        tell = ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler
    except (AttributeError, OSError):
        return lambda handler: None
    tell.argtypes, tell.restype = [ctypes.c_void_p], ctypes.c_void_p
    return tell


_tell_libtiff = _find_libtiff()


def _load_tags(directory, file, load=tiff.ImageFileDirectory_v2.load) -> None:
    """Load a directory of TIFF or EXIF tags, as Pillow does; where we read, without those that are larger than any that a picture
    needs.

    Pillow keeps a copy for every tag, and makes an object of every number: 64 kB can ask for 350 MB, as 5,400 tags in one place.
    """
    if not _ours.get():
        load(directory, file)
        return
    load(directory, file if isinstance(file, BoundedFile) else BoundedFile(file, 2 ** 21))
    left, most = TAGS
    for tag, data in list(directory._tagdata.items()):
        place = tag in PLACES and directory.tagtype[tag] in (3, 4, 16)  # whole numbers of 2, 4 or 8 bytes
        left -= 0 if place else len(data)
        if left < 0 or place and len(data) > most:
            del directory._tagdata[tag]


tiff.ImageFileDirectory_v2.load = _load_tags


def check_size(width: int, height: int) -> None:
    """Raise PictureError with a sentence for more than MAX_PIXELS pixels, or more than MAX_SIDE in a row."""
    if width * height > MAX_PIXELS:
        raise PictureError(f"This picture has {width} x {height} pixels, more than {MAX_PIXELS // 1_000_000} million. Make it "
                           "smaller and send it again.")
    if max(width, height) > MAX_SIDE:
        raise PictureError(f"This picture has {width} x {height} pixels, more than {MAX_SIDE} in one direction. Cut out the digit "
                           "and send that.")


def check_memory(image: Image.Image, whole: tuple[int, int], scans: int = 1) -> None:
    """Raise PictureError with a sentence where a picture whose header was read takes more than MAX_MEMORY to decode.

    `whole` is its size in the file; `scans` is how often a JPEG goes over its pixels, more than once with all of them in memory.
    """
    pixels, per_pixel = image.width * image.height, {"1": 1, "L": 1, "P": 1}.get(image.mode, 2 if image.mode[:2] == "I;" else 4)
    memory = pixels * per_pixel
    codec = image.tile[0][0] if getattr(image, "tile", None) else ""
    if image.format == "WEBP":
        memory *= 4  # two sheets that it draws animations on, what it hands over, and Pillow's copy
    elif codec == "bmp_rle":
        memory = 32 * pixels + 256 * image.width  # three copies; Pillow does it in Python: more would take too long
    elif codec == "jpeg" and scans > 1:
        shares = [across * down for _, across, down, _ in image.layer]  # 1, or 4 where others are at half the size
        memory += 2 * whole[0] * whole[1] * sum(shares) / max(shares)
        if scans * whole[0] * whole[1] > SCANS * MAX_PIXELS:
            raise PictureError(NO_PICTURE)
    elif image.format == "TIFF":
        memory = memory * (2 if image.tag_v2.get(ORIENTATION, 1) != 1 else 1) + (_piece(image) if codec == "libtiff" else 0)
    if memory > MAX_MEMORY:
        raise PictureError(f"This {image.format} picture of {whole[0]} x {whole[1]} pixels takes too much memory to "
                           "decode. Make it smaller, or save it as a baseline JPEG, and send it again.")


def _piece(image: Image.Image) -> int:
    """Return the bytes that libtiff takes for one strip or tile of a TIFF; raise PictureError for too many of them."""
    tags = image.tag_v2
    wide = tags.get(tiff.TILEWIDTH, image.width)
    high = tags.get(tiff.TILELENGTH, min(tags.get(tiff.ROWSPERSTRIP, image.height), image.height))
    samples = tags.get(tiff.SAMPLESPERPIXEL, 1)
    planes = samples if tags.get(tiff.PLANAR_CONFIGURATION) == 2 else 1  # 2: each colour by itself
    if ceil(image.width / wide) * ceil(image.height / high) * planes > TILES:
        raise PictureError(NO_PICTURE)
    piece = wide * high * samples * max(tags.get(tiff.BITSPERSAMPLE, (1,))) // 8
    in_ycbcr = tags.get(tiff.PHOTOMETRIC_INTERPRETATION) == 6
    return 3 * piece if in_ycbcr or "jpeg" in image.info["compression"] else piece


def count_scans(file) -> int:
    """Return how often the pixels of a JPEG are gone over; more than SCANS * MAX_PIXELS where it has too many segments to count.

    `file` is where Pillow left it: behind the first start of scan.
    """
    rest, place, scans = file.read(), 0, 1
    for _ in range(READS[0]):
        found = re.compile(rb"\xff[^\x00\xff\xd0-\xd8]").search(rest, place)  # a marker, not one that is part of the pixels
        if found is None or found[0] == b"\xff\xd9":  # the end of the picture; more may follow: a film, a second picture
            return scans
        scans += found[0] == b"\xff\xda"
        place = found.end() + int.from_bytes(rest[found.end():found.end() + 2], "big")
    return SCANS * MAX_PIXELS + 1
