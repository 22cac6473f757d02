import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa.explain.localization import localize


def region(*places, side=8):
    found = np.zeros((1, side, side), bool)
    for row, column in places:
        found[0, row, column] = True
    return found


def test_energy_is_the_positive_part_inside():
    plane = np.full((1, 8, 8), -1, np.float32)
    plane[0, 1, 1], plane[0, 5, 5] = 3, 1
    found = localize(plane, region((1, 1)))
    assert found.energy.tolist() == [0.75]
    assert found.area.tolist() == [1 / 64]
    assert found.hit.tolist() == [1]
    assert localize(plane, region((5, 5))).hit.tolist() == [0]


def test_a_near_miss_counts_within_the_tolerance():
    plane = np.zeros((1, 8, 8), np.float32)
    plane[0, 1, 1] = 1
    assert localize(plane, region((1, 4)), tolerance=3).hit.tolist() == [1]
    assert localize(plane, region((2, 4)), tolerance=3).hit.tolist() == [0]


def test_what_has_no_region_or_no_evidence_is_undefined():
    plane = np.ones((2, 8, 8), np.float32)
    plane[1] = -1
    found = localize(plane, np.concatenate([np.zeros((1, 8, 8), bool), region((0, 0))]))
    assert np.isnan(found.energy).all()
    assert np.isnan(found.hit).all()
    assert np.isnan(found.area[0])


@given(st.integers(1, 63))
def test_a_map_that_says_nothing_has_the_energy_of_the_area(count):
    inside = np.random.default_rng(count).permutation(64).reshape(1, 8, 8) < count
    found = localize(np.full((1, 8, 8), 2.5, np.float32), inside)
    np.testing.assert_allclose(found.energy, found.area)
    np.testing.assert_allclose(found.hit, found.area)


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="of one shape"):
        localize(np.ones((1, 8, 8), np.float32), np.ones((1, 4, 4), bool))
