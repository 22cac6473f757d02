"""How the U-Net's training samples are cut from an image and varied, in one interpolation and one table per channel."""

import cv2
import numpy as np

from hpa.arrays import Float64, Integer, Pixels, UInt8, UInt16
from hpa.segmentation.unet_config import UnetAugmentationConfig

Matrix = Float64[np.ndarray, "2 3"]


def draw_matrix(
    height: int, width: int, size: int, config: UnetAugmentationConfig, generator: np.random.Generator
) -> Matrix:
    """Draw which part of an image a sample shows, turned, flipped and enlarged.

    Args:
        height: of the image, pixels.
        width: of the image, pixels.
        size: side of the sample, pixels.
        config: what may happen.
        generator: decides it.

    Returns:
        From x and y of a sample's pixel to x and y in the image. The sample lies within the image unless it is turned
        out of it at a corner or the image is too small, which is then in the middle.
    """
    is_warped = generator.random() < config.warp
    angle = generator.uniform(0, 2 * np.pi) if is_warped else 0.0
    zoom = float(np.exp(generator.uniform(*np.log(config.scale)))) if is_warped else 1.0
    turns, flips = (int(generator.integers(4)), int(generator.integers(2))) if config.dihedral else (0, 0)
    room = np.array([width, height]) - size / zoom
    corner = np.where(room > 0, generator.random(2) * room, room / 2)
    if not is_warped:
        corner = np.rint(corner)  # whole pixels: nothing is interpolated
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    quarter = np.array([[0, -1], [1, 0]])
    linear = turned @ np.linalg.matrix_power(quarter, turns) @ np.diag([1 - 2 * flips, 1]) / zoom
    centre = corner + (size / zoom - 1) / 2
    return np.column_stack([linear, centre - linear @ np.full(2, (size - 1) / 2)])


def cut_pixels(pixels: Pixels, matrix: Matrix, size: int) -> UInt8[np.ndarray, "channels size size"]:
    """The part of an image that a sample shows, interpolated; the image is mirrored beyond its edges."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    parts = [
        cv2.warpAffine(plane, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT_101) for plane in pixels
    ]
    return np.stack(parts)


def cut_numbers(
    numbers: Integer[np.ndarray, "height width"], matrix: Matrix, size: int
) -> UInt8[np.ndarray, "size size"] | UInt16[np.ndarray, "size size"]:
    """The same part of a label map or mask (uint8 or uint16): nothing is mixed, and beyond the edges is 0."""
    cut: np.ndarray = cv2.warpAffine(
        numbers, matrix, (size, size), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_CONSTANT
    )
    return cut


def vary(pixels: Pixels, config: UnetAugmentationConfig, generator: np.random.Generator) -> Pixels:
    """Other intensities for each channel, then perhaps blur, then perhaps noise, as in a microscope."""
    channels = len(pixels)
    tables = _draw_tables(channels, config, generator)
    pixels = np.stack([cv2.LUT(plane, table) for plane, table in zip(pixels, tables, strict=True)])
    if generator.random() < config.blur:
        sigma = float(generator.uniform(*config.blur_sigma))
        pixels = np.stack([cv2.GaussianBlur(plane, (0, 0), sigma) for plane in pixels])
    if generator.random() < config.noise:
        sigma = float(generator.uniform(0, config.noise_sigma)) * 255
        noise = generator.standard_normal(pixels.shape, np.float32) * sigma
        pixels = np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)
    return pixels


def _draw_tables(
    channels: int, config: UnetAugmentationConfig, generator: np.random.Generator
) -> UInt8[np.ndarray, "channels 256"]:
    is_changed = generator.random(channels) < config.intensity
    gain, gamma = (
        np.where(is_changed, np.exp(generator.uniform(np.log(least), np.log(greatest), channels)), 1)
        for least, greatest in (config.gain, config.gamma)
    )
    offset = np.where(is_changed, generator.uniform(-config.offset, config.offset, channels), 0)
    levels = np.arange(256) / 255
    values = gain[:, None] * levels ** gamma[:, None] + offset[:, None]
    return np.clip(np.rint(values * 255), 0, 255).astype(np.uint8)
