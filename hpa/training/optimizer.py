"""The optimiser: timm's, over groups of parameters that share a weight decay and a factor on the learning rate."""

from collections.abc import Mapping
from typing import Any

import timm.optim
import torch
from torch import nn

from hpa.training.config import LoopConfig


def parameter_groups(
    model: nn.Module, weight_decay: float, learning_rate_factors: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Parameters that train, grouped; `lr_scale` is each group's factor on the learning rate (timm's name for it).

    Vectors, biases and what the model's own `no_weight_decay()` names (timm's convention) have no weight decay.

    Raises:
        ValueError: a key of `learning_rate_factors` starts no parameter's name, or nothing trains.
    """
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not trained:
        raise ValueError("expected parameters to train, but every one has requires_grad=False")
    for prefix in learning_rate_factors:
        if not any(name.startswith(prefix) for name, _ in trained):
            known = sorted({name.partition(".")[0] for name, _ in trained})
            raise ValueError(
                f"learning_rate_factors: no trained parameter's name starts with {prefix!r}; they start with {known}"
            )
    no_weight_decay: Any = getattr(model, "no_weight_decay", None)
    spared = set(no_weight_decay()) if callable(no_weight_decay) else set()
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in trained:
        has_decay = parameter.ndim > 1 and not name.endswith(".bias") and name not in spared
        prefixes = [prefix for prefix in learning_rate_factors if name.startswith(prefix)]
        factor = learning_rate_factors[max(prefixes, key=len)] if prefixes else 1.0
        groups.setdefault((weight_decay if has_decay else 0.0, factor), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "lr_scale": factor}
        for (decay, factor), parameters in groups.items()
    ]


def build_optimizer(model: nn.Module, config: LoopConfig) -> torch.optim.Optimizer:
    """The optimiser of a configuration over the model's parameters.

    Raises:
        ValueError: see `parameter_groups`.
    """
    groups = parameter_groups(model, config.weight_decay, config.learning_rate_factors)
    optimizer: torch.optim.Optimizer = timm.optim.create_optimizer_v2(
        groups, opt=config.optimizer, lr=config.learning_rate
    )
    return optimizer


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Give each group the learning rate times its own factor."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get("lr_scale", 1.0)
