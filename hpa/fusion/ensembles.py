"""Several runs of one kind made into one."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from hpa.arrays import Float64, Probabilities
from hpa.fusion.confidence import ConfidenceKind, confidences
from hpa.fusion.config import EnsembleRule


def ensemble(
    runs: Sequence[Probabilities],
    rule: EnsembleRule,
    confidence: ConfidenceKind = "winner",
    multi_label: bool = True,
) -> Probabilities:
    """One table of scores from those of several runs.

    `mean`: of the scores. `confidence_weighted`: the mean in which a run counts, for each item, as much as it is sure
    there (by default its highest score of any class): a run that is sure of something about the item counts more than
    one that knows nothing of it. `rank`: every score becomes its rank among all items, / their number, class by class,
    and the ranks are averaged: for runs whose scales do not agree; what it gives depends on the items that are ranked
    together, and is no probability (many of the 2021 competition's teams lost by it).

    Args:
        runs: float32 (items, classes) in [0, 1], the same items in each.
        rule: how.
        confidence: how sure a run is of an item, for `confidence_weighted`.
        multi_label: whether an item may have several classes, for that confidence.

    Returns:
        float32 (items, classes) in [0, 1].

    Raises:
        ValueError: no run, or runs of different shapes.

    >>> runs = [np.float32([[0.75, 0.0]]), np.float32([[0.25, 0.0]])]
    >>> ensemble(runs, "mean").tolist(), ensemble(runs, "confidence_weighted").tolist()
    ([[0.5, 0.0]], [[0.625, 0.0]])
    """
    if not runs:
        raise ValueError("expected at least one run, but got none")
    shapes = {values.shape for values in runs}
    if len(shapes) > 1:
        raise ValueError(f"expected runs of one shape (items, classes), but got {sorted(shapes)}")
    total: Float64[np.ndarray, "items classes"] = np.zeros(runs[0].shape)
    weight: Float64[np.ndarray, "items 1"] = np.zeros((len(runs[0]), 1))
    for values in runs:
        scores = values.astype(np.float64)
        match rule:
            case "mean":
                sure = np.ones_like(weight)
            case "confidence_weighted":
                sure = confidences(values, confidence, multi_label)
            case "rank":
                scores, sure = stats.rankdata(scores, axis=0) / max(len(scores), 1), np.ones_like(weight)
        total += scores * sure
        weight += sure
    # Where no run is sure of anything, all count the same.
    plain = np.mean([values.astype(np.float64) for values in runs], axis=0) if (weight == 0).any() else total
    mean = np.divide(total, weight, out=np.array(plain), where=weight > 0)
    result: Probabilities = np.clip(mean, 0, 1).astype(np.float32)
    return result
