"""How good probabilities are: ranking, decisions, calibration and confusion, beside a constant predictor."""

from hpa.evaluation.calibration import brier_score, expected_calibration_error, reliability_table
from hpa.evaluation.classification import Evaluation, evaluate
from hpa.evaluation.confusion import confusion_matrix, taken_for
from hpa.evaluation.decisions import Scores, decide, score_decisions
from hpa.evaluation.examples import pick_examples
from hpa.evaluation.ranking import average_precision, precision_recall_points, roc_auc
from hpa.evaluation.thresholds import cross_fit_thresholds, tune_thresholds

__all__ = [
    "Evaluation",
    "Scores",
    "average_precision",
    "brier_score",
    "confusion_matrix",
    "cross_fit_thresholds",
    "decide",
    "evaluate",
    "expected_calibration_error",
    "pick_examples",
    "precision_recall_points",
    "reliability_table",
    "roc_auc",
    "score_decisions",
    "taken_for",
    "tune_thresholds",
]
