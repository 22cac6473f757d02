"""Guided Grad-CAM: guided backpropagation, which sees detail, inside of Grad-CAM, which tells classes apart."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from hpa.explain.cams import class_activation_maps
from hpa.explain.guided import guided_backpropagation
from hpa.explain.items import ClassNumbers, Images, PixelMaps, PlaneMaps, prepare


def guided_grad_cam(model: nn.Module, images: Images, classes: ClassNumbers, layer: str | None = None) -> PixelMaps:
    """Guided backpropagation times Grad-CAM, place by place.

    Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization" (2016), arXiv
    1610.02391, section 3.2.

    Raises:
        ValueError: see `guided_backpropagation` and `class_activation_maps`.
    """
    cam = class_activation_maps(model, images, classes, "grad_cam", layer)
    return guided_backpropagation(model, images, classes) * cam


def high_resolution_grad_cam(
    model: nn.Module,
    images: Images,
    classes: ClassNumbers,
    scales: Sequence[float] = (1.0, 1.5, 2.0),
    merge: Literal["mean", "max"] = "mean",
    layer: str | None = None,
) -> PlaneMaps:
    """Grad-CAMs of larger versions of each image, merged, in [0, 1].

    A network without fixed input size gives a map of twice as many places for an image of twice the side, so that the
    pyramid's maps hold more detail than the first one. Each map is divided by its maximum, brought to the image's size
    and merged; a map that is 0 everywhere stays so. Class activation maps are merged over scales in this way by Ahn,
    Cho and Kwak, "Weakly supervised learning of instance segmentation with inter-pixel relations" (2019), arXiv
    1904.05044, whose scales are 0.5, 1, 1.5 and 2. The network is given as many pixels at once as at scale 1, so that
    larger versions need no more memory and are not slower for it.

    Args:
        model: gives logits, for images of any size.
        images: to explain.
        classes: of each.
        scales: sides as multiples of the images', 1 or more.
        merge: mean, or maximum, over scales.
        layer: see `class_activation_maps`.

    Raises:
        ValueError: no scales, or one below 1; a network that takes images of one size only.
    """
    if not scales or min(scales) < 1:
        raise ValueError(f"expected at least one scale, each 1 or more, but got {tuple(scales)}")
    floats, numbers = prepare(model, images, classes)
    size = (floats.shape[2], floats.shape[3])
    pyramid: list[torch.Tensor] = []
    for scale in scales:
        sides = [round(side * scale) for side in size]
        together = max(1, int(len(floats) / scale**2))
        parts = zip(torch.split(floats, together), torch.split(numbers, together), strict=True)
        try:
            cam = torch.cat([_at_size(model, *part, sides, size, layer) for part in parts])
        except (ValueError, AssertionError) as error:  # the latter is how timm refuses a size
            if scale == 1:
                raise
            raise ValueError(
                f"the network refused an image of {sides[0]} × {sides[1]} pixels, {scale} times the given size "
                f"({error}); choose scales=[1], the method guided_grad_cam, or a convolutional backbone"
            ) from None
        greatest = cam.amax(dim=(3, 4), keepdim=True)
        cam = cam / torch.where(greatest > 0, greatest, 1)
        pyramid.append(cam)
    return torch.stack(pyramid).mean(dim=0) if merge == "mean" else torch.stack(pyramid).amax(dim=0)


def _at_size(
    model: nn.Module,
    images: torch.Tensor,
    numbers: torch.Tensor,
    sides: list[int],
    size: tuple[int, int],
    layer: str | None,
) -> torch.Tensor:
    """Grad-CAM of images enlarged to the sides given, brought to `size`."""
    if tuple(sides) != size:
        images = functional.interpolate(images, sides, mode="bilinear", align_corners=False)
    return class_activation_maps(model, images, numbers, "grad_cam", layer, size=size)


def high_resolution_guided_grad_cam(
    model: nn.Module,
    images: Images,
    classes: ClassNumbers,
    scales: Sequence[float] = (1.0, 1.5, 2.0),
    merge: Literal["mean", "max"] = "mean",
    layer: str | None = None,
) -> PixelMaps:
    """Guided backpropagation, at the images' own size, times `high_resolution_grad_cam`, place by place.

    The name is in use for maps of healthy and metastatic cells, but no published formula was found; this is the
    definition here.

    Raises:
        ValueError: see `guided_backpropagation` and `high_resolution_grad_cam`.
    """
    cam = high_resolution_grad_cam(model, images, classes, scales, merge, layer)
    return guided_backpropagation(model, images, classes) * cam
