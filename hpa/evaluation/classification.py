"""The evaluation of a classifier's probabilities: every figure of a run's report and of its metrics.json."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from hpa.arrays import Bool, ClassVector, Float, Probabilities, Targets
from hpa.evaluation.calibration import reliability_table
from hpa.evaluation.confusion import confusion_matrix, taken_for
from hpa.evaluation.decisions import decide, score_decisions
from hpa.evaluation.inputs import check_inputs
from hpa.evaluation.measures import Measures, measure, top_label_error
from hpa.evaluation.ranking import precision_recall_points
from hpa.evaluation.thresholds import DEFAULT, cross_fit_thresholds, tune_thresholds
from hpa.labels import ClassList

Rule = Literal["given thresholds", "cross-fitted thresholds", "threshold 0.5", "highest probability"]

COMPARED = ("macro_ap", "micro_ap", "macro_f1", "micro_f1", "brier")
"""Figures that the constant predictor's stand beside, as `<name>_constant`."""

OPTIONAL = (
    *(f"{kind}_f1_{rule}" for kind in ("macro", "micro") for rule in ("at_half", "tuned", "cross_fitted")),
    *("accuracy", "accuracy_constant", "ece_top"),
)
"""Figures that some tasks lack; they are None there, so that every metrics.json has the same keys."""

PER_CLASS = (
    *("class", "positives", "ap", "ap_constant", "auc", "f1", "precision", "recall", "threshold", "ece"),
    *("brier", "missed", "threshold_tuned", "f1_tuned"),
)
"""Columns of `Evaluation.per_class`."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate` found. Classes that no item has are NaN per class, and every macro mean leaves them out.

    Attributes:
        classes: the class list.
        rule: how probabilities became decisions for f1, precision, recall, confusion and accuracy.
        metrics: figures by name, ready for JSON (None where undefined):
            items, classes_with_positives;
            macro_ap, micro_ap, macro_auc: ranking, no threshold;
            macro_/micro_ f1, precision, recall: by `rule`;
            macro_/micro_f1_at_half: threshold 0.5 (multi-label);
            macro_/micro_f1_tuned: thresholds tuned on these same items, therefore optimistic (multi-label);
            macro_/micro_f1_cross_fitted: each fold by thresholds tuned on the others (multi-label, with folds);
            accuracy: single-label only; exact_match: items with every class decided right;
            ece, brier: means over the classes; ece_top: of the predicted class's probability (single-label);
            macro_ap_constant, micro_ap_constant, macro_f1_constant, micro_f1_constant, accuracy_constant,
            brier_constant: what a predictor reaches that gives every item the same probabilities.
        per_class: class, positives, ap, ap_constant, auc, f1, precision, recall, threshold, ece, brier, missed (items
            with the class for which it was not predicted), threshold_tuned, f1_tuned (optimistic). `threshold` is the
            one to use on new images: given, tuned on all items (cross-fitted rule) or 0.5; NaN for single-label lists.
        confusion: counts, true x predicted (single-label), or shares as `taken_for` gives them (multi-label).
        reliability: as `reliability_table` gives it.
        precision_recall: as `precision_recall_points` gives it.
        decisions: per item and class, by `rule`.
    """

    classes: ClassList
    rule: Rule
    metrics: dict[str, float | int | None]
    per_class: pd.DataFrame
    confusion: pd.DataFrame
    reliability: pd.DataFrame
    precision_recall: pd.DataFrame
    decisions: Bool[np.ndarray, "items classes"]


