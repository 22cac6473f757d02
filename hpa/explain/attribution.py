"""Attribution maps of any method, in one form: what each pixel, or place, says for a class of an image."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias, assert_never

import numpy as np
import pandas as pd
import pydantic
import torch
from torch import nn

from hpa.arrays import Float, Float32, Float64, Int64, UInt8
from hpa.explain.baselines import build_baseline
from hpa.explain.cams import class_activation_maps
from hpa.explain.gradient_config import (
    EigenCam,
    GradCam,
    GradCamPlusPlus,
    GradientConfig,
    GuidedBackpropagation,
    GuidedGradCam,
    HighResolutionGuidedGradCam,
    HiResCam,
    InputTimesGradient,
    IntegratedGradients,
    LayerCam,
    PlainGradient,
    SmoothGrad,
)
from hpa.explain.gradients import gradient, input_times_gradient, smooth_grad
from hpa.explain.guided import guided_backpropagation
from hpa.explain.guided_cams import guided_grad_cam, high_resolution_guided_grad_cam
from hpa.explain.integrated_gradients import integrated_gradients
from hpa.explain.items import ClassNumbers, Images, prepare
from hpa.explain.perturbation import PerturbationMaps, explain_by_perturbation
from hpa.explain.perturbation_config import GradientShap, KernelShap, Lime, PartitionShap, PerturbationConfig

MethodConfig: TypeAlias = Annotated[GradientConfig | PerturbationConfig, pydantic.Field(discriminator="kind")]
"""Every method that explains one image's logit by a map."""

Background: TypeAlias = UInt8[torch.Tensor, "n channels h w"] | Float[torch.Tensor, "n channels h w"]


@dataclass(frozen=True)
class Attribution:
    """Maps of one method for some classes of some images. An item is one class of one image.

    Attributes:
        method: `kind` of the method.
        maps: of the items, one plane per channel of the images, or a single one. Positive where the image speaks for
            the class; units are the method's own.
        images: of each item, the number of its image in the batch; images come one after the other.
        classes: of each item, its class number.
        seconds: that all items together took.
        extra: figures of each item, by name, as the method gives them: of integrated gradients `difference`, `gap`,
            `completeness_error` and `steps`; of SHAP and LIME the columns of `PerturbationMaps.summary`.
        segments: of SHAP and LIME, the table of segments' values, see `PerturbationMaps`; else None.
        segment_numbers: of SHAP and LIME on segments, each image's map of segment numbers, -1 for none; else empty.
    """

    method: str
    maps: Float32[np.ndarray, "items planes height width"]
    images: Int64[np.ndarray, " items"]
    classes: Int64[np.ndarray, " items"]
    seconds: float
    extra: dict[str, Float64[np.ndarray, " items"]] = field(default_factory=dict)
    segments: pd.DataFrame | None = None
    segment_numbers: list[Int64[np.ndarray, "height width"]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.maps)


def attribute(
    model: nn.Module,
    images: Images,
    classes: ClassNumbers,
    config: MethodConfig,
    segments: Sequence[np.ndarray] | None = None,
    background: Background | None = None,
    batch_size: int = 16,
) -> Attribution:
    """Explain some classes of some images by one method. The network is unchanged afterwards, after an error too.

    An image's maps do not depend on the others, nor, but for rounding, on the batch size.

    Args:
        model: gives logits of float images in 0..255, and normalises them itself.
        images: to explain, pixels in 0..255.
        classes: class numbers, one per image or several for each.
        config: the method.
        segments: for SHAP and LIME on cells, the images' label maps.
        background: other images of that size, for baselines that are made of such.
        batch_size: images that the network is given at once; decides speed and memory.

    Raises:
        ValueError: shapes, classes, layers, activations or baselines that do not fit; says which and what to do.
    """
    if batch_size < 1:
        raise ValueError(f"expected a batch of at least one image, but got batch_size={batch_size}")
    floats, table = prepare(model, images, classes)
    background = None if background is None else background.to(floats.device)
    start = time.perf_counter()
    extra: dict[str, np.ndarray] = {}
    found: PerturbationMaps | None = None
    match config:
        case GradientShap() | PartitionShap() | KernelShap() | Lime():
            found = explain_by_perturbation(model, floats, table, config, segments, background, batch_size)
            maps = found.maps
            figures = found.summary.drop(columns=["image", "class_number"])
            extra = {str(name): figures[name].to_numpy(np.float64) for name in figures}
        case IntegratedGradients():
            maps, extra = _integrated(model, floats, table, config, background, batch_size)
        case _:
            explain = _build(config, batch_size)
            parts = [explain(model, *part).cpu().numpy() for part in _batches(floats, table, batch_size)]
            maps = np.concatenate(parts)
    seconds = time.perf_counter() - start
    numbers = table.cpu().numpy()
    return Attribution(
        method=config.kind,
        maps=np.ascontiguousarray(maps.reshape(-1, *maps.shape[2:]), np.float32),
        images=np.repeat(np.arange(len(numbers)), numbers.shape[1]),
        classes=numbers.ravel(),
        seconds=seconds,
        extra=extra,
        segments=found.segments if found else None,
        segment_numbers=found.numbers if found else [],
    )


def _build(config: GradientConfig, batch_size: int) -> Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]:
    """The method as a function of network, images and class numbers (batch, choices)."""
    match config:
        case GradCam() | GradCamPlusPlus() | HiResCam() | EigenCam() | LayerCam():
            return lambda model, images, classes: class_activation_maps(
                model, images, classes, config.kind, config.layer, config.rectify
            )
        case GuidedBackpropagation():
            return guided_backpropagation
        case GuidedGradCam():
            return lambda model, images, classes: guided_grad_cam(model, images, classes, config.layer)
        case HighResolutionGuidedGradCam():
            return lambda model, images, classes: high_resolution_guided_grad_cam(
                model, images, classes, config.scales, config.merge, config.layer
            )
        case PlainGradient():
            return gradient
        case InputTimesGradient():
            return input_times_gradient
        case SmoothGrad():
            return lambda model, images, classes: smooth_grad(
                model, images, classes, config.noise, config.samples, config.seed, batch_size
            )
        case IntegratedGradients():
            raise AssertionError("its figures need a call of its own")
        case _:
            assert_never(config)


def _integrated(
    model: nn.Module,
    images: torch.Tensor,
    classes: torch.Tensor,
    config: IntegratedGradients,
    background: torch.Tensor | None,
    batch_size: int,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    maps = []
    figures: dict[str, list[np.ndarray]] = {"difference": [], "gap": [], "completeness_error": [], "steps": []}
    for part, numbers in _batches(images, classes, batch_size):
        baselines = torch.cat([build_baseline(config.baseline, image, background) for image in part])
        found = integrated_gradients(
            model, part, numbers, baselines, config.steps, config.max_steps, config.tolerance, batch_size
        )
        maps.append(found.maps.cpu().numpy())
        steps = found.steps[:, None].expand(numbers.shape)
        for name, values in zip(figures, (found.difference, found.gap, found.error, steps), strict=True):
            figures[name].append(values.reshape(-1).double().cpu().numpy())
    return np.concatenate(maps), {name: np.concatenate(values) for name, values in figures.items()}


def _batches(
    images: torch.Tensor, classes: torch.Tensor, batch_size: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for start in range(0, len(images), batch_size):
        yield images[start : start + batch_size], classes[start : start + batch_size]
