"""`train_cell_level`: from labelled cells to a classifier per fold and out-of-fold scores of every cell."""

import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from numpy.lib import format as npy

from hpa.arrays import EmbeddingArray, Probabilities, Targets
from hpa.artifacts import (
    atomic_write,
    is_finished,
    make_record,
    write_json,
    write_text,
)
from hpa.backbones import RandomWeights
from hpa.classification import ImageClassifier, build_model
from hpa.classification.cell_dataset import CellDataset
from hpa.evaluation import average_precision, evaluate
from hpa.labels import ClassList
from hpa.memory import peak_memory_gb
from hpa.progress import say
from hpa.stages.cell_level.cell_level_config import CELL_SCORES, TrainCellLevelConfig
from hpa.stages.cell_level.cell_networks import write_description
from hpa.stages.cell_level.cell_task import AT_ONCE, CellTask, LabelledCells, open_labelled_cells, predict_cells
from hpa.stages.data import fold as fold_stage
from hpa.stages.data.building import build_together
from hpa.stages.image_level import run_page
from hpa.stages.image_level.initial_run import initial_fingerprint, load_initial
from hpa.tables import CELL_KEY, class_table, class_values, read_embeddings, read_table, write_table
from hpa.training import BEST, load_weights, make_accelerator, seconds_trained, train

STAGE: Final = "train_cell_level"
INITIAL = (STAGE, "train_image_level")
"""Commands whose networks `init` can be."""
EMBEDDINGS = "embeddings"

__all__ = ["TrainCellLevelConfig", "run"]


def run(config: TrainCellLevelConfig) -> Path:
    """Train one classifier per chosen fold on its labelled cells, and predict every cell that it held out.

    A killed run is gone on with and ends with the same bytes.

    Returns:
        `config.out`: per fold `fold<k>/best.safetensors` and history; `cell_scores.parquet` (image_id, cell_id, fold,
        one probability per class: out of fold), `embeddings/` (the same rows), `metrics.json` and `per_class.csv`
        (against the labels learned from), `run.json`, with which `predict_cells` opens the networks.

    Raises:
        ArtifactError: an input is missing or belongs to other images, or another run stands in the folder.
        ValueError: the labels cannot be learned from, or `init` does not fit.
        TrainingDivergedError: the loss is not finite; the last good checkpoint is kept.
    """
    start = time.perf_counter()
    accelerator = make_accelerator(config.loop.precision)
    if accelerator.is_main_process:
        fold_stage.run(config.data)
    accelerator.wait_for_everyone()
    data = open_labelled_cells(config)
    inputs = data.fingerprints
    if config.init is not None:
        begun = initial_fingerprint(config.init, INITIAL, config.chosen_folds, inputs["fold"], data.classes)
        inputs = inputs | {"init": begun}
    record = make_record(STAGE, config.content(), inputs)
    if is_finished(config.out, record):
        say(f"{config.out} stands already, made from the same configuration")
        return config.out
    with build_together(config.out, record, accelerator) as folder:
        if accelerator.is_main_process:
            write_description(folder, STAGE, config, data.classes, data.cache, data.crops)
        earlier = seconds_trained(folder)
        initialisation = ""
        for number in config.chosen_folds:
            initialisation = _run_fold(config, data, number, folder / f"fold{number}", accelerator)
        if accelerator.is_main_process:
            table = _join_folds(folder, config.chosen_folds)
            metrics = _measure(folder, data, table) | {
                "seconds": round(time.perf_counter() - start + earlier, 1),
                "peak_memory_gb": round(peak_memory_gb(), 3),
                "initial_weights": initialisation,
            }
            write_json(folder / run_page.METRICS, metrics)
            against = ", ".join(f"{name} {_shown(metrics.get(name))}" for name in ("macro_ap", "image_macro_ap"))
            say(f"{config.out}: {len(table)} cells scored out of fold; {against}")
    return config.out


