"""Every setting of a training run, and the two recipes."""

from dataclasses import dataclass, field, replace

from model import WEIGHTS


def setting(default, text: str):
    """Return a dataclass field with the help text of its flag."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class TrainConfig:
    """Every setting of a training run. Read once, stored in the weights file."""

    data_dir: str = setting("data", "folder of MNIST; downloaded there where it is missing")
    out: str = setting(str(WEIGHTS), "folder to write the weights to")
    seed: int = setting(0, "reaches everything random")
    epochs: int = setting(24, "passes over the training pictures")
    batch_size: int = setting(256, "pictures a step")
    lr: float = setting(0.2, "learning rate at the peak of the one-cycle schedule (SGD, Nesterov momentum)")
    muon: float = setting(0.01, "the same of the convolutions' kernels, by Muon (Jordan et al. 2024); 0 leaves them to SGD")
    momentum: float = setting(0.9, "of SGD")
    weight_decay: float = setting(1e-4, "of convolutions and head, not of batch norm")
    label_smoothing: float = setting(0.05, "share of the target spread over all ten classes")
    averaging: float = setting(0.998, "decay a step of the moving average of the weights; the average is what is written")
    channels: str = setting("32,64,128", "widths of the network: stem, middle, last")
    lean: int = setting(0, "1 for a network of three layers without a border in place of five")
    strokes: str = setting("", "stroke files to learn from beside MNIST (.npz, commas between them); a fifth of the writers is "
                               "held back; letters and signs teach that no class is likely")
    renders: int = setting(4, "drawings made of every digit of the strokes, each with a pen of its own; half as many of the others")
    scribbles: int = setting(3000, "scribbles to learn from beside strokes that are no digits; and half as many halves of digits")
    numbers: int = setting(4000, "numbers composed of the strokes, of which the pieces that hold a digit are learned, and mixtures")
    extra: str = setting("", "folder of further pictures, one sub-folder per class")
    rotate: float = setting(14.0, "largest rotation, degrees")
    scale: float = setting(0.14, "largest change of width and of height, as a share")
    shear: float = setting(0.22, "largest slant, pixels across per pixel down")
    shift: float = setting(1.6, "largest shift, pixels")
    elastic: float = setting(0.9, "standard deviation of the elastic distortion, pixels (Simard et al. 2003)")
    thickness: float = setting(0.5, "share of pictures whose strokes are made thicker or thinner")
    neighbour: float = setting(0.15, "share of pictures into which a piece of another one reaches")
    filter: float = setting(0.1, "share of pictures seen through a random 3x3 filter (Xu et al. 2021)")
    noise: float = setting(0.1, "largest standard deviation of noise on the ink, of 1")
    erase: float = setting(0.1, "share of pictures from which a small square is erased")
    settle: float = setting(0.5, "share of these distortions that is gone at the end; they shrink over the last quarter of the run")
    teacher: str = setting("", "weights of networks (commas between them) that are asked about every distorted digit; their mean "
                               "answer is learned beside the label")
    trust: float = setting(0.7, "share of the target that is the teachers'; the rest is the label's")
    precision: str = setting("auto", "of the passes on a processor: float32, bfloat16, or auto: bfloat16 where the hardware "
                                     "multiplies it; so it is on an accelerator")
    threads: int = setting(0, "threads of torch; 0 takes one per core")


DISTORTIONS = ("rotate", "scale", "shear", "shift", "elastic", "thickness", "neighbour", "filter", "noise", "erase")

RECIPES = {
    "full": TrainConfig(),
    "quick": TrainConfig(out="runs/quick", epochs=2, batch_size=384, lr=1.2, muon=0.0, momentum=0.8, weight_decay=1e-3,
                         averaging=0.93, channels="16,32,32", lean=1, settle=0.0, threads=1, **dict.fromkeys(DISTORTIONS, 0.0)),
}


def settled(config: TrainConfig, progress: float) -> TrainConfig:
    """Return the configuration with the distortions of a moment of the run, 0 to 1: what is met in use is not distorted twice."""
    left = 1 - config.settle * min(1.0, max(0.0, progress - 0.75) / 0.2)
    return config if left == 1 else replace(config, **{name: left * getattr(config, name) for name in DISTORTIONS})


def check_settings(config: TrainConfig) -> None:
    """Raise ValueError with a sentence for a setting that cannot work."""
    widths = config.channels.split(",")
    if len(widths) != 3 or not all(width.isdecimal() and 1 <= int(width) <= 1024 for width in widths):
        raise ValueError(f"--channels {config.channels} is not three widths from 1 to 1024. Write them like 32,64,128.")
    if config.precision not in ("auto", "float32", "bfloat16"):
        raise ValueError(f"--precision {config.precision} is unknown. Give auto, float32 or bfloat16.")
    rules = [("epochs", 1, 10_000), ("batch_size", 2, 60_000), ("lr", 1e-8, 100), ("muon", 0, 1), ("momentum", 0, 0.999),
             ("weight_decay", 0, 1), ("label_smoothing", 0, 0.9), ("averaging", 0, 0.99999), ("lean", 0, 1), ("renders", 1, 100),
             ("rotate", 0, 180), ("scale", 0, 0.9), ("shear", 0, 2), ("shift", 0, 14), ("elastic", 0, 10),
             ("thickness", 0, 1), ("neighbour", 0, 1), ("filter", 0, 1), ("scribbles", 0, 10**6), ("noise", 0, 1), ("erase", 0, 1),
             ("numbers", 0, 10**6), ("settle", 0, 1), ("trust", 0, 1), ("threads", 0, 1024), ("seed", 0, 2**31)]
    for name, low, high in rules:
        if not low <= getattr(config, name) <= high:
            raise ValueError(f"--{name.replace('_', '-')} {getattr(config, name)} is out of range. Give a number from {low} "
                             f"to {high}.")
