"""What `explain` explains: images or cells as a run's networks see them, what they are labelled with and taken for."""

from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from hpa.arrays import ClassVector, Float32, Int64, PixelBatch, Probabilities
from hpa.artifacts import file_digest, read_record
from hpa.cell_cache import CellCache, split_masks
from hpa.classification import ImageClassifier, predict_batch
from hpa.evaluation.decisions import decide
from hpa.labels import ClassList
from hpa.stages.anomalies.embedded_items import Items, open_cells, open_images
from hpa.stages.cell_level.cell_level_config import CELL_LABELS, CELL_SCORES
from hpa.stages.cell_level.cell_networks import CellRun, open_cell_run
from hpa.stages.data.dataset import open_dataset
from hpa.stages.explanation.explain_config import ExplainConfig
from hpa.stages.image_level.run_page import PER_CLASS
from hpa.stages.image_level.trained_run import TrainedRun, open_run
from hpa.tables import CELL_KEY, IMAGE_KEY, class_values, read_table
from hpa.training import make_accelerator

IMAGE_LEVEL = "train_image_level"
OUT_OF_FOLD = "out_of_fold.parquet"
UNKNOWN = -1
"""In place of a fold."""


@dataclass(frozen=True, eq=False)
class Explainable:
    """Items, and the run that answers to them; row i of every array is row i of the items.

    Attributes:
        items: keys and pixels.
        run: the finished training.
        targets: labels, rows of NaN where an item has none; None where nothing has.
        scores: out-of-fold probabilities, rows of NaN where an item was not held out; None where none were made.
        explained_by: the fold whose network explains each item, UNKNOWN where none may.
        thresholds: from which probability on a class is said to be there.
        inputs: fingerprints for the record.
    """

    items: Items
    run: TrainedRun | CellRun
    targets: Float32[np.ndarray, "items classes"] | None
    scores: Probabilities | None
    explained_by: Int64[np.ndarray, " items"]
    thresholds: ClassVector
    inputs: dict[str, str]

    @property
    def classes(self) -> ClassList:
        """The class list of the run."""
        return self.run.content.classes

    @property
    def names(self) -> list[str]:
        """`image_id`, or `image_id/cell_id`, of every item."""
        return ["/".join(map(str, key)) for key in self.items.keys.itertuples(index=False, name=None)]

    def networks(self, folds: Container[int]) -> Iterator[tuple[int, ImageClassifier]]:
        """Fold and network, one at a time, of some folds."""
        for fold, network in zip(self.run.content.folds, self.run.networks(), strict=True):
            if fold in folds:
                yield fold, network

    def read(self, rows: Int64[np.ndarray, " rows"]) -> PixelBatch:
        """Items as the networks see them in prediction: uint8 (rows, planes, size, size), a copy."""
        source = self.items.source
        if isinstance(source, CellCache):
            masked = self.items.masking.is_masked(False, 0, 0, 0)
            return split_masks(source.read(rows), source.scales, masked)
        return np.array(source.pixels[rows])

    @torch.no_grad()
    def predict(self, network: ImageClassifier, pixels: torch.Tensor) -> Probabilities:
        """The network's answers, averaged over the run's views."""
        found = predict_batch(network, pixels, self.run.content.tta)["probabilities"]
        return np.asarray(found.float().cpu().numpy(), np.float32)

    def decide(self, probabilities: Probabilities) -> np.ndarray:
        """Which classes probabilities stand for: bool (items, classes)."""
        return decide(probabilities, self.classes, self.thresholds)


def open_explainable(config: ExplainConfig) -> Explainable:
    """Open the run and what it is to be explained on, prepared first where that is missing.

    Raises:
        ArtifactError: the run, or an input, is missing or not finished.
        ValueError: run and items do not belong together.
    """
    found = _open_cells(config) if config.level == "cell" else _open_images(config)
    learned = read_record(config.run, found.run.content.stage).inputs
    names = ("cells_cache", "fold") if config.level == "cell" else ("index", "fold")
    if config.out_of_fold:
        differing = [name for name in names if learned.get(name) != found.items.fingerprints.get(name)]
        if differing:
            raise ValueError(
                f"out_of_fold: {config.run} was trained on another {' and another '.join(differing)}, so that nobody "
                f"knows which network held one of these {config.level}s out; give `data` as in the run's config.yaml, "
                "or out_of_fold=false for what the run has never seen"
            )
    elif learned.get(names[0]) == found.items.fingerprints[names[0]]:
        raise ValueError(
            f"out_of_fold: {config.run} was trained on these {config.level}s; out_of_fold=true explains each by the "
            "network that held it out"
        )
    return found


