"""How good predictions are: classification beside a constant predictor, the competition's mAP, and segmentation."""

from hpa.evaluation.calibration import brier_score, expected_calibration_error, reliability_table
from hpa.evaluation.classification import Evaluation, evaluate
from hpa.evaluation.competition import CompetitionScore, Verified, score
from hpa.evaluation.confusion import confused_pairs, confusion_matrix, taken_for
from hpa.evaluation.decisions import Scores, decide, score_decisions
from hpa.evaluation.examples import pick_examples
from hpa.evaluation.instances import InstanceMatches, f1_at_iou, match_instances
from hpa.evaluation.label_map_scores import score_label_maps
from hpa.evaluation.mask_texts import counts_from_texts
from hpa.evaluation.ranking import average_precision, precision_recall_points, roc_auc
from hpa.evaluation.resampling import bootstrap
from hpa.evaluation.thresholds import cross_fit_thresholds, tune_thresholds

__all__ = [
    "CompetitionScore",
    "Evaluation",
    "InstanceMatches",
    "Scores",
    "Verified",
    "average_precision",
    "bootstrap",
    "brier_score",
    "confused_pairs",
    "confusion_matrix",
    "counts_from_texts",
    "cross_fit_thresholds",
    "decide",
    "evaluate",
    "expected_calibration_error",
    "f1_at_iou",
    "match_instances",
    "pick_examples",
    "precision_recall_points",
    "reliability_table",
    "roc_auc",
    "score",
    "score_decisions",
    "score_label_maps",
    "taken_for",
    "tune_thresholds",
]
