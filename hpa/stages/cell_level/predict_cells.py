"""`predict_cells`: scores of every cell of a cache by one or more finished runs, the networks of all folds averaged."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pydantic
import torch
from accelerate import Accelerator

from hpa.arrays import Probabilities
from hpa.artifacts import atomic_write, is_finished, make_record, read_record
from hpa.cell_cache import CellCache
from hpa.classification import ImageClassifier
from hpa.classification.cell_dataset import CellDataset
from hpa.config import Config
from hpa.progress import say
from hpa.stages.cell_level.cell_level_config import CELL_SCORES
from hpa.stages.cell_level.cell_networks import CellRun, open_cell_run
from hpa.stages.cell_level.cell_task import AT_ONCE, predict_cells
from hpa.stages.cells import cache_cells
from hpa.stages.data.building import build_together
from hpa.tables import class_table, write_table
from hpa.training import MachineConfig, Precision, make_accelerator

STAGE = "predict_cells"
PARTS = ".parts"
"""Folder of the scores by single networks while the stage runs, `AT_ONCE` cells a file."""


class PredictCellsConfig(Config):
    """Prediction of cells by networks that did not learn from their images.

    Attributes:
        runs: folders of finished runs of `train_cell_level` or `train_bags` with the same classes; all networks count
            the same.
        cells_cache: folder made by `cache_cells`, with the crops that the runs learned from.
        out: folder of the scores.
        tta: views of a cell that are averaged; None takes each run's own.
        batch_size: cells of one forward pass.
        precision: of the networks.
        machine: workers; decides speed only.
    """

    runs: Annotated[tuple[Path, ...], pydantic.Field(min_length=1)]
    cells_cache: Path = Path("work/predict/cache_cells")
    out: Path = Path("runs/predict_cells")
    tta: Literal[1, 2, 4, 8] | None = None
    batch_size: Annotated[int, pydantic.Field(ge=1)] = 128
    precision: Precision = "no"
    machine: MachineConfig = MachineConfig()


def run(config: PredictCellsConfig) -> Path:
    """Score every cell, going on where a killed run stopped; the bytes are the same either way.

    Returns:
        `config.out`: `cell_scores.parquet` (image_id, cell_id, one probability per class), in the order of the cache.

    Raises:
        ArtifactError: a run or the cache is missing or not finished, or something else stands in the folder.
        ValueError: the runs' classes differ, or the cells are not cut out as theirs.
    """
    accelerator = make_accelerator(config.precision)
    cut = read_record(config.cells_cache, cache_cells.STAGE)
    cells = CellCache.open(config.cells_cache)
    runs = [open_cell_run(folder) for folder in config.runs]
    for one in runs:
        one.require_alike(cells)
        if one.classes != runs[0].classes:
            raise ValueError(f"runs: expected the same classes, but those of {runs[0].folder} and {one.folder} differ")
    inputs = {f"run {number}": one.fingerprint for number, one in enumerate(runs)} | {"cells_cache": cut.fingerprint}
    record = make_record(STAGE, {"tta": config.tta, "precision": config.precision}, inputs)
    if is_finished(config.out, record):
        say(f"{config.out} stands already, made from the same configuration")
        return config.out
    count = sum(len(one.folds) for one in runs)
    with build_together(config.out, record, accelerator) as folder:
        for number, (one, network) in enumerate(_networks(runs)):
            label = f"scoring cells, network {number + 1} of {count}"
            _score(config, one, network, cells, folder / PARTS / str(number), accelerator, label)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            scores = _mean(folder / PARTS, count, len(cells), len(runs[0].classes))
            write_table(folder / CELL_SCORES, class_table(cells.keys, scores, runs[0].classes))
            shutil.rmtree(folder / PARTS, ignore_errors=True)
            say(f"{config.out}: {len(cells)} cells scored by {count} networks")
    return config.out


def _networks(runs: list[CellRun]) -> Iterator[tuple[CellRun, ImageClassifier]]:
    for one in runs:
        for network in one.networks():
            yield one, network


def _score(
    config: PredictCellsConfig,
    run: CellRun,
    network: ImageClassifier,
    cells: CellCache,
    folder: Path,
    accelerator: Accelerator,
    label: str,
) -> None:
    """Write a network's scores, part by part; those that an earlier call wrote stay."""
    parts = range(-(-len(cells) // AT_ONCE))
    done = next((part for part in parts if not _part(folder, part).exists()), len(parts))
    accelerator.wait_for_everyone()  # all processes must have looked before the main one writes
    if done == len(parts):
        return
    network.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    data = CellDataset(cells, masking=run.masking)
    views = config.tta or run.content.tta
    found = predict_cells(network, data, views, accelerator, config.batch_size, config.machine, label, skip=done)
    for part, (scores, _) in enumerate(found, start=done):
        if accelerator.is_main_process:
            with atomic_write(_part(folder, part), "wb") as stream:
                np.save(stream, scores, allow_pickle=False)


def _part(folder: Path, part: int) -> Path:
    return folder / f"{part}.npy"


def _mean(folder: Path, networks: int, cells: int, classes: int) -> Probabilities:
    """The mean over the networks, added in their order."""
    total = np.zeros((cells, classes), np.float32)
    for number in range(networks):
        for part, start in enumerate(range(0, cells, AT_ONCE)):
            scores = np.load(_part(folder / str(number), part), allow_pickle=False)
            total[start : start + AT_ONCE] += scores / np.float32(networks)
    return np.clip(total, 0, 1)
