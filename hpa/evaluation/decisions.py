"""From probabilities to decisions, and how good decisions are: F1, precision, recall."""

from dataclasses import dataclass

import numpy as np

from hpa.arrays import Bool, ClassVector, Float, Probabilities, Targets
from hpa.labels import ClassList


def decide(
    probabilities: Probabilities,
    classes: ClassList,
    thresholds: Float[np.ndarray, "#items classes"] | ClassVector | float = 0.5,
) -> Bool[np.ndarray, "items classes"]:
    """Which classes each item is said to have.

    Args:
        probabilities: in [0, 1].
        classes: a multi-label list takes every class at or above its threshold; a single-label list the class with
            the highest probability, the first of equals, whatever the thresholds.
        thresholds: one for all, one per class, or one per item and class.

    >>> decide(np.float32([[0.6, 0.7], [0.2, 0.1]]), ClassList(names=("a", "b"))).tolist()
    [[True, True], [False, False]]
    >>> decide(np.float32([[0.6, 0.7], [0.2, 0.1]]), ClassList(names=("a", "b"), multi_label=False)).tolist()
    [[False, True], [True, False]]
    """
    if classes.multi_label:
        chosen: Bool[np.ndarray, "items classes"] = probabilities.astype(np.float64) >= thresholds
        return chosen
    chosen = np.arange(len(classes)) == probabilities.argmax(axis=1)[:, None]
    return chosen


@dataclass(frozen=True, eq=False)
class Scores:
    """F1, precision and recall of decisions.

    A class never predicted has precision 0. A class that no item has is NaN, and every macro mean leaves it out; its
    false positives do count in the micro figures, which pool all decisions. NaN where nothing is defined.

    Attributes:
        f1: per class, in [0, 1].
        precision: per class, in [0, 1].
        recall: per class, in [0, 1].
        micro_f1: of all decisions pooled.
        micro_precision: of all decisions pooled.
        micro_recall: of all decisions pooled.
    """

    f1: ClassVector
    precision: ClassVector
    recall: ClassVector
    micro_f1: float
    micro_precision: float
    micro_recall: float

    @property
    def macro_f1(self) -> float:
        """Mean of the classes' F1."""
        return mean_of_defined(self.f1)

    @property
    def macro_precision(self) -> float:
        """Mean of the classes' precision."""
        return mean_of_defined(self.precision)

    @property
    def macro_recall(self) -> float:
        """Mean of the classes' recall; for single-label tasks the balanced accuracy."""
        return mean_of_defined(self.recall)


def score_decisions(targets: Targets, decisions: Bool[np.ndarray, "items classes"]) -> Scores:
    """F1, precision and recall, per class and pooled.

    >>> score_decisions(np.float32([[1, 0], [1, 1]]), np.array([[True, False], [False, True]])).macro_recall
    0.75
    """
    truth = targets > 0
    hits = (truth & decisions).sum(axis=0)
    predicted, positives = decisions.sum(axis=0), truth.sum(axis=0)
    f1, precision, recall = _rates(hits, predicted, positives)
    for values in (f1, precision, recall):
        values[positives == 0] = np.nan
    pooled = _rates(*(np.atleast_1d(counts.sum()) for counts in (hits, predicted, positives)))
    micro = [float(values[0]) if positives.sum() else float("nan") for values in pooled]
    return Scores(f1, precision, recall, *micro)


def _rates(
    hits: np.ndarray, predicted: np.ndarray, positives: np.ndarray
) -> tuple[ClassVector, ClassVector, ClassVector]:
    return (
        2 * hits / np.maximum(predicted + positives, 1),
        hits / np.maximum(predicted, 1),
        hits / np.maximum(positives, 1),
    )


def mean_of_defined(values: ClassVector) -> float:
    """Mean of the values that are not NaN; NaN when there is none.

    >>> mean_of_defined(np.array([0.5, np.nan, 1.0]))
    0.75
    """
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
