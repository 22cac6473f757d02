"""Training that went wrong: a loss or weights that are not finite."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from hpa.training.checkpoints import LAST
from hpa.training.run import Run


class TrainingDivergedError(ValueError):
    """The loss or a weight is NaN or infinite.

    Attributes:
        epoch: where it was seen, counted from 1.
        step: optimiser step of that epoch, counted from 1.
    """

    def __init__(self, what: str, epoch: int, step: int, checkpoint: Path) -> None:
        self.epoch, self.step = epoch, step
        kept = f"the last good checkpoint is {checkpoint}" if checkpoint.exists() else "there is no checkpoint yet"
        super().__init__(
            f"{what} in epoch {epoch}, step {step} (counted from 1); {kept}. Resuming would meet it again: lower "
            "learning_rate, set clip, lengthen warmup, or use precision=no, in a new folder"
        )


def require_finite_losses(losses: Sequence[float], run: Run) -> None:
    """Refuse losses of the steps that follow those in the run's state.

    Raises:
        TrainingDivergedError: one is not finite.
    """
    for ahead, loss in enumerate(losses):
        if not math.isfinite(loss):
            step = len(run.state.losses) + ahead + 1
            raise TrainingDivergedError(f"the loss is {loss}", run.state.epoch + 1, step, run.folder / LAST)


def require_finite_weights(model: nn.Module, run: Run) -> None:
    """Refuse weights before they are kept: a gradient can be infinite where the loss still was not.

    Raises:
        TrainingDivergedError: one is not finite.
    """
    if not torch.stack([parameter.isfinite().all() for parameter in model.parameters()]).all():
        raise TrainingDivergedError(
            "a weight is not finite after the update", run.state.epoch + 1, run.state.step, run.folder / LAST
        )
