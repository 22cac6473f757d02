"""The members of an ensemble as they were predicted, brought to the same images in the same order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hpa.arrays import Int64, Probabilities, Targets
from hpa.artifacts import read_json
from hpa.backbones import RANDOM_WEIGHTS
from hpa.folds import make_folds
from hpa.fusion import ensemble
from hpa.labels import ClassList
from hpa.stages.comparison.ensemble_config import EnsembleConfig
from hpa.stages.data import index
from hpa.stages.data.indexed_images import open_index
from hpa.stages.image_level.run_page import METRICS
from hpa.tables import IMAGE_KEY, class_values, read_table


@dataclass(frozen=True, eq=False)
class Members:
    """What all members say of the same images.

    Attributes:
        image_ids: the images, as the index orders them.
        names: of the members.
        scores: probabilities of each, one row per image.
        targets: labels; None where the images have none.
        groups: of the images.
        folds: of the images, to fit across; None without labels.
        are_own_folds: whether the folds are those that the members' networks held out.
        classes: the class list.
        left_out: images of the index that not all members have predicted.
    """

    image_ids: list[str]
    names: tuple[str, ...]
    scores: list[Probabilities]
    targets: Targets | None
    groups: np.ndarray
    folds: Int64[np.ndarray, " items"] | None
    are_own_folds: bool
    classes: ClassList
    left_out: int


def read_members(config: EnsembleConfig, paths: Mapping[str, Sequence[Path]], classes: ClassList | None) -> Members:
    """Read and align.

    Args:
        config: the members and the images.
        paths: table of every run of every member.
        classes: of a fit that is applied; None takes the index's.

    Raises:
        ArtifactError: the images have no index.
        ValueError: tables of other images or classes, with an image twice, probabilities outside [0, 1], or images that
            not all members have.
    """
    indexed = open_index(config.data.index_folder)
    labels = read_table(config.data.index_folder / index.LABELS)
    if classes is None:
        classes = indexed.classes
    elif len(labels) and classes != indexed.classes:
        raise ValueError(
            f"expected the classes that the ensemble was fitted for, {list(classes.names)}, but the images are "
            f"labelled with {list(indexed.classes.names)}"
        )
    tables = {name: [_read(path, name, indexed.table) for path in found] for name, found in paths.items()}
    image_ids = _common(config, tables, indexed.table["image_id"].tolist())
    values = []
    for name, found in tables.items():
        rows = [class_values(table.loc[image_ids], classes) for table in found]
        for one in rows:
            outside = ~((one >= 0) & (one <= 1))
            if outside.any():
                raise ValueError(f"{name}: expected probabilities from 0 to 1, but got {one[outside][0]}")
        values.append(ensemble(rows, "mean"))
    images = indexed.table.set_index("image_id").loc[image_ids]
    groups = images["group"].astype(str).to_numpy()
    targets = folds = None
    own = _own_folds([table for found in tables.values() for table in found], image_ids)
    if len(labels):
        targets = class_values(labels.set_index("image_id").loc[image_ids].reset_index(), classes)
        folds = own
        if folds is None:
            folds = make_folds(targets, groups.tolist(), max(2, min(config.folds, len(set(groups)))), config.seed)
    return Members(
        image_ids,
        tuple(tables),
        values,
        targets,
        groups,
        folds,
        own is not None,
        classes,
        len(indexed.table) - len(image_ids),
    )


def from_random_weights(config: EnsembleConfig) -> list[str]:
    """Names of the members with a run whose networks began with random weights, as far as their folders tell."""
    names = []
    for member in config.members:
        folders = [path if path.is_dir() else path.parent for path in member.paths]
        told = [read_json(folder / METRICS) for folder in folders if (folder / METRICS).is_file()]
        if any(isinstance(one, dict) and RANDOM_WEIGHTS in str(one.get("initial_weights")) for one in told):
            names.append(member.name)
    return names


def _read(path: Path, name: str, images: pd.DataFrame) -> pd.DataFrame:
    """A table of probabilities, indexed by image."""
    table = read_table(path, IMAGE_KEY)
    if "cell_id" in table.columns:
        raise ValueError(f"{name}: {path} holds cells; an ensemble is of images (`hpa fuse` takes cells)")
    if table["image_id"].duplicated().any():
        repeated = table["image_id"][table["image_id"].duplicated()].iloc[0]
        raise ValueError(f"{name}: expected every image once in {path}, but {repeated} repeats")
    unknown = table["image_id"][~table["image_id"].isin(images["image_id"])]
    if len(unknown):
        raise ValueError(
            f"{name}: {len(unknown)} images of {path} are not in the data set, such as {unknown.iloc[0]}; give `data` "
            "as for these predictions"
        )
    return table.set_index("image_id")


def _common(config: EnsembleConfig, tables: Mapping[str, Sequence[pd.DataFrame]], images: list[str]) -> list[str]:
    """The images that all members have predicted, in the index's order."""
    kept = images
    for name, found in tables.items():
        for table in found:
            has = set(table.index)
            missing = [image_id for image_id in images if image_id not in has]
            if missing and not config.common:
                raise ValueError(
                    f"{name}: {len(missing)} of {len(images)} images are not predicted, such as {missing[0]}; train or "
                    "predict with folds=all, or set common=true to leave out what not all members have"
                )
            kept = [image_id for image_id in kept if image_id in has]
    if not kept:
        raise ValueError(
            "expected images that all members have predicted, but there are none; give runs on one data set"
        )
    return kept


def _own_folds(tables: Sequence[pd.DataFrame], image_ids: list[str]) -> Int64[np.ndarray, " items"] | None:
    """The folds of the members' networks, where all tables agree on at least two."""
    if not all("fold" in table.columns for table in tables):
        return None
    folds = [table.loc[image_ids, "fold"].to_numpy(np.int64) for table in tables]
    agree = all(np.array_equal(folds[0], other) for other in folds[1:])
    return folds[0] if agree and len(np.unique(folds[0])) > 1 else None
