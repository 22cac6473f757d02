"""`score_cells`: scores of cells by a classifier of whole images: the baseline, and class activation maps in cells."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from accelerate import Accelerator

from hpa.arrays import Probabilities
from hpa.artifacts import is_finished, make_record, read_record
from hpa.parallel import open_executor
from hpa.progress import say
from hpa.stages.cell_level.cell_scoring import CellScorer, image_rows
from hpa.stages.cell_level.score_cells_config import CopyConfig, Method, ScoreCellsConfig
from hpa.stages.cells import segment_cells
from hpa.stages.cells.cell_codes import require_segmented
from hpa.stages.cells.cells_config import CELL_TABLE
from hpa.stages.data.building import build_together
from hpa.stages.data.dataset import Dataset, DatasetConfig, open_dataset, prepare
from hpa.stages.image_level.trained_run import TrainedRun, open_run
from hpa.tables import CELL_KEY, align, class_table, class_values, read_table, write_table
from hpa.training import make_accelerator

STAGE = "score_cells"
CELL_SCORES = "cell_scores.parquet"
TRAINING = "train_image_level"
PARTS = ".parts"

__all__ = ["CopyConfig", "Method", "ScoreCellsConfig", "run"]


def run(config: ScoreCellsConfig) -> Path:
    """Score every cell, going on where a killed run stopped; the bytes are the same either way.

    Returns:
        `config.out`: `cell_scores.parquet` (image_id, cell_id, fold where out of fold, one score in [0, 1] per class),
        in the order of the cell table. Out of fold, images of folds that the run did not hold out are left out.

    Raises:
        ArtifactError: the run or the label maps are missing, or something else stands in the folder.
        ValueError: run, images and label maps do not belong together, or the network has no class activation maps.
    """
    trained = open_run(config.run, TRAINING)
    accelerator = make_accelerator(config.precision)
    settings = _settings(config, trained)
    if accelerator.is_main_process:
        prepare(settings, needs_folds=config.out_of_fold)
    accelerator.wait_for_everyone()
    data = open_dataset(settings, needs_folds=config.out_of_fold)
    _require_fitting(config, trained, data)
    cells_print = read_record(config.cells, segment_cells.STAGE).fingerprint
    inputs = {"run": trained.fingerprint, "cells": cells_print, **data.fingerprints}
    content = {name: getattr(config, name) for name in ("method", "out_of_fold", "tta", "precision")}
    record = make_record(STAGE, content, inputs)
    if is_finished(config.out, record):
        say(f"{config.out}: made before, nothing to do")
        return config.out
    cells = _cells(config, trained, data)
    with build_together(config.out, record, accelerator) as folder:
        if isinstance(config.method, CopyConfig) and config.out_of_fold:
            scores = _copied(_out_of_fold(trained), cells, data)
        else:
            scores = _by_networks(config, trained, data, cells, folder / PARTS, accelerator)
        if accelerator.is_main_process:
            write_table(folder / CELL_SCORES, class_table(cells, np.clip(scores, 0, 1), data.classes))
            shutil.rmtree(folder / PARTS, ignore_errors=True)
    say(f"{config.out}: {len(cells)} cells in {cells['image_id'].nunique()} images")
    return config.out


def _settings(config: ScoreCellsConfig, trained: TrainedRun) -> DatasetConfig:
    """The images at the size that the run expects."""
    return config.data.model_copy(update={"cache": trained.content.cache})


def _require_fitting(config: ScoreCellsConfig, trained: TrainedRun, data: Dataset) -> None:
    learned = read_record(config.run, TRAINING).inputs
    if data.channels != trained.content.channels:
        raise ValueError(
            f"data: {config.run} was trained on the channels {', '.join(trained.content.channels)}, but the images "
            f"have {', '.join(data.channels)}"
        )
    if config.out_of_fold:
        differing = [name for name in ("index", "fold") if learned.get(name) != data.fingerprints.get(name)]
        if differing:
            raise ValueError(
                f"out_of_fold: {config.run} was trained on another {' and another '.join(differing)} than "
                f"{config.data.out} has, so that nobody knows which network held an image out; give `data` as in "
                "the run's config.yaml, or out_of_fold=false for images that the run has never seen"
            )
    elif learned.get("index") == data.fingerprints["index"]:
        raise ValueError(
            f"out_of_fold: {config.run} was trained on these images, whose scores would be too good; "
            "out_of_fold=true scores each by the network that held it out"
        )


def _cells(config: ScoreCellsConfig, trained: TrainedRun, data: Dataset) -> pd.DataFrame:
    """Keys of the cells to score (and their fold), images in the order of the cell table."""
    require_segmented(config.cells, data.images["image_id"].tolist())
    cells = read_table(config.cells / CELL_TABLE, CELL_KEY)[list(CELL_KEY)]
    if not config.out_of_fold:
        return cells[cells["image_id"].isin(data.images["image_id"])].reset_index(drop=True)
    folds = data.images.set_index("image_id")["fold"]
    held_out = folds[folds.isin(trained.content.folds)]
    if len(held_out) < len(folds):
        say(
            f"{len(folds) - len(held_out)} of {len(folds)} images were not held out by any network of {config.run} "
            "and have no scores; train with folds=all for scores of all"
        )
    cells = cells[cells["image_id"].isin(held_out.index)].reset_index(drop=True)
    return cells.assign(fold=held_out.loc[cells["image_id"]].to_numpy())


def _out_of_fold(trained: TrainedRun) -> pd.DataFrame:
    return read_table(trained.folder / "out_of_fold.parquet", ["image_id", "fold"])


def _copied(probabilities: pd.DataFrame, cells: pd.DataFrame, data: Dataset) -> Probabilities:
    """The image's probabilities for each of its cells."""
    copied: Probabilities = class_values(probabilities, data.classes)[image_rows(probabilities, cells["image_id"])]
    return copied


def _by_networks(
    config: ScoreCellsConfig,
    trained: TrainedRun,
    data: Dataset,
    cells: pd.DataFrame,
    parts: Path,
    accelerator: Accelerator,
) -> Probabilities:
    """Scores of the cells in the order of their table: of each by the network that held it out, or the mean of all."""
    known = _out_of_fold(trained) if config.out_of_fold else None
    has_cells = data.images["image_id"].isin(cells["image_id"]).to_numpy()
    folds = trained.content.folds
    total: Probabilities = np.zeros((len(cells), len(data.classes)), np.float32)
    with open_executor(config.data.workers) as executor:
        content = trained.content
        scorer = CellScorer(config, data, cells, content.fit, content.tta, parts, accelerator, executor)
        for fold, model in zip(folds, trained.networks(), strict=True):
            held_out = data.images["fold"].to_numpy() == fold
            rows = np.flatnonzero(has_cells & held_out if config.out_of_fold else has_cells)
            if len(rows) == 0:
                continue
            found = scorer.score(model, f"fold{fold}", rows, known)
            if not accelerator.is_main_process:
                continue
            own = cells["image_id"].isin(data.images["image_id"].iloc[rows]).to_numpy()
            values = class_values(align(cells[own], found, CELL_KEY), data.classes)
            total[own] += values if config.out_of_fold else values / np.float32(len(folds))
    return total
