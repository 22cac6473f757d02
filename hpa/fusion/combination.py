"""Ensembles of classifiers: rules fitted to labels, applied to new scores, and fitted on all folds but one."""

from collections.abc import Sequence

import numpy as np

from hpa.arrays import Float64, Int64, Probabilities, Targets
from hpa.config import Config
from hpa.fusion.combination_config import (
    CombinationRule,
    ConfidenceRule,
    MeanRule,
    RankRule,
    StackingRule,
    WeightsRule,
)
from hpa.fusion.ensembles import ensemble
from hpa.fusion.opinion_pool import pool_weights
from hpa.fusion.scores import fuse_values
from hpa.fusion.stacking import Stack, apply_stack, fit_stack
from hpa.fusion.tuning import AveragePrecision, Matches, tune_weights
from hpa.labels import ClassList


class Combination(Config):
    """A rule with what was fitted for it, ready for JSON.

    Attributes:
        rule: the rule.
        members: names, in the order of the scores.
        classes: the class list.
        weights: of every member, one per class, for fitted weights.
        stack: for stacking.
    """

    rule: CombinationRule
    members: tuple[str, ...]
    classes: ClassList
    weights: tuple[tuple[float, ...], ...] | None = None
    stack: Stack | None = None


def needs_labels(rule: CombinationRule) -> bool:
    """Whether a rule is fitted."""
    return isinstance(rule, WeightsRule | StackingRule)


def fit_combination(
    rule: CombinationRule,
    members: Sequence[str],
    values: Sequence[Probabilities],
    targets: Targets | None,
    classes: ClassList,
    average_precision: AveragePrecision,
) -> Combination:
    """Fit a rule.

    Args:
        rule: how.
        members: their names.
        values: their scores, float32 (items, classes) in [0, 1]. Where the rule is fitted they must be out of fold, or
            the member that has learned its images by heart gets all the weight.
        targets: labels of the same items; None where the rule is not fitted.
        classes: the columns.
        average_precision: of a ranking, for weights that maximise it.

    Raises:
        ValueError: scores of different shapes, or a rule that is fitted without labels.
    """
    _check(members, values, classes)
    unfitted = Combination(rule=rule, members=tuple(members), classes=classes)
    if not needs_labels(rule):
        return unfitted
    if targets is None or targets.shape != values[0].shape:
        raise ValueError(
            f"expected labels of the {len(values[0])} items to fit {rule.kind!r}, but got "
            f"{'none' if targets is None else targets.shape}; fit on labelled items first"
        )
    match rule:
        case WeightsRule(objective="log_loss"):
            found = np.repeat(pool_weights(values, targets, classes.multi_label)[:, None], len(classes), axis=1)
            return unfitted.model_copy(update={"weights": _rows(found)})
        case WeightsRule(search=search):
            start = np.ones((len(values), len(classes)))
            hits = targets >= 0.5
            items: Int64[np.ndarray, " items"] = np.arange(len(targets), dtype=np.int64)
            # Every item is an image with one "cell", found in any case: mAP is then the mean over classes of AP.
            matches = Matches(items, hits, hits.astype(np.int64))
            tuned = tune_weights(values, matches, start, "arithmetic", classes, average_precision, search)
            return unfitted.model_copy(update={"weights": _rows(tuned.weights / tuned.weights.sum(axis=0))})
        case StackingRule():
            return unfitted.model_copy(update={"stack": fit_stack(values, targets, rule)})
        case _:
            raise AssertionError(rule)


def combine(fitted: Combination, values: Sequence[Probabilities]) -> Probabilities:
    """One table of scores from those of the members.

    Where items have one class, rows sum to 1, but for ranks.

    Args:
        fitted: the rule.
        values: of every member in the rule's order, float32 (items, classes) in [0, 1].

    Raises:
        ValueError: other members or classes than the rule was fitted for.
    """
    _check(fitted.members, values, fitted.classes)
    multi_label = fitted.classes.multi_label
    match fitted.rule:
        case MeanRule():
            found = ensemble(values, "mean")
        case ConfidenceRule(confidence=confidence):
            found = ensemble(values, "confidence_weighted", confidence, multi_label)
        case RankRule():
            return ensemble(values, "rank")
        case WeightsRule():
            assert fitted.weights is not None
            found = fuse_values(values, np.array(fitted.weights, np.float64), "arithmetic")
        case StackingRule() as rule:
            assert fitted.stack is not None
            found = apply_stack(fitted.stack, values, rule)
    if multi_label:
        return found
    total = found.sum(axis=1, keepdims=True, dtype=np.float64)
    even = np.full(found.shape, 1 / found.shape[1])
    shares: Probabilities = np.divide(found, total, out=even, where=total > 0).astype(np.float32)
    return shares


def cross_fit(
    rule: CombinationRule,
    members: Sequence[str],
    values: Sequence[Probabilities],
    targets: Targets,
    folds: Int64[np.ndarray, " items"],
    classes: ClassList,
    average_precision: AveragePrecision,
) -> Probabilities:
    """Scores of every item by a rule that was fitted on the items of all other folds: what new items may gain.

    The members' own networks are not trained again. Where the folds are theirs, the scores that a rule is fitted on
    come from networks that have learned the items held out here, as is usual in stacking (van der Laan, Polley and
    Hubbard, "Super learner", 2007); a rule has too few parameters to make use of that.

    Args:
        rule: how; one that is not fitted is applied to all items at once.
        members: their names.
        values: their scores out of fold.
        targets: labels of the items.
        folds: of every item; items of one group share one.
        classes: the columns.
        average_precision: as for `fit_combination`.

    Raises:
        ValueError: as `fit_combination`, or fewer than two folds.
    """
    if not needs_labels(rule):
        return combine(fit_combination(rule, members, values, None, classes, average_precision), values)
    numbers = np.unique(folds)
    if len(numbers) < 2:
        raise ValueError(f"expected at least two folds to fit {rule.kind!r} across, but got {numbers.tolist()}")
    result = np.empty(values[0].shape, np.float32)
    for fold in numbers:
        here = folds == fold
        elsewhere = [one[~here] for one in values]
        fitted = fit_combination(rule, members, elsewhere, targets[~here], classes, average_precision)
        result[here] = combine(fitted, [one[here] for one in values])
    return result


def _rows(weights: Float64[np.ndarray, "members classes"]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(map(float, row)) for row in weights)


def _check(members: Sequence[str], values: Sequence[Probabilities], classes: ClassList) -> None:
    shapes = {one.shape for one in values}
    if len(values) != len(members) or not values or len(shapes) > 1 or values[0].shape[1] != len(classes):
        raise ValueError(
            f"expected scores of the members {list(members)}, the same items of {len(classes)} classes, but got "
            f"{len(values)} tables of the shapes {sorted(shapes)}"
        )
