"""Whether probabilities mean what they say: reliability table, expected calibration error, Brier score."""

import numpy as np
import pandas as pd

from hpa.arrays import ClassVector, Probabilities, Targets
from hpa.labels import ClassList

BINS = 15
"""Bins of equal width over [0, 1], as Guo et al. (2017), "On Calibration of Modern Neural Networks"."""


def reliability_table(
    targets: Targets, probabilities: Probabilities, classes: ClassList, bins: int = BINS
) -> pd.DataFrame:
    """Predicted probability beside the share that is true, per class and bin; bins without items are left out.

    Returns:
        Columns class, bin (from 0), lower and upper (its edges), items, probability (their mean), share (of them that
        have the class).
    """
    items, probability, share = _bins(targets, probabilities, bins)
    column, number = np.nonzero(items)
    return pd.DataFrame(
        {
            "class": np.array(classes.names, object)[column],
            "bin": number,
            "lower": number / bins,
            "upper": (number + 1) / bins,
            "items": items[column, number],
            "probability": probability[column, number],
            "share": share[column, number],
        }
    )


def expected_calibration_error(targets: Targets, probabilities: Probabilities, bins: int = BINS) -> ClassVector:
    """Mean distance between probability and share over the bins, weighted by their items (Guo et al. 2017, eq. 3).

    Each class is taken as its own yes-or-no question.

    Returns:
        One value in [0, 1] per class, 0 = calibrated. Low is easy where the class is rare: see also the Brier score.
    """
    items, probability, share = _bins(targets, probabilities, bins)
    error: ClassVector = (items * np.abs(probability - share)).sum(axis=1) / len(targets)
    return error


def brier_score(targets: Targets, probabilities: Probabilities) -> ClassVector:
    """Mean squared distance between probability and truth, in [0, 1], per class (Brier 1950, for yes or no)."""
    score: ClassVector = np.square(probabilities.astype(np.float64) - targets).mean(axis=0)
    return score


def _bins(targets: Targets, probabilities: Probabilities, bins: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Items, mean probability and share true, each (classes, bins); 0 where a bin is empty."""
    classes = targets.shape[1]
    number = np.minimum((probabilities * bins).astype(int), bins - 1)
    flat = (number + bins * np.arange(classes)).ravel()

    def total(weights: np.ndarray | None) -> np.ndarray:
        return np.bincount(flat, weights, minlength=classes * bins).reshape(classes, bins)

    items = total(None)
    probability = total(probabilities.astype(np.float64).ravel()) / np.maximum(items, 1)
    share = total(targets.astype(np.float64).ravel()) / np.maximum(items, 1)
    return items, probability, share
