"""Training: small runs end to end, the same seed twice, an interruption, and every sentence."""

import csv
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import ROOT, heed_ctrl_c, run_main, run_program

from augment import augment
from data import NO_DIGIT, load_mnist
from files import pack, unpack
from learning import Diverged, Run, as_matrix, learning_rate, multiplies_bfloat16, open_teachers
from model import WEIGHTS, load_weights
from preprocess import to_tensor
from recipe import DISTORTIONS, RECIPES, TrainConfig, settled

SMALL = ("--channels", "8,12,16", "--epochs", "3", "--batch-size", "32", "--threads", "1")


def train(data, out, *flags, run=run_program):
    return run("train.py", "--data-dir", data, "--out", out, *SMALL, *flags)


def test_a_dry_run_goes_through_and_writes_nothing(small_mnist, tmp_path):
    done = train(small_mnist, tmp_path / "out", "--dry-run", run=run_main)
    assert done.returncode == 0 and "nothing was written" in done.stdout and not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def trained(small_mnist, tmp_path_factory):
    """A folder with the weights of a small run, and what the run printed."""
    out = tmp_path_factory.mktemp("trained")
    return out, train(small_mnist, out)


def test_a_run_writes_weights_that_load_and_a_row_for_every_epoch(trained):
    out, done = trained
    assert done.returncode == 0, done.stderr
    assert "with 1 thread;" in done.stdout
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 3 and rows[0].split(" | ")[1] == "train loss"
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "model.safetensors"]
    facts = load_weights(out / "model.safetensors").facts
    assert not {"out", "data_dir", "threads"} & facts["recipe"].keys()
    assert facts["recipe"]["epochs"] == 3 and len(facts["history"]) == 3 and facts["temperature"] > 0 and facts["header_hash"]


def test_distortions_shrink_over_the_last_quarter_and_nothing_else_changes():
    config = TrainConfig(settle=0.5)
    assert settled(config, 0) == settled(config, 0.75) == config
    end = settled(config, 1)
    assert all(getattr(end, name) == pytest.approx(getattr(config, name) / 2) for name in DISTORTIONS)
    assert {name for name in vars(config) if getattr(end, name) != getattr(config, name)} == set(DISTORTIONS)
    assert settled(TrainConfig(settle=0), 1) == TrainConfig(settle=0)


def test_teachers_are_asked_about_digits_and_their_mean_stands_beside_the_label(trained, small_mnist):
    pictures, nets = load_mnist(small_mnist, train=True)[:8], open_teachers(f"{trained[0]},{WEIGHTS}")
    images, labels = to_tensor(pictures.seen), torch.tensor([*pictures.labels[:7], NO_DIGIT])

    def targets(*teachers, **settings) -> torch.Tensor:
        run = Run(TrainConfig(channels="8,12,16", **settings), pictures, {"MNIST": pictures}, teachers)
        return run.targets(labels.to(run.device), images.to(run.device)).cpu()

    alone, taught, half = targets(), targets(*nets, trust=1), targets(*nets, trust=0.5)
    said = sum(net.head(net.features(images)).softmax(1) for net in nets) / 2
    assert torch.allclose(taught[:7], said[:7], atol=1e-4) and torch.equal(taught[7], torch.full((10,), 0.1))
    assert torch.allclose(half, (alone + taught) / 2) and not torch.allclose(taught, alone, atol=0.01)


def test_weights_tell_who_taught_them(trained, small_mnist, tmp_path):
    done = train(small_mnist, tmp_path, "--teacher", trained[0], run=run_main)
    assert done.returncode == 0, done.stderr
    taught, teacher = (load_weights(folder / "model.safetensors") for folder in (tmp_path, trained[0]))
    assert (taught.facts["recipe"]["teacher"], taught.facts["recipe"]["trust"]) == (teacher.facts["hash"][:12], 0.7)
    assert not torch.equal(taught.head.weight, teacher.head.weight)  # which learned alone, from the same seed


def test_muon_moves_the_kernels_and_sgd_all_the_rest(small_mnist):
    pictures = load_mnist(small_mnist, train=True)[:64]
    runs = [Run(TrainConfig(channels="8,12,16", batch_size=32, muon=muon), pictures, {"MNIST": pictures}) for muon in (0.0, 0.01)]
    by_sgd, by_muon = ([*run.net.parameters()] for run in runs)
    before = [p.detach().clone() for p in by_muon]
    for run in runs:
        run.train_step(torch.arange(32), torch.Generator().manual_seed(0))
    for old, one, other in zip(before, by_sgd, by_muon, strict=True):
        assert not torch.equal(old, other)
        assert torch.equal(one, other) == (one.ndim < 4)  # from the same network by the same gradient
    for kernel, old in zip(by_muon, before, strict=True):
        if kernel.ndim == 4:  # Muon's step is as long in all directions
            spread = torch.linalg.svdvals(as_matrix(kernel.detach()) - as_matrix(old))
            assert spread.min() > 0.3 * spread.max()


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the oracle is Linux's list of what the processor can do")
def test_bfloat16_is_taken_where_the_processor_multiplies_it():
    flags = Path("/proc/cpuinfo").read_text().split()
    able = "amx_bf16" in flags or "avx512_bf16" in flags
    assert multiplies_bfloat16(torch.device("cpu")) == able


