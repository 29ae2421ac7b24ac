"""Put the weights, the page, and the network for other runtimes where people find them: on the Hugging Face hub.

    python scripts/publish.py model ORG/digitvision     weights, card, figures, and the modules that read pictures with them
    python scripts/publish.py space ORG/digitvision     the page and the API, as a Space
    python scripts/publish.py onnx ORG/digitvision      the network as model.onnx; without ORG/NAME it is written, not sent

Each checks first that card, numbers, figures and weights belong together. --dry-run lists what would be sent, and sends nothing.
"""

import argparse
import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch
from huggingface_hub import CommitOperationAdd, HfApi, constants, get_session, get_token
from huggingface_hub.utils import disable_progress_bars

import evaluate
from console import Parser
from model import WEIGHTS, DigitNet, find_weights, hub_failure
from preprocess import see, to_tensor

NAME = "ORG/digitvision"  # stands in card and README for the name that is published
FRONT_MATTER = re.compile(r"---\n.*?\n---\n", re.DOTALL)
WEIGHTS_FILES = ("model.safetensors", "config.json", "metrics.json")
ONNX_FILE = "model.onnx"
ONNX_TOLERANCE = 1e-5  # of a probability, between onnxruntime and torch
TESTS = "tests/test_model.py"  # of the weights; evaluate.check reads the examples


# --- what is sent -------------------------------------------------------------------------------------------------------

def modules(name: str) -> list[str]:
    """Return the file names of a module of ours and of all of ours that it imports, at whatever depth, sorted."""
    found, queue = set(), [f"{name}.py"]
    while queue:
        file = queue.pop()
        if file not in found and (ROOT / file).is_file():
            found.add(file)
            for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [
                    alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                queue += [f"{imported.split('.')[0]}.py" for imported in names]
    return sorted(found)


def serving_requirements() -> str:
    """Return the lines of requirements.txt before those that only training and measuring need."""
    return (ROOT / "requirements.txt").read_text(encoding="utf-8").split("# what only training")[0]


def model_files(name: str) -> dict[str, bytes]:
    """Return {path: content} of what a model repository gets: weights, numbers, card, figures, and the road of a picture."""
    card = (ROOT / "MODEL_CARD.md").read_text(encoding="utf-8").replace(NAME, name).replace("](weights/figures/", "](figures/")
    needed = [line for line in serving_requirements().splitlines(keepends=True)
              if not line.startswith(("#", "gradio", "python-multipart"))]  # no page, no uploads
    files = {"README.md": card.encode(), "requirements.txt": "".join(needed).encode()}
    files |= {file: (WEIGHTS / file).read_bytes() for file in WEIGHTS_FILES}
    files |= {f"figures/{path.name}": path.read_bytes() for path in sorted((WEIGHTS / "figures").glob("*.png"))}
    return files | {file: (ROOT / file).read_bytes() for file in [*modules("fields"), "LICENSE"]}


def space_files(name: str, model: str) -> dict[str, bytes]:
    """Return {path: content} of what a Space gets: the app, what it imports and shows, its settings; no tests, no data."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").replace(NAME, model)
    front = FRONT_MATTER.match(readme)[0]
    summary = readme[len(front):].strip().split("\n\n")[1]  # the paragraph after the title
    text = f"{front}\n# DigitVision\n\n{summary}\n\nWeights, numbers and limits: [{model}]({constants.ENDPOINT}/{model}).\n"
    card = (ROOT / "MODEL_CARD.md").read_text(encoding="utf-8").replace(NAME, model)
    files = {"README.md": text.encode(), "requirements.txt": serving_requirements().encode(),
             "MODEL_CARD.md": card.encode()}
    files |= {file: (ROOT / file).read_bytes() for file in [*modules("app"), "page.js", "page.css", "LICENSE"]}
    shown = [*(WEIGHTS / file for file in WEIGHTS_FILES), *(WEIGHTS / "figures").glob("*.png"),
             *(ROOT / "examples").glob("[0-9]*_*")]  # else whatever somebody put there would be sent
    return files | {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in shown}


class Probabilities(torch.nn.Module):
    """The network with what `DigitNet.probabilities` does inside: images (B, 1, 28, 28) to probabilities (B, 10), float32."""

    def __init__(self, net: DigitNet):
        super().__init__()
        self.net, self.temperature = net, net.temperature

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (self.net(images) / self.temperature).softmax(dim=1)


def write_onnx(net: DigitNet, path: Path) -> None:
    """Write a network as one ONNX file, with input `images`, output `probabilities` and B free, and read it again to compare.

    The file's metadata names the hash of the weights. Raises ValueError with a sentence where onnxruntime gives other answers
    than torch, or where the packages are missing.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  torch's exporter needs it, and says so in a page of text
    except ImportError as error:
        raise ValueError(f"Writing ONNX needs {error.name}. Run 'pip install -r requirements-dev.txt'.") from error
    program = torch.onnx.export(
        Probabilities(net).eval(), (torch.zeros(2, 1, 28, 28),), input_names=["images"], output_names=["probabilities"],
        dynamic_shapes={"images": {0: torch.export.Dim("B")}}, dynamo=True, verbose=False)
    program.model.metadata_props["digitvision_weights"] = net.facts.get("hash", "")
    program.save(path, external_data=False)
    noise = torch.randn(5, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    images = torch.cat([noise, to_tensor(see(ROOT / "examples" / "7_crossed_transparent.png")[None])])  # in doubt, and sure
    read = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"images": images.numpy()})[0]
    if not abs(torch.from_numpy(read) - net.probabilities(images)).max() < ONNX_TOLERANCE:
        raise ValueError("onnxruntime gives other answers than torch. Compare their versions with those of requirements-dev.txt.")


# --- checking and sending -----------------------------------------------------------------------------------------------

