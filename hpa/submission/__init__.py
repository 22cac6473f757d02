"""The competition's submission file: confidences, rows, reading, writing and checking."""

from hpa.submission.checking import Problem, check_submission
from hpa.submission.confidence import ConfidenceConfig, confidences
from hpa.submission.reading import ImageSize, Submission, read_images, read_submission
from hpa.submission.rows import Detection, cell_detections, parse_prediction_string, write_prediction_string
from hpa.submission.writing import SubmissionWriter

__all__ = [
    "ConfidenceConfig",
    "Detection",
    "ImageSize",
    "Problem",
    "Submission",
    "SubmissionWriter",
    "cell_detections",
    "check_submission",
    "confidences",
    "parse_prediction_string",
    "read_images",
    "read_submission",
    "write_prediction_string",
]
