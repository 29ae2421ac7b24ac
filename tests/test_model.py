"""The network, and its weights: one file, checked whenever it is read."""

import json

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors import safe_open

from files import tensors_hash
from model import WEIGHTS, DigitNet, find_weights, load_weights, save_weights
from preprocess import normalise, see


@pytest.fixture
def file(tmp_path):
    """A weights file of a small network."""
    torch.manual_seed(0)
    net = DigitNet(channels=[4, 6, 8])
    net.facts, net.temperature = {"seed": 3}, 1.7
    save_weights(net, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def header(path) -> dict:
    with safe_open(path, "pt") as opened:
        return opened.metadata()


@pytest.mark.parametrize("lean", [False, True])
def test_ten_logits_for_every_picture(lean):
    assert DigitNet(channels=[4, 6, 8], lean=lean).eval()(torch.zeros(3, 1, 28, 28)).shape == (3, 10)


def test_a_lean_network_comes_back_as_it_was_saved_and_looks_once(tmp_path):
    net = DigitNet(channels=[4, 6, 8], lean=True).eval()
    save_weights(net, tmp_path / "model.safetensors")
    back, images = load_weights(tmp_path / "model.safetensors"), torch.randn(3, 1, 28, 28)
    once = net.head(net.features(images))  # none of the three is sure
    assert back.lean and torch.equal(back(images), once) and torch.allclose(back.probabilities(images), once.softmax(1))


def test_probabilities_are_the_softmax_of_the_logits_over_the_temperature():
    net = DigitNet(channels=[4, 6, 8]).eval()
    net.temperature = 2.5
    images = torch.randn(3, 1, 28, 28)
    logits = net(images).detach().double().numpy() / 2.5
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(net.probabilities(images), expected, atol=1e-6)


def test_the_folded_network_gives_the_same_answers():
    torch.manual_seed(0)
    net = DigitNet(channels=[4, 6, 8])
    net.temperature = 0.1
    for _ in range(20):
        net(torch.randn(32, 1, 28, 28) * 2 + 1)  # batch norm learns means and variances that are not 0 and 1
    images = torch.randn(7, 1, 28, 28)
    folded, expected = net.folded().probabilities(images), net.eval().probabilities(images)
    assert expected.std(dim=0).max() > 1e-4 and torch.allclose(folded, expected, atol=1e-6)
    assert not any(isinstance(layer, torch.nn.BatchNorm2d) for layer in net.folded().modules())


def test_a_local_folder_is_read_without_a_word(file, capfd):
    find_weights(file.parent)
    assert capfd.readouterr() == ("", "")


def test_weights_come_back_as_they_were_saved(file):
    torch.manual_seed(0)
    net, back = DigitNet(channels=[4, 6, 8]), load_weights(file)
    assert not back.training and back.temperature == 1.7 and back.facts["seed"] == 3 and back.channels == [4, 6, 8]
    assert all(torch.equal(one, other) for one, other in zip(net.state_dict().values(), back.state_dict().values(), strict=True))


def test_saving_what_was_loaded_writes_the_same_bytes(file, tmp_path):
    save_weights(load_weights(file), tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == file.read_bytes()


def test_save_pretrained_writes_weights_config_and_card(file, tmp_path):
    load_weights(file).save_pretrained(tmp_path / "copy")
    assert json.loads((tmp_path / "copy" / "config.json").read_text()) == {"channels": [4, 6, 8], "lean": False}
    assert (tmp_path / "copy" / "model.safetensors").read_bytes() == file.read_bytes()
    assert ModelCard.load(tmp_path / "copy" / "README.md").data.library_name == "digitvision"


def test_from_pretrained_reads_a_folder(file, tmp_path):
    load_weights(file).save_pretrained(tmp_path / "copy")
    assert DigitNet.from_pretrained(tmp_path / "copy").facts["seed"] == 3
    assert DigitNet.from_pretrained("weights").facts["hash"] == find_weights().facts["hash"]


def test_a_folder_wins_over_a_hub_id_of_the_same_name(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    load_weights(file).save_pretrained("org/name")
    assert find_weights("org/name").facts["seed"] == 3


def test_the_shipped_weights_are_small_and_their_config_is_the_constructors():
    assert (WEIGHTS / "model.safetensors").stat().st_size <= 2_000_000
    assert json.loads((WEIGHTS / "config.json").read_text()) == {"channels": find_weights().channels, "lean": False}


def test_everything_about_the_weights_is_in_the_one_file():
    facts = load_weights(WEIGHTS / "model.safetensors").facts
    assert {"channels", "temperature", "hash", "recipe", "seed", "versions", "self_test", "history"} <= facts.keys()
    assert set(header(WEIGHTS / "model.safetensors")) == {"digitvision"}  # a second key would make the bytes depend on chance


def test_the_hash_is_that_of_names_types_shapes_and_bytes():
    tensors = {"a": torch.arange(4.0)}
    changes = [{"b": tensors["a"]}, {"a": tensors["a"].double()}, {"a": tensors["a"].reshape(2, 2)}, {"a": tensors["a"] + 1e-6}]
    assert len({tensors_hash(each) for each in [tensors, *changes]}) == 5


@pytest.fixture(scope="module")
def from_sure_to_nothing():
    """Pictures of a 7 (60, 1, 28, 28), each with more noise than the one before."""
    noise = torch.rand(28, 28, generator=torch.Generator().manual_seed(1))
    seven = torch.from_numpy(see("examples/7_crossed_transparent.png")) / 255
    return torch.stack([normalise(share * noise + (1 - share) * seven) for share in torch.linspace(0, 1, 60)])[:, None]


@torch.no_grad()
def test_what_is_in_doubt_is_looked_at_a_second_time_half_a_pixel_away(from_sure_to_nothing):
    net, images = find_weights(), from_sure_to_nothing
    away = torch.tensor([[1, 0, -1 / 28], [0, 1, -1 / 28]]).expand(len(images), 2, 3)  # the side of the picture is 2
    moved = torch.nn.functional.grid_sample(images, torch.nn.functional.affine_grid(away, images.shape, align_corners=False),
                                            padding_mode="border", align_corners=False)
    first, second = (net.head(net.features(look)) for look in (images, moved))
    doubt = (first / net.temperature).softmax(1).amax(1) < 0.99
    assert 10 < doubt.sum() < 55
    both = (first + second) / 2
    assert torch.allclose(net(images)[doubt], both[doubt], atol=1e-3) and not torch.allclose(first[doubt], both[doubt], atol=0.1)
    assert torch.allclose(net(images)[~doubt], first[~doubt], atol=1e-5)
    assert net.train()(images).shape == (60, 10)


@torch.no_grad()
def test_probabilities_cost_a_second_look_only_where_the_first_leaves_a_doubt(from_sure_to_nothing):
    net, images, looked = find_weights(), from_sure_to_nothing, []
    expected = (net(images) / net.temperature).softmax(1)
    net.features.register_forward_hook(lambda module, given, result: looked.append(len(result)))
    assert torch.allclose(net.probabilities(images), expected, atol=1e-5)
    sure = net.probabilities(images[:1])
    assert sure.max() > 0.99 and looked[0] == 60 and 0 < looked[1] < 60 and looked[2:] == [1]
