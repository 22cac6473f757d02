"""Settings of the attribution methods that read a network's gradients and feature maps."""

from typing import Annotated, Literal, TypeAlias

import pydantic

from hpa.config import Config
from hpa.explain.perturbation_config import BackgroundMeanBaseline, BlackBaseline, BlurredBaseline

Scale: TypeAlias = Annotated[float, pydantic.Field(ge=1, le=4)]
PathBaseline: TypeAlias = Annotated[
    BlackBaseline | BlurredBaseline | BackgroundMeanBaseline, pydantic.Field(discriminator="kind")
]
"""Baselines of one image; the average over a whole sample of them is what `gradient_shap` gives."""


class CamSettings(Config):
    """What all class activation maps have in common.

    Attributes:
        layer: dotted name of the module whose output is mapped, such as `backbone.layer3`; None for the last feature
            map of the network.
        rectify: keep only what speaks for the class; without, maps are signed where the method has signs.
    """

    layer: str | None = None
    rectify: bool = True


class GradCam(CamSettings):
    """Feature maps weighted by the mean of their gradients."""

    kind: Literal["grad_cam"] = "grad_cam"


class GradCamPlusPlus(CamSettings):
    """Feature maps weighted by their positive gradients, each place by its share in the class's score."""

    kind: Literal["grad_cam_plus_plus"] = "grad_cam_plus_plus"


class HiResCam(CamSettings):
    """Feature maps times their gradients, place by place: shows only places that the network used."""

    kind: Literal["hires_cam"] = "hires_cam"


class EigenCam(CamSettings):
    """First principal component of the feature maps: what stands out to the network, whatever the class."""

    kind: Literal["eigen_cam"] = "eigen_cam"


class LayerCam(CamSettings):
    """Feature maps times their positive gradients, place by place; made for early layers too."""

    kind: Literal["layer_cam"] = "layer_cam"


class GuidedBackpropagation(Config):
    """Gradients on the pixels through active units and positive gradients alone."""

    kind: Literal["guided_backpropagation"] = "guided_backpropagation"


class GuidedGradCam(Config):
    """Guided backpropagation where Grad-CAM is positive.

    Attributes:
        layer: of Grad-CAM, see `CamSettings`.
    """

    kind: Literal["guided_grad_cam"] = "guided_grad_cam"
    layer: str | None = None


class HighResolutionGuidedGradCam(Config):
    """Guided backpropagation where Grad-CAMs of a pyramid of larger inputs agree.

    Attributes:
        layer: of Grad-CAM, see `CamSettings`.
        scales: sides of the pyramid's images, as multiples of the given ones. Time grows with the sum of their squares.
        merge: mean of the pyramid's maps, or their maximum, place by place.
    """

    kind: Literal["high_resolution_guided_grad_cam"] = "high_resolution_guided_grad_cam"
    layer: str | None = None
    scales: Annotated[tuple[Scale, ...], pydantic.Field(min_length=1)] = (1.0, 1.5, 2.0)
    merge: Literal["mean", "max"] = "mean"


class PlainGradient(Config):
    """Gradient of the logit on the pixels, signed."""

    kind: Literal["gradient"] = "gradient"


class InputTimesGradient(Config):
    """Gradient of the logit on the pixels times the pixels, signed."""

    kind: Literal["input_times_gradient"] = "input_times_gradient"


class SmoothGrad(Config):
    """Mean of the gradients on noisy copies of an image, signed.

    Attributes:
        noise: standard deviation, as part of the image's range from its darkest to its brightest pixel.
        samples: noisy copies.
        seed: of the noise, which is the same for every image of a size.
    """

    kind: Literal["smooth_grad"] = "smooth_grad"
    noise: Annotated[float, pydantic.Field(gt=0, le=1)] = 0.1
    samples: Annotated[int, pydantic.Field(ge=1)] = 16
    seed: Annotated[int, pydantic.Field(ge=0)] = 0


class IntegratedGradients(Config):
    """Gradients summed along the straight way from a baseline to the image, signed, in logits.

    Smooth activations need few steps: with SiLU, 32 missed less than 0.1 % (a small EfficientNet with random weights).
    Gradients of ReLU networks jump on the way, and many steps are needed for the last percents. A trained
    EfficientNet-Lite0 (ReLU6, 96 pixels, from black, 37 maps) missed in the median 8.6 % with 32 steps, 1.5 % with 128
    and 0.8 % with 256; with steps of equal length it was 16, 2.9 and 1.9 %. Logits that differ little from the
    baseline's miss most, as the gap is a part of the difference. For less than 1 % on nearly every map of such a
    network, raise `max_steps` to 2048.

    Attributes:
        baseline: where the way begins.
        steps: parts of the way, doubled as long as the sum over the map misses the difference of the logits.
        max_steps: where doubling ends, come what may.
        tolerance: greatest part of the difference that may be missed.
    """

    kind: Literal["integrated_gradients"] = "integrated_gradients"
    baseline: PathBaseline = BlackBaseline()
    steps: Annotated[int, pydantic.Field(ge=1)] = 32
    max_steps: Annotated[int, pydantic.Field(ge=1)] = 512
    tolerance: Annotated[float, pydantic.Field(gt=0, lt=1)] = 0.01

    @pydantic.model_validator(mode="after")
    def _room(self) -> "IntegratedGradients":
        if self.max_steps < self.steps:
            raise ValueError(f"max_steps is {self.max_steps}, below steps, {self.steps}; raise it")
        return self


GradientConfig: TypeAlias = (
    GradCam
    | GradCamPlusPlus
    | HiResCam
    | EigenCam
    | LayerCam
    | GuidedBackpropagation
    | GuidedGradCam
    | HighResolutionGuidedGradCam
    | PlainGradient
    | InputTimesGradient
    | SmoothGrad
    | IntegratedGradients
)
"""All of them; `kind` tells them apart, so that a larger union may hold them."""
