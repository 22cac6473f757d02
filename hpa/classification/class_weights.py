"""How much each class counts in a loss, from how often it occurs."""

from typing import Annotated, Literal, TypeAlias

import numpy as np
import pydantic

from hpa.arrays import ClassVector, Targets
from hpa.config import Config


class EqualWeights(Config):
    """Every class counts 1."""

    kind: Literal["none"] = "none"


class OneMinusFrequency(Config):
    """1 - count / images, in [0, 1]."""

    kind: Literal["one_minus_frequency"] = "one_minus_frequency"


class InverseFrequency(Config):
    """Proportional to 1 / count, with mean 1."""

    kind: Literal["inverse_frequency"] = "inverse_frequency"


class EffectiveNumber(Config):
    """Proportional to (1 - beta) / (1 - beta^count), with mean 1.

    Cui et al., "Class-balanced loss based on effective number of samples" (2019).

    Attributes:
        beta: 0 gives equal weights; the closer to 1, the closer to inverse frequency.
    """

    kind: Literal["effective_number"] = "effective_number"
    beta: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.999


ClassWeights: TypeAlias = Annotated[
    EqualWeights | OneMinusFrequency | InverseFrequency | EffectiveNumber, pydantic.Field(discriminator="kind")
]


def build_class_weights(config: ClassWeights, targets: Targets) -> ClassVector:
    """One weight per class, from the training targets; soft targets count in part.

    A class that does not occur is weighted as one that occurs once.

    Raises:
        ValueError: no targets.

    >>> build_class_weights(OneMinusFrequency(), np.array([[1, 0], [1, 0], [0, 1], [1, 1]], np.float32)).tolist()
    [0.25, 0.5]
    """
    if len(targets) == 0:
        raise ValueError("expected targets to weigh the classes by, but got none")
    counts = targets.sum(axis=0, dtype=np.float64)
    at_least_one = np.maximum(counts, 1)
    match config:
        case EqualWeights():
            return np.ones(targets.shape[1])
        case OneMinusFrequency():
            return np.asarray(1 - counts / len(targets))
        case InverseFrequency():
            weights = 1 / at_least_one
        case EffectiveNumber(beta=beta):
            weights = (1 - beta) / (1 - beta**at_least_one)
    return np.asarray(weights / weights.mean())
