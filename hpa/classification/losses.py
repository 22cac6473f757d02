"""Losses on hard or soft labels: pure functions, and the settings that choose one."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal, TypeAlias

import numpy as np
import pydantic
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from pydantic import Field

from hpa.arrays import Float, LogitTensor, Targets, TargetTensor
from hpa.classification.class_weights import ClassWeights, EqualWeights, build_class_weights
from hpa.classification.noise_losses import (
    BootstrappingLoss,
    GeneralizedCrossEntropyLoss,
    Smoothing,
    SymmetricCrossEntropyLoss,
    bootstrapping_elements,
    generalized_elements,
    symmetric_elements,
)
from hpa.config import Config
from hpa.labels import ClassList

Elements: TypeAlias = Float[torch.Tensor, "batch classes"]
"""The part of a loss that each image and class has."""


class BinaryLoss(Config):
    """Binary cross-entropy of every class.

    Attributes:
        smoothing: labels 0 and 1 become smoothing / 2 and 1 - smoothing / 2.
        class_weights: how much each class counts.
    """

    kind: Literal["bce"] = "bce"
    smoothing: Smoothing = 0.0
    class_weights: ClassWeights = EqualWeights()


class FocalLoss(Config):
    """Binary cross-entropy in which well-classified answers fade (Lin et al. 2017).

    Attributes:
        gamma: how fast they fade; 0 is binary cross-entropy.
        alpha: part of the positive answers, with 1 - alpha for the negative ones; None weighs both 1.
        smoothing: as in `bce`.
        class_weights: as in `bce`.
    """

    kind: Literal["focal"] = "focal"
    gamma: Annotated[float, Field(ge=0)] = 2.0
    alpha: Annotated[float, Field(gt=0, lt=1)] | None = None
    smoothing: Smoothing = 0.0
    class_weights: ClassWeights = EqualWeights()


class AsymmetricLoss(Config):
    """Focal loss that lets easy negatives fade faster, and drops the easiest (Ridnik et al. 2020).

    Attributes:
        gamma_positive: fading of the positive answers.
        gamma_negative: fading of the negative answers.
        margin: negatives with a probability below this cost nothing.
        smoothing: as in `bce`.
        class_weights: as in `bce`.
    """

    kind: Literal["asymmetric"] = "asymmetric"
    gamma_positive: Annotated[float, Field(ge=0)] = 1.0
    gamma_negative: Annotated[float, Field(ge=0)] = 4.0
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.05
    smoothing: Smoothing = 0.0
    class_weights: ClassWeights = EqualWeights()


class CrossEntropyLoss(Config):
    """Cross-entropy of a softmax, for tasks where an image has one class.

    Attributes:
        smoothing: this part of the label is spread evenly over all classes.
        class_weights: as in `bce`.
    """

    kind: Literal["cross_entropy"] = "cross_entropy"
    smoothing: Smoothing = 0.0
    class_weights: ClassWeights = EqualWeights()


class AutomaticLoss(Config):
    """`bce` where images may have several classes, `cross_entropy` where they have one.

    Attributes:
        smoothing: as there.
        class_weights: as there.
    """

    kind: Literal["auto"] = "auto"
    smoothing: Smoothing = 0.0
    class_weights: ClassWeights = EqualWeights()


LossConfig: TypeAlias = Annotated[
    BinaryLoss
    | FocalLoss
    | AsymmetricLoss
    | CrossEntropyLoss
    | AutomaticLoss
    | GeneralizedCrossEntropyLoss
    | SymmetricCrossEntropyLoss
    | BootstrappingLoss,
    pydantic.Field(discriminator="kind"),
]


def binary_elements(logits: LogitTensor, targets: TargetTensor) -> Elements:
    """Binary cross-entropy per image and class."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def focal_elements(logits: LogitTensor, targets: TargetTensor, gamma: float, alpha: float | None) -> Elements:
    """Focal loss per image and class; of a soft label, the mean over the two labels that it stands between."""
    # Powers of a probability are taken as exponentials of its logarithm: finite gradients where it is nearly 0.
    log_yes, log_no = F.logsigmoid(logits), F.logsigmoid(-logits)
    positive = -log_yes * torch.exp(gamma * log_no)
    negative = -log_no * torch.exp(gamma * log_yes)
    if alpha is not None:
        positive, negative = alpha * positive, (1 - alpha) * negative
    return targets * positive + (1 - targets) * negative


def asymmetric_elements(
    logits: LogitTensor, targets: TargetTensor, gamma_positive: float, gamma_negative: float, margin: float
) -> Elements:
    """Asymmetric loss per image and class; soft labels as in `focal_elements`."""
    log_yes, log_no = F.logsigmoid(logits), F.logsigmoid(-logits)
    positive = -log_yes * torch.exp(gamma_positive * log_no)
    shifted = torch.sigmoid(logits) - margin
    # log1p is finite, since shifted is at most 1 - margin; the small number keeps the power's gradient finite.
    cost = -torch.log1p(-shifted.clamp(min=0)) if margin > 0 else -log_no
    negative = cost * shifted.clamp(min=1e-8) ** gamma_negative
    return targets * positive + (1 - targets) * negative


