"""How an image becomes the U-Net's input, in training and afterwards alike: its scale, its intensities, its size."""

import cv2
import numpy as np

from hpa.arrays import Pixels, ResizedPixels
from hpa.segmentation.unet_config import STRIDE

LOW, HIGH = 1.0, 99.8
"""Percentiles of a channel that become black and white: nothing but background, and the brightest spots left out."""

LEAST_SPAN = 4.0
"""Smallest distance of the two in grey levels, so that an empty channel's noise stays dark."""


def scaled_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Height and width of an image at another scale, at least one pixel each.

    >>> scaled_size(1728, 2048, 0.25)
    (432, 512)
    """
    return max(1, round(height * scale)), max(1, round(width * scale))


def prepare_pixels(pixels: Pixels, height: int, width: int) -> ResizedPixels:
    """An image of another size, each channel stretched to the full scale by its percentiles.

    The stretch takes exposure and bit depth away, and is linear: brought up by a square root, the thin, dim rims of
    cells are found that hpacellseg's outlines leave out. Sizes and percentiles are computed in float32, so that dim
    images lose nothing.
    """
    result = np.empty((len(pixels), height, width), np.uint8)
    method = cv2.INTER_AREA if height * width <= pixels[0].size else cv2.INTER_LINEAR
    for plane, target in zip(pixels, result, strict=True):
        values = cv2.resize(np.asarray(plane, np.float32, order="C"), (width, height), interpolation=method)
        low, high = np.percentile(values, (LOW, HIGH))
        parts = np.clip((values - low) / max(high - low, LEAST_SPAN), 0, 1)
        target[...] = np.rint(parts * 255)
    return result


def padded_size(height: int, width: int) -> tuple[int, int]:
    """The next size that the network takes.

    >>> padded_size(432, 512)
    (448, 512)
    """
    return -(-height // STRIDE) * STRIDE, -(-width // STRIDE) * STRIDE


def pad(pixels: Pixels, height: int, width: int) -> ResizedPixels:
    """Mirror an image at its bottom and right edge until it has a size, however small it is."""
    bottom, right = height - pixels.shape[1], width - pixels.shape[2]
    if not bottom and not right:
        return pixels
    return np.stack([cv2.copyMakeBorder(plane, 0, bottom, 0, right, cv2.BORDER_REFLECT_101) for plane in pixels])
