"""A model's outputs for many samples, shared among the processes, in the order that was asked for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import default_collate

from hpa.arrays import Integer
from hpa.progress import Silent, track
from hpa.training.config import MachineConfig
from hpa.training.loader import BatchLoader
from hpa.training.task import Batch, Sample

Predict = Callable[[nn.Module, Batch], Mapping[str, torch.Tensor]]


def infer(
    model: nn.Module,
    predict: Predict,
    sample: Callable[[int, int], Sample],
    indices: Integer[np.ndarray, " samples"],
    accelerator: Accelerator,
    batch_size: int = 32,
    collate: Callable[[list[Sample]], Batch] = default_collate,
    machine: MachineConfig | None = None,
    label: str = "predicting",
) -> dict[str, np.ndarray]:
    """Apply a model to samples, without gradients and in eval mode; its modules' modes are put back after.

    Called on every process of a run alike; each takes a share, and all get everything.

    Args:
        model: on the accelerator's device.
        predict: outputs of a batch by name, the first axis counts its samples; runs in the accelerator's precision,
            and its floating-point outputs become float32.
        sample: gives one sample from (index, epoch), with epoch 0.
        indices: which samples; may repeat.
        accelerator: the processes and the precision.
        batch_size: samples of one forward pass on one process.
        collate: puts samples together.
        machine: worker processes.
        label: what the progress bar says.

    Returns:
        Arrays by output's name, the first axis in the order of `indices`.

    Raises:
        ValueError: no indices, or an output whose first axis does not count the samples of its batch.
    """
    if len(indices) == 0:
        raise ValueError("infer: expected at least one index, but got none")
    shares = np.array_split(indices, accelerator.num_processes)
    mine = shares[accelerator.process_index]
    # A process without a share computes one sample all the same, to know the outputs' names and shapes.
    work = mine if len(mine) else indices[:1]
    parts = np.array_split(work, -(-len(work) // batch_size))
    collected: dict[str, list[torch.Tensor]] = {}
    loader = BatchLoader(sample, collate, accelerator, machine or MachineConfig())
    show = track if accelerator.is_main_process else Silent().track
    with _judging(model), torch.no_grad(), show(label, len(work), 0) as advance:
        for part, batch in zip(parts, loader.batches(parts, epoch=0), strict=True):
            with accelerator.autocast():
                outputs = predict(model, batch)
            for name, output in outputs.items():
                if output.shape[:1] != (len(part),):
                    raise ValueError(
                        f"infer: expected {name!r} to have {len(part)} rows, one per sample of the batch, "
                        f"but got shape {tuple(output.shape)}"
                    )
                output = output.float() if output.is_floating_point() else output
                collected.setdefault(name, []).append(output.cpu())
            advance(len(part))
    lengths = [len(share) for share in shares]
    return {name: _gathered(torch.cat(rows), lengths, accelerator) for name, rows in collected.items()}


def _gathered(rows: torch.Tensor, lengths: Sequence[int], accelerator: Accelerator) -> np.ndarray:
    """The processes' rows, one after the other; each has `lengths[process]` of them."""
    if accelerator.num_processes == 1:
        return np.asarray(rows.numpy())
    padded = rows.new_zeros((max(lengths), *rows.shape[1:]))
    own = lengths[accelerator.process_index]
    padded[:own] = rows[:own]
    everyone: Any = accelerator.gather(padded.to(accelerator.device))
    blocks = everyone.cpu().split(max(lengths))
    return np.asarray(torch.cat([block[:length] for block, length in zip(blocks, lengths, strict=True)]).numpy())


@contextmanager
def _judging(model: nn.Module) -> Iterator[None]:
    """Eval mode within, each module's own mode after (a frozen BatchNorm stays frozen)."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, is_training in modes.items():
            module.training = is_training
