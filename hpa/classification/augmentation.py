"""Augmentation: random changes of training images that leave their labels true, on albumentations.

Channels are handed to albumentations as a stack of grey images (`images`), since its transforms then need no change of
axes and take any number of channels. Where its own transforms are slow or treat all channels alike, this file has
its own.
"""

import functools
import os
import random
from typing import Annotated, Any, Literal

import cv2
import numpy as np
import pydantic
from pydantic import Field

from hpa.arrays import Float, Float64, Pixels, UInt8
from hpa.config import Config

# Without this, importing albumentations asks the network for a newer version.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A  # noqa: N812 - its usual name, after the variable that it reads on import

Probability = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class AugmentationConfig(Config):
    """What may happen to a training image; every probability at 0 and `dihedral: none` leaves it as it is.

    Attributes:
        dihedral: `all` eight flips and quarter turns, `horizontal` flips only (radiographs), or `none`.
        warp: probability of rotation, scale and crop, done together.
        rotation: greatest angle, degrees, either way.
        scale: least and greatest magnification; below 1, the border is mirrored into what comes in.
        crop: least side of the part that is kept, as a part of the image's side.
        intensity: probability, per channel, of another brightness and contrast.
        brightness: greatest offset, as a part of the full scale, either way.
        contrast: greatest change of the factor on intensities, either way.
        blur: probability of Gaussian blur.
        blur_sigma: its least and greatest sigma, pixels.
        noise: probability of Gaussian noise, independent in each channel.
        noise_sigma: its greatest sigma, as a part of the full scale.
        cutout: probability of blackened rectangles.
        cutout_holes: most of them.
        cutout_side: their greatest side, as a part of the image's side.
        downscale: probability of a smaller size and back.
        downscale_factor: the smallest such size, as a part of the image's side.
    """

    dihedral: Literal["all", "horizontal", "none"] = "all"
    warp: Probability = 0.7
    rotation: Annotated[float, Field(ge=0, le=180)] = 45.0
    scale: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.85, 1.2)
    crop: Share = 0.8
    intensity: Probability = 0.8
    brightness: Annotated[float, Field(ge=0, lt=1)] = 0.03
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.3
    blur: Probability = 0.1
    blur_sigma: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.3, 1.5)
    noise: Probability = 0.1
    noise_sigma: Annotated[float, Field(gt=0, le=0.5)] = 0.03
    cutout: Probability = 0.2
    cutout_holes: Annotated[int, Field(ge=1)] = 4
    cutout_side: Share = 0.2
    downscale: Probability = 0.1
    downscale_factor: Share = 0.5

    @pydantic.field_validator("scale", "blur_sigma")
    @classmethod
    def _ordered(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if limits[0] > limits[1]:
            raise ValueError("expected the least value first")
        return limits


class Augmentation:
    """A chain of random transforms; one object serves one thread or process, and it can be pickled."""

    def __init__(self, transforms: list[A.BasicTransform]) -> None:
        self.chain = A.Compose(transforms)

    def __call__(self, pixels: Pixels, generator: np.random.Generator) -> Pixels:
        """A changed copy of an image, of the same shape; the generator's state alone decides the changes."""
        # One stream for all transforms: Compose's own seeding gives each the same numbers, so that they come together.
        self.chain.set_random_state(generator, random.Random(int(generator.integers(2**63))))
        changed: Pixels = self.chain(images=pixels)["images"]
        return np.array(changed) if changed is pixels else changed


def build_augmentation(config: AugmentationConfig) -> Augmentation:
    """Build the chain of transforms; sharpness changes before noise, as in a microscope."""
    hole = (min(0.02, config.cutout_side), config.cutout_side)
    chain = [
        Warp(config.dihedral, config.warp, config.rotation, config.scale, config.crop),
        A.Downscale(
            scale_range=(config.downscale_factor, max(config.downscale_factor, 0.9)),
            interpolation_pair={"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR},
            p=config.downscale,
        ),
        A.GaussianBlur(blur_limit=0, sigma_limit=config.blur_sigma, p=config.blur),
        ChannelIntensity(config.intensity, config.brightness, config.contrast),
        ChannelNoise(config.noise_sigma, p=config.noise),
        A.CoarseDropout((1, config.cutout_holes), hole, hole, fill=0, p=config.cutout),
    ]
    return Augmentation([transform for transform in chain if transform.p > 0])


def build_movement(config: AugmentationConfig) -> Augmentation:
    """The part of the chain that moves pixels, for the label map of an image that `build_augmentation`'s chain changes.

    Given a generator in the same state, it moves each number to where the chain moves the pixel; numbers are never
    mixed. That holds because `Warp` comes first in both, and draws the same.
    """
    return Augmentation(
        [Warp(config.dihedral, config.warp, config.rotation, config.scale, config.crop, cv2.INTER_NEAREST)]
    )


class Warp(A.ImageOnlyTransform):  # type: ignore[misc] # albumentations has no types
    """Flips and quarter turns, rotation, scale and crop, in one interpolation (three would blur, and take longer)."""

    def __init__(
        self,
        dihedral: Literal["all", "horizontal", "none"],
        probability: float,
        rotation: float,
        scale: tuple[float, float],
        crop: float,
        interpolation: int = cv2.INTER_LINEAR,
    ) -> None:
        super().__init__(p=1.0)
        self.symmetries = {"all": 8, "horizontal": 2, "none": 1}[dihedral]
        self.probability = probability
        self.rotation = rotation
        self.scale = scale
        self.crop = crop
        self.interpolation = interpolation

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the symmetry and the matrix."""
        draws = self.random_generator
        symmetry = int(draws.integers(self.symmetries))
        if draws.random() >= self.probability:
            return {"symmetry": symmetry, "matrix": None}
        part = draws.uniform(self.crop, 1)
        zoom = float(np.exp(draws.uniform(*np.log(self.scale)))) / part
        angle = float(draws.uniform(-self.rotation, self.rotation))
        free = (1 - part) / 2
        height, width = params["shape"][:2]
        centre = (0.5 + draws.uniform(-free, free, 2)) * (width, height)
        return {"symmetry": symmetry, "matrix": warp_matrix(height, width, angle, zoom, centre)}

    def apply_to_images(
        self, images: Pixels, *args: Any, symmetry: int, matrix: Float64[np.ndarray, "2 3"] | None, **params: Any
    ) -> Pixels:
        """Apply to a stack of planes; quarter turns of images that are not square are left out."""
        height, width = images.shape[1:]
        result = np.empty_like(images)
        turned = symmetry >= 4 and height == width
        for plane, target in zip(images, result, strict=True):
            if turned:
                plane = cv2.transpose(plane)
            if symmetry % 4:
                plane = cv2.flip(plane, {1: 1, 2: 0, 3: -1}[symmetry % 4])
            if matrix is None:
                target[...] = plane
            else:
                cv2.warpAffine(plane, matrix, (width, height), target, self.interpolation, cv2.BORDER_REFLECT_101)
        return result


def warp_matrix(
    height: int, width: int, angle: float, zoom: float, centre: Float[np.ndarray, "2"]
) -> Float64[np.ndarray, "2 3"]:
    """Matrix for `cv2.warpAffine` that turns and enlarges about a point and brings it to the middle of the image.

    Args:
        height: of the image, pixels.
        width: of the image, pixels.
        angle: degrees, counter-clockwise.
        zoom: magnification.
        centre: x and y of the point, in pixels from the image's corner (half a pixel before the first one's middle).
    """
    matrix = cv2.getRotationMatrix2D((float(centre[0]) - 0.5, float(centre[1]) - 0.5), angle, zoom)
    matrix[:, 2] += (width / 2 - centre[0], height / 2 - centre[1])
    return np.asarray(matrix, np.float64)


class ChannelIntensity(A.ImageOnlyTransform):  # type: ignore[misc] # albumentations has no types
    """Another brightness and contrast for each channel, by a table of 256 values."""

    def __init__(self, probability: float, brightness: float, contrast: float) -> None:
        super().__init__(p=1.0 if probability > 0 else 0.0)
        self.probability = probability
        self.brightness = brightness
        self.contrast = contrast

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw a factor and an offset for each channel; black stays nearly black, as a dark background should."""
        channels = len(data["images"])
        changed = self.random_generator.random(channels) < self.probability
        factors = 1 + changed * self.random_generator.uniform(-self.contrast, self.contrast, channels)
        offsets = changed * self.random_generator.uniform(-self.brightness, self.brightness, channels) * 255
        values = np.arange(256) * factors[:, None] + offsets[:, None]
        return {"tables": np.clip(np.rint(values), 0, 255).astype(np.uint8)}

    def apply_to_images(
        self, images: Pixels, *args: Any, tables: UInt8[np.ndarray, "channels 256"], **params: Any
    ) -> Pixels:
        """Apply to a stack of planes."""
        result = np.empty_like(images)
        for plane, table, target in zip(images, tables, result, strict=True):
            cv2.LUT(plane, table, target)
        return result


class ChannelNoise(A.ImageOnlyTransform):  # type: ignore[misc] # albumentations has no types
    """Gaussian noise, independent in each channel, cut from one large table of random numbers.

    Drawing a million normal numbers takes longer than all other transforms together.
    """

    def __init__(self, sigma: float, p: float) -> None:
        super().__init__(p=p)
        self.sigma = sigma

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw a strength, and where in the table each channel begins."""
        height, width = params["shape"][:2]
        sigma = float(self.random_generator.uniform(0, self.sigma)) * 255
        room = len(normal_numbers(_table_size(height * width))) - height * width
        return {"sigma": sigma, "starts": self.random_generator.integers(room, size=len(data["images"]))}

    def apply_to_images(self, images: Pixels, *args: Any, sigma: float, starts: Any, **params: Any) -> Pixels:
        """Apply to a stack of planes."""
        area = images[0].size
        numbers = normal_numbers(_table_size(area))
        result = np.empty_like(images)
        for plane, start, target in zip(images, starts, result, strict=True):
            noise = numbers[start : start + area].reshape(plane.shape)
            cv2.addWeighted(plane, 1, noise, sigma / NOISE_UNIT, 0, target, cv2.CV_8U)
        return result


NOISE_UNIT = 25
"""Steps that a standard deviation has in the table: five of them fit into int8."""


def _table_size(area: int) -> int:
    return max(1 << 21, 1 << (2 * area).bit_length())


@functools.lru_cache(maxsize=2)
def normal_numbers(count: int) -> np.ndarray:
    """Normal random numbers in steps of 1 / NOISE_UNIT, int8; always the same ones."""
    numbers = np.random.default_rng(0).standard_normal(count, np.float32) * NOISE_UNIT
    return np.clip(np.rint(numbers), -127, 127).astype(np.int8)