def test_weights_tell_in_which_precision_they_were_learned(trained, small_mnist, tmp_path):
    able = multiplies_bfloat16(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    nets = {"auto": load_weights(trained[0] / "model.safetensors")}
    for precision in ("float32", "bfloat16"):
        assert train(small_mnist, tmp_path, "--precision", precision, run=run_main).returncode == 0
        nets[precision] = load_weights(tmp_path / "model.safetensors")
    told = [net.facts["recipe"]["precision"] for net in nets.values()]
    assert told == ["bfloat16" if able else "float32", "float32", "bfloat16"]
    assert not torch.equal(nets["float32"].head.weight, nets["bfloat16"].head.weight)
    assert torch.equal(nets["auto"].head.weight, nets[told[0]].head.weight)


def test_new_weights_pass_their_self_test(trained):
    from recognize import Recognizer
    assert Recognizer.from_pretrained(trained[0]).version


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(trained, small_mnist, tmp_path):
    train(small_mnist, tmp_path / "same", run=run_main)
    train(small_mnist, tmp_path / "other", "--seed", "1", run=run_main)
    first, same, other = ((folder / "model.safetensors").read_bytes()
                          for folder in (trained[0], tmp_path / "same", tmp_path / "other"))
    assert same == first and other != first


def test_an_interrupted_run_resumes_to_the_same_weights(trained, small_mnist, tmp_path):
    config = TrainConfig(data_dir=str(small_mnist), out=str(tmp_path), channels="8,12,16", epochs=3, batch_size=32, threads=1)
    from train import CHECKPOINT, load_pictures
    torch.set_num_threads(1)
    pictures, validation, *_ = load_pictures(config)
    run = Run(config, pictures, validation)
    run.train_epoch()
    run.save(tmp_path / CHECKPOINT)  # and here the power fails
    done = train(small_mnist, tmp_path, "--resume", run=run_main)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "model.safetensors").read_bytes() == (trained[0] / "model.safetensors").read_bytes()


def test_a_run_that_another_version_began_is_not_gone_on_with(small_mnist, tmp_path):
    pictures = load_mnist(small_mnist, train=True)[:64]
    run = Run(TrainConfig(channels="8,12,16", batch_size=32), pictures, {"MNIST": pictures})
    run.save(tmp_path / "checkpoint.safetensors")
    tensors, header = unpack((tmp_path / "checkpoint.safetensors").read_bytes(), "it")
    del header["config"]["trust"]
    (tmp_path / "checkpoint.safetensors").write_bytes(pack(tensors, header))
    with pytest.raises(ValueError, match="is damaged, or another version's"):
        run.resume(tmp_path / "checkpoint.safetensors")


def test_ctrl_c_leaves_the_old_weights_whole(trained, small_mnist, tmp_path):
    (tmp_path / "model.safetensors").write_bytes((trained[0] / "model.safetensors").read_bytes())
    process = subprocess.Popen([sys.executable, "train.py", "--data-dir", small_mnist, "--out", tmp_path, "--channels", "8,12,16",
                                "--epochs", "1000", "--batch-size", "32", "--threads", "1"], cwd=ROOT, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_ctrl_c)
    for line in process.stdout:  # until the first epoch is done
        if line.startswith("| 1 |"):
            break
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130 and "Stopped." in stderr and "Traceback" not in stderr
    assert (tmp_path / "model.safetensors").read_bytes() == (trained[0] / "model.safetensors").read_bytes()
    assert (tmp_path / "checkpoint.safetensors").exists()


def test_ctrl_c_in_the_first_moment_is_a_sentence(small_mnist, tmp_path):
    process = subprocess.Popen([sys.executable, "-X", "importtime", "train.py", "--data-dir", small_mnist, "--out", tmp_path],
                               cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed_ctrl_c)
    for line in process.stderr:
        if "numpy" in line:  # imported after what heeds Ctrl-C, and before torch
            break
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130 and "Stopped. Nothing was begun yet." in stderr and "Traceback" not in stderr
    assert not list(tmp_path.iterdir())


