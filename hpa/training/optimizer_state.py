"""An optimiser's state as tensors and JSON: what checkpoints hold, whatever optimiser of timm's it is."""

from collections.abc import Mapping
from typing import Any

import torch

from hpa.training.checkpoints import CheckpointError


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], Any]:
    """The state's tensors by name, and the JSON-able rest, which names them.

    Raises:
        ValueError: the optimiser keeps something that is neither tensor nor plain value.
    """
    tensors: dict[str, torch.Tensor] = {}
    return tensors, _pack(optimizer.state_dict(), "state", tensors)


def fill_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor], plain: Any) -> None:
    """Give an optimiser the state that `flatten_optimizer` took.

    Raises:
        CheckpointError: it is not such a state, or of an optimiser over other parameters.
    """
    try:
        state = _unpack(plain, tensors)
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for number, slots in state["state"].items():
            for name, slot in slots.items():
                if isinstance(slot, torch.Tensor) and slot.shape == parameters[number].shape:
                    # In the parameter's own memory layout (channels last): sums over another one may round otherwise.
                    slots[name] = torch.empty_like(parameters[number], dtype=slot.dtype, device="cpu").copy_(slot)
        optimizer.load_state_dict(state)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise CheckpointError(f"the checkpoint's optimiser state is of another model or optimiser: {error}") from None


def _pack(value: Any, place: str, tensors: dict[str, torch.Tensor]) -> Any:
    """JSON of nested values; containers are tagged, since JSON has no tuples and no keys but text."""
    if isinstance(value, torch.Tensor):
        tensors[place] = value
        return {"tensor": place}
    if isinstance(value, dict):
        return {"dict": [[key, _pack(inner, f"{place}.{key}", tensors)] for key, inner in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_pack(inner, f"{place}.{number}", tensors) for number, inner in enumerate(value)]}
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise ValueError(f"optimizer: its {place} is a {type(value).__name__}, which no checkpoint can hold; use another")


def _unpack(value: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    match kind:
        case "tensor":
            return tensors[content]
        case "dict":
            return {key: _unpack(inner, tensors) for key, inner in content}
        case "list":
            return [_unpack(inner, tensors) for inner in content]
        case "tuple":
            return tuple(_unpack(inner, tensors) for inner in content)
    raise ValueError(f"unknown tag {kind!r}")
