"""Class activation maps of the Grad-CAM family: what a layer's feature maps say for a class, place by place.

With A the feature maps (features, height, width) and G the gradients of the class's logit on them:

| map | sum over features of | source |
|---|---|---|
| `grad_cam` | mean of G over places · A | Selvaraju et al. 2016, arXiv 1610.02391 |
| `grad_cam_plus_plus` | (sum over places of α · max(G, 0)) · A | Chattopadhyay et al. 2017, arXiv 1710.11063 |
| `hires_cam` | G · A | Draelos and Carin 2020, arXiv 2011.08891 |
| `layer_cam` | max(G, 0) · A | Jiang et al. 2021, doi 10.1109/TIP.2021.3089943 |
| `eigen_cam` | A projected on its first right singular vector | Muhammad and Yeasin 2020, arXiv 2008.00299 |
"""

from collections.abc import Callable
from typing import Literal, TypeAlias, assert_never

import torch
from torch import nn
from torch.nn import functional

from hpa.arrays import Float
from hpa.explain.feature_maps import Features, feature_maps
from hpa.explain.items import ClassNumbers, Images

CamKind: TypeAlias = Literal["grad_cam", "grad_cam_plus_plus", "hires_cam", "eigen_cam", "layer_cam"]
CoarseMap: TypeAlias = Float[torch.Tensor, "batch map_height map_width"]


def grad_cam(features: Features) -> CoarseMap:
    """Grad-CAM, signed. For a head on averaged features it is the class activation map divided by its places."""
    return torch.einsum("bc,bchw->bhw", features.gradients.mean(dim=(2, 3)), features.maps)


def grad_cam_plus_plus(features: Features) -> CoarseMap:
    """Grad-CAM++, signed only where feature maps are.

    α = G² / (2 G² + G³ · sum over places of A), the closed form for a score that is the exponential of the logit (the
    paper's equation 19); the exponential itself scales a whole map and is left out.
    """
    maps, gradients = features
    squared = gradients.square()
    below = 2 * squared + squared * gradients * maps.sum(dim=(2, 3), keepdim=True)
    alpha = torch.where(below != 0, squared / torch.where(below != 0, below, 1), 0)
    return torch.einsum("bc,bchw->bhw", (alpha * gradients.clamp(min=0)).sum(dim=(2, 3)), maps)


def hires_cam(features: Features) -> CoarseMap:
    """HiResCAM, signed. For a head on averaged features its sum is the logit less the head's bias."""
    return (features.gradients * features.maps).sum(dim=1)


def layer_cam(features: Features) -> CoarseMap:
    """Layer-CAM, signed only where feature maps are."""
    return (features.gradients.clamp(min=0) * features.maps).sum(dim=1)


def eigen_cam(features: Features) -> CoarseMap:
    """Eigen-CAM: the same for every class. The component's sign, which is arbitrary, is that of a positive sum.

    Raises:
        ValueError: feature maps that are not finite.
    """
    maps = features.maps
    if not maps.isfinite().all():
        raise ValueError(
            "expected finite feature maps, but the layer gave inf or nan; check the weights and the images"
        )
    places = maps.flatten(2).transpose(1, 2).double()
    # The singular vectors are the eigenvectors of the smaller one of the two products.
    if places.shape[1] <= places.shape[2]:
        values, vectors = torch.linalg.eigh(places @ places.transpose(1, 2))
        projected = vectors[:, :, -1] * values[:, -1:].clamp(min=0).sqrt()
    else:
        _, vectors = torch.linalg.eigh(places.transpose(1, 2) @ places)
        projected = (places @ vectors[:, :, -1:]).squeeze(2)
    sign = torch.where(projected.sum(dim=1, keepdim=True) < 0, -1.0, 1.0)
    signed: torch.Tensor = projected * sign
    return signed.reshape(len(maps), *maps.shape[2:]).to(maps.dtype)


def class_activation_maps(
    model: nn.Module,
    images: Images,
    classes: ClassNumbers,
    kind: CamKind = "grad_cam",
    layer: str | None = None,
    rectify: bool = True,
    size: tuple[int, int] | None = None,
) -> Float[torch.Tensor, "batch choices 1 map_height map_width"]:
    """Maps of the Grad-CAM family, interpolated linearly to the images' size.

    Args:
        model: gives logits.
        images: to explain.
        classes: of each.
        kind: which map.
        layer: whose output is mapped, see `hpa.explain.feature_maps.feature_maps`.
        rectify: set what speaks against the class to 0.
        size: height and width of the maps in place of the images'.

    Raises:
        ValueError: see `hpa.explain.feature_maps.feature_maps`.
    """
    coarse = torch.stack(feature_maps(model, images, classes, _formula(kind), layer), dim=1)
    if rectify:
        coarse = coarse.clamp(min=0)
    shape = size or (images.shape[2], images.shape[3])
    return functional.interpolate(coarse, shape, mode="bilinear", align_corners=False)[:, :, None]


def _formula(kind: CamKind) -> Callable[[Features], torch.Tensor]:
    match kind:
        case "grad_cam":
            return grad_cam
        case "grad_cam_plus_plus":
            return grad_cam_plus_plus
        case "hires_cam":
            return hires_cam
        case "layer_cam":
            return layer_cam
        case "eigen_cam":
            return _once(eigen_cam)
        case _:
            assert_never(kind)


def _once(formula: Callable[[Features], torch.Tensor]) -> Callable[[Features], torch.Tensor]:
    """A formula that does not look at the gradients: what it gave for the first class holds for the others."""
    known: list[torch.Tensor] = []

    def answer(features: Features) -> torch.Tensor:
        if not known:
            known.append(formula(features))
        return known[0]

    return answer
