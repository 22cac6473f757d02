"""What `detect_anomalies` finds beside what a simulated data set is known to have planted."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from hpa.anomaly.findings import Finding
from hpa.anomaly.planted import detection
from hpa.artifacts import read_record
from hpa.stages.anomalies.detect_anomalies_config import Level
from hpa.stages.data import simulate
from hpa.stages.data.dataset_config import DatasetConfig, SimulatedSource
from hpa.tables import IMAGE_KEY, align, read_table

WRONG_LABEL = "wrong_label"
ANY_IMAGE_DEFECT = "any image defect"


def planted_defects(data: DatasetConfig, keys: pd.DataFrame, level: Level) -> pd.Series | None:
    """The planted defect of every image, an empty text for none; None where nothing is known or nothing planted."""
    if level != "image" or not isinstance(data.source, SimulatedSource):
        return None
    read_record(data.simulate_folder, simulate.STAGE)
    truth = read_table(data.simulate_folder / "truth" / "images.parquet", (*IMAGE_KEY, "defect"))
    defects = align(keys, truth[truth["image_id"].isin(keys["image_id"])])["defect"].fillna("")
    return defects if (defects != "").any() else None


def score_findings(findings: Sequence[Finding], defects: pd.Series) -> list[dict[str, Any]]:
    """How well every finding tells images with each defect from sound ones; images with other defects are left out.

    Returns:
        One record per finding and defect (`ANY_IMAGE_DEFECT`: all but wrong labels, which no picture shows): finding,
        defect, planted, sound, auroc, ap, recall, and `flagged`, the part of the planted images that it flags.
    """
    kinds = defects.to_numpy()
    sound = kinds == ""
    damaged = ~sound & (kinds != WRONG_LABEL)
    named = {name: kinds == name for name in sorted(set(kinds[~sound]))}
    groups = ({ANY_IMAGE_DEFECT: damaged} if damaged.any() else {}) | named
    records = []
    for finding in findings:
        for name, planted in groups.items():
            used = sound | planted
            found = detection(finding.scores[used], planted[used])
            if found is not None:
                flagged = float(np.mean(finding.flags[planted]))
                records.append({"finding": finding.name, "defect": name, **asdict(found), "flagged": flagged})
    return records
