"""Stacking: logistic regressions that learn from the members' scores which class an item has."""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression

from hpa.arrays import Float64, Probabilities, Targets
from hpa.config import Config
from hpa.fusion.combination_config import StackingRule

SMALLEST = 1e-6
"""Scores this near to 0 and 1 count as this far from it: log-odds then stay within ±13.8."""

_LABEL = 0.5


class Stack(Config):
    """Fitted regressions, ready for JSON.

    Attributes:
        coefficients: of every class, one per feature (see `features`).
        intercepts: of every class.
    """

    coefficients: tuple[tuple[float, ...], ...]
    intercepts: tuple[float, ...]


def fit_stack(values: Sequence[Probabilities], targets: Targets, rule: StackingRule) -> Stack:
    """Fit one regression per class.

    A class that all items have, or none, cannot be learned: its log-odds are the mean of the members'.

    Args:
        values: of every member, float32 (items, classes) in [0, 1], out of fold: of networks that have not learned
            these items.
        targets: labels of the same items; 0.5 and more count as 1.
        rule: features and penalty.
    """
    known = targets >= _LABEL
    coefficients, intercepts = [], []
    for number in range(targets.shape[1]):
        inputs = _features(values, number, rule)
        if known[:, number].any() and not known[:, number].all():
            model = LogisticRegression(C=1 / rule.penalty, max_iter=5000, tol=1e-8)
            model.fit(inputs, known[:, number])
            coefficients.append(tuple(map(float, model.coef_[0])))
            intercepts.append(float(model.intercept_[0]))
        else:
            own = _own_columns(len(values), targets.shape[1], number, rule)
            coefficients.append(tuple(float(column in own) / len(values) for column in range(inputs.shape[1])))
            intercepts.append(0.0)
    return Stack(coefficients=tuple(coefficients), intercepts=tuple(intercepts))


def apply_stack(stack: Stack, values: Sequence[Probabilities], rule: StackingRule) -> Probabilities:
    """The class probabilities that fitted regressions give; they do not sum to one.

    Raises:
        ValueError: scores of another number of members or classes than the regressions were fitted to.
    """
    classes = values[0].shape[1]
    features = len(values) * (1 if rule.features == "own" else classes)
    found = (len(stack.intercepts), {len(row) for row in stack.coefficients})
    if found != (classes, {features}):
        raise ValueError(
            f"expected coefficients of {classes} classes and {features} features, but got those of {found[0]} classes "
            f"and {sorted(found[1])} features; fit again with these members"
        )
    odds = np.stack(
        [
            _features(values, number, rule) @ np.array(row) + intercept
            for number, (row, intercept) in enumerate(zip(stack.coefficients, stack.intercepts, strict=True))
        ],
        axis=1,
    )
    result: Probabilities = (1 / (1 + np.exp(-np.clip(odds, -60, 60)))).astype(np.float32)
    return result


def _features(
    values: Sequence[Probabilities], number: int, rule: StackingRule
) -> Float64[np.ndarray, "items features"]:
    """The members' log-odds of one class, or of all classes, member after member."""
    chosen = [one[:, [number]] if rule.features == "own" else one for one in values]
    scores = np.clip(np.concatenate(chosen, axis=1).astype(np.float64), SMALLEST, 1 - SMALLEST)
    odds: Float64[np.ndarray, "items features"] = np.log(scores) - np.log1p(-scores)
    return odds


def _own_columns(members: int, classes: int, number: int, rule: StackingRule) -> set[int]:
    """Which features are log-odds of the class itself."""
    return set(range(members)) if rule.features == "own" else {number + classes * member for member in range(members)}
