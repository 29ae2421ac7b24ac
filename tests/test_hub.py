"""Weights come from the hub as they come from a folder; what goes wrong there is one sentence, at once."""

import shutil
import time

import numpy as np
import pytest
import torch
from conftest import ROOT, free_port, make_sketch, run_main
from hub import READER, Answer, Refusal
from huggingface_hub import constants, hf_hub_download, snapshot_download

import model
from model import WEIGHTS, DigitNet, find_weights, save_weights
from recognize import Recognizer

NAME = "ORG/digitvision"
SHIPPED = (WEIGHTS / "model.safetensors").read_bytes()
AT_ONCE = 10  # seconds; it takes a tenth of one, the rest is for a busy machine. The hub client alone would wait for 24


@pytest.fixture
def filled(hub, tmp_path):
    """The hub with a small network as the commit `old` of a repository and the shipped weights as `new`, its main branch."""
    torch.manual_seed(0)
    save_weights(DigitNet(channels=[4, 6, 8]), tmp_path / "small.safetensors")
    hub.old = hub.commit(f"models/{NAME}", {"model.safetensors": (tmp_path / "small.safetensors").read_bytes()})
    hub.new = hub.commit(f"models/{NAME}", {"model.safetensors": SHIPPED, "config.json": b"{}"})
    return hub


def refusal(name: str = NAME, **more) -> str:
    """Return the sentence with which weights are refused, and see to it that it comes at once."""
    start = time.perf_counter()
    with pytest.raises((ValueError, OSError)) as refused:
        DigitNet.from_pretrained(name, **more)
    assert time.perf_counter() - start < AT_ONCE
    sentence = str(refused.value)
    assert "\n" not in sentence and "http" not in sentence and sentence.endswith(".")
    return sentence


# --- pull ---------------------------------------------------------------------------------------------------------------

def test_weights_of_the_hub_read_like_the_local_ones(filled, recognizer):
    pulled = Recognizer.from_pretrained(NAME)
    assert pulled.version == recognizer.version
    assert np.array_equal(pulled.read(make_sketch()).probabilities, recognizer.read(make_sketch()).probabilities)


def test_a_revision_is_a_commit_or_a_branch(filled):
    assert DigitNet.from_pretrained(NAME, revision=filled.old).channels == [4, 6, 8]
    assert DigitNet.from_pretrained(NAME, revision="main").channels == find_weights(f"{NAME}@{filled.new}").channels != [4, 6, 8]


def test_what_was_fetched_is_not_fetched_again(filled):
    find_weights(NAME)
    find_weights(NAME)
    asked = [method for method, path in filled.requests if path.endswith("model.safetensors")]
    assert asked == ["HEAD", "GET", "HEAD"]
    find_weights(f"{NAME}@{filled.new}")  # a commit never changes: nobody is asked
    assert len([path for _, path in filled.requests if path.endswith("model.safetensors")]) == 3


def test_a_branch_that_moved_is_fetched_anew(filled, tmp_path):
    before = find_weights(NAME)
    filled.commit(f"models/{NAME}", {"model.safetensors": (tmp_path / "small.safetensors").read_bytes()})
    assert find_weights(NAME).channels == [4, 6, 8] != before.channels


def test_what_was_fetched_serves_where_the_hub_is_away(filled, monkeypatch):
    find_weights(NAME)
    filled.trouble = "500"
    assert find_weights(NAME).facts["hash"] == find_weights().facts["hash"]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert find_weights(NAME).facts["hash"] == find_weights().facts["hash"]


def test_the_hub_client_and_we_share_one_cache(filled):
    folder = snapshot_download(NAME)
    filled.requests.clear()
    find_weights(NAME)
    assert ("GET", f"/{NAME}/resolve/{filled.new}/model.safetensors") not in filled.requests
    shutil.rmtree(folder)
    find_weights(NAME)
    filled.trouble = "500"
    assert open(hf_hub_download(NAME, "model.safetensors"), "rb").read() == SHIPPED


def test_local_weights_ask_nothing_of_the_hub(hub):  # the Space in tests/test_publish.py shows the same of a whole program
    for name in (None, "weights", "weights/model.safetensors"):
        Recognizer.from_pretrained(name and ROOT / name)
    DigitNet.from_pretrained(ROOT / "weights")
    assert run_main("recognize.py", str(ROOT / "examples" / "6_tiny_picture.png")).returncode == 0
    assert hub.requests == []


# --- what goes wrong ----------------------------------------------------------------------------------------------------

def test_a_repository_that_is_not_there(hub):
    assert refusal() == (f"There is no {NAME} here, and on the hub none that you may see. Check the name; for a private one, log "
                         f"in with 'hf auth login'.")


