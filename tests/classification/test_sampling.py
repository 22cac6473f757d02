import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa.classification.sampling import BalancedSampler, OversampledSampler, PlainSampler, image_shares, order

TARGETS = np.eye(3, dtype=np.float32)[np.repeat([0, 1, 2], [80, 16, 4])]


@pytest.mark.parametrize("sampler", [PlainSampler(), BalancedSampler()])
def test_an_order_is_a_function_of_seed_and_epoch(sampler):
    first = order(sampler, TARGETS, seed=1, epoch=2)
    np.random.default_rng(5).random()
    np.testing.assert_array_equal(first, order(sampler, TARGETS, seed=1, epoch=2))
    assert len(first) == len(TARGETS)
    for seed, epoch in ((1, 3), (2, 2), (2, 1)):
        assert (first != order(sampler, TARGETS, seed, epoch)).any()


def test_the_plain_order_has_every_image_once():
    assert sorted(order(PlainSampler(), TARGETS, 0, 0)) == list(range(100))


@given(seed=st.integers(0, 1000), cap=st.floats(1, 30), count=st.integers(1, 60))
def test_a_balanced_order_draws_each_image_by_its_share(seed, cap, count):
    targets = (np.random.default_rng(seed).random((count, 4)) < [0.7, 0.3, 0.1, 0.02]).astype(np.float32)
    drawn = order(BalancedSampler(cap=cap), targets, seed, 0)
    times = np.bincount(drawn % count, minlength=count)
    shares = image_shares(targets, cap)
    expected = shares * count / shares.sum()
    assert len(drawn) == count
    assert (np.abs(times - expected) < 1 + 1e-6).all()
    assert len(np.unique(drawn)) == count, "a repetition has a number of its own"
    for image in range(count):  # and repetitions are numbered from 0
        assert sorted(drawn[drawn % count == image] // count) == list(range(times[image]))


def test_rare_classes_come_more_often_up_to_the_cap():
    shares = image_shares(TARGETS, cap=10.0)
    np.testing.assert_allclose(shares, np.repeat([1, 5, 10], [80, 16, 4]))
    draws = np.concatenate([order(BalancedSampler(cap=10.0), TARGETS, 0, epoch) % 100 for epoch in range(200)])
    by_class = TARGETS[draws].mean(axis=0)
    np.testing.assert_allclose(by_class, np.array([80, 80, 40]) / 200, atol=0.01)
    np.testing.assert_allclose(image_shares(TARGETS, cap=1.0), 1)


def test_soft_and_empty_rows_count_as_frequent_ones():
    targets = np.array([[1, 0], [1, 0], [1, 0], [1, 0], [0, 1], [0, 0]], np.float32)
    np.testing.assert_allclose(image_shares(targets, cap=9.0), [1, 1, 1, 1, 4, 1])


@given(seed=st.integers(0, 1000), cap=st.floats(1, 30), count=st.integers(1, 60))
def test_oversampling_reads_every_image_and_rare_ones_again(seed, cap, count):
    targets = (np.random.default_rng(seed).random((count, 4)) < [0.7, 0.3, 0.1, 0.02]).astype(np.float32)
    drawn = order(OversampledSampler(cap=cap), targets, seed, 0)
    times = np.bincount(drawn % count, minlength=count)
    shares = image_shares(targets, cap)
    assert times.min() >= 1
    assert (np.abs(times - shares * len(drawn) / shares.sum()) < 1 + 1e-6).all()
    assert len(order(OversampledSampler(cap=cap), targets, seed, 1)) == len(drawn), "epochs are equally long"
    assert len(np.unique(drawn)) == len(drawn), "a copy has a number of its own, and so its own augmentation"
    for image in range(count):
        assert sorted(drawn[drawn % count == image] // count) == list(range(times[image]))


def test_oversampling_makes_classes_equal():
    drawn = order(OversampledSampler(cap=50.0), TARGETS, 0, 0)
    assert TARGETS[drawn % 100].sum(axis=0).tolist() == [80, 80, 80]
    assert len(order(OversampledSampler(cap=1.0), TARGETS, 0, 0)) == 100
