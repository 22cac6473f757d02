"""Decision thresholds per class that maximise F1."""

from collections.abc import Sequence

import numpy as np

from hpa.arrays import ClassVector, Float, Probabilities, Targets

DEFAULT = 0.5
"""Threshold of a class with no positive item to tune on."""


def tune_thresholds(targets: Targets, probabilities: Probabilities) -> ClassVector:
    """The threshold of each class with the highest F1 on these items: an item has the class when p >= threshold.

    Every threshold that changes a decision is tried. The one given lies midway between two probabilities that occur;
    of several with the same F1, the one nearest to 0.5. A class without positives gets 0.5.

    Give it out-of-fold predictions. F1 measured on the items that the thresholds were tuned on is optimistic, most so
    for rare classes: the thresholds are meant for other images, and `cross_fit_thresholds` measures them honestly.

    Returns:
        One value in [0, 1] per class.

    >>> tune_thresholds(np.float32([[0], [1], [1]]), np.float32([[0.1], [0.3], [0.9]])).round(3).tolist()
    [0.2]
    """
    return np.array([_best_threshold(targets[:, k] > 0, probabilities[:, k]) for k in range(targets.shape[1])])


def cross_fit_thresholds(
    targets: Targets, probabilities: Probabilities, folds: Sequence[int] | np.ndarray
) -> Float[np.ndarray, "items classes"]:
    """For each item the thresholds tuned on the items of all other folds: what F1 may be measured with.

    Raises:
        ValueError: fewer than two folds, or not one fold per item.
    """
    numbers = np.asarray(folds)
    if numbers.shape != (len(targets),):
        raise ValueError(f"expected one fold for each of {len(targets)} items, but got shape {numbers.shape}")
    found = np.unique(numbers)
    if len(found) < 2:
        raise ValueError(f"expected at least two folds to tune thresholds across, but got {found.tolist()}")
    thresholds = np.empty(targets.shape)
    for fold in found:
        here = numbers == fold
        thresholds[here] = tune_thresholds(targets[~here], probabilities[~here])
    return thresholds


def _best_threshold(truth: np.ndarray, probability: np.ndarray) -> float:
    if not truth.any():
        return DEFAULT
    order = np.argsort(-probability, kind="stable")
    falling = probability[order].astype(np.float64)
    hits = np.cumsum(truth[order])
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))  # a threshold cannot part equal values
    f1 = 2 * hits[last] / (last + 1 + truth.sum())
    lower = np.append(falling[last[1:]], 0.0)
    thresholds = (falling[last] + lower) / 2
    best = thresholds[f1 >= f1.max() - 1e-12]
    return float(best[np.abs(best - 0.5).argmin()])
