"""The training loop: one readable file on Hugging Face accelerate, for any model and any task.

Resume is exact because nothing random has a state: samples are functions of (seed, epoch, index), dropout and mixup of
(seed, epoch, step, part), the learning rate of the progress. What has a state (weights, their average, the optimiser,
the task's memory, the history) is in `last.safetensors`.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from timm.layers import convert_sync_batchnorm
from timm.utils import ModelEmaV3
from torch import nn

from hpa.progress import Silent, track
from hpa.training.batches import Indices, filled, random_seeds, split_batch, split_epoch
from hpa.training.checkpoints import BEST, load_weights
from hpa.training.config import LoopConfig, MachineConfig
from hpa.training.device import make_accelerator
from hpa.training.divergence import require_finite_losses, require_finite_weights
from hpa.training.epoch_end import close_epoch
from hpa.training.history import History
from hpa.training.loader import BatchLoader
from hpa.training.optimizer import build_optimizer, set_learning_rate
from hpa.training.run import Run
from hpa.training.schedule import learning_rate_at
from hpa.training.snapshot import load_snapshot, save_snapshot
from hpa.training.task import Step, Task

# Steps between looks at the loss on a GPU: each look waits for the GPU, which should have work queued up instead.
LOOK_EVERY = 10


def train(
    model: nn.Module,
    task: Task,
    config: LoopConfig,
    folder: Path,
    machine: MachineConfig | None = None,
    accelerator: Accelerator | None = None,
) -> History:
    """Train a model in place, going on from the folder's last checkpoint if there is one.

    Called on every process of a run alike. On the CPU a run that was killed and resumed ends with the same bits as an
    unbroken one, and two processes do what one process does at the same global batch, up to rounding. BatchNorm
    breaks the second equality: each micro-batch of each process uses its own statistics (`LoopConfig.batch_norm`).
    Randomness inside the model or the loss keeps it between runs of the same number of parts (processes times
    `accumulate`). Torch's global random state is left changed.

    Args:
        model: trained in place; ends in eval mode on the accelerator's device with the weights of the best epoch (the
            moving average's, if there is one).
        task: what is trained.
        config: what decides the weights.
        folder: receives `last.safetensors` (to resume), `best.safetensors` (weights alone), history.json, history.csv;
            visible to all processes.
        machine: what decides speed and safety.
        accelerator: None makes one by the config's precision.

    Raises:
        TrainingDivergedError: the loss or a weight is NaN or infinite; the last good checkpoint is kept.
        CheckpointError: the folder's checkpoint is no checkpoint, or of another model or configuration.
        ValueError: an empty order, a loss that is no scalar, or no metric of the monitored name.
        OSError: the folder cannot be written or the disk is full; earlier checkpoints are as they were.
    """
    machine = machine or MachineConfig()
    accelerator = accelerator or make_accelerator(config.precision)
    if accelerator.mixed_precision != config.precision:
        raise ValueError(
            f"accelerator: expected precision {config.precision!r} as in the configuration, "
            f"but got {accelerator.mixed_precision!r}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    model = _placed(model, config, accelerator)
    average = None if config.ema_decay is None else ModelEmaV3(model, decay=config.ema_decay, use_warmup=True)
    run = Run(model, average, build_optimizer(model, config), task, accelerator, config, folder)
    load_snapshot(run)
    loader = BatchLoader(task.sample, task.collate, accelerator, machine)
    with _prepared(run) as (wrapped, optimizer):
        while not run.state.is_finished:
            batches = split_epoch(task.order(run.state.epoch), config.batch_size)
            _train_epoch(run, wrapped, optimizer, loader, batches, machine)
            last_rate = learning_rate_at(config, run.state.epoch, len(batches) - 1, len(batches))
            close_epoch(run, [len(batch) for batch in batches], last_rate)
            save_snapshot(run)
            if accelerator.is_main_process:
                run.state.history.write(folder)
    accelerator.wait_for_everyone()
    load_weights(folder / BEST, model)
    model.eval()
    return run.state.history


def _train_epoch(
    run: Run,
    wrapped: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: BatchLoader,
    batches: Sequence[Indices],
    machine: MachineConfig,
) -> None:
    """Do the optimiser steps that are left of the epoch in the run's state."""
    state, config, accelerator, steps = run.state, run.config, run.accelerator, len(batches)
    wrapped.train()
    if config.batch_norm == "frozen":
        _freeze_batch_norm(wrapped)

    # What this process reads: [step][micro-batch], from the step where the run stands.
    rank, processes = accelerator.process_index, accelerator.num_processes
    mine = [split_batch(batch, processes, config.accumulate)[rank] for batch in batches]
    left = [filled(part, batches[step]) for step in range(state.step, steps) for part in mine[step]]
    stream = loader.batches(left, state.epoch)

    look_every = 1 if accelerator.device.type == "cpu" else LOOK_EVERY
    unseen: list[torch.Tensor] = []  # losses of the steps since the last look
    clock = saved_at = time.perf_counter()
    sizes = [len(batch) for batch in batches]
    show = track if accelerator.is_main_process else Silent().track
    with show(f"epoch {state.epoch + 1}/{config.epochs}", sum(sizes), sum(sizes[: state.step])) as advance:
        for step in range(state.step, steps):
            set_learning_rate(optimizer, learning_rate_at(config, state.epoch, step, steps))
            loss = torch.zeros((), device=accelerator.device)
            for micro, part in enumerate(mine[step]):
                batch = next(stream)
                for_model, for_batch = random_seeds(config.seed, state.epoch, step, rank * config.accumulate + micro)
                torch.manual_seed(for_model)
                place = Step(state.epoch, step, steps, config.epochs, torch.Generator().manual_seed(for_batch))
                is_last = micro == config.accumulate - 1
                with contextlib.nullcontext() if is_last else accelerator.no_sync(wrapped):
                    part_loss = run.task.loss(wrapped, batch, place)
                    if part_loss.ndim != 0:
                        raise ValueError(f"task.loss: expected a scalar, but got shape {tuple(part_loss.shape)}")
                    # The mean over the global batch: each part counts by its samples. The processes average their
                    # gradients, so each one's share is multiplied by their number.
                    weight = len(part) / sizes[step]
                    accelerator.backward(part_loss * (weight * processes))
                loss += part_loss.detach() * weight
            if config.clip is not None:
                accelerator.clip_grad_norm_(wrapped.parameters(), config.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            state.step, state.updates = step + 1, state.updates + 1
            if run.average is not None:
                run.average.update(run.model, step=state.updates)
            unseen.append(loss)
            advance(sizes[step])

            is_turn = machine.checkpoint_steps is not None and state.step % machine.checkpoint_steps == 0
            if state.step < steps and state.step % look_every != 0 and not is_turn:
                continue
            now = time.perf_counter()
            is_late = machine.checkpoint_seconds is not None and now - saved_at > machine.checkpoint_seconds
            losses, is_late = _shared(unseen, is_late, accelerator)
            require_finite_losses(losses, run)
            unseen.clear()
            state.losses += losses
            now = time.perf_counter()
            state.training_seconds += now - clock
            state.seconds += now - clock
            if state.step == steps or is_turn or is_late:
                require_finite_weights(run.model, run)
            if is_turn or is_late:
                save_snapshot(run)
                saved_at = time.perf_counter()
                state.seconds += saved_at - now
            clock = time.perf_counter()


def _shared(losses: Sequence[torch.Tensor], is_late: bool, accelerator: Accelerator) -> tuple[list[float], bool]:
    """Sums of the processes' losses, and whether any process's clock says that a checkpoint is due."""
    values = torch.stack([*losses, losses[0].new_tensor(float(is_late))])
    *sums, late = accelerator.reduce(values, reduction="sum").tolist()
    return sums, late > 0


def _placed(model: nn.Module, config: LoopConfig, accelerator: Accelerator) -> nn.Module:
    if config.batch_norm == "synchronised" and accelerator.num_processes > 1:
        if accelerator.device.type == "cpu":
            raise ValueError("batch_norm: synchronised needs GPUs; use train or frozen on the CPU")
        model = convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    model.to(accelerator.device)
    if config.channels_last:
        model.to(memory_format=torch.channels_last)
    return model


@contextlib.contextmanager
def _prepared(run: Run) -> Iterator[tuple[nn.Module, torch.optim.Optimizer]]:
    """Accelerate's wrappers, taken off the model again at the end: mixed precision replaces its `forward`."""
    own_forward = vars(run.model).get("forward")
    wrapped, optimizer = run.accelerator.prepare(run.model, run.optimizer)
    try:
        yield wrapped, optimizer
    finally:
        run.accelerator.unwrap_model(wrapped, keep_fp32_wrapper=False)
        if own_forward is None:
            vars(run.model).pop("forward", None)  # unwrapping leaves the class's method on the instance


def _freeze_batch_norm(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
