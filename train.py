"""Learn from MNIST, and from pen strokes and folders of pictures, and write weights/.

    python train.py --strokes digits.npz,letters.npz,symbols.npz     the recipe of the weights in this repository
    python train.py --recipe quick                                   a small network in ten seconds, for trying things

Every setting is a field of `recipe.TrainConfig`; its flag appears by itself.
"""

import argparse
import csv
import io
import json
import math
import os
import signal
import sys
import tempfile
import time
from dataclasses import fields, replace
from pathlib import Path


def stop_early(*_) -> None:
    """Heed a Ctrl-C that comes while torch is still being imported."""
    os.write(2, b"\nStopped. Nothing was begun yet.\n")
    os._exit(130)


if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, stop_early)

import numpy as np
import torch

from composing import calibrate_numbers, render_cuts
from console import Parser
from data import (
    NO_DIGIT,
    Pictures,
    Strokes,
    are_whole,
    load_folder,
    load_mnist,
    load_strokes,
    render,
    split_mnist,
    split_writers,
)
from fields import FieldReader
from files import refuse, remove_parts, write_whole
from learning import HISTORY, Diverged, Run, open_teachers
from model import WEIGHTS, WEIGHTS_FILE, DigitNet, save_weights
from no_digits import render_halves, render_scribbles
from recipe import RECIPES, TrainConfig, check_settings
from recognize import Recognizer

TRIALS = 10_000  # of one search, at most: months
CHECKPOINT = "checkpoint.safetensors"  # in the output folder, while a run is under way


# --- a whole run --------------------------------------------------------------------------------------------------------

