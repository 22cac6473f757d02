import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from hpa.fusion.opinion_pool import pool_weights


def made(seed, multi_label, items=60, members=3):
    rng = np.random.default_rng(seed)
    targets = np.eye(3, dtype=np.float32)[rng.integers(0, 3, items)]
    if multi_label:
        targets = (rng.random((items, 3)) < 0.4).astype(np.float32)
    values = []
    for _ in range(members):
        odds = rng.uniform(0, 3) * targets + rng.normal(0, 1, targets.shape)
        score = 1 / (1 + np.exp(-odds)) if multi_label else np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
        values.append(score.astype(np.float32))
    return values, targets


def loss(weights, values, targets, multi_label):
    pooled = sum(w * v.astype(np.float64) for w, v in zip(weights, values, strict=True))
    if multi_label:
        return -np.log(np.where(targets > 0, pooled, 1 - pooled)).sum()
    return -np.log((pooled * targets).sum(axis=1)).sum()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), multi_label=st.booleans())
def test_no_other_weights_are_likelier(seed, multi_label):
    values, targets = made(seed, multi_label)
    found = pool_weights(values, targets, multi_label)
    assert found.sum() == pytest.approx(1)
    assert (found >= 0).all()
    other = optimize.minimize(
        lambda free: loss(np.exp(free) / np.exp(free).sum(), values, targets, multi_label), np.zeros(3), tol=1e-9
    )
    assert loss(found, values, targets, multi_label) <= other.fun + 1e-3


def test_a_single_member_gets_all():
    values, targets = made(0, False, members=1)
    assert pool_weights(values, targets, multi_label=False).tolist() == [1.0]


def test_zeros_are_survived():
    certain = np.float32([[1, 0], [0, 1]])
    wrong = np.float32([[0, 1], [1, 0]])
    np.testing.assert_allclose(pool_weights([certain, wrong], certain, multi_label=False), [1, 0], atol=1e-6)
