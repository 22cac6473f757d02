"""The coordinate search over shares."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa.fusion import SearchConfig
from hpa.fusion.search import search_shares


def peak(target):
    return lambda shares: -np.abs(shares - np.array(target)).sum(axis=1)


@settings(max_examples=50, deadline=None)
@given(share=st.integers(0, 10), start=st.floats(0.01, 0.99))
def test_two_members_meet_every_pair_of_shares(share, start):
    found = search_shares(peak([share / 10, 1 - share / 10]), np.array([start, 1 - start]), SearchConfig(least_gain=0))
    assert found[0] == pytest.approx(share / 10, abs=1e-9) or abs(found[0] - share / 10) <= abs(start - share / 10)


def test_three_members_are_searched_in_turn():
    found = search_shares(peak([0.2, 0.5, 0.3]), np.ones(3), SearchConfig(rounds=10))
    assert np.abs(found - [0.2, 0.5, 0.3]).sum() < 0.15
    assert found.sum() == pytest.approx(1)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), members=st.integers(2, 4))
def test_never_worse_than_the_start_and_always_shares(seed, members):
    rng = np.random.default_rng(seed)
    target, start = rng.random(members), rng.random(members) + 0.01
    objective = peak(target / target.sum())
    found = search_shares(objective, start, SearchConfig(least_gain=0))
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()
    assert objective(found[None])[0] >= objective(start[None] / start.sum())[0] - 1e-9


def test_a_plateau_moves_nothing():
    flat = search_shares(lambda shares: np.zeros(len(shares)), np.array([3.0, 1.0]), SearchConfig(least_gain=0))
    assert flat.tolist() == [0.75, 0.25]


def test_of_equals_the_nearest_is_taken():
    found = search_shares(lambda s: (s[:, 0] >= 0.6).astype(float), np.array([0.2, 0.8]), SearchConfig())
    assert found[0] == pytest.approx(0.6)


def test_small_gains_do_not_count():
    objective = peak([0.5, 0.5])
    assert search_shares(objective, np.array([0.46, 0.54]), SearchConfig(least_gain=0.1)).tolist() == [0.46, 0.54]
    assert search_shares(objective, np.array([0.4, 0.6]), SearchConfig(least_gain=0.1))[0] == pytest.approx(0.5)


def test_a_member_alone_has_all():
    assert search_shares(peak([1.0]), np.array([0.2]), SearchConfig()).tolist() == [1]


def test_a_start_on_one_member_finds_the_others():
    found = search_shares(peak([0, 0.5, 0.5]), np.array([1.0, 0, 0]), SearchConfig())
    np.testing.assert_allclose(found, [0, 0.5, 0.5])
