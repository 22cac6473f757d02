"""Generalised-mean pooling, and its place in timm's convolutional networks."""

import torch
from timm.layers.adaptive_avgmax_pool import SelectAdaptivePool2d
from torch import nn

from hpa.arrays import Float


class GeneralizedMean(nn.Module):
    """Mean of the p-th powers over height and width, to the power 1/p, with a learned p.

    p = 1 is average pooling of what is positive, a large p approaches the maximum. Radenović, Tolias and Chum,
    "Fine-tuning CNN image retrieval with no human annotation" (2018), which starts from p = 3.

    Attributes:
        power: p, a parameter of one value.
        axes: the two axes that are pooled.
        flatten: whether they are dropped afterwards.
    """

    def __init__(self, power: float = 3.0, axes: tuple[int, int] = (2, 3), flatten: bool = True) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor([power]))
        self.axes = axes
        self.flatten = flatten

    def forward(self, features: Float[torch.Tensor, "batch ..."]) -> Float[torch.Tensor, "batch ..."]:
        """Pool a feature map; computed in float32, since powers leave float16's range."""
        with torch.autocast(features.device.type, enabled=False):
            positive = features.float().clamp(min=1e-6)
            mean = positive.pow(self.power).mean(dim=self.axes, keepdim=not self.flatten)
            return mean.pow(1 / self.power).to(features.dtype)


def use_generalized_mean(model: nn.Module) -> None:
    """Put generalised-mean pooling where a timm model pools its last feature map, in place.

    Raises:
        ValueError: the model does not pool a feature map in one place.
    """
    found = [(name, module) for name, module in model.named_modules() if isinstance(module, SelectAdaptivePool2d)]
    if len(found) != 1:
        raise ValueError("pooling 'gem' needs a backbone that pools its last feature map (a convolutional one)")
    name, pooling = found[0]
    parent, _, attribute = name.rpartition(".")
    flatten = isinstance(pooling.flatten, nn.Flatten) or bool(getattr(pooling.pool, "flatten", False))
    axes = tuple(getattr(pooling.pool, "dim", (2, 3)))
    setattr(model.get_submodule(parent), attribute, GeneralizedMean(axes=(axes[0], axes[1]), flatten=flatten))
