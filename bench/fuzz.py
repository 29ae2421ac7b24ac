"""Damaged, hostile and odd pictures, each read in a process of its own: every one must end in an answer or a sentence.

    python bench/fuzz.py                   2,000 files and 300 objects, about 2 minutes (Linux: the peak of memory is read there)
    python bench/fuzz.py --only file 17     one of them again, and what became of it
"""

import argparse
import ctypes
import io
import json
import random
import re
import resource
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from select import select

import cv2
import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

SIDE = 48, 64  # pixels, height and width of a picture that is damaged
SECONDS, MEGABYTES = 5, 300  # that one picture may take; of one processor, so that what else runs does not count
PATIENCE = 60  # seconds after which the process is ended
CEILING = 6 * 2 ** 30  # bytes of address space of the process: what asks for more gets a MemoryError
SENTENCE = re.compile(r"[A-Z0-9][^\n]{10,300}\.")
LEAK = re.compile(r"Error|Exception|Traceback|object at 0x|<class|\.py\b|(?<!\w)/\w+/")  # what a user must never read
MODES = {  # what each format is written in; None where Pillow has no mode for it and `written` does it by hand
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"), "JPEG": ("L", "RGB", "CMYK"), "WEBP": ("RGB", "RGBA"),
    "GIF": ("L", "P", "RGB"), "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F")}
WAYS = {  # how else each format is written
    "PNG": ({}, {"transparency": 0}, {"icc_profile": b"profile" * 99}), "JPEG": ({}, {"progressive": True}, {"subsampling": 0}),
    "WEBP": ({}, {"lossless": True}), "GIF": ({}, {"interlace": False}), "BMP": ({},),
    "TIFF": tuple({"compression": name} for name in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma", "group4",
                                                     "jpeg"))}
ONLY = {"raw": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I", "F"), "group4": ("1",), "jpeg": ("L", "RGB"),
    "transparency": ("L", "P")}  # in other modes Pillow may crash

LARGE = {  # format and mode: size, how it is written
    "PNG RGBA": ((8000, 5000), {"compress_level": 1}), "PNG I;16": ((8000, 5000), {"compress_level": 1}),
    "PNG P": ((8000, 5000), {"transparency": 1, "compress_level": 1}), "PNG L in 400 rows": ((100_000, 400), {}),
    "JPEG RGB progressive": ((8000, 5000), {"progressive": True, "subsampling": 0}), "JPEG CMYK": ((8000, 5000), {}),
    "WEBP RGBA": ((4000, 4000), {"method": 0}), "GIF P": ((8000, 5000), {}),
    "TIFF RGB": ((8000, 5000), {"compression": "zstd"}), "TIFF F": ((8000, 5000), {"compression": "zstd"})}


# --- files ----------------------------------------------------------------------------------------------------------------

def drawing(height: int, width: int) -> Image.Image:
    """Return a 7, dark on light, as a grey picture."""
    y, x = np.indices((height, width)) / np.array([height, width]).reshape(2, 1, 1)
    ink = (abs(y - 0.2) < 0.06) & (abs(x - 0.5) < 0.25) | (abs(x - 0.95 + 0.55 * y) < 0.06) & (abs(y - 0.5) < 0.33)
    return Image.fromarray(np.where(ink, 20, 235).astype(np.uint8))


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Return a grey picture in a mode of Pillow's; LAB is what it is called only."""
    if mode == "I;16":
        return Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    if mode == "LAB":
        return Image.merge("LAB", [image, image, image])
    return image.convert("RGB").convert(mode) if mode in ("CMYK", "YCbCr") else image.convert(mode)


