"""A network lent out for an explanation, and given back as it was."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Evaluation mode with gradients, whatever the caller's modes; all modes are restored, after an exception too.

    Gradient checkpointing, which would run layers a second time during the way back, is off meanwhile. Whoever uses it
    calls `torch.autograd.grad`, which leaves the parameters' gradients alone, and removes its own hooks.
    """
    modes = [(module, module.training) for module in model.modules()]
    checkpointing = [module for module in model.modules() if getattr(module, "grad_checkpointing", False) is True]
    try:
        model.eval()
        for module in checkpointing:
            module.grad_checkpointing = False  # type: ignore[assignment]
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        for module in checkpointing:
            module.grad_checkpointing = True  # type: ignore[assignment]
        for module, is_training in modes:
            module.training = is_training
