import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa.evaluation.decisions import score_decisions
from hpa.evaluation.threshold_moving import cross_fit_factors, decide_moved, move_thresholds


def made(seed, items=40, classes=3):
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, items, p=[0.7, 0.2, 0.1][:classes] if classes == 3 else None)
    odds = 1.5 * np.eye(classes)[labels] + np.log([0.7, 0.2, 0.1]) + rng.normal(0, 0.7, (items, classes))
    values = np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
    return np.eye(classes, dtype=np.float32)[labels], values.astype(np.float32)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), objective=st.sampled_from(["macro_f1", "macro_recall"]))
def test_moved_thresholds_are_never_worse_on_what_they_were_tuned_on(seed, objective):
    targets, values = made(seed)
    factors = move_thresholds(targets, values, objective)
    before, after = (
        getattr(score_decisions(targets, decide_moved(values, f)), objective) for f in (np.ones(3), factors)
    )
    assert after >= before - 1e-9
    assert (factors > 0).all()


def test_of_two_classes_the_best_threshold_is_found():
    rng = np.random.default_rng(0)
    labels = (rng.random(60) < 0.2).astype(int)
    p = np.clip(0.25 * labels + rng.normal(0.25, 0.15, 60), 0.01, 0.99)
    values = np.stack([1 - p, p], axis=1).astype(np.float32)
    targets = np.eye(2, dtype=np.float32)[labels]
    found = score_decisions(
        targets, decide_moved(values, move_thresholds(targets, values, "macro_recall"))
    ).macro_recall
    edges = np.unique(np.concatenate([[0.0], values[:, 1], [1.1]]))
    best = max(
        score_decisions(targets, np.stack([values[:, 1] < t, values[:, 1] >= t], axis=1)).macro_recall for t in edges
    )
    assert found == pytest.approx(best)


def test_of_three_classes_it_comes_near_to_a_full_grid():
    targets, values = made(3)
    found = score_decisions(targets, decide_moved(values, move_thresholds(targets, values))).macro_f1
    grid = np.exp(np.linspace(-4, 4, 33))
    best = max(
        score_decisions(targets, decide_moved(values, np.array([1, a, b]))).macro_f1
        for a, b in itertools.product(grid, grid)
    )
    assert found >= best - 0.03


def test_factors_of_a_fold_do_not_depend_on_its_labels():
    targets, values = made(1, items=80)
    folds = np.arange(80, dtype=np.int64) % 4
    factors = cross_fit_factors(targets, values, folds)
    changed = targets.copy()
    changed[folds == 2] = np.roll(targets[folds == 2], 1, axis=1)
    other = cross_fit_factors(changed, values, folds)
    assert (other[folds == 2] == factors[folds == 2]).all()
    assert (other[folds != 2] != factors[folds != 2]).any()
    for fold in range(4):
        np.testing.assert_allclose(
            factors[folds == fold], move_thresholds(targets[folds != fold], values[folds != fold])[None].repeat(20, 0)
        )
    with pytest.raises(ValueError, match="at least two folds"):
        cross_fit_factors(targets, values, np.zeros(80, np.int64))


def test_classes_that_no_item_has_keep_their_scores():
    targets, values = made(0)
    targets = np.concatenate([targets, np.zeros((40, 1), np.float32)], axis=1)
    values = np.concatenate([values, np.full((40, 1), 0.01, np.float32)], axis=1)
    assert move_thresholds(targets, values)[3] == 1
