"""Decisions of single-label tasks moved towards rare classes: a factor per class before the highest score is taken.

The counterpart of `thresholds.py`, which serves tasks with several classes per item. The network stays as it is; what
is tuned is the price of each answer (Zhou and Liu, "Training cost-sensitive neural networks with methods addressing the
class imbalance problem", IEEE TKDE 18, 2006, section 3.3).
"""

from typing import Literal, TypeAlias

import numpy as np

from hpa.arrays import Bool, ClassVector, Float64, Int64, Probabilities, Targets
from hpa.evaluation.decisions import mean_of_defined, score_decisions

Objective: TypeAlias = Literal["macro_f1", "macro_recall"]
"""What the factors are to raise; `macro_recall` is the balanced accuracy."""

CANDIDATES = 200
"""Factors tried for a class in one turn, at quantiles of those that change a decision."""

_SMALLEST = 1e-9


def decide_moved(
    probabilities: Probabilities, factors: ClassVector | Float64[np.ndarray, "items classes"]
) -> Bool[np.ndarray, "items classes"]:
    """The one class of each item for which probability times factor is highest, the first of equals.

    Args:
        probabilities: in [0, 1].
        factors: above 0, per class, or per item and class as `cross_fit_factors` gives them.

    >>> decide_moved(np.float32([[0.7, 0.3], [0.9, 0.1]]), np.array([1.0, 4.0])).tolist()
    [[False, True], [True, False]]
    """
    best = (probabilities * factors).argmax(axis=1)
    moved: Bool[np.ndarray, "items classes"] = np.arange(probabilities.shape[1]) == best[:, None]
    return moved


def move_thresholds(
    targets: Targets, probabilities: Probabilities, objective: Objective = "macro_f1", rounds: int = 3
) -> ClassVector:
    """Factors under which the decisions on these items are best.

    A coordinate search from factors of 1 and, where that begins better, from 1 / prevalence, which is Bayes' choice for
    balanced accuracy where probabilities are calibrated. Give it out-of-fold predictions; the objective reached on the
    items that it was tuned on is optimistic, `cross_fit_factors` measures it honestly.

    Args:
        targets: one class per item.
        probabilities: in [0, 1].
        objective: what to raise.
        rounds: of the search over all classes.

    Returns:
        Per class, with a geometric mean of 1; 1 for classes that no item has.
    """
    counts = targets.sum(axis=0, dtype=np.float64)
    present = np.flatnonzero(counts > 0)
    even = np.ones(len(counts))
    by_prevalence = np.where(counts > 0, len(targets) / np.maximum(counts, 1), 1.0)
    starts = [even, by_prevalence]
    values = [_value(targets, decide_moved(probabilities, start), objective) for start in starts]
    factors, best = starts[int(np.argmax(values))].copy(), max(values)
    for _ in range(rounds):
        before = best
        for number in present:
            for factor in _candidates(probabilities, factors, int(number)):
                tried = factors.copy()
                tried[number] = factor
                value = _value(targets, decide_moved(probabilities, tried), objective)
                if value > best + 1e-12:
                    factors, best = tried, value
        if best <= before:
            break
    factors[present] /= np.exp(np.log(factors[present]).mean())
    return factors


def cross_fit_factors(
    targets: Targets,
    probabilities: Probabilities,
    folds: Int64[np.ndarray, " items"],
    objective: Objective = "macro_f1",
) -> Float64[np.ndarray, "items classes"]:
    """For each item the factors tuned on the items of all other folds.

    Raises:
        ValueError: fewer than two folds.
    """
    numbers = np.unique(folds)
    if len(numbers) < 2:
        raise ValueError(f"expected at least two folds to move thresholds across, but got {numbers.tolist()}")
    factors: Float64[np.ndarray, "items classes"] = np.empty(targets.shape)
    for fold in numbers:
        here = folds == fold
        factors[here] = move_thresholds(targets[~here], probabilities[~here], objective)
    return factors


def _candidates(probabilities: Probabilities, factors: ClassVector, number: int) -> Float64[np.ndarray, " candidates"]:
    """Factors of one class between those at which an item changes sides."""
    others = probabilities.astype(np.float64) * factors
    others[:, number] = 0
    turning = np.unique(others.max(axis=1) / np.maximum(probabilities[:, number], _SMALLEST))
    turning = turning[turning > 0]
    if len(turning) == 0:
        return np.zeros(0)
    if len(turning) > CANDIDATES:
        turning = turning[np.linspace(0, len(turning) - 1, CANDIDATES).round().astype(int)]
    middles = np.sqrt(turning[1:] * turning[:-1])
    found: Float64[np.ndarray, " candidates"] = np.concatenate([[turning[0] / 2], middles, [turning[-1] * 2]])
    return found


def _value(targets: Targets, decisions: Bool[np.ndarray, "items classes"], objective: Objective) -> float:
    scores = score_decisions(targets, decisions)
    return mean_of_defined(scores.f1 if objective == "macro_f1" else scores.recall)