def load_pictures(config: TrainConfig) -> tuple[Pictures, dict[str, Pictures], dict, Strokes | None]:
    """Return training pictures, validation pictures by their kinds (MNIST's, drawings by the unseen writers), how many came from
    where, and the unseen writers' strokes, None where no stroke files are named."""
    strokes = load_strokes(config.strokes) if config.strokes else None  # what a user names first: MNIST may have to be fetched
    more = load_folder(config.extra) if config.extra else None
    pictures, mnist = split_mnist(load_mnist(config.data_dir, train=True))
    sources, unseen, validation = {"mnist": len(pictures), "mnist_validation": len(mnist)}, None, {"MNIST": mnist}
    if strokes is not None:
        strokes, unseen = split_writers(strokes)
        drawings, held = render(strokes, config.renders, config.seed), render(unseen[are_whole(unseen.samples)], 1, 0)
        others = [render_cuts(strokes, pictures, config.numbers, config.seed)] if config.numbers else []
        if (drawings.labels == NO_DIGIT).any():
            others += [render_scribbles(config.scribbles, config.seed), render_halves(strokes, config.scribbles // 2, config.seed)]
        drawings = sum(others, drawings)
        no_digits = int((drawings.labels == NO_DIGIT).sum())
        sources |= {"strokes": len(drawings) - no_digits, "no_digits": no_digits,
                    "strokes_validation": int((held.labels != NO_DIGIT).sum())}
        pictures, validation = pictures + drawings, {**validation, "drawings": held}
    if more is not None:
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
    """Remove what a killed run left half-written in the folder that a run will write to.

    Raises OSError with a sentence, before hours are spent, where nothing can be written there.
    """
    try:
        tempfile.TemporaryFile(dir=next(folder for folder in (out, *out.parents) if folder.exists())).close()
        for file in (WEIGHTS_FILE, CHECKPOINT):
            if (out / file).is_dir():
                raise IsADirectoryError(None, f"{file} is a folder there")
    except OSError as error:
        raise OSError(f"The folder {out} cannot be written to ({error.strerror}). Name another one with --out.") from error
    remove_parts(out)


def train_and_save(config: TrainConfig, resume: bool = False) -> DigitNet:
    """Train by a configuration, write its folder (model.safetensors, config.json), return the network."""
    out = Path(config.out)
    if resume and not os.path.exists(out / CHECKPOINT):
        raise ValueError(f"There is no interrupted run in {out}. Start one without --resume.")
    prepare(out)
    started, teachers = time.perf_counter(), open_teachers(config.teacher)
    pictures, validation, sources, unseen = load_pictures(config)
    run = Run(config, pictures, validation, teachers)
    if resume:
        run.resume(out / CHECKPOINT)
    out.mkdir(parents=True, exist_ok=True)
    parameters, threads = sum(p.numel() for p in run.net.parameters()), torch.get_num_threads()
    print(f"seed {config.seed}, {parameters:,} parameters, on {run.device.type} in {run.config.precision} with "
          f"{threads} thread{'s' * (threads > 1)}; "
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
    write_whole(out / "config.json", (json.dumps({"channels": net.channels, "lean": net.lean}, indent=2) + "\n").encode())
    (out / CHECKPOINT).unlink(missing_ok=True)
    print(f"wrote {out / WEIGHTS_FILE}: {100 * net.facts['validation_accuracy']:.2f} % on {len(run.validation):,} validation "
          f"digits, temperature {net.temperature:.3f}, in {time.perf_counter() - started:.0f} s")
    return net


def dry_run(config: TrainConfig) -> None:
    """Learn from three batches and measure, end to end, writing nothing."""
    teachers = open_teachers(config.teacher)
    pictures, validation, sources, _ = load_pictures(replace(config, renders=1, numbers=min(config.numbers, 20)))
    run = Run(replace(config, epochs=1), pictures, {kind: some[:512] for kind, some in validation.items()}, teachers)
    print_row(run.train_epoch(steps=min(3, run.steps_an_epoch)))
    run.finished(sources)
    print("The dry run went through; nothing was written.")


def search(config: TrainConfig, trials: int) -> None:
    """Try random settings on the validation split; print them ranked and write search.csv, anew after every trial.

    It goes into runs/search unless --out says otherwise.
    """
    out = Path("runs/search" if config.out == str(WEIGHTS) else config.out)
    prepare(out)
    random, teachers = np.random.default_rng(config.seed), open_teachers(config.teacher)
    pictures, validation, *_ = load_pictures(config)
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for trial in range(1, trials + 1):
        tried = replace(config, lr=float(f"{10 ** random.uniform(-1.3, 0):.3g}"), batch_size=int(random.choice([64, 128, 256])),
                        epochs=int(random.integers(1, config.epochs + 1)),
                        muon=config.muon and float(f"{10 ** random.uniform(-2.5, -1.5):.3g}"),
                        weight_decay=float(f"{10 ** random.uniform(-5, -3):.3g}"))
        run = Run(tried, pictures, validation, teachers)
        try:
            while run.epoch < tried.epochs:
                last = run.train_epoch()
        except Diverged:
            last = {"validation_accuracy": 0.0, "validation_loss": math.inf}
        rows.append({"validation_accuracy": last["validation_accuracy"], "validation_loss": last["validation_loss"],
                     "lr": tried.lr, "muon": tried.muon, "batch_size": tried.batch_size, "epochs": tried.epochs,
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
    print(f"wrote {out / 'search.csv'}; seed {config.seed}, {sum(map(len, validation.values())):,} validation pictures")


# --- the command line ---------------------------------------------------------------------------------------------------

def parse(arguments: list[str] | None = None) -> tuple[TrainConfig, argparse.Namespace]:
    """Return the configuration and the other flags of a command line; the recipe gives the defaults."""
    first = Parser(add_help=False)
    first.add_argument("--recipe", choices=RECIPES, default="full",
                       help="whose defaults to take; quick learns a small network in ten seconds")
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
        if not 0 <= flags.search <= TRIALS:
            raise ValueError(f"--search {flags.search} is out of range. Give a number from 0 to {TRIALS}.")
        if flags.resume and (flags.search or flags.dry_run):
            raise ValueError("--resume goes with neither --search nor --dry-run, which have no run to go on with. Leave it out.")
        if flags.dry_run and flags.search:
            raise ValueError("--dry-run goes through a single run, and --search makes many. Leave one of them out.")
        torch.set_num_threads(config.threads or os.cpu_count() or 1)
        if flags.dry_run:
            dry_run(config)
        elif flags.search:
            search(config, flags.search)
        else:
            train_and_save(config, flags.resume)
        sys.stdout.flush()
    except KeyboardInterrupt:
        if flags.dry_run:
            left = "Nothing was written."
        elif flags.search:
            left = "The trials that ended are in search.csv."
        elif (Path(config.out) / CHECKPOINT).exists():
            left = f"The weights in {config.out} are whole; --resume goes on after the last whole epoch."
        else:
            left = f"The weights in {config.out} are whole; no epoch was done yet."
        print(f"\nStopped. {left}", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        return refuse(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
