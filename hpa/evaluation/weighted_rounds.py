"""Figures of a predictor on many resamplings of the same items at once: each item counts as often as it was drawn."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np

from hpa.arrays import Bool, Float64, Probabilities, Targets

Statistic: TypeAlias = Literal["macro_ap", "macro_auc", "macro_f1", "micro_f1", "accuracy"]
"""What is resampled; `accuracy` is the share of items with every class decided right."""

STATISTICS: tuple[Statistic, ...] = ("macro_ap", "macro_auc", "macro_f1", "micro_f1", "accuracy")

Weights: TypeAlias = Float64[np.ndarray, "rounds items"]
Rounds: TypeAlias = Float64[np.ndarray, " rounds"]


def weighted_statistic(
    name: Statistic,
    targets: Targets,
    probabilities: Probabilities,
    decisions: Bool[np.ndarray, "items classes"],
    weights: Weights,
) -> Rounds:
    """One figure per round, as `hpa.evaluation.evaluate` defines it on the items repeated as often as they weigh.

    Args:
        name: which figure; macro figures are means over the classes that occur in the round.
        targets: 0 or 1.
        probabilities: what ranks the items (`macro_ap`, `macro_auc`).
        decisions: what is counted (`macro_f1`, `micro_f1`, `accuracy`).
        weights: from 0 up, whole numbers for items that are drawn so many times.

    Returns:
        Values in [0, 1]; NaN in a round in which no class is defined.
    """
    match name:
        case "macro_ap":
            return _macro(_average_precision, targets, probabilities, weights)
        case "macro_auc":
            return _macro(_roc_auc, targets, probabilities, weights)
        case "macro_f1" | "micro_f1":
            return _f1(targets > 0, decisions, weights, is_pooled=name == "micro_f1")
        case "accuracy":
            right = ((targets > 0) == decisions).all(axis=1).astype(np.float64)
            return _ratio(weights @ right, weights.sum(axis=1))


def _macro(
    figure: Callable[[np.ndarray, np.ndarray, Weights], Rounds],
    targets: Targets,
    probabilities: Probabilities,
    weights: Weights,
) -> Rounds:
    total, known = np.zeros(len(weights)), np.zeros(len(weights))
    for column in range(targets.shape[1]):
        values = figure(targets[:, column] > 0, probabilities[:, column], weights)
        total += np.nan_to_num(values)
        known += ~np.isnan(values)
    return _ratio(total, known)


def _average_precision(truth: Bool[np.ndarray, " items"], values: np.ndarray, weights: Weights) -> Rounds:
    """As scikit-learn: precision at each threshold times the recall gained there."""
    hits, passed = _at_thresholds(truth, values, weights)
    precision = np.divide(hits, passed, out=np.zeros_like(hits), where=passed > 0)
    gained = np.diff(hits, axis=1, prepend=0)
    return _ratio((gained * precision).sum(axis=1), hits[:, -1])


def _roc_auc(truth: Bool[np.ndarray, " items"], values: np.ndarray, weights: Weights) -> Rounds:
    """Share of the pairs of a positive and a negative item that are ranked right, equals counting half."""
    hits, passed = _at_thresholds(truth, values, weights)
    misses = passed - hits
    won = np.diff(hits, axis=1, prepend=0) * (misses[:, -1:] - (misses + np.roll(misses, 1, axis=1)) / 2)
    # The roll brings the last threshold's misses before the first one's, where there are none.
    won[:, 0] = hits[:, 0] * (misses[:, -1] - misses[:, 0] / 2)
    return _ratio(won.sum(axis=1), hits[:, -1] * misses[:, -1])


def _at_thresholds(
    truth: Bool[np.ndarray, " items"], values: np.ndarray, weights: Weights
) -> tuple[Float64[np.ndarray, "rounds thresholds"], Float64[np.ndarray, "rounds thresholds"]]:
    """Weight of the positives, and of all items, at or above each value that occurs, in falling order."""
    order = np.argsort(-values, kind="stable")
    falling = values[order]
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))  # equal values pass together
    drawn = weights[:, order]
    return np.cumsum(drawn * truth[order], axis=1)[:, last], np.cumsum(drawn, axis=1)[:, last]


def _f1(
    truth: Bool[np.ndarray, "items classes"],
    decisions: Bool[np.ndarray, "items classes"],
    weights: Weights,
    is_pooled: bool,
) -> Rounds:
    hits, said, positives = (weights @ part.astype(np.float64) for part in (truth & decisions, decisions, truth))
    if is_pooled:
        total = positives.sum(axis=1)
        f1 = _ratio(2 * hits.sum(axis=1), said.sum(axis=1) + total)
        f1[total == 0] = np.nan
        return f1
    present = positives > 0
    each = np.divide(2 * hits, said + positives, out=np.zeros_like(hits), where=present)
    return _ratio(each.sum(axis=1), present.sum(axis=1).astype(np.float64))


def _ratio(values: np.ndarray, divisors: np.ndarray) -> Rounds:
    return np.asarray(np.divide(values, divisors, out=np.full(len(values), np.nan), where=divisors > 0))