def test_a_small_network_learns_64_pictures_by_heart(small_mnist):
    pictures = load_mnist(small_mnist, train=True)[:64]
    config = TrainConfig(channels="8,12,16", epochs=30, batch_size=32, averaging=0.5, label_smoothing=0, rotate=0, scale=0, shear=0,
                         shift=0, elastic=0, thickness=0, noise=0, erase=0)
    run = Run(config, pictures, {"MNIST": pictures})
    while run.epoch < config.epochs:
        last = run.train_epoch()
    assert last["validation_accuracy"] == 1 and last["train_loss"] < 0.05


def test_a_run_is_not_gone_on_with_other_pictures(small_mnist, tmp_path):
    pictures = load_mnist(small_mnist, train=True)[:64]
    config = TrainConfig(channels="8,12,16", batch_size=32)
    Run(config, pictures, {"MNIST": pictures}).save(tmp_path / "checkpoint.safetensors")
    Run(config, pictures, {"MNIST": pictures}).resume(tmp_path / "checkpoint.safetensors")
    Run(replace(config, threads=3, out="elsewhere"), pictures, {"MNIST": pictures}).resume(tmp_path / "checkpoint.safetensors")
    for others in (pictures[:63], pictures[torch.arange(63, -1, -1)]):
        with pytest.raises(ValueError, match="learned from other pictures"):
            Run(config, others, {"MNIST": pictures}).resume(tmp_path / "checkpoint.safetensors")


def test_a_search_keeps_every_trial_also_one_that_came_to_nothing(small_mnist, tmp_path, monkeypatch, capsys):
    tried = []

    def train_epoch(run):
        tried.append(run.config.lr)
        if len(tried) == 1:
            raise Diverged("The loss is no longer a number.")
        if len(tried) == 3:
            raise KeyboardInterrupt
        run.epoch = run.config.epochs
        return {"validation_accuracy": 0.5, "validation_loss": 1.0}

    monkeypatch.setattr(Run, "train_epoch", train_epoch)
    done = train(small_mnist, tmp_path, "--search", "5", run=run_main)
    rows = list(csv.DictReader((tmp_path / "search.csv").open()))
    assert done.returncode == 130 and "The trials that ended are in search.csv" in done.stderr
    assert [float(row["validation_accuracy"]) for row in rows] == [0.5, 0.0]


def test_search_ranks_its_trials(small_mnist, tmp_path):
    done = train(small_mnist, tmp_path, "--search", "3", run=run_main)
    rows = list(csv.DictReader((tmp_path / "search.csv").open()))
    accuracies = [float(row["validation_accuracy"]) for row in rows]
    assert done.returncode == 0 and len(rows) == 3 and accuracies == sorted(accuracies, reverse=True)
    assert {"lr", "batch_size", "epochs", "weight_decay"} <= rows[0].keys()


def test_every_setting_is_a_flag_with_its_default_in_the_help():
    done = run_main("train.py", "--recipe", "quick", "--help")
    quick = RECIPES["quick"]
    text = " ".join(done.stdout.split())
    assert "runs/quick" in text and f"default: {quick.lr}" in text and "--recipe {full,quick} whose defaults to take" in text
    assert all("--" + name.replace("_", "-") in text for name in vars(quick))


def test_the_learning_rate_rises_and_falls_to_zero():
    rates = [learning_rate(step, 100, 0.5) for step in range(101)]
    assert max(rates) == rates[20] == 0.5 and rates[100] == pytest.approx(0, abs=1e-9) and rates[0] < 0.05


def test_augmentation_keeps_shape_and_range_and_differs_from_picture_to_picture():
    ink = torch.zeros(8, 1, 28, 28)
    ink[:, :, 6:22, 12:16] = 1
    changed = augment(ink, TrainConfig(), torch.Generator().manual_seed(0))
    assert changed.shape == ink.shape and 0 <= changed.min() and changed.max() <= 1
    assert all(not torch.equal(changed[0], other) for other in changed[1:])


def test_without_augmentation_pictures_stay_as_they_are():
    ink = torch.rand(4, 1, 28, 28)
    assert torch.equal(augment(ink, RECIPES["quick"], torch.Generator()), ink)


@pytest.mark.parametrize("name", DISTORTIONS)
def test_every_distortion_by_itself_changes_pictures(name):
    bar = torch.zeros(64, 1, 28, 28)
    bar[:, :, 6:22, 10:18] = 1
    alone = replace(RECIPES["quick"], **{name: getattr(TrainConfig(), name)})
    changed = (augment(bar, alone, torch.Generator().manual_seed(0)) != bar).flatten(1).any(1)
    assert changed.any() and (changed.all() or name in ("thickness", "neighbour", "filter", "noise", "erase"))


