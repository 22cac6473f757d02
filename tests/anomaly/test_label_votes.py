"""Votes of neighbours and margins of a training, against loops."""

import numpy as np
import pytest

from hpa.anomaly.label_calibration import class_shares
from hpa.anomaly.label_votes import PRIOR_VOTES, area_under_margin, group_votes, neighbour_votes, signed_margins


@pytest.fixture
def found():
    rng = np.random.default_rng(0)
    targets = (rng.random((30, 4)) < 0.3).astype(np.float32)
    rows = np.array([rng.permutation([j for j in range(30) if j != i])[:5] for i in range(30)])
    return targets, np.sort(rng.random((30, 5)), axis=1).astype(np.float32), rows.astype(np.int64)


@pytest.mark.parametrize("weighting", ["uniform", "distance"])
def test_votes_are_counted_one_by_one(found, weighting):
    targets, distances, rows = found
    groups = [f"g{i // 3}" for i in range(30)]
    votes = neighbour_votes(targets, distances, rows, weighting, groups)
    for i in range(30):
        there = [k for k in range(5) if groups[rows[i, k]] != groups[i]]
        scale = np.mean([distances[i, k] for k in there])
        weights = np.array([np.exp(-distances[i, k] / scale) if weighting == "distance" else 1.0 for k in there])
        weights *= len(there) / weights.sum()
        total = sum(w * targets[rows[i, k]] for w, k in zip(weights, there, strict=True))
        expected = (total + PRIOR_VOTES * class_shares(targets)) / (len(there) + PRIOR_VOTES)
        np.testing.assert_allclose(votes[i], expected, rtol=1e-5)


def test_missing_and_own_rows_do_not_vote(found):
    targets, distances, rows = found
    rows[0] = -1
    rows[1] = 1
    distances[0] = np.nan  # of neighbours that were not found
    votes = neighbour_votes(targets, distances, rows, "distance")
    np.testing.assert_allclose(votes[0], class_shares(targets), rtol=1e-6)
    np.testing.assert_allclose(votes[1], class_shares(targets), rtol=1e-6)


def test_equal_embeddings_vote_alike(found):
    targets, distances, rows = found
    np.testing.assert_allclose(
        neighbour_votes(targets, np.zeros_like(distances), rows, "distance"),
        neighbour_votes(targets, np.zeros_like(distances), rows, "uniform"),
        rtol=1e-6,
    )


def test_votes_of_groups_are_counted_one_by_one(found):
    targets = found[0]
    groups = [f"g{i % 7 if i < 25 else i}" for i in range(30)]  # the last five are alone
    votes = group_votes(targets, groups)
    assert votes.dtype == np.float32
    for i in range(30):
        others = [j for j in range(30) if j != i and groups[j] == groups[i]]
        expected = (targets[others].sum(axis=0) + PRIOR_VOTES * class_shares(targets)) / (len(others) + PRIOR_VOTES)
        np.testing.assert_allclose(votes[i], expected, rtol=1e-5)


def test_groups_that_cannot_vote_are_refused(found):
    with pytest.raises(ValueError, match="no two images share a group"):
        group_votes(found[0], [str(i) for i in range(30)])
    with pytest.raises(ValueError, match="30 groups"):
        group_votes(found[0], ["a"])


def test_what_does_not_fit_is_refused(found):
    targets, distances, rows = found
    with pytest.raises(ValueError, match="distances and rows"):
        neighbour_votes(targets, distances[:, :2], rows)
    with pytest.raises(ValueError, match="neighbours of other images"):
        neighbour_votes(targets, distances, rows + 25)
    with pytest.raises(ValueError, match="30 groups"):
        neighbour_votes(targets, distances, rows, groups=["a"])
    with pytest.raises(ValueError, match="finite and at least 0"):
        neighbour_votes(targets, -distances - 1, rows)


def test_area_under_margin_of_one_and_of_several_classes():
    margins = np.array([[2.0, -2.0, -3.0], [-1.0, 1.0, -1.0], [np.nan, np.nan, np.nan]], np.float32)
    one = np.eye(3, dtype=np.float32)[[0, 0, 1]]
    np.testing.assert_array_equal(area_under_margin(one, margins, False), [2, -1, np.nan])
    several = np.array([[1, 0, 1], [0, 1, 0], [1, 1, 1]], np.float32)
    np.testing.assert_array_equal(area_under_margin(several, margins, True), [-3, 1, np.nan])
    np.testing.assert_array_equal(signed_margins(several, margins)[0], [2, 2, -3])


def test_margins_that_do_not_fit_are_refused():
    targets = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match="shape"):
        signed_margins(targets, np.ones((2, 2), np.float32))
    with pytest.raises(ValueError, match="row 1"):
        signed_margins(targets, np.array([[0, 0, 0], [0, np.inf, 0]], np.float32))
