"""The page of `detect_anomalies`: pictures of the worst by every detector, and counts per class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpa.anomaly.duplicates import DuplicateConfig
from hpa.anomaly.findings import Finding
from hpa.arrays import Composite, Int64
from hpa.images import composite
from hpa.report.anomalies import ClassCounts, DetectorPart, anomalies_report
from hpa.report.gallery import colours, encode
from hpa.report.page import Tile
from hpa.stages.anomalies.anomaly_items import Items
from hpa.stages.anomalies.anomaly_reasons import TOGETHER, describe_detector, reason, worst_rows
from hpa.stages.anomalies.detect_anomalies_config import AnyDetector, DetectAnomaliesConfig

_DARK = 50
"""A picture whose brightest parts stay below this shows nothing on a screen."""


def write(
    path: Path,
    config: DetectAnomaliesConfig,
    items: Items,
    detectors: Sequence[AnyDetector],
    findings: Sequence[Finding],
    planted: list[dict[str, Any]],
) -> None:
    """Write the page and its figures.

    Args:
        path: of the HTML file.
        config: of the stage.
        items: what was judged.
        detectors: that judged.
        findings: the joined one, then that of each detector.
        planted: as `score_findings` gives it; empty where nothing is known.

    Raises:
        OSError: a file cannot be written.
    """
    parts = []
    places = {name: row for row, name in enumerate(items.names())}
    for detector, finding in zip([None, *detectors], findings, strict=True):
        title, looks_for = TOGETHER if detector is None else describe_detector(detector)
        tiles = []
        for row in worst_rows(finding, config.examples).tolist():
            original = None
            if isinstance(detector, DuplicateConfig) and finding.flags[row] and finding.details is not None:
                original = places[str(finding.details["duplicates_of"].iloc[row])]
            tiles.append(_tile(items, finding, row, reason(detector, finding, row), original))
        parts.append(DetectorPart(finding.name, title, looks_for, finding.scores, finding.flags, tiles))
    per_class = None
    if items.targets is not None:
        per_class = ClassCounts(items.classes.names, *class_counts(items, findings))
    anomalies_report(
        path,
        title=f"Anomalies: {config.data.out.name}",
        subtitle=f"{config.data.source.kind}, {len(items.keys):,} {config.level}s",
        noun=config.level,
        detectors=parts,
        per_class=per_class,
        planted=pd.DataFrame(planted) if planted else None,
        lead=f"{colours(items.pixels.channels)} Brightness is as in the files.",
        figures=path.parent / "figures",
    )


def class_counts(
    items: Items, findings: Sequence[Finding]
) -> tuple[Int64[np.ndarray, " classes"], Int64[np.ndarray, "classes findings"]]:
    """Members of every class, and how many of them each finding flags."""
    assert items.targets is not None
    has = items.targets >= 0.5
    flags = np.stack([found.flags for found in findings], axis=1)
    return has.sum(axis=0).astype(np.int64), has.astype(np.int64).T @ flags.astype(np.int64)


def label_names(items: Items, row: int) -> list[str]:
    """Names of a row's classes; none where there are no labels."""
    if items.targets is None:
        return []
    return [name for name, value in zip(items.classes.names, items.targets[row], strict=True) if value >= 0.5]


def _tile(items: Items, finding: Finding, row: int, why: str, original: int | None) -> Tile:
    key = items.keys.iloc[row]
    name = str(key["image_id"]) + (f", cell {key['cell_id']}" if len(items.key) > 1 else "")
    labels = ", ".join(label_names(items, row))
    flagged = bool(finding.flags[row])
    picture = _picture(items, row)
    lines = [("", why), *([("labelled", labels)] if labels else [])]
    second, factor = None, _brightening(picture)
    if original is not None:
        second = encode(_picture(items, original))
    elif factor > 1:
        second = encode(np.minimum(picture * factor, 255).astype(np.uint8))
        lines.append(("right:", f"{factor:.0f} times as bright"))
    return Tile(encode(picture), name, lines, "flagged" if flagged else "", "wrong" if flagged else "", second)


def _picture(items: Items, row: int) -> Composite:
    pixels, _ = items.pixels.read(row, row + 1)
    return composite(pixels[0], items.pixels.channels)


def _brightening(picture: Composite) -> float:
    """The factor that makes a dark picture's brightest parts (1 value in 500) bright; 1 where it is not dark."""
    top = max(float(np.quantile(picture, 0.998)), 1.0)
    return 200 / top if top < _DARK else 1.0
