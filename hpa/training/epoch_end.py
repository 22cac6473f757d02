"""The end of an epoch: validation, history, the best weights, early stopping."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast

from hpa.progress import say
from hpa.training.checkpoints import BEST, save_weights
from hpa.training.config import LoopConfig
from hpa.training.history import Epoch, History
from hpa.training.run import Run


def close_epoch(run: Run, sizes: Sequence[int], learning_rate: float) -> None:
    """Validate, write the best weights, and move the run's state to the next epoch; called on every process.

    Args:
        run: its state has the losses of all steps of the epoch.
        sizes: samples of each step.
        learning_rate: of the last step.

    Raises:
        ValueError: the validation gave no metric of the monitored name.
        OSError: the best weights cannot be written; earlier ones are as they were.
    """
    state, config, accelerator = run.state, run.config, run.accelerator
    start = time.perf_counter()
    run.judged.eval()
    if accelerator.num_processes > 1:
        for buffer in run.judged.buffers():  # BatchNorm's running statistics are the first process's
            broadcast(buffer)
    metrics = _agreed(run.task.validate(run.judged, accelerator), accelerator)
    value = _monitored(metrics, config)
    is_gain = not math.isnan(value) and (state.best_value is None or value > state.best_value)
    is_best = config.monitor is None or is_gain or state.epoch == 0
    if is_gain:
        state.best_value = value
    state.epochs_without_gain = 0 if is_best else state.epochs_without_gain + 1
    is_stopped = config.patience is not None and state.epochs_without_gain >= config.patience
    row = Epoch(
        epoch=state.epoch + 1,
        loss=sum(size * loss for size, loss in zip(sizes, state.losses, strict=True)) / sum(sizes),
        learning_rate=learning_rate,
        seconds=state.seconds + time.perf_counter() - start,
        samples_per_second=sum(sizes) / state.training_seconds if state.training_seconds else 0.0,
        metrics={name: metric if math.isfinite(metric) else None for name, metric in metrics.items()},
        is_best=is_best,
    )
    state.history = History(
        epochs=(*state.history.epochs, row),
        step_losses=(*state.history.step_losses, tuple(state.losses)),
        stopped_early=is_stopped and state.epoch + 1 < config.epochs,
    )
    state.epoch, state.step, state.losses, state.seconds, state.training_seconds = state.epoch + 1, 0, [], 0.0, 0.0
    state.is_finished = is_stopped or state.epoch == config.epochs
    if accelerator.is_main_process:
        if is_best:
            save_weights(run.folder / BEST, run.judged, {"epoch": row.epoch, "metrics": row.metrics})
        say(_line(row, config) + ("; stopped early, nothing gained" if state.history.stopped_early else ""))


def _monitored(metrics: Mapping[str, float], config: LoopConfig) -> float:
    """The value to be as great as possible; NaN where nothing is monitored or the metric is not defined."""
    if config.monitor is None:
        return math.nan
    if config.monitor not in metrics:
        raise ValueError(
            f"monitor: expected one of the validation's metrics {sorted(metrics)}, but got {config.monitor!r}"
        )
    return metrics[config.monitor] if config.mode == "max" else -metrics[config.monitor]


def _agreed(metrics: Mapping[str, Any], accelerator: Accelerator) -> dict[str, float]:
    """The main process's values: processes that differ in the last bit would stop at different epochs and wait."""
    if accelerator.num_processes == 1:
        return {name: float(metric) for name, metric in metrics.items()}
    values = torch.tensor([float(metric) for metric in metrics.values()], dtype=torch.float64)
    return dict(zip(metrics, broadcast(values.to(accelerator.device)).tolist(), strict=True))


def _line(row: Epoch, config: LoopConfig) -> str:
    shown = [
        f"{name} {'undefined' if metric is None else format(metric, '.4f')}" for name, metric in row.metrics.items()
    ]
    validation = f"; validation {', '.join(shown)}" if shown else ""
    best = " (best)" if row.is_best and config.monitor is not None else ""
    return (
        f"epoch {row.epoch}/{config.epochs}: loss {row.loss:.4f}{validation}{best}; rate {row.learning_rate:.2e}, "
        f"{row.samples_per_second:.1f} samples/s, {row.seconds:.0f} s"
    )
