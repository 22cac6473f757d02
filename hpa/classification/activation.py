"""Class activation maps: a classifier's logits taken apart into what each location of its last features adds."""

from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import nn

from hpa.arrays import Float, LogitTensor
from hpa.classification.pooling import GeneralizedMean

Maps: TypeAlias = Float[torch.Tensor, "batch classes map_height map_width"]
"""One plane per class at the resolution of the backbone's last features."""

Layout: TypeAlias = Literal["channels_first", "channels_last"]


class LogitsAndActivation(NamedTuple):
    """What one forward pass tells of whole images and of their parts.

    Attributes:
        logits: of the images.
        activation: of each location.
    """

    logits: LogitTensor
    activation: Maps


def activation_maps(backbone: nn.Module, head: nn.Linear, features: torch.Tensor, layout: Layout) -> Maps:
    """What each location adds to the logits: the mean of a map plus the head's bias is the logit, exactly.

    Where features are averaged, that is the head applied at each location (Zhou et al., "Learning deep features for
    discriminative localization", 2016). Where their generalised mean g with power p is taken, a location with features
    f adds g (f / g)^p in place of f, whose mean is g too.

    Args:
        backbone: timm's model without its classifier.
        head: from its pooled features to logits.
        features: the backbone's last ones, before pooling.
        layout: where the features are among their axes, see `find_layout`.
    """
    if layout == "channels_last":
        features = features.permute(0, 3, 1, 2)
    pooling = generalized_mean(backbone)
    if pooling is not None:
        features = _shares(features, pooling)
    maps: torch.Tensor = nn.functional.conv2d(features, head.weight[:, :, None, None])
    return maps


def _shares(features: torch.Tensor, pooling: GeneralizedMean) -> torch.Tensor:
    """Features (batch, features, height, width) in whose place an average gives the generalised mean."""
    positive = features.float().clamp(min=1e-6)
    mean = positive.pow(pooling.power).mean(dim=(2, 3), keepdim=True).pow(1 / pooling.power)
    return (mean * (positive / mean).pow(pooling.power)).to(features.dtype)


def generalized_mean(backbone: nn.Module) -> GeneralizedMean | None:
    """The backbone's generalised-mean pooling, where it has one."""
    return next((module for module in backbone.modules() if isinstance(module, GeneralizedMean)), None)


@torch.no_grad()
def find_layout(backbone: nn.Module, features: int, name: str) -> Layout:
    """How the backbone lays out its last features, found by pooling made-up ones and comparing.

    Args:
        backbone: timm's model without its classifier.
        features: how many the head reads.
        name: of the backbone, for the error.

    Raises:
        ValueError: the backbone has no feature map, another pooling than `activation_maps` takes apart, or layers
            after it.
    """
    parameter = next(backbone.parameters())
    # No random numbers: the question must not change what a training draws.
    probe = torch.sin(torch.arange(features * 12, device=parameter.device, dtype=parameter.dtype))
    probe = probe.reshape(1, features, 3, 4)
    pooling = generalized_mean(backbone)
    expected = (probe if pooling is None else _shares(probe, pooling)).mean(dim=(2, 3))
    layouts: tuple[tuple[Layout, torch.Tensor], ...] = (
        ("channels_first", probe),
        ("channels_last", probe.permute(0, 2, 3, 1)),
    )
    modes = {module: module.training for module in backbone.modules()}
    backbone.eval()
    try:
        for layout, given in layouts:
            try:
                with torch.autocast(parameter.device.type, enabled=False):
                    pooled = backbone.forward_head(given, pre_logits=True).flatten(1)  # type: ignore[operator]
            except (RuntimeError, ValueError, IndexError, TypeError):  # layers that take other shapes
                continue
            if pooled.shape == expected.shape and torch.allclose(pooled, expected, rtol=1e-3, atol=1e-5):
                return layout
    finally:
        for module, is_training in modes.items():
            module.training = is_training
    raise ValueError(
        f"class activation maps need a head on averaged features, but {name} as configured has another pooling, or "
        "layers after it; choose a convolutional backbone such as EfficientNet, DenseNet or ResNet, and pooling avg "
        "or gem"
    )
