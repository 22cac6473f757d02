"""Several sources of class probabilities made into one calibrated probability, by what labels say."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logsumexp, softmax

from hpa.arrays import Float32, Float64, Targets

CERTAIN, CERTAIN_OF_ONE = 1e-4, 1e-6
"""Sources that say less than this (of one of several classes; of the one class), or more than one less this, are taken
at this."""

RIDGE = 1.0
"""Precision of the normal prior on every class's offset: a class needs some images to move its own."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Sources as one.

    Attributes:
        weights: (sources,), at least 0: factor on how far each source's log-odds lie from those of the class's share.
        offsets: (classes,), added to the log-odds.
        probabilities: (n, classes) float64, calibrated.
    """

    weights: Float64[np.ndarray, " sources"]
    offsets: Float64[np.ndarray, " classes"]
    probabilities: Float64[np.ndarray, "items classes"]


def class_shares(targets: Targets) -> Float64[np.ndarray, " classes"]:
    """Part of the images with each class, never 0 or 1 (half an image is added to both sides).

    >>> class_shares(np.array([[1, 0], [1, 0], [0, 0]], np.float32)).round(3).tolist()
    [0.625, 0.125]
    """
    shares: Float64[np.ndarray, " classes"] = (targets.sum(axis=0, dtype=np.float64) + 0.5) / (len(targets) + 1)
    return shares


def calibrate(
    sources: Sequence[Float32[np.ndarray, "_ _"]],
    targets: Targets,
    believed: Float64[np.ndarray, "items classes"],
    counts: Float64[np.ndarray, " items"],
    multi_label: bool,
    start: Calibration | None = None,
) -> Calibration:
    """Fit weights of the sources and an offset per class to labels, by logistic regression.

    Args:
        sources: each (n, classes) in [0, 1].
        targets: (n, classes), 0 or 1: where the shares of the classes come from.
        believed: (n, classes) in [0, 1], the labels to fit; soft where some of the targets are doubted.
        counts: (n,), how much each image counts, in [0, 1].
        multi_label: whether probabilities of the classes are independent, or sum to one.
        start: an earlier fit to begin with.
    """
    shares = class_shares(targets)
    base = np.log(shares) - (np.log1p(-shares) if multi_label else 0.0)
    certain = CERTAIN if multi_label else CERTAIN_OF_ONE
    known = [np.clip(source.astype(np.float64), certain, 1 - certain) for source in sources]
    beyond = np.stack([np.log(p) - (np.log1p(-p) if multi_label else 0.0) - base for p in known])
    number = len(sources)
    first = (
        np.concatenate([np.full(number, 1 / number), np.zeros(len(base))])
        if start is None
        else np.concatenate([start.weights, start.offsets])
    )

    def loss(values: Float64[np.ndarray, " parameters"]) -> tuple[float, Float64[np.ndarray, " parameters"]]:
        weights, offsets = values[:number], values[number:]
        logits = np.tensordot(weights, beyond, axes=1) + base + offsets
        if multi_label:
            each = (np.logaddexp(0, logits) - believed * logits).sum(axis=1)
            slope = expit(logits) - believed
        else:
            each = logsumexp(logits, axis=1) - (believed * logits).sum(axis=1)
            slope = softmax(logits, axis=1) - believed
        slope = counts[:, None] * slope
        total = float(counts @ each) + RIDGE * float(offsets @ offsets) / 2
        return total, np.concatenate([np.tensordot(beyond, slope, axes=2), slope.sum(axis=0) + RIDGE * offsets])

    bounds = [(0.0, None)] * number + [(None, None)] * len(base)
    best = minimize(loss, first, jac=True, method="L-BFGS-B", bounds=bounds).x
    logits = np.tensordot(best[:number], beyond, axes=1) + base + best[number:]
    probabilities = expit(logits) if multi_label else softmax(logits, axis=1)
    return Calibration(best[:number], best[number:], probabilities)
