"""Evidence of a class compared within an image: an image that has a class has it in one of its cells at least."""

from typing import Annotated, Literal, TypeAlias

import numpy as np
import pandas as pd
import pydantic

from hpa.arrays import Float64, Int64
from hpa.config import Config

_LARGEST = 1 - 1e-12
"""Probabilities are kept below 1 by so much, so that the logarithm of 1 - p is finite."""


class NoRescaling(Config):
    """Evidence as it is."""

    kind: Literal["none"] = "none"


class MaximumRescaling(Config):
    """Evidence / the highest in the image: the strongest cell has 1, and images of weak signal count as others."""

    kind: Literal["maximum"] = "maximum"


class RankRescaling(Config):
    """The share of the image's cells with no more evidence: the strongest cell has 1, the weakest 1 / cells.

    For evidence whose order is right and whose size means nothing; half of the cells have 0.5 or more, whatever is
    seen.
    """

    kind: Literal["rank"] = "rank"


class AtLeastOneRescaling(Config):
    """Evidence as the probability of each cell, given that one cell at least is positive: p / (1 - prod(1 - p)).

    Bayes' rule for independent cells. Strong evidence stays as it is, weak evidence is raised until the image's
    expected number of positive cells is at least 1.
    """

    kind: Literal["at_least_one"] = "at_least_one"


Rescaling: TypeAlias = Annotated[
    NoRescaling | MaximumRescaling | RankRescaling | AtLeastOneRescaling, pydantic.Field(discriminator="kind")
]

_Evidence: TypeAlias = Float64[np.ndarray, "cells classes"]


def rescale(evidence: _Evidence, images: Int64[np.ndarray, " cells"], config: Rescaling) -> _Evidence:
    """Evidence made comparable within each image, class by class.

    Where an image's cells all have the same evidence, no evidence included, `maximum` and `rank` give them 1 (nothing
    tells them apart, so that all have what the image has) and `at_least_one` at least 1 / cells.

    Args:
        evidence: in [0, 1].
        images: the same number for the cells of one image, in any order.
        config: how.

    Returns:
        In [0, 1].

    >>> rescale(np.array([[0.2], [0.1]]), np.array([0, 0]), MaximumRescaling()).tolist()
    [[1.0], [0.5]]
    >>> rescale(np.array([[0.2], [0.1]]), np.array([0, 0]), AtLeastOneRescaling()).round(3).tolist()
    [[0.714], [0.357]]
    """
    by_image = pd.DataFrame(evidence).groupby(images)
    match config:
        case NoRescaling():
            result = evidence.copy()
        case MaximumRescaling():
            highest = by_image.transform("max").to_numpy(np.float64)
            result = np.divide(evidence, highest, out=np.ones_like(evidence), where=highest > 0)
        case RankRescaling():
            result = by_image.rank(method="max", pct=True).to_numpy(np.float64)
        case AtLeastOneRescaling():
            logarithms = pd.DataFrame(np.log1p(-np.minimum(evidence, _LARGEST)))
            some = -np.expm1(logarithms.groupby(images).transform("sum").to_numpy(np.float64))
            cells = np.broadcast_to(by_image[[0]].transform("size").to_numpy(np.float64)[:, None], evidence.shape)
            result = np.divide(evidence, some, out=1 / cells, where=some > 0)
    return np.asarray(np.clip(result, 0, 1))
