"""The images or cells that `detect_anomalies` judges: keys, labels, groups, intensities, and where their pixels are."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hpa.arrays import EmbeddingArray, Float64, Int64, Targets
from hpa.artifacts import ArtifactError, file_digest, read_record
from hpa.cell_cache import CellCache
from hpa.labels import ClassList
from hpa.stages.anomalies.detect_anomalies_config import DetectAnomaliesConfig
from hpa.stages.anomalies.pixel_figures import CellPixels, ImagePixels, PixelSource
from hpa.stages.cell_level import make_pseudo_labels
from hpa.stages.cells import cache_cells, segment_cells
from hpa.stages.cells.cells_config import CELL_TABLE
from hpa.stages.data import index
from hpa.stages.data.dataset import open_dataset, prepare
from hpa.stages.data.indexed_images import open_index
from hpa.tables import CELL_KEY, IMAGE_KEY, align, class_values, read_embeddings, read_table


@dataclass(frozen=True, eq=False)
class Items:
    """What is judged; row i of everything is one image or cell.

    Attributes:
        keys: image_id, of cells cell_id too.
        targets: labels, at least 0.5 where it has the class; None where there are none.
        classes: the class list.
        groups: of the images.
        means: mean value of every channel, of cells within the cell.
        histograms: of the whole images (images, channels, bins); None for cells, whose pixels give them.
        pixels: where they are.
        inputs: fingerprints of what was opened.
    """

    keys: pd.DataFrame
    targets: Targets | None
    classes: ClassList
    groups: list[str]
    means: Float64[np.ndarray, "items channels"]
    histograms: Int64[np.ndarray, "items channels bins"] | None
    pixels: PixelSource
    inputs: dict[str, str]

    @property
    def key(self) -> tuple[str, ...]:
        """Names of the key columns."""
        return tuple(self.keys.columns)

    def names(self) -> list[str]:
        """One text per row: the image's ID, of cells with the cell's number."""
        if len(self.key) == 1:
            return [str(name) for name in self.keys["image_id"]]
        return [f"{image} cell {cell}" for image, cell in zip(self.keys["image_id"], self.keys["cell_id"], strict=True)]


def open_items(config: DetectAnomaliesConfig) -> Items:
    """Open what a configuration judges; a data set's index and cache are made first where they are missing.

    Raises:
        ArtifactError: cells are missing, or those of other images.
        ValueError: labels that do not fit the cells, or the source cannot be used.
    """
    return _images(config) if config.level == "image" else _cells(config)


def _images(config: DetectAnomaliesConfig) -> Items:
    prepare(config.data, needs_folds=False)
    data = open_dataset(config.data, needs_folds=False)
    images = data.images
    return Items(
        keys=images[list(IMAGE_KEY)],
        targets=data.targets,
        classes=data.classes,
        groups=[str(group) for group in images["group"]],
        means=images[[f"mean_{name}" for name in data.channels]].to_numpy(np.float64),
        histograms=np.stack([np.stack(images[f"hist_{name}"].to_list()) for name in data.channels], axis=1),
        pixels=ImagePixels(data.cache),
        inputs=data.fingerprints,
    )


def _cells(config: DetectAnomaliesConfig) -> Items:
    indexed = open_index(index.run(config.data))
    found = read_record(config.cells, segment_cells.STAGE)
    cached = read_record(config.cells_cache, cache_cells.STAGE)
    for folder, record in ((config.cells, found), (config.cells_cache, cached)):
        if record.inputs.get("index") != indexed.fingerprint:
            raise ArtifactError(
                f"{folder}: its cells are not those of the images in {config.data.index_folder}; give the folder that "
                f"`hpa {record.stage}` made from the same data section"
            )
    if cached.inputs.get("cells") != found.fingerprint:
        raise ArtifactError(
            f"{config.cells_cache}: holds other cells than {config.cells}; give the folder that `hpa cache_cells` made "
            "from them"
        )
    channels = indexed.reader.channels
    cells = read_table(config.cells / CELL_TABLE, [*CELL_KEY, "area", *(f"sum_{name}" for name in channels)])
    if cells.empty:
        raise ValueError(f"{config.cells}: no image has a cell, so there is nothing to judge")
    rows = pd.Index(indexed.table["image_id"]).get_indexer(cells["image_id"])
    keys = cells[list(CELL_KEY)]
    inputs = {"index": indexed.fingerprint, "cells": found.fingerprint, "cells_cache": cached.fingerprint}
    targets = None
    if config.cell_labels is not None:
        path = config.cell_labels
        path = path / make_pseudo_labels.LABELS if path.is_dir() else path
        inputs["cell_labels"] = file_digest(path)
        targets = class_values(align(keys, read_table(path, CELL_KEY), CELL_KEY), indexed.classes)
    elif len(labels := read_table(config.data.index_folder / index.LABELS)):
        targets = class_values(align(indexed.table, labels), indexed.classes)[rows]
    cache = CellCache.open(config.cells_cache)
    sums = cells[[f"sum_{name}" for name in channels]].to_numpy(np.float64)
    return Items(
        keys=keys,
        targets=targets,
        classes=indexed.classes,
        groups=[str(group) for group in indexed.table["group"].to_numpy()[rows]],
        means=sums / cells["area"].to_numpy(np.float64)[:, None],
        histograms=None,
        pixels=CellPixels(cache, cache.rows(keys)),
        inputs=inputs,
    )


def embedding_of(folder: Path, items: Items) -> EmbeddingArray:
    """The embedding of the items, in their order: memory-mapped where the file has that order already.

    Raises:
        ValueError: there is none in the folder, or it is that of other images or cells.
    """
    try:
        keys, values = read_embeddings(folder)
    except OSError as error:
        raise ArtifactError(f"{folder}: holds no embedding ({error.strerror}); `hpa embed` makes one") from None
    missing = [name for name in items.key if name not in keys]
    if missing:
        raise ValueError(f"{folder}: expected an embedding keyed by {list(items.key)}, but {missing} are missing")
    try:
        placed = align(items.keys, keys[list(items.key)].assign(row=np.arange(len(keys))), items.key)["row"].to_numpy()
    except ValueError as error:
        raise ValueError(f"{folder}: is the embedding of other images or cells: {error}") from None
    same: EmbeddingArray = values if (placed == np.arange(len(placed))).all() else values[placed]
    return same


def embedding_digest(folder: Path) -> str:
    """What identifies an embedding: the digests of its two files.

    Raises:
        ArtifactError: they are not there.
    """
    try:
        return "-".join(file_digest(folder / name) for name in ("values.npy", "keys.parquet"))
    except OSError as error:
        raise ArtifactError(f"{folder}: holds no embedding ({error.strerror}); `hpa embed` makes one") from None
