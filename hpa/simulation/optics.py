"""From light to pixels: uneven illumination, haze, point spread, photon noise, black level, eight bits."""

from dataclasses import dataclass

import cv2
import numpy as np

from hpa.arrays import Float32, Pixels
from hpa.simulation.config import OpticsConfig
from hpa.simulation.textures import as_light, blur

AMPLIFICATION_SPREAD = np.float32(0.35)
"""Standard deviation of a photomultiplier's gain from photon to photon, as a part of its mean; 0.3 to 0.5 is usual
(Art, "Photon detectors for confocal microscopy", in Pawley, Handbook of Biological Confocal Microscopy)."""


@dataclass(frozen=True)
class Exposure:
    """How one image is recorded.

    Attributes:
        gains: factor per channel on the light.
        grey_per_photon: per channel; the larger, the noisier.
        defocus: further standard deviation of the blur, µm.
    """

    gains: tuple[float, ...]
    grey_per_photon: tuple[float, ...]
    defocus: float = 0.0


def record(
    light: Float32[np.ndarray, "channels height width"],
    pixel: float,
    optics: OpticsConfig,
    exposure: Exposure,
    rng: np.random.Generator,
) -> Pixels:
    """What the camera writes.

    Args:
        light: in grey levels, before all that happens here.
        pixel: side of a pixel, µm.
        optics: of the microscope.
        exposure: of this image.
        rng: source of the noise and of the illumination's tilt.
    """
    channels, height, width = light.shape
    shading = _shading(height, width, optics.unevenness, rng)
    spread = float(np.hypot(optics.blur, exposure.defocus)) / pixel
    pixels = np.empty((channels, height, width), np.uint8)
    # Pixels larger than those of the 512 px set are means over several of them, and less noisy.
    fewer = min(1.0, (0.32 / pixel) ** 2)
    for channel in range(channels):
        plane = blur(light[channel], spread)
        if optics.haze:
            plane = plane + np.float32(optics.haze) * _far(plane, 2.5 / pixel)
        plane = plane * shading * np.float32(exposure.gains[channel])
        noisy = _photons(plane + np.float32(optics.background), exposure.grey_per_photon[channel] * fewer, rng)
        # The black level takes away what little there is everywhere.
        noisy -= np.float32(2 * optics.background)
        pixels[channel] = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return pixels


def _shading(
    height: int, width: int, unevenness: float, rng: np.random.Generator
) -> Float32[np.ndarray, "height width"]:
    """Brightest near the middle, falling to the corners, the middle somewhere else in every image."""
    x, y = rng.normal(0, 0.25, 2)
    down, across = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return as_light((1 - unevenness / 2 * ((across - x) ** 2 + (down - y) ** 2)).clip(0.3))


def _far(plane: Float32[np.ndarray, "height width"], sigma: float) -> Float32[np.ndarray, "height width"]:
    """A wide blur, made on a smaller copy."""
    factor = max(1, int(sigma / 2))
    small = cv2.resize(plane, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    wide: Float32[np.ndarray, "height width"] = cv2.resize(
        blur(small, sigma / factor), plane.shape[::-1], interpolation=cv2.INTER_LINEAR
    )
    return wide


def _photons(
    plane: Float32[np.ndarray, "height width"], grey: float, rng: np.random.Generator
) -> Float32[np.ndarray, "height width"]:
    """Photon noise of variance mean x grey; Poisson below 60 photons, and above, where the two agree, Gaussian.

    Few photons are not equal steps of brightness: the detector multiplies each by a factor of its own. So no photon
    stays black, while the levels between are all taken, as in real images. That adds to the variance, so the photons
    are taken as more and smaller, to keep it.
    """
    excess = 1 + AMPLIFICATION_SPREAD**2
    gain = np.float32(grey) / excess
    expected = np.maximum(plane / gain, 0)
    noise = rng.standard_normal(plane.shape, np.float32)
    noisy = expected + np.sqrt(expected * excess) * noise
    few = expected < 60
    counts = rng.poisson(expected[few]).astype(np.float32)
    noisy[few] = np.maximum(counts + AMPLIFICATION_SPREAD * np.sqrt(counts) * noise[few], 0)
    return (noisy * gain).astype(np.float32)
