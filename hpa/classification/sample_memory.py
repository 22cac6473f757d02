"""What a training remembers of each sample: sums that are exact in any order, so that a resumed run has the same."""

from collections.abc import Mapping

import numpy as np
import torch
from accelerate import Accelerator

from hpa.arrays import Float, Float64, Int64

STEPS_PER_UNIT = 2.0**32
"""Values are remembered in steps of 1 / this, as integers: their sums do not depend on the order of the samples, on
the processes that read them, or on where a run was killed. A sum may reach 2^31 in size."""

LARGEST = 2.0**20
"""Greater values are remembered as this: at least 2,000 of them can be added."""


class SampleMemory:
    """Sums of values per sample, over all times that it was read, by all processes.

    What this process read since the last exchange is kept apart, so that an exchange counts nothing twice; processes
    exchange in `state`, which the training loop calls at the end of each epoch and at checkpoints.

    Args:
        samples: how many.
        width: values of each.
    """

    def __init__(self, samples: int, width: int) -> None:
        self._shared = torch.zeros(samples, width + 1, dtype=torch.int64)  # the last column counts
        self._own = torch.zeros_like(self._shared)

    def add(self, index: Int64[torch.Tensor, " batch"], values: Float[torch.Tensor, "batch width"]) -> None:
        """Remember values of some samples; they stay on the device of the values, and carry no gradient.

        NaN counts as 0: the training loop stops at a loss that is not finite.
        """
        steps = values.detach().float().nan_to_num(posinf=LARGEST, neginf=-LARGEST).clamp(-LARGEST, LARGEST)
        steps = (steps * STEPS_PER_UNIT).round().long()
        self._shared, self._own = self._shared.to(values.device), self._own.to(values.device)
        self._own.index_add_(0, index.to(values.device), torch.cat([steps, torch.ones_like(steps[:, :1])], dim=1))

    def forget(self) -> None:
        """Begin again with nothing."""
        self._shared.zero_()
        self._own.zero_()

    def exchange(self, accelerator: Accelerator) -> torch.Tensor:
        """Tell the other processes what this one read, and learn what they did; called on every process.

        Returns:
            int64 (samples, width + 1): sums in steps, and counts; to be given to `restore`.
        """
        own: torch.Tensor = self._own
        if accelerator.num_processes > 1:
            own = accelerator.reduce(own.to(accelerator.device), reduction="sum")
        self._shared = self._shared.to(own.device) + own
        self._own = torch.zeros_like(self._shared)
        return self._shared.clone()

    def restore(self, steps: torch.Tensor) -> None:
        """Take up what `exchange` gave.

        Raises:
            ValueError: it is of other samples or values.
        """
        if steps.shape != self._shared.shape or steps.dtype != torch.int64:
            raise ValueError(
                f"expected a memory of shape {tuple(self._shared.shape)} in whole steps, but got "
                f"{tuple(steps.shape)} of {steps.dtype}; the checkpoint is of a run with other images or settings"
            )
        self._shared = steps.clone()
        self._own = torch.zeros_like(steps)

    @property
    def counts(self) -> Int64[torch.Tensor, " samples"]:
        """How often each sample was read, as far as this process knows."""
        return self._shared[:, -1] + self._own[:, -1]

    @property
    def means(self) -> Float[torch.Tensor, "samples width"]:
        """Mean values of each sample, float32, as far as this process knows; 0 for samples never read."""
        total = self._shared[:, :-1] + self._own[:, :-1]
        # float32 of an integer is rounded once; the divisions are by small whole numbers and a power of two.
        return total.float() / STEPS_PER_UNIT / self.counts.clamp(min=1)[:, None]

    def sums(self) -> tuple[Float64[np.ndarray, "samples width"], Int64[np.ndarray, " samples"]]:
        """Sums and counts as arrays, as far as this process knows."""
        total = (self._shared + self._own).cpu().numpy()
        return total[:, :-1] / STEPS_PER_UNIT, total[:, -1].copy()


def taken(state: Mapping[str, torch.Tensor], name: str) -> torch.Tensor:
    """A tensor of a task's memory out of a checkpoint.

    Raises:
        ValueError: it is not there.
    """
    if name not in state:
        raise ValueError(
            f"the checkpoint holds no memory {name!r}; it is of a run with other settings, remove it to start again"
        )
    return state[name]
