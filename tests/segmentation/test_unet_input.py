import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa.segmentation.unet_input import LEAST_SPAN, pad, padded_size, prepare_pixels


def image(seed=0, height=64, width=96, channels=2):
    """Bright discs on a dark, noisy ground."""
    draws = np.random.default_rng(seed)
    rows, columns = np.ogrid[:height, :width]
    planes = np.empty((channels, height, width))
    for plane in planes:
        y, x = draws.uniform(0, height), draws.uniform(0, width)
        plane[...] = 180 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 600) + draws.uniform(0, 3, plane.shape)
    return planes.astype(np.uint8)


def test_channels_are_stretched_to_the_full_scale_as_written():
    pixels = image()
    for plane, found in zip(pixels, prepare_pixels(pixels, 64, 96), strict=True):
        low, high = np.percentile(plane.astype(np.float64), [1, 99.8])
        expected = np.clip((plane - low) / (high - low), 0, 1) * 255
        np.testing.assert_allclose(found, expected, atol=0.51)
        assert (found.min(), found.max()) == (0, 255)


def test_exposure_makes_no_difference_but_for_rounding():
    pixels = image().astype(np.float64)
    bright = prepare_pixels(pixels.astype(np.uint8), 16, 24)
    dim = prepare_pixels((pixels * 0.25 + 20).astype(np.uint8), 16, 24)
    # A grey level of the dim image is 4 of the bright one.
    assert np.abs(bright.astype(float) - dim).mean() < 4
    assert np.corrcoef(bright.ravel(), dim.ravel())[0, 1] > 0.995


def test_channels_do_not_influence_each_other():
    pixels = image()
    other = pixels.copy()
    other[0] //= 3
    np.testing.assert_array_equal(prepare_pixels(pixels, 32, 48)[1], prepare_pixels(other, 32, 48)[1])


def test_smaller_sizes_are_averages():
    pixels = np.zeros((1, 8, 8), np.uint8)
    pixels[0, :, 4:] = 100
    pixels[0, 0, 4:] = 96
    found = prepare_pixels(pixels, 2, 2)
    np.testing.assert_array_equal(found[0, :, 0], 0)
    assert found[0, 1, 1] == 255
    assert found[0, 0, 1] == round(255 * 99 / 100)


def test_an_empty_channel_stays_dark_and_larger_sizes_work():
    draws = np.random.default_rng(0)
    noise = draws.integers(0, 2, (1, 20, 30), dtype=np.uint8)
    found = prepare_pixels(noise, 40, 60)
    assert found.max() <= round(255 / LEAST_SPAN)
    assert prepare_pixels(np.full((3, 5, 7), 200, np.uint8), 1, 1).tolist() == [[[0]], [[0]], [[0]]]


def test_read_only_images_are_left_alone():
    pixels = image()
    before = pixels.copy()
    pixels.flags.writeable = False
    prepare_pixels(pixels, 64, 96)[...] = 0
    np.testing.assert_array_equal(pixels, before)


@given(st.integers(1, 40), st.integers(1, 40))
def test_padding_mirrors_at_the_bottom_and_the_right(height, width):
    pixels = np.random.default_rng(height * 100 + width).integers(0, 256, (2, height, width), dtype=np.uint8)
    target = padded_size(height, width)
    assert target[0] % 32 == target[1] % 32 == 0
    assert 0 <= target[0] - height < 32
    assert 0 <= target[1] - width < 32
    edges = ((0, 0), (0, target[0] - height), (0, target[1] - width))
    np.testing.assert_array_equal(pad(pixels, *target), np.pad(pixels, edges, mode="reflect"))


def test_nothing_is_padded_where_the_size_fits():
    pixels = np.ones((1, 32, 64), np.uint8)
    assert pad(pixels, 32, 64) is pixels
    with pytest.raises(Exception, match="assertion|Assertion"):
        pad(pixels, 16, 64)
