"""From matched detections to figures: average precision and counts per class, and mAP by image size and by place."""

import math

import numpy as np
import pandas as pd

from hpa.arrays import Bool

COUNTS = ("truth", "detections", "true_positives", "false_positives", "missed")
"""Columns that count: objects, detections scored, and how they met."""


def average_precision_of_ranking(hits: Bool[np.ndarray, " detections"], objects: int) -> float | None:
    """Area under the envelope of precision over recall, every recall step counted (VOC 2010 and Open Images).

    Args:
        hits: whether each detection of one class is a true positive, best first.
        objects: how many there are to find.

    Returns:
        In [0, 1]; None where there is nothing to find.

    >>> average_precision_of_ranking(np.array([True, False, True]), 4)
    0.41666666666666663
    """
    if not objects:
        return None
    places = np.flatnonzero(hits) + 1
    precision = np.arange(1, len(places) + 1) / places
    # Only true positives raise recall, each by one object; the best precision at this recall or a higher one counts.
    envelope = np.maximum.accumulate(precision[::-1])
    return float(envelope.sum() / objects)


def mean_average_precision(values: pd.Series) -> float:
    """Mean over the classes that have truth; NaN where none has."""
    known = values.dropna()
    return float(known.mean()) if len(known) else math.nan


def per_class(objects: pd.DataFrame, detections: pd.DataFrame, classes: int) -> pd.DataFrame:
    """Counts and average precision of every class.

    Args:
        objects: class_number.
        detections: class_number, is_matched; those of one class from the best to the worst.
        classes: how many there are.

    Returns:
        Index class_number, columns COUNTS and ap (NaN for a class without truth).
    """
    of_class = detections["class_number"].to_numpy(np.int64)
    order = np.argsort(of_class, kind="stable")
    hits = detections["is_matched"].to_numpy(bool)[order]
    begin = np.searchsorted(of_class[order], np.arange(classes + 1))
    truth = np.bincount(objects["class_number"].to_numpy(np.int64), minlength=classes)
    ranked = [hits[begin[number] : begin[number + 1]] for number in range(classes)]
    matched = np.array([ranks.sum() for ranks in ranked], np.int64)
    scored = np.diff(begin)
    return pd.DataFrame(
        {
            "truth": truth,
            "detections": scored,
            "true_positives": matched,
            "false_positives": scored - matched,
            "missed": truth - matched,
            "ap": [average_precision_of_ranking(ranks, int(truth[number])) for number, ranks in enumerate(ranked)],
        },
        index=pd.RangeIndex(classes, name="class_number"),
    ).astype({"ap": np.float64})


def by_size(images: pd.DataFrame, objects: pd.DataFrame, detections: pd.DataFrame, classes: int) -> pd.DataFrame:
    """The score of the images of each size by themselves, smallest first.

    Args:
        images: image_id, height, width.
        objects: image_id, class_number.
        detections: image_id, class_number, is_matched; those of one class from the best to the worst.
        classes: how many there are.

    Returns:
        Columns height, width, images, COUNTS, recall, precision, mAP (over the classes with truth in these images).
    """
    rows = []
    for size, group in images.groupby(["height", "width"]):
        parts = [table[table["image_id"].isin(group["image_id"])] for table in (objects, detections)]
        row = {"height": int(size[0]), "width": int(size[1]), "images": len(group)}
        rows.append(row | _totals(parts[0], parts[1], classes))
    return pd.DataFrame(rows)


def by_border(objects: pd.DataFrame, detections: pd.DataFrame, classes: int) -> pd.DataFrame:
    """The score of objects that touch the image's edge and of those inside it.

    A true positive belongs where its object lies, every other detection where its own mask lies; so the two rows add up
    to the whole, no detection is a false positive for having found an object of the other kind, and mAP has its usual
    meaning within each (the rule of COCO's ranges of area, where the other kind's objects are ignored).

    Args:
        objects: class_number, touches_border; every row of the truth in its order.
        detections: class_number, is_matched, touches_border, truth_row (of the object found); per class best first.
        classes: how many there are.

    Returns:
        Columns place ("border", "inside"), COUNTS, recall, precision, mAP.
    """
    place = detections["touches_border"].to_numpy(bool).copy()
    matched = detections["is_matched"].to_numpy(bool)
    place[matched] = objects["touches_border"].to_numpy(bool)[detections["truth_row"].to_numpy()[matched]]
    return pd.DataFrame(
        [
            {"place": name} | _totals(objects[objects["touches_border"] == side], detections[place == side], classes)
            for name, side in (("border", True), ("inside", False))
        ]
    )


def _totals(objects: pd.DataFrame, detections: pd.DataFrame, classes: int) -> dict[str, object]:
    table = per_class(objects, detections, classes)
    total = {name: int(table[name].sum()) for name in COUNTS}
    return {
        **total,
        "recall": total["true_positives"] / total["truth"] if total["truth"] else math.nan,
        "precision": total["true_positives"] / total["detections"] if total["detections"] else math.nan,
        "mAP": mean_average_precision(table["ap"]),
    }
