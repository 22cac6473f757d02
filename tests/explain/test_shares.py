import numpy as np
import pytest

from hpa.explain.shares import channel_shares, sum_by_channel


def test_shares_are_magnitudes_and_sum_to_one():
    maps = np.random.default_rng(0).normal(size=(3, 4, 5, 5)).astype(np.float32)
    found = channel_shares(maps, ("red", "green", "blue", "yellow"))
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_allclose(found[1, 2], np.abs(maps[1, 2]).sum() / np.abs(maps[1]).sum(), rtol=1e-5)


def test_planes_of_several_scales_count_for_their_channel():
    maps = np.zeros((1, 4, 2, 2), np.float32)
    maps[0, 1], maps[0, 3], maps[0, 0] = 1, 2, 1
    assert channel_shares(maps, ("red", "green")).tolist() == [[0.25, 0.75]]


def test_a_single_plane_for_all_channels_tells_nothing_of_them():
    assert np.isnan(channel_shares(np.ones((2, 1, 3, 3), np.float32), ("red", "green"))).all()
    assert channel_shares(np.ones((2, 1, 3, 3), np.float32), ("grey",)).tolist() == [[1], [1]]
    assert np.isnan(channel_shares(np.zeros((1, 2, 3, 3), np.float32), ("red", "green"))).all()


def test_planes_must_fit_the_channels():
    with pytest.raises(ValueError, match="planes of the channels"):
        sum_by_channel(np.ones((1, 3)), ("red", "green"))
