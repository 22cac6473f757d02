"""Settings of the methods that explain by perturbing the image: SHAP and LIME, their segments and their baselines."""

from typing import Annotated, Literal, TypeAlias

import pydantic
from pydantic import Field

from hpa.config import Config

Count: TypeAlias = Annotated[int, Field(ge=1)]
Output: TypeAlias = Literal["logit", "probability"]
"""What is explained: the head's answer, or the probability made of it (sigmoid or softmax, as the model says)."""


class SuperpixelSegments(Config):
    """Superpixels of the image: SLIC on all its channels (Achanta et al. 2012, doi:10.1109/TPAMI.2012.120).

    Attributes:
        count: how many are aimed at; what comes out differs a little.
        compactness: how much nearness in space counts against likeness in colour; channels span [0, 1], so that 0.1
            lets the boundaries follow what is seen, and 10 gives a grid.
        sigma: pixels of the Gaussian that smooths the image before.
    """

    kind: Literal["superpixels"] = "superpixels"
    count: Annotated[int, Field(ge=2)] = 50
    compactness: Annotated[float, Field(gt=0)] = 0.1
    sigma: Annotated[float, Field(ge=0)] = 1.0


class CellSegments(Config):
    """Cells of a label map, one segment each.

    Attributes:
        background: what is not cell is `one` segment, or cut into `superpixels`, or `kept`: shown in every
            perturbed image and explained by nothing.
        superpixels: how the background is cut.
    """

    kind: Literal["cells"] = "cells"
    background: Literal["one", "superpixels", "kept"] = "one"
    superpixels: SuperpixelSegments = SuperpixelSegments(count=16)


class WholeImageSegment(Config):
    """One segment, the image: with `per_channel`, how much each channel contributes."""

    kind: Literal["whole_image"] = "whole_image"


SegmentsConfig: TypeAlias = Annotated[
    SuperpixelSegments | CellSegments | WholeImageSegment, pydantic.Field(discriminator="kind")
]


class BlackBaseline(Config):
    """Zero in every channel: no stain."""

    kind: Literal["black"] = "black"


class BlurredBaseline(Config):
    """The image itself without its detail (Fong & Vedaldi 2017, arXiv:1704.03296).

    Attributes:
        sigma: of the Gaussian, as a part of the image's longer side.
    """

    kind: Literal["blurred"] = "blurred"
    sigma: Annotated[float, Field(gt=0, le=0.5)] = 0.05


class SegmentMeanBaseline(Config):
    """Every segment in its own mean colour, as LIME's authors hide them."""

    kind: Literal["segment_mean"] = "segment_mean"


class BackgroundMeanBaseline(Config):
    """The mean of a sample of other images.

    Attributes:
        over: `images`: pixel by pixel, for images that are aligned (X-rays); `pixels`: one colour for the whole image.
    """

    kind: Literal["background_mean"] = "background_mean"
    over: Literal["images", "pixels"] = "pixels"


class BackgroundSampleBaseline(Config):
    """Every image of a sample of others; outputs are averaged over them, at a cost of as many evaluations."""

    kind: Literal["background_sample"] = "background_sample"


Baseline: TypeAlias = Annotated[
    BlackBaseline | BlurredBaseline | SegmentMeanBaseline | BackgroundMeanBaseline | BackgroundSampleBaseline,
    pydantic.Field(discriminator="kind"),
]

GradientBaseline: TypeAlias = Annotated[
    BlackBaseline | BlurredBaseline | BackgroundMeanBaseline | BackgroundSampleBaseline,
    pydantic.Field(discriminator="kind"),
]


class GradientShap(Config):
    """SHAP values of pixels by expected gradients (Erion et al. 2021, arXiv:1906.10670; shap's GradientExplainer).

    Attributes:
        samples: gradients per image and class; each has its own baseline image and its own place on the way from it.
        baseline: where the ways begin.
        output: what is explained.
        seed: of the places.
    """

    kind: Literal["gradient_shap"] = "gradient_shap"
    samples: Count = 64
    baseline: GradientBaseline = BackgroundSampleBaseline()
    output: Output = "logit"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


class SegmentMethod(Config):
    """What the methods on segments share.

    Attributes:
        segments: what is hidden together.
        baseline: what is shown in the place of what is hidden.
        per_channel: every channel of a segment is hidden on its own; maps then have as many channels as the image.
        output: what is explained.
        paint: a segment's value is spread over its pixels (`density`: the map sums to the values' sum, as the maps of
            gradients do), or each of its pixels has it (`value`).
        seed: of everything drawn; every image has the same draws, wherever it stands in a batch.
    """

    segments: SegmentsConfig = SuperpixelSegments()
    baseline: Baseline = BlurredBaseline()
    per_channel: bool = False
    output: Output = "logit"
    paint: Literal["density", "value"] = "density"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


class PartitionShap(SegmentMethod):
    """Owen values over a hierarchy of neighbouring segments (Lundberg's PartitionExplainer in shap).

    Attributes:
        evaluations: coalitions of segments at most; each costs one image, or as many as a background sample has. About
            the square of the number of segments is exact; with fewer, the parts of the hierarchy that matter least stay
            whole and share their value by their numbers of segments.
    """

    kind: Literal["partition_shap"] = "partition_shap"
    evaluations: Annotated[int, Field(ge=4)] = 500


class KernelShap(SegmentMethod):
    """Shapley values by weighted least squares (Lundberg & Lee 2017, arXiv:1705.07874; shap's KernelExplainer).

    Attributes:
        evaluations: coalitions of segments at most, as in `partition_shap`, but four per segment in any case. Exact
            where this is 2 to the power of the number of segments or more (eight segments: 256).
    """

    kind: Literal["kernel_shap"] = "kernel_shap"
    evaluations: Annotated[int, Field(ge=4)] = 1024


class Lime(SegmentMethod):
    """The coefficients of a linear model fitted around the image (Ribeiro et al. 2016, arXiv:1602.04938).

    Attributes:
        samples: perturbed images drawn, each segment shown with probability one half; the first is the image itself.
        kernel_width: how fast a perturbed image's weight falls with its cosine distance from the image.
        penalty: of the ridge regression.
        features: how many segments may have a coefficient, those with the greatest; None for all.
        baseline: as elsewhere; LIME's authors' own by default.
        output: as elsewhere; probabilities by default, as LIME's authors explain them.
    """

    kind: Literal["lime"] = "lime"
    samples: Annotated[int, Field(ge=2)] = 500
    kernel_width: Annotated[float, Field(gt=0)] = 0.25
    penalty: Annotated[float, Field(gt=0)] = 1.0
    features: Count | None = None
    baseline: Baseline = SegmentMeanBaseline()
    output: Output = "probability"


PerturbationConfig: TypeAlias = GradientShap | PartitionShap | KernelShap | Lime
"""All of them; `kind` tells them apart, so that a larger union may hold them."""
