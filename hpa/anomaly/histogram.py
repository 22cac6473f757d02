"""Images whose colours are distributed otherwise than those of their class."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd
import pydantic

from hpa.anomaly.findings import Decision, Finding, SigmaDecision, decide
from hpa.anomaly.references import References
from hpa.arrays import Float, Float64, Int64, Integer, UInt8
from hpa.config import Config

JOINT_BINS = 16
"""Bins of a joint histogram along each of its two channels, each 16 grey levels wide."""

_BLOCK = 8192

Histograms: TypeAlias = Float64[np.ndarray, "items channels bins"]


class HistogramConfig(Config):
    """Histograms of single channels, compared with the class's mean histogram.

    Attributes:
        name: of the columns.
        channels: which are looked at, their distances averaged; None for all.
        distance: `chi2` (0 to 1), `jensen_shannon` (0 to 1), or `wasserstein` (grey levels, 0 to 255).
        least: members of a class without which its images are compared with all.
        decision: which are flagged.
    """

    kind: Literal["histogram"] = "histogram"
    name: str = "histogram"
    channels: tuple[str, ...] | None = None
    distance: Literal["chi2", "jensen_shannon", "wasserstein"] = "jensen_shannon"
    least: int = pydantic.Field(default=20, ge=2)
    decision: Decision = SigmaDecision(k=4)


class JointHistogramConfig(Config):
    """Histograms of two channels together: which values of the one occur where the other has which.

    Attributes:
        name: of the columns.
        channels: the two.
        distance: as for single channels; the Wasserstein distance is for one dimension only.
        least: members of a class without which its images are compared with all.
        decision: which are flagged.
    """

    kind: Literal["joint_histogram"] = "joint_histogram"
    name: str = "joint_histogram"
    channels: tuple[str, str] = ("green", "blue")
    distance: Literal["chi2", "jensen_shannon"] = "jensen_shannon"
    least: int = pydantic.Field(default=20, ge=2)
    decision: Decision = SigmaDecision(k=4)


def histogram(
    counts: Float[np.ndarray, "items channels bins"] | Integer[np.ndarray, "items channels bins"],
    compared: References,
    config: HistogramConfig | JointHistogramConfig,
) -> Finding:
    """The distance of an image's histograms from the mean histograms of its class, itself left out.

    Images of several classes are judged by the class in which they fit best; those of small classes by all images.

    Args:
        counts: pixels per bin, of the channels that are looked at; a joint histogram is one channel with all its bins.
        compared: the classes' members.
        config: the settings.

    Returns:
        Scores: the distance, mean over the channels; NaN where there is nothing to compare with, or no pixel counted.
        Details: `<name>_reference`, the class it was compared with.
    """
    known = counts.sum(axis=2).all(axis=1)
    distances = np.full(compared.members.shape, np.nan)
    measure = distance_function(config.distance)
    for column, members in enumerate(compared.members.T):
        own = members & known
        rows = np.flatnonzero(known & compared.applies[:, column])
        if not len(rows):
            continue
        total = sum((_shares(counts[block]).sum(axis=0) for block in _blocks(np.flatnonzero(own))), np.zeros(()))
        for block in _blocks(rows):
            shares = _shares(counts[block])
            others = (own.sum() - own[block])[:, None, None]
            # Rounding may leave tiny differences below 0.
            rest = np.maximum(total - np.where(own[block, None, None], shares, 0), 0)
            mean = np.divide(rest, others, out=np.zeros_like(shares), where=others > 0)
            distances[block, column] = np.where(others[:, 0, 0] > 0, measure(shares, mean).mean(axis=1), np.nan)
    least, sets = compared.best(distances)
    scores = least.astype(np.float32)
    names = np.where(np.isnan(scores), "", np.asarray(compared.names, object)[sets])
    details = pd.DataFrame({f"{config.name}_reference": pd.Series(names, dtype="str")})
    return Finding(config.name, scores, decide(scores, config.decision), details)


def distance_function(
    name: Literal["chi2", "jensen_shannon", "wasserstein"],
) -> Callable[[Histograms, Histograms], Float64[np.ndarray, "items channels"]]:
    """The distance of that name between histograms of sum 1, bin by bin the same.

    - `chi2`: half the sum of (a - b)² / (a + b), 0 to 1 (Puzicha et al., ICCV 1999).
    - `jensen_shannon`: the square root of the Jensen-Shannon divergence with logarithms to base 2, 0 to 1, a metric
      (Endres and Schindelin, IEEE Trans. Inf. Theory 49, 2003).
    - `wasserstein`: how far, in grey levels, the mean pixel must be moved; the bins divide 0 to 255 evenly.
    """
    match name:
        case "chi2":
            return _chi2
        case "jensen_shannon":
            return _jensen_shannon
        case "wasserstein":
            return _wasserstein


def joint_counts(first: UInt8[np.ndarray, "*size"], second: UInt8[np.ndarray, "*size"]) -> Int64[np.ndarray, " bins"]:
    """A joint histogram of two channels as one row: Int64 (JOINT_BINS²,), the bins of `first` one after the other.

    >>> int(joint_counts(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8))[15 * 16])
    4
    """
    width = 256 // JOINT_BINS
    both = (first // width).astype(np.intp) * JOINT_BINS + second // width
    counts: Int64[np.ndarray, " bins"] = np.bincount(both.ravel(), minlength=JOINT_BINS**2)
    return counts


def _blocks(rows: Int64[np.ndarray, " rows"]) -> list[Int64[np.ndarray, " block"]]:
    """The rows in parts, so that memory is bounded however many cells there are."""
    return [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]


def _shares(
    counts: Float[np.ndarray, "items channels bins"] | Integer[np.ndarray, "items channels bins"],
) -> Histograms:
    """Histograms of sum 1."""
    return np.asarray(counts / counts.sum(axis=2, keepdims=True), np.float64)


def _chi2(first: Histograms, second: Histograms) -> Float64[np.ndarray, "items channels"]:
    total = first + second
    parts = np.divide((first - second) ** 2, total, out=np.zeros_like(total), where=total > 0)
    return np.asarray(parts.sum(axis=2) / 2)


def _jensen_shannon(first: Histograms, second: Histograms) -> Float64[np.ndarray, "items channels"]:
    middle = (first + second) / 2
    divergence = np.zeros(first.shape[:2])
    for part in (first, second):
        ratio = np.divide(part, middle, out=np.ones_like(part), where=part > 0)
        divergence += (part * np.log2(ratio)).sum(axis=2) / 2
    return np.asarray(np.sqrt(np.clip(divergence, 0, 1)))


def _wasserstein(first: Histograms, second: Histograms) -> Float64[np.ndarray, "items channels"]:
    width = 256 / first.shape[2]
    return np.asarray(np.abs(np.cumsum(first - second, axis=2)).sum(axis=2) * width)