def test_a_neighbour_reaches_in_from_the_edge_and_the_digit_stays_whole():
    bar = torch.zeros(64, 1, 28, 28)
    bar[:, :, 4:24, 8:20] = 1
    more = augment(bar, replace(RECIPES["quick"], neighbour=1.0), torch.Generator().manual_seed(0)) - bar
    assert more.min() >= 0 and more[:, :, 10:18, 10:18].max() == 0 and (more.flatten(1).amax(1) > 0.2).sum() > 32


def test_what_is_erased_is_a_small_square():
    gone = 1 - augment(torch.ones(64, 1, 28, 28), replace(RECIPES["quick"], erase=1.0), torch.Generator().manual_seed(0))
    sizes = gone.sum((1, 2, 3))
    assert set(gone.unique().tolist()) == {0.0, 1.0} and sizes.min() >= 1 and sizes.max() == 25  # one, three or five pixels wide


def test_a_bent_picture_keeps_its_ink_and_moves_it_by_a_pixel_or_so():
    bar = torch.zeros(64, 1, 28, 28)
    bar[:, :, 4:24, 12:16] = 1
    bent = augment(bar, replace(RECIPES["quick"], elastic=0.9), torch.Generator().manual_seed(0))
    moved = (bent - bar).abs().sum((1, 2, 3))
    assert moved.min() > 5 and moved.max() < 80 and 60 < bent.sum((1, 2, 3)).min() < bent.sum((1, 2, 3)).max() < 100


def test_a_rotation_turns_the_picture():
    bar = torch.zeros(64, 1, 28, 28)
    bar[:, :, 4:24, 13:15] = 1
    still = dict(scale=0, shear=0, shift=0, elastic=0, thickness=0, noise=0, erase=0)
    turned = augment(bar, TrainConfig(rotate=90, **still), torch.Generator().manual_seed(0))
    tall = (turned[:, 0].sum(2) > 0.5).sum(1).float()
    wide = (turned[:, 0].sum(1) > 0.5).sum(1).float()
    assert tall.min() < 12 < wide.max() and turned.sum((1, 2, 3)).min() > 30  # some lie flat now, none lost its ink


@pytest.mark.parametrize("flags, words", [
    (["--epochs", "0"], "--epochs 0 is out of range"),
    (["--lr", "nan"], "--lr nan is out of range"),
    (["--channels", "8,12"], "is not three widths"),
    (["--lean", "2"], "--lean 2 is out of range"),
    (["--channels", "8,12,9999999"], "is not three widths"),
    (["--search", "-1"], "--search -1 is out of range. Give a number from 0 to 10000."),
    (["--precision", "float8"], "--precision float8 is unknown"),
    (["--teacher", "missing"], "No weights at missing. Run 'make train', or name another folder with --teacher."),
    (["--resume"], "no interrupted run"),
    (["--resume", "--dry-run"], "--resume goes with neither --search nor --dry-run"),
    (["--dry-run", "--search", "2"], "--dry-run goes through a single run"),
    (["--resume", "--search", "2"], "--resume goes with neither --search nor --dry-run"),
    (["--strokes", "missing.npz"], "There is no file missing.npz"),
    (["--extra", "tests/clients"], "tests/clients"),
    (["--lr", "90", "--momentum", "0.99", "--averaging", "0"], "no longer a number"),
])
def test_what_the_user_can_mend_is_one_sentence_and_exit_code_2(small_mnist, tmp_path, flags, words):
    done = train(small_mnist, tmp_path, *flags, run=run_main)
    assert done.returncode == 2 and words in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize("flags, words", [
    (["--strokes", "missing.npz"], "There is no file missing.npz"), (["--extra", "missing"], "There is no folder missing"),
    (["--teacher", "missing"], "No weights at missing"), (["--resume"], "no interrupted run"),
])
def test_a_typo_is_told_before_mnist_is_fetched_and_leaves_no_folder(tmp_path, monkeypatch, flags, words):
    monkeypatch.setattr("train.load_mnist", lambda *_, **__: pytest.fail("asked for MNIST"))
    done = train(tmp_path / "data", tmp_path / "out", *flags, run=run_main)
    assert done.returncode == 2 and words in done.stderr and not list(tmp_path.iterdir())


def test_without_data_and_network_one_sentence_says_so(tmp_path):
    dead = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = run_program("train.py", "--data-dir", tmp_path / "nothing", "--dry-run", **dead)
    assert done.returncode == 2 and "could not be fetched" in done.stderr and len(done.stderr.splitlines()) == 1
