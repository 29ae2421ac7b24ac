"""Learn: a training run under way, step by step and epoch by epoch, which can be saved and gone on with."""

import base64
import copy
import hashlib
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from tqdm import tqdm

from augment import augment
from data import NO_DIGIT, Pictures
from files import pack, unpack, write_whole
from measures import all_digits, calibrate, logits_of
from model import DigitNet, find_weights, named_by
from preprocess import normalise, to_tensor
from recipe import TrainConfig, settled

NOT_LEARNED = ("out", "data_dir", "threads")  # settings of a place or a machine: what is learned is the same by any
HISTORY = ("epoch", "train_loss", "validation_loss", "validation_accuracy", "seconds")
MUON_DECAY = 0.03  # of the kernels, times their learning rate: what keeps them about as large as they begin
KEPT_BYTES = 2**25 - 2**16  # glibc heeds no block over 32 MB


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Return the one-cycle rate (Smith and Topin 2018): a rise over the first fifth of the steps, then a cosine to zero."""
    rise = 0.2 * steps
    if step < rise:
        return peak * (0.04 + 0.96 * step / rise)
    return peak * 0.5 * (1 + float(np.cos(np.pi * (step - rise) / (steps - rise))))


def as_matrix(kernels: torch.Tensor) -> torch.Tensor:
    """Return kernels (out, in, H, W) in channels-last layout as a matrix (out, H * W * in) in the same memory."""
    return kernels.permute(0, 2, 3, 1).reshape(len(kernels), -1)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Tell whether a device multiplies bfloat16 in hardware: of processors, those with AMX or AVX512-BF16."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


@named_by("--teacher")
def open_teachers(names: str) -> list[DigitNet]:
    """Return the networks that --teacher names, commas between them. Raises what `find_weights` raises."""
    return [find_weights(name) for name in names.split(",") if name]


class Diverged(ValueError):
    """The loss of a run is no longer a number."""


class Run:
    """A training run under way: network, moving average, optimiser, position and history; can be saved and resumed."""

    def __init__(self, config: TrainConfig, pictures: Pictures, validation: Mapping[str, Pictures],
                 teachers: Sequence[DigitNet] = ()):
        """Take the settings, the pictures, and by their kinds those for validation, for each of which the limits will hold;
        `config` then says which precision "auto" is here, and who the teachers are."""
        torch.manual_seed(config.seed)
        self.kinds, self.validation = validation, all_digits(validation)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        precision = config.precision if self.device.type == "cpu" else "auto"
        if precision == "auto":
            precision = "bfloat16" if multiplies_bfloat16(self.device) else "float32"
        self.config = replace(config, precision=precision, teacher=",".join(net.facts.get("hash", "")[:12] for net in teachers))
        self.net = DigitNet(channels=[int(width) for width in config.channels.split(",")], lean=bool(config.lean))
        self.net = self.net.to(self.device, memory_format=torch.channels_last)
        self.teachers = [net.folded().to(self.device) for net in teachers]
        self.average, self.move = copy.deepcopy(self.net), get_ema_multi_avg_fn(config.averaging)
        self.kept, self.new = ([tensor for tensor in net.state_dict().values() if tensor.is_floating_point()]
                               for net in (self.average, self.net))  # found once: AveragedModel looks for them at every step
        self.kernels = [p for p in self.net.parameters() if p.ndim == 4] if config.muon else []
        self.matrices = [nn.Parameter(as_matrix(p.detach())) for p in self.kernels]  # in the same memory
        others = [p for p in self.net.parameters() if p.ndim < 4 or not config.muon]
        plain, weights = [p for p in others if p.ndim == 1], [p for p in others if p.ndim > 1]
        self.optimisers = {torch.optim.SGD(
            [{"params": weights, "weight_decay": config.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            momentum=config.momentum, nesterov=True): config.lr}  # and their learning rates at the peak
        if config.muon:
            self.optimisers[torch.optim.Muon(self.matrices, weight_decay=MUON_DECAY)] = config.muon
        self.ink = pictures.seen.to(self.device).unsqueeze(1)  # (N, 1, 28, 28) uint8
        self.labels = pictures.labels.to(self.device)
        self.epoch, self.step, self.history = 0, 0, []
        self.steps_an_epoch = max(1, len(pictures) // config.batch_size)
        # Once it has seen a block of this size go, glibc keeps what a step frees for the next one (mallopt(3), M_MMAP_THRESHOLD);
        # else it is given back and taken anew page by page: a tenth of a step, a sixth of a small one.
        torch.empty(KEPT_BYTES, dtype=torch.uint8)

    def train_step(self, rows: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """Learn from the pictures of these rows; return the loss, before the step, as a tensor without dimensions."""
        steps = self.config.epochs * self.steps_an_epoch
        for optimiser, peak in self.optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(self.step, steps, peak)
        config = settled(self.config, self.step / steps)
        images = normalise(augment(self.ink[rows].float() / 255, config, random))
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
            logits = self.net(images)  # (B, 10)
            loss = F.cross_entropy(logits.float(), self.targets(self.labels[rows], images))
        self.net.zero_grad()
        loss.backward()
        for kernel, matrix in zip(self.kernels, self.matrices, strict=True):
            matrix.grad = as_matrix(kernel.grad)
        for optimiser in self.optimisers:
            optimiser.step()
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
            raise Diverged("The loss is no longer a number. Lower --lr and run again; the old weights are untouched.")
        self.history.append(dict(zip(HISTORY, row, strict=True)))
        return self.history[-1]

    @cached_property
    def pictures_hash(self) -> str:
        """The SHA-256, in hexadecimal, of all that is learned from."""
        digest = hashlib.sha256(self.ink.cpu().numpy())
        digest.update(self.labels.cpu().numpy())
        return digest.hexdigest()

    def save(self, path: Path) -> None:
        """Write the whole state as tensors with a JSON header, by one rename; nothing is pickled."""
        tensors = {f"net.{name}": value for name, value in self.net.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for number, optimiser in enumerate(self.optimisers):
            for row, state in optimiser.state_dict()["state"].items():
                tensors[f"momentum.{number}.{row}"] = state["momentum_buffer"]
        header = {"config": asdict(self.config), "pictures": self.pictures_hash, "epoch": self.epoch, "step": self.step,
                  "history": self.history}
        write_whole(path, pack(tensors, header))

    def resume(self, path: Path) -> None:
        """Go on from a saved state. Raises ValueError with a sentence where it is damaged or where its settings differ."""
        useless = f"{path} is damaged, or another version's. Delete it and start again without --resume."
        try:
            tensors, header = unpack(path.read_bytes(), str(path))
            ours, theirs = asdict(self.config), header["config"]
            if not ours.keys() <= theirs.keys():
                raise KeyError("a setting that there was not yet")
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(useless) from error
        changed = sorted(name for name in ours if ours[name] != theirs[name] and name not in NOT_LEARNED)
        if changed:
            raise ValueError(f"The interrupted run had another --{changed[0].replace('_', '-')} "
                             f"({theirs[changed[0]]}). Give the same settings, or start again without --resume.")

        if header.get("pictures") != self.pictures_hash:
            raise ValueError("The interrupted run learned from other pictures: those of --data-dir, --strokes or --extra have "
                             "changed since. Give the same, or start again without --resume.")

        def part(prefix: str) -> dict:
            return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

        try:
            self.net.load_state_dict(part("net."))
            self.average.load_state_dict(part("average."))
        except RuntimeError as error:
            raise ValueError(useless) from error
        for number, optimiser in enumerate(self.optimisers):
            state = optimiser.state_dict()
            state["state"] = {int(row): {"momentum_buffer": value} for row, value in part(f"momentum.{number}.").items()}
            optimiser.load_state_dict(state)
        self.epoch, self.step, self.history = header["epoch"], header["step"], header["history"]

    def finished(self, sources: dict) -> DigitNet:
        """Return the averaged network with its temperature, and with all that is to be known of it in `facts`."""
        net = self.average.cpu().eval()
        first = self.validation.seen[0].numpy()
        recipe = {name: value for name, value in asdict(self.config).items() if name not in NOT_LEARNED}
        recipe |= {name: ",".join(Path(path).name for path in recipe[name].split(",")) for name in ("strokes", "extra")}
        net.facts = {
            "recipe": recipe,
            "seed": self.config.seed,
            "pictures": sources,
            "history": [{name: value for name, value in row.items() if name != "seconds"} for row in self.history],
            "validation_accuracy": self.history[-1]["validation_accuracy"],
            "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__},
        }
        calibrate(net, self.kinds)
        net.facts["self_test"] = {"seen": base64.b64encode(first.tobytes()).decode(),
                                  "probabilities": net.probabilities(to_tensor(first[None]))[0].tolist()}
        return net
