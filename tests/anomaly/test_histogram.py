import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from hpa.anomaly.histogram import (
    JOINT_BINS,
    HistogramConfig,
    JointHistogramConfig,
    distance_function,
    histogram,
    joint_counts,
)
from hpa.anomaly.references import references

BINS = 32


def counts_of(items: int, seed: int = 0, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 50, (items, channels, BINS))


def shares(seed: int) -> np.ndarray:
    counts = counts_of(3, seed).astype(float)
    counts[:, :, ::3] = 0
    return counts / counts.sum(axis=2, keepdims=True)


def test_distances_are_those_of_scipy() -> None:
    first, second = shares(0), shares(1)
    for item in range(3):
        for channel in range(2):
            one, other = first[item, channel], second[item, channel]
            expected = jensenshannon(one, other, base=2)
            assert distance_function("jensen_shannon")(first, second)[item, channel] == pytest.approx(expected)
            places = np.arange(BINS) * 8
            expected = wasserstein_distance(places, places, one, other)
            assert distance_function("wasserstein")(first, second)[item, channel] == pytest.approx(expected)
            known = one + other > 0
            expected = (((one - other) ** 2)[known] / (one + other)[known]).sum() / 2
            assert distance_function("chi2")(first, second)[item, channel] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["chi2", "jensen_shannon", "wasserstein"])
def test_distances_are_zero_for_equal_and_largest_for_disjoint_histograms(name) -> None:
    low, high = np.zeros((1, 1, BINS)), np.zeros((1, 1, BINS))
    low[..., 0] = high[..., -1] = 1
    assert distance_function(name)(low, low)[0, 0] == 0
    assert distance_function(name)(low, high)[0, 0] == pytest.approx(1 if name != "wasserstein" else 248)


def test_every_image_is_compared_with_the_mean_of_the_others() -> None:
    counts = counts_of(30)
    found = histogram(counts, references(None, (), 30, 20), HistogramConfig(distance="chi2"))
    part = counts / counts.sum(axis=2, keepdims=True)
    for row in (0, 17):
        mean = np.delete(part, row, axis=0).mean(axis=0)[None]
        expected = distance_function("chi2")(part[row : row + 1], mean).mean()
        assert found.scores[row] == pytest.approx(expected, rel=1e-5)


def test_classes_are_compared_apart_and_the_best_of_several_counts() -> None:
    counts = np.zeros((62, 1, BINS), np.int64)
    generator = np.random.default_rng(0)
    counts[:30, 0, :5] = generator.integers(50, 100, (30, 5))
    counts[30:60, 0, 20:25] = generator.integers(50, 100, (30, 5))
    counts[60:, 0, 20:25] = 80
    targets = np.zeros((62, 2), np.float32)
    targets[:30, 0] = targets[30:60, 1] = 1
    targets[60], targets[61] = [1, 1], [1, 0]
    found = histogram(counts, references(targets, ("low", "high"), 62, 20), HistogramConfig())
    assert found.scores.argmax() == 61
    assert found.flags.nonzero()[0].tolist() == [61]
    assert found.details is not None
    assert found.details["histogram_reference"].iloc[60] == "high"


def test_brightness_of_the_counts_does_not_matter() -> None:
    counts = counts_of(20)
    counts[3] *= 7
    compared = references(None, (), 20, 2)
    np.testing.assert_allclose(
        histogram(counts, compared, HistogramConfig()).scores,
        histogram(counts / counts.sum(axis=2, keepdims=True), compared, HistogramConfig()).scores,
        rtol=1e-5,
    )


def test_nothing_to_compare_with_and_no_pixels_have_no_score() -> None:
    alone = histogram(counts_of(1), references(None, (), 1, 2), HistogramConfig())
    assert np.isnan(alone.scores).all()
    assert not alone.flags.any()
    counts = counts_of(5)
    counts[2, 1] = 0
    found = histogram(counts, references(None, (), 5, 2), HistogramConfig())
    assert np.isnan(found.scores).tolist() == [False, False, True, False, False]
    assert histogram(counts[:, :, :] * 0 + 1, references(None, (), 5, 2), HistogramConfig()).scores.max() == 0


def test_joint_counts_are_those_of_numpy() -> None:
    first, second = np.random.default_rng(0).integers(0, 256, (2, 20, 30), np.uint8)
    edges = np.linspace(0, 256, JOINT_BINS + 1)
    expected = np.histogram2d(first.ravel(), second.ravel(), [edges, edges])[0]
    assert joint_counts(first, second).reshape(JOINT_BINS, JOINT_BINS).tolist() == expected.tolist()


def test_a_joint_histogram_sees_what_single_ones_do_not() -> None:
    """Two channels that are bright in the same places, and one image in which they are not."""
    generator = np.random.default_rng(0)
    planes = generator.integers(0, 256, (30, 32, 32), np.uint8)
    pairs = [(plane, plane) for plane in planes[:-1]] + [(planes[-1], generator.permuted(planes[-1]))]
    counts = np.stack([joint_counts(*pair) for pair in pairs])[:, None]
    found = histogram(counts, references(None, (), 30, 2), JointHistogramConfig())
    assert found.flags[29]
    assert found.scores[29] > 1.5 * found.scores[:29].max()
    with pytest.raises(ValueError, match="wasserstein"):
        JointHistogramConfig.model_validate({"distance": "wasserstein"})
