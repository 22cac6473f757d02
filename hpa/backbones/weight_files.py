"""Files of weights that others wrote: read as tensors only, their names brought to those of the model."""

import pickle
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file

CONTAINERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "module", "net")
"""Keys under which training programs keep the tensors in a file, an average of weights before the weights."""

LONGEST_PREFIX = 3


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Tensors by name, of a safetensors file or of a torch file; nothing in it is executed.

    Raises:
        ValueError: no such file, not a file of weights, more in it than tensors and plain values, or no tensors.
    """
    if not path.is_file():
        raise ValueError(f"{path}: expected a file of weights (safetensors or torch), but there is none")
    if path.suffix == ".safetensors":
        try:
            return dict(load_file(path))
        except (safetensors.SafetensorError, OSError) as error:
            raise ValueError(f"{path}: is not a readable safetensors file ({error})") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of other pickle protocols, which it reads or refuses anyway
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path}: refused, it holds more than tensors and plain values, and reading it could run its code "
            f"({_first_line(error)}); save its state dict alone, as safetensors or with torch.save"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: is not a readable file of weights ({_first_line(error)})") from None
    tensors = _tensors(content)
    if not tensors:
        raise ValueError(f"{path}: expected tensors by name (a state dict), but got {_shown(content)}")
    return tensors


def strip_prefix(found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors under the names that the model uses, without a prefix such as `module.` or `backbone.`.

    Of all leading parts of the names, that prefix is taken that leaves most of the model's names; tensors without it
    keep their names.

    >>> strip_prefix({"module.fc.bias": torch.zeros(1)}, {"fc.bias": torch.zeros(1)})
    {'fc.bias': tensor([0.])}
    """
    prefixes = {""}
    for name in found:
        parts = name.split(".")
        prefixes.update(".".join(parts[:depth]) + "." for depth in range(1, min(len(parts), LONGEST_PREFIX + 1)))

    def fitting(prefix: str) -> int:
        return sum(name.startswith(prefix) and name.removeprefix(prefix) in wanted for name in found)

    best = max(sorted(prefixes, key=lambda prefix: (len(prefix), prefix)), key=fitting)
    # Names that have the prefix come last, so that they win over one that reads the same without it.
    ordered = sorted(found, key=lambda name: name.startswith(best))
    return {name.removeprefix(best): found[name] for name in ordered}


def rename_by_order(found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of the same network written under other names, in the same order, under the names of the model.

    Raises:
        ValueError: another number of tensors, or one that stands where another kind (weight, bias, ...) or another
            number of axes is wanted.
    """
    if len(found) != len(wanted):
        raise ValueError(f"expected {len(wanted)} tensors in order, but got {len(found)}")
    for ours, theirs in zip(wanted, found, strict=True):
        if ours.rpartition(".")[2] != theirs.rpartition(".")[2] or wanted[ours].ndim != found[theirs].ndim:
            raise ValueError(f"expected a tensor for {ours!r}, but got {theirs!r} in its place")
    return dict(zip(wanted, found.values(), strict=True))


def _tensors(content: object) -> dict[str, torch.Tensor]:
    if not isinstance(content, Mapping):
        return {}
    for key in CONTAINERS:
        inner = content.get(key)
        if isinstance(inner, Mapping) and (tensors := _tensors(inner)):
            return tensors
    return {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}


def _shown(content: object) -> str:
    if isinstance(content, Mapping):
        keys: Sequence[object] = list(content)[:5]
        return f"a mapping with the keys {keys}"
    return type(content).__name__


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
