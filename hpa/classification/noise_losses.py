"""Losses that a wrong label pulls at less than cross-entropy lets it: their settings and their parts per class.

Where images may have several classes, each class is a question of two answers, and the losses are those of two
classes. All of them are affine in the labels: the loss of a soft label is the mean over the labels that it stands
between, which mixup and smoothing rely on.
"""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from pydantic import Field

from hpa.arrays import LogitTensor, TargetTensor
from hpa.classification.class_weights import ClassWeights, EqualWeights
from hpa.config import Config

Smoothing = Annotated[float, Field(ge=0, lt=1)]


class GeneralizedCrossEntropyLoss(Config):
    """Between cross-entropy, which learns fast, and the absolute error, which wrong labels sway least.

    Zhang and Sabuncu, "Generalized cross entropy loss for training deep neural networks with noisy labels" (2018).

    Attributes:
        q: (1 - p^q) / q is minimised: cross-entropy for q towards 0, the absolute error at 1. None is the paper's 0.7
            where an image has one class, and 0.3 where it may have several: rare classes begin with low probabilities,
            at which the loss hardly pulls when q is large, and are then never learned.
        smoothing: as in `bce` or `cross_entropy`.
        class_weights: as there.
    """

    kind: Literal["generalized_cross_entropy"] = "generalized_cross_entropy"
    q: Annotated[float, Field(gt=0, le=1)] | None = None
    smoothing: Smoothing = 0.0
    class_weights: ClassWeights = EqualWeights()

    def power(self, single_label: bool) -> float:
        """The q for a task."""
        return self.q if self.q is not None else (0.7 if single_label else 0.3)


class SymmetricCrossEntropyLoss(Config):
    """Cross-entropy and its reverse, in which label and answer change places.

    Wang et al., "Symmetric cross entropy for robust learning with noisy labels" (2019).

    Attributes:
        alpha: factor on the cross-entropy. None is the paper's 0.1 for ten classes where an image has one class, and 1
            where it may have several, for rare classes are learned by this part.
        beta: factor on the reverse one.
        log_zero: what stands for the logarithm of a label that is 0.
        smoothing: as in `bce` or `cross_entropy`.
        class_weights: as there.
    """

    kind: Literal["symmetric_cross_entropy"] = "symmetric_cross_entropy"
    alpha: Annotated[float, Field(ge=0)] | None = None
    beta: Annotated[float, Field(ge=0)] = 1.0
    log_zero: Annotated[float, Field(lt=0)] = -4.0
    smoothing: Smoothing = 0.0
    class_weights: ClassWeights = EqualWeights()

    def plain(self, single_label: bool) -> float:
        """The factor on the cross-entropy for a task."""
        return self.alpha if self.alpha is not None else (0.1 if single_label else 1.0)


class BootstrappingLoss(Config):
    """Cross-entropy against a blend of the label with what the network itself answers.

    Reed et al., "Training deep neural networks on noisy labels with bootstrapping" (2015).

    Attributes:
        answer: `soft` blends with the probabilities, which learn too; `hard` with the class (or, class by class, the
            answer) that the network holds most likely.
        given: share of the given label; None is the paper's, 0.95 for `soft` and 0.8 for `hard`.
        smoothing: as in `bce` or `cross_entropy`.
        class_weights: as there.
    """

    kind: Literal["bootstrapping"] = "bootstrapping"
    answer: Literal["soft", "hard"] = "soft"
    given: Annotated[float, Field(ge=0, le=1)] | None = None
    smoothing: Smoothing = 0.0
    class_weights: ClassWeights = EqualWeights()

    @property
    def share(self) -> float:
        """Share of the given label."""
        return self.given if self.given is not None else {"soft": 0.95, "hard": 0.8}[self.answer]


def generalized_elements(logits: LogitTensor, targets: TargetTensor, q: float, single_label: bool) -> LogitTensor:
    """Generalised cross-entropy per image and class; see `hpa.classification.losses.Loss` for what is summed."""

    def cost(log_probability: torch.Tensor) -> torch.Tensor:
        # The power is an exponential of the logarithm: a finite gradient where the probability is nearly 0.
        return -torch.expm1(q * log_probability) / q

    if single_label:
        return targets * cost(F.log_softmax(logits, dim=1))
    return targets * cost(F.logsigmoid(logits)) + (1 - targets) * cost(F.logsigmoid(-logits))


def symmetric_elements(
    logits: LogitTensor, targets: TargetTensor, alpha: float, beta: float, log_zero: float, single_label: bool
) -> LogitTensor:
    """Symmetric cross-entropy per image and class.

    For a hard label y the reverse cross-entropy is -log_zero (1 - p_y).
    """

    def cost(log_probability: torch.Tensor) -> torch.Tensor:
        return -alpha * log_probability + beta * log_zero * torch.expm1(log_probability)

    if single_label:
        return targets * cost(F.log_softmax(logits, dim=1))
    return targets * cost(F.logsigmoid(logits)) + (1 - targets) * cost(F.logsigmoid(-logits))


def bootstrapping_elements(
    logits: LogitTensor, targets: TargetTensor, given: float, is_hard: bool, single_label: bool
) -> LogitTensor:
    """Cross-entropy per image and class against given · label + (1 - given) · the network's own answer."""
    if single_label:
        logs = F.log_softmax(logits, dim=1)
        own = F.one_hot(logits.argmax(dim=1), logits.shape[1]).to(logits) if is_hard else logs.exp()
        return -(given * targets + (1 - given) * own) * logs
    own = (logits > 0).to(logits) if is_hard else logits.sigmoid()
    blend = given * targets + (1 - given) * own
    return -blend * F.logsigmoid(logits) - (1 - blend) * F.logsigmoid(-logits)
