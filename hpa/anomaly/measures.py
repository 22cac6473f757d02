"""What an image's channels are like: sharp or not, covered or empty, clipped, and which structures they show."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeAlias

import cv2
import numpy as np

from hpa.arrays import Float32, Pixels, Plane

BANDS = 5
"""Bands of detail, each twice as coarse as the one before; the first holds detail of about two pixels."""

_SHAPE = 3 * BANDS + 1
_FOCUS_BANDS = 4
_BRIGHT = 128
_EMPTY_LEVELS = 2.0  # grey levels above the darkest parts: the noise of a blurred dark image stays below
_EMPTY_BLUR = 0.02  # of the image's side
_ENERGY = np.float32(1e-4)  # squared square roots of grey levels: less is nothing


Band: TypeAlias = Float32[np.ndarray, "_ _"]
"""A picture of any size: each band is half as large as the one before."""


@dataclass(frozen=True)
class Measures:
    """Figures of one image's channels, or of many images' with a first axis for the images.

    Attributes:
        sharpness: (channels,) logarithm of fine over coarse detail; 0 or less, NaN without any detail.
        coverage: (channels,) part of the area that is brighter than the darkest part, 0 to 1.
        clipped: (channels,) part of the pixels at the maximum, 255, times the part that they are of the bright ones.
        shape: (channels, 16) logarithm of each band's share of the energy (the rest last), skewness and logarithm of
            the kurtosis of each band; unchanged by brightness, but for noise.
        likeness: (channels, channels, 5) correlation of two channels in each band.
    """

    sharpness: Float32[np.ndarray, "*images channels"]
    coverage: Float32[np.ndarray, "*images channels"]
    clipped: Float32[np.ndarray, "*images channels"]
    shape: Float32[np.ndarray, "*images channels figures"]
    likeness: Float32[np.ndarray, "*images channels channels bands"]


def measure_image(pixels: Pixels) -> Measures:
    """Measure one image.

    Square roots come first, which make the noise of photon counts even. Energies of detail for `sharpness` are the
    products of two pictures made of alternate pixels: what is in both is detail, noise is not (the idea of Fourier
    ring correlation with one image; Koho et al., Nature Communications 10, 2019). So a dim image, mostly noise, is not
    sharp for that.

    Args:
        pixels: uint8 (channels, height, width), each side 8 pixels or more.

    Raises:
        ValueError: the image is smaller.
    """
    channels, height, width = pixels.shape
    if min(height, width) < 8:
        raise ValueError(f"expected images of at least 8 x 8 pixels, but got {width} x {height}")
    light = [np.sqrt(np.ascontiguousarray(plane).astype(np.float32)) for plane in pixels]
    shapes = np.empty((channels, _SHAPE), np.float32)
    likeness = np.ones((channels, channels, BANDS), np.float32)
    bands = [_bands(plane, BANDS) for plane in light]
    for channel in range(channels):
        shapes[channel] = _shape(bands[channel])
        for other in range(channel):
            found = [_correlation(bands[channel][band], bands[other][band]) for band in range(BANDS)]
            likeness[channel, other] = likeness[other, channel] = found
    return Measures(
        sharpness=np.array([_sharpness(plane) for plane in light], np.float32),
        coverage=np.array([_coverage(plane) for plane in pixels], np.float32),
        clipped=np.array([_clipped(plane) for plane in pixels], np.float32),
        shape=shapes,
        likeness=likeness,
    )


def stack_measures(measures: Sequence[Measures]) -> Measures:
    """The measures of many images, the images along the first axis.

    Raises:
        ValueError: there are none.
    """
    if not measures:
        raise ValueError("expected the measures of at least one image, but got none")
    return Measures(**{name.name: np.stack([getattr(one, name.name) for one in measures]) for name in fields(Measures)})


def _bands(plane: Band, count: int) -> list[Band]:
    """A Laplacian pyramid: `count` bands, then what is coarser (Burt and Adelson 1983)."""
    parts = []
    for _ in range(count):
        coarse = cv2.pyrDown(plane)
        parts.append(plane - cv2.pyrUp(coarse, dstsize=plane.shape[::-1]))
        plane = coarse
    return [*parts, plane - plane.mean()]


def _shape(bands: Sequence[Band]) -> Float32[np.ndarray, " figures"]:
    squares = [band * band for band in bands]
    energy = np.array([square.mean() for square in squares], np.float32) + _ENERGY
    figures = [*np.log(energy / energy.sum())]
    for band, square, own in zip(bands[:-1], squares[:-1], energy[:-1], strict=True):
        figures += [(square * band).mean() / own**1.5, np.log((square * square).mean() / own**2 + 0.1)]
    return np.array(figures, np.float32)


def _correlation(first: Band, second: Band) -> float:
    length = np.sqrt(((first * first).mean() + _ENERGY) * ((second * second).mean() + _ENERGY))
    return float((first * second).mean() / length)


def _sharpness(plane: Band) -> float:
    height, width = (side // 2 * 2 for side in plane.shape)
    first, second = np.ascontiguousarray(plane[:height:2, :width:2]), np.ascontiguousarray(plane[1::2, 1::2])
    pairs = zip(_bands(first, _FOCUS_BANDS), _bands(second, _FOCUS_BANDS), strict=True)
    shared = [float((one * other).mean()) for one, other in pairs][:_FOCUS_BANDS]
    coarse = max(shared)
    if coarse <= float(_ENERGY):
        return float("nan")
    return float(np.log(max(shared[0] / coarse, 1e-4)))


def _coverage(plane: Plane) -> float:
    blurred = cv2.GaussianBlur(
        np.ascontiguousarray(plane).astype(np.float32), (0, 0), max(0.5, _EMPTY_BLUR * min(plane.shape))
    )
    return float((blurred > np.quantile(blurred, 0.01) + _EMPTY_LEVELS).mean())


def _clipped(plane: Plane) -> float:
    clipped, bright = int((plane == 255).sum()), int((plane >= _BRIGHT).sum())
    return clipped / plane.size * clipped / bright if bright else 0.0
