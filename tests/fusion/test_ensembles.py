"""Several runs as one, against the formulas written out item by item."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa.fusion import ensemble

RNG = np.random.default_rng(0)
RUNS = [RNG.random((30, 4), np.float32) for _ in range(3)]


def test_mean():
    np.testing.assert_allclose(ensemble(RUNS, "mean"), np.mean(RUNS, axis=0), rtol=1e-6)


def test_confidence_weighted_counts_each_run_by_its_highest_score_of_the_item():
    found = ensemble(RUNS, "confidence_weighted")
    for item in range(30):
        weights = [run[item].max() for run in RUNS]
        expected = np.average([run[item] for run in RUNS], axis=0, weights=weights)
        np.testing.assert_allclose(found[item], expected, rtol=1e-5)


def test_rank_is_the_mean_of_ranks_and_ties_share_theirs():
    runs = [np.float32([[0.1], [0.5], [0.5], [0.9]]), np.float32([[0.4], [0.3], [0.2], [0.1]])]
    expected = [[(1 + 4) / 8], [(2.5 + 3) / 8], [(2.5 + 2) / 8], [(4 + 1) / 8]]
    np.testing.assert_allclose(ensemble(runs, "rank"), expected)


def test_rank_does_not_depend_on_the_scale_of_a_run():
    squashed = [RUNS[0] ** 3 / 10, RUNS[1], RUNS[2] / 2]
    np.testing.assert_array_equal(ensemble(squashed, "rank"), ensemble(RUNS, "rank"))


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(3)), rule=st.sampled_from(("mean", "confidence_weighted", "rank")))
def test_order_of_runs_does_not_matter_and_values_stay_probabilities(order, rule):
    found = ensemble([RUNS[i] for i in order], rule)
    np.testing.assert_allclose(found, ensemble(RUNS, rule), atol=1e-6)
    assert found.dtype == np.float32
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("rule", ["mean", "confidence_weighted"])
def test_one_run_or_equal_runs_give_that_run(rule):
    np.testing.assert_allclose(ensemble(RUNS[:1], rule), RUNS[0], rtol=1e-6)
    np.testing.assert_allclose(ensemble([RUNS[0], RUNS[0]], rule), RUNS[0], rtol=1e-6)


def test_nothing_seen_by_any_run_is_zero():
    zeros = np.zeros((2, 3), np.float32)
    assert not ensemble([zeros, zeros], "confidence_weighted").any()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="at least one run"):
        ensemble([], "mean")
    with pytest.raises(ValueError, match=r"runs of one shape \(items, classes\), but got"):
        ensemble([RUNS[0], RUNS[1][:5]], "mean")
