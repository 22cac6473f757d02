"""What labels of cells hold, and how well they agree with true ones."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from sklearn import metrics

from hpa.arrays import Targets
from hpa.labels import ClassList
from hpa.tables import as_records, json_value

POSITIVE = 0.5
"""A soft label from here on counts as a positive one."""


def compare_with_truth(labels: Targets, true_labels: Targets, classes: ClassList) -> pd.DataFrame:
    """Per class, how soft labels of cells agree with true ones.

    Args:
        labels: in [0, 1].
        true_labels: 0 or 1, the same cells.
        classes: gives the names.

    Returns:
        Columns class, true_cells, positives (labels of 0.5 or more), precision and recall of these, auc (area under the
        ROC curve of the soft labels), ap (average precision of them) and mean_label. NaN where a figure is not defined:
        precision without positives, recall and ap without true cells, auc without either kind.

    Raises:
        ValueError: tables of different shapes, or a true label that is not 0 or 1.

    >>> classes = ClassList(names=("a", "b"))
    >>> found = compare_with_truth(np.float32([[0.9, 0], [0.6, 0]]), np.float32([[1, 0], [0, 0]]), classes)
    >>> found.loc[0, ["precision", "recall", "auc"]].tolist()
    [0.5, 1.0, 1.0]
    """
    if labels.shape != true_labels.shape or labels.shape[1] != len(classes):
        raise ValueError(
            f"expected labels of {len(classes)} classes and the same cells, but got {labels.shape} and "
            f"{true_labels.shape}"
        )
    if not np.isin(true_labels, (0, 1)).all():
        raise ValueError("expected true labels of 0 and 1; round them first")
    truth, positive = true_labels > 0, labels >= POSITIVE
    rows = []
    for number, name in enumerate(classes.names):
        true, found, soft = truth[:, number], positive[:, number], labels[:, number]
        hits = int((true & found).sum())
        both = true.any() and not true.all()
        rows.append(
            {
                "class": name,
                "true_cells": int(true.sum()),
                "positives": int(found.sum()),
                "precision": hits / found.sum() if found.any() else np.nan,
                "recall": hits / true.sum() if true.any() else np.nan,
                "auc": float(metrics.roc_auc_score(true, soft)) if both else np.nan,
                "ap": float(metrics.average_precision_score(true, soft)) if true.any() else np.nan,
                "mean_label": float(soft.mean()) if len(soft) else np.nan,
            }
        )
    return pd.DataFrame(rows)


def summarise_agreement(
    values: Mapping[str, Targets], true_labels: Targets, classes: ClassList
) -> dict[str, dict[str, object]]:
    """Several tables of labels or evidence compared with the truth: the means over the classes, and each class.

    Returns:
        By name, `macro` (precision, recall, auc, ap; without the classes where a figure is not defined) and
        `per_class`, ready for JSON: None stands for what is not defined.
    """
    found: dict[str, dict[str, object]] = {}
    for name, table in values.items():
        per_class = compare_with_truth(table, true_labels, classes)
        means = per_class[["precision", "recall", "auc", "ap"]].mean()
        found[name] = {
            "macro": {str(key): json_value(value) for key, value in means.items()},
            "per_class": as_records(per_class),
        }
    return found


def positives_per_class(labels: Targets, weights: np.ndarray, classes: ClassList) -> pd.DataFrame:
    """Per class, what a table of cell labels holds.

    Returns:
        Columns class, positives (labels of 0.5 or more), share (of all cells), sum (of the soft labels) and weighted
        (sum of label x weight: what training sees of the class).
    """
    positive = labels >= POSITIVE
    return pd.DataFrame(
        {
            "class": list(classes.names),
            "positives": positive.sum(axis=0),
            "share": positive.mean(axis=0) if len(labels) else np.zeros(len(classes)),
            "sum": labels.sum(axis=0, dtype=np.float64),
            "weighted": (labels * weights[:, None]).sum(axis=0, dtype=np.float64),
        }
    )
