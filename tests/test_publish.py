"""Weights, page and ONNX file go to the hub with one command each, complete; what goes wrong on the way is one sentence."""

import ast
import re
import shutil
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime
import publish
import pytest
import torch
import yaml
from conftest import ROOT, free_port, make_sketch, run_main
from hub import READER, WRITER
from huggingface_hub import ModelCard, constants
from packaging.requirements import Requirement
from publish import model_files, modules, space_files
from release_check import ON_A_SPACE, QUESTION, ask, judge, serving, write_files
from test_hub import AT_ONCE

import card
from model import find_weights
from preprocess import see, to_tensor

CARD = (ROOT / "MODEL_CARD.md").read_text()
DOWN_THE_ROAD = {"cleaning.py", "decode.py", "fields.py", "model.py", "preprocess.py", "recognize.py"}  # at least


def publish_to(hub, *arguments: str) -> str:
    """Run publish.py where it succeeds; return what it prints."""
    done = run_main("publish.py", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def unchecked(monkeypatch):
    """Leave out the checks before a push, which take seconds; two tests of their own have them."""
    monkeypatch.setattr(publish, "check", lambda tests: None)


@pytest.fixture
def writer(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", WRITER)


# --- the model ----------------------------------------------------------------------------------------------------------

def test_the_model_is_checked_and_pushed_and_the_card_runs_in_an_empty_folder(hub, writer, monkeypatch, tmp_path):
    printed = publish_to(hub, "model", "ME/digits")
    assert f"{hub.endpoint}/ME/digits\nRecognizer.from_pretrained('ME/digits').read('7.png')\n" in printed
    assert hub.repositories["models/ME/digits"]["main"] == model_files("ME/digits")

    monkeypatch.delenv("HF_TOKEN")
    pulled = ModelCard.load("ME/digits")
    assert pulled.data.to_dict() == ModelCard(CARD).data.to_dict()
    code = re.search(r"```python\n(.*?)```", pulled.text, re.DOTALL)[1]
    assert len(code.strip().splitlines()) <= 10 and '"ME/digits"' in code
    shutil.copy(QUESTION, tmp_path / "7.png")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("digit 7 0."), done.stderr


def test_what_is_pushed_is_the_card_its_figures_and_the_road_of_a_picture():
    files = model_files("ME/digits")
    assert files["README.md"].decode().replace("ME/digits", "ORG/digitvision").replace("](figures/", "](weights/figures/") == CARD
    figures = set(re.findall(r"!\[.*?\]\((.*?)\)", files["README.md"].decode()))
    assert figures and figures == {path for path in files if path.endswith(".png")}
    assert {"model.safetensors", "config.json", "metrics.json", "requirements.txt", "LICENSE"} | DOWN_THE_ROAD <= set(files)
    assert not {"app.py", "train.py", "evaluate.py", "data.py"} & set(files)


def test_the_packages_that_the_card_names_are_those_that_its_modules_import():
    imported = set()
    for file in modules("fields"):
        for node in ast.walk(ast.parse((ROOT / file).read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [each.name for each in getattr(node, "names", [])]
            imported |= {name.split(".")[0] for name in names} if isinstance(node, (ast.Import, ast.ImportFrom)) else set()
    imported -= sys.stdlib_module_names | {Path(file).stem for file in modules("fields")}
    imported -= {"matplotlib", "tqdm"}  # of command lines alone
    named = re.search(r"`pip install ([^`]*)`", CARD)[1].split()
    packages = {"PIL": "Pillow", "cv2": "opencv-python-headless"}
    assert set(named) == {packages.get(name, name) for name in imported}
    assert set(named) <= {Requirement(line.split("#")[0]).name
                          for line in model_files("ME/digits")["requirements.txt"].decode().splitlines()}


def test_the_app_serves_weights_of_the_hub(hub, tmp_path):
    commit = hub.commit("models/ME/digits", {"model.safetensors": (ROOT / "weights" / "model.safetensors").read_bytes()})
    with serving(ROOT, sys.executable, tmp_path / "log", "--weights", f"ME/digits@{commit}") as address:
        assert ask(address, QUESTION) == "7"
    assert f"DigitVision {find_weights().facts['hash'][:12]} at {address}" in (tmp_path / "log").read_text()
    assert ("GET", f"/ME/digits/resolve/{commit}/model.safetensors") in hub.requests


# --- the Space ----------------------------------------------------------------------------------------------------------

def test_the_space_starts_from_what_it_gets_alone_and_reads_a_digit(hub, writer, unchecked, tmp_path):
    publish_to(hub, "space", "ME/demo", "--model", "ME/digits")
    files = hub.repositories["spaces/ME/demo"]["main"]
    assert files == space_files("ME/demo", "ME/digits")
    hub.requests.clear()
    write_files(files, tmp_path / "space")
    with serving(tmp_path / "space", sys.executable, tmp_path / "log", **ON_A_SPACE) as address:
        assert ask(address, QUESTION) == "7"
    printed = (tmp_path / "log").read_text()
    assert re.search(r"^DigitVision \w+ at http://localhost:\d+/ ", printed, re.MULTILINE)  # Gradio's word for 0.0.0.0
    assert "gradio.live" not in printed  # no share link
    assert hub.requests == []  # its weights are its own


def test_the_space_gets_no_tests_and_no_data():
    files = space_files("ME/demo", "ME/digits")
    assert {"app.py", "README.md", "requirements.txt", "weights/model.safetensors"} | DOWN_THE_ROAD <= set(files)
    assert not {"train.py", "evaluate.py", "data.py", "CHANGELOG.md"} & set(files)
    assert set(re.findall(r"!\[.*?\]\((.*?)\)", files["MODEL_CARD.md"].decode())) <= set(files)  # the page can show its card
    assert {path.split("/")[0] for path in files if "/" in path} == {"examples", "weights"}
    assert "- ME/digits\n" in files["README.md"].decode() and "ORG/" not in (files["README.md"] + files["MODEL_CARD.md"]).decode()


def test_the_front_matter_is_the_hubs_and_fits_what_is_installed():
    front = yaml.safe_load(publish.FRONT_MATTER.match((ROOT / "README.md").read_text())[0].strip("-\n"))
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert (front["title"], front["sdk"], front["app_file"], front["license"]) == ("DigitVision", "gradio", "app.py", "apache-2.0")
    assert front["sdk_version"] == version("gradio") and (ROOT / front["app_file"]).is_file()
    assert {front["colorFrom"], front["colorTo"]} <= colours and not front["emoji"].isascii()
    assert 0 < len(front["short_description"]) <= 60 and front["models"] == [publish.NAME] and "mnist" in front["tags"]
    assert f"FROM python:{front['python_version']}-slim" in (ROOT / "Dockerfile").read_text()
    assert tuple(map(int, front["python_version"].split("."))) >= (3, 10)
    floors = {Requirement(line.split("#")[0]).name: Requirement(line.split("#")[0])
              for line in space_files("ME/demo", "ME/digits")["requirements.txt"].decode().splitlines() if line[0] != "#"}
    assert all(requirement.specifier.contains(version(name)) for name, requirement in floors.items())
    assert all("<" in str(requirement.specifier) for name, requirement in floors.items() if name != "python-multipart")


def test_nothing_that_somebody_put_among_the_examples_is_sent(monkeypatch, tmp_path):
    shutil.copytree(ROOT, tmp_path / "copy", ignore=shutil.ignore_patterns(".*", "data", "runs", "node_modules"))
    for name in ("passport_scan.jpg", ".DS_Store"):
        (tmp_path / "copy" / "examples" / name).write_text("")
    (tmp_path / "copy" / "examples" / "more").mkdir()
    before = space_files("ME/demo", "ME/demo")
    monkeypatch.setattr("publish.ROOT", tmp_path / "copy")
    monkeypatch.setattr("publish.WEIGHTS", tmp_path / "copy" / "weights")
    assert space_files("ME/demo", "ME/demo") == before


def test_the_container_gets_what_the_space_gets_and_runs_as_nobody_special():
    lines = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text()).splitlines()
    commands = [line.split(maxsplit=1) for line in lines if line and line[0] != "#"]
    copied = set()
    for _, rest in (command for command in commands if command[0] == "COPY"):
        for source in rest.split()[:-1]:
            found = [path for path in (ROOT / source).rglob("*") if path.is_file()] or [ROOT / source]
            assert all(path.is_file() for path in found), source
            copied |= {path.relative_to(ROOT).as_posix() for path in found}
    assert copied - {"requirements.txt"} == set(space_files("ME/demo", "ME/demo")) - {"README.md", "requirements.txt"}
    order = [command for command, _ in commands]
    user = commands[order.index("USER")][1]
    assert user not in ("root", "0") and f" {user}" in commands[order.index("RUN")][1]
    assert order.index("USER") < order.index("CMD") and "urlopen" in commands[order.index("HEALTHCHECK")][1]


def test_the_audit_is_red_for_an_unsafe_package_and_where_nothing_is_known():
    safe = {"name": "numpy", "version": "2.4.6", "vulns": []}
    unknown = {"name": "torch", "skip_reason": "Dependency not found on PyPI"}
    unsafe = {"name": "pillow", "version": "9.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["12.3"]}]}
    assert judge([safe, unknown]) == "pip-audit: 1 packages without a known advisory; not looked up: torch"
    with pytest.raises(ValueError, match=r"Known to be unsafe: pillow 9.0 \(PYSEC-1\). Raise their bounds"):
        judge([safe, unknown, unsafe])
    with pytest.raises(ValueError, match="could look up none of 1 packages, so nothing is known of them"):
        judge([unknown])


# --- ONNX ---------------------------------------------------------------------------------------------------------------

def test_the_onnx_file_is_pushed_beside_the_weights_and_answers_as_torch_does(hub, writer, unchecked, tmp_path):
    hub.commit("models/ME/digits", {"config.json": b"{}"})
    publish_to(hub, "onnx", "ME/digits", "--out", tmp_path / "digits.onnx")
    files = hub.repositories["models/ME/digits"]["main"]
    assert set(files) == {"config.json", "model.onnx"} and files["model.onnx"] == (tmp_path / "digits.onnx").read_bytes()

    session, net = onnxruntime.InferenceSession(files["model.onnx"]), find_weights()
    (images,), (probabilities,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.type, images.shape) == ("images", "tensor(float)", ["B", 1, 28, 28])
    assert (probabilities.name, probabilities.type, probabilities.shape) == ("probabilities", "tensor(float)", ["B", 10])
    assert session.get_modelmeta().custom_metadata_map["digitvision_weights"] == net.facts["hash"]
    drawn = to_tensor(np.stack([see(make_sketch(digit)) for digit in "01457"]))
    sure = net.probabilities(drawn).amax(dim=1) > 0.99  # at first sight; noise is not
    assert sure.any()
    for batch in (drawn[:1], drawn, torch.randn(64, 1, 28, 28), torch.randn(257, 1, 28, 28) * 3):
        answer = session.run(None, {"images": batch.numpy()})[0]
        assert np.abs(answer - net.probabilities(batch).numpy()).max() < 1e-5
    assert (net(drawn).softmax(1) - net.probabilities(drawn)).abs().max() > 1e-3  # so the temperature is inside


# --- what goes wrong ----------------------------------------------------------------------------------------------------

def refusal(*arguments: str) -> str:
    """Return the one line with which publish.py refuses, and see to it that it comes at once."""
    start = time.perf_counter()
    done = run_main("publish.py", *(arguments or ("model", "ME/digits")))
    assert time.perf_counter() - start < AT_ONCE and done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "http" not in done.stderr
    return done.stderr.strip()


def test_a_dry_run_lists_every_file_with_its_size_and_sends_nothing(hub, unchecked):
    for kind, files in (("model", model_files("ME/digits")), ("space", space_files("ME/digits", "ME/digits"))):
        rows = [line.split() for line in publish_to(hub, kind, "ME/digits", "--dry-run").splitlines()]
        assert {path: int(size.replace(",", "")) for size, path in rows[:-1]} == {path: len(files[path]) for path in files}
    assert hub.requests == []


def test_without_a_token(hub):
    assert refusal() == "There is no token to write to ME/digits with. Log in with 'hf auth login', or set HF_TOKEN."
    assert hub.requests == []


def test_with_a_wrong_token(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert refusal() == "The hub does not know your token. Log in anew with 'hf auth login', or correct HF_TOKEN."


def test_without_the_right_to_write(hub, unchecked, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", READER)
    words = "Your token has no right to ME/digits. Use one that has: 'hf auth login' takes it, or HF_TOKEN."
    assert refusal() == words
    hub.commit("models/ME/digits", {"config.json": b"{}"})  # one that is there and may be read
    assert refusal() == words


def test_where_the_hub_fails(hub, writer):
    hub.trouble = "500"
    assert refusal() == "The hub failed (status 500). Run the same command again later."


def test_where_the_connection_breaks_during_the_upload(hub, writer, unchecked):
    hub.trouble = "broken"
    assert refusal() == "The connection to the hub failed. Check the network, and run the same command again."
    assert "PUT" in [method for method, _ in hub.requests] and hub.repositories["models/ME/digits"] == {"main": {}}


def test_without_a_network(hub, writer, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{free_port()}")
    assert refusal() == "The connection to the hub failed. Check the network, and run the same command again."


def test_with_a_client_that_is_to_stay_offline(hub, writer, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert refusal().startswith("The hub may not be asked for ME/digits")


def test_metadata_that_the_hub_refuses(hub, writer, unchecked, monkeypatch):
    monkeypatch.setattr(publish, "space_files", lambda name, model: {"README.md": b"no metadata"})
    assert refusal("space", "ME/demo").startswith("The hub refuses what is to be sent to ME/demo: Invalid metadata in README.md.")


def test_nothing_is_sent_where_the_card_says_something_else(hub, writer, monkeypatch, tmp_path):
    (tmp_path / "MODEL_CARD.md").write_text(CARD.replace("| 10,000 |", "| 10,001 |", 1))
    monkeypatch.setattr(card, "CARD", tmp_path / "MODEL_CARD.md")
    done = run_main("publish.py", "model", "ME/digits")
    assert done.returncode == 2 and done.stderr.startswith("The tables of MODEL_CARD.md are not those of metrics.json.")
    assert hub.repositories == {}


@pytest.mark.parametrize("arguments, words", [
    (["model", "digits"], "'digits' is no name on the hub. Give ORG/NAME"),
    (["space"], "ORG/NAME is missing. Name the repository, or add --dry-run."),
])
def test_a_name_that_cannot_be(arguments, words):
    done = run_main("publish.py", *arguments)
    assert done.returncode == 2 and words in done.stderr
