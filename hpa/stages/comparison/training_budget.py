"""How many epochs a variant may train: the budget that all share, in units of its own."""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from hpa.artifacts import fingerprint, read_json, write_json
from hpa.stages.comparison.compare_config import Budget, EpochBudget, StepBudget, TimeBudget
from hpa.stages.comparison.watched_task import WatchedTask
from hpa.stages.data.dataset import Dataset
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig
from hpa.stages.image_level.image_task import ImageTask
from hpa.stages.image_level.noise_tasks import build_network, build_task, loop_settings
from hpa.stages.image_level.training_labels import TrainingLabels
from hpa.training import make_accelerator, train


@dataclass(frozen=True)
class Share:
    """What a budget allows one variant.

    Attributes:
        epochs: passes over the images in each fold.
        steps: optimiser steps of one epoch.
        seconds: of one epoch, by the trial; None where the budget is not time.
    """

    epochs: int
    steps: int
    seconds: float | None = None


def share_of(
    budget: Budget,
    config: TrainImageLevelConfig,
    data: Dataset,
    labels: TrainingLabels | None,
    kept: Path,
) -> Share:
    """A variant's share of the budget.

    Args:
        budget: what every variant gets.
        config: of the variant.
        data: its images.
        labels: what is learned in the place of the data set's labels.
        kept: JSON file that keeps the outcome of a trial, so that a comparison that goes on trains as it began.
    """
    task = _first_task(config, data, labels)
    steps = math.ceil(len(task.order(0)) / config.loop.batch_size)
    match budget:
        case EpochBudget(epochs=epochs):
            return Share(epochs or config.loop.epochs, steps)
        case StepBudget(steps=total):
            return Share(max(1, round(total / steps)), steps)
        case TimeBudget():
            same = fingerprint(
                {"budget": budget.model_dump(), "config": config.model_dump(mode="json", exclude={"out"})}
            )
            found = read_json(kept) if kept.is_file() else {}
            if found.get("made_from") != same:
                accelerator = make_accelerator(config.loop.precision)
                seconds = seconds_per_epoch(config, data, task, accelerator, budget.trial_steps)
                found = {"made_from": same, "seconds_per_epoch": seconds}
                write_json(kept, found)
            seconds = float(found["seconds_per_epoch"])
            return Share(max(1, int(budget.seconds / seconds)), steps, seconds)


def seconds_per_epoch(
    config: TrainImageLevelConfig, data: Dataset, task: ImageTask, accelerator: Accelerator, steps: int
) -> float:
    """Time of an epoch with its validation, from a few optimiser steps after as many to warm up."""
    whole = task.order(0)
    part = whole[: steps * config.loop.batch_size]

    loop = loop_settings(config).model_copy(update={"epochs": 2, "monitor": None, "patience": None})
    with tempfile.TemporaryDirectory() as folder:
        timed = WatchedTask(task, order=lambda epoch: part)
        history = train(build_network(config, data), timed, loop, Path(folder), config.machine, accelerator)
    last = history.epochs[-1]
    training = len(part) / last.samples_per_second
    return len(whole) / last.samples_per_second + max(0.0, last.seconds - training)


def _first_task(config: TrainImageLevelConfig, data: Dataset, labels: TrainingLabels | None) -> ImageTask:
    held_out = data.images["fold"].to_numpy() == config.chosen_folds[0]
    return build_task(config, data, np.flatnonzero(~held_out), np.flatnonzero(held_out), labels)
