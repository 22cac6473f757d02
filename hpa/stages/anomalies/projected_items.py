"""The images or cells that `project` shows: keys, labels, groups, properties to colour by, and their pixels."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hpa.arrays import Bool, Int64, Targets
from hpa.artifacts import ArtifactError, file_digest, read_record
from hpa.cache import PixelCache
from hpa.cell_cache import CellCache
from hpa.labels import ClassList
from hpa.progress import say
from hpa.report.scatter_items import Column
from hpa.stages.anomalies.project_config import ProjectConfig
from hpa.stages.cell_level import make_pseudo_labels
from hpa.stages.cells import cache_cells
from hpa.stages.data import fold, index
from hpa.stages.data.dataset import open_dataset, prepare
from hpa.stages.data.indexed_images import IndexedImages, open_index
from hpa.tables import CELL_KEY, IMAGE_COLUMNS, IMAGE_KEY, align, class_values, read_table

FINDINGS = "findings.parquet"

_NO_PROPERTY = ("phash", "duplicate_set", "std_", "p99_", "hist_")  # columns of the index that nobody colours by
_FEW = 12  # different numbers that are shown as categories


@dataclass(frozen=True, eq=False)
class ProjectedItems:
    """What is shown; row i of everything is one image or cell.

    Attributes:
        keys: image_id, and cell_id for cells.
        classes: the class list.
        targets: labels; None where there are none.
        groups: of the images.
        pixels: of the items.
        rows: of the items in `pixels`.
        columns: properties to colour by.
        details: texts of findings, as `hpa.report.scatter_items.ScatterItems` takes them.
        inputs: fingerprints of what was opened.
    """

    keys: pd.DataFrame
    classes: ClassList
    targets: Targets | None
    groups: list[str]
    pixels: PixelCache | CellCache
    rows: Int64[np.ndarray, " items"]
    columns: tuple[Column, ...]
    details: Mapping[str, Mapping[str, list[str]]]
    inputs: dict[str, str]


def open_items(config: ProjectConfig) -> ProjectedItems:
    """Open what a configuration shows; a data set's index, folds and cache are made first where they are missing.

    Images that cannot be dealt into folds are shown without.

    Raises:
        ArtifactError: the cells are missing or those of other images, or findings are missing.
        ValueError: labels or findings that do not fit the items, or the source cannot be used.
    """
    indexed = open_index(index.run(config.data))
    inputs = {"index": indexed.fingerprint}
    labels = read_table(config.data.index_folder / index.LABELS)
    of_images = class_values(align(indexed.table, labels), indexed.classes) if len(labels) else None
    images = indexed.table.assign(fold=_folds(config, inputs) if of_images is not None else -1)
    keys, pixels = _images(config, inputs) if config.level == "image" else _cells(config, indexed, inputs)
    rows = pd.Index(images["image_id"]).get_indexer(keys["image_id"])
    targets = None if of_images is None else of_images[rows]
    if config.level == "cell" and config.cell_labels is not None:
        path = config.cell_labels / make_pseudo_labels.LABELS if config.cell_labels.is_dir() else config.cell_labels
        inputs["cell_labels"] = file_digest(path)
        targets = class_values(align(keys, read_table(path, CELL_KEY), CELL_KEY), indexed.classes)
    columns = [*_properties(images.iloc[rows])]
    details: dict[str, dict[str, list[str]]] = {}
    if config.findings is not None:
        found, details = _findings(config.findings, keys, inputs)
        columns += [column for column in found if column.name not in {other.name for other in columns}]
    return ProjectedItems(
        keys=keys,
        classes=indexed.classes,
        targets=targets,
        groups=[str(group) for group in images["group"].to_numpy()[rows]],
        pixels=pixels,
        rows=np.arange(len(keys)),
        columns=tuple(columns),
        details=details,
        inputs=inputs,
    )


def _folds(config: ProjectConfig, inputs: dict[str, str]) -> Int64[np.ndarray, " images"] | int:
    try:
        folder = fold.run(config.data)
    except ArtifactError:
        raise
    except ValueError as error:
        say(f"{config.out}: shown without folds, for the images cannot be dealt into them: {error}")
        return -1
    inputs["fold"] = read_record(folder, fold.STAGE).fingerprint
    images = read_table(config.data.index_folder / index.IMAGES, IMAGE_KEY)
    folds: Int64[np.ndarray, " images"] = align(images, read_table(folder / fold.FOLDS))["fold"].to_numpy(np.int64)
    return folds


def _images(config: ProjectConfig, inputs: dict[str, str]) -> tuple[pd.DataFrame, PixelCache]:
    prepare(config.data, needs_folds=False)
    data = open_dataset(config.data, needs_folds=False)
    inputs["cache"] = data.fingerprints["cache"]
    return data.images[list(IMAGE_KEY)], data.cache


def _cells(config: ProjectConfig, indexed: IndexedImages, inputs: dict[str, str]) -> tuple[pd.DataFrame, CellCache]:
    cut = read_record(config.cells_cache, cache_cells.STAGE)
    if cut.inputs.get("index") != indexed.fingerprint:
        raise ArtifactError(
            f"{config.cells_cache}: its cells are not those of the images in {config.data.index_folder}; give the "
            f"folder that `hpa {cache_cells.STAGE}` made from the same data section"
        )
    inputs["cells_cache"] = cut.fingerprint
    cache = CellCache.open(config.cells_cache)
    if not len(cache):
        raise ValueError(f"{config.cells_cache}: holds no cells, so there is nothing to show")
    return cache.keys[list(CELL_KEY)], cache


def _properties(images: pd.DataFrame) -> list[Column]:
    """Folds, groups, sources, mean intensities and the source's own columns."""
    names = ["fold", "group", "source"]
    names += [str(name) for name in images.columns if name not in {*IMAGE_COLUMNS, "fold"}]
    columns = []
    for name in names:
        values = images[name]
        if name.startswith(_NO_PROPERTY) or (name == "fold" and (values < 0).all()):
            continue
        if pd.api.types.is_numeric_dtype(values) and values.nunique() > _FEW:
            shown = f"mean {name[5:]}" if name.startswith("mean_") else name
            columns.append(Column(shown, "number", values.to_numpy(np.float32)))
        elif all(np.ndim(value) == 0 for value in values):
            columns.append(Column(name, "category", ["" if pd.isna(value) else str(value) for value in values]))
    return columns


