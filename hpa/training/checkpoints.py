"""Checkpoints: tensors and JSON in one safetensors file, replaced atomically; nothing is ever unpickled."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from hpa.artifacts import atomic_write

LAST = "last.safetensors"
BEST = "best.safetensors"
_META = "hpa"


class CheckpointError(ValueError):
    """A file that is no checkpoint of ours, is damaged, or does not fit the model or run it is loaded into."""


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], meta: Mapping[str, Any]) -> None:
    """Write tensors and a JSON value in one file that replaces `path` when it is whole.

    Needs memory for a second copy of the tensors while it writes.

    Args:
        path: ends in `.safetensors`.
        tensors: by name; on any device, shared memory allowed.
        meta: JSON-able.

    Raises:
        OSError: a full disk or a folder that cannot be written, with the path; an earlier file at `path` is as it was.
    """
    content = safetensors.torch.save(_separate(tensors), metadata={_META: json.dumps(meta)})
    try:
        with atomic_write(path, "wb") as stream:
            stream.write(content)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror or error}; the earlier checkpoint is kept", str(path)) from error


def _separate(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Contiguous copies on the CPU where tied weights share memory, which the format has no notion of."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().to("cpu").contiguous()
        storage = tensor.untyped_storage()
        is_part = storage.nbytes() != tensor.nbytes or storage.data_ptr() in seen
        seen.add(storage.data_ptr())
        result[name] = tensor.clone() if is_part else tensor
    return result


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote: tensors on the CPU, and the JSON value.

    Raises:
        CheckpointError: anything but such a file, a pickle above all; nothing in it is executed.
        FileNotFoundError: no file.
    """
    # safe_open's own error for a missing file lacks errno; opening first also gives PermissionError its name.
    with path.open("rb") as stream:
        start = stream.read(2)
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as stored:
            meta = json.loads((stored.metadata() or {})[_META])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a mapping
    except (safetensors.SafetensorError, KeyError, json.JSONDecodeError) as error:
        is_pickle = start == b"PK" or start[:1] == b"\x80"
        found = "looks like a pickle (torch.save, which can run code when it is read)" if is_pickle else "is damaged"
        raise CheckpointError(
            f"{path}: expected a checkpoint in safetensors format written by hpa, but the file {found}. It was refused "
            f"and nothing in it was executed; remove it, or put back the right file ({error})"
        ) from None
    if not isinstance(meta, dict):
        raise CheckpointError(f"{path}: expected a JSON object in the header, but got {type(meta).__name__}")
    return tensors, meta


def save_weights(path: Path, model: nn.Module, meta: Mapping[str, Any]) -> None:
    """Write a model's weights and buffers alone, to predict with; see `save_tensors`."""
    save_tensors(path, model.state_dict(), meta)


def load_weights(path: Path, model: nn.Module) -> dict[str, Any]:
    """Read `save_weights`'s file into a model and return its JSON value.

    Raises:
        CheckpointError: see `load_tensors`; or names and shapes that differ from the model's.
        FileNotFoundError: no file.
    """
    tensors, meta = load_tensors(path)
    fill_module(model, tensors, str(path))
    return meta


def fill_module(model: nn.Module, tensors: Mapping[str, torch.Tensor], origin: str) -> None:
    """Copy tensors into a model of the same names and shapes.

    Raises:
        CheckpointError: they differ; says which, and `origin`. The model is as it was.
    """
    own = model.state_dict()
    problems = [f"{name} is missing" for name in own if name not in tensors]
    problems += [f"{name} is not in the model" for name in tensors if name not in own]
    problems += [
        f"{name} has shape {tuple(tensors[name].shape)}, the model's {tuple(own[name].shape)}"
        for name in own
        if name in tensors and tensors[name].shape != own[name].shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise CheckpointError(f"{origin}: is of another model: {'; '.join(problems[:5])}{more}")
    model.load_state_dict(dict(tensors))


def remove_leftovers(folder: Path) -> None:
    """Remove what killed writes left beside the checkpoints."""
    for name in (LAST, BEST):
        for path in folder.glob(f".{name}.*"):
            path.unlink(missing_ok=True)
