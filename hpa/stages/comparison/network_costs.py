"""What a network costs on this machine: parameters, images per second, memory of a training step."""

import contextlib
import ctypes
import gc
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from hpa.classification import ImageClassifier
from hpa.stages.comparison.compare_config import CostConfig
from hpa.stages.data.dataset import Dataset
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig
from hpa.stages.image_level.image_task import ImageTask, in_format
from hpa.stages.image_level.noise_tasks import build_network, build_task, loop_settings
from hpa.training import Step
from hpa.training.optimizer import build_optimizer


@dataclass(frozen=True)
class Costs:
    """What a network costs.

    Attributes:
        parameters: numbers that it has, learned or frozen.
        images_per_second: of inference, one view, images in memory.
        training_memory_gb: most that one optimiser step needs, in 10^9 bytes: memory of the GPU, or what the process
            grows by on the CPU; NaN where the system does not tell.
    """

    parameters: int
    images_per_second: float
    training_memory_gb: float


def measure_costs(
    training: TrainImageLevelConfig, data: Dataset, config: CostConfig, accelerator: Accelerator
) -> Costs:
    """Build the network of a training and measure it; the weights play no part.

    Args:
        training: gives network, batch size and precision.
        data: gives the images' size, channels and classes, and the first batch.
        config: how long to measure.
        accelerator: device and precision.
    """
    for _ in range(2):  # the first time, libraries take memory that they keep
        with _peak(accelerator.device) as peak:
            network = build_network(training, data).to(accelerator.device)
            _one_step(network, training, data, accelerator)
    memory = peak[0]
    parameters = sum(parameter.numel() for parameter in network.parameters())
    images = _images(data, config.batch_size)
    return Costs(parameters, _images_per_second(network, images, training, config, accelerator), memory / 1e9)


def _images(data: Dataset, count: int) -> torch.Tensor:
    """The first images of the cache, again from the first one where there are too few."""
    return torch.from_numpy(np.asarray(data.cache.pixels[np.arange(count) % len(data.images)]))


def _one_step(
    network: ImageClassifier, training: TrainImageLevelConfig, data: Dataset, accelerator: Accelerator
) -> None:
    """One optimiser step as the loop does it, on one micro-batch after another."""
    loop = loop_settings(training)
    rows = np.arange(len(data.images))
    task: ImageTask = build_task(training.model_copy(update={"decisions": None}), data, rows, rows[:1])
    size = max(1, -(-loop.batch_size // loop.accumulate))
    if loop.channels_last:
        network.to(memory_format=torch.channels_last)
    optimizer = build_optimizer(network, loop)
    network.train()
    numbers = np.resize(task.order(0), size)
    batch = task.collate([task.sample(int(number), 0) for number in numbers])
    batch = {name: values.to(accelerator.device) for name, values in batch.items()}
    for micro in range(min(2, loop.accumulate)):
        place = Step(0, micro, 1, loop.epochs, torch.Generator().manual_seed(0))
        with accelerator.autocast():
            loss = task.loss(network, batch, place)
        torch.autograd.backward(loss)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


@torch.no_grad()
def _images_per_second(
    network: ImageClassifier,
    images: torch.Tensor,
    training: TrainImageLevelConfig,
    config: CostConfig,
    accelerator: Accelerator,
) -> float:
    network.eval()
    images = images.to(accelerator.device)

    def seconds() -> float:
        begin = time.perf_counter()
        with accelerator.autocast():
            network(in_format(images, training))
        if accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begin

    seconds()
    taken: list[float] = []
    while not taken or sum(taken) < config.seconds:
        taken.append(seconds())
    return len(images) / statistics.median(taken)


@contextlib.contextmanager
def _peak(device: torch.device) -> Iterator[list[float]]:
    """Bytes by which memory rises at most within the block, written into the list at its end."""
    found = [float("nan")]
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        yield found
        found[0] = float(torch.cuda.max_memory_allocated(device) - before)
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # freed memory goes back to the system, or it would be used unseen (glibc)
    start = _resident("VmRSS")
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew (Linux, man 5 proc)
    yield found
    found[0] = max(0.0, _resident("VmHWM") - start)


def _resident(field: str) -> float:
    """A line of /proc/self/status in bytes; NaN where there is none."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return float(value.split()[0]) * 1024
    return float("nan")