def _findings(
    path: Path, keys: pd.DataFrame, inputs: dict[str, str]
) -> tuple[list[Column], dict[str, dict[str, list[str]]]]:
    """Scores and flags as columns, and what there is to say about the flagged."""
    path = path / FINDINGS if path.is_dir() else path
    if not path.is_file():
        raise ArtifactError(f"{path}: no findings; `hpa detect_anomalies` makes them")
    inputs["findings"] = file_digest(path)
    key = list(keys.columns)
    table = align(keys, read_table(path, key), key)
    names = [str(name).removesuffix("_score") for name in table.columns if str(name).endswith("_score")]
    names = [name for name in names if f"is_{name}" in table.columns]
    if not names:
        raise ValueError(f"{path}: expected columns `<name>_score` and `is_<name>`, but got {list(table.columns)}")
    columns, details = [], {}
    for name in names:
        title = name.replace("_", " ")
        flags = table[f"is_{name}"].to_numpy(bool)
        columns.append(Column(f"{title} score", "number", table[f"{name}_score"].to_numpy(np.float32), title))
        columns.append(Column(f"{title} flagged", "flag", flags, title))
        # A column belongs to the longest name that begins it.
        longer = tuple(f"{other}_" for other in names if other.startswith(f"{name}_"))
        own = [
            column
            for column in table.columns
            if column.startswith(f"{name}_")
            and column != f"{name}_score"
            and not (longer and column.startswith(longer))
        ]
        details[title] = {column[len(name) + 1 :].replace("_", " "): _texts(table[column], flags) for column in own}
    return columns, details


def _texts(values: pd.Series, flags: Bool[np.ndarray, " items"]) -> list[str]:
    """Values of the flagged as text, numbers with four digits; the others are empty."""
    return [
        "" if not flag or pd.isna(value) else f"{value:.4g}" if isinstance(value, float) else str(value)
        for value, flag in zip(values.tolist(), flags.tolist(), strict=True)
    ]
