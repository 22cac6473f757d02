"""What stands in the place of removed pixels: black, the image's own blur, or its mean."""

import math
from typing import Literal, TypeAlias

import torch
from torch.nn import functional

from hpa.arrays import Float

Images: TypeAlias = Float[torch.Tensor, "batch channels height width"]
"""Pixels in [0, 255]."""

Replacement: TypeAlias = Literal["black", "blurred", "mean"]
"""`black`: nothing was stained there. `blurred`: its brightness without its structure. `mean`: each channel's mean."""


def replaced(images: Images, kind: Replacement, blur: float | int = 0.05) -> Images:
    """Images in which no pixel holds what it showed.

    Args:
        images: pixels.
        kind: what stands there instead.
        blur: standard deviation of the Gaussian, as a part of the image's longer side.
    """
    match kind:
        case "black":
            return torch.zeros_like(images)
        case "mean":
            return images.mean(dim=(2, 3), keepdim=True).expand_as(images).clone()
        case "blurred":
            return _blurred(images, blur * max(images.shape[2:]))


def _blurred(images: Images, sigma: float) -> Images:
    """A Gaussian blur, edges repeated; by two passes, one along each axis."""
    reach = max(1, math.ceil(3 * sigma))
    offsets = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    weights = torch.exp(-0.5 * (offsets / max(sigma, 1e-6)) ** 2)
    weights = weights / weights.sum()
    batch, channels, height, width = images.shape
    planes = images.reshape(batch * channels, 1, height, width)
    planes = functional.conv2d(functional.pad(planes, (0, 0, reach, reach), "replicate"), weights[None, None, :, None])
    planes = functional.conv2d(functional.pad(planes, (reach, reach, 0, 0), "replicate"), weights[None, None, None])
    return planes.reshape(images.shape)