def chunk(name: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG, with its sum."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, pixels: bytes, depth: int = 8, colour: int = 0, interlaced: bool = False,
    more: bytes = b"") -> bytes:
    """Return a PNG of any header whatever, and of chunks of one's own behind it."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + header + more + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def tiff(tags: dict[int, tuple[int, int, int]], content: bytes = b"", order: str = "<") -> bytes:
    """Return a TIFF of {tag: (type, count, value or offset)} with content behind it; content starts at 14 + 12 * tags."""
    entries = b"".join(struct.pack(order + "HHII", tag, *entry) for tag, entry in sorted(tags.items()))
    return (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(tags)) + entries + bytes(4) + content


@cache
def pictures() -> dict[str, bytes]:
    """Return {name: file} of one small picture in every format, mode and way that Pillow writes, and in some that it does not."""
    made, image = {}, drawing(*SIDE)
    for kind, modes in MODES.items():
        for mode in modes:
            for way in WAYS[kind]:
                name = " ".join(way.get("compression", part) for part in way)
                if mode in ONLY.get(name, modes):
                    file = io.BytesIO()
                    in_mode(image, mode).save(file, kind, **way)
                    made[f"{kind} {mode} {name}".strip()] = file.getvalue()
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        for kind in ("PNG", "JPEG", "WEBP", "TIFF"):
            file = io.BytesIO()
            image.convert("RGB").save(file, kind, exif=exif)
            made[f"{kind} turned {orientation}"] = file.getvalue()
    for kind in ("PNG", "GIF", "WEBP", "TIFF"):
        file = io.BytesIO()
        image.convert("RGB").save(file, kind, save_all=True, append_images=[image.convert("RGB").rotate(90)] * 3)
        made[f"{kind} animated"] = file.getvalue()
    grey = np.asarray(image)
    passes = [grey[top::down, left::across] for left, top, across, down in (
        (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))]
    made["PNG interlaced"] = png(SIDE[1], SIDE[0], b"".join(np.pad(part, ((0, 0), (1, 0))).tobytes() for part in passes),
                                 interlaced=True)
    rows = np.pad(np.repeat(grey[:, :, None], 6, 2).reshape(SIDE[0], -1), ((0, 0), (1, 0))).tobytes()
    made["PNG RGB of 16 bits"] = png(SIDE[1], SIDE[0], rows, depth=16, colour=2)
    runs = b"".join(bytes(part for value in row for part in (1, value)) + b"\0\0" for row in grey[::-1]) + b"\0\1"
    made["BMP runs"] = (b"BM" + struct.pack("<IHHI", 1078 + len(runs), 0, 0, 1078) + struct.pack(
        "<IiiHHIIiiII", 40, SIDE[1], SIDE[0], 1, 8, 1, len(runs), 0, 0, 256, 0) + b"".join(bytes([g, g, g,
            0]) for g in range(256)) + runs)
    return made


@cache
def large(name: str) -> bytes:
    """Return one of the LARGE pictures: as many pixels as are read, in a way that takes much memory."""
    kind, mode, *_ = name.split()
    file = io.BytesIO()
    Image.new(mode, LARGE[name][0], (200, 100, 50, 250)[:len(mode)] if mode in ("RGB", "RGBA", "CMYK") else 200).save(
        file, kind, **LARGE[name][1])
    return file.getvalue()


@cache
def hostile() -> dict[str, bytes]:
    """Return {name: file} of small files that ask for much: time, memory, or a decoder that nobody wants."""
    jpeg, progressive = pictures()["JPEG RGB"], large("JPEG RGB progressive")
    gif, bmp, row = pictures()["GIF L"], pictures()["BMP runs"], np.pad(np.asarray(drawing(*SIDE)), ((0, 0), (1, 0))).tobytes()
    scan = progressive[progressive.rindex(b"\xff\xc4"):-2]
    many = tiff(dict.fromkeys(range(1000, 6400), (1, 60000, 8)), bytes(60_000), ">")
    page = {256: (3, 1, 8), 257: (3, 1, 8), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 500), 277: (3, 1, 1),
            278: (3, 1, 8), 279: (4, 1, 64)}
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", 2 + len(part)) + part for part in (
        b"Exif\0\0" + many[place:place + 65_000] for place in range(0, len(many), 65_000)))
    return {
        "nothing": b"", "text": b"This is a text.\n" * 99, "HTML": b"<!doctype html><title>7</title><script>alert(7)</script>",
        "SVG": b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'><text>7</text></svg>",
        "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
        "PDF": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n",
        "PPM": b"P6 9 9 255\n" + bytes(243), "ICO": b"\0\0\1\0\1\0" + bytes(40), "XBM": b"#define x_width 9\n#define x_height 9\n",
        "GIF and script": gif + b"*/=1;alert(7)//", "PNG and archive": pictures()["PNG L"] + b"PK\3\4" + bytes(99),
        "JPEG and page": jpeg[:2] + b"\xff\xfe\0\x1d<script>alert(7)</script>" + jpeg[2:], "JPEG and film": jpeg
        + bytes(range(256)) * 999,
        "PNG that claims 4 thousand million squared": png(2 ** 31 - 1, 2 ** 31 - 1, row), "PNG of no width": png(0, 48, row),
        "PNG that claims too much": png(8000, 8000, row), "PNG that claims 40 million": png(8000, 5000, row),
        "PNG bomb": png(40_000, 1000, bytes(40_001_000)), "PNG with a bomb of a text": png(64, 48, row, more=chunk(
            b"zTXt", b"a\0\0" + zlib.compress(bytes(20_000_000)))),
        "PNG with a bomb of a profile": png(64, 48, row, more=chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(20_000_000)))),
        "PNG with a long text": png(64, 48, row, more=chunk(b"tEXt", b"a\0" + b"b" * 15_000_000)),
        "PNG of a million chunks": png(64, 48, row, more=chunk(b"teSt", b"") * 1_000_000),
        "PNG of a million pieces": pictures()["PNG L"][:33] + chunk(b"IDAT", b"") * 1_000_000 + pictures()["PNG L"][33:],
        "PNG with endless EXIF": png(64, 48, row, more=chunk(b"eXIf", many)),
        "JPEG of 9,999 scans": progressive[:-2] + scan * 9999 + progressive[-2:],
        "JPEG of a million comments": jpeg[:2] + b"\xff\xfe\0\2" * 1_000_000 + jpeg[2:], "JPEG of fill bytes": jpeg[:2]
        + b"\xff" * 9_000_000,
        "JPEG with endless EXIF": jpeg[:2] + b"\xff\xe1" + struct.pack(">H", 65_002 + 6) + b"Exif\0\0" + many[:65_000] + jpeg[20:],
        "JPEG with EXIF in parts": jpeg[:2] + segments * 40 + jpeg[20:],
        "GIF with a long comment": gif[:25] + b"!\xfe" + (b"\xff" + b"c" * 255) * 70_000 + b"\0" + gif[25:],
        "GIF that claims a giant": gif[:6] + b"\xff\xff\xff\xff" + gif[10:],
        "BMP that skips 4 thousand million": bmp[:18] + struct.pack("<ii", 39_000_000, 1) + bmp[26:1078] + b"\0\2\xff\xff" * 99,
        "BMP of 39 million in runs": bmp[:18] + struct.pack("<ii", 7800, 5000) + bmp[26:],
        "TIFF with endless tags": many, "TIFF with a giant tile": tiff(page | {
            259: (3, 1, 8), 322: (4, 1, 30_000), 323: (4, 1, 30_000), 324: (4, 1, 500), 325: (4, 1, 2_000_000)},
            bytes(500) + zlib.compress(bytes(100_000_000), 1)),
        "TIFF of 40 million tiles": tiff(page | {
            256: (4, 1, 100_000), 257: (4, 1, 400), 259: (3, 1, 34925), 322: (3, 1, 1), 323: (3, 1, 1), 324: (3, 5_000_000, 200),
            325: (3, 5_000_000, 200)}, bytes(10_000_000)),
        "TIFF with every strip in one place": tiff(page | {
            256: (4, 1, 8000), 257: (4, 1, 5000), 273: (4, 200_000, 200), 278: (4, 1, 4999), 279: (4, 200_000, 200)},
            bytes(2_000_000)),
        "TIFF with a million depths": tiff(page | {258: (3, 9_000_000, 200)}, bytes(18_000_200)),
        "TIFF with a rational of everything": tiff(page | {282: (5, 2_000_000, 200), 283: (5, 2_000_000, 200)}, bytes(16_000_200)),
    }


def damaged(number: int, seed: int) -> tuple[str, bytes]:
    """Return (name, file), number `number` of the files for a seed: the large and the hostile ones first, as they are."""
    if number < len(LARGE):
        return "large " + list(LARGE)[number], large(list(LARGE)[number])
    whole = hostile() | pictures()
    if number < len(LARGE) + len(whole):
        return list(whole.items())[number - len(LARGE)]
    dice = random.Random(f"{seed} {number}")
    name = dice.choice(list(pictures()) if dice.random() < 0.97 else list(LARGE))
    data = bytearray(pictures()[name] if name in pictures() else large(name))
    for _ in range(dice.choice((1, 1, 1, 2, 5))):
        place, near = dice.randrange(len(data) + 1), dice.randrange(min(len(data), 64) + 1)  # anywhere, and in the header
        way = dice.choice(("bits", "cut", "splice", "field", "double", "many", "drop", "noise"))
        name += " " + way
        if way == "bits":
            for _ in range(dice.choice((1, 8, 64))):
                data[dice.randrange(len(data))] ^= 1 << dice.randrange(8) if data else 0
        elif way == "cut":
            del data[max(1, place):]
        elif way == "splice":
            other = pictures()[dice.choice(list(pictures()))]
            data[place:] = other[dice.randrange(len(other)):]
        elif way == "field":
            size, value = dice.choice((1, 2, 4, 8)), dice.choice((0, 1, 127, 128, 255, 2 ** 15, 2 ** 16 - 1, 40_000, 2 ** 31 - 1,
                2 ** 32 - 1))
            data[near:near + size] = (value % 256 ** size).to_bytes(size, dice.choice(("little", "big")))
        elif way in ("double", "many"):
            part = data[place:place + dice.choice((1, 4, 12, 300))]
            data[place:place] = part * (1 if way == "double" else dice.choice((10, 1000, 100_000)))
        elif way == "drop":
            del data[place:place + dice.choice((1, 4, 100))]
        else:
            data[place:place + 16] = dice.randbytes(16)
        data = data or bytearray(b"\0")
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        data = bytearray(summed(bytes(data))) if dice.random() < 0.7 else data
    return name, bytes(data)


def summed(data: bytes) -> bytes:
    """Return a PNG with right sums, so that its damage is seen by what comes behind them."""
    out, place = data[:8], 8
    while place + 12 <= len(data) and len(out) < 10 ** 6:
        size = int.from_bytes(data[place:place + 4], "big")
        if place + 12 + size > len(data):
            break
        body = data[place + 4:place + 8 + size]
        out += data[place:place + 4] + body + struct.pack(">I", zlib.crc32(body))
        place += 12 + size
    return out + data[place:]


# --- objects --------------------------------------------------------------------------------------------------------------

class Raises:
    """An object that answers whatever is asked of it with an error."""

    def __getattr__(self, name):
        raise RuntimeError("no")

    def __array__(self, *_, **__):
        raise RuntimeError("no")


class Array(np.ndarray):
    """An array that has an opinion of its own about its values."""

    def __getitem__(self, key):
        raise KeyError(key)

    def max(self, *_, **__):
        raise ZeroDivisionError


def odd(number: int, seed: int) -> tuple[str, object]:
    """Return (name, object), number `number` of the objects for a seed; the fixed ones first."""
    grey = np.asarray(drawing(120, 100))
    if number < len(fixed()):
        name, value = list(fixed().items())[number]
        return name, value() if isinstance(value, partial) else value
    dice = np.random.default_rng([seed, number])
    kinds = ["?", "b", "B", "h", "H", "i", "I", "q", "Q", "e", "f", "d", "g", "F", "D", "O", "S4", "U3", "M8[s]", "V3", ">f4",
        ">u2", "i4,f4"]
    kind = np.dtype(str(dice.choice(kinds)))
    shape = tuple(dice.choice([0, 1, 2, 3, 4, 5, 28, 100, 300, 1500], size=dice.choice([0, 1, 2, 2, 2, 3, 3, 3, 4])))
    shape = shape if np.prod(shape, dtype=float) < 1e7 else shape[:2]
    ways = {"zeros": lambda: np.zeros(shape), "noise": lambda: dice.random(shape) * 255, "signed": lambda: dice.normal(0, 1e4,
        shape),
            "bits": lambda: dice.integers(0, 2, shape), "drawn": lambda: grey,
            "stacked": lambda: np.stack([grey] * int(dice.integers(1, 6)), 2),
            "bytes": lambda: None}
    way = str(dice.choice(list(ways)))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if way == "bytes":
                array = np.frombuffer(dice.bytes(100 * 90 * max(1, kind.itemsize)), kind).reshape(100, 90)  # NaN and all
            else:
                array = ways[way]().astype(kind)
        except (TypeError, ValueError):
            array = np.empty(shape, kind)
    wrap = str(dice.choice(["array", "array", "turned", "composite", "layers", "torch", "Pillow", "list", "subclass"]))
    try:
        value = {"array": lambda: array, "turned": lambda: array[::-1].T, "composite": lambda: {"composite": array},
                 "layers": lambda: {"background": array, "layers": [array, array[:9], grey]},
                 "torch": lambda: torch.from_numpy(array),
                 "Pillow": lambda: Image.fromarray(array), "list": lambda: [array], "subclass": lambda: array.view(Array)}[wrap]()
    except Exception:  # no such thing
        value = array
    return f"{way} {kind} {array.shape} {wrap}", value


@cache
def fixed() -> dict[str, object]:
    """Return {name: object} of what everybody would try; a partial makes a large one."""
    grey = np.asarray(drawing(120, 100))
    closed = Image.new("L", (9, 9))
    closed.close()
    loop = {"composite": None, "background": None}
    loop["layers"] = [loop]
    random = np.random.default_rng(0)
    names = {"None": None, "a number": 7, "a text": "seven", "a name no file has": "\0", "a long name": "7" * 9999, "bytes": b"7",
        "a list": [],
             "a set": {7}, "a class": Raises, "raises": Raises(), "closed": closed, "a loop": loop, "an empty sketch": {},
             "a folder": "/",
             "a sketch of nothing": {"composite": None}, "a sketch of text": {"composite": "seven"},
             "layers of no list": {"layers": grey}, "layers of numbers": {"layers": [7]}, "a raising layer": {"layers": [Raises()]},
             "10,000 layers": {"layers": [grey] * 10_000}, "transparent": np.zeros((99, 99, 4), np.uint8),
             "white": np.full((99, 99), 255, np.uint8), "black": np.zeros((99, 99), np.uint8),
             "masked": np.ma.masked_greater(grey, 99),
             "not masked": np.ma.array(grey), "a matrix": grey.view(np.matrix), "a record": np.rec.array(grey),
             "bfloat16": torch.zeros(9, 9).bfloat16(),
             "a tensor without data": torch.zeros(9, 9, device="meta"), "a sparse tensor": torch.eye(9).to_sparse(),
             "a tensor of complex numbers": torch.zeros(9, 9, dtype=torch.complex64), "specks": (random.random((1000,
                 1000)) < 0.1) * 255.0,
             "fine specks": np.kron(random.random((333, 333)) < 0.3, np.ones((3, 3))), "noise": random.integers(0, 256, (1024,
                 1024, 3), np.uint8),
             "a small block of noise": np.pad(random.integers(0, 2, (340, 340)) * 255, 340), "bars": np.pad(np.tile([0, 255],
                 (300, 150)), 350),
             "many squares": np.pad(np.kron(np.indices((100, 100)).sum(0) % 2 * 1.0, np.ones((3, 3))), 300),
             "rings": np.sin(np.hypot(*(np.indices((1000, 1000)) - 500)) / 3), "sandwich": np.tile(grey, (8, 10)),
             "squared paper": np.where((np.indices((1000, 1000)) % 9 == 0).any(0), 0, 255)}
    for name, number in (("NaN", np.nan), ("inf", np.inf), ("-inf", -np.inf)):
        names[name] = np.where(grey > 99, 1.0, number)
    for kind in ("float16", "float64", "longdouble"):
        names[f"largest {kind}"] = np.where(grey > 99, np.finfo(kind).max, np.finfo(kind).min)
        names[f"smallest {kind}"] = np.where(grey > 99, np.finfo(kind).smallest_subnormal, 0).astype(kind)
        names[f"nothing but -5 in {kind}"] = np.full((50, 50), -5, kind)
    for kind in ("int8", "uint64", "int64"):
        names[f"largest {kind}"] = np.where(grey > 99, np.iinfo(kind).max, np.iinfo(kind).min).astype(kind)
        names[f"nothing but the largest {kind}"] = np.full((50, 50), np.iinfo(kind).max, kind)
    for shape in ((1, 1), (1, 10_000), (10_000, 1), (2, 2), (1, 40_000_000), (400, 100_000), (6000, 6000), (10 ** 5, 10 ** 5),
        (5000, 8000, 4), (4, 5000, 8000)):
        names[f"float64 of {shape}"] = np.broadcast_to(np.float64(0.5), shape)
        names[f"Pillow of {shape}"] = np.broadcast_to(np.uint8(7), shape) if np.prod(shape) > 4e7 else partial(
            Image.new, "RGBA", shape[1::-1])
    for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "LA", "PA", "La", "RGBa", "RGBX", "I;16",
        "I;16B"):
        names[f"large {mode}"] = partial(Image.new, mode, (3000, 2100))
    return names


# --- reading them ---------------------------------------------------------------------------------------------------------

def status(name: str) -> float:
    """Return a line of this process's status in megabytes (Linux)."""
    return int(re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def work(seed: int) -> None:
    """Read what standard input names, a line each, "file 17" or "object 3"; print a line of JSON for each."""
    from recognize import ODD, Recognizer
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    trim = ctypes.CDLL("libc.so.6").malloc_trim
    recognizer = Recognizer.from_pretrained()
    resource.setrlimit(resource.RLIMIT_AS, (CEILING, CEILING))
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            kind, number = line.split()
            name, value = (damaged if kind == "file" else odd)(int(number), seed)
            if kind == "file":
                path = Path(folder, "7" + random.Random(number).choice((".png", ".jpg", ".gif", ".svg", "")))
                path.write_bytes(value)
                value = path
            trim(0)  # what was freed before is given back
            Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
            before, started = status("VmRSS"), time.process_time()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")  # it would be printed to a user of the command line
                    reading = recognizer.read(value)
                clean = SENTENCE.fullmatch(reading.message) and not LEAK.search(reading.message)
                end = {"unreadable": "sentence", "blank": "no digit", "not_a_digit": "no digit"}.get(reading.verdict, "answer")
                end, message = end if clean else "UNCLEAN", reading.message
                message += " (the sentence for anything)" if message == ODD else ""
            except BaseException as error:
                end, message = "UNCLEAN", repr(error)
            seconds, megabytes = time.process_time() - started, status("VmHWM") - before
            if seconds > SECONDS or megabytes > MEGABYTES:
                end = "UNCLEAN"
            value = None
            print(json.dumps([name, end, message, seconds, megabytes]), flush=True)


def read_apart(jobs: Iterable[tuple[str, int]], seed: int) -> Iterator[tuple]:
    """Yield (kind, number, name, end, message, seconds, megabytes) of each job, read in another process, anew where that dies."""
    worker = None
    for kind, number in jobs:
        worker = worker or subprocess.Popen([sys.executable, __file__, "--worker", "--seed", str(seed)], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, text=True)
        worker.stdin.write(f"{kind} {number}\n")
        worker.stdin.flush()
        line = worker.stdout.readline() if select([worker.stdout], [], [], PATIENCE)[0] else ""
        yield kind, number, *(json.loads(line) if line else ("", "UNCLEAN", "the process died, or did not end", 0, 0))
        if not line:
            worker.kill()
            worker.wait()
            worker = None
    if worker:
        worker.stdin.close()
        worker.wait()


def main() -> int:
    """Read them all, print a table; return 1 where one did not end as it should."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=2000, help="(default: %(default)s)")
    parser.add_argument("--objects", type=int, default=300, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    parser.add_argument("--only", nargs=2, metavar=("KIND", "NUMBER"), help="read one alone, and say what became of it")
    parser.add_argument("--verbose", action="store_true", help="say what became of each")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.worker:
        work(flags.seed)
        return 0
    jobs = [tuple(flags.only)] if flags.only else [("file", n) for n in range(flags.files)] + [("object",
        n) for n in range(flags.objects)]
    ends, worst = {"file": Counter(), "object": Counter()}, {}
    for kind, number, name, end, message, seconds, megabytes in read_apart(jobs, flags.seed):
        ends[kind][end] += 1
        for measure, value in (("seconds", seconds), ("megabytes", megabytes)):
            worst[kind, measure] = max(worst.get((kind, measure), (0, "")), (value, name))
        if flags.only or flags.verbose or end == "UNCLEAN":
            print(f"{kind} {number}: {name}: {end}: {message} ({seconds:.2f} s, {megabytes:.0f} MB)", file=sys.stderr, flush=True)
    print(f"| seed {flags.seed} | read | answers | no digit | sentences | UNCLEAN | longest, CPU s | most memory, MB |\n"
          "|---|---|---|---|---|---|---|---|")
    for kind, counts in ends.items():
        if counts:
            cells = [counts.total(), *(counts[end] for end in ("answer", "no digit", "sentence", "UNCLEAN")),
                     *(f"{value:.{digits}f} ({name})" for digits, measure in ((1, "seconds"), (0, "megabytes"))
                       for value, name in [worst[kind, measure]])]
            print(f"| {kind}s | " + " | ".join(map(str, cells)) + " |")
    return 1 if any(counts["UNCLEAN"] for counts in ends.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
