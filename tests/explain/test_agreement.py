import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from hpa.explain.agreement import agreement, rank_correlation, structural_similarity, top_overlap


def random(seed, items=3, side=16):
    return np.random.default_rng(seed).normal(size=(items, side, side)).astype(np.float32)


@given(st.integers(0, 50))
def test_rank_correlation_is_spearmans(seed):
    first, second = random(seed).round(0), random(seed + 1000)
    expected = [scipy.stats.spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(rank_correlation(first, second), expected, atol=1e-9)


def test_rank_correlation_at_its_ends():
    maps = random(0)
    np.testing.assert_allclose(rank_correlation(maps, np.exp(maps)), 1)
    np.testing.assert_allclose(rank_correlation(maps, -maps), -1)
    assert rank_correlation(maps, np.zeros_like(maps)).tolist() == [0, 0, 0]


def test_overlap_of_the_highest_places():
    maps = random(0)
    assert top_overlap(maps, maps * 3 + 1).tolist() == [1, 1, 1]
    assert top_overlap(maps, -maps).tolist() == [0, 0, 0]
    # By hand: 4 of 16 places each, of which 2 are common.
    first, second = np.zeros((1, 4, 4), np.float32), np.zeros((1, 4, 4), np.float32)
    first[0, 0], second[0, 0, :2], second[0, 3, :2] = 1, 1, 1
    assert top_overlap(first, second, 0.25).tolist() == [2 / 6]


def test_maps_that_are_the_same_everywhere_do_not_overlap_more_than_chance():
    flat = np.zeros((50, 20, 20), np.float32)
    assert top_overlap(flat, flat, 0.1).mean() < 0.2


def test_structural_similarity_knows_the_same_map_on_another_scale():
    maps = random(0)
    np.testing.assert_allclose(structural_similarity(maps, maps * 5 - 2), 1, atol=1e-5)
    assert (np.abs(structural_similarity(maps, random(1))) < 0.3).all()
    assert structural_similarity(random(0, side=2), random(0, side=2)).tolist() == [1, 1, 1]
    assert structural_similarity(random(0, side=2), random(1, side=2)).tolist() == [0, 0, 0]


def test_every_pair_is_compared_once_on_one_scale():
    maps = random(0)
    table = agreement({"a": maps, "b": maps, "c": random(1)}, square=4)
    assert list(table.columns) == ["item", "first", "second", "rank_correlation", "top_overlap"]
    assert list(zip(table["first"], table["second"], strict=True))[::3] == [("a", "b"), ("a", "c"), ("b", "c")]
    same = table[(table["first"] == "a") & (table["second"] == "b")]
    np.testing.assert_allclose(same["rank_correlation"], 1)
    assert len(agreement({"a": maps})) == 0


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="of one shape"):
        rank_correlation(random(0), random(0, side=8))
    with pytest.raises(ValueError, match="a part in"):
        top_overlap(random(0), random(1), 0.0)
