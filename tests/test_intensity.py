import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa.intensity import HISTOGRAM_BINS, intensities


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 256), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_figures_are_those_of_numpy(height, width, span, seed):
    pixels = np.random.default_rng(seed).integers(0, span, (3, height, width)).astype(np.uint8)
    for plane, found in zip(pixels, intensities(pixels), strict=True):
        assert np.isclose(found.mean, plane.mean())
        assert np.isclose(found.std, plane.std())
        assert found.p99 == np.quantile(plane, 0.99, method="inverted_cdf")
        assert found.histogram == np.histogram(plane, HISTOGRAM_BINS, (0, 256))[0].tolist()


def test_a_plane_that_is_not_contiguous():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 9, 2), np.uint8).transpose(2, 0, 1)
    assert np.isclose(intensities(pixels)[1].mean, pixels[1].mean())
