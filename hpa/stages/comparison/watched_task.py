"""A task whose validations someone looks at, and whose epochs may be shortened; the loop sees a task like any other."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from hpa.arrays import Integer
from hpa.training import Batch, Sample, StatefulTask, Step


class WatchedTask:
    """Does what a task does, and tells of each validation.

    Args:
        task: what is trained.
        watch: called on the main process after each validation with the epoch, counted from 1, and its metrics; what
            it raises ends the training, whose checkpoint stays that of the epoch before.
        order: which samples an epoch reads, in the place of the task's own order.

    Attributes:
        sample: the task's own, which worker processes call.
        collate: the task's own.
    """

    def __init__(
        self,
        task: StatefulTask,
        watch: Callable[[int, Mapping[str, float]], None] | None = None,
        order: Callable[[int], np.ndarray] | None = None,
    ) -> None:
        self._task, self._watch, self._order = task, watch, order
        self._epoch = 0
        self.sample: Callable[[int, int], Sample] = task.sample
        self.collate: Callable[[Sequence[Sample]], Batch] = task.collate

    def order(self, epoch: int) -> Integer[np.ndarray, " samples"]:
        """Which samples an epoch reads; the loop asks at the beginning of each epoch, also of one that goes on."""
        self._epoch = epoch
        return self._task.order(epoch) if self._order is None else self._order(epoch)

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> torch.Tensor:
        """The task's loss."""
        return self._task.loss(model, batch, step)

    def validate(self, model: nn.Module, accelerator: Accelerator) -> Mapping[str, float]:
        """The task's metrics, shown to who watches."""
        metrics = self._task.validate(model, accelerator)
        if self._watch is not None and accelerator.is_main_process:
            self._watch(self._epoch + 1, metrics)
        return metrics

    def state(self, accelerator: Accelerator) -> dict[str, torch.Tensor]:
        """The task's memory."""
        return self._task.state(accelerator)

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take up what `state` gave; raises as the task does."""
        self._task.load_state(state)
