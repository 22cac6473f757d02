"""Where height, width and features are among the axes of a layer's output, told by the shape of the images."""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import nn

from hpa.arrays import Float


class Layout(NamedTuple):
    """How a layer lays out its output.

    Attributes:
        kind: (batch, features, height, width); (batch, height, width, features); or (batch, tokens, features).
        height: of the map.
        width: of the map.
        prefix: tokens before those of the image's patches, such as the class token.
    """

    kind: Literal["channels_first", "channels_last", "tokens"]
    height: int
    width: int
    prefix: int = 0

    def to_map(self, output: torch.Tensor) -> Float[torch.Tensor, "batch features height width"]:
        """A layer's output, or a gradient on it, as a map with the features first."""
        match self.kind:
            case "channels_first":
                return output
            case "channels_last":
                return output.permute(0, 3, 1, 2)
            case "tokens":
                patches = output[:, self.prefix :].transpose(1, 2)
                return patches.reshape(len(output), -1, self.height, self.width)


def find_layout(shape: Sequence[int], size: tuple[int, int], prefix: int = 0) -> Layout | None:
    """The layout of a layer's output, None where it is no map.

    A map's two axes are those by which the image's sides are divided alike, up to one place at the edges. Where both
    orders fit, features come first.

    Args:
        shape: of the output.
        size: height and width of the images.
        prefix: tokens that belong to no patch, where the output is a row of tokens.

    >>> find_layout((8, 512, 7, 7), (224, 224)).kind
    'channels_first'
    >>> find_layout((8, 7, 14, 768), (224, 448)).kind
    'channels_last'
    >>> find_layout((8, 197, 768), (224, 224), prefix=1)
    Layout(kind='tokens', height=14, width=14, prefix=1)
    >>> find_layout((8, 512), (224, 224))
    """
    if len(shape) == 4:
        if _divides(shape[2], shape[3], size):
            return Layout("channels_first", shape[2], shape[3])
        if _divides(shape[1], shape[2], size):
            return Layout("channels_last", shape[1], shape[2])
    if len(shape) == 3 and shape[1] > prefix:
        patches = shape[1] - prefix
        height = max(1, round(math.sqrt(patches * size[0] / size[1])))
        if patches % height == 0 and _divides(height, patches // height, size):
            return Layout("tokens", height, patches // height, prefix)
    return None


def _divides(height: int, width: int, size: tuple[int, int]) -> bool:
    if not (1 <= height <= size[0] and 1 <= width <= size[1]):
        return False
    stride = math.sqrt(size[0] * size[1] / (height * width))
    return abs(size[0] / stride - height) <= 1 and abs(size[1] / stride - width) <= 1


def prefix_tokens(model: nn.Module) -> int:
    """Tokens before the patches' in a transformer of timm, 0 for other networks."""
    found = (getattr(module, "num_prefix_tokens", None) for module in model.modules())
    return next((number for number in found if isinstance(number, int)), 0)
