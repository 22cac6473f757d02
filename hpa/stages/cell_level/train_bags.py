"""`train_bags`: from images with labels, and crops of their cells, to networks that score every cell."""

import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator

from hpa.arrays import Bool
from hpa.artifacts import ArtifactError, is_finished, make_record, read_record
from hpa.backbones import RandomWeights
from hpa.cell_cache import CellCache
from hpa.classification import BagModel, build_bag_model
from hpa.evaluation import evaluate
from hpa.memory import peak_memory_gb
from hpa.progress import say
from hpa.stages.cell_level.bag_config import TrainBagsConfig
from hpa.stages.cell_level.bag_task import BagTask, Images, predict_bags
from hpa.stages.cell_level.cell_level_config import CELL_SCORES
from hpa.stages.cell_level.cell_networks import CellStage, write_description
from hpa.stages.cells import cache_cells
from hpa.stages.data.building import build_together
from hpa.stages.data.dataset import Dataset, open_dataset, prepare
from hpa.stages.image_level import run_page
from hpa.stages.image_level.initial_run import initial_fingerprint, load_initial
from hpa.tables import class_table, class_values, read_table, write_table
from hpa.training import BEST, load_weights, make_accelerator, seconds_trained, train

STAGE: CellStage = "train_bags"
INITIAL = ("train_image_level", "train_cell_level")
"""Commands whose networks `init` can be."""
IMAGE_PROBABILITIES = "image_probabilities.parquet"

__all__ = ["TrainBagsConfig", "run"]


def run(config: TrainBagsConfig) -> Path:
    """Train one network per chosen fold, score all cells of the images it held out, and report.

    Images without cells are left out. A killed run is gone on with and ends with the same bytes.

    Returns:
        `config.out`: per fold `fold<k>/best.safetensors` and history; `cell_scores.parquet` (image_id, cell_id, fold,
        one probability per class: out of fold, for every cell of the images held out), `image_probabilities.parquet`
        (image_id, fold, one probability per class, from all cells of the image), and of the latter `metrics.json`,
        `per_class.csv`, `report.html`; `run.json`, with which `predict_cells` opens the networks.

    Raises:
        ArtifactError: an input is missing or made from other images, or another run stands in the folder.
        ValueError: the data cannot be trained on.
        TrainingDivergedError: the loss is not finite; the last good checkpoint is kept.
    """
    start = time.perf_counter()
    accelerator = make_accelerator(config.loop.precision)
    if accelerator.is_main_process:
        prepare(config.data)
    accelerator.wait_for_everyone()
    data = open_dataset(config.data)
    if data.targets is None:
        raise ValueError(f"{config.data.out}: the images have no labels to learn from; give a source with labels")
    cached = read_record(config.cells_cache, cache_cells.STAGE)
    if cached.inputs.get("index") != data.fingerprints["index"]:
        raise ArtifactError(
            f"{config.cells_cache}: its cells are not those of the images in {config.data.index_folder}; give the "
            f"folder that `hpa {cache_cells.STAGE}` made from the same data section"
        )
    inputs = {name: data.fingerprints[name] for name in ("index", "fold")} | {"cells_cache": cached.fingerprint}
    if config.init is not None:
        begun = initial_fingerprint(config.init, INITIAL, config.chosen_folds, inputs["fold"], data.classes)
        inputs = inputs | {"init": begun}
    record = make_record(STAGE, config.content(), inputs)
    if is_finished(config.out, record):
        say(f"{config.out} stands already, made from the same configuration")
        return config.out
    cache = CellCache.open(config.cells_cache)
    has_cells = _images_with_cells(data, cache)
    with build_together(config.out, record, accelerator) as folder:
        if accelerator.is_main_process:
            write_description(folder, STAGE, config, data.classes, cache, cached.config.get("crops", {}))
        earlier = seconds_trained(folder)
        initialisation = ""
        for fold in config.chosen_folds:
            initialisation = _run_fold(config, data, cache, has_cells, fold, folder / f"fold{fold}", accelerator)
        if accelerator.is_main_process:
            for name in (CELL_SCORES, IMAGE_PROBABILITIES):
                parts = [read_table(folder / f"fold{fold}" / name) for fold in config.chosen_folds]
                write_table(folder / name, pd.concat(parts, ignore_index=True))
            _write_evaluation(config, folder, data, initialisation, time.perf_counter() - start + earlier)
    return config.out


def _images_with_cells(data: Dataset, cache: CellCache) -> Bool[np.ndarray, " images"]:
    """Which images of the data set have cells, at least one."""
    has_cells: Bool[np.ndarray, " images"] = data.images["image_id"].isin(list(cache.rows_by_image)).to_numpy()
    if not has_cells.any():
        raise ValueError(f"{cache.folder}: holds no cells; look at the segmentation that it was made from")
    if not has_cells.all():
        say(f"{int((~has_cells).sum())} images have no cells and are left out")
    return has_cells


