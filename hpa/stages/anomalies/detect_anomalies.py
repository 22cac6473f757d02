"""`detect_anomalies`: scores and decisions of many detectors for every image or cell, and a page to look at."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpa.anomaly.combined import combined
from hpa.anomaly.duplicates import DuplicateConfig
from hpa.anomaly.findings import Finding, findings_table
from hpa.anomaly.histogram import HistogramConfig
from hpa.artifacts import build, is_finished, make_record, write_json, write_text
from hpa.progress import say
from hpa.stages.anomalies import anomaly_page, pixel_figures
from hpa.stages.anomalies.anomaly_detectors import Detection, input_digests
from hpa.stages.anomalies.anomaly_items import Items, open_items
from hpa.stages.anomalies.detect_anomalies_config import DetectAnomaliesConfig, default_detectors
from hpa.stages.anomalies.planted_defects import planted_defects, score_findings
from hpa.tables import write_table

__all__ = ["DetectAnomaliesConfig", "run"]

STAGE = "detect_anomalies"
FINDINGS, DUPLICATES, METRICS, PAGE = "findings.parquet", "duplicates.csv", "metrics.json", "report.html"


def run(config: DetectAnomaliesConfig) -> Path:
    """Judge every image, or every cell; the index and the pixel cache are made first where they are missing.

    Returns:
        `config.out`: `findings.parquet` (keys; per detector and for `combined` a score, higher = worse, a decision
        `is_<name>` and details), `duplicates.csv` (every duplicate with its original), `metrics.json` (what was judged
        and flagged, per class too; for simulated images how well planted defects are found) and `report.html`.

    Raises:
        ArtifactError: an input is missing or that of other images, or something else stands in the folder.
        ValueError: a detector cannot work with this data; names it.
    """
    items = open_items(config)
    detectors = config.detectors or default_detectors(config.level, items.pixels.channels)
    inputs = items.inputs | input_digests(config, detectors)
    record = make_record(STAGE, config.content(detectors), inputs)
    if is_finished(config.out, record):
        say(f"{config.out}: made before, nothing to do")
        return config.out
    with build(config.out, record) as folder:
        histograms = items.histograms is None and any(isinstance(one, HistogramConfig) for one in detectors)
        figures = pixel_figures.take_figures(items.pixels, detectors, histograms, folder, config.data.workers)
        detection = Detection(items, figures, config)
        singles = [detection.find(detector) for detector in detectors]
        joined = combined(singles, config.combined)
        findings = [joined, *singles]
        write_table(folder / FINDINGS, findings_table(items.keys, findings))
        copies = [found for one, found in zip(detectors, singles, strict=True) if isinstance(one, DuplicateConfig)]
        write_text(folder / DUPLICATES, _duplicates(copies, items).to_csv(index=False, lineterminator="\n"))
        defects = planted_defects(config.data, items.keys, config.level)
        planted = [] if defects is None else score_findings(findings, defects)
        write_json(folder / METRICS, _metrics(findings, items, planted))
        anomaly_page.write(folder / PAGE, config, items, detectors, findings, planted)
        shutil.rmtree(folder / pixel_figures.FOLDER, ignore_errors=True)
    counts = ", ".join(f"{int(found.flags.sum())} {found.name}" for found in singles if found.flags.any())
    say(f"{config.out}: {int(joined.flags.sum())} of {len(items.keys)} {config.level}s flagged ({counts or 'by none'})")
    return config.out


def _duplicates(findings: Sequence[Finding], items: Items) -> pd.DataFrame:
    """Every duplicate with its original: the labels of the two beside each other, for copies often disagree."""
    columns = ["image_id", "duplicate_of", "similarity", "orientation", "labels", "labels_of_original", "same_labels"]
    rows: list[dict[str, Any]] = []
    names = items.names()
    places = {name: row for row, name in enumerate(names)}
    for finding in findings:
        assert finding.details is not None
        for row in np.flatnonzero(finding.flags).tolist():
            original = str(finding.details["duplicates_of"].iloc[row])
            labels = [anomaly_page.label_names(items, place) for place in (row, places[original])]
            texts = ["|".join(own) for own in labels]
            rows.append(
                dict(
                    zip(
                        columns,
                        [
                            names[row],
                            original,
                            round(float(finding.scores[row]), 4),
                            finding.details["duplicates_orientation"].iloc[row],
                            *texts,
                            "" if items.targets is None else texts[0] == texts[1],
                        ],
                        strict=True,
                    )
                )
            )
    return pd.DataFrame(rows, columns=columns)


def _metrics(findings: Sequence[Finding], items: Items, planted: list[dict[str, Any]]) -> dict[str, Any]:
    detectors = {
        found.name: {"judged": int((~np.isnan(found.scores)).sum()), "flagged": int(found.flags.sum())}
        for found in findings
    }
    metrics: dict[str, Any] = {"items": len(items.keys), "detectors": detectors}
    if items.targets is not None:
        members, flagged = anomaly_page.class_counts(items, findings)
        metrics["per_class"] = [
            {
                "class": name,
                "items": int(members[column]),
                **{found.name: int(flagged[column, place]) for place, found in enumerate(findings)},
            }
            for column, name in enumerate(items.classes.names)
        ]
    return metrics | ({"planted": planted} if planted else {})
