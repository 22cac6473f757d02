"""What the loop trains: a task gives samples, a loss and a validation, and knows what the tensors mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from hpa.arrays import Integer

Sample: TypeAlias = Mapping[str, Any]
"""One sample: arrays, tensors and numbers by name."""

Batch: TypeAlias = dict[str, Any]
"""Samples put together: tensors by name, the first axis counts the samples."""


@dataclass(frozen=True)
class Step:
    """Where the training stands while a loss is computed.

    Attributes:
        epoch: counted from 0.
        step: optimiser step within the epoch, counted from 0.
        steps: optimiser steps of this epoch.
        epochs: of the whole training.
        generator: randomness for the whole batch (mixup), on the CPU; seeded from (seed, epoch, step, part), so that a
            resumed run draws what an unbroken one would have drawn.
    """

    epoch: int
    step: int
    steps: int
    epochs: int
    generator: torch.Generator


@runtime_checkable
class Task(Protocol):
    """What the loop trains. Epochs and indices count from 0.

    `sample` and `collate` run in worker processes, on a copy of the task made when the workers start: they must be
    pure functions of their arguments and of what never changes, and the task must be picklable.
    """

    def order(self, epoch: int) -> Integer[np.ndarray, " samples"]:
        """Which samples an epoch reads, in which order; equal on every process, and at least one.

        A sampler's whole work: shuffled, repeated or left out as it likes; the length may differ between epochs.
        """

    def sample(self, index: int, epoch: int) -> Sample:
        """One sample; random choices come from (a seed, epoch, index) alone."""

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Put samples together; `torch.utils.data.default_collate` stacks arrays and tensors of equal shape."""

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> torch.Tensor:
        """The mean loss over the samples of the batch, a scalar with a gradient.

        The model must be called (`model(...)`), never one of its methods, or several processes lose their gradients.
        """

    def validate(self, model: nn.Module, accelerator: Accelerator) -> Mapping[str, float]:
        """Metrics of the model after an epoch; called on every process with equal weights.

        `hpa.training.infer` does the forward passes. NaN stands for a metric that is not defined.
        """


@runtime_checkable
class StatefulTask(Task, Protocol):
    """A task that remembers (losses per sample, say); its memory goes into the checkpoints."""

    def state(self, accelerator: Accelerator) -> dict[str, torch.Tensor]:
        """The memory of all processes together; called on every process, so that it may gather."""

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take up the memory that `state` gave; called on every process with the same tensors."""
