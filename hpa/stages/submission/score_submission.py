"""`score_submission`: the competition's metric of a submission, against a truth written in the same form."""

import math
from pathlib import Path
from typing import Any

import pandas as pd

from hpa.artifacts import write_json
from hpa.evaluation import CompetitionScore, Verified, bootstrap, counts_from_texts, score
from hpa.labels import HPA2021, ClassList
from hpa.submission import read_submission
from hpa.tables import json_value

LEFT_OUT = {
    "outside": "on images outside the truth",
    "empty": "with an empty mask",
    "unverified": "of classes that the image has not",
}
HEADS = {
    "class_number": "#",
    "true_positives": "TP",
    "false_positives": "FP",
    "ap": "AP",
    "true positives": "TP",
    "false positives": "FP",
}


def run(
    truth: Path,
    prediction: Path,
    verified: Verified = "all",
    json: Path | None = None,
    rounds: int = 1000,
    classes: ClassList = HPA2021,
) -> tuple[CompetitionScore, tuple[float, float] | None]:
    """Score a submission.

    Args:
        truth: CSV in the submission's form; its confidences do not matter.
        prediction: CSV of the submission.
        verified: which false positives count: `all`, or `gt` for those of classes that the image has.
        json: takes `summary` as a file.
        rounds: resamplings of the images for the interval; 0 for none.
        classes: the class list.

    Returns:
        The score, and the 95 % interval of its mAP over images, None without rounds.

    Raises:
        ValueError: a file is not in the submission's form, or a mask does not decode; names the row.
        OSError: a file cannot be read or written.
    """
    images, objects = read_objects(truth)
    _, detections = read_objects(prediction)
    found = score(objects, detections, classes, verified, images[["image_id", "height", "width"]].drop_duplicates())
    interval = bootstrap(found, rounds=rounds) if rounds else None
    if json is not None:
        write_json(json, summary(found, interval))
    return found, interval


def read_objects(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Images and objects of a CSV in the submission's form, in file order.

    Returns:
        image_id, height, width of every row; and image_id, height, width, class_number, confidence and `counts`, COCO's
        compressed run lengths (bytes), checked.

    Raises:
        ValueError: malformed; says where, and how to list every problem.
    """
    submission = read_submission(path)
    try:
        return submission.images, counts_from_texts(submission.detections)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; `hpa check-submission {path}` lists every problem") from None


def summary(found: CompetitionScore, interval: tuple[float, float] | None) -> dict[str, Any]:
    """What `--json` writes: mAP, AP by class number, counts, and the interval."""
    content = found.to_json()
    if interval is not None:
        content["interval"] = {"level": 0.95, "low": json_value(interval[0]), "high": json_value(interval[1])}
    return content


def as_text(found: CompetitionScore, interval: tuple[float, float] | None) -> str:
    """The score as a person reads it."""
    heading = f"mAP {_figure(found.map)}"
    if interval is not None:
        heading += f" (95 % of resampled images: {_figure(interval[0])} to {_figure(interval[1])})"
    known = int(found.counts["ap"].notna().sum())
    detail = (
        f"{len(found.images)} images, {known} of {len(found.classes)} classes with truth, verified: {found.verified}"
    )
    left_out = [f"{count} {LEFT_OUT[why]}" for why, count in found.left_out.items() if count]
    if left_out:
        detail += f"\nNot scored: {', '.join(left_out)}"
    tables = {
        "Classes": found.counts.reset_index(),
        "By image size": found.by_size,
        "Objects at the image's edge and inside": found.by_border,
    }
    return "\n\n".join(
        [f"{heading}\n{detail}", *(f"{title}\n{_table(frame)}" for title, frame in tables.items() if len(frame))]
    )


def _table(frame: pd.DataFrame) -> str:
    shown = frame.rename(columns={name: HEADS.get(str(name), str(name)) for name in frame.columns})
    return str(shown.to_string(index=False, float_format=_figure, na_rep="–"))


def _figure(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"