def cross_entropy_elements(logits: LogitTensor, targets: TargetTensor) -> Elements:
    """Cross-entropy of the softmax, split by class; an image's loss is the sum of its row."""
    return -targets * F.log_softmax(logits, dim=1)


@dataclass(frozen=True)
class Loss:
    """A loss: call it with logits, targets and perhaps a weight per image.

    Attributes:
        elements: its part per image and class, from logits and smoothed targets, in float32.
        class_weights: factor per class.
        smoothing: part of the label that is spread evenly.
        single_label: whether an image's loss is the sum over classes (softmax) instead of their mean.
    """

    elements: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    class_weights: Float[torch.Tensor, " classes"]
    smoothing: float = 0.0
    single_label: bool = False

    def __call__(
        self,
        logits: LogitTensor,
        targets: TargetTensor,
        weights: Float[torch.Tensor, " batch"] | None = None,
        reduction: Literal["mean", "none"] = "mean",
        kept: Elements | None = None,
    ) -> Float[torch.Tensor, "..."]:
        """The loss, in float32 or wider.

        Args:
            logits: the model's answers.
            targets: labels in [0, 1], hard or soft.
            weights: how much each image counts; the mean divides by the number of images, not by their weights, so
                that a batch split over processes keeps its loss.
            reduction: `mean` over the batch, or `none` for one (weighted) value per image.
            kept: factor on each image's part per class, such as 0 for labels to leave out; None for 1.
        """
        assert logits.shape == targets.shape, "broadcasting would hide the mistake"
        logits = logits if logits.dtype == torch.float64 else logits.float()
        targets = targets.to(logits.dtype)
        if self.smoothing:
            centre = 1 / targets.shape[1] if self.single_label else 0.5
            targets = targets * (1 - self.smoothing) + centre * self.smoothing
        elements = self.elements(logits, targets) * self.class_weights.to(logits)
        if kept is not None:
            elements = elements * kept.to(elements)
        per_image = elements.sum(dim=1) if self.single_label else elements.mean(dim=1)
        if weights is not None:
            per_image = per_image * weights.to(per_image)
        return per_image.mean() if reduction == "mean" else per_image


def build_loss(config: LossConfig, targets: Targets, classes: ClassList) -> Loss:
    """Build a loss.

    Args:
        config: which one.
        targets: of the training images, for class weights.
        classes: whether images may have several classes.

    Raises:
        ValueError: cross-entropy on a task where images may have several classes, or targets of another class list.
    """
    if targets.shape[1] != len(classes):
        raise ValueError(f"expected targets with {len(classes)} columns, but got {targets.shape[1]}")
    weights = torch.from_numpy(np.asarray(build_class_weights(config.class_weights, targets), np.float32))
    single = not classes.multi_label
    match config:
        case AutomaticLoss():
            elements = cross_entropy_elements if single else binary_elements
            return Loss(elements, weights, config.smoothing, single)
        case BinaryLoss():
            return Loss(binary_elements, weights, config.smoothing)
        case FocalLoss(gamma=gamma, alpha=alpha):
            return Loss(partial(focal_elements, gamma=gamma, alpha=alpha), weights, config.smoothing)
        case AsymmetricLoss(gamma_positive=positive, gamma_negative=negative, margin=margin):
            asymmetric = partial(asymmetric_elements, gamma_positive=positive, gamma_negative=negative, margin=margin)
            return Loss(asymmetric, weights, config.smoothing)
        case CrossEntropyLoss():
            if classes.multi_label:
                raise ValueError(
                    "loss.kind=cross_entropy needs a task where an image has one class, but here images may have "
                    "several; use bce, focal or asymmetric"
                )
            return Loss(cross_entropy_elements, weights, config.smoothing, single_label=True)
        case GeneralizedCrossEntropyLoss():
            generalized = partial(generalized_elements, q=config.power(single), single_label=single)
            return Loss(generalized, weights, config.smoothing, single)
        case SymmetricCrossEntropyLoss(beta=beta, log_zero=low):
            plain = config.plain(single)
            symmetric = partial(symmetric_elements, alpha=plain, beta=beta, log_zero=low, single_label=single)
            return Loss(symmetric, weights, config.smoothing, single)
        case BootstrappingLoss(answer=answer):
            is_hard = answer == "hard"
            own = partial(bootstrapping_elements, given=config.share, is_hard=is_hard, single_label=single)
            return Loss(own, weights, config.smoothing, single)
