"""How sure a table of scores is of each item: what a member of an ensemble counts by."""

from typing import Literal, TypeAlias

import numpy as np

from hpa.arrays import Float64, Probabilities

ConfidenceKind: TypeAlias = Literal["winner", "margin", "entropy"]

_SMALLEST = 1e-12


def confidences(scores: Probabilities, kind: ConfidenceKind, multi_label: bool) -> Float64[np.ndarray, "items 1"]:
    """One weight per item, in [0, 1]: 0 where the scores say nothing, 1 where they leave no doubt.

    `winner`: the highest score, which is never 0 where scores sum to one. `margin`: the highest score less the second;
    with several classes per item the distance of every score from 0.5, |2p - 1|, averaged over the classes. `entropy`:
    1 - H / log(classes), with H the entropy of the scores; with several classes per item 1 - the mean of the classes'
    binary entropies in bits.

    Args:
        scores: float32 (items, classes) in [0, 1].
        kind: which measure.
        multi_label: whether an item may have several classes.

    >>> confidences(np.float32([[0.75, 0.25], [0.5, 0.5]]), "margin", multi_label=False).ravel().tolist()
    [0.5, 0.0]
    """
    values = scores.astype(np.float64)
    match kind, multi_label:
        case "winner", _:
            found = values.max(axis=1)
        case "margin", False:
            ordered = np.sort(values, axis=1)
            found = ordered[:, -1] - ordered[:, -2]
        case "margin", True:
            found = np.abs(2 * values - 1).mean(axis=1)
        case "entropy", False:
            found = 1 - _information(values).sum(axis=1) / np.log(values.shape[1])
        case _:
            found = 1 - ((_information(values) + _information(1 - values)) / np.log(2)).mean(axis=1)
    result: Float64[np.ndarray, "items 1"] = np.clip(found, 0, 1)[:, None]
    return result


def _information(values: Float64[np.ndarray, "items classes"]) -> Float64[np.ndarray, "items classes"]:
    """-p log p, which is 0 at 0."""
    found: Float64[np.ndarray, "items classes"] = -values * np.log(np.maximum(values, _SMALLEST))
    return found
