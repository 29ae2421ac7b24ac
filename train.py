"""Learn from MNIST, and from pen strokes and folders of pictures, and write weights/.

    python train.py --strokes digits.npz,letters.npz,symbols.npz     the recipe of the weights in this repository
    python train.py --recipe quick                                   one epoch of a small network, for trying things

Every setting is a field of `recipe.TrainConfig`; its flag appears by itself.
"""

import argparse
import base64
import copy
import csv
import io
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path


def stop_early(*_) -> None:
    """Heed a Ctrl-C that comes while torch is still being imported."""
    os.write(2, b"\nStopped. Nothing was begun yet.\n")
    os._exit(130)


if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, stop_early)

import numpy as np
import torch
import torch.nn.functional as F
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from augment import augment
from composing import calibrate_numbers, render_cuts
from data import (
    NO_DIGIT,
    Pictures,
    Strokes,
    load_folder,
    load_mnist,
    load_strokes,
    render,
    render_halves,
    render_scribbles,
    split_mnist,
    split_writers,
)
from fields import FieldReader
from files import pack, refuse, remove_parts, unpack, write_whole
from measures import calibrate, logits_of
from model import WEIGHTS, WEIGHTS_FILE, DigitNet, find_weights, save_weights
from preprocess import normalise, to_tensor
from recipe import RECIPES, TrainConfig, check_settings, settled
from recognize import Recognizer

CHECKPOINT = "checkpoint.safetensors"  # in the output folder, while a run is under way
HISTORY = ("epoch", "train_loss", "validation_loss", "validation_accuracy", "seconds")


# --- learning -----------------------------------------------------------------------------------------------------------

def learning_rate(step: int, steps: int, peak: float) -> float:
    """Return the one-cycle rate (Smith and Topin 2018): a rise over the first fifth of the steps, then a cosine to zero."""
    rise = 0.2 * steps
    if step < rise:
        return peak * (0.04 + 0.96 * step / rise)
    return peak * 0.5 * (1 + float(np.cos(np.pi * (step - rise) / (steps - rise))))


