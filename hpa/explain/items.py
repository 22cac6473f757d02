"""What is explained: images, and for each the numbers of the classes whose logits are taken apart."""

from typing import TypeAlias

import torch
from torch import nn

from hpa.arrays import Float, Int64, Integer, UInt8

Images: TypeAlias = (
    Float[torch.Tensor, "batch channels height width"] | UInt8[torch.Tensor, "batch channels height width"]
)
"""Values in 0..255; the network normalises them itself."""

ClassNumbers: TypeAlias = Integer[torch.Tensor, "..."]
"""One class per image, (batch,), or several, (batch, choices)."""

Scores: TypeAlias = Float[torch.Tensor, "batch choices"]
PixelMaps: TypeAlias = Float[torch.Tensor, "batch choices channels height width"]
PlaneMaps: TypeAlias = Float[torch.Tensor, "batch choices 1 height width"]


def network_device(model: nn.Module, default: torch.device) -> torch.device:
    """Where a network's parameters are; `default` for one without parameters."""
    parameter = next(model.parameters(), None)
    return default if parameter is None else parameter.device


def prepare(
    model: nn.Module, images: Images, classes: ClassNumbers
) -> tuple[Float[torch.Tensor, "batch channels height width"], Int64[torch.Tensor, "batch choices"]]:
    """Copies of the images as floats, and the class numbers with two axes, on the network's device.

    Raises:
        ValueError: no images, no classes, or not one row of classes per image.
    """
    if classes.ndim not in (1, 2) or len(classes) != len(images) or classes.numel() == 0:
        raise ValueError(
            f"expected one class number per image, or one row of them, for {len(images)} images (at least one), but "
            f"got an array of shape {tuple(classes.shape)}"
        )
    device = network_device(model, images.device)
    floats = images.detach().to(device, torch.promote_types(images.dtype, torch.float32), copy=True)
    return floats, classes.to(device, torch.int64).reshape(len(classes), -1)


def chosen(logits: object, classes: Int64[torch.Tensor, "batch choices"]) -> Scores:
    """The logits of the classes in question.

    Args:
        logits: what the network gave, (batch, classes).
        classes: of each image.

    Raises:
        ValueError: the network gave something else than one row of logits per image, or has no such class.
    """
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != len(classes):
        found = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ValueError(f"expected a network that gives logits ({len(classes)}, classes), but got {found}")
    if classes.min() < 0 or classes.max() >= logits.shape[1]:
        raise ValueError(
            f"expected class numbers from 0 to {logits.shape[1] - 1}, but got {classes.min()} to {classes.max()}"
        )
    return logits.gather(1, classes)
