import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import percentileofscore

from hpa.anomaly.findings import (
    Finding,
    ShareDecision,
    SigmaDecision,
    ValueDecision,
    centre_and_sigma,
    decide,
    findings_table,
    ranks,
)

SCORES = arrays(
    np.float64, st.integers(0, 40), elements=st.one_of(st.just(float("nan")), st.integers(-5, 5).map(float))
)


def finding(name: str = "blur", scores=(0.0, 1.0), flags=(False, True), details=None) -> Finding:
    return Finding(name, np.array(scores, np.float32), np.array(flags), details)


def test_a_table_has_scores_decisions_and_details_for_every_key() -> None:
    keys = pd.DataFrame({"image_id": ["b", "a"]}, index=[7, 3])
    details = pd.DataFrame({"copy_of": ["", "b"]}, index=[5, 6])
    table = findings_table(keys, [finding(), finding("copy", details=details)])
    assert table.columns.tolist() == ["image_id", "blur_score", "is_blur", "copy_score", "is_copy", "copy_of"]
    assert table["image_id"].tolist() == ["b", "a"]
    assert table["copy_of"].tolist() == ["", "b"]
    assert table["blur_score"].dtype == np.float32
    assert table["is_blur"].dtype == bool


def test_a_table_refuses_other_rows_and_repeated_columns() -> None:
    with pytest.raises(ValueError, match="blur: expected 3 rows"):
        findings_table(pd.DataFrame({"image_id": ["a", "b", "c"]}), [finding()])
    with pytest.raises(ValueError, match="blur_score.*different names"):
        findings_table(pd.DataFrame({"image_id": ["a", "b"]}), [finding(), finding()])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "Blur"}, "lower-case"),
        ({"name": "out of focus"}, "lower-case"),
        ({"details": pd.DataFrame({"blur_x": [1]})}, "as many scores as flags and details"),
        ({"details": pd.DataFrame({"of": [1, 2]})}, "begin with 'blur_'"),
        ({"details": pd.DataFrame({"blur_score": [1, 2]})}, "begin with 'blur_'"),
        ({"scores": (0.0, np.inf)}, "row 1"),
        ({"scores": (0.0, np.nan)}, "row 1 is flagged, but has no score"),
    ],
)
def test_a_finding_must_be_whole(values, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        finding(**values)


@given(SCORES, st.floats(0.01, 0.99))
def test_a_share_flags_the_worst_and_no_more(scores, share: float) -> None:
    flags = decide(scores, ShareDecision(share=share))
    known = ~np.isnan(scores)
    assert not flags[~known].any()
    assert flags.sum() <= share * known.sum() + 1e-6
    if flags.any():
        assert scores[flags].min() > scores[known & ~flags].max()


def test_a_share_takes_as_many_as_it_says_where_no_scores_are_equal() -> None:
    assert decide(np.arange(40.0), ShareDecision(share=0.05)).nonzero()[0].tolist() == [38, 39]
    assert not decide(np.arange(10.0), ShareDecision(share=0.05)).any()


def test_sigmas_by_mean_and_by_median() -> None:
    scores = np.array([1, 2, 3, 4, 5, 30, np.nan])
    known = scores[:-1]
    expected = known > known.mean() + 2 * known.std()
    assert decide(scores, SigmaDecision(k=2, robust=False))[:-1].tolist() == expected.tolist()
    # Median 3.5, median absolute deviation 1.5.
    limit = (30 - 3.5) / (1.4826 * 1.5)
    assert decide(scores, SigmaDecision(k=limit - 0.01))[5]
    assert not decide(scores, SigmaDecision(k=limit + 0.01)).any()


@pytest.mark.parametrize("decision", [ShareDecision(share=0.5), SigmaDecision(k=1), SigmaDecision(k=1, robust=False)])
def test_constant_scores_flag_nothing(decision) -> None:
    assert not decide(np.full(9, 0.1), decision).any()
    assert decide(np.full(3, np.nan), decision).tolist() == [False] * 3
    assert decide(np.zeros(0), decision).tolist() == []


def test_a_value_is_reached() -> None:
    assert decide(np.array([0.4, 0.5, np.nan]), ValueDecision(threshold=0.5)).tolist() == [False, True, False]


def test_robust_sigma_is_that_of_normal_values() -> None:
    values = np.random.default_rng(0).normal(5, 2, 20_000)
    assert centre_and_sigma(values, robust=True) == pytest.approx((5, 2), rel=0.03)
    assert centre_and_sigma(np.array([0.1, 0.1, 0.1]), robust=False) == (0.1, 0.0)


@given(SCORES)
def test_ranks_are_mean_percentiles(scores) -> None:
    found = ranks(scores)
    known = scores[~np.isnan(scores)]
    for score, rank in zip(scores, found, strict=True):
        if np.isnan(score):
            assert np.isnan(rank)
        else:
            assert rank == pytest.approx(percentileofscore(known, score, "mean") / 100, abs=1e-6)
            assert 0 < rank < 1
