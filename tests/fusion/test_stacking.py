import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from hpa.fusion.combination_config import StackingRule
from hpa.fusion.stacking import Stack, apply_stack, fit_stack


def made(seed=0, items=200):
    rng = np.random.default_rng(seed)
    targets = (rng.random((items, 3)) < [0.5, 0.3, 0.1]).astype(np.float32)
    noise = (0.8, 1.5)
    values = [
        (1 / (1 + np.exp(-(3 * targets - 1.5 + n * rng.normal(size=targets.shape))))).astype(np.float32) for n in noise
    ]
    return values, targets


def test_it_is_logistic_regression_on_log_odds():
    values, targets = made()
    stack = fit_stack(values, targets, StackingRule(penalty=2.0))
    for number in range(3):
        odds = np.stack([np.log(v[:, number] / (1 - v[:, number].astype(np.float64))) for v in values], axis=1)
        expected = LogisticRegression(C=0.5, tol=1e-8, max_iter=1000).fit(odds, targets[:, number])
        np.testing.assert_allclose(stack.coefficients[number], expected.coef_[0], atol=1e-3)
        np.testing.assert_allclose(
            apply_stack(stack, values, StackingRule())[:, number], expected.predict_proba(odds)[:, 1], atol=1e-3
        )
        assert stack.coefficients[number][0] > stack.coefficients[number][1] > 0, "the better member counts more"


def test_all_features_see_what_a_member_takes_for_what():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    # A member that always says the next class: its score of a class tells what it is not, that of the next all.
    value = (np.eye(3)[(labels + 1) % 3] * 0.8 + 0.1 * rng.random((300, 3))).astype(np.float32)
    targets = np.eye(3, dtype=np.float32)[labels]
    own = apply_stack(fit_stack([value], targets, StackingRule()), [value], StackingRule())
    rule = StackingRule(features="all")
    every = apply_stack(fit_stack([value], targets, rule), [value], rule)
    assert (every.argmax(axis=1) == labels).mean() > 0.95
    assert (own.argmax(axis=1) == labels).mean() < 0.95


@pytest.mark.parametrize("features", ["own", "all"])
def test_a_class_without_examples_is_the_mean_of_the_members_log_odds(features):
    values, targets = made()
    targets[:, 2] = 0
    rule = StackingRule(features=features)
    found = apply_stack(fit_stack(values, targets, rule), values, rule)[:, 2]
    odds = np.mean([np.log(v[:, 2] / (1 - v[:, 2].astype(np.float64))) for v in values], axis=0)
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-odds)), atol=1e-5)


def test_json_and_back_gives_the_same_numbers():
    values, targets = made()
    stack = fit_stack(values, targets, StackingRule())
    again = Stack.model_validate(json.loads(json.dumps(stack.model_dump(mode="json"))))
    assert again == stack
    assert (apply_stack(again, values, StackingRule()) == apply_stack(stack, values, StackingRule())).all()


def test_other_members_are_refused():
    values, targets = made()
    stack = fit_stack(values, targets, StackingRule())
    with pytest.raises(ValueError, match="expected coefficients of 3 classes and 1 features.*fit again"):
        apply_stack(stack, values[:1], StackingRule())
