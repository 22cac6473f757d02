import cv2
import numpy as np
import pytest

from hpa.anomaly.measures import BANDS, measure_image, stack_measures

SIDE = 96


def scene(seed: int = 0, side: int = SIDE, brightness: float = 150.0) -> np.ndarray:
    """Spots and threads on black, without noise: float32 (side, side)."""
    generator = np.random.default_rng(seed)
    plane = np.zeros((side, side), np.float32)
    for _ in range(12):
        ends = generator.integers(0, side, 4).tolist()
        cv2.line(plane, ends[:2], ends[2:], float(brightness), 1)
        cv2.circle(plane, generator.integers(0, side, 2).tolist(), int(generator.integers(3, 8)), brightness / 2, -1)
    return plane


def picture(plane: np.ndarray, noise: float = 0.0, seed: int = 1) -> np.ndarray:
    noisy = plane + np.random.default_rng(seed).normal(0, noise, plane.shape) if noise else plane
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def test_blur_lowers_sharpness_and_noise_does_not_raise_it() -> None:
    sharp, blurred = scene(), cv2.GaussianBlur(scene(), (0, 0), 5)
    found = [
        measure_image(picture(plane, noise)[None]).sharpness[0]
        for plane, noise in ((sharp, 0), (sharp, 8), (blurred, 0), (blurred, 8))
    ]
    assert min(found[:2]) > max(found[2:]) + 1.5
    assert max(found) <= 0


def test_brightness_hardly_changes_sharpness_and_likeness() -> None:
    planes = [picture(scene(0)), picture(scene(1))]
    full = measure_image(np.stack(planes))
    half = measure_image(np.stack([plane // 2 for plane in planes]))
    np.testing.assert_allclose(full.sharpness, half.sharpness, atol=0.1)
    np.testing.assert_allclose(full.likeness, half.likeness, atol=0.05)
    np.testing.assert_allclose(full.shape, half.shape, atol=0.3)


def test_a_channel_is_like_itself_and_unlike_another() -> None:
    plane, other = picture(scene(0)), picture(scene(1))
    found = measure_image(np.stack([plane, plane, other]))
    np.testing.assert_allclose(found.likeness[0, 1], 1, atol=0.01)
    np.testing.assert_allclose(found.likeness, np.swapaxes(found.likeness, 0, 1))
    assert np.abs(found.likeness[0, 2, 0]) < 0.3


def test_shape_follows_its_channel() -> None:
    planes = np.stack([picture(scene(0)), picture(scene(1), noise=5)])
    there, swapped = measure_image(planes), measure_image(planes[::-1].copy())
    np.testing.assert_array_equal(there.shape[::-1], swapped.shape)
    assert there.shape.shape == (2, 3 * BANDS + 1)
    # The first figures are shares of the energy.
    np.testing.assert_allclose(np.exp(there.shape[:, : BANDS + 1]).sum(axis=1), 1, rtol=1e-5)


def test_coverage_is_the_part_that_shows_something() -> None:
    plane = np.zeros((100, 100), np.uint8)
    plane[:, :30] = 90
    assert measure_image(plane[None]).coverage[0] == pytest.approx(0.3, abs=0.05)
    noise = np.random.default_rng(0).poisson(0.3, (100, 100)).astype(np.uint8)
    assert measure_image(noise[None]).coverage[0] < 0.02


def test_clipped_is_the_share_of_pixels_times_that_of_bright_ones() -> None:
    plane = np.zeros((100, 100), np.uint8)
    plane[:20] = 255
    plane[20:40] = 200
    assert measure_image(plane[None]).clipped[0] == pytest.approx(0.2 * 0.5)
    plane[:20] = 254
    assert measure_image(plane[None]).clipped[0] == 0


@pytest.mark.parametrize("value", [0, 130, 255])
def test_constant_images_have_defined_measures(value: int) -> None:
    found = measure_image(np.full((2, 32, 40), value, np.uint8))
    assert np.isnan(found.sharpness).all()
    assert found.coverage.tolist() == [0, 0]
    assert np.isfinite(found.shape).all()
    assert np.isfinite(found.likeness).all()
    assert found.clipped.tolist() == [float(value == 255)] * 2


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 31), (28, 28)])
def test_small_and_odd_sizes(height: int, width: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1, height, width), np.uint8)
    found = measure_image(pixels)
    assert np.isfinite(found.shape).all()
    assert np.isfinite(found.coverage).all()


def test_images_below_8_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 8 x 8 pixels, but got 9 x 7"):
        measure_image(np.zeros((1, 7, 9), np.uint8))


def test_measures_of_many_have_the_images_first() -> None:
    found = stack_measures([measure_image(np.stack([picture(scene(seed))] * 2)) for seed in range(3)])
    assert found.sharpness.shape == (3, 2)
    assert found.likeness.shape == (3, 2, 2, BANDS)
    with pytest.raises(ValueError, match="at least one"):
        stack_measures([])
