import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa.evaluation.error_overlap import error_overlap


@given(seed=st.integers(0, 1000))
def test_every_pair_against_numpy(seed):
    wrong = list(np.random.default_rng(seed).random((3, 40, 2)) < 0.4)
    found = error_overlap(["a", "b", "c"], wrong)
    assert found[["first", "second"]].to_numpy().tolist() == [["a", "b"], ["a", "c"], ["b", "c"]]
    for row, (i, j) in zip(found.itertuples(), ((0, 1), (0, 2), (1, 2)), strict=True):
        one, other = wrong[i].ravel(), wrong[j].ravel()
        assert row.correlation == pytest.approx(np.corrcoef(one, other)[0, 1])
        assert row.both_wrong == pytest.approx((one & other).mean())
        assert row.first_only == pytest.approx((one & ~other).mean())
        assert row.second_only == pytest.approx((other & ~one).mean())
        assert row.expected == pytest.approx(one.mean() * other.mean())


def test_no_errors_have_no_correlation():
    found = error_overlap(["a", "b"], [np.zeros(4, bool), np.array([True, False, False, False])])
    assert np.isnan(found["correlation"].iloc[0])
    assert error_overlap(["a"], [np.zeros(4, bool)]).empty


def test_other_items_are_refused():
    with pytest.raises(ValueError, match="decisions of 2 predictors about the same items"):
        error_overlap(["a", "b"], [np.zeros(4, bool), np.zeros(3, bool)])
