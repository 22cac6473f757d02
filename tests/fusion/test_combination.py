import json

import numpy as np
import pytest

from hpa.fusion.combination import Combination, combine, cross_fit, fit_combination, needs_labels
from hpa.fusion.combination_config import ConfidenceRule, MeanRule, RankRule, StackingRule, WeightsRule
from hpa.labels import ClassList

NAMES = ("good", "fair", "noise")
SINGLE = ClassList(names=("a", "b", "c"), multi_label=False)
MULTI = ClassList(names=("a", "b", "c"))
RULES = [
    MeanRule(),
    ConfidenceRule(confidence="margin"),
    ConfidenceRule(confidence="entropy"),
    RankRule(),
    WeightsRule(),
    WeightsRule(objective="average_precision"),
    StackingRule(),
    StackingRule(features="all"),
]


def ap(hits, objects):
    if not objects:
        return None
    places = np.flatnonzero(hits) + 1
    return float((np.arange(1, len(places) + 1) / places).sum() / objects)


def made(classes, seed=0, items=240):
    rng = np.random.default_rng(seed)
    targets = np.eye(3, dtype=np.float32)[rng.choice(3, items, p=[0.5, 0.3, 0.2])]
    if classes.multi_label:
        targets = (rng.random((items, 3)) < [0.5, 0.3, 0.2]).astype(np.float32)
    values = []
    for noise in (1.0, 1.4, 6.0):
        odds = 2.5 * targets - 1 + noise * rng.normal(size=targets.shape)
        score = (
            1 / (1 + np.exp(-odds)) if classes.multi_label else np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
        )
        values.append(score.astype(np.float32))
    return values, targets, (np.arange(items) % 4).astype(np.int64)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("classes", [SINGLE, MULTI], ids=["single", "multi"])
def test_every_rule_fits_saves_and_applies(rule, classes):
    values, targets, _ = made(classes)
    fitted = fit_combination(rule, NAMES, values, targets, classes, ap)
    again = Combination.model_validate(json.loads(json.dumps(fitted.model_dump(mode="json"))))
    found = combine(again, values)
    assert (found == combine(fitted, values)).all()
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()
    if not classes.multi_label and not isinstance(rule, RankRule):
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    # Whatever the rule, it is better than the noise member alone.
    assert ((found > 0.5) == (targets > 0)).mean() > ((values[2] > 0.5) == (targets > 0)).mean()


@pytest.mark.parametrize("rule", [rule for rule in RULES if needs_labels(rule)], ids=str)
def test_what_is_said_of_a_fold_does_not_depend_on_its_labels(rule):
    values, targets, folds = made(SINGLE)
    found = cross_fit(rule, NAMES, values, targets, folds, SINGLE, ap)
    changed = targets.copy()
    changed[folds == 1] = np.roll(targets[folds == 1], 1, axis=1)
    other = cross_fit(rule, NAMES, values, changed, folds, SINGLE, ap)
    assert (other[folds == 1] == found[folds == 1]).all()
    assert (other[folds != 1] != found[folds != 1]).any()


def test_fitted_weights_leave_noise_out():
    values, targets, _ = made(SINGLE)
    fitted = fit_combination(WeightsRule(), NAMES, values, targets, SINGLE, ap)
    assert fitted.weights is not None
    assert fitted.weights[2][0] < 0.15 < fitted.weights[1][0] < fitted.weights[0][0]
    assert len(set(fitted.weights[0])) == 1, "one weight for all classes"


def test_rules_that_are_not_fitted_need_neither_labels_nor_folds():
    values, targets, _ = made(SINGLE)
    one_fold = np.zeros(len(targets), np.int64)
    mean = cross_fit(MeanRule(), NAMES, values, targets, one_fold, SINGLE, ap)
    np.testing.assert_allclose(mean, np.mean(values, axis=0), atol=1e-6)


def test_errors():
    values, targets, _ = made(SINGLE)
    with pytest.raises(ValueError, match="expected labels of the 240 items to fit 'stacking', but got none"):
        fit_combination(StackingRule(), NAMES, values, None, SINGLE, ap)
    with pytest.raises(ValueError, match="at least two folds to fit 'weights' across"):
        cross_fit(WeightsRule(), NAMES, values, targets, np.zeros(240, np.int64), SINGLE, ap)
    with pytest.raises(ValueError, match="expected scores of the members"):
        fit_combination(MeanRule(), NAMES, values[:2], None, SINGLE, ap)
    fitted = fit_combination(MeanRule(), NAMES, values, None, SINGLE, ap)
    with pytest.raises(ValueError, match="of 3 classes"):
        combine(fitted, [value[:, :2] for value in values])
