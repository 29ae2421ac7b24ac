"""The network and its weights: one class, one file.

Everything that belongs to the weights travels in `model.safetensors`: the tensors, and in its header, as JSON, the
constructor's arguments, the temperature, how the weights were made, a hash of the tensors and a self-test.
"""

import copy
import hashlib
import json
import re
from pathlib import Path

import torch
from huggingface_hub import ModelCard, PyTorchModelHubMixin, hf_hub_download
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

HERE = Path(__file__).parent
WEIGHTS = HERE / "weights"  # the folder of the weights that come with the code
WEIGHTS_FILE = "model.safetensors"
HEADER = "digitvision"  # the key of our JSON in the header of the safetensors file
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")  # ORG/NAME or ORG/NAME@REVISION


class DigitNet(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="digitvision",
    license="apache-2.0",
    pipeline_tag="image-classification",
    tags=["handwritten-digits", "mnist", "gradio"],
):
    """A convolutional network that gives ten logits for a 28x28 picture of a digit.

    A 5x5 stem with stride 2 and a 3x3 layer on 14x14, a 3x3 layer with stride 2 and two more on 7x7, each with batch norm and
    ReLU, and a fully connected head. `channels` are the widths of the layers on 14x14, of the one that leads to 7x7, and of the
    last two. `facts` is the JSON of the weights file's header, {} for a network that was not loaded; `temperature` (a positive
    number) divides the logits.
    """

    def __init__(self, channels: list[int] = (32, 64, 128)):
        super().__init__()
        stem, middle, last = channels
        self.features = nn.Sequential(
            *_layer(1, stem, kernel=5, stride=2),  # (B, stem, 14, 14)
            *_layer(stem, stem),
            *_layer(stem, middle, stride=2),  # (B, middle, 7, 7)
            *_layer(middle, last),
            *_layer(last, last),
            nn.Flatten(),  # (B, 49 * last); where a stroke lies tells digits apart
        )
        self.head = nn.Linear(49 * last, 10)
        self.channels = list(channels)
        self.facts: dict = {}
        self.temperature = 1.0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (B, 10) for float images (B, 1, 28, 28), normalised as `preprocess.to_tensor` does."""
        return self.head(self.features(images))  # (B, 10)

    @torch.inference_mode()
    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """Return calibrated probabilities (B, 10), float32: softmax of the logits over the temperature (Guo et al. 2017)."""
        return (self(images) / self.temperature).softmax(dim=1)

    def folded(self) -> "DigitNet":
        """Return a copy that gives the same answers sooner: batch norm inside the convolutions, channels last. In eval mode."""
        net = copy.deepcopy(self).eval()
        layers = [fuse_conv_bn_eval(layer, after) if isinstance(after, nn.BatchNorm2d) else layer
                  for layer, after in zip(net.features, [*net.features[1:], None], strict=True)
                  if not isinstance(layer, nn.BatchNorm2d)]
        net.features = nn.Sequential(*layers)
        return net.to(memory_format=torch.channels_last)

    @classmethod
    def _from_pretrained(cls, *, model_id, revision, cache_dir, force_download, local_files_only, token, **_):
        """Load a folder or a hub repository for the mixin's `from_pretrained`; never a pickled file, as the mixin would."""
        folder = Path(model_id)
        if not folder.is_dir():
            return load_weights(hf_hub_download(
                model_id, WEIGHTS_FILE, revision=revision, cache_dir=cache_dir, force_download=force_download,
                local_files_only=local_files_only, token=token))
        return load_weights(folder / WEIGHTS_FILE)

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write the weights file for the mixin's `save_pretrained`, which adds config.json and the card."""
        save_weights(self, save_directory / WEIGHTS_FILE)

    def generate_model_card(self, *_, **__) -> ModelCard:
        """Return the project's own card, so that a copy of the weights carries it."""
        return ModelCard.load(HERE / "MODEL_CARD.md")


def _layer(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    """Return convolution, batch norm and ReLU; size kept but for the stride."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


def save_weights(net: DigitNet, path: str | Path) -> None:
    """Write tensors and header into one file, by one rename: a reader sees the old file or the new one, whole."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in net.state_dict().items()}
    facts = {**net.facts, "channels": net.channels, "temperature": net.temperature, "hash": tensors_hash(tensors)}
    # one key alone: safetensors writes several in any order, and the same weights would not be the same bytes
    save_file(tensors, path, metadata={HEADER: json.dumps(facts, sort_keys=True)})
    Path(path).chmod(0o644)  # safetensors leaves it to its owner alone: a container's user could not read it


def load_weights(path: str | Path) -> DigitNet:
    """Return the network of a weights file, in eval mode, after every check that needs no picture.

    Raises FileNotFoundError or ValueError with a sentence for a file that is missing, damaged, or not one of ours.
    float16 and float64 tensors are converted to float32.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No weights at {path}. Run 'make train', or name another folder with --weights.")
    remedy = "Take a fresh copy, or run 'make train'."
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get(HEADER, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except Exception as error:  # safetensors and json each raise their own; all mean the same here
        raise ValueError(f"{path} is damaged or is no safetensors file. {remedy}") from error
    if not isinstance(facts, dict) or "channels" not in facts:
        raise ValueError(f"{path} holds the weights of some other network. Name a file that train.py wrote.")
    try:
        net = DigitNet(channels=facts["channels"])
        expected = net.state_dict()
        wrong = sorted(expected.keys() ^ tensors.keys())
        wrong += [name for name in expected.keys() & tensors.keys() if expected[name].shape != tensors[name].shape]
        temperature = float(facts["temperature"])
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        raise ValueError(f"The header of {path} is damaged. {remedy}") from error
    if wrong:
        raise ValueError(f"{path} does not fit the network: {', '.join(wrong[:3])} is missing, foreign or has another "
                         f"shape. Name a file that train.py wrote.")
    if not all(tensor.isfinite().all() for tensor in tensors.values()) or not 0 < temperature < 100:
        raise ValueError(f"{path} holds numbers that are not finite. {remedy}")
    if facts.get("hash") != tensors_hash(tensors) and all(t.dtype == expected[n].dtype for n, t in tensors.items()):
        raise ValueError(f"The tensors in {path} are not those that were saved. {remedy}")
    net.load_state_dict(tensors)
    net.facts, net.temperature = facts, temperature
    return net.eval()


def find_weights(name: str | Path | None = None) -> DigitNet:
    """Return the network that a user names: None for the weights beside this module, a folder, a file, or a hub id.

    A hub id is ORG/NAME or ORG/NAME@REVISION; an existing folder or file wins over it. Raises FileNotFoundError, ValueError
    or ConnectionError with a sentence.
    """
    path = Path(WEIGHTS if name is None else name)
    if path.is_dir():
        return load_weights(path / WEIGHTS_FILE)
    if path.suffix == ".safetensors" or path.exists() or not HUB_NAME.fullmatch(str(name)):
        return load_weights(path)
    repository, _, revision = str(name).partition("@")
    try:
        return DigitNet.from_pretrained(repository, revision=revision or None)
    except ValueError:
        raise
    except Exception as error:  # whatever the hub client raises, the user can do the same three things
        raise ConnectionError(f"No weights at {name}: there is no such folder here, and the hub gave none. Check the name, "
                              "the revision and the network, or leave --weights out.") from error


def tensors_hash(tensors: dict[str, torch.Tensor]) -> str:
    """Return the SHA-256, in hexadecimal, of the names, dtypes, shapes and bytes of some tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
