"""Settings of the trainable U-Net: the network, its training samples, its loss, and its use on images."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import pydantic
from pydantic import Field

from hpa.backbones import Pretrained, RandomWeights, check_backbone
from hpa.config import Config
from hpa.training import Precision

Target: TypeAlias = Literal["nuclei", "cells"]
TARGETS: tuple[Target, ...] = ("nuclei", "cells")
"""What a network may segment, in the order of its outputs."""

STRIDE = 32
"""Sides of a network's input are multiples of this: five halvings."""

Positive = Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Range = tuple[Positive, Positive]


class UnetModelConfig(Config):
    """Which network.

    Attributes:
        encoder: timm's name of a backbone whose features halve in size from stage to stage, with or without the prefix
            `tu-` of segmentation-models-pytorch; the default is small and quick on a CPU.
        pretrained: where the encoder's first weights come from, as in the classifiers.
        depth: halvings of the encoder that are used.
        decoder_channels: width of each decoder step, from the coarsest to full resolution; one for each halving.
    """

    encoder: str = "tf_efficientnet_lite0"
    pretrained: Pretrained = RandomWeights()
    depth: Annotated[int, Field(ge=2, le=5)] = 5
    decoder_channels: tuple[Annotated[int, Field(ge=1)], ...] = (128, 64, 32, 24, 16)

    @pydantic.field_validator("encoder")
    @classmethod
    def _known(cls, name: str) -> str:
        name = name.removeprefix("tu-")
        check_backbone(name)
        return name

    @pydantic.model_validator(mode="after")
    def _as_deep(self) -> "UnetModelConfig":
        if len(self.decoder_channels) != self.depth:
            raise ValueError(
                f"decoder_channels: expected {self.depth} widths, one for each of `depth` halvings, "
                f"but got {len(self.decoder_channels)}"
            )
        return self


class UnetAugmentationConfig(Config):
    """How training samples are varied; channels are varied independently, as stains and exposures are.

    Attributes:
        dihedral: flips and quarter turns.
        warp: probability of a rotation by any angle together with another scale.
        scale: least and greatest magnification then, as cells and microscopes differ in size.
        intensity: probability, per channel, of another gain, gamma and offset.
        gain: least and greatest factor on intensities.
        gamma: least and greatest exponent.
        offset: greatest offset either way, as a part of the full scale.
        blur: probability of Gaussian blur.
        blur_sigma: its least and greatest sigma, pixels.
        noise: probability of Gaussian noise.
        noise_sigma: its greatest sigma, as a part of the full scale.
    """

    dihedral: bool = True
    warp: Probability = 0.7
    scale: Range = (0.7, 1.4)
    intensity: Probability = 0.8
    gain: Range = (0.6, 1.4)
    gamma: Range = (0.7, 1.4)
    offset: Annotated[float, Field(ge=0, lt=1)] = 0.05
    blur: Probability = 0.2
    blur_sigma: Range = (0.4, 1.5)
    noise: Probability = 0.3
    noise_sigma: Annotated[float, Field(gt=0, le=0.5)] = 0.05

    @pydantic.field_validator("scale", "gain", "gamma", "blur_sigma")
    @classmethod
    def _ordered(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if limits[0] > limits[1]:
            raise ValueError("expected the least value first")
        return limits


class UnetSamplesConfig(Config):
    """What the network sees, and what it is to say.

    Attributes:
        channels: which of an image's channels the network reads, in its order. The default is what hpacellseg reads:
            microtubules, endoplasmic reticulum and nuclei; the protein of interest looks different in every image.
        pixel_size: side of the network's pixels, µm; 0.32 is hpacellseg's quarter of 0.08.
        size: side of training samples, the network's pixels; a multiple of 32.
        border: width of the band between touching objects, µm; hpacellseg's networks draw it about this wide.
        augmentation: how samples are varied.
    """

    channels: Annotated[tuple[str, ...], Field(min_length=1)] = ("red", "yellow", "blue")
    pixel_size: Positive = 0.32
    size: Annotated[int, Field(ge=STRIDE, multiple_of=STRIDE)] = 256
    border: Positive = 1.28
    augmentation: UnetAugmentationConfig = UnetAugmentationConfig()


class UnetLossConfig(Config):
    """Cross-entropy over pixels plus a Tversky loss over each plane's region.

    Attributes:
        plane_weights: weights of background, border and object in the cross-entropy; borders are few pixels.
        region: weight of the Tversky loss (Salehi et al. 2017, arXiv:1706.05721).
        false_positives: Tversky's alpha; 0.5 with `false_negatives` 0.5 is the Dice loss.
        false_negatives: Tversky's beta.
    """

    plane_weights: tuple[Positive, Positive, Positive] = (1.0, 2.0, 1.0)
    region: Annotated[float, Field(ge=0)] = 1.0
    false_positives: Positive = 0.5
    false_negatives: Positive = 0.5


class UnetContent(Config):
    """What a finished training tells about its network, beside the weights.

    Attributes:
        channels: which channels the network reads, in order.
        pixel_size: side of its pixels, µm.
        targets: what it segments, in the order of its outputs.
        model: the network.
    """

    channels: tuple[str, ...]
    pixel_size: Positive
    targets: tuple[Target, ...]
    model: UnetModelConfig


class UnetConfig(Config):
    """Segmentation by a U-Net that `hpa train_segmentation` trained.

    Attributes:
        kind: `unet`.
        run: folder of the finished training.
        pixel_size: side of the images' pixels, µm; the images are brought to the network's.
        batch_size: images of one forward pass; only images of equal size share one.
        precision: `no` (float32), `bf16`, or `fp16` (GPU only).
        full_size: give probability maps at the images' size instead of the network's resolution.
    """

    kind: Literal["unet"] = "unet"
    run: Path
    pixel_size: Positive = 0.08
    batch_size: Annotated[int, Field(ge=1)] = 4
    precision: Precision = "no"
    full_size: bool = False
