"""What `evaluate` accepts."""

import numpy as np

from hpa.labels import ClassList


def check_inputs(
    targets: np.ndarray,
    probabilities: np.ndarray,
    classes: ClassList,
    thresholds: np.ndarray | None = None,
    training_share: np.ndarray | None = None,
) -> None:
    """Refuse what `evaluate` cannot measure.

    Raises:
        ValueError: see `evaluate`; names the first row that is wrong.
    """
    expected = (len(targets), len(classes))
    if not len(targets):
        raise ValueError("expected at least one item to evaluate, but got none")
    for name, values in (("targets", targets), ("probabilities", probabilities)):
        if values.shape != expected:
            raise ValueError(f"expected {name} of shape {expected} (items, classes), but got {values.shape}")
    odd = ~np.isin(targets, (0, 1))
    if odd.any():
        raise ValueError(f"expected targets of 0 and 1, but row {_first(odd)} holds {targets[odd][0]}")
    outside = ~((probabilities >= 0) & (probabilities <= 1))
    if outside.any():
        raise ValueError(
            f"expected probabilities in [0, 1], but row {_first(outside)} holds {probabilities[outside][0]}; "
            "logits need a sigmoid or softmax first"
        )
    several = targets.sum(axis=1, keepdims=True) != 1
    if not classes.multi_label and several.any():
        raise ValueError(
            f"expected one class per item of a single-label task, but row {_first(several)} has none or several"
        )
    for name, vector in (("thresholds", thresholds), ("training_share", training_share)):
        if vector is not None and vector.shape != (len(classes),):
            raise ValueError(f"expected {name}: one value for each of {len(classes)} classes, but got {vector.shape}")


def _first(found: np.ndarray) -> int:
    return int(np.flatnonzero(found.any(axis=1))[0])
