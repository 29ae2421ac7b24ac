"""The network and its weights: one class, one file.

Everything that belongs to the weights travels in `model.safetensors`: the tensors, and in its header, as JSON, the
constructor's arguments, the temperature, how the weights were made, hashes of both and a self-test.
"""

import copy
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from huggingface_hub import (
    ModelCard,
    PyTorchModelHubMixin,
    constants,
    get_hf_file_metadata,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from files import FOREIGN, REMEDY, pack, unpack, write_whole

HERE = Path(__file__).parent
WEIGHTS = HERE / "weights"  # the folder of the weights that come with the code
WEIGHTS_FILE = "model.safetensors"
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")  # ORG/NAME or ORG/NAME@REVISION
PATIENCE = 5  # seconds that the hub may be silent before it counts as out of reach
LARGEST = 100_000_000  # bytes of a weights file that is opened or fetched; one of ours has some two million
COMMIT = re.compile("[0-9a-f]{40}")  # the name of a state of a repository that never changes
SURE = 0.99  # of a probability; a picture that reaches it at first sight is not looked at again (no mistake more: LOG.md)


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
    last two. A `lean` network is that of the quick recipe: three layers without a border, on 12x12, 5x5 and 3x3, of these widths.
    `facts` is the JSON of the weights file's header, {} for a network that was not loaded; `temperature` (a positive number)
    divides the logits.
    """

    def __init__(self, channels: list[int] = (32, 64, 128), lean: bool = False):
        super().__init__()
        stem, middle, last = channels
        if lean:
            layers = [*_layer(1, stem, kernel=5, stride=2, border=0),  # (B, stem, 12, 12)
                      *_layer(stem, middle, stride=2, border=0), *_layer(middle, last, border=0)]  # (B, last, 3, 3)
        else:
            layers = [*_layer(1, stem, kernel=5, stride=2, border=2), *_layer(stem, stem),  # (B, stem, 14, 14)
                      *_layer(stem, middle, stride=2), *_layer(middle, last), *_layer(last, last)]  # (B, last, 7, 7)
        self.features = nn.Sequential(*layers, nn.Flatten())  # where a stroke lies tells digits apart
        self.head = nn.Linear((9 if lean else 49) * last, 10)
        self.channels, self.lean = list(channels), lean
        self.facts: dict = {}
        self.temperature = 1.0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (B, 10) for float images (B, 1, 28, 28), normalised as `preprocess.to_tensor` does.

        In eval mode those of a picture in doubt are the mean of two looks, at the picture and at the picture moved by half a pixel
        down and to the right: pixels between pixels are what a network knows best that learned from turned and bent pictures. A
        lean network, which learned from pictures as they are, looks once.
        """
        first = self.head(self.features(images))
        if self.training or self.lean:
            return first
        again = self._shares(first).amax(dim=1, keepdim=True) < SURE  # (B, 1)
        return torch.where(again, (first + self._second_look(images)) / 2, first)

    @torch.inference_mode()
    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """Return calibrated probabilities (B, 10), float32: softmax of the logits over the temperature (Guo et al. 2017).

        The same as by `forward` in eval mode, but only what is in doubt is looked at again.
        """
        logits = self.head(self.features(images))
        probabilities = self._shares(logits)
        again = probabilities.amax(dim=1) < SURE  # (B,)
        if again.any() and not self.lean:
            probabilities[again] = self._shares((logits[again] + self._second_look(images[again])) / 2)
        return probabilities

    def _second_look(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (B, 10) for images moved by half a pixel."""
        return self.head(self.features(F.avg_pool2d(F.pad(images, (1, 0, 1, 0), mode="replicate"), 2, stride=1)))

    def _shares(self, logits: torch.Tensor) -> torch.Tensor:
        return (logits / self.temperature).softmax(dim=1)

    def folded(self) -> "DigitNet":
        """Return a copy that gives the same answers sooner: batch norm inside the convolutions, channels last. In eval mode."""
        net = copy.deepcopy(self).eval()
        layers = [fuse_conv_bn_eval(layer, after) if isinstance(after, nn.BatchNorm2d) else layer
                  for layer, after in zip(net.features, [*net.features[1:], None], strict=True)
                  if not isinstance(layer, nn.BatchNorm2d)]
        net.features = nn.Sequential(*layers)
        return net.to(memory_format=torch.channels_last)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, *, revision: str | None = None, token=None,
                        cache_dir: str | Path | None = None, force_download: bool = False, local_files_only: bool = False,
                        **_) -> "DigitNet":
        """Return the network of a folder, or of a hub repository ORG/NAME at a branch, tag or commit of it, in eval mode.

        In place of the mixin's, which asks for config.json first, takes pickled files, and waits 24 seconds for a hub that is
        out of reach. Raises what `load_weights` and `fetch_weights` raise.
        """
        folder = Path(pretrained_model_name_or_path)
        if folder.is_dir() or not HUB_NAME.fullmatch(str(pretrained_model_name_or_path)):
            return load_weights(folder / WEIGHTS_FILE)
        return load_weights(fetch_weights(str(pretrained_model_name_or_path), revision, token=token, cache_dir=cache_dir,
                                          force_download=force_download, local_files_only=local_files_only))

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write the weights file for the mixin's `save_pretrained`, which adds config.json and the card."""
        save_weights(self, save_directory / WEIGHTS_FILE)

    def generate_model_card(self, *_, **__) -> ModelCard:
        """Return the project's own card, so that a copy of the weights carries it; on the hub it is called README.md."""
        return ModelCard.load(HERE / ("MODEL_CARD.md" if (HERE / "MODEL_CARD.md").exists() else "README.md"))


def _layer(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, border: int = 1) -> list[nn.Module]:
    """Return convolution, batch norm and ReLU; `border` is in pixels of nothing around the input."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=border, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


def save_weights(net: DigitNet, path: str | Path) -> None:
    """Write tensors, as float32, and header into one file by `write_whole`. Raises OSError with a sentence."""
    tensors = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in net.state_dict().items()}
    facts = {**net.facts, "channels": net.channels, "lean": net.lean, "temperature": net.temperature}
    write_whole(path, pack(tensors, facts))


def load_weights(path: str | Path) -> DigitNet:
    """Return the network of a weights file, in eval mode, after every check that needs no picture.

    Raises OSError or ValueError with a sentence for a file that is missing, damaged, or not one of ours.
    """
    path = Path(path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a folder, or a pipe that would never end
            raise FileNotFoundError
        # not mapped into memory: whoever cut the file meanwhile would end this program
        content = path.read_bytes() if status.st_size <= LARGEST else None
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(f"No weights at {path}. Run 'make train', or name another folder with --weights.") from error
    except OSError as error:
        raise PermissionError(f"{path} cannot be read ({error.strerror}). Mend that, or name another folder with "
                              f"--weights.") from error
    if content is None:
        raise ValueError(f"{path} has {status.st_size / 1e6:,.0f} MB and is some other network's. Name a file that train.py wrote.")
    return to_net(content, str(path))


def to_net(content: bytes, name: str) -> DigitNet:
    """Return the network of the bytes of a weights file, in eval mode; `name` is what the sentence of a ValueError calls it."""
    tensors, facts = unpack(content, name)
    if "channels" not in facts:
        raise ValueError(FOREIGN.format(name))
    try:
        channels, lean, temperature = facts["channels"], facts.get("lean", False), facts["temperature"]
        if not all(type(width) is int and width > 0 for width in channels) or type(lean) is not bool or not (
                type(temperature) in (int, float) and 0 < temperature < 100):
            raise ValueError("numbers that cannot be")
        with torch.device("meta"):  # shapes alone: no width, however large, takes memory before the file is known to fill it
            expected = DigitNet(channels=channels, lean=lean).state_dict()
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"The header of {name} is damaged. {REMEDY}") from error
    wrong = sorted(expected.keys() ^ tensors.keys())
    wrong += [each for each in expected if each in tensors and expected[each].shape != tensors[each].shape]
    if wrong:
        raise ValueError(f"{name} does not fit the network: {', '.join(wrong[:3])} is missing, foreign or has another "
                         f"shape. Name a file that train.py wrote.")
    if any(expected[each].dtype != tensor.dtype or not tensor.isfinite().all() for each, tensor in tensors.items()):
        raise ValueError(f"{name} holds numbers that are not finite, or whole ones where there must be others. {REMEDY}")
    net = DigitNet(channels=channels, lean=lean)
    net.load_state_dict(tensors)
    net.facts, net.temperature = facts, float(temperature)
    return net.eval()


def find_weights(name: str | Path | None = None) -> DigitNet:
    """Return the network that a user names: None for the weights beside this module, a folder, a file, or a hub id.

    A hub id is ORG/NAME or ORG/NAME@REVISION; an existing folder or file wins over it, and then nothing is asked of the hub.
    Raises FileNotFoundError, ValueError, PermissionError or ConnectionError with a sentence.
    """
    path = Path(WEIGHTS if name is None else name)
    if os.path.isdir(path):  # Path.is_dir raises for what this user may not see
        return load_weights(path / WEIGHTS_FILE)
    if path.suffix == ".safetensors" or os.path.exists(path) or not HUB_NAME.fullmatch(str(name)):
        return load_weights(path)
    repository, _, revision = str(name).partition("@")
    return DigitNet.from_pretrained(repository, revision=revision or None)


@contextmanager
def named_by(flag: str) -> Iterator[None]:
    """Let what `find_weights` raises speak of another flag than --weights."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise type(error)(str(error).replace("--weights", flag)) from error


def fetch_weights(repository: str, revision: str | None = None, *, token=None, cache_dir: str | Path | None = None,
                  force_download: bool = False, local_files_only: bool = False) -> Path:
    """Return the path of the weights file of a hub repository, in the hub client's own cache; fetch it if it is not there.

    One look and one download: the hub client would try again for 24 seconds, and for ever where a connection breaks half-way
    each time. Where the hub is out of reach, what was fetched before is used. Only a file that is whole and loads is kept.
    Raises ValueError, PermissionError, FileNotFoundError or ConnectionError with a sentence.
    """
    name = f"{repository}@{revision}" if revision else repository
    kept = None
    try:
        if not force_download:
            kept = try_to_load_from_cache(repository, WEIGHTS_FILE, cache_dir, revision)
        if isinstance(kept, str) and (local_files_only or COMMIT.fullmatch(revision or "")):
            return Path(kept)
        if local_files_only:
            raise OfflineModeIsEnabled("local_files_only")
        found = get_hf_file_metadata(hf_hub_url(repository, WEIGHTS_FILE, revision=revision), token=token, timeout=PATIENCE)
        if not COMMIT.fullmatch(found.commit_hash or ""):
            raise ConnectionError("an answer that is no hub's, as pages give that want a login for the network")
    except Exception as error:
        failure = hub_failure(error, repository, revision)
        if isinstance(kept, str) and isinstance(failure, ConnectionError):
            return Path(kept)
        raise failure from error
    if (found.size or 0) > LARGEST:
        raise ValueError(f"The {WEIGHTS_FILE} of {name} has {found.size / 1e6:,.0f} MB and is some other network's. Name a "
                         f"repository that scripts/publish.py filled.")
    folder = Path(cache_dir or constants.HF_HUB_CACHE, repo_folder_name(repo_id=repository, repo_type="model"))
    path = folder / "snapshots" / found.commit_hash / WEIGHTS_FILE  # as the hub client lays it where links are not possible
    reference = folder / "refs" / (revision or "main")  # says which commit a branch or tag was, for when the hub is away
    needed = force_download or not os.path.isfile(path)  # Path.is_file raises for what this user may not see
    content = _download(hf_hub_url(repository, WEIGHTS_FILE, revision=found.commit_hash), found, token, name) if needed else None
    try:
        for file in (path, reference):
            file.parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            write_whole(path, content)
        reference.write_text(found.commit_hash)
    except OSError as error:
        reason = error.strerror or error.__cause__.strerror
        raise PermissionError(f"{name} cannot be kept in {folder}: {reason}. Name another place with HF_HOME.") from error
    return path


def _download(url: str, found, token, name: str) -> bytes:
    """Return the file of a URL, if it has the size and hash that `found` gives, and loads.

    Raises what `fetch_weights` raises for a hub that refuses, breaks off, or sends something else.
    """
    try:
        answer = get_session().get(url, headers=build_hf_headers(token=token), timeout=PATIENCE, follow_redirects=True)
        hf_raise_for_status(answer)
        content = answer.content
    except Exception as error:
        if getattr(error, "response", None) is not None:
            raise hub_failure(error, name) from error
        raise ConnectionError(f"The connection broke while {name} was fetched. Try again.") from error
    etag = found.etag or ""  # of a large file the SHA-256, in hexadecimal
    if len(content) != (found.size or len(content)) or len(etag) == 64 and hashlib.sha256(content).hexdigest() != etag:
        raise ConnectionError(f"The weights of {name} arrived damaged. Try again.")
    to_net(content, f"{name}/{WEIGHTS_FILE}")  # raises for what does not load
    return content


def hub_failure(error: Exception, repository: str, revision: str | None = None) -> Exception:
    """Return the error, with a sentence, that says what an error of the hub client means to who asked for a repository.

    A ConnectionError where it may be another answer another time, a PermissionError for what a token decides, else a ValueError.
    """
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, HFValidationError):
        return ValueError(f"{repository} is no name that the hub allows. Check it.")
    if isinstance(error, RevisionNotFoundError):
        return ValueError(f"{repository} has no revision {revision}. Name a branch, a tag or a commit of it, or none.")
    if isinstance(error, EntryNotFoundError):
        return ValueError(f"{repository} holds no {WEIGHTS_FILE}, so it is none of ours. Name a repository that "
                          f"scripts/publish.py filled.")
    if status == 401 and ("Invalid credentials" in str(error) or "Invalid user token" in str(error)):
        return PermissionError("The hub does not know your token. Log in anew with 'hf auth login', or correct HF_TOKEN.")
    if status == 403:
        return PermissionError(f"Your token has no right to {repository}. Use one that has: 'hf auth login' takes it, or HF_TOKEN.")
    if isinstance(error, RepositoryNotFoundError) or status in (401, 404):
        return ValueError(f"There is no {repository} here, and on the hub none that you may see. Check the name; for a private "
                          f"one, log in with 'hf auth login'.")
    if isinstance(error, OfflineModeIsEnabled):
        return ConnectionError(f"The hub may not be asked for {repository}, which is not on this disk. Take HF_HUB_OFFLINE out of "
                               f"the environment, or local_files_only out of the call.")
    if status:
        return ConnectionError(f"The hub failed at {repository} (status {status}). Try again later.")
    return ConnectionError(f"The hub is out of reach, and {repository} with it. Check the network, and HF_ENDPOINT where set.")