def check(tests: bool) -> None:
    """Raise ValueError with a sentence unless card, numbers, figures and weights belong together, and the weights' tests pass."""
    if wrong := evaluate.check(None, None):
        raise ValueError(f"{' '.join(wrong)} Run 'make evaluate' and look at what changed; nothing was sent.")
    if tests and importlib.util.find_spec("pytest") is None:
        raise ValueError("The tests of the weights cannot run; nothing was sent. Run 'pip install -r requirements-dev.txt' first.")
    if tests and subprocess.run([sys.executable, "-m", "pytest", "-q", TESTS], cwd=ROOT, capture_output=True).returncode:
        raise ValueError(f"The tests of the weights fail; nothing was sent. Run 'python -m pytest {TESTS}' to see them.")


def fail_at_once() -> None:
    """Let the first failure end a request of the hub client, which would go on for 23 seconds."""
    client = get_session()
    client.timeout = 30  # seconds of silence; the hub client sets none
    send = client.send

    def once(*request, **more):
        try:
            answer = send(*request, **more)
        except OSError:  # the client was told to stay offline
            raise
        except Exception as error:
            raise ConnectionError("The connection to the hub failed. Check the network, and run the same command again.") from error
        if answer.status_code >= 500:
            raise ConnectionError(f"The hub failed (status {answer.status_code}). Run the same command again later.")
        return answer

    client.send = once


def log_in(name: str) -> None:
    """Raise PermissionError or ConnectionError with a sentence unless there is a token, and the hub knows it."""
    if not get_token():
        raise PermissionError(f"There is no token to write to {name} with. Log in with 'hf auth login', or set HF_TOKEN.")
    try:
        HfApi().whoami()
    except Exception as error:
        raise in_words(error, name) from error


def push(kind: str, name: str, files: dict[str, bytes], private: bool = False) -> str:
    """Send files to a repository of a kind, "model" or "space", in one commit; make it if it is not there; return its address.

    Raises ValueError, PermissionError or ConnectionError with a sentence.
    """
    api = HfApi()
    try:
        api.create_repo(name, repo_type=kind, private=private, exist_ok=True, space_sdk="gradio" if kind == "space" else None)
        operations = [CommitOperationAdd(path, content) for path, content in files.items()]
        api.create_commit(name, operations, repo_type=kind, commit_message=f"DigitVision {find_weights().facts['hash'][:12]}")
    except Exception as error:
        raise in_words(error.__cause__ if isinstance(error, RuntimeError) else error, name) from error  # uploads wrap theirs
    return f"{constants.ENDPOINT}/{'spaces/' if kind == 'space' else ''}{name}"


def in_words(error: Exception, name: str) -> Exception:
    """Return the error with a sentence that says what a failure to write means."""
    if type(error) is ConnectionError:  # ours already
        return error
    if isinstance(error, ValueError):
        return ValueError(f"The hub refuses what is to be sent to {name}: {' '.join(str(error).split())}")
    return hub_failure(error, name)


# --- the command line ---------------------------------------------------------------------------------------------------

def repository(text: str) -> str:
    """Return the name of a repository; argparse turns the error into a sentence and exit code 2."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name on the hub. Give ORG/NAME, {NAME} for one.")
    return text


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the flags of a command line."""
    parser = Parser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("what", choices=("model", "space", "onnx"))
    parser.add_argument("name", nargs="?", type=repository, metavar="ORG/NAME", help="repository on the hub, made if need be")
    parser.add_argument("--model", type=repository, metavar="ORG/NAME", help="model that a Space names (default: its own name)")
    parser.add_argument("--out", type=Path, metavar="FILE", default=ROOT / "runs" / ONNX_FILE,
                        help=f"where the ONNX file is written (default: runs/{ONNX_FILE})")
    parser.add_argument("--private", action="store_true", help="make a new repository private")
    parser.add_argument("--dry-run", action="store_true", help="check, and list every file with its size; send nothing")
    flags = parser.parse_args(arguments)
    if not flags.name and not flags.dry_run and flags.what != "onnx":
        parser.error("ORG/NAME is missing. Name the repository, or add --dry-run.")
    return flags


def run(flags: argparse.Namespace) -> None:
    """Check, list or send what the flags name."""
    send, name = flags.name and not flags.dry_run, flags.name or NAME
    if send:
        log_in(name)
    check(tests=flags.what == "model")
    if flags.what == "model":
        files, use = model_files(name), f"Recognizer.from_pretrained({name!r}).read('7.png')"
    elif flags.what == "space":
        files = space_files(name, flags.model or name)
        use = f"Client({name!r}).predict(handle_file('7.png'), api_name='/predict')"
    else:
        flags.out.parent.mkdir(parents=True, exist_ok=True)
        write_onnx(find_weights(), flags.out)
        files = {ONNX_FILE: flags.out.read_bytes()}
        path = f"hf_hub_download({name!r}, {ONNX_FILE!r})" if send else repr(str(flags.out))
        use = f"onnxruntime.InferenceSession({path}).run(None, {{'images': to_tensor(seen).numpy()}})"
    size = f"{len(files)} file{'s' * (len(files) > 1)}, {sum(map(len, files.values())) / 1e6:.1f} MB"
    if flags.dry_run:
        for path, content in sorted(files.items()):
            print(f"{len(content):>10,}  {path}")
        print(f"{size}, for {name}. Nothing was sent.")
    elif send:
        print(f"Sent {size}: {push('space' if flags.what == 'space' else 'model', name, files, flags.private)}\n{use}")
    else:
        print(f"Wrote {flags.out}, {size}.\n{use}")


def main() -> int:
    """Run the command line; return its exit code."""
    flags = parse()
    disable_progress_bars()
    fail_at_once()
    try:
        run(flags)
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
