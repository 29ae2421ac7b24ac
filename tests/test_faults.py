"""Nothing breaks it: every kind of damage to weights, data, disk and process is one sentence, and the old weights stay.

The tables are the specification: (kind of damage, what does it, words of the sentence).
"""

import ast
import base64
import contextlib
import ctypes
import io
import json
import os
import pickle
import random
import shutil
import socket
import struct
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, free_port, make_sketch, run_main, run_program, write_strokes
from safetensors.torch import load, save
from test_train import train

import data
import page
import train as training
from data import load_mnist
from evaluate import METRICS_FILE
from files import HEADER, facts_hash, pack, remove_parts, unpack, write_whole
from model import WEIGHTS, DigitNet, load_weights, save_weights, to_net
from preprocess import see, to_tensor
from recognize import Recognizer

resource = pytest.importorskip("resource", reason="no limits of a process, and no rights to take away, on Windows")
NAN, INF = float("nan"), float("inf")


# --- weights ------------------------------------------------------------------------------------------------------------

def make_whole() -> bytes:
    """Return the bytes of a small weights file that passes every check."""
    torch.manual_seed(0)
    net, seen = DigitNet(channels=[4, 6, 8]).eval(), see(make_sketch())
    net.head.weight.data *= 30  # as sure as a network that has learned
    net.temperature = 1.5
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on some processors the last digit of a sum depends on how many share it
    probabilities = net.probabilities(to_tensor(seen[None]))[0].tolist()
    torch.set_num_threads(threads)
    net.facts = {"seed": 3, "limits": {"errors": [{"max_error": 0.01, "threshold": 0.6}], "not_a_digit": 0.3},
                 "self_test": {"seen": base64.b64encode(seen.tobytes()).decode(), "probabilities": probabilities}}
    return pack(net.state_dict(), {**net.facts, "channels": [4, 6, 8], "temperature": 1.5})


WHOLE = make_whole()
HEAD = int.from_bytes(WHOLE[:8], "little")  # bytes of the header, from the eighth on


class Runs:
    """An object that leaves a file behind where it is unpickled."""

    def __reduce__(self):
        return open, (str(MARK), "w")


MARK = ROOT / "tests" / "unpickled"


def pickled(protocol: int) -> bytes:
    return pickle.dumps({"head.weight": Runs()}, protocol)