def _run_fold(
    config: TrainBagsConfig,
    data: Dataset,
    cache: CellCache,
    has_cells: Bool[np.ndarray, " images"],
    fold: int,
    folder: Path,
    accelerator: Accelerator,
) -> str:
    """Train without one fold and predict it; returns where the first weights came from."""
    held_out = data.images["fold"].to_numpy() == fold
    training_rows, held_out_rows = np.flatnonzero(~held_out & has_cells), np.flatnonzero(held_out & has_cells)
    for name, rows in (("to learn from", training_rows), ("to hold out", held_out_rows)):
        if len(rows) == 0:
            raise ValueError(f"fold {fold} has no images with cells {name}; the data set has too few images or groups")
    training, validation = _take(data, cache, training_rows), _take(data, cache, held_out_rows)
    model = _build(config, data, cache, fold)
    say(
        f"fold {fold}: {len(training_rows)} images with {sum(training.counts)} cells to learn from, "
        f"{len(held_out_rows)} with {sum(validation.counts)} held out; {config.model.backbone.name}, "
        f"{model.initialisation}"
    )
    if (folder / CELL_SCORES).exists():
        return model.initialisation
    task = BagTask(config, cache, data.classes, training, validation)
    train(model, task, config.loop, folder, config.machine, accelerator)
    load_weights(folder / BEST, model)
    found = predict_bags(model, cache, validation, config, accelerator, f"predicting fold {fold}")
    if accelerator.is_main_process:
        images = data.images.loc[held_out & has_cells, ["image_id", "fold"]].reset_index(drop=True)
        cells = cache.keys.iloc[validation.cells].reset_index(drop=True).assign(fold=fold)
        write_table(folder / IMAGE_PROBABILITIES, class_table(images, found.images, data.classes))
        # Last, since it says that the fold is finished.
        write_table(folder / CELL_SCORES, class_table(cells, found.cells, data.classes))
    accelerator.wait_for_everyone()
    return model.initialisation


def _build(config: TrainBagsConfig, data: Dataset, cache: CellCache, fold: int) -> BagModel:
    torch.manual_seed(config.loop.seed)  # the heads' first weights
    settings = config.model
    if config.init is not None:  # what is replaced need not be to be had
        backbone = settings.backbone.model_copy(update={"pretrained": RandomWeights()})
        settings = settings.model_copy(update={"backbone": backbone})
    model = build_bag_model(settings, cache.planes, data.classes, cache.size)
    if config.init is not None:
        load_initial(config.init, fold, model.cells)
        model.head.load_state_dict(model.cells.head.state_dict())
    return model


def _take(data: Dataset, cache: CellCache, rows: np.ndarray) -> Images:
    assert data.targets is not None
    image_ids = data.images["image_id"].to_numpy()[rows]
    return Images([cache.rows_by_image[image_id] for image_id in image_ids], data.targets[rows])


def _write_evaluation(
    config: TrainBagsConfig, folder: Path, data: Dataset, initialisation: str, seconds: float
) -> None:
    """Judge the images' out-of-fold probabilities; what the cells' are worth, no image label can tell."""
    assert data.targets is not None
    table = read_table(folder / IMAGE_PROBABILITIES)
    rows = pd.Index(data.images["image_id"]).get_indexer(table["image_id"])
    probabilities = class_values(table, data.classes)
    found = evaluate(data.targets[rows], probabilities, data.classes, folds=table["fold"].to_numpy())
    cells = len(read_table(folder / CELL_SCORES))
    metrics = found.metrics | {
        "images": len(table),
        "cells": cells,
        "seconds": round(seconds, 1),
        "peak_memory_gb": round(peak_memory_gb(), 3),
        "initial_weights": initialisation,
    }
    run_page.write_page(
        folder,
        data,
        rows,
        probabilities,
        found,
        metrics,
        title=f"Bags of cells: run {config.out.name}",
        subtitle=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        summary={
            "Network": f"{config.model.backbone.name}, pooling {config.model.pooling.kind}",
            "Bags": f"up to {config.cells_per_bag} cells of an image in training, all of them in prediction",
            "Images": f"{len(table)} with {cells} cells, predicted by networks that did not see them",
        },
        config=config.model_dump(mode="json"),
        initial_weights=initialisation,
        random_weights=config.init is None and config.model.backbone.pretrained.kind == "none",
    )
    say(
        f"held-out macro AP of images {metrics['macro_ap']:.3f} (constant predictor "
        f"{metrics['macro_ap_constant']:.3f}); report: {config.out / run_page.REPORT}"
    )
