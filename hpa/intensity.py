"""What an image's values are like, channel by channel: mean, spread, high quantile and histogram."""

from dataclasses import dataclass

import cv2
import numpy as np

from hpa.arrays import Pixels

HISTOGRAM_BINS = 32
"""Bins of the stored histograms, each 256 / 32 = 8 values wide."""


@dataclass(frozen=True)
class Intensity:
    """Figures of one channel, over all its pixels, on the scale 0 to 255.

    Attributes:
        mean: average.
        std: standard deviation (population).
        p99: smallest value that at least 99 % of the pixels do not exceed.
        histogram: number of pixels in each of HISTOGRAM_BINS equal bins.
    """

    mean: float
    std: float
    p99: int
    histogram: list[int]


def intensities(pixels: Pixels) -> list[Intensity]:
    """The figures of every channel of a uint8 (channels, height, width) image.

    >>> intensities(np.full((1, 2, 2), 9, np.uint8))[0].mean
    9.0
    """
    return [_intensity(plane) for plane in pixels]


def _intensity(plane: np.ndarray) -> Intensity:
    # All figures follow from the counts of the 256 values, exactly; one pass over the pixels.
    counts = cv2.calcHist([plane], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    values = np.arange(256)
    total = int(counts.sum())
    mean = float(counts @ values / total)
    variance = float(counts @ (values - mean) ** 2 / total)
    p99 = int(np.searchsorted(np.cumsum(counts), 0.99 * total))
    histogram = counts.reshape(HISTOGRAM_BINS, -1).sum(axis=1)
    return Intensity(mean, variance**0.5, p99, histogram.tolist())