def saved_by_torch(zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save({"head.weight": torch.zeros(3), "more": Runs()}, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model.safetensors", WHOLE)
    return file.getvalue()


def with_header(header: bytes) -> bytes:
    """Return the file with another header."""
    return struct.pack("<Q", len(header)) + header + WHOLE[8 + HEAD:]


def with_facts(text: str, key: str = HEADER) -> bytes:
    """Return the file with another text in place of our JSON."""
    header = json.loads(WHOLE[8:8 + HEAD])
    header["__metadata__"] = {key: text}
    return with_header(json.dumps(header).encode())


def unhashed(change) -> bytes:
    """Return the file with other tensors under the old header, hashes included."""
    tensors, header = load(WHOLE), json.loads(WHOLE[8:8 + HEAD])
    change(tensors)
    return save(tensors, header["__metadata__"])


def hashed(tensors=None, facts=None) -> bytes:
    """Return the file with other tensors and facts and with hashes that fit them: no damage, but nonsense."""
    all_tensors, all_facts = unpack(WHOLE, "")
    (tensors or dict)(all_tensors)
    (facts or dict)(all_facts)
    return pack(all_tensors, all_facts)


def told(**facts) -> bytes:
    return hashed(facts=lambda all_facts: all_facts.update(facts))


def without(*names: str) -> bytes:
    """Return the file without some facts; the hash of the header, where it stays, fits."""
    _, facts = unpack(WHOLE, "")
    facts = {name: value for name, value in facts.items() if name not in names}
    if "header_hash" not in names:
        facts["header_hash"] = facts_hash(facts)
    return with_facts(json.dumps(facts))


def limits(**more) -> bytes:
    return told(limits={"errors": [{"max_error": 0.01, "threshold": 0.6}], "not_a_digit": 0.3, **more})


def self_test(**more) -> bytes:
    return told(self_test={**unpack(WHOLE, "")[1]["self_test"], **more})


def cast(kind):
    """Return a change that makes other numbers of the tensors, but for the counts of batches."""
    return lambda tensors: tensors.update({name: tensor.to(kind) for name, tensor in tensors.items() if tensor.ndim})


def fill(value: float, name: str = "head.weight"):
    return lambda tensors: tensors[name].fill_(value)


def rename(tensors) -> None:
    tensors["head.weights"] = tensors.pop("head.weight")


def swap(tensors) -> None:
    tensors["features.1.weight"], tensors["features.1.bias"] = tensors["features.1.bias"], tensors["features.1.weight"]


def zero(tensors) -> None:
    for tensor in tensors.values():
        tensor.zero_()


NO_FILE = "is damaged or is no safetensors file. Take a fresh copy, or run 'make train'."
OTHER_TENSORS = "are not those that were saved. Take a fresh copy, or run 'make train'."
HEADER_DAMAGED = "is damaged. Take a fresh copy, or run 'make train'."
FOREIGN = "holds the weights of some other network. Name a file that train.py wrote."
NO_FIT, NO_NUMBERS = "does not fit the network", "holds numbers that are not finite"
NO_LIMITS, NO_TEST, FAILS = "carry no usable limits", "carry no usable self-test", "fail their self-test"

WEIGHTS_TABLE = [
    ("an empty file", b"", NO_FILE),
    ("seven bytes", WHOLE[:7], NO_FILE),
    ("cut in the header", WHOLE[:8 + HEAD // 2], NO_FILE),
    ("cut after the header", WHOLE[:8 + HEAD], NO_FILE),
    ("cut by one byte", WHOLE[:-1], NO_FILE),
    ("a byte too many", WHOLE + b"\0", NO_FILE),
    ("twice in one file", WHOLE + WHOLE, NO_FILE),
    ("a block of zeros in the tensors", WHOLE[:-900] + bytes(512) + WHOLE[-388:], OTHER_TENSORS),
    ("a block of zeros in the header", WHOLE[:600] + bytes(512) + WHOLE[1112:], NO_FILE),
    ("a header length of 2**60", struct.pack("<Q", 2**60) + WHOLE[8:], NO_FILE),
    ("a header length of 2**64 - 1", b"\xff" * 8 + WHOLE[8:], NO_FILE),
    ("a header length of 0", bytes(8) + WHOLE[8:], NO_FILE),
    ("a header that is no JSON", with_header(b"{'no': json}" + b" " * (HEAD - 12)), NO_FILE),
    ("a header that is no UTF-8", with_header(b"\xff\xfe" * (HEAD // 2)), NO_FILE),
    ("a header that is a list", with_header(b"[]".ljust(HEAD)), NO_FILE),
    ("a header 50,000 brackets deep", with_header(b"[" * 50_000), NO_FILE),
    ("a tensor beyond the end of the file", WHOLE.replace(b'"shape":[10]', b'"shape":[99]'), NO_FILE),
    ("a header without our key", with_facts("{}", key="format"), FOREIGN),
    ("a safetensors file of others", save({"conv1.weight": torch.zeros(8, 1, 3, 3)}, {"format": "pt"}), FOREIGN),
    ("a safetensors file without a text in its header", save({"conv1.weight": torch.zeros(8, 1, 3, 3)}), FOREIGN),
    ("facts that are no JSON", with_facts("channels: 4"), NO_FILE),
    ("facts 50,000 brackets deep", with_facts("[" * 50_000), NO_FILE),
    ("facts that are a list", with_facts("[4, 6, 8]"), FOREIGN),
    ("facts that are a number", with_facts("4"), FOREIGN),
    ("facts that are nothing", with_facts("null"), FOREIGN),
    ("facts that were changed by hand", WHOLE.replace(b'\\"seed\\": 3', b'\\"seed\\": 4'), HEADER_DAMAGED),
    ("the hash of the header missing, and it was changed", without("header_hash", "temperature"), HEADER_DAMAGED),
    ("the hash missing", without("hash"), OTHER_TENSORS),
    ("the hash of other tensors", without("hash").replace(b'\\"seed\\"', b'\\"hash\\": \\"00\\", \\"seed\\"'), NO_FILE),
    ("the hash a number", with_facts(json.dumps({**unpack(WHOLE, "")[1], "hash": 1})), HEADER_DAMAGED),
    ("a tensor changed", unhashed(lambda tensors: tensors["head.bias"].add_(1e-6)), OTHER_TENSORS),
    ("two tensors swapped", unhashed(swap), OTHER_TENSORS),
    ("all zeros", unhashed(zero), OTHER_TENSORS),
    ("a tensor missing", hashed(lambda tensors: tensors.pop("head.bias")), NO_FIT),
    ("a tensor too many", hashed(lambda tensors: tensors.update(more=torch.zeros(1))), NO_FIT),
    ("a tensor renamed", hashed(rename), NO_FIT),
    ("no tensors at all", hashed(lambda tensors: tensors.clear()), NO_FIT),
    ("a tensor of another shape", hashed(lambda tensors: tensors.update({"head.bias": torch.zeros(11)})), NO_FIT),
    ("a tensor of the same numbers in another shape", hashed(lambda tensors: tensors.update(
        {"head.weight": tensors["head.weight"].reshape(-1, 10)})), NO_FIT),
    ("a tensor without numbers", hashed(lambda tensors: tensors.update({"head.bias": torch.zeros(0)})), NO_FIT),
    ("a tensor upside down, hash renewed", hashed(lambda tensors: tensors.update(
        {"head.weight": tensors["head.weight"].flip(0)})), FAILS),
    ("all zeros, hash renewed", hashed(zero), FAILS),
    ("a NaN", hashed(fill(NAN)), NO_NUMBERS),
    ("an infinity", hashed(fill(-INF, "features.0.weight")), NO_NUMBERS),
    ("numbers that overflow", hashed(fill(3e38)), FAILS),
    ("a negative variance", hashed(fill(-1, "features.1.running_var")), FAILS),
    ("bfloat16", hashed(cast(torch.bfloat16)), "holds bfloat16 numbers. Take a copy in float32"),
    ("int8", hashed(cast(torch.int8)), "holds int8 numbers. Take a copy in float32"),
    ("int32", hashed(cast(torch.int32)), "holds int32 numbers"),
    ("truth values", hashed(cast(torch.bool)), "holds bool numbers"),
    ("float8", hashed(cast(torch.float8_e4m3fn)), "holds float8_e4m3fn numbers"),
    ("complex64", hashed(cast(torch.complex64)), "holds complex64 numbers"),
    ("int64", hashed(cast(torch.int64)), "whole ones where there must be others"),
    ("float counts of batches", hashed(lambda tensors: tensors.update({"features.1.num_batches_tracked": torch.tensor(1.0)})),
     "whole ones where there must be others"),
    ("float16 that overflowed", unhashed(lambda tensors: (fill(1e6)(tensors), cast(torch.float16)(tensors))), NO_NUMBERS),
    ("float16 of other weights", unhashed(lambda tensors: (fill(1)(tensors), cast(torch.float16)(tensors))), FAILS),
    ("float64 of other weights", unhashed(lambda tensors: (fill(1)(tensors), cast(torch.float64)(tensors))), OTHER_TENSORS),
    ("temperature 0", told(temperature=0), HEADER_DAMAGED),
    ("temperature negative", told(temperature=-1.5), HEADER_DAMAGED),
    ("temperature NaN", told(temperature=NAN), HEADER_DAMAGED),
    ("temperature infinite", told(temperature=INF), HEADER_DAMAGED),
    ("temperature a text", told(temperature="1.5"), HEADER_DAMAGED),
    ("temperature a truth value", told(temperature=True), HEADER_DAMAGED),
    ("temperature missing", hashed(facts=lambda facts: facts.pop("temperature")), HEADER_DAMAGED),
    ("temperature of another training", told(temperature=5), FAILS),
    ("channels missing", hashed(facts=lambda facts: facts.pop("channels")), FOREIGN),
    ("channels a text", told(channels="468"), HEADER_DAMAGED),
    ("lean a number", told(lean=1), HEADER_DAMAGED),
    ("lean by mistake", told(lean=True), NO_FIT),
    ("channels two", told(channels=[4, 6]), HEADER_DAMAGED),
    ("channels a number", told(channels=4), HEADER_DAMAGED),
    ("channels not whole", told(channels=[4.0, 6.5, 8]), HEADER_DAMAGED),
    ("channels negative", told(channels=[-4, 6, 8]), HEADER_DAMAGED),
    ("channels zero", told(channels=[0, 0, 0]), HEADER_DAMAGED),
    ("channels 10**6", told(channels=[10**6] * 3), NO_FIT),
    ("channels 10**9", told(channels=[10**9] * 3), HEADER_DAMAGED),
    ("channels 10**30", told(channels=[10**30] * 3), HEADER_DAMAGED),
    ("channels of another network", told(channels=[4, 6, 9]), NO_FIT),
    ("limits missing", hashed(facts=lambda facts: facts.pop("limits")), NO_LIMITS),
    ("limits a list", told(limits=[0.6]), NO_LIMITS),
    ("limits without errors", limits(errors=[]), NO_LIMITS),
    ("limits without a threshold", limits(errors=[{"max_error": 0.01}]), NO_LIMITS),
    ("limits with a threshold of NaN", limits(errors=[{"max_error": 0.01, "threshold": NAN}]), NO_LIMITS),
    ("limits above 1", limits(errors=[{"max_error": 0.01, "threshold": 60}]), NO_LIMITS),
    ("limits of numbers without end", limits(not_a_digit=10**400), NO_LIMITS),
    ("limits of texts", limits(not_a_digit="little"), NO_LIMITS),
    ("limits for other errors", limits(errors=[{"max_error": 0.2, "threshold": 0.6}]), "No threshold was measured for an error of"),
    ("self-test missing", hashed(facts=lambda facts: facts.pop("self_test")), NO_TEST),
    ("self-test a number", told(self_test=7), NO_TEST),
    ("self-test of the wrong length", self_test(seen="AAAA"), NO_TEST),
    ("self-test that is not base64", self_test(seen="!" * 1048), NO_TEST),
    ("self-test with dirt in its base64", self_test(seen="!" + unpack(WHOLE, "")[1]["self_test"]["seen"]), NO_TEST),
    ("self-test without probabilities", self_test(probabilities=[]), NO_TEST),
    ("self-test with one probability", self_test(probabilities=0.1), NO_TEST),
    ("self-test with texts", self_test(probabilities=["much"] * 10), NO_TEST),
    ("self-test with NaN", self_test(probabilities=[NAN] * 10), FAILS),
    ("self-test with another answer", self_test(probabilities=[1.0] + [0.0] * 9), FAILS),
    ("a pickle, protocol 0", pickled(0), NO_FILE),
    ("a pickle, protocol 5", pickled(5), NO_FILE),
    ("what torch.save writes", saved_by_torch(), NO_FILE),
    ("what torch.save wrote once", saved_by_torch(zipped=False), NO_FILE),
    ("an ONNX file", b"\x08\x0a\x12\x07pytorch\x1a\x052.14." + WHOLE[8 + HEAD:], NO_FILE),
    ("a zip", zipped(), NO_FILE),
    ("text", b"weights\n" * 100, NO_FILE),
    ("a page of HTML", b"<!DOCTYPE html><html>Log in first</html>", NO_FILE),
    ("random bytes", random.Random(0).randbytes(5000), NO_FILE),
]


@contextlib.contextmanager
def without_rights():
    """Take from this process, where it is the administrator's, the right to read and write what is forbidden to all."""
    if os.geteuid():
        yield
        return
    if sys.platform != "linux":
        pytest.skip("the administrator may read everything here")
    call, head = ctypes.CDLL(None, use_errno=True).syscall, struct.pack("<Ii", 0x20080522, 0)  # capget and capset, version 3
    get, put = {"x86_64": (125, 126), "aarch64": (90, 91)}[os.uname().machine]
    before = ctypes.create_string_buffer(24)
    assert call(get, head, before) == 0
    effective, *others = struct.unpack("<6I", before.raw)
    assert call(put, head, struct.pack("<6I", effective & ~0b110, *others)) == 0  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    try:
        yield
    finally:
        assert call(put, head, before.raw) == 0


@contextlib.contextmanager
def a_full_disk(left: int = 0):
    """Let this process write no more than `left` bytes into a file: the error is EFBIG where a full disk gives ENOSPC."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (left, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def forbid(path: Path) -> None:
    path.write_bytes(WHOLE)
    path.chmod(0)


PLACES_TABLE = [
    ("nothing there", lambda path: None, "No weights at"),
    ("a folder in its place", lambda path: path.mkdir(), "No weights at"),
    ("a dangling link", lambda path: path.symlink_to("nowhere"), "No weights at"),
    ("a link to itself", lambda path: path.symlink_to(path.name), "cannot be read"),
    ("a pipe", lambda path: os.mkfifo(path), "No weights at"),
    ("a device without end", lambda path: path.symlink_to("/dev/zero"), "No weights at"),
    ("no permission to read", forbid, "cannot be read (Permission denied). Mend that, or name another folder"),
    ("no permission to enter the folder", lambda path: (path.write_bytes(WHOLE), path.parent.chmod(0)), "cannot be read"),
    ("a file of 10 GB", lambda path: (path.touch(), os.truncate(path, 10**10)), "has 10,000 MB and is some other network's"),
]


def programs(weights: Path) -> Iterator:
    """Yield what every program says to these weights; app.py last, since it would serve them."""
    yield run_main("recognize.py", ROOT / "examples", "--weights", weights)
    yield run_main("evaluate.py", "--check", "--weights", weights)
    yield run_main("app.py", "--port", free_port(), "--weights", weights)


def one_sentence(text: str, words: str) -> bool:
    """Return whether a text is one line in whole sentences, with these words and without a trace of the program's inside."""
    text = text.removesuffix("\n")
    return words in text and text.endswith(".") and "\n" not in text and not any(
        inside in text for inside in ("Traceback", "Error", "Errno", "site-packages", ".py\"", "None"))


def test_the_whole_file_is_opened():
    assert WHOLE == make_whole() and len(WEIGHTS_TABLE) + len(PLACES_TABLE) >= 100


@pytest.mark.parametrize("damage, content, words", WEIGHTS_TABLE, ids=[row[0] for row in WEIGHTS_TABLE])
def test_damaged_weights_are_refused_in_a_sentence_by_every_program(tmp_path, damage, content, words):
    assert content != WHOLE
    (tmp_path / "model.safetensors").write_bytes(content)
    for done in programs(tmp_path):
        assert done.returncode == 2 and not done.stdout and one_sentence(done.stderr, words), done.stderr
    assert not MARK.exists()


@pytest.mark.parametrize("damage, make, words", PLACES_TABLE, ids=[row[0] for row in PLACES_TABLE])
def test_a_place_without_weights_is_refused_in_a_sentence_by_every_program(tmp_path, damage, make, words):
    folder = tmp_path / "weights"
    folder.mkdir()
    make(folder / "model.safetensors")
    with without_rights():
        for done in (*programs(folder / "model.safetensors"), *programs(folder)):
            assert done.returncode == 2 and not done.stdout and one_sentence(done.stderr, words), done.stderr


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.pkl", "model.bin", "model.safetensors"])
def test_a_pickle_is_never_run_whatever_its_name(tmp_path, name):
    for content in (pickled(5), saved_by_torch()):
        (tmp_path / name).write_bytes(content)
        done = run_main("recognize.py", ROOT / "examples", "--weights", tmp_path / name)
        assert done.returncode == 2 and one_sentence(done.stderr, NO_FILE) and not MARK.exists()


def test_no_module_of_the_product_unpickles():
    modules = [*ROOT.glob("*.py"), *(ROOT / "scripts").glob("*.py")]
    assert len(modules) > 15
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name.split(".")[0] for alias in node.names} | {(getattr(node, "module", "") or "").split(".")[0]}
                assert not names & {"pickle", "cPickle", "_pickle", "dill", "joblib", "shelve", "marshal", "cloudpickle"}, path
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"torch.load", "torch.save", "torch.jit.load", "torch.hub.load", "eval", "exec"}, path
                assert called != "np.load" or ast.unparse(node).endswith("allow_pickle=False)"), path


def test_every_byte_counts(capsys):
    """A flipped bit is refused, or changes nothing that is read: an e of a number, a letter in the name of the header's hash."""
    dice, refusals, expected = random.Random(0), 0, to_net(WHOLE, "the file")
    places = {*range(0, len(WHOLE), 11), *range(8, 200)}
    for place in places:
        content = bytearray(WHOLE)
        content[place] ^= 1 << dice.randrange(8)
        try:
            net = to_net(bytes(content), "the file")
        except ValueError:
            refusals += 1
        else:
            facts = {name: net.facts.get(name) for name in expected.facts if name != "header_hash"}
            assert facts == {name: value for name, value in expected.facts.items() if name != "header_hash"}
            assert all(map(torch.equal, net.state_dict().values(), expected.state_dict().values()))
    assert len(places) - 20 < refusals and capsys.readouterr() == ("", "")


def load_weights_of(content: bytes, file: Path) -> DigitNet:
    file.write_bytes(content)
    return load_weights(file)


def test_every_block_and_every_cut_is_refused():
    dice = random.Random(0)
    damaged = [WHOLE[:length] for length in range(0, len(WHOLE), 37)]
    for start in range(0, len(WHOLE), 64):
        length = len(WHOLE[start:start + 64])
        damaged += [WHOLE[:start] + block + WHOLE[start + length:] for block in (bytes(length), dice.randbytes(length))]
    for content in damaged:
        if content != WHOLE:
            with pytest.raises(ValueError):
                to_net(content, "the file")


def test_absurd_channels_take_no_memory(tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for width in (10**5, 10**6, 10**9, 10**18):
        with pytest.raises(ValueError):
            load_weights_of(told(channels=[width] * 3), tmp_path / "model.safetensors")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KB


@pytest.mark.parametrize("kind, words", [
    (torch.float16, "holds float16 numbers; they were converted to float32, unchecked by its hash."),
    (torch.float64, "holds float64 numbers; they were converted to float32."),
])
def test_other_floats_are_converted_and_it_is_said_in_one_line(tmp_path, caplog, kind, words):
    (tmp_path / "model.safetensors").write_bytes(unhashed(cast(kind)))
    recognizer = Recognizer.from_pretrained(tmp_path)
    expected = Recognizer(load_weights_of(WHOLE, tmp_path / "whole.safetensors")).read(make_sketch()).probabilities
    assert recognizer.net.head.weight.dtype == torch.float32
    assert np.abs(recognizer.read(make_sketch()).probabilities - expected).max() < 0.01
    assert [record.levelname for record in caplog.records] == ["WARNING"] and caplog.text.endswith(words + "\n")


def test_a_flipped_byte_in_the_shipped_weights_is_refused():
    content, dice = (WEIGHTS / "model.safetensors").read_bytes(), random.Random(0)
    for _ in range(40):
        place = dice.randrange(8 + int.from_bytes(content[:8], "little"), len(content))
        with pytest.raises(ValueError, match=OTHER_TENSORS):
            to_net(content[:place] + bytes([content[place] ^ 0xff]) + content[place + 1:], "the file")


# --- metrics ------------------------------------------------------------------------------------------------------------

METRICS_TABLE = [
    ("empty", b""), ("no JSON", b"{"), ("no UTF-8", b"\xff\xfe"), ("a list", b"[]"), ("nothing", b"null"), ("no parts", b"{}"),
    ("parts of another kind", b'{"weights": 3}'), ("brackets without end", b"[" * 50_000),
    ("no test", json.dumps({"weights": json.loads((WEIGHTS / METRICS_FILE).read_text())["weights"]}).encode()),
    ("texts for numbers", (WEIGHTS / METRICS_FILE).read_bytes().replace(b'"accuracy": 0', b'"accuracy": "x", "a": 0')),
    ("cut", (WEIGHTS / METRICS_FILE).read_bytes()[:3000]),
]


@pytest.mark.parametrize("damage, content", METRICS_TABLE, ids=[row[0] for row in METRICS_TABLE])
def test_damaged_metrics_keep_no_page_from_opening_and_are_refused_by_evaluate(tmp_path, monkeypatch, recognizer, damage, content):
    shutil.copy(WEIGHTS / "model.safetensors", tmp_path)
    (tmp_path / METRICS_FILE).write_bytes(content)
    monkeypatch.setattr(page, "METRICS", tmp_path / METRICS_FILE)
    assert "no accuracy was measured" in page.about(recognizer.version) and "Privacy" in page.about(recognizer.version)
    for flags in (["--check"], ["--data-dir", tmp_path / "nothing"]):  # what was measured once is not written over
        done = run_main("evaluate.py", "--weights", tmp_path, *flags)
        assert done.returncode == 2 and one_sentence(done.stderr, "metrics.json is missing or damaged. Restore it"), done.stderr
    assert (tmp_path / METRICS_FILE).read_bytes() == content


@pytest.mark.parametrize("content", [None, b"---\ncut", b"\xff\xfe"])
def test_a_damaged_card_keeps_no_page_from_opening(tmp_path, monkeypatch, content):
    monkeypatch.setattr(page, "HERE", tmp_path)
    if content is not None:
        (tmp_path / "MODEL_CARD.md").write_bytes(content)
    assert "There is no card here. Restore MODEL_CARD.md." in page.card()


def test_weights_that_do_not_say_how_they_were_made_are_not_measured(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(WHOLE)
    for flags in (["--check"], []):
        done = run_main("evaluate.py", "--weights", tmp_path, *flags)
        assert done.returncode == 2 and one_sentence(done.stderr, "their header has no history")


# --- data ---------------------------------------------------------------------------------------------------------------

def cut(data: Path, name: str = "train-images-idx3-ubyte", keep: int = 5000) -> None:
    file = data / "MNIST" / "raw" / name
    file.write_bytes(file.read_bytes()[:keep])


def change(start: int, part: bytes, name: str = "train-images-idx3-ubyte"):
    """Return what writes some bytes over others in a file of MNIST's."""
    def damage(data: Path) -> None:
        file = data / "MNIST" / "raw" / name
        content = file.read_bytes()
        file.write_bytes(content[:start] + part + content[start + len(part):])
    return damage


LABELS = "train-labels-idx1-ubyte"
MNIST_TABLE = [
    ("pictures cut", cut),
    ("pictures cut in their header", lambda data: cut(data, keep=9)),
    ("pictures empty", lambda data: cut(data, keep=0)),
    ("labels cut", lambda data: cut(data, LABELS, 100)),
    ("labels empty", lambda data: cut(data, LABELS, 0)),
    ("another magic number", change(0, b"\x89PNG")),
    ("numbers of a kind that there is not", change(2, b"\x0a")),
    ("numbers of another kind", change(2, b"\x0d")),
    ("signed numbers", change(2, b"\x09")),
    ("no dimensions", change(3, b"\0")),
    ("four dimensions", change(3, b"\x04")),
    ("more pictures than there are", change(4, struct.pack(">I", 241))),
    ("four milliards of pictures", change(4, b"\xff" * 4)),
    ("no pictures", change(4, bytes(4))),
    ("fewer labels than pictures", change(4, struct.pack(">I", 239), LABELS)),
    ("pictures of another size", change(8, struct.pack(">II", 14, 56))),
    ("a label that is no digit", change(50, b"\x4d", LABELS)),
    ("pictures in the place of labels", lambda data: shutil.copy(data / "MNIST/raw/train-images-idx3-ubyte",
                                                                 data / "MNIST/raw" / LABELS)),
]


@pytest.fixture
def place(small_mnist, tmp_path):
    """A copy of the data that may be damaged, and a folder with old weights that must stay."""
    shutil.copytree(small_mnist, tmp_path / "data")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.safetensors").write_bytes(WHOLE)
    return tmp_path


def refused(place: Path, words: str, *flags) -> None:
    """Train; hold that this is refused in a sentence with exit code 2, and that nothing but the old weights lies there."""
    done = train(place / "data", place / "out", *flags, run=run_main)
    assert done.returncode == 2 and one_sentence(done.stderr, words), done.stderr
    assert [path.name for path in (place / "out").iterdir()] == ["model.safetensors"]
    assert (place / "out" / "model.safetensors").read_bytes() == WHOLE


@pytest.mark.parametrize("damage, make", MNIST_TABLE, ids=[row[0] for row in MNIST_TABLE])
def test_damaged_mnist_is_refused_in_a_sentence_and_the_old_weights_stay(place, damage, make):
    make(place / "data")
    refused(place, "are damaged. Delete those that begin with 'train' and run again")


def test_measuring_refuses_damaged_mnist_too(place):
    shutil.copy(WEIGHTS / "model.safetensors", place / "out")
    cut(place / "data", "t10k-images-idx3-ubyte")
    done = run_main("evaluate.py", "--data-dir", place / "data", "--weights", place / "out")
    assert done.returncode == 2 and one_sentence(done.stderr, "Delete those that begin with 't10k'")


def test_pickled_files_of_an_older_layout_are_left_alone(place):
    (place / "data" / "MNIST" / "processed").mkdir()
    for name in ("training.pt", "test.pt"):
        (place / "data" / "MNIST" / "processed" / name).write_bytes(saved_by_torch())
    assert len(load_mnist(place / "data", train=True)) == 240 and not MARK.exists()


@pytest.mark.parametrize("answer, words", [
    (b"HTTP/1.0 200 OK\r\n\r\nLog in first", "arrived damaged: what the mirrors send has another checksum"),
    (b"HTTP/1.0 404 Not Found\r\n\r\n", "no mirror answers"),
    (b"", "connection broke"),
    (None, "connection broke"),  # and never a word
    (b"HTTP/1.0 200 OK\r\nContent-Length: 99999\r\n\r\nshort", "arrived damaged"),
])
def test_what_a_mirror_may_send_is_refused_in_a_sentence(place, monkeypatch, answer, words):
    shutil.rmtree(place / "data")
    with socket.create_server(("127.0.0.1", 0)) as mirror:
        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    caller, _ = mirror.accept()
                    with caller:
                        caller.recv(5000)
                        if answer is None:
                            caller.recv(5000)  # until the caller has had enough
                        caller.sendall(answer or b"")
        threading.Thread(target=serve, daemon=True).start()
        monkeypatch.setattr(data, "SILENCE", 1)
        monkeypatch.setattr(data.datasets.MNIST, "mirrors", [f"http://127.0.0.1:{mirror.getsockname()[1]}/"])
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        done = train(place / "data", place / "out", run=run_main)
    assert done.returncode == 2 and one_sentence(done.stderr.splitlines()[-1], words), done.stderr  # after the download's bar
    assert (place / "out" / "model.safetensors").read_bytes() == WHOLE


STROKES_TABLE = [
    ("cut", lambda path: path.write_bytes(path.read_bytes()[:-300])),
    ("a byte flipped", lambda path: path.write_bytes(path.read_bytes()[:600] + b"\xaa\x55" + path.read_bytes()[602:])),
    ("empty", lambda path: path.write_bytes(b"")),
    ("a pickle", lambda path: path.write_bytes(pickled(5))),
    ("pickled arrays", lambda path: parts(path, label=np.array([Runs()], object))),
    ("one array", lambda path: np.save(path.open("wb"), np.zeros(3))),
    ("a folder", lambda path: (path.unlink(), path.mkdir())),
    ("no points", lambda path: parts(path, points=np.zeros((0, 2), np.float32))),
    ("points of texts", lambda path: parts(path, points=np.array([["1", "2"]]))),
    ("points without end", lambda path: parts(path, points=np.full((500, 2), INF))),
    ("points too far away", lambda path: parts(path, points=np.full((500, 2), 1e300))),
    ("starts that are not whole", lambda path: parts(path, stroke_start=np.array([0.0, 1.5]))),
    ("starts in a table", lambda path: parts(path, sample_start=np.zeros((3, 2), int))),
    ("starts that go back", lambda path: parts(path, stroke_start=np.array([5, 0]))),
    ("starts that go back, unsigned", lambda path: parts(path, stroke_start=np.array([5, 0], np.uint8))),
    ("labels of two digits", lambda path: parts(path, label=np.array(["12"] * 50))),
    ("labels that only look like digits", lambda path: parts(path, label=np.array(["²"] * 50))),
    ("no writers", lambda path: parts(path, writer=np.array([]))),
]


def parts(path: Path, **changed) -> None:
    """Write other parts into a stroke file."""
    arrays = {**dict(np.load(path)), **changed}
    with path.open("wb") as file:
        np.savez(file, **arrays)


@pytest.mark.parametrize("damage, make", STROKES_TABLE, ids=[row[0] for row in STROKES_TABLE])
def test_damaged_strokes_are_refused_in_a_sentence_and_the_old_weights_stay(place, damage, make):
    path = write_strokes(place / "strokes.npz")
    make(path)
    refused(place, "strokes.npz is no stroke file. Name an .npz", "--strokes", path)
    assert not MARK.exists()


def test_strokes_of_too_few_writers_are_refused_in_a_sentence(place):
    path = write_strokes(place / "strokes.npz", writers=1)
    refused(place, "give no drawing to learn from, or none to measure on", "--strokes", path)
    done = run_main("evaluate.py", "--strokes", path, "--data-dir", place / "data")
    assert done.returncode == 2 and one_sentence(done.stderr, "too little of unseen writers")


# --- disk and process ---------------------------------------------------------------------------------------------------

def test_a_full_disk_is_a_sentence_and_the_old_weights_stay(place):
    with a_full_disk(left=20_000):  # a checkpoint is larger
        refused(place, "checkpoint.safetensors cannot be written (File too large); what was there is untouched. Make room")


def test_a_disk_that_fills_up_at_the_last_save_leaves_the_old_weights(tmp_path):
    file = tmp_path / "model.safetensors"
    net = load_weights_of(WHOLE, file)
    for left in (0, 1000, len(WHOLE) - 1):
        with a_full_disk(left), pytest.raises(OSError, match="cannot be written"):
            save_weights(net, file)
        assert [path.name for path in tmp_path.iterdir()] == [file.name] and file.read_bytes() == WHOLE


@pytest.mark.parametrize("make, words", [
    (lambda out: out.chmod(0o500), "cannot be written to (Permission denied). Name another one with --out"),
    (lambda out: (out / "checkpoint.safetensors").mkdir(), "cannot be written to (checkpoint.safetensors is a folder there)"),
    (lambda out: shutil.move(out, out.with_name("kept")) and out.touch(), "cannot be written to (Not a directory)"),
])
def test_a_folder_that_cannot_be_written_to_is_refused_before_anything_is_learned(place, make, words):
    out = place / "out"
    make(out)
    with without_rights():
        done = train(place / "data", out, run=run_main)
    assert done.returncode == 2 and not done.stdout and one_sentence(done.stderr, words), done.stderr
    out.chmod(0o700)
    assert ((out if out.is_dir() else out.with_name("kept")) / "model.safetensors").read_bytes() == WHOLE


def test_a_name_too_long_for_the_disk_is_a_sentence(place):
    for done in (train(place / "data", place / ("x" * 300), run=run_main),
                 run_main("recognize.py", ROOT / "examples", "--weights", "x" * 300)):
        assert done.returncode == 2 and one_sentence(done.stderr, "File name too long"), done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_table_that_cannot_be_printed_loses_no_epoch(place, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py", "--data-dir", str(place / "data"), "--out", str(place / "out"), "--channels",
                                      "8,12,16", "--epochs", "3", "--batch-size", "32", "--threads", "1"])
    with open("/dev/full", "w") as full, contextlib.redirect_stdout(full):
        assert training.main() == 2
    assert one_sentence(capsys.readouterr().err, "What was to be printed or written could not be (No space left on device)")
    assert (place / "out" / "checkpoint.safetensors").exists()
    done = train(place / "data", place / "out", "--resume", run=run_main)
    assert done.returncode == 0 and load_weights(place / "out" / "model.safetensors").facts["recipe"]["epochs"] == 3


@pytest.mark.parametrize("damage", [
    lambda content: b"", lambda content: content[:-1], lambda content: content[:3000] + b"\0" + content[3001:],
    lambda content: content[:-50] + bytes(9) + content[-41:], lambda content: WHOLE, lambda content: pickled(5),
])
def test_a_damaged_checkpoint_is_refused_in_a_sentence(place, interrupted, damage):
    (place / "out" / training.CHECKPOINT).write_bytes(damage(interrupted))
    done = train(place / "data", place / "out", "--resume", run=run_main)
    assert done.returncode == 2 and one_sentence(done.stderr, "Delete it and start again without --resume"), done.stderr
    assert (place / "out" / "model.safetensors").read_bytes() == WHOLE and not MARK.exists()


@pytest.fixture(scope="module")
def interrupted(small_mnist, tmp_path_factory) -> bytes:
    """The checkpoint of a run after its first epoch."""
    out = tmp_path_factory.mktemp("interrupted")
    config = training.TrainConfig(data_dir=str(small_mnist), channels="8,12,16", epochs=3, batch_size=32, threads=1)
    pictures, validation, *_ = training.load_pictures(config)
    run = training.Run(config, pictures, validation)
    run.train_epoch()
    run.save(out / training.CHECKPOINT)
    return (out / training.CHECKPOINT).read_bytes()


def test_half_files_of_dead_programs_are_removed_and_those_of_living_ones_stay(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [f".model.safetensors.{process}.part" for process in (dead.pid, 10**30, os.getpid(), os.getppid())]
    for name in [*names, "notes.part", ".other.part"]:
        (tmp_path / name).touch()
    remove_parts(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {names[3], "notes.part", ".other.part"}


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    """What the disk is asked for: the new file's bytes first, then its name; a reader meanwhile holds the old one."""
    file = tmp_path / "file"
    file.write_bytes(b"old")
    with open(file, "rb") as reader:
        write_whole(file, b"new")
        assert reader.read() == b"old" and file.read_bytes() == b"new" and list(tmp_path.iterdir()) == [file]
    with pytest.raises(OSError, match="cannot be written .No such file or directory."):
        write_whole(tmp_path / "missing" / "file", b"new")


def test_who_may_read_a_file_stays_as_it_was_when_it_is_written_anew(tmp_path):
    file = tmp_path / "amounts.csv"
    for mode in (0o600, 0o664):
        file.touch()
        file.chmod(mode)
        write_whole(file, b"new")
        assert file.stat().st_mode & 0o777 == mode


def test_kill_9_at_any_instant_leaves_weights_that_load_and_a_run_that_goes_on():
    done = run_program("bench/kill.py", "--instants", "5", "--saves", "3")
    assert done.returncode == 0 and "\n8 of 8;" in done.stdout, done.stdout + done.stderr
