from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpa.anomaly.duplicates import DuplicateConfig
from hpa.anomaly.findings import Finding
from hpa.anomaly.histogram import HistogramConfig, JointHistogramConfig
from hpa.anomaly.intensity import IntensityConfig
from hpa.anomaly.quality import NearlyEmptyConfig, OutOfFocusConfig, SaturatedConfig
from hpa.anomaly.swapped import SwappedConfig
from hpa.stages.anomalies.anomaly_reasons import describe_detector, reason, worst_rows
from hpa.stages.anomalies.detect_anomalies_config import (
    ClassCentre,
    IsolationForest,
    LabelDetector,
    LocalOutlierFactor,
    Mahalanobis,
    Neighbours,
)

PLACE = Path("work/embedding")


def found(name: str, score: float, **details) -> Finding:
    frame = pd.DataFrame({f"{name}_{key}": [value] for key, value in details.items()}) if details else None
    return Finding(name, np.array([score], np.float32), np.array([True]), frame)


@pytest.mark.parametrize(
    ("detector", "finding", "expected"),
    [
        (None, found("combined", 4, because="out_of_focus, saturated"), "out of focus, saturated"),
        (None, found("combined", 1, because=""), "no detector flags it"),
        (
            IntensityConfig(),
            found("intensity", 3.2, sigma=-3.21, channel="green", reference="Cytosol"),
            "green 3.2 sigmas darker, compared with Cytosol",
        ),
        (HistogramConfig(), found("histogram", 0.4, reference="all"), "score 0.4, compared with all"),
        (JointHistogramConfig(), found("joint_histogram", 0.4, reference=""), "score 0.4"),
        (OutOfFocusConfig(), found("out_of_focus", 6.04), "6.0 sigmas less fine detail than usual"),
        (SaturatedConfig(), found("saturated", 0.25, channel="red"), "score 0.25, channel red"),
        (NearlyEmptyConfig(), found("nearly_empty", 0.875), "12 % of the area shows something"),
        (SwappedConfig(), found("swapped_channels", 8, order="b, a"), "score 8.0, looks like b, a"),
        (
            DuplicateConfig(),
            found("duplicates", 0.99, of="x1", orientation="turned by 90°"),
            "similarity 0.99 with x1, turned by 90°",
        ),
        (DuplicateConfig(), found("duplicates", 0.5, of="", orientation=""), "similarity 0.50"),
        (Neighbours(embedding=PLACE), found("neighbours", 12.345), "score 12.3"),
        (LabelDetector(embedding=PLACE), found("label", 2, suggested="add Cytosol"), "add Cytosol"),
        (LabelDetector(embedding=PLACE), found("label", 2, suggested=""), "score 2.00"),
    ],
)
def test_reasons_in_words(detector, finding: Finding, expected: str) -> None:
    assert reason(detector, finding, 0) == expected


def test_every_detector_has_a_title_and_a_meaning() -> None:
    pixel = (IntensityConfig, HistogramConfig, JointHistogramConfig, OutOfFocusConfig, SaturatedConfig)
    detectors = [kind() for kind in (*pixel, NearlyEmptyConfig, SwappedConfig, DuplicateConfig)]
    embedded = (Neighbours, ClassCentre, Mahalanobis, LocalOutlierFactor, IsolationForest, LabelDetector)
    detectors += [kind(embedding=PLACE) for kind in embedded]
    described = [describe_detector(detector) for detector in detectors]
    assert len({title for title, _ in described}) == len(detectors)
    assert all(meaning.endswith(".") for _, meaning in described)


def test_the_worst_come_first_and_the_unjudged_not_at_all() -> None:
    scores = np.array([1, np.nan, 3, 3, 2], np.float32)
    finding = Finding("x", scores, np.zeros(5, bool))
    assert worst_rows(finding, 3).tolist() == [2, 3, 4]
    assert worst_rows(finding, 9).tolist() == [2, 3, 4, 0]
