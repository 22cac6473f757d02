"""The score of Kaggle's "HPA - Single Cell Classification": mAP over the classes, of masks at IoU 0.6.

The rules are those of the Open Images instance segmentation evaluator (TensorFlow models, `research/object_detection/
utils/per_image_evaluation.py` and `metrics.py`), with an order for equal confidences that does not depend on a sort.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from hpa.evaluation.detection_inputs import check_images, check_predictions, check_truth, find_images
from hpa.evaluation.detection_matching import claim, overlap
from hpa.evaluation.detection_summary import COUNTS, by_border, by_size, mean_average_precision, per_class
from hpa.labels import ClassList

Verified = Literal["all", "gt"]


@dataclass(frozen=True, eq=False)
class CompetitionScore:
    """What `score` found. NaN (None in JSON) stands for what is undefined.

    Attributes:
        classes: the class list.
        verified: which detections counted, as given to `score`.
        map: mean of the average precision over the classes that have truth; NaN where no class has.
        average_precision: by class number, in [0, 1]; None for a class without truth, 0 for one that nobody detected.
        counts: index class_number; class (name), truth (objects), detections (scored), true_positives,
            false_positives, missed, ap.
        by_size: height, width, images, counts, recall, precision, mAP of the images of each size by themselves.
        by_border: the same for objects that touch the image's edge and those inside (place "border", "inside"), as
            `detection_summary.by_border` says.
        images: image_id, height, width of every image scored, by ID.
        objects: row (position in the truth), image_id, class_number, touches_border, is_found.
        detections: row (position in the predictions), image_id, class_number, confidence, iou (with the object of its
            image and class that it overlaps most; NaN where there is none), is_matched, truth_row (of the object it
            found, or -1), touches_border; by class, best first.
        left_out: detections that are not scored: "outside" on images that the truth lacks, "empty" masks, "unverified"
            classes.
    """

    classes: ClassList
    verified: Verified
    map: float
    average_precision: dict[int, float | None]
    counts: pd.DataFrame
    by_size: pd.DataFrame
    by_border: pd.DataFrame
    images: pd.DataFrame
    objects: pd.DataFrame
    detections: pd.DataFrame
    left_out: dict[str, int]

    def to_json(self) -> dict[str, object]:
        """The figures, without the single detections, ready for `json.dump`: mAP, AP and counts by class, tables."""
        return {
            "mAP": _plain(self.map),
            "AP": {str(number): value for number, value in self.average_precision.items()},
            "counts": {
                str(row["class_number"]): {name: row[name] for name in ("class", *COUNTS)}
                for row in self.counts.reset_index().to_dict("records")
            },
            "by_size": _records(self.by_size),
            "by_border": _records(self.by_border),
            "images": len(self.images),
            "verified": self.verified,
            "left_out": self.left_out,
        }


def score(
    truth: pd.DataFrame,
    predictions: pd.DataFrame,
    classes: ClassList,
    verified: Verified = "all",
    images: pd.DataFrame | None = None,
) -> CompetitionScore:
    """Score detections against the objects of the truth, by the competition's rules.

    Per class, the detections of all images are ranked by confidence. Within an image each looks, in falling confidence,
    only at the object of its class that it overlaps most (the first of equals); with IoU 0.6 or more and that object
    still free, it is a true positive, else a false one. Average precision is the area under the envelope of precision
    over recall. Among equal confidences, the later row of an image matches first; images rank in falling order of their
    IDs, and within an image the earlier row ranks first. Empty masks are dropped, and so are detections on images
    outside the truth; an image without detections only misses its objects. Any finite confidence is allowed.

    Args:
        truth: one row per object: image_id (str), height, width (pixels), class_number, counts (bytes: COCO's
            compressed run lengths). A cell of several classes is several rows.
        predictions: one row per detection, the same and confidence.
        classes: gives the number of classes and their names.
        verified: "all" counts every false positive; "gt" drops detections of classes that no object of the image has,
            as Open Images does when only those were verified.
        images: image_id, height, width of every annotated image, with those that have no object: detections there are
            false positives. None for the images of `truth` alone.

    The run lengths go to compiled code as they are: those of a file must have passed `hpa.masks.to_counts` (as
    `counts_from_texts` makes sure), since malformed ones can crash the process.

    Raises:
        ValueError: columns are missing or of wrong type, a class is outside the list, a confidence is not finite, a
            size contradicts another of the same image, an object of the truth has an empty mask, or no image is given.

    >>> square = {"image_id": ["a"], "height": [2], "width": [2], "class_number": [1], "counts": [b"13"]}
    >>> found = score(pd.DataFrame(square), pd.DataFrame(square | {"confidence": [0.5]}), ClassList(names=("x", "y")))
    >>> found.map, found.average_precision
    (1.0, {0: None, 1: 1.0})
    """
    check_truth(truth, classes)
    check_predictions(predictions, classes)
    images = check_images(truth, images)
    objects = _with_images("truth", truth, images)
    detections = _with_images("predictions", predictions, images)
    kept = detections["image"].to_numpy() >= 0
    left_out = {"outside": int((~kept).sum())}
    detections = detections[kept]

    overlaps = overlap(images, objects, detections)
    if not overlaps.object_area.all():
        row = int(np.flatnonzero(overlaps.object_area == 0)[0])
        raise ValueError(
            f"expected every object of the truth to have pixels, but row {row} (image {truth['image_id'].iloc[row]!r}) "
            "has an empty mask; leave such rows out"
        )
    pixels = overlaps.area > 0
    present = pixels & (~np.isnan(overlaps.iou) if verified == "gt" else True)
    left_out |= {"empty": int((~pixels).sum()), "unverified": int((pixels & ~present).sum())}
    matched = claim(overlaps, detections["confidence"].to_numpy(np.float64)) & present

    objects = objects.assign(
        touches_border=overlaps.object_touches_border,
        is_found=np.isin(np.arange(len(objects)), overlaps.nearest[matched]),
    )
    detections = detections.assign(
        iou=overlaps.iou,
        is_matched=matched,
        truth_row=np.where(matched, overlaps.nearest, -1),
        touches_border=overlaps.touches_border,
    )
    detections = _ranked(detections[present])
    return _summary(classes, verified, images, objects, detections, left_out)


def _with_images(name: str, table: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """The columns that scoring reads, with the image's position in `images` and the row's own position."""
    columns = [column for column in ("image_id", "class_number", "counts", "confidence") if column in table.columns]
    positions = find_images(name, table, images)
    return table[columns].reset_index(drop=True).assign(row=np.arange(len(table)), image=positions)


def _ranked(detections: pd.DataFrame) -> pd.DataFrame:
    """By class, then from the best to the worst."""
    keys = (
        detections["row"].to_numpy(),
        -detections["image"].to_numpy(),
        -detections["confidence"].to_numpy(np.float64),
        detections["class_number"].to_numpy(np.int64),
    )
    return detections.iloc[np.lexsort(keys)].reset_index(drop=True)


def _summary(
    classes: ClassList,
    verified: Verified,
    images: pd.DataFrame,
    objects: pd.DataFrame,
    detections: pd.DataFrame,
    left_out: dict[str, int],
) -> CompetitionScore:
    counts = per_class(objects, detections, len(classes))
    counts.insert(0, "class", list(classes.names))
    return CompetitionScore(
        classes=classes,
        verified=verified,
        map=mean_average_precision(counts["ap"]),
        average_precision={int(number): _plain(value) for number, value in counts["ap"].items()},
        counts=counts,
        by_size=by_size(images, objects, detections, len(classes)),
        by_border=by_border(objects, detections, len(classes)),
        images=images,
        objects=objects[["row", "image_id", "class_number", "touches_border", "is_found"]],
        detections=detections[
            ["row", "image_id", "class_number", "confidence", "iou", "is_matched", "truth_row", "touches_border"]
        ],
        left_out=left_out,
    )


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _records(table: pd.DataFrame) -> list[dict[str, object]]:
    return [
        {name: _plain(value) if isinstance(value, float) else value for name, value in row.items()}
        for row in table.to_dict("records")
    ]
