"""Files that are whole or not there: written by one rename, and tensors with a header that vouch for themselves."""

import contextlib
import hashlib
import json
import logging
import os
import re
import sys
from pathlib import Path

import torch
from safetensors.torch import load, save

HEADER = "digitvision"  # the key of our JSON in the header of a safetensors file
KINDS = (torch.float32, torch.float64, torch.float16, torch.int64)  # of the numbers in a file; the last count batches
REMEDY = "Take a fresh copy, or run 'make train'."
FOREIGN = "{} holds the weights of some other network. Name a file that train.py wrote."
PART = re.compile(r"\..+\.(\d+)\.part")  # a file that a program, by this number, is writing


def pack(tensors: dict[str, torch.Tensor], facts: dict) -> bytes:
    """Return the bytes of a safetensors file with `facts` and the hashes of both in its header."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    facts = {**facts, "hash": tensors_hash(tensors)}
    facts["header_hash"] = facts_hash(facts)
    # one key alone: safetensors writes several in any order, and the same weights would not be the same bytes
    return save(tensors, metadata={HEADER: json.dumps(facts, sort_keys=True)})


def unpack(content: bytes, name: str) -> tuple[dict[str, torch.Tensor], dict]:
    """Return (tensors, facts) of what `pack` made. float16 and float64 tensors come back as float32, and the log says so.

    Raises ValueError with a sentence, in which the file is called `name`, for anything else and for what was changed since.
    Nothing in the file is ever run: a pickled one is refused like any other that is no safetensors file.
    """
    try:
        tensors = load(content)
        header = json.loads(content[8:8 + int.from_bytes(content[:8], "little")])  # as the format has it
        facts = json.loads(header.get("__metadata__", {}).get(HEADER, "null"))
        header_hash = facts_hash(facts) if isinstance(facts, dict) else ""
    except Exception as error:  # safetensors and json each raise their own; all mean the same here
        raise ValueError(f"{name} is damaged or is no safetensors file. {REMEDY}") from error
    if not isinstance(facts, dict):
        raise ValueError(FOREIGN.format(name))
    if facts.get("header_hash") != header_hash:
        raise ValueError(f"The header of {name} is damaged. {REMEDY}")
    kinds = {tensor.dtype for tensor in tensors.values()}
    strange = sorted(str(kind).removeprefix("torch.") for kind in kinds - {*KINDS})
    if strange:
        raise ValueError(f"{name} holds {strange[0]} numbers. Take a copy in float32, float16 or float64, or run 'make train'.")
    tensors = {each: tensor if tensor.dtype == torch.int64 else tensor.float() for each, tensor in tensors.items()}
    rounded = torch.float16 in kinds  # the hash is that of the numbers before; the self-test remains
    if not isinstance(facts.get("hash"), str) or not rounded and facts["hash"] != tensors_hash(tensors):
        raise ValueError(f"The tensors in {name} are not those that were saved. {REMEDY}")
    if kinds & {torch.float16, torch.float64}:
        logging.getLogger("digitvision").warning("%s holds %s numbers; they were converted to float32%s.", name,
                                                 "float16" if rounded else "float64", ", unchecked by its hash" if rounded else "")
    return tensors, facts


def tensors_hash(tensors: dict[str, torch.Tensor]) -> str:
    """Return the SHA-256, in hexadecimal, of the names, dtypes, shapes and bytes of some tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def facts_hash(facts: dict) -> str:
    """Return the SHA-256, in hexadecimal, of the JSON of a header, but for this hash itself."""
    rest = {name: value for name, value in facts.items() if name != "header_hash"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def write_whole(path: str | Path, content: bytes) -> None:
    """Write a file by one rename, the disk asked to have it first: whoever looks, also after a power cut, finds the old file or
    the new one, whole. Raises OSError with a sentence; the old file is untouched then."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            with contextlib.suppress(OSError):  # there is no old file, or a disk that knows no modes
                os.chmod(part, path.stat().st_mode & 0o777)  # who may read the old one may read the new one, and nobody else
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        raise OSError(f"{path} cannot be written ({error.strerror}); what was there is untouched. Make room, or name another "
                      f"folder.") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    with contextlib.suppress(OSError):  # Windows opens no folders, and some network disks sync none
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_parts(folder: Path) -> None:
    """Remove what programs that were killed while they wrote left in a folder; what a living one writes stays."""
    for part in folder.glob(".*.part"):
        found = PART.fullmatch(part.name)
        if found and not _is_alive(int(found[1])):
            with contextlib.suppress(OSError):
                part.unlink()


def _is_alive(process: int) -> bool:
    """Return whether another process runs; on Windows no one needs to know: files that are open cannot be removed there."""
    if os.name == "nt" or process == os.getpid():
        return False
    try:
        os.kill(process, 0)  # sends nothing
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def refuse(error: ValueError | OSError) -> int:
    """Say on standard error what an error means to a user; return the exit code for it, 2."""
    sentence = str(error)
    if getattr(error, "strerror", None):  # the system's own: nobody put it into words yet
        sentence = (f"{error.filename} cannot be used ({error.strerror}). Mend that, or name another place." if error.filename else
                    f"What was to be printed or written could not be ({error.strerror}). Make room, or name another place.")
        if error.filename is None:  # what could not be printed would be tried again at the end, with a page of text
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    print(sentence, file=sys.stderr)
    return 2
