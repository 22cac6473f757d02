"""The first of two trainings: its history says which images are easy, hard or noisy, and corrects labels."""

from pathlib import Path

import numpy as np
import pandas as pd
from accelerate import Accelerator

from hpa.arrays import Int64
from hpa.classification.sample_history import CATEGORIES, Judgement, TwoPhaseConfig, judge_history
from hpa.progress import say
from hpa.stages.data.dataset import Dataset
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig
from hpa.stages.image_level.noise_tasks import HistoryTask, build_network
from hpa.stages.image_level.training_labels import TrainingLabels
from hpa.tables import class_table, class_values, read_table, write_table
from hpa.training import train

HISTORY = "history.parquet"
FIRST = "first"
COLUMNS = ("image_id", "category", "doubt", "margin", "spread", "weight")


def corrected_labels(
    config: TrainImageLevelConfig,
    data: Dataset,
    training_rows: Int64[np.ndarray, " training"],
    validation_rows: Int64[np.ndarray, " validation"],
    labels: TrainingLabels | None,
    folder: Path,
    accelerator: Accelerator,
) -> TrainingLabels:
    """Train once, judge the images by it, and give the labels and weights of the second training.

    Writes `history.parquet` into the fold's folder, a row per image learned from: image_id; category (`easy`, `hard`,
    `noisy`); doubt; margin; spread; weight; one column per class with the labels to learn from. Where it stands, the
    first training is not repeated.

    Args:
        config: with a `two_phase` section.
        data: the images.
        training_rows: to learn from.
        validation_rows: held out.
        labels: what the first training learns in the place of the data set's labels.
        folder: of the fold.
        accelerator: the processes; called on every one alike.
    """
    assert data.targets is not None
    assert isinstance(config.noise, TwoPhaseConfig)
    if labels is None:
        labels = TrainingLabels(data.targets, np.ones(len(data.targets), np.float32))
    rows = labels.learned(training_rows)
    accelerator.wait_for_everyone()
    if not (folder / HISTORY).exists():
        first = config.model_copy(update={"margins": False})
        task = HistoryTask(first, data, training_rows, validation_rows, labels, config.noise.from_epoch)
        loop = config.loop.model_copy(update={"epochs": config.first_epochs, "patience": None})
        say(f"first training, {loop.epochs} epochs, for the history of the images")
        train(build_network(config, data), task, loop, folder / FIRST, config.machine, accelerator)
        means, squares = task.history()
        judged = judge_history(
            means, squares, labels.targets[rows], data.classes.multi_label, config.noise, config.loop.seed
        )
        if accelerator.is_main_process:
            write_table(folder / HISTORY, _table(data, rows, judged, judged.weights * labels.weights[rows]))
    accelerator.wait_for_everyone()
    # Every process takes what the main one wrote: the mixture's last digits may differ between machines.
    table = read_table(folder / HISTORY, COLUMNS)
    counts = table["category"].value_counts()
    say("images by the first training: " + ", ".join(f"{counts.get(name, 0)} {name}" for name in CATEGORIES))
    targets, weights = labels.targets.copy(), labels.weights.copy()
    targets[rows] = class_values(table, data.classes)
    weights[rows] = table["weight"].to_numpy(np.float32)
    return TrainingLabels(targets, weights)


def join_histories(folder: Path, folds: tuple[int, ...]) -> None:
    """Write `history.parquet` of a run: those of its folds, one after the other, with the fold that was held out."""
    tables = []
    for fold in folds:
        table = read_table(folder / f"fold{fold}" / HISTORY, COLUMNS)
        table.insert(1, "held_out_fold", fold)
        tables.append(table)
    write_table(folder / HISTORY, pd.concat(tables, ignore_index=True))


def _table(data: Dataset, rows: Int64[np.ndarray, " items"], judged: Judgement, weights: np.ndarray) -> pd.DataFrame:
    keys = pd.DataFrame(
        {
            "image_id": data.images["image_id"].to_numpy()[rows],
            "category": np.array(CATEGORIES, dtype=object)[judged.categories],
            "doubt": judged.doubt,
            "margin": judged.margin,
            "spread": judged.spread,
            "weight": weights.astype(np.float32),
        }
    )
    return class_table(keys, judged.targets, data.classes)
