import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa.explain.evidence import coarsen, descending_ranks, evidence, meaning_of


def test_contributions_cancel_and_sensitivities_add_up():
    maps = np.random.default_rng(0).normal(size=(3, 4, 5, 6)).astype(np.float32)
    np.testing.assert_allclose(evidence(maps, "contribution"), maps.sum(axis=1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(evidence(maps, "sensitivity"), np.abs(maps).sum(axis=1), rtol=1e-5)
    assert evidence(maps, "contribution").dtype == np.float32


def test_gradients_are_sensitivities_and_the_rest_contributions():
    assert meaning_of("guided_backpropagation") == meaning_of("gradient") == "sensitivity"
    assert meaning_of("grad_cam") == meaning_of("integrated_gradients") == "contribution"


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_squares_hold_the_means_of_their_pixels(height, width, side):
    planes = np.random.default_rng(height * 10 + width).normal(size=(2, height, width)).astype(np.float32)
    found = coarsen(planes, side)
    for row in range(found.shape[1]):
        for column in range(found.shape[2]):
            part = planes[:, row * side : (row + 1) * side, column * side : (column + 1) * side]
            np.testing.assert_allclose(found[:, row, column], part.mean(axis=(1, 2)), rtol=1e-4, atol=1e-6)
    assert found.shape == (2, -(-height // side), -(-width // side))


def test_squares_have_a_side():
    with pytest.raises(ValueError, match="at least 1 pixel, but got 0"):
        coarsen(np.zeros((1, 2, 2), np.float32), 0)


def test_ranks_fall_with_the_value_and_equals_are_shuffled():
    plane = np.zeros((2, 10, 10), np.float32)
    plane[:, 4, 7], plane[:, 2, 2] = 5, 3
    ranks = descending_ranks(plane)
    assert (ranks[:, 4, 7] == 0).all()
    assert (ranks[:, 2, 2] == 1).all()
    assert sorted(ranks[0].ravel().tolist()) == list(range(100))
    # Reading order would name the first row at once.
    assert np.corrcoef(ranks[0].ravel(), np.arange(100))[0, 1] < 0.5
    assert np.array_equal(ranks[0], ranks[1])
    assert not np.array_equal(ranks, descending_ranks(plane, seed=1))
