"""What the detectors look for and why they flag an image, in words for people who look at the page."""

from typing import Any

import numpy as np
import pandas as pd

from hpa.anomaly.combinations import RareCombinationConfig
from hpa.anomaly.duplicates import DuplicateConfig
from hpa.anomaly.findings import Finding
from hpa.anomaly.histogram import HistogramConfig, JointHistogramConfig
from hpa.anomaly.intensity import IntensityConfig
from hpa.anomaly.quality import NearlyEmptyConfig, OutOfFocusConfig, SaturatedConfig
from hpa.anomaly.swapped import SwappedConfig
from hpa.report.formats import percent
from hpa.stages.anomalies.detect_anomalies_config import (
    AnyDetector,
    ClassCentre,
    IsolationForest,
    LabelDetector,
    LocalOutlierFactor,
    Mahalanobis,
    Neighbours,
    detector_name,
)

TOGETHER = (
    "all detectors together",
    "One of the detectors is surprised: by how much, on a scale on which 3 is 1 in 20.",
)
"""Title and meaning of the joined score."""


def describe_detector(detector: AnyDetector) -> tuple[str, str]:
    """A detector's title, and what a high score means."""
    title = detector_name(detector).replace("_", " ")
    match detector:
        case IntensityConfig():
            return title, "Far brighter or darker than the others of its class; the score is in sigmas."
        case HistogramConfig():
            return title, "The values of its channels are distributed otherwise than in its class."
        case JointHistogramConfig():
            first, second = detector.channels
            return title, f"Values of {first} and {second} go together otherwise than in its class."
        case OutOfFocusConfig():
            return title, "Less fine detail than the others have, in most channels; the score is in sigmas."
        case SaturatedConfig():
            return title, "Large parts of a channel are at the highest value, 255."
        case NearlyEmptyConfig():
            return title, "Hardly anything is brighter than the background; 1 is an empty image."
        case SwappedConfig():
            return title, "The channels look as if they stood in another order; the score is a logarithm of odds."
        case DuplicateConfig():
            return title, "Shows what an earlier image shows; 1 is the same picture."
        case Neighbours():
            return title, f"Far from its nearest neighbours in the embedding {detector.embedding.name}."
        case ClassCentre() | Mahalanobis():
            return title, f"Far from the centre of its class in the embedding {detector.embedding.name}."
        case LocalOutlierFactor():
            return title, f"Alone, where its neighbours in the embedding {detector.embedding.name} have company."
        case IsolationForest():
            return title, f"A few random cuts set it apart in the embedding {detector.embedding.name}."
        case RareCombinationConfig():
            return title, "Hardly any other image has these classes together; a logarithm of how unlikely that is."
        case LabelDetector():
            return title, f"Its label is contradicted (method {detector.method.kind.replace('_', ' ')})."


def reason(detector: AnyDetector | None, finding: Finding, row: int) -> str:
    """Why a row has its score.

    Args:
        detector: None for the joined score.
        finding: of that detector.
        row: which.
    """
    score = float(finding.scores[row])
    details = {} if finding.details is None else _details(finding, row)
    against = f", compared with {details['reference']}" if details.get("reference") else ""
    match detector:
        case None:
            return str(details.get("because", "")).replace("_", " ") or "no detector flags it"
        case IntensityConfig():
            side = "brighter" if details["sigma"] > 0 else "darker"
            return f"{details['channel']} {abs(details['sigma']):.1f} sigmas {side}{against}"
        case OutOfFocusConfig():
            return f"{score:.1f} sigmas less fine detail than usual"
        case SaturatedConfig():
            return f"score {score:.2f}" + (f", channel {details['channel']}" if details["channel"] else "")
        case NearlyEmptyConfig():
            return f"{percent(1 - score)} of the area shows something"
        case SwappedConfig():
            return f"score {score:.1f}" + (f", looks like {details['order']}" if details["order"] else "")
        case DuplicateConfig():
            alike = f"similarity {score:.2f}"
            return f"{alike} with {details['of']}, {details['orientation']}" if details["of"] else alike
        case RareCombinationConfig():
            return f"{details['of'].replace('|', ' and ')}: {details['images']} images"
        case LabelDetector():
            return details.get("suggested") or f"score {score:.2f}"
        case _:
            return f"score {score:.3g}{against}"


def _details(finding: Finding, row: int) -> dict[str, Any]:
    """The details of one row, by the names without the finding's."""
    assert isinstance(finding.details, pd.DataFrame)
    start = len(finding.name) + 1
    return {str(name)[start:]: finding.details[name].iloc[row] for name in finding.details}


def worst_rows(finding: Finding, count: int) -> np.ndarray:
    """Rows with the highest scores, the highest first; of equal ones the first; none without a score."""
    order = np.argsort(-np.nan_to_num(finding.scores, nan=-np.inf), kind="stable")[:count]
    found: np.ndarray = order[~np.isnan(finding.scores[order])]
    return found