def test_a_repository_that_is_not_there_for_a_known_user(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", READER)
    assert refusal().startswith(f"There is no {NAME} here, and on the hub none that you may see.")


def test_a_revision_that_is_not_there(filled):
    assert refusal(revision="v9") == f"{NAME} has no revision v9. Name a branch, a tag or a commit of it, or none."


def test_a_repository_without_our_files(hub):
    hub.commit(f"models/{NAME}", {"pytorch_model.bin": b"pickled"})
    assert refusal() == (f"{NAME} holds no model.safetensors, so it is none of ours. Name a repository that scripts/publish.py "
                         f"filled.")


def test_a_wrong_token(filled, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert refusal() == "The hub does not know your token. Log in anew with 'hf auth login', or correct HF_TOKEN."


@pytest.mark.parametrize("status, message, words", [
    (401, "Invalid credentials in Authorization header",
     "The hub does not know your token. Log in anew with 'hf auth login', or correct HF_TOKEN."),
    (403, "You don't have the rights for this",
     f"Your token has no right to {NAME}. Use one that has: 'hf auth login' takes it, or HF_TOKEN."),
    (401, "Invalid username or password.", f"There is no {NAME} here, and on the hub none that you may see."),
])
def test_a_token_that_is_refused_only_while_the_file_is_fetched(filled, monkeypatch, status, message, words):
    answer = Answer.answer

    def refuse_contents(self):
        if self.command == "GET":
            raise Refusal(status, None, message)
        answer(self)

    monkeypatch.setattr(Answer, "answer", refuse_contents)
    assert refusal().startswith(words)


def test_an_error_of_the_server(filled):
    filled.trouble = "500"
    assert refusal() == f"The hub failed at {NAME} (status 500). Try again later."


def test_a_connection_that_breaks_half_way(filled):
    filled.trouble = "broken"
    assert refusal() == f"The connection broke while {NAME} was fetched. Try again."


def test_a_content_that_changed_on_its_way(filled):
    filled.trouble = "damaged"
    assert refusal() == f"The weights of {NAME} arrived damaged. Try again."


@pytest.mark.parametrize("content, words", [
    (SHIPPED[:-100], f"{NAME}/model.safetensors is damaged or is no safetensors file."),
    (SHIPPED[:-9] + bytes([SHIPPED[-9] ^ 1]) + SHIPPED[-8:], f"The tensors in {NAME}/model.safetensors are not those that were "),
])
def test_a_file_that_was_damaged_before_it_was_sent(hub, content, words):
    hub.commit(f"models/{NAME}", {"model.safetensors": content})
    assert refusal().startswith(words)


def test_nothing_damaged_is_kept(filled):
    for trouble in ("broken", "damaged"):
        filled.trouble = trouble
        refusal()
    assert [path for path in (filled.home / "hub").rglob("*") if path.is_file()] == []
    filled.trouble = None
    assert find_weights(NAME).facts["hash"] == find_weights().facts["hash"]


def test_no_network(filled, monkeypatch):
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE",
                        f"http://127.0.0.1:{free_port()}/{{repo_id}}/resolve/{{revision}}/{{filename}}")
    assert refusal() == f"The hub is out of reach, and {NAME} with it. Check the network, and HF_ENDPOINT where set."


def test_a_client_that_is_to_stay_offline(filled, monkeypatch):
    words = (f"The hub may not be asked for {NAME}, which is not on this disk. Take HF_HUB_OFFLINE out of the environment, or "
             f"local_files_only out of the call.")
    assert refusal(local_files_only=True) == words
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert refusal() == words


def test_a_name_that_the_hub_does_not_allow(hub):
    assert refusal("ORG/digit--vision") == "ORG/digit--vision is no name that the hub allows. Check it."


def test_what_is_much_too_large_is_not_fetched(hub, monkeypatch):
    hub.commit(f"models/{NAME}", {"model.safetensors": b"0" * 2000})
    monkeypatch.setattr(model, "LARGEST", 1000)
    assert "is some other network's" in refusal() and "GET" not in [method for method, path in hub.requests if "resolve" in path]


def test_a_login_page_of_the_network_is_no_hub(hub, monkeypatch):
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{hub.endpoint}/login")
    assert refusal().startswith("The hub is out of reach")


def test_a_cache_that_cannot_be_written(filled, tmp_path):
    (tmp_path / "file").write_text("where the cache would be a folder")
    assert refusal(cache_dir=tmp_path / "file").startswith(f"{NAME} cannot be kept in {tmp_path / 'file'}")


def test_the_programs_say_it_in_one_line(filled):
    done = run_main("recognize.py", "--weights", f"{NAME}@v9", str(ROOT / "examples"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{NAME} has no revision v9. Name a branch, a tag or a commit of it, or none.\n"
