"""Gradients of logits on the pixels: plain, times the input, and smoothed by noise."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, TypeAlias

import torch
from torch import nn

from hpa.explain.items import ClassNumbers, Images, PixelMaps, Scores, chosen, prepare
from hpa.explain.unchanged import unchanged

WayBack: TypeAlias = Callable[[torch.Tensor, torch.Tensor], AbstractContextManager[object]]
"""Given scores and the images that they were computed from: a context in which gradients are taken."""


class ScoresAndGradients(NamedTuple):
    """Logits and their gradients.

    Attributes:
        scores: logits of the classes in question.
        gradients: of each on the pixels, in logits per unit of brightness.
    """

    scores: Scores
    gradients: PixelMaps


def _plain(scores: torch.Tensor, images: torch.Tensor) -> AbstractContextManager[object]:
    return nullcontext()


def scores_and_gradients(
    model: nn.Module, images: Images, classes: ClassNumbers, way_back: WayBack = _plain
) -> ScoresAndGradients:
    """Logits of the classes and their gradients on the pixels: one pass forth, one back per class of an image.

    Args:
        model: gives logits; images of a batch must not influence each other in evaluation mode.
        images: to explain.
        classes: of each.
        way_back: a context for the way back.

    Raises:
        ValueError: see `hpa.explain.items`; or the logits do not depend on the pixels.
    """
    leaf, numbers = prepare(model, images, classes)
    leaf.requires_grad_()
    with unchanged(model):
        scores = chosen(model(leaf), numbers)
        if not scores.requires_grad:
            raise ValueError(
                "expected logits that depend on the pixels, but the network's forward cuts gradients off (no_grad, "
                "detach, or a conversion to integers); give it float images and keep gradients"
            )
        with way_back(scores, leaf):
            columns = scores.unbind(1)
            found = [
                torch.autograd.grad(column.sum(), leaf, retain_graph=number < len(columns) - 1)[0]
                for number, column in enumerate(columns)
            ]
    return ScoresAndGradients(scores.detach(), torch.stack(found, dim=1))


def gradient(model: nn.Module, images: Images, classes: ClassNumbers) -> PixelMaps:
    """Gradient of each logit on the pixels, signed.

    Simonyan, Vedaldi and Zisserman, "Deep inside convolutional networks" (2013), arXiv 1312.6034.

    Raises:
        ValueError: see `scores_and_gradients`.
    """
    return scores_and_gradients(model, images, classes).gradients


def input_times_gradient(model: nn.Module, images: Images, classes: ClassNumbers) -> PixelMaps:
    """Gradient of each logit on the pixels times the pixels' values, signed, in logits.

    Values are those given, 0..255: black pixels have no attribution. Shrikumar, Greenside, Shcherbina and Kundaje,
    "Not just a black box" (2016), arXiv 1605.01713.

    Raises:
        ValueError: see `scores_and_gradients`.
    """
    gradients = gradient(model, images, classes)
    return gradients * images.to(gradients)[:, None]


def smooth_grad(
    model: nn.Module,
    images: Images,
    classes: ClassNumbers,
    noise: float = 0.1,
    samples: int = 16,
    seed: int = 0,
    batch_size: int = 16,
) -> PixelMaps:
    """Mean gradient over noisy copies of each image, signed.

    Smilkov, Thorat, Kim, Viégas and Wattenberg, "SmoothGrad: removing noise by adding noise" (2017), arXiv 1706.03825.

    Args:
        model: gives logits.
        images: to explain.
        classes: of each.
        noise: standard deviation of the normal noise, as part of the image's range (maximum - minimum).
        samples: noisy copies of each image.
        seed: of the noise. All images of a batch have the same, so that a map does not depend on the batch.
        batch_size: noisy copies that the network is given at once, where there are fewer images than that.

    Raises:
        ValueError: see `scores_and_gradients`; or no samples.
    """
    if samples < 1:
        raise ValueError(f"expected at least one noisy copy, but got samples={samples}")
    floats, numbers = prepare(model, images, classes)
    spread = (floats.amax(dim=(1, 2, 3), keepdim=True) - floats.amin(dim=(1, 2, 3), keepdim=True)) * noise
    draws = torch.Generator().manual_seed(seed)
    total = torch.zeros(*numbers.shape, *floats.shape[1:], dtype=floats.dtype, device=floats.device)
    together = max(1, batch_size // len(floats))
    for start in range(0, samples, together):
        patterns = [torch.randn(floats.shape[1:], generator=draws) for _ in range(min(together, samples - start))]
        noisy = floats + spread * torch.stack(patterns)[:, None].to(floats)
        found = gradient(model, noisy.flatten(0, 1), numbers.repeat(len(patterns), 1))
        total += found.reshape(len(patterns), *total.shape).sum(dim=0)
    return total / samples