def _open_images(config: ExplainConfig) -> Explainable:
    run = open_run(config.run, IMAGE_LEVEL)
    cache = run.content.cache
    items = open_images(config.data, config.out_of_fold, cache, make_accelerator())
    _require_channels(config, run.content.channels, items)
    data = open_dataset(config.data.model_copy(update={"cache": cache}), needs_folds=config.out_of_fold)
    targets = data.targets
    if targets is not None and data.classes != run.content.classes:
        raise ValueError(
            f"data: {config.run} predicts {len(run.content.classes)} classes that are not those of the labels; give "
            "the source the run's class list"
        )
    inputs = {"run": run.fingerprint, **items.fingerprints}
    return _scored(config, items, run, targets, OUT_OF_FOLD, IMAGE_KEY, inputs)


def _open_cells(config: ExplainConfig) -> Explainable:
    run = open_cell_run(config.run)
    items = open_cells(config.data, config.cells_cache, config.out_of_fold, run.masking, make_accelerator())
    assert isinstance(items.source, CellCache)
    run.require_alike(items.source)
    targets, inputs = None, {"run": run.fingerprint, **items.fingerprints}
    if config.labels is not None:
        path = config.labels / CELL_LABELS if config.labels.is_dir() else config.labels
        targets = _labels(path, items, run.classes)
        inputs["labels"] = file_digest(path)
    return _scored(config, items, run, targets, CELL_SCORES, CELL_KEY, inputs)


def _scored(
    config: ExplainConfig,
    items: Items,
    run: TrainedRun | CellRun,
    targets: Float32[np.ndarray, "items classes"] | None,
    table: str,
    key: tuple[str, ...],
    inputs: dict[str, str],
) -> Explainable:
    folds, scores = run.content.folds, None
    if items.folds is None:
        explained_by = np.full(len(items), folds[0], np.int64)
    else:
        explained_by = np.where(np.isin(items.folds, folds), items.folds, UNKNOWN)
        known = read_table(run.folder / table, key)
        rows = pd.MultiIndex.from_frame(items.keys[list(key)]).get_indexer(pd.MultiIndex.from_frame(known[list(key)]))
        if (rows < 0).any():
            raise ValueError(f"{run.folder / table}: scores {config.level}s that are not in the data; train again")
        scores = np.full((len(items), len(run.content.classes)), np.nan, np.float32)
        scores[rows] = class_values(known, run.content.classes)
    thresholds = _thresholds(run.folder / PER_CLASS, run.content.classes)
    items = replace(items, classes=run.content.classes)
    return Explainable(items, run, targets, scores, explained_by, thresholds, inputs)


def _require_channels(config: ExplainConfig, expected: tuple[str, ...], items: Items) -> None:
    if items.channels != expected:
        raise ValueError(
            f"data: {config.run} was trained on the channels {', '.join(expected)}, but the images have "
            f"{', '.join(items.channels)}"
        )


def _labels(path: Path, items: Items, classes: ClassList) -> Float32[np.ndarray, "items classes"]:
    """Labels of cells, 0 or 1; NaN for cells that the table lacks or gives no weight."""
    found = read_table(path, [*CELL_KEY, *classes.names])
    if found.duplicated(list(CELL_KEY)).any():
        raise ValueError(f"{path}: expected every cell once, but some repeat; make it again")
    own = found.set_index(list(CELL_KEY)).reindex(pd.MultiIndex.from_frame(items.keys[list(CELL_KEY)]))
    values = own[list(classes.names)].to_numpy(np.float32)
    targets = np.where(np.isnan(values), np.nan, values >= 0.5).astype(np.float32)
    if "weight" in own:
        targets[~(own["weight"].to_numpy(float) > 0)] = np.nan
    return targets


def _thresholds(path: Path, classes: ClassList) -> ClassVector:
    """Those that the run names for new items; 0.5 where it names none."""
    thresholds = np.full(len(classes), 0.5)
    if path.is_file():
        known = pd.read_csv(path)
        if {"class", "threshold"} <= set(known.columns):
            found = known.set_index("class")["threshold"].reindex(classes.names).to_numpy(float)
            thresholds = np.where(np.isfinite(found), found, 0.5)
    return thresholds
