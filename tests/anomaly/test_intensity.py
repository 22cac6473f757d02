import numpy as np
import pytest
from scipy.stats import zscore

from hpa.anomaly.intensity import IntensityConfig, chosen_channels, intensity
from hpa.anomaly.references import references

CHANNELS = ("red", "green")


def values_of(*green: float) -> np.ndarray:
    return np.stack([np.full(len(green), 10.0), np.array(green, float)], axis=1)


def test_without_labels_it_is_the_z_score_of_green() -> None:
    values = np.random.default_rng(0).gamma(2, 10, (50, 2))
    compared = references(None, (), 50, 20)
    found = intensity(values, CHANNELS, compared, IntensityConfig(k=2))
    expected = zscore(values[:, 1])
    np.testing.assert_allclose(found.scores, np.abs(expected), rtol=1e-5)
    assert found.flags.tolist() == (np.abs(expected) > 2).tolist()
    assert found.details is not None
    np.testing.assert_allclose(found.details["intensity_sigma"], expected, rtol=1e-4, atol=1e-6)
    assert set(found.details["intensity_channel"]) == {"green"}
    assert set(found.details["intensity_reference"]) == {"all"}


def test_an_image_is_judged_by_the_class_that_it_fits_best() -> None:
    generator = np.random.default_rng(1)
    dark, bright = generator.normal(10, 1, 30), generator.normal(100, 1, 30)
    values = values_of(*dark, *bright, 100.0, 100.0)
    targets = np.zeros((62, 2), np.float32)
    targets[:30, 0] = 1
    targets[30:60, 1] = 1
    targets[60] = [1, 1]  # has both classes, and is as bright as the second
    targets[61] = [1, 0]  # is as bright as the class that it does not have
    found = intensity(values, CHANNELS, references(targets, ("dark", "bright"), 62, 20), IntensityConfig())
    assert not found.flags[60]
    assert found.flags[61]
    assert found.details is not None
    assert found.details["intensity_reference"].iloc[60] == "bright"
    assert found.details["intensity_sigma"].iloc[61] > 3


def test_the_channel_farthest_out_decides() -> None:
    values = np.random.default_rng(2).normal(50, 1, (40, 2))
    values[5, 0] = 0
    found = intensity(values, CHANNELS, references(None, (), 40, 20), IntensityConfig(channels=("green", "red")))
    assert found.scores.argmax() == 5
    assert found.details is not None
    assert found.details["intensity_channel"].iloc[5] == "red"
    assert found.details["intensity_sigma"].iloc[5] < -3


def test_few_very_bright_images_hide_others_from_the_mean_but_not_from_the_median() -> None:
    values = values_of(*np.random.default_rng(3).normal(20, 1, 40), 30.0, 250.0, 250.0, 250.0)
    compared = references(None, (), 44, 20)
    assert not intensity(values, CHANNELS, compared, IntensityConfig()).flags[40]
    assert intensity(values, CHANNELS, compared, IntensityConfig(robust=True)).flags[40:].all()


def test_logarithms_treat_factors_alike() -> None:
    values = values_of(*np.exp(np.random.default_rng(4).normal(3, 0.3, 100)), 1.0)
    compared = references(None, (), 101, 20)
    assert not intensity(values, CHANNELS, compared, IntensityConfig()).flags[100]
    assert intensity(values, CHANNELS, compared, IntensityConfig(scale="log")).flags[100]


def test_a_class_with_one_image_is_compared_with_all() -> None:
    values = values_of(*np.random.default_rng(5).normal(20, 1, 30), 90.0)
    targets = np.zeros((31, 2), np.float32)
    targets[:30, 0], targets[30, 1] = 1, 1
    found = intensity(values, CHANNELS, references(targets, ("many", "one"), 31, 2), IntensityConfig(least=2))
    assert found.flags[30]
    assert found.details is not None
    assert found.details["intensity_reference"].iloc[30] == "all"


@pytest.mark.parametrize("robust", [True, False])
def test_equal_intensities_are_not_anomalous(robust: bool) -> None:
    found = intensity(values_of(*[0.1] * 30), CHANNELS, references(None, (), 30, 20), IntensityConfig(robust=robust))
    assert found.scores.tolist() == [0] * 30


def test_where_most_are_equal_the_robust_sigma_is_the_plain_one() -> None:
    values = values_of(*[5.0] * 30, 6.0)
    found = intensity(values, CHANNELS, references(None, (), 31, 20), IntensityConfig(robust=True))
    assert np.isfinite(found.scores).all()
    assert found.scores.argmax() == 30


def test_one_image_and_unknown_intensities_have_no_score() -> None:
    alone = intensity(values_of(3.0), CHANNELS, references(None, (), 1, 20), IntensityConfig())
    assert np.isnan(alone.scores).all()
    assert not alone.flags.any()
    some = values_of(1.0, 2.0, np.nan)
    assert np.isnan(intensity(some, CHANNELS, references(None, (), 3, 2), IntensityConfig()).scores[2])


def test_channels_must_be_there() -> None:
    assert chosen_channels(("grey",), None) == ("grey",)
    for wanted in (("blue",), ()):
        with pytest.raises(ValueError, match="expected channels out of"):
            chosen_channels(CHANNELS, wanted)
