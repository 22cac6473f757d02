"""Batches made ahead of the model by worker processes."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch.utils.data import DataLoader, Dataset, Sampler

from hpa.parallel import available_cores
from hpa.training.batches import Indices
from hpa.training.config import MachineConfig
from hpa.training.task import Batch, Sample

Key = tuple[int, int]  # index, epoch


class BatchLoader:
    """Batches of the given indices, on the device; the workers live from the first epoch to the last.

    Args:
        sample: gives one sample from (index, epoch); picklable where the platform starts workers afresh.
        collate: puts samples together; picklable likewise.
        accelerator: where the batches go.
        machine: number of workers and how far they work ahead.
    """

    def __init__(
        self,
        sample: Callable[[int, int], Sample],
        collate: Callable[[list[Sample]], Batch],
        accelerator: Accelerator,
        machine: MachineConfig,
    ) -> None:
        self._sampler = _PartSampler()
        self._device = accelerator.device
        loaders = _loaders(accelerator, machine)
        self._loader: DataLoader[Sample] = DataLoader(
            _Samples(sample),
            batch_sampler=self._sampler,
            collate_fn=collate,
            num_workers=loaders,
            prefetch_factor=machine.prefetch if loaders else None,
            persistent_workers=loaders > 0,
            pin_memory=self._device.type == "cuda",
            worker_init_fn=limit_threads,
            # Its own generator: the loader draws from it when it starts, and torch's global one belongs to the steps.
            generator=torch.Generator(),
        )

    def batches(self, parts: Sequence[Indices], epoch: int) -> Iterator[Batch]:
        """One batch per part, in order, its tensors on the device.

        Raises:
            Exception: what `sample` or `collate` raised, with the worker's traceback in its message.
        """
        self._sampler.parts, self._sampler.epoch = parts, epoch
        for batch in self._loader:
            yield send_to_device(batch, self._device, non_blocking=True)


class _Samples(Dataset[Sample]):
    def __init__(self, sample: Callable[[int, int], Sample]) -> None:
        self.sample = sample

    def __getitem__(self, key: Key) -> Sample:
        return self.sample(*key)


class _PartSampler(Sampler[list[Key]]):
    def __init__(self) -> None:
        self.parts: Sequence[Indices] = ()
        self.epoch = 0

    def __iter__(self) -> Iterator[list[Key]]:
        return iter([(int(index), self.epoch) for index in part] for part in self.parts)

    def __len__(self) -> int:
        return len(self.parts)


def limit_threads(worker: int) -> None:
    """Keep a worker to one thread: there is one worker per core, and more threads would fight for it."""
    torch.set_num_threads(1)
    with contextlib.suppress(ImportError):
        import cv2

        cv2.setNumThreads(0)


def _loaders(accelerator: Accelerator, machine: MachineConfig) -> int:
    if machine.loaders is not None:
        return machine.loaders
    if accelerator.device.type == "cpu":
        return 0
    beside = _processes_here(accelerator)
    return max(1, min(16, available_cores() // beside))


def _processes_here(accelerator: Accelerator) -> int:
    """Training processes on this machine, as the launcher says."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes))