def _run_fold(
    config: TrainCellLevelConfig, data: LabelledCells, fold: int, folder: Path, accelerator: Accelerator
) -> str:
    """Train without one fold and predict it; returns where the first weights came from."""
    held_out, labelled = data.folds == fold, data.weights > 0
    rows, training_rows = np.flatnonzero(held_out), np.flatnonzero(~held_out & labelled)
    for name, chosen in (("with a weight above 0 to learn from", training_rows), ("to hold out", rows)):
        if len(chosen) == 0:
            raise ValueError(f"fold {fold} has no cells {name}; look at {config.labels_file} and the segmentation")
    model = _build(config, data, fold)
    say(
        f"fold {fold}: {len(training_rows)} cells to learn from, {len(rows)} held out; {config.model.name}, "
        f"{model.initialisation}"
    )
    if (folder / CELL_SCORES).exists():
        return model.initialisation
    task = CellTask(config, data, training_rows, np.flatnonzero(held_out & labelled))
    train(model, task, config.loop, folder, config.machine, accelerator)
    load_weights(folder / BEST, model)
    keys = data.cache.keys.iloc[rows].reset_index(drop=True).assign(fold=fold)
    probabilities: list[Probabilities] = []

    def predicted() -> Iterator[EmbeddingArray]:
        cells, label = CellDataset(data.cache, rows, masking=config.masking), f"predicting fold {fold}"
        for found, embeddings in predict_cells(
            model,
            cells,
            config.tta,
            accelerator,
            config.loop.batch_size,
            config.machine,
            label,
            config.loop.channels_last,
            True,
        ):
            assert embeddings is not None
            probabilities.append(found)
            yield embeddings

    if accelerator.is_main_process:
        _stream_embeddings(folder / EMBEDDINGS, keys, predicted(), model.embedding_size)
        # Last, since it says that the fold is finished.
        write_table(folder / CELL_SCORES, class_table(keys, np.concatenate(probabilities), data.classes))
    else:
        for _ in predicted():
            pass
    accelerator.wait_for_everyone()
    return model.initialisation


def _build(config: TrainCellLevelConfig, data: LabelledCells, fold: int) -> ImageClassifier:
    torch.manual_seed(config.loop.seed)  # the head's first weights
    settings = config.model
    if config.init is not None:  # what is replaced need not be to be had
        settings = settings.model_copy(update={"pretrained": RandomWeights()})
    model = build_model(settings, data.cache.planes, data.classes, data.cache.size)
    if config.init is not None:
        load_initial(config.init, fold, model)
    return model


def _stream_embeddings(folder: Path, keys: pd.DataFrame, parts: Iterable[EmbeddingArray], features: int) -> None:
    """Write what `hpa.tables.write_embeddings` writes, part by part, in bounded memory; the keys come last."""
    with atomic_write(folder / "values.npy", "wb") as stream:
        shape = (len(keys), features)
        npy.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for part in parts:
            stream.write(np.ascontiguousarray(part, np.float32).tobytes())
    write_table(folder / "keys.parquet", keys)


def _join_folds(folder: Path, folds: tuple[int, ...]) -> pd.DataFrame:
    """Write the scores and embeddings of all folds as one table each; those of the single folds are removed."""
    table = pd.concat([read_table(folder / f"fold{fold}" / CELL_SCORES) for fold in folds], ignore_index=True)
    write_table(folder / CELL_SCORES, table)
    if not (folder / EMBEDDINGS / "keys.parquet").exists():
        values = [read_embeddings(folder / f"fold{fold}" / EMBEDDINGS)[1] for fold in folds]
        parts = (part[start : start + AT_ONCE] for part in values for start in range(0, len(part), AT_ONCE))
        _stream_embeddings(folder / EMBEDDINGS, table[[*CELL_KEY, "fold"]], parts, values[0].shape[1])
    for fold in folds:
        shutil.rmtree(folder / f"fold{fold}" / EMBEDDINGS, ignore_errors=True)
    for left in (folder / EMBEDDINGS).glob(".*"):  # by a kill in the middle of a write
        left.unlink()
    return table


def _measure(folder: Path, data: LabelledCells, table: pd.DataFrame) -> dict[str, Any]:
    """Figures against the labels learned from, those of weight 0 left out, and against the labels of the images."""
    rows = data.cache.rows(table)
    probabilities, labelled = class_values(table, data.classes), data.weights[rows] > 0
    counts = {"cells": len(table), "labelled_cells": int(labelled.sum())}
    metrics: dict[str, Any] = {}
    if labelled.any():
        truth = _decided(data.targets[rows[labelled]], data.classes)
        folds = table["fold"].to_numpy()[labelled]
        found = evaluate(truth, probabilities[labelled], data.classes, folds=folds)
        write_text(folder / run_page.PER_CLASS, found.per_class.to_csv(index=False, lineterminator="\n"))
        metrics = found.metrics
    best = pd.DataFrame(probabilities).groupby(table["image_id"].to_numpy()).max()
    firsts = table.drop_duplicates("image_id").index.to_numpy()
    of_images = data.image_targets[rows[firsts]]
    precision = average_precision(of_images, best.loc[table["image_id"].iloc[firsts]].to_numpy(np.float32))
    macro = float(np.nanmean(precision)) if np.isfinite(precision).any() else None
    return metrics | counts | {"images": len(firsts), "image_macro_ap": macro}


def _decided(targets: Targets, classes: ClassList) -> Targets:
    """Hard labels: from 0.5 on, or of a single-label list the greatest."""
    if classes.multi_label:
        return (targets >= 0.5).astype(np.float32)
    return np.asarray(np.eye(len(classes), dtype=np.float32)[targets.argmax(axis=1)])


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
