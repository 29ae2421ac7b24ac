"""The network and its weights: one class, one file.

Everything that belongs to the weights travels in `model.safetensors`: the tensors, and in its header, as JSON, the
constructor's arguments, the temperature, how the weights were made, a hash of the tensors and a self-test.
"""

import copy
import hashlib
import json
import os
import re
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
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

HERE = Path(__file__).parent
WEIGHTS = HERE / "weights"  # the folder of the weights that come with the code
WEIGHTS_FILE = "model.safetensors"
HEADER = "digitvision"  # the key of our JSON in the header of the safetensors file
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")  # ORG/NAME or ORG/NAME@REVISION
PATIENCE = 5  # seconds that the hub may be silent before it counts as out of reach
LARGEST = 100_000_000  # bytes of a download; a weights file of ours has some two million
COMMIT = re.compile("[0-9a-f]{40}")  # the name of a state of a repository that never changes


class DigitNet(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="digitvision",
    license="apache-2.0",
    pipeline_tag="image-classification",
    tags=["handwritten-digits", "mnist", "gradio"],
):
    """A convolutional network that gives ten logits for a 28x28 picture of a digit.

    A 5x5 stem with stride 2, two 3x3 layers on 14x14, two on 7x7, each with batch norm and ReLU, the mean over the picture, a
    fully connected head. `channels` are the widths of the stem, of the middle and of the last layers. `facts` is the JSON of
    the weights file's header, {} for a network that was not loaded; `temperature` (a positive number) divides the logits.
    """

    def __init__(self, channels: list[int] = (32, 64, 128)):
        super().__init__()
        stem, middle, last = channels
        self.features = nn.Sequential(
            *_layer(1, stem, kernel=5, stride=2),  # (B, stem, 14, 14)
            *_layer(stem, middle),
            *_layer(middle, middle),
            nn.MaxPool2d(2),  # (B, middle, 7, 7)
            *_layer(middle, last),
            *_layer(last, last),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),  # (B, last)
        )
        self.head = nn.Linear(last, 10)
        self.channels = list(channels)
        self.facts: dict = {}
        self.temperature = 1.0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits (B, 10) for float images (B, 1, 28, 28), normalised as `preprocess.to_tensor` does.

        In eval mode they are the mean of two looks, at the picture and at the picture moved by half a pixel down and to the right:
        pixels between pixels are what a network knows best that learned from turned and bent pictures.
        """
        if self.training:
            return self.head(self.features(images))
        between = F.avg_pool2d(F.pad(images, (1, 0, 1, 0), mode="replicate"), 2, stride=1)  # (B, 1, 28, 28)
        looks = self.head(self.features(torch.cat([images, between])))  # (2B, 10)
        return looks.reshape(2, -1, 10).mean(dim=0)

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

    A hub id is ORG/NAME or ORG/NAME@REVISION; an existing folder or file wins over it, and then nothing is asked of the hub.
    Raises FileNotFoundError, ValueError, PermissionError or ConnectionError with a sentence.
    """
    path = Path(WEIGHTS if name is None else name)
    if path.is_dir():
        return load_weights(path / WEIGHTS_FILE)
    if path.suffix == ".safetensors" or path.exists() or not HUB_NAME.fullmatch(str(name)):
        return load_weights(path)
    repository, _, revision = str(name).partition("@")
    return DigitNet.from_pretrained(repository, revision=revision or None)


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
    try:
        for file in (path, reference):
            file.parent.mkdir(parents=True, exist_ok=True)
        if force_download or not path.is_file():
            _download(hf_hub_url(repository, WEIGHTS_FILE, revision=found.commit_hash), found, token, name, path)
        reference.write_text(found.commit_hash)
    except OSError as error:
        if error.strerror is None:  # a sentence of ours
            raise
        raise PermissionError(f"{name} cannot be kept in {folder}: {error.strerror}. Name another place with HF_HOME.") from error
    return path


def _download(url: str, found, token, name: str, path: Path) -> None:
    """Write the file of a URL to a path, by one rename, if it has the size and hash that `found` gives, and loads."""
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
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        part.write_bytes(content)
        load_weights(part)
        part.replace(path)
    except ValueError as error:
        raise ValueError(str(error).replace(str(part), f"{name}/{WEIGHTS_FILE}")) from error
    finally:
        part.unlink(missing_ok=True)


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


def tensors_hash(tensors: dict[str, torch.Tensor]) -> str:
    """Return the SHA-256, in hexadecimal, of the names, dtypes, shapes and bytes of some tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
