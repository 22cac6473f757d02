"""How well probabilities rank the items of each class: average precision, ROC AUC, precision-recall curves."""

import numpy as np
import pandas as pd
from sklearn import metrics

from hpa.arrays import ClassVector, Probabilities, Targets
from hpa.labels import ClassList


def average_precision(targets: Targets, probabilities: Probabilities) -> ClassVector:
    """Average precision of each class: sum over the ranking of (recall step x precision), ties taken together.

    This is scikit-learn's definition, without interpolation. A constant predictor reaches the class's prevalence.

    Returns:
        One value in [0, 1] per class; NaN where no item has the class, so that it leaves every mean.

    >>> average_precision(np.float32([[1, 0], [0, 0]]), np.float32([[0.9, 0.1], [0.2, 0.3]])).tolist()
    [1.0, nan]
    """
    values = np.full(targets.shape[1], np.nan)
    for column in np.flatnonzero(targets.any(axis=0)):
        values[column] = metrics.average_precision_score(targets[:, column], probabilities[:, column])
    return values


def roc_auc(targets: Targets, probabilities: Probabilities) -> ClassVector:
    """Area under the ROC curve of each class: the chance that an item with it is ranked above one without.

    Returns:
        One value in [0, 1] per class; NaN where all items or none have the class.
    """
    values = np.full(targets.shape[1], np.nan)
    for column in np.flatnonzero(targets.any(axis=0) & ~targets.all(axis=0)):
        values[column] = metrics.roc_auc_score(targets[:, column], probabilities[:, column])
    return values


def precision_recall_points(
    targets: Targets, probabilities: Probabilities, classes: ClassList, points: int = 200
) -> pd.DataFrame:
    """Precision-recall curves for drawing: at each recall reached, the precision with which it is reached first.

    As steps (each precision held back to the recall before), the area below them is the average precision.

    Args:
        targets: 0 or 1.
        probabilities: in the same order.
        classes: gives the names.
        points: at most so many per class; of longer curves, evenly spaced ones.

    Returns:
        Columns class, recall, precision: one curve per class with positives, recall rising from 0 to 1.
    """
    curves = [pd.DataFrame({"class": [], "recall": [], "precision": []}).astype({"class": str})]
    for column in np.flatnonzero(targets.any(axis=0)):
        precision, recall, _ = metrics.precision_recall_curve(targets[:, column], probabilities[:, column])
        # From high to low thresholds; where several share a recall, the first has the fewest false positives.
        precision, recall = precision[::-1], recall[::-1]
        first = np.flatnonzero(np.append(True, np.diff(recall) > 0))
        kept = first[np.unique(np.linspace(0, len(first) - 1, min(points, len(first))).round().astype(int))]
        curves.append(
            pd.DataFrame({"class": classes.names[column], "recall": recall[kept], "precision": precision[kept]})
        )
    return pd.concat(curves[1:] or curves, ignore_index=True)
