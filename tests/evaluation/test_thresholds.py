"""Tuned thresholds against a search over every threshold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from hpa.evaluation import cross_fit_thresholds, tune_thresholds


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([3, 10, 10_000]))
def test_no_threshold_is_better(seed: int, levels: int) -> None:
    generator = np.random.default_rng(seed)
    targets = (generator.random((20, 1)) < 0.3).astype(np.float32)
    targets[0] = 1
    probabilities = ((generator.random((20, 1)) * levels).round() / levels).astype(np.float32)
    threshold = tune_thresholds(targets, probabilities)[0]
    assert 0 <= threshold <= 1
    reached = f1_score(targets[:, 0], probabilities[:, 0] >= threshold)
    best = max(f1_score(targets[:, 0], probabilities[:, 0] >= other) for other in np.unique(probabilities))
    assert reached == pytest.approx(best)
    order = generator.permutation(20)
    assert tune_thresholds(targets[order], probabilities[order])[0] == threshold


def test_lies_between_probabilities_and_nearest_to_half() -> None:
    targets = np.float32([[1], [0], [1]])
    # F1 is 2/3 above 0.8 and 0.8 below 0.2 only: take all.
    assert tune_thresholds(targets, np.float32([[0.9], [0.5], [0.2]]))[0] == pytest.approx(0.1)
    # Parted by anything in (0.2, 0.9): midway.
    assert tune_thresholds(np.float32([[1], [0]]), np.float32([[0.9], [0.2]]))[0] == pytest.approx(0.55)
    # F1 is 2/3 both with the first alone and with all four: 0.75 lies nearer to 0.5 than 0.05.
    tied = tune_thresholds(np.float32([[1], [0], [0], [1]]), np.float32([[0.9], [0.6], [0.3], [0.1]]))
    assert tied[0] == pytest.approx(0.75)


def test_equal_probabilities_are_not_parted() -> None:
    assert tune_thresholds(np.float32([[1], [0], [0]]), np.float32([[0.4], [0.4], [0.1]]))[0] == pytest.approx(0.25)


def test_absent_class_gets_half() -> None:
    assert tune_thresholds(np.zeros((3, 1), np.float32), np.float32([[0.1], [0.2], [0.3]]))[0] == 0.5


def test_each_fold_uses_the_others() -> None:
    generator = np.random.default_rng(0)
    targets = (generator.random((30, 2)) < 0.4).astype(np.float32)
    probabilities = generator.random((30, 2)).astype(np.float32)
    folds = np.repeat([0, 1, 2], 10)
    thresholds = cross_fit_thresholds(targets, probabilities, folds)
    for fold in range(3):
        others = folds != fold
        expected = tune_thresholds(targets[others], probabilities[others])
        assert (thresholds[folds == fold] == expected).all()
    changed = targets.copy()
    changed[:10] = 1 - changed[:10]  # the truth of a fold does not reach its own thresholds
    assert (cross_fit_thresholds(changed, probabilities, folds)[:10] == thresholds[:10]).all()


def test_noise_is_overrated_by_tuning_but_not_by_cross_fitting() -> None:
    generator = np.random.default_rng(0)
    targets = (generator.random((400, 20)) < 0.02).astype(np.float32)
    probabilities = generator.random((400, 20)).astype(np.float32)
    folds = np.arange(400) % 4
    tuned = f1_score(targets, probabilities >= tune_thresholds(targets, probabilities), average="macro")
    crossed = f1_score(targets, probabilities >= cross_fit_thresholds(targets, probabilities, folds), average="macro")
    assert tuned > 1.5 * crossed


@pytest.mark.parametrize("folds", [[0, 0, 0], [0, 1]])
def test_folds_that_cannot_be_used(folds: list[int]) -> None:
    with pytest.raises(ValueError, match="fold"):
        cross_fit_thresholds(np.ones((3, 1), np.float32), np.ones((3, 1), np.float32), folds)
