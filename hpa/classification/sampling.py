"""Which images an epoch reads, and in which order: a pure function of the seed and the epoch."""

import math
from typing import Annotated, Literal, TypeAlias

import numpy as np
import pydantic

from hpa.arrays import Float, Int64, Targets
from hpa.config import Config

SAMPLER_STREAM = 1
"""Keeps the sampler's random numbers apart from those of other parts with the same seed and epoch."""


class PlainSampler(Config):
    """Every image once."""

    kind: Literal["plain"] = "plain"


class BalancedSampler(Config):
    """As many images as there are, those of rare classes more often.

    Attributes:
        cap: most times that an image of a rare class is drawn for one of the most frequent class.
    """

    kind: Literal["balanced"] = "balanced"
    cap: Annotated[float, pydantic.Field(ge=1)] = 4.0


class OversampledSampler(Config):
    """Every image, and further copies of those of rare classes, each augmented in another way.

    Unlike `BalancedSampler`, no image of a frequent class is left out; an epoch is longer for that.

    Attributes:
        cap: most times that an image is read in an epoch.
    """

    kind: Literal["oversampled"] = "oversampled"
    cap: Annotated[float, pydantic.Field(ge=1)] = 4.0


Sampler: TypeAlias = Annotated[
    PlainSampler | BalancedSampler | OversampledSampler, pydantic.Field(discriminator="kind")
]


def order(sampler: Sampler, targets: Targets, seed: int, epoch: int) -> Int64[np.ndarray, " drawn"]:
    """The images of an epoch, in order; as many as there are targets, or more where rare ones are copied.

    The k-th repetition of image i in an epoch is written i + k * n, with n images, so that whoever augments by
    (seed, epoch, index) makes a new picture of it; `index % n` is the image.

    Args:
        sampler: which images.
        targets: labels of the n images, for balancing.
        seed: of the whole training.
        epoch: counted from 0.
    """
    generator = np.random.default_rng([seed, epoch, SAMPLER_STREAM])
    shuffled = generator.permutation(len(targets))
    match sampler:
        case PlainSampler():
            return shuffled
        case BalancedSampler(cap=cap):
            return _draw(shuffled, image_shares(targets, cap), len(targets), generator)
        case OversampledSampler(cap=cap):
            shares = image_shares(targets, cap)
            return _draw(shuffled, shares, math.ceil(shares.sum() - 1e-9), generator)


def image_shares(targets: Targets, cap: float) -> Float[np.ndarray, " items"]:
    """How often each image is drawn, as a multiple of the image that is drawn least; in [1, cap].

    An image counts as its rarest class, and a class as the ratio of the greatest class's count to its own.

    >>> image_shares(np.array([[1, 0], [1, 0], [1, 0], [1, 1]], np.float32), cap=3.0).tolist()
    [1.0, 1.0, 1.0, 3.0]
    """
    counts = np.maximum(targets.sum(axis=0, dtype=np.float64), 1)
    return np.asarray(np.clip((targets * (counts.max() / counts)).max(axis=1), 1, cap), np.float64)


def _draw(
    shuffled: Int64[np.ndarray, " items"],
    shares: Float[np.ndarray, " items"],
    total: int,
    generator: np.random.Generator,
) -> Int64[np.ndarray, " drawn"]:
    """Draw each image as often as its share of the epoch says, up to rounding (systematic sampling)."""
    count = len(shuffled)
    ends = np.cumsum(shares[shuffled]) * (total / shares.sum())
    drawn = np.floor(ends - generator.random()).astype(np.int64)
    repeats = np.diff(drawn, prepend=-1)
    # Rounding at the last end may draw one image too few or too many.
    repeats[-1] += total - repeats.sum()
    images = np.repeat(shuffled, repeats)
    repetition = np.arange(total) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    return generator.permutation(images + repetition * count)
