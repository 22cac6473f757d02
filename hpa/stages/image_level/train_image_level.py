"""`train_image_level`: from a data set to a classifier per fold, out-of-fold predictions and a report."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from accelerate import Accelerator

from hpa.arrays import EmbeddingArray
from hpa.artifacts import is_finished, make_record, read_record, write_text
from hpa.classification.sample_history import TwoPhaseConfig
from hpa.classification.selection import CoTeachingConfig
from hpa.progress import say
from hpa.stages.cells import segment_cells
from hpa.stages.cells.cell_codes import make_codes
from hpa.stages.data.building import build_together
from hpa.stages.data.dataset import Dataset, open_dataset, prepare
from hpa.stages.image_level import run_margins, run_page, two_phase
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig
from hpa.stages.image_level.image_task import predict_images
from hpa.stages.image_level.noise_tasks import build_network, build_task, loop_settings
from hpa.stages.image_level.trained_run import RunContent, write_content
from hpa.stages.image_level.training_labels import TrainingLabels, decisions_fingerprint, open_decisions
from hpa.tables import class_table, read_embeddings, read_table, write_embeddings, write_table
from hpa.training import BEST, load_weights, make_accelerator, seconds_trained, train

STAGE = "train_image_level"
CONFIG = "config.yaml"
OUT_OF_FOLD = "out_of_fold.parquet"
EMBEDDINGS = "embeddings"

__all__ = ["TrainImageLevelConfig", "run"]


def run(config: TrainImageLevelConfig) -> Path:
    """Train one classifier per chosen fold, predict what each held out, and report.

    Returns:
        `config.out`: per fold `fold<k>/best.safetensors` and history; `out_of_fold.parquet` (image_id, fold, one
        probability per class), `embeddings/` (the same rows), `metrics.json`, `per_class.csv`, `report.html`; for
        tasks with one class per image also `confusion.csv` and `confused_pairs.csv`. Where asked for,
        `margins.parquet` (see `run_margins.join_margins`) and of two-phase training `history.parquet` (see
        `two_phase.corrected_labels`).

    Raises:
        ArtifactError: another run stands in the folder, or decisions are missing.
        ValueError: the data cannot be trained on.
        TrainingDiverged: the loss is not finite; the last good checkpoint is kept.
    """
    start = time.perf_counter()
    accelerator = make_accelerator(config.loop.precision)
    if accelerator.is_main_process:
        prepare(config.data)
        if config.consistency is not None:
            make_codes(config.consistency.cells, config.data)
    accelerator.wait_for_everyone()
    data = open_dataset(config.data)
    if data.targets is None:
        raise ValueError(f"{config.data.out}: the images have no labels to learn from; give a source with labels")
    inputs = data.fingerprints
    if config.consistency is not None:
        inputs = inputs | {"cells": read_record(config.consistency.cells, segment_cells.STAGE).fingerprint}
    labels = None
    if config.decisions is not None:
        inputs = inputs | {"decisions": decisions_fingerprint(config.decisions)}
        labels = open_decisions(config.decisions, data)
    record = make_record(STAGE, config.content(), inputs)
    if is_finished(config.out, record):
        say(f"{config.out} stands already, made from the same configuration")
        return config.out
    with build_together(config.out, record, accelerator) as folder:
        if accelerator.is_main_process:
            _write_description(folder, config, data)
        earlier = seconds_trained(folder)
        initialisation = ""
        for fold in config.chosen_folds:
            initialisation = _run_fold(config, data, labels, fold, folder / f"fold{fold}", accelerator)
        if accelerator.is_main_process:
            if config.margins:
                run_margins.join_margins(folder, data, config.chosen_folds)
            if isinstance(config.noise, TwoPhaseConfig):
                two_phase.join_histories(folder, config.chosen_folds)
            table, embeddings = _join_folds(folder, config.chosen_folds)
            write_table(folder / OUT_OF_FOLD, table)
            write_embeddings(folder / EMBEDDINGS, table[["image_id", "fold"]], embeddings)
            seconds = time.perf_counter() - start + earlier
            metrics = run_page.write_evaluation(folder, config, data, table, initialisation, seconds)
            say(
                f"held-out macro AP {metrics['macro_ap']:.3f} (constant predictor "
                f"{metrics['macro_ap_constant']:.3f}); report: {config.out / run_page.REPORT}"
            )
    return config.out


def _write_description(folder: Path, config: TrainImageLevelConfig, data: Dataset) -> None:
    """What `predict` needs beside the weights, and the configuration for a person to read or run again."""
    write_text(folder / CONFIG, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
    content = RunContent(
        stage=STAGE,
        classes=data.classes,
        channels=data.channels,
        image_size=data.cache.size,
        fit=config.data.cache.fit,
        folds=config.chosen_folds,
        batch_size=config.loop.batch_size,
        precision=config.loop.precision,
        tta=config.tta,
        model=config.model,
        twins=isinstance(config.noise, CoTeachingConfig),
        clahe=config.data.cache.clahe,
    )
    write_content(folder, content)


def _run_fold(
    config: TrainImageLevelConfig,
    data: Dataset,
    labels: TrainingLabels | None,
    fold: int,
    folder: Path,
    accelerator: Accelerator,
) -> str:
    """Train without one fold and predict it; returns where the first weights came from."""
    held_out = data.images["fold"].to_numpy() == fold
    training_rows, validation_rows = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    for name, rows in (("to learn from", training_rows), ("to hold out", validation_rows)):
        if len(rows) == 0:
            raise ValueError(f"fold {fold} has no images {name}; the data set has too few images or groups")
    learned = training_rows if labels is None else labels.learned(training_rows)
    model = build_network(config, data)
    say(
        f"fold {fold}: {len(learned)} images to learn from, {len(validation_rows)} held out; "
        f"{config.model.name}, {model.initialisation}"
    )
    if (folder / OUT_OF_FOLD).exists():
        return model.initialisation
    if isinstance(config.noise, TwoPhaseConfig):
        labels = two_phase.corrected_labels(config, data, training_rows, validation_rows, labels, folder, accelerator)
    task = build_task(config, data, training_rows, validation_rows, labels)
    train(model, task, loop_settings(config), folder, config.machine, accelerator)
    load_weights(folder / BEST, model)
    if config.margins and accelerator.is_main_process:
        run_margins.write_fold_margins(folder, data, task)
    probabilities, embeddings = predict_images(
        model,
        task.validation,
        config.tta,
        accelerator,
        config.loop.batch_size,
        config.machine,
        f"predicting fold {fold}",
    )
    if accelerator.is_main_process:
        keys = data.images.loc[held_out, ["image_id", "fold"]].reset_index(drop=True)
        write_embeddings(folder / EMBEDDINGS, keys, embeddings)
        write_table(folder / OUT_OF_FOLD, class_table(keys, probabilities, data.classes))
    accelerator.wait_for_everyone()
    return model.initialisation


def _join_folds(folder: Path, folds: tuple[int, ...]) -> tuple[pd.DataFrame, EmbeddingArray]:
    tables = [read_table(folder / f"fold{fold}" / OUT_OF_FOLD) for fold in folds]
    embeddings = [np.asarray(read_embeddings(folder / f"fold{fold}" / EMBEDDINGS)[1]) for fold in folds]
    return pd.concat(tables, ignore_index=True), np.concatenate(embeddings)
