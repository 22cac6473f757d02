import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa.pseudolabels.annotators import DawidSkene, VoteShares, disagreement, soft_labels


def made(seed=0, items=400):
    """Two careful annotators, one who takes class 2 for class 0, and some missing votes."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, items, p=[0.5, 0.3, 0.2])
    votes = np.stack(
        [np.where(rng.random(items) < rate, truth, rng.integers(0, 3, items)) for rate in (0.85, 0.8, 0.8)], 1
    )
    votes[:, 2] = np.where((truth == 2) & (rng.random(items) < 0.9), 0, votes[:, 2])
    votes[rng.random(votes.shape) < 0.1] = -1
    votes[0] = -1
    return votes.astype(np.int64), truth


@given(seed=st.integers(0, 1000), smoothing=st.floats(0, 2))
def test_shares_are_votes_over_votes(seed, smoothing):
    votes, _ = made(seed, 30)
    found = soft_labels(votes, 3, VoteShares(smoothing=smoothing)).labels
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    for row, own in zip(votes, found, strict=True):
        given_votes = row[row >= 0]
        if len(given_votes):
            expected = (np.bincount(given_votes, minlength=3) + smoothing) / (len(given_votes) + 3 * smoothing)
            np.testing.assert_allclose(own, expected, atol=1e-5)


def test_dawid_and_skene_learn_who_errs_how():
    votes, truth = made()
    plain = soft_labels(votes, 3, VoteShares())
    learned = soft_labels(votes, 3, DawidSkene())
    np.testing.assert_allclose(learned.labels.sum(axis=1), 1, atol=1e-5)
    assert learned.confusions[2, 2, 0] > 0.75, "the third annotator takes 2 for 0"
    assert learned.confusions[0, 2, 2] > 0.8
    voted = (votes >= 0).any(axis=1)
    right = [(one.labels.argmax(axis=1) == truth)[voted].mean() for one in (plain, learned)]
    assert right[1] > right[0] + 0.01


def test_an_item_without_votes_gets_what_is_usual():
    votes, _ = made()
    usual = np.bincount(votes[votes >= 0], minlength=3) / (votes >= 0).sum()
    np.testing.assert_allclose(soft_labels(votes, 3, VoteShares()).labels[0], usual, atol=1e-6)


@given(counts=st.lists(st.integers(0, 4), min_size=3, max_size=3))
def test_disagreement_is_zero_only_where_all_agree(counts):
    row = np.repeat(np.arange(3), counts)
    votes = np.full((1, 12), -1)
    votes[0, : len(row)] = row
    found = disagreement(votes, 3)[0]
    assert 0 <= found <= 1 + 1e-9
    assert (found < 1e-9) == (sum(count > 0 for count in counts) <= 1)
    if max(counts) - min(counts) <= 1 and sum(counts) > 1:
        assert found == pytest.approx(1), "as even as so many votes can be"


def test_votes_that_are_none():
    for votes in (np.full((3, 2), -1), np.array([[0, 5]]), np.array([[0, -2]])):
        with pytest.raises(ValueError, match="expected votes for the classes 0 to 2"):
            soft_labels(votes, 3, VoteShares())
