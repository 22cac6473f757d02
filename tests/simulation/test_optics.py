import numpy as np
import pytest

from hpa.simulation.config import OpticsConfig
from hpa.simulation.optics import Exposure, record

PLAIN = OpticsConfig(blur=0, haze=0, unevenness=0, background=0)
ONE = Exposure(gains=(1.0,), grey_per_photon=(4.0,))


def flat(level: float, size: int = 200) -> np.ndarray:
    return np.full((1, size, size), level, np.float32)


@pytest.mark.parametrize("level", [10.0, 40.0, 120.0])
@pytest.mark.parametrize("grey", [0.5, 4.0])
def test_noise_is_that_of_photons(level: float, grey: float) -> None:
    exposure = Exposure((1.0,), (grey,))
    pixels = record(flat(level), 0.32, PLAIN, exposure, np.random.default_rng(0)).astype(float)
    assert pixels.mean() == pytest.approx(level, rel=0.02)
    # The variance of a Poisson number of photons of `grey` levels each, and of rounding.
    assert pixels.var() == pytest.approx(level * grey + 1 / 12, rel=0.06)


def test_pixels_larger_than_those_of_the_512_set_are_less_noisy() -> None:
    fine, coarse = (
        record(flat(50.0), pixel, PLAIN, ONE, np.random.default_rng(0)).astype(float).var() for pixel in (0.32, 0.64)
    )
    assert coarse == pytest.approx(fine / 4, rel=0.1)


def test_darkness_stays_black() -> None:
    optics = OpticsConfig()
    pixels = record(flat(0.0), 0.32, optics, ONE, np.random.default_rng(0))
    assert np.median(pixels) == 0
    assert pixels.mean() < 1


def test_what_is_too_bright_is_255() -> None:
    pixels = record(flat(100.0), 0.32, PLAIN, Exposure((5.0,), (4.0,)), np.random.default_rng(0))
    assert (pixels == 255).mean() > 0.99


def test_defocus_spreads_a_point_as_far_as_it_says() -> None:
    light = np.zeros((1, 101, 101), np.float32)
    light[0, 50, 50] = 3e4
    pixels = record(light, 0.32, PLAIN, Exposure((1.0,), (0.01,), 1.6), np.random.default_rng(0))[0].astype(float)
    x = np.arange(101) - 50
    spread = np.sqrt((pixels.sum(axis=0) * x**2).sum() / pixels.sum()) * 0.32
    assert spread == pytest.approx(1.6, rel=0.1)


def test_illumination_is_uneven_as_told() -> None:
    optics = PLAIN.model_copy(update={"unevenness": 0.4})
    pixels = record(flat(200.0), 0.32, optics, Exposure((1.0,), (0.01,)), np.random.default_rng(1))[0].astype(float)
    assert 0.3 < pixels.min() / pixels.max() < 0.85


def test_haze_adds_light_around_what_is_bright() -> None:
    light = np.zeros((1, 100, 100), np.float32)
    light[0, 40:60, 40:60] = 200
    exposure = Exposure((1.0,), (0.01,))
    plain = record(light, 0.32, PLAIN, exposure, np.random.default_rng(0))
    hazy = record(light, 0.32, PLAIN.model_copy(update={"haze": 0.3}), exposure, np.random.default_rng(0))
    assert plain[0, 50, 64] == 0
    assert hazy[0, 50, 64] > 3
