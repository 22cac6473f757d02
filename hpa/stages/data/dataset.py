"""A prepared data set as training and evaluation read it, joined from the artifacts of the data stages."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from hpa.arrays import Targets
from hpa.artifacts import ArtifactError, is_finished, make_record, read_json, read_record
from hpa.cache import PixelCache
from hpa.labels import ClassList
from hpa.stages.data import cache, fold, index
from hpa.stages.data.dataset_config import (
    CacheSettings,
    DatasetConfig,
    FoldSettings,
    IndexSettings,
    SimulatedSource,
    Source,
)
from hpa.tables import IMAGE_COLUMNS, align, class_values, read_table

__all__ = [
    "CacheSettings",
    "Dataset",
    "DatasetConfig",
    "FoldSettings",
    "IndexSettings",
    "SimulatedSource",
    "Source",
    "open_dataset",
    "prepare",
]


@dataclass(frozen=True)
class Dataset:
    """A prepared data set; row i of `images`, of `targets` and of the cache is one image.

    Attributes:
        images: the image table of the index, and `fold` (-1 where the images have no labels or none were asked for).
        targets: float32 (images, classes), 1 where an image has the class; None where the images have no labels.
        classes: the class list.
        channels: names of the planes.
        cache: pixels.
        fingerprints: of the records of `index`, `fold` (with labels) and `cache`.
        folder: the data set's folder.
    """

    images: pd.DataFrame
    targets: Targets | None
    classes: ClassList
    channels: tuple[str, ...]
    cache: PixelCache
    fingerprints: dict[str, str]
    folder: Path


def prepare(config: DatasetConfig, upto: Literal["index", "fold", "cache"] = "cache", needs_folds: bool = True) -> None:
    """Make what is missing, in order; images without labels are not dealt into folds on the way to the cache.

    Args:
        config: which data set.
        upto: the last stage.
        needs_folds: whether labelled images are dealt into folds on the way; to predict them they need none.

    Raises:
        ArtifactError: something else stands in the data set's folder.
        ValueError: the source cannot be used.
    """
    match upto:
        case "index":
            index.run(config)
        case "fold":
            fold.run(config)
        case "cache":
            folder = index.run(config)
            if needs_folds and len(read_table(folder / index.LABELS)):
                fold.make(config)
            cache.make(config)


def open_dataset(config: DatasetConfig, needs_folds: bool = True) -> Dataset:
    """Open a prepared data set; the images themselves are not needed.

    Args:
        config: which data set.
        needs_folds: whether labelled images must have been dealt into folds.

    Raises:
        ArtifactError: an artifact is missing, which the error names with its command, or was made from other settings.
    """
    index_print = _verify(config.index_folder, index.STAGE, {"source": config.source, "index": config.index}, None)
    images = read_table(config.index_folder / index.IMAGES, IMAGE_COLUMNS)
    labels = read_table(config.index_folder / index.LABELS)
    content = read_json(config.index_folder / index.CONTENT)
    classes = ClassList.model_validate(content["classes"])
    fingerprints = {"index": index_print}
    targets = None
    if len(labels):
        targets = class_values(align(images, labels), classes)
    images["fold"] = -1
    if targets is not None and needs_folds:
        fingerprints["fold"] = _verify(config.fold_folder, fold.STAGE, {"fold": config.fold}, index_print)
        images["fold"] = align(images, read_table(config.fold_folder / fold.FOLDS))["fold"]
    fingerprints["cache"] = _verify(config.cache_folder, cache.STAGE, {"cache": config.cache}, index_print)
    pixels = PixelCache.open(config.cache_folder)
    if pixels.image_ids != images["image_id"].tolist():
        raise ArtifactError(f"{config.cache_folder}: does not hold the images of {config.index_folder}; remove it")
    return Dataset(images, targets, classes, pixels.channels, pixels, fingerprints, config.out)


def _verify(folder: Path, stage: str, sections: dict[str, object], index_print: str | None) -> str:
    """The fingerprint of an artifact, after a look that it was made from these settings and this index."""
    found = read_record(folder, stage)
    expected = make_record(stage, sections, found.inputs if index_print is None else {"index": index_print})
    is_finished(folder, expected)
    return found.fingerprint
