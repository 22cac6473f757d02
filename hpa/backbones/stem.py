"""How a network that learned on red, green and blue reads the channels of other images."""

from collections.abc import Sequence

import torch
from torch import nn

from hpa.arrays import Float

RGB = 3


def channel_mixing(channels: int) -> Float[torch.Tensor, "channels 3"]:
    """What each input channel is made of, as parts of red, green and blue; every row sums to 1.

    One channel is grey. Of four, red, green, blue and yellow, the yellow one is half red and half green, as it is shown
    in composites. Any other number repeats red, green and blue.

    Raises:
        ValueError: fewer than one channel.

    >>> channel_mixing(4)[3].tolist()
    [0.5, 0.5, 0.0]
    """
    if channels < 1:
        raise ValueError(f"expected at least one channel, but got {channels}")
    if channels == 1:
        return torch.full((1, RGB), 1 / RGB)
    mixing = torch.eye(RGB)[torch.arange(channels) % RGB]
    if channels == RGB + 1:
        mixing[RGB] = torch.tensor([0.5, 0.5, 0.0])
    return mixing


def adapt_stem(
    weight: Float[torch.Tensor, "out 3 height width"], channels: int
) -> Float[torch.Tensor, "out channels height width"]:
    """The first convolution for another number of channels.

    Each channel takes the weights of the colours that it is made of, times 3 / channels, so that the outputs keep their
    scale (timm's `adapt_input_conv` scales alike, but gives the fourth channel all of red).
    """
    mixing = channel_mixing(channels).to(weight)
    return torch.einsum("oihw,ci->ochw", weight, mixing) * (RGB / channels)


def stem_names(model: nn.Module) -> tuple[str, ...]:
    """Names of the first convolutions of a timm model; empty where timm names none."""
    config = getattr(model, "pretrained_cfg", None) or {}
    found = config.get("first_conv")
    names: Sequence[str] = () if not found else (found,) if isinstance(found, str) else found
    return tuple(names)


def mix_yellow(model: nn.Module) -> None:
    """Give the fourth channel of a model that timm adapted to four channels half of red and half of green, in place."""
    for name in stem_names(model):
        weight = model.get_submodule(name).weight
        if isinstance(weight, nn.Parameter) and weight.ndim == 4 and weight.shape[1] == RGB + 1:
            with torch.no_grad():
                weight[:, RGB] = (weight[:, 0] + weight[:, 1]) / 2
