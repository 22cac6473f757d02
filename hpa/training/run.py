"""One training run: what it is made of, and where it stands."""

from dataclasses import dataclass, field
from pathlib import Path

import pydantic
import torch
from accelerate import Accelerator
from timm.utils import ModelEmaV3
from torch import nn

from hpa.training.config import LoopConfig
from hpa.training.history import History
from hpa.training.task import Task


class LoopState(pydantic.BaseModel):
    """Where a run stands, apart from its tensors.

    Attributes:
        epoch: the epoch in work, counted from 0.
        step: its next optimiser step, counted from 0.
        updates: optimiser steps done since the run began.
        losses: of the steps done in this epoch.
        seconds: spent in this epoch.
        training_seconds: of them in steps, without checkpoints.
        best_value: of the monitored metric (negated where less is better); None before there is one.
        epochs_without_gain: since the last best value.
        is_finished: whether nothing is left to train.
        history: of the finished epochs.
    """

    model_config = pydantic.ConfigDict(extra="forbid")

    epoch: int = 0
    step: int = 0
    updates: int = 0
    losses: list[float] = pydantic.Field(default_factory=list)
    seconds: float = 0.0
    training_seconds: float = 0.0
    best_value: float | None = None
    epochs_without_gain: int = 0
    is_finished: bool = False
    history: History = pydantic.Field(default_factory=History)


@dataclass
class Run:
    """What a training is made of.

    Attributes:
        model: the bare model, without the wrappers of several processes or mixed precision.
        average: the moving average of its weights, if the configuration asks for one.
        optimizer: over the model's parameters.
        task: what is trained.
        accelerator: device, precision and processes.
        config: what decides the weights.
        folder: where checkpoints and history go.
        state: where the run stands.
    """

    model: nn.Module
    average: ModelEmaV3 | None
    optimizer: torch.optim.Optimizer
    task: Task
    accelerator: Accelerator
    config: LoopConfig
    folder: Path
    state: LoopState = field(default_factory=LoopState)

    @property
    def judged(self) -> nn.Module:
        """The model that is validated and kept: the moving average, or the model itself."""
        return self.model if self.average is None else self.average.module
