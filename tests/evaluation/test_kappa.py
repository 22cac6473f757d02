import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from hpa.evaluation.kappa import cohen_kappa, fleiss_kappa, vote_counts

# Fleiss (1971) as Wikipedia's "Fleiss' kappa" works it out: 10 subjects, 14 raters, 5 categories, kappa = 0.210.
WORKED = np.array(
    [
        *([0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1]),
        *([7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]),
    ]
)


def test_the_worked_example():
    found = fleiss_kappa(WORKED)
    assert found.kappa == pytest.approx(0.20993, abs=1e-5)
    assert found.observed == pytest.approx(0.37802, abs=1e-5)
    assert found.expected == pytest.approx(0.21275, abs=1e-5)
    assert (found.items, found.unanimous) == (10, 0.1)


@given(seed=st.integers(0, 1000))
def test_the_classes_kappas_average_to_the_whole_ones(seed):
    """Fleiss (1971), equation 19: weighted by p (1 - p)."""
    counts = np.random.default_rng(seed).multinomial(5, [0.4, 0.3, 0.3], size=20)
    found = fleiss_kappa(counts)
    share = counts.sum(axis=0) / counts.sum()
    weights = share * (1 - share)
    assert found.kappa == pytest.approx((weights * np.nan_to_num(found.per_class)).sum() / weights.sum())


@given(seed=st.integers(0, 1000), size=st.integers(2, 40))
def test_cohen_is_scikit_learns(seed, size):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 3, size)
    second = np.where(rng.random(size) < 0.6, first, rng.integers(0, 3, size))
    if len(set(first) | set(second)) > 1:
        assert cohen_kappa(first, second) == pytest.approx(metrics.cohen_kappa_score(first, second))


def test_missing_votes_are_left_out():
    first, second = np.array([0, 1, -1, 1]), np.array([0, 1, 1, -1])
    assert cohen_kappa(first, second) == 1
    counts = vote_counts(np.stack([first, second], axis=1), 2)
    assert counts.tolist() == [[2, 0], [0, 2], [0, 1], [0, 1]]
    found = fleiss_kappa(counts)
    assert (found.items, found.kappa, found.unanimous) == (2, 1, 1)


def test_what_has_no_kappa():
    same = np.zeros(5, np.int64)
    assert np.isnan(cohen_kappa(same, same))
    assert np.isnan(cohen_kappa(same, np.full(5, -1)))
    assert np.isnan(fleiss_kappa(np.array([[3, 0], [3, 0]])).kappa)
    with pytest.raises(ValueError, match="votes of two annotators or more"):
        fleiss_kappa(np.array([[1, 0]]))
    with pytest.raises(ValueError, match="class numbers from 0 to 1"):
        vote_counts(np.array([[2]]), 2)
