"""Damaged pictures: out of focus, saturated, nearly empty."""

from typing import Literal

import numpy as np
import pandas as pd

from hpa.anomaly.findings import Decision, Finding, ValueDecision, centre_and_sigma, decide
from hpa.anomaly.measures import Measures
from hpa.arrays import Float64
from hpa.config import Config


class OutOfFocusConfig(Config):
    """Images with less fine detail than the others have.

    Attributes:
        decision: which are flagged; the score is in robust sigmas of the data set.
    """

    kind: Literal["out_of_focus"] = "out_of_focus"
    decision: Decision = ValueDecision(threshold=4.0)


class SaturatedConfig(Config):
    """Images with large parts at the highest value.

    Attributes:
        decision: which are flagged; the score is the part of the pixels at 255, times the part that those are of the
            bright pixels (128 and more), of the channel where that is most.
    """

    kind: Literal["saturated"] = "saturated"
    decision: Decision = ValueDecision(threshold=0.05)


class NearlyEmptyConfig(Config):
    """Images with hardly anything in them.

    Attributes:
        decision: which are flagged; the score is the part of the area, 0 to 1, where no channel shows anything, that
            is of the channel that covers most.
    """

    kind: Literal["nearly_empty"] = "nearly_empty"
    decision: Decision = ValueDecision(threshold=0.8)


def out_of_focus(measures: Measures, config: OutOfFocusConfig) -> Finding:
    """How many robust sigmas less fine detail an image has than the data set's median.

    Each channel is compared with the same channel of the other images, for microtubules are finer than nuclei. The
    image's score is the median over its channels, so that a diffuse protein, without fine detail by nature, does not
    decide; nor does one channel without any detail, whose sharpness is unknown.

    Returns:
        NaN where no channel has any detail.
    """
    blur = -measures.sharpness.astype(np.float64)
    deviations = np.stack([_deviations(column) for column in blur.T], axis=1)
    known = ~np.isnan(deviations)
    scores = np.full(len(blur), np.nan, np.float32)
    judged = known.any(axis=1)
    scores[judged] = np.nanmedian(deviations[judged], axis=1)
    return Finding("out_of_focus", scores, decide(scores, config.decision))


def saturated(measures: Measures, channels: tuple[str, ...], config: SaturatedConfig) -> Finding:
    """How much of an image is at the highest value; `saturated_channel` names the channel."""
    scores = measures.clipped.max(axis=1)
    flags = decide(scores, config.decision)
    worst = np.asarray(channels, object)[measures.clipped.argmax(axis=1)]
    return Finding("saturated", scores, flags, _texts("saturated_channel", np.where(flags, worst, "")))


def nearly_empty(measures: Measures, config: NearlyEmptyConfig) -> Finding:
    """How much of the area is empty in every channel.

    An area is empty that is no brighter than the darkest hundredth of its picture, but for two grey levels: a picture
    that is the same all over is empty too.
    """
    scores = np.asarray(1 - measures.coverage.max(axis=1), np.float32)
    return Finding("nearly_empty", scores, decide(scores, config.decision))


def _deviations(values: Float64[np.ndarray, " items"]) -> Float64[np.ndarray, " items"]:
    """Robust sigmas above the median; 0 everywhere where half of the values or more are the same. NaN stays."""
    known = values[~np.isnan(values)]
    if not len(known):
        return values
    centre, sigma = centre_and_sigma(known, robust=True)
    return np.where(np.isnan(values), np.nan, 0.0) if sigma == 0 else (values - centre) / sigma


def _texts(name: str, values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(values, dtype="str")})