def evaluate(
    targets: Targets,
    probabilities: Probabilities,
    classes: ClassList,
    thresholds: ClassVector | None = None,
    folds: Sequence[int] | np.ndarray | None = None,
    training_share: ClassVector | None = None,
) -> Evaluation:
    """Measure probabilities against the truth, beside a constant predictor on the same items.

    Args:
        targets: 0 or 1; exactly one 1 per item for a single-label list.
        probabilities: in [0, 1], for items that the model was not trained on.
        classes: a single-label list is decided by the highest probability; thresholds then play no part.
        thresholds: one per class, tuned on other items than these.
        folds: the fold of each item when these are out-of-fold predictions: without `thresholds`, each fold is decided
            by thresholds tuned on the other folds. A single fold is as none: threshold 0.5.
        training_share: each class's share of the items trained on, which the constant predictor gives; None for the
            share among these items.

    Raises:
        ValueError: no items, shapes that differ, a target other than 0 and 1, a probability outside [0, 1].

    >>> truth = np.float32([[1, 0], [0, 1], [1, 1]])
    >>> found = evaluate(truth, np.float32([[0.9, 0.2], [0.4, 0.3], [0.8, 0.7]]), ClassList(names=("a", "b")))
    >>> found.metrics["macro_ap"], round(found.metrics["macro_ap_constant"], 3), round(found.metrics["macro_f1"], 3)
    (1.0, 0.667, 0.833)
    """
    check_inputs(targets, probabilities, classes, thresholds, training_share)
    several_folds = folds is not None and len(np.unique(np.asarray(folds))) > 1
    cross_fitted = cross_fit_thresholds(targets, probabilities, folds) if folds is not None and several_folds else None
    tuned = tune_thresholds(targets, probabilities)
    rule, used = _rule(classes, thresholds, cross_fitted)
    decisions = decide(probabilities, classes, used)
    model = measure(targets, probabilities, decisions)

    share = targets.mean(axis=0, dtype=np.float64) if training_share is None else training_share
    same_for_all = np.broadcast_to(share.astype(np.float32), targets.shape).copy()
    # Against tuned thresholds stands a constant predictor that tunes its own on these items: the stronger one.
    used_by_constant = 0.5 if rule == "threshold 0.5" else tune_thresholds(targets, same_for_all)
    constant = measure(targets, same_for_all, decide(same_for_all, classes, used_by_constant))

    values = model.summary()
    values |= {f"{name}_constant": value for name, value in constant.summary().items() if name in COMPARED}
    if classes.multi_label:
        for name, other in (("at_half", 0.5), ("tuned", tuned), ("cross_fitted", cross_fitted)):
            if other is not None:
                scores = score_decisions(targets, decide(probabilities, classes, other))
                values |= {f"macro_f1_{name}": scores.macro_f1, f"micro_f1_{name}": scores.micro_f1}
    else:
        values |= {
            "accuracy": model.exact,
            "accuracy_constant": constant.exact,
            "ece_top": top_label_error(targets, probabilities),
        }
    counts = {"items": len(targets), "classes_with_positives": int(model.present.sum())}
    return Evaluation(
        classes=classes,
        rule=rule,
        metrics=dict.fromkeys(OPTIONAL)
        | counts
        | {name: None if math.isnan(value) else float(value) for name, value in values.items()},
        per_class=_per_class(targets, probabilities, classes, decisions, model, constant).assign(
            threshold=_for_new_items(classes, thresholds, tuned if cross_fitted is not None else None)
        )[list(PER_CLASS)],
        confusion=(taken_for if classes.multi_label else confusion_matrix)(targets, decisions, classes),
        reliability=reliability_table(targets, probabilities, classes),
        precision_recall=precision_recall_points(targets, probabilities, classes),
        decisions=decisions,
    )


def _rule(
    classes: ClassList, thresholds: ClassVector | None, cross_fitted: Float[np.ndarray, "items classes"] | None
) -> tuple[Rule, np.ndarray | float]:
    if not classes.multi_label:
        return "highest probability", 0.5
    if thresholds is not None:
        return "given thresholds", thresholds
    if cross_fitted is not None:
        return "cross-fitted thresholds", cross_fitted
    return "threshold 0.5", 0.5


def _for_new_items(classes: ClassList, given: ClassVector | None, tuned: ClassVector | None) -> ClassVector:
    """The thresholds that a later prediction would use."""
    if not classes.multi_label:
        return np.full(len(classes), np.nan)
    if given is not None:
        return given
    return tuned if tuned is not None else np.full(len(classes), DEFAULT)


def _per_class(
    targets: Targets,
    probabilities: Probabilities,
    classes: ClassList,
    decisions: Bool[np.ndarray, "items classes"],
    model: Measures,
    constant: Measures,
) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "class": list(classes.names),
            "positives": targets.sum(axis=0).astype(int),
            "ap": model.ap,
            "ap_constant": constant.ap,
            "auc": model.auc,
            "f1": model.scores.f1,
            "precision": model.scores.precision,
            "recall": model.scores.recall,
            "ece": model.ece,
            "brier": model.brier,
            "missed": ((targets > 0) & ~decisions).sum(axis=0),
            "threshold_tuned": np.nan,
            "f1_tuned": np.nan,
        }
    )
    if classes.multi_label:
        tuned = tune_thresholds(targets, probabilities)
        table["threshold_tuned"] = np.where(model.present, tuned, np.nan)
        table["f1_tuned"] = score_decisions(targets, decide(probabilities, classes, tuned)).f1
    return table
