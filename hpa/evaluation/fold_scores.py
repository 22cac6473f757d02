"""The figures of out-of-fold predictions fold by fold: their mean says how good, their spread how sure."""

from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from hpa.arrays import Bool, Probabilities, Targets
from hpa.evaluation.decisions import decide
from hpa.evaluation.inputs import check_inputs
from hpa.evaluation.measures import measure, top_label_error
from hpa.evaluation.thresholds import cross_fit_thresholds
from hpa.labels import ClassList

ThresholdRule: TypeAlias = Literal["cross_fitted", "half"]
"""How a multi-label task is decided: `cross_fitted` by thresholds tuned on the other folds, `half` at 0.5."""

FIGURES = (
    *("macro_ap", "micro_ap", "macro_auc", "macro_f1", "micro_f1", "macro_precision", "macro_recall"),
    *("micro_precision", "micro_recall", "accuracy", "ece", "brier"),
)
"""Columns of `fold_scores`; `accuracy` is the share of items with every class decided right."""


def decide_by_fold(
    targets: Targets,
    probabilities: Probabilities,
    classes: ClassList,
    folds: np.ndarray,
    rule: ThresholdRule = "cross_fitted",
) -> Bool[np.ndarray, "items classes"]:
    """Decisions on out-of-fold predictions; with a single fold there is nothing to tune on, and the threshold is 0.5.

    A single-label list is decided by the highest probability.
    """
    if classes.multi_label and rule == "cross_fitted" and len(np.unique(folds)) > 1:
        return decide(probabilities, classes, cross_fit_thresholds(targets, probabilities, folds))
    return decide(probabilities, classes)


def fold_scores(
    targets: Targets,
    probabilities: Probabilities,
    decisions: Bool[np.ndarray, "items classes"],
    classes: ClassList,
    folds: np.ndarray,
) -> pd.DataFrame:
    """One row of figures per fold.

    Args:
        targets: 0 or 1.
        probabilities: out of fold, in [0, 1].
        decisions: from them.
        classes: of single-label lists, `ece` is that of the highest probability (Guo et al. 2017); of multi-label ones
            the mean over the classes, each a question of its own.
        folds: number of each item's fold.

    Returns:
        Columns fold, items, and `FIGURES`; NaN where a figure is undefined.

    Raises:
        ValueError: see `evaluate`.
    """
    check_inputs(targets, probabilities, classes)
    rows = []
    for fold in np.unique(folds):
        here = folds == fold
        found = measure(targets[here], probabilities[here], decisions[here]).summary()
        found["accuracy"] = found["exact_match"]
        if not classes.multi_label:
            found["ece"] = top_label_error(targets[here], probabilities[here])
        rows.append({"fold": int(fold), "items": int(here.sum())} | {name: found[name] for name in FIGURES})
    return pd.DataFrame(rows)