def multiplies_bfloat16(device: torch.device) -> bool:
    """Tell whether a device multiplies bfloat16 in hardware: of processors, those with AMX or AVX512-BF16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def open_teachers(names: str) -> list[DigitNet]:
    """Return the networks that --teacher names, commas between them. Raises what `find_weights` raises."""
    try:
        return [find_weights(name) for name in names.split(",") if name]
    except (ValueError, OSError) as error:
        raise type(error)(str(error).replace("--weights", "--teacher")) from error


class Run:
    """A training run under way: network, moving average, optimiser, position and history; can be saved and resumed."""

    def __init__(self, config: TrainConfig, pictures: Pictures, validation: Pictures, teachers: Sequence[DigitNet] = ()):
        """Take the settings and the pictures; `config` then says which precision "auto" is here, and who the teachers are."""
        torch.manual_seed(config.seed)
        self.all_validation, self.validation = validation, validation[validation.labels != NO_DIGIT]
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        precision = config.precision if self.device.type == "cpu" else "auto"
        if precision == "auto":
            precision = "bfloat16" if multiplies_bfloat16(self.device) else "float32"
        self.config = replace(config, precision=precision, teacher=",".join(net.facts.get("hash", "")[:12] for net in teachers))
        self.net = DigitNet(channels=[int(width) for width in config.channels.split(",")])
        self.net = self.net.to(self.device, memory_format=torch.channels_last)
        self.teachers = [net.folded().to(self.device) for net in teachers]
        self.average, self.move = copy.deepcopy(self.net), get_ema_multi_avg_fn(config.averaging)
        self.kept, self.new = ([tensor for tensor in net.state_dict().values() if tensor.is_floating_point()]
                               for net in (self.average, self.net))  # found once: AveragedModel looks for them at every step
        plain = [p for p in self.net.parameters() if p.ndim == 1]
        weights = [p for p in self.net.parameters() if p.ndim > 1]
        self.optimiser = torch.optim.SGD(
            [{"params": weights, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=config.lr, momentum=config.momentum, nesterov=True)
        self.ink = pictures.seen.to(self.device).unsqueeze(1)  # (N, 1, 28, 28) uint8
        self.labels = pictures.labels.to(self.device)
        self.epoch, self.step, self.history = 0, 0, []
        self.steps_an_epoch = max(1, len(pictures) // config.batch_size)

    def train_step(self, rows: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """Learn from the pictures of these rows; return the loss, before the step, as a tensor without dimensions."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, self.config.epochs * self.steps_an_epoch, self.config.lr)
        config = settled(self.config, self.step / (self.config.epochs * self.steps_an_epoch))
        images = normalise(augment(self.ink[rows].float() / 255, config, random))
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            logits = self.net(images)  # (B, 10)
            loss = F.cross_entropy(logits.float(), self.targets(self.labels[rows], images))
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        if self.step:
            self.move(self.kept, self.new, None)
        else:
            self.average.load_state_dict(self.net.state_dict())
        self.step += 1
        return loss.detach()

    def targets(self, labels: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Return what the probabilities (B, 10) ought to be: nearly all for the label, mixed with what the teachers say of the very
        same pictures (Beyer et al. 2022); for what is no digit, the same for all ten (outlier exposure, Hendrycks et al. 2019)."""
        smooth, digits = self.config.label_smoothing, labels != NO_DIGIT
        targets = (1 - smooth) * F.one_hot(labels.clamp_min(0), 10) + smooth / 10
        if self.teachers and digits.any():
            with torch.no_grad():  # one look each: two would cost twice as much
                said = [net.head(net.features(images[digits])).float().softmax(1) for net in self.teachers]
            targets[digits] += self.config.trust * (torch.stack(said).mean(0) - targets[digits])
        return torch.where(digits[:, None], targets, 0.1)  # (B, 10)

    def train_epoch(self, steps: int | None = None) -> dict:
        """Go once over the pictures (or `steps` batches of them), measure on validation; return the row of the history."""
        started = time.perf_counter()
        self.net.train()
        random = torch.Generator(self.device).manual_seed(self.config.seed * 100_003 + self.epoch)
        order = torch.randperm(len(self.labels), generator=random, device=self.device)
        steps = steps or self.steps_an_epoch
        total = torch.zeros((), device=self.device)
        for batch in tqdm(range(steps), desc=f"epoch {self.epoch + 1}/{self.config.epochs}", leave=False, disable=None):
            rows = order[batch * self.config.batch_size:(batch + 1) * self.config.batch_size]
            total += self.train_step(rows, random)
        self.epoch += 1
        logits = logits_of(self.average, self.validation.seen)
        row = (self.epoch, total.item() / steps, F.cross_entropy(logits, self.validation.labels).item(),
               (logits.argmax(1) == self.validation.labels).float().mean().item(), time.perf_counter() - started)
        if not np.isfinite(row[1:3]).all():
            raise ValueError("The loss is no longer a number. Lower --lr and run again; the old weights are untouched.")
        self.history.append(dict(zip(HISTORY, row, strict=True)))
        return self.history[-1]

    def save(self, path: Path) -> None:
        """Write the whole state as tensors with a JSON header, by one rename; nothing is pickled."""
        tensors = {f"net.{name}": value for name, value in self.net.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for number, state in self.optimiser.state_dict()["state"].items():
            tensors[f"momentum.{number}"] = state["momentum_buffer"]
        header = {"config": asdict(self.config), "epoch": self.epoch, "step": self.step, "history": self.history}
        write_whole(path, pack(tensors, header))

    def resume(self, path: Path) -> None:
        """Go on from a saved state. Raises ValueError with a sentence where there is none or where its settings differ."""
        if not path.exists():
            raise ValueError(f"There is no interrupted run in {path.parent}. Start one without --resume.")
        useless = f"{path} is damaged, or another version's. Delete it and start again without --resume."
        try:
            tensors, header = unpack(path.read_bytes(), str(path))
            ours, theirs = asdict(self.config), header["config"]
            if not ours.keys() <= theirs.keys():
                raise KeyError("a setting that there was not yet")
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(useless) from error
        changed = sorted(name for name in ours if ours[name] != theirs[name] and name not in ("out", "data_dir"))
        if changed:
            raise ValueError(f"The interrupted run had another --{changed[0].replace('_', '-')} "
                             f"({theirs[changed[0]]}). Give the same settings, or start again without --resume.")

        def part(prefix: str) -> dict:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        try:
            self.net.load_state_dict(part("net."))
            self.average.load_state_dict(part("average."))
        except RuntimeError as error:
            raise ValueError(useless) from error
        state = self.optimiser.state_dict()
        state["state"] = {int(number): {"momentum_buffer": value} for number, value in part("momentum.").items()}
        self.optimiser.load_state_dict(state)
        self.epoch, self.step, self.history = header["epoch"], header["step"], header["history"]

    def finished(self, sources: dict) -> DigitNet:
        """Return the averaged network with its temperature, and with all that is to be known of it in `facts`."""
        net = self.average.cpu().eval()
        first = self.validation.seen[0].numpy()
        recipe = {name: value for name, value in asdict(self.config).items() if name not in ("out", "data_dir")}
        recipe |= {name: ",".join(Path(path).name for path in recipe[name].split(",")) for name in ("strokes", "extra")}
        net.facts = {
            "recipe": recipe,
            "seed": self.config.seed,
            "pictures": sources,
            "history": [{name: value for name, value in row.items() if name != "seconds"} for row in self.history],
            "validation_accuracy": self.history[-1]["validation_accuracy"],
            "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        }
        calibrate(net, self.all_validation)
        net.facts["self_test"] = {"seen": base64.b64encode(first.tobytes()).decode(),
                                  "probabilities": net.probabilities(to_tensor(first[None]))[0].tolist()}
        return net


# --- a whole run --------------------------------------------------------------------------------------------------------

def load_pictures(config: TrainConfig) -> tuple[Pictures, Pictures, dict, Strokes | None]:
    """Return training pictures, validation pictures (MNIST's and the unseen writers'), how many came from where, and the unseen
    writers' strokes, None where no stroke files are named."""
    pictures, validation = split_mnist(load_mnist(config.data_dir, train=True))
    sources, unseen = {"mnist": len(pictures), "mnist_validation": len(validation)}, None
    if config.strokes:
        strokes, unseen = split_writers(load_strokes(config.strokes))
        drawings, held = render(strokes, config.renders, config.seed), render(unseen, 1, 0)
        others = [render_cuts(strokes, pictures, config.numbers, config.seed)] if config.numbers else []
        if (drawings.labels == NO_DIGIT).any():
            others += [render_scribbles(config.scribbles, config.seed), render_halves(strokes, config.scribbles // 2, config.seed)]
        drawings = sum(others, drawings)
        no_digits = int((drawings.labels == NO_DIGIT).sum())
        sources |= {"strokes": len(drawings) - no_digits, "no_digits": no_digits,
                    "strokes_validation": int((held.labels != NO_DIGIT).sum())}
        pictures, validation = pictures + drawings, validation + held
    if config.extra:
        more = load_folder(config.extra)
        sources["extra"] = len(more)
        pictures = pictures + more
    return pictures, validation, sources, unseen


def print_row(row: dict) -> None:
    """Print one epoch as a row of the table."""
    if row["epoch"] == 1:
        print("| " + " | ".join(name.replace("_", " ") for name in HISTORY) + " |")
        print("|" + " --- |" * len(HISTORY))
    print(f"| {row['epoch']} | {row['train_loss']:.4f} | {row['validation_loss']:.4f} | "
          f"{100 * row['validation_accuracy']:.2f} % | {row['seconds']:.1f} |", flush=True)


def prepare(out: Path) -> None:
    """Make the folder that a run writes to, without what a killed run left half-written in it.

    Raises OSError with a sentence, before hours are spent, where nothing can be written there.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
        for file in (WEIGHTS_FILE, CHECKPOINT):
            if (out / file).is_dir():
                raise IsADirectoryError(None, f"{file} is a folder there")
    except OSError as error:
        raise OSError(f"The folder {out} cannot be written to ({error.strerror}). Name another one with --out.") from error
    remove_parts(out)


def train_and_save(config: TrainConfig, resume: bool = False) -> DigitNet:
    """Train by a configuration, write its folder (model.safetensors, config.json), return the network."""
    out = Path(config.out)
    prepare(out)
    started, teachers = time.perf_counter(), open_teachers(config.teacher)
    pictures, validation, sources, unseen = load_pictures(config)
    run = Run(config, pictures, validation, teachers)
    if resume:
        run.resume(out / CHECKPOINT)
    parameters = sum(p.numel() for p in run.net.parameters())
    print(f"seed {config.seed}, {parameters:,} parameters, on {run.device.type} in {run.config.precision} with "
          f"{torch.get_num_threads()} threads; "
          + ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in sources.items()))
    while run.epoch < config.epochs:
        row = run.train_epoch()
        run.save(out / CHECKPOINT)  # first: the row may have nowhere to go
        print_row(row)
    net = run.finished(sources)
    if unseen is not None:
        net.facts["numbers"] = calibrate_numbers(FieldReader(Recognizer(net)), unseen)
    Recognizer(net).check()  # what could not be opened replaces nothing
    save_weights(net, out / WEIGHTS_FILE)
    write_whole(out / "config.json", (json.dumps({"channels": net.channels}, indent=2) + "\n").encode())
    (out / CHECKPOINT).unlink(missing_ok=True)
    print(f"wrote {out / WEIGHTS_FILE}: {100 * net.facts['validation_accuracy']:.2f} % on {len(run.validation):,} validation "
          f"digits, temperature {net.temperature:.3f}, in {time.perf_counter() - started:.0f} s")
    return net


def dry_run(config: TrainConfig) -> None:
    """Learn from three batches and measure, end to end, writing nothing."""
    teachers = open_teachers(config.teacher)
    pictures, validation, sources, _ = load_pictures(replace(config, renders=1, numbers=min(config.numbers, 20)))
    run = Run(replace(config, epochs=1), pictures, validation[:512], teachers)
    print_row(run.train_epoch(steps=min(3, run.steps_an_epoch)))
    run.finished(sources)
    print("The dry run went through; nothing was written.")


def search(config: TrainConfig, trials: int) -> None:
    """Try random settings on the validation split; print them ranked and write search.csv.

    It goes into runs/search unless --out says otherwise.
    """
    out = Path("runs/search" if config.out == str(WEIGHTS) else config.out)
    prepare(out)
    random, teachers = np.random.default_rng(config.seed), open_teachers(config.teacher)
    pictures, validation, *_ = load_pictures(config)
    rows = []
    for trial in range(1, trials + 1):
        tried = replace(config, lr=float(f"{10 ** random.uniform(-1.3, 0):.3g}"), batch_size=int(random.choice([64, 128, 256])),
                        epochs=int(random.integers(1, config.epochs + 1)),
                        weight_decay=float(f"{10 ** random.uniform(-5, -3):.3g}"))
        run = Run(tried, pictures, validation, teachers)
        while run.epoch < tried.epochs:
            last = run.train_epoch()
        rows.append({"validation_accuracy": last["validation_accuracy"], "validation_loss": last["validation_loss"],
                     "lr": tried.lr, "batch_size": tried.batch_size, "epochs": tried.epochs,
                     "weight_decay": tried.weight_decay, "seconds": sum(row["seconds"] for row in run.history)})
        print(f"trial {trial}/{trials}: {100 * last['validation_accuracy']:.2f} %", flush=True)
    rows.sort(key=lambda row: (-row["validation_accuracy"], row["validation_loss"]))
    file = io.StringIO()
    table = csv.DictWriter(file, rows[0].keys())
    table.writeheader()
    table.writerows(rows)
    write_whole(out / "search.csv", file.getvalue().encode())
    print("| rank | " + " | ".join(name.replace("_", " ") for name in rows[0]) + " |")
    print("|" + " --- |" * (len(rows[0]) + 1))
    for rank, row in enumerate(rows, 1):
        print(f"| {rank} | " + " | ".join(f"{value:.4g}" for value in row.values()) + " |")
    print(f"wrote {out / 'search.csv'}; seed {config.seed}, {len(validation):,} validation pictures")


# --- the command line ---------------------------------------------------------------------------------------------------

class Parser(argparse.ArgumentParser):
    """argparse's, which would print all the flags, a page of them, above what is wrong with one."""

    def error(self, message: str):
        self.exit(2, f"{self.prog}: {message}. See --help.\n")


def parse(arguments: list[str] | None = None) -> tuple[TrainConfig, argparse.Namespace]:
    """Return the configuration and the other flags of a command line; the recipe gives the defaults."""
    first = Parser(add_help=False)
    first.add_argument("--recipe", choices=RECIPES, default="full")
    recipe = RECIPES[first.parse_known_args(arguments)[0].recipe]
    parser = Parser(description=__doc__.splitlines()[0], parents=[first], allow_abbrev=False,
                    formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--resume", action="store_true", help="go on with the interrupted run in --out")
    parser.add_argument("--dry-run", action="store_true", help="a few batches end to end; writes nothing")
    parser.add_argument("--search", type=int, metavar="N", default=0, help="try N random settings on the validation split")
    for each in fields(TrainConfig):
        parser.add_argument("--" + each.name.replace("_", "-"), type=each.type, default=getattr(recipe, each.name),
                            help=each.metadata["help"])
    flags = parser.parse_args(arguments)
    return TrainConfig(**{each.name: getattr(flags, each.name) for each in fields(TrainConfig)}), flags


def main() -> int:
    """Run the command line; return its exit code."""
    config, flags = parse()
    if signal.getsignal(signal.SIGINT) is stop_early:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        check_settings(config)
        if flags.search < 0:
            raise ValueError(f"--search {flags.search} is out of range. Give the number of trials.")
        torch.set_num_threads(config.threads or os.cpu_count() or 1)
        if flags.dry_run:
            dry_run(config)
        elif flags.search:
            search(config, flags.search)
        else:
            train_and_save(config, flags.resume)
        sys.stdout.flush()
    except KeyboardInterrupt:
        kept = (Path(config.out) / CHECKPOINT).exists()
        print(f"\nStopped. The weights in {config.out} are whole; "
              + ("--resume goes on after the last whole epoch." if kept else "no epoch was done yet."), file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        return refuse(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
