"""All figures of one predictor on one set of items, with the decisions taken; the model and the constant share it."""

import math
from dataclasses import dataclass

import numpy as np
from sklearn import metrics

from hpa.arrays import Bool, ClassVector, Probabilities, Targets
from hpa.evaluation.calibration import brier_score, expected_calibration_error
from hpa.evaluation.decisions import Scores, mean_of_defined, score_decisions
from hpa.evaluation.ranking import average_precision, roc_auc


@dataclass(frozen=True, eq=False)
class Measures:
    """Figures of one predictor.

    Attributes:
        present: whether any item has the class; only these enter the means.
        scores: of the decisions.
        ap: average precision per class.
        auc: area under the ROC curve per class.
        ece: expected calibration error per class.
        brier: Brier score per class.
        micro_ap: average precision of all (item, class) pairs in one ranking; NaN without positives.
        exact: share of the items with every class decided right; the accuracy of a single-label task.
    """

    present: Bool[np.ndarray, " classes"]
    scores: Scores
    ap: ClassVector
    auc: ClassVector
    ece: ClassVector
    brier: ClassVector
    micro_ap: float
    exact: float

    def summary(self) -> dict[str, float]:
        """The means over the classes and the pooled figures, by name; NaN where undefined."""
        scores = self.scores
        return {
            "macro_ap": mean_of_defined(self.ap),
            "micro_ap": self.micro_ap,
            "macro_auc": mean_of_defined(self.auc),
            "macro_f1": scores.macro_f1,
            "macro_precision": scores.macro_precision,
            "macro_recall": scores.macro_recall,
            "micro_f1": scores.micro_f1,
            "micro_precision": scores.micro_precision,
            "micro_recall": scores.micro_recall,
            "exact_match": self.exact,
            "ece": mean_of_defined(np.where(self.present, self.ece, np.nan)),
            "brier": mean_of_defined(np.where(self.present, self.brier, np.nan)),
        }


def measure(targets: Targets, probabilities: Probabilities, decisions: Bool[np.ndarray, "items classes"]) -> Measures:
    """Measure probabilities and the decisions taken from them."""
    micro_ap = math.nan
    if targets.any():
        micro_ap = float(metrics.average_precision_score(targets.ravel(), probabilities.ravel()))
    return Measures(
        present=targets.sum(axis=0) > 0,
        scores=score_decisions(targets, decisions),
        ap=average_precision(targets, probabilities),
        auc=roc_auc(targets, probabilities),
        ece=expected_calibration_error(targets, probabilities),
        brier=brier_score(targets, probabilities),
        micro_ap=micro_ap,
        exact=float(((targets > 0) == decisions).all(axis=1).mean()),
    )


def top_label_error(targets: Targets, probabilities: Probabilities) -> float:
    """Expected calibration error of the highest probability alone, the usual one of single-label tasks."""
    top = probabilities.argmax(axis=1)[:, None]
    right = np.take_along_axis(targets, top, axis=1)
    return float(expected_calibration_error(right, np.take_along_axis(probabilities, top, axis=1))[0])
