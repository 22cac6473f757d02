"""`fold`: deal the indexed images into folds."""

from pathlib import Path

import numpy as np
import pandas as pd

from hpa.arrays import Targets
from hpa.artifacts import build, is_finished, make_record, read_json, read_record, write_text
from hpa.folds import fold_gaps, fold_report, make_folds
from hpa.labels import ClassList
from hpa.progress import say
from hpa.stages.data import index
from hpa.stages.data.dataset_config import DatasetConfig
from hpa.tables import IMAGE_COLUMNS, align, class_values, read_table, write_table

STAGE = "fold"
FOLDS, REPORT = "folds.parquet", "report.csv"


def run(config: DatasetConfig) -> Path:
    """Deal the images into folds, indexing them first where that is missing.

    The folder holds `folds.parquet` (image_id, fold) and `report.csv` (`folds.fold_report`).

    Returns:
        The folder.

    Raises:
        ArtifactError: something else stands there.
        ValueError: the images have no labels, there are fewer groups than folds, or no fold leaves anything to train.
    """
    index.run(config)
    return make(config)


def make(config: DatasetConfig) -> Path:
    """Deal the images into folds as `run` does, from an index that is there; raises as `run` does."""
    folder, index_folder = config.fold_folder, config.index_folder
    record = make_record(STAGE, {"fold": config.fold}, {"index": read_record(index_folder, index.STAGE).fingerprint})
    if is_finished(folder, record):
        say(f"{folder}: made before, nothing to do")
        return folder
    images = read_table(index_folder / index.IMAGES, IMAGE_COLUMNS)
    labels = read_table(index_folder / index.LABELS)
    if labels.empty:
        raise ValueError(
            f"{index_folder}: the images have no labels, so there is nothing to deal into folds; "
            "give the source a table with labels (source.csv, source.label_column)"
        )
    classes = ClassList.model_validate(read_json(index_folder / index.CONTENT)["classes"])
    targets = class_values(align(images, labels), classes)
    groups = images["group"].tolist()
    assignment = make_folds(targets, groups, config.fold.folds, config.fold.seed)
    for message in _check(targets, assignment, classes):
        say(f"warning: {message}")
    with build(folder, record) as partial:
        write_table(partial / FOLDS, pd.DataFrame({"image_id": images["image_id"], "fold": assignment}))
        report = fold_report(targets, groups, assignment, classes, config.fold.seed)
        write_text(partial / REPORT, report.to_csv(index=False, lineterminator="\n"))
    counts = ", ".join(map(str, np.bincount(assignment)))
    say(f"{folder}: {len(images)} images in {config.fold.folds} folds of {counts}")
    return folder


def _check(targets: Targets, assignment: np.ndarray, classes: ClassList) -> list[str]:
    """What the folds lack, as warnings.

    Raises:
        ValueError: no fold leaves anything to train.
    """
    not_inside, not_outside = fold_gaps(targets, assignment)
    present = np.asarray((targets > 0).any(axis=0))
    absent = [name for name, has in zip(classes.names, present, strict=True) if not has]
    trained = present & ~not_outside
    needed = 1 if classes.multi_label else 2
    if (trained.sum(axis=1) < needed).all():
        raise ValueError(
            f"no fold leaves {'any class' if needed == 1 else 'two classes'} to train on: every class is in too few "
            "groups; use a finer group column, add images, or look at source.group_columns and source.group_pattern"
        )
    messages = [f"no image has the class {_listed(absent)}"] if absent else []
    if not_outside.any():
        found = _listed(_where(not_outside, classes))
        messages.append(
            f"classes with all their images in one fold, which the model tested on it cannot learn: {found}"
        )
    if not_inside.any():
        found = _listed(_where(not_inside, classes))
        messages.append(f"classes without an image to validate on: {found}; fewer folds or more images would help")
    return messages


def _where(lacks: np.ndarray, classes: ClassList) -> list[str]:
    """The classes that some fold lacks, with those folds."""
    columns = zip(classes.names, lacks.T, strict=True)
    return [f"{name} (fold {', '.join(map(str, np.flatnonzero(folds)))})" for name, folds in columns if folds.any()]


def _listed(names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more, see {REPORT}" if len(names) > most else ""
    return ", ".join(names[:most]) + more
