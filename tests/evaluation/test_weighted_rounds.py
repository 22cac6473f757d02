"""Weighted figures against the figures of items that are really repeated."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from hpa.evaluation.measures import measure
from hpa.evaluation.weighted_rounds import STATISTICS, weighted_statistic

NAMES = {"accuracy": "exact_match"}


def made_up(seed, items=25, classes=4, steps=6):
    """Few different probabilities, so that many are equal; the last class is rare."""
    generator = np.random.default_rng(seed)
    targets = (generator.random((items, classes)) < [0.5, 0.3, 0.3, 0.08]).astype(np.float32)
    probabilities = (generator.integers(0, steps, (items, classes)) / steps).astype(np.float32)
    return targets, probabilities, generator


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
@pytest.mark.parametrize("name", STATISTICS)
def test_a_weight_is_a_number_of_copies(name, seed):
    targets, probabilities, generator = made_up(seed)
    decisions = probabilities >= 0.5
    times = generator.multinomial(25, np.full(25, 1 / 25), size=3)
    found = weighted_statistic(name, targets, probabilities, decisions, times.astype(np.float64))
    for value, copies in zip(found, times, strict=True):
        rows = np.repeat(np.arange(25), copies)
        expected = measure(targets[rows], probabilities[rows], decisions[rows]).summary()[NAMES.get(name, name)]
        np.testing.assert_allclose(value, expected, rtol=1e-6, atol=1e-9)


def test_fractional_weights_are_scikit_learns():
    targets, probabilities, generator = made_up(1)
    weights = generator.random((1, 25))
    columns = [k for k in range(4) if targets[:, k].any()]
    for name, oracle in (("macro_ap", metrics.average_precision_score), ("macro_auc", metrics.roc_auc_score)):
        each = [oracle(targets[:, k], probabilities[:, k], sample_weight=weights[0]) for k in columns]
        found = weighted_statistic(name, targets, probabilities, probabilities > 0.5, weights)
        assert found[0] == pytest.approx(np.mean(each))


@pytest.mark.parametrize("name", ["macro_ap", "macro_auc", "macro_f1", "micro_f1"])
def test_without_positives_nothing_is_defined(name):
    empty = np.zeros((3, 2), np.float32)
    assert np.isnan(weighted_statistic(name, empty, empty, empty > 0, np.ones((2, 3)))).all()
