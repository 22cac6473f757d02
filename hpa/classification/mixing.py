"""Mixup and cutmix: batches whose images and labels are blends of two."""

from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from hpa.arrays import Float, ImageTensor, TargetTensor
from hpa.config import Config


class MixingConfig(Config):
    """How batches are mixed; off by default.

    Attributes:
        probability: part of the batches that are mixed.
        mixup: both parameters of the Beta distribution of mixup's share; 0 is off. Zhang et al. 2017.
        cutmix: the same for cutmix. Yun et al. 2019. With both on, each mixed batch takes either.
    """

    probability: Annotated[float, Field(ge=0, le=1)] = 1.0
    mixup: Annotated[float, Field(ge=0)] = 0.0
    cutmix: Annotated[float, Field(ge=0)] = 0.0


Weights = Float[torch.Tensor, " batch"]
FloatImages = Float[torch.Tensor, "batch channels height width"]


def mix(
    config: MixingConfig,
    images: ImageTensor | FloatImages,
    targets: TargetTensor,
    weights: Weights | None,
    generator: torch.Generator,
) -> tuple[ImageTensor | FloatImages, TargetTensor, Weights | None]:
    """Mix each image of a batch with another of the same batch, with its labels and its weight.

    Args:
        config: how often and how.
        images: uint8 or float, on any device; dtype and device stay.
        targets: labels in [0, 1].
        weights: of the images, if they have any.
        generator: on the CPU; the same state gives the same mixture.
    """
    methods = [method for method, alpha in ((mixup, config.mixup), (cutmix, config.cutmix)) if alpha > 0]
    draws = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
    if not methods or draws.random() >= config.probability:
        return images, targets, weights
    method = methods[draws.integers(len(methods))]
    alpha = config.mixup if method is mixup else config.cutmix
    partner = torch.from_numpy(draws.permutation(len(images))).to(images.device)
    mixed, share = method(images, partner, draws.beta(alpha, alpha), draws)
    targets = torch.lerp(targets[partner], targets, share)
    if weights is not None:
        weights = torch.lerp(weights[partner], weights, share)
    return mixed, targets, weights


def mixup(
    images: torch.Tensor, partner: torch.Tensor, share: float, draws: np.random.Generator
) -> tuple[torch.Tensor, float]:
    """Weighted mean of each image and its partner, with the share of the image itself."""
    mixed = torch.lerp(images[partner].float(), images.float(), share)
    return (mixed.round_().to(images.dtype) if images.dtype == torch.uint8 else mixed.to(images.dtype)), share


def cutmix(
    images: torch.Tensor, partner: torch.Tensor, share: float, draws: np.random.Generator
) -> tuple[torch.Tensor, float]:
    """Each image with a rectangle of its partner, and the part of the area that is still its own."""
    height, width = images.shape[2:]
    side = np.sqrt(1 - share)
    row, column = draws.integers(height), draws.integers(width)
    top, bottom = (int(np.clip(row + sign * round(height * side / 2), 0, height)) for sign in (-1, 1))
    left, right = (int(np.clip(column + sign * round(width * side / 2), 0, width)) for sign in (-1, 1))
    mixed = images.clone()
    mixed[:, :, top:bottom, left:right] = images[partner, :, top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)
