"""Swapped channels: planes that look as another channel's planes do, learned from the data set itself."""

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
import pydantic
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from hpa.anomaly.findings import Decision, Finding, ValueDecision, decide
from hpa.anomaly.measures import Measures
from hpa.arrays import Bool, Float32, Float64
from hpa.config import Config

_PARTS = 5
_MOST = 6  # channels: 720 orders
_LOWEST = -15.0  # of a logarithm of a probability: the tails of the Gaussians are not to be believed


class SwappedConfig(Config):
    """Images with a channel in another one's place.

    Attributes:
        least: images without which nothing is learned, and no image gets a score.
        decision: which are flagged; the score is a logarithm of odds, so that 3 means 20 to 1.
    """

    kind: Literal["swapped_channels"] = "swapped_channels"
    least: int = pydantic.Field(default=40, ge=_PARTS * 2)
    decision: Decision = ValueDecision(threshold=3.0)


def swapped_channels(
    measures: Measures, channels: tuple[str, ...], groups: Sequence[str], config: SwappedConfig
) -> Finding:
    """How much more likely an image's planes are in another order than in the one they have.

    Which channel a plane shows is learned from all images as they are (linear discriminant analysis with the shrinkage
    of Ledoit and Wolf) from its texture in bands of detail and its likeness to the other planes. The few images with
    swapped channels hardly matter there; and an image is judged by what was learned from the images of other groups.
    The score is the logarithm of the odds of the best other order over the order as it is.

    Args:
        measures: of all images.
        channels: names of the planes, up to six.
        groups: images that are learned from and judged together.
        config: the settings.

    Returns:
        Details: `swapped_channels_order`, which channel each plane seems to show where that is another order. NaN in
        all scores where there is one channel, or where there are too few images or groups; NaN for images whose planes
        are all the same (grey pictures in colour files) or empty.

    Raises:
        ValueError: more than six channels.
    """
    images, count = measures.sharpness.shape
    if count > _MOST:
        raise ValueError(
            f"swapped_channels: expected at most {_MOST} channels, but got {count}; leave the detector out"
        )
    scores = np.full(images, np.nan, np.float32)
    orders = np.full(images, "", object)
    parts = _parts(groups)
    judged = _judged(measures)
    if count > 1 and judged.sum() >= config.least and len(np.unique(parts[judged])) > 1:
        evidence = _evidence(_figures(measures)[judged], parts[judged])
        permutations = list(itertools.permutations(range(count)))
        likelihoods = np.stack([evidence[:, range(count), list(order)].sum(axis=1) for order in permutations], axis=1)
        best = 1 + likelihoods[:, 1:].argmax(axis=1)
        scores[judged] = likelihoods[np.arange(len(best)), best] - likelihoods[:, 0]
        orders[judged] = [", ".join(channels[shown] for shown in permutations[order]) for order in best.tolist()]
    flags = decide(scores, config.decision)
    details = pd.DataFrame({"swapped_channels_order": pd.Series(np.where(flags, orders, ""), dtype="str")})
    return Finding("swapped_channels", scores, flags, details)


def _judged(measures: Measures) -> Bool[np.ndarray, " images"]:
    """Images with detail in a channel and a difference between two."""
    has_detail = ~np.isnan(measures.sharpness).all(axis=1)
    differs = (np.ptp(measures.shape, axis=1) > 0).any(axis=1)
    return np.asarray(has_detail & differs)


def _parts(groups: Sequence[str]) -> np.ndarray:
    """A part from 0 to 4 for every image; groups are whole, and dealt in the order of their first images."""
    codes, _ = pd.factorize(np.asarray(groups, object))
    return np.asarray(codes % _PARTS)


def _figures(measures: Measures) -> Float32[np.ndarray, "images channels figures"]:
    """What is known of every plane that does not say where it stands: its likenesses to the others are sorted."""
    images, count = measures.sharpness.shape
    own = []
    for channel in range(count):
        others = [other for other in range(count) if other != channel]
        likeness = np.sort(measures.likeness[:, channel, others], axis=1)
        own.append(np.concatenate([measures.shape[:, channel], likeness.reshape(images, -1)], axis=1))
    return np.stack(own, axis=1)


def _evidence(
    figures: Float32[np.ndarray, "images channels figures"], parts: np.ndarray
) -> Float64[np.ndarray, "images channels channels"]:
    """Logarithm of the probability that a plane (second axis) shows a channel (third), learned from the other parts."""
    images, count, width = figures.shape
    evidence = np.zeros((images, count, count))
    # Figures without spread would make the covariance singular beyond what shrinkage mends.
    centre, spread = figures.mean(axis=(0, 1)), figures.std(axis=(0, 1))
    scaled = ((figures - centre) / np.where(spread > 1e-6, spread, 1)).astype(np.float64)
    for part in np.unique(parts):
        learned, judged = scaled[parts != part], scaled[parts == part]
        analysis = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        analysis.fit(learned.reshape(-1, width), np.tile(np.arange(count), len(learned)))
        found = analysis.predict_log_proba(judged.reshape(-1, width)).reshape(-1, count, count)
        evidence[parts == part] = np.maximum(found, _LOWEST)
    return evidence
