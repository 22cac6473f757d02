"""What is shown where a perturbation method hides a part of the image."""

from typing import TypeAlias

import torch

from hpa.arrays import Float, Int64, UInt8
from hpa.explain.perturbation_config import (
    BackgroundMeanBaseline,
    BackgroundSampleBaseline,
    Baseline,
    BlackBaseline,
    BlurredBaseline,
    SegmentMeanBaseline,
)
from hpa.explain.replacement import replaced

Image: TypeAlias = Float[torch.Tensor, "channels height width"]
Background: TypeAlias = (
    UInt8[torch.Tensor, "others planes rows columns"] | Float[torch.Tensor, "others planes rows columns"]
)
"""Other images of the same kind and size, pixels in [0, 255]."""


def build_baseline(
    config: Baseline,
    image: Image,
    background: Background | None = None,
    segments: Int64[torch.Tensor, "height width"] | None = None,
) -> Float[torch.Tensor, "sample channels height width"]:
    """The baseline images of one image: one, or as many as the background sample has.

    Args:
        config: which.
        image: pixels in [0, 255].
        background: other images, for the baselines that are made of such.
        segments: number of each pixel's segment from 0 on, -1 where there is none; for `segment_mean`.

    Raises:
        ValueError: the background sample is missing or of another size.
    """
    match config:
        case BlackBaseline():
            return replaced(image[None], "black")
        case BlurredBaseline():
            return replaced(image[None], "blurred", config.sigma)
        case SegmentMeanBaseline():
            assert segments is not None, "a method on segments has them"
            return segment_means(image, segments)[None]
        case BackgroundMeanBaseline():
            mean = _checked(background, image, config.kind).mean(dim=0, keepdim=True)
            if config.over == "pixels":
                mean = mean.mean(dim=(2, 3), keepdim=True).expand_as(mean).contiguous()
            return mean
        case BackgroundSampleBaseline():
            return _checked(background, image, config.kind)


def segment_means(image: Image, segments: Int64[torch.Tensor, "height width"]) -> Image:
    """The image with every segment in its mean colour; what belongs to none (-1) is one more segment here.

    >>> image = torch.tensor([[[0.0, 2.0, 7.0]]])
    >>> segment_means(image, torch.tensor([[0, 0, 1]])).tolist()
    [[[1.0, 1.0, 7.0]]]
    """
    places = (segments + 1).flatten()
    pixels = image.flatten(1)
    sums = torch.zeros(len(image), int(places.max()) + 1, dtype=image.dtype, device=image.device)
    sums.index_add_(1, places, pixels)
    counts = torch.bincount(places, minlength=sums.shape[1]).clamp(min=1)
    return (sums / counts)[:, places].reshape(image.shape)


def _checked(background: Background | None, image: Image, kind: str) -> Float[torch.Tensor, "sample channels h w"]:
    if background is None or len(background) == 0:
        raise ValueError(
            f"the baseline {kind} is made of a background sample, but none was given; give images of the training "
            "part, or choose the baseline black or blurred"
        )
    if background.shape[1:] != image.shape:
        raise ValueError(
            f"expected a background sample of images {tuple(image.shape)} (channels, height, width), as the explained "
            f"one, but got {tuple(background.shape[1:])}"
        )
    return background.to(image)
