"""Which detection finds which object: mask IoU of run lengths, then one object per detection and one detection each."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from pycocotools import mask as coco

from hpa.arrays import Bool, Float64, Int64

IOU_THRESHOLD = 0.6
"""Least IoU of a true positive (Kaggle "HPA - Single Cell Classification", evaluation page)."""


@dataclass(frozen=True, eq=False)
class Overlaps:
    """What the masks alone say.

    Attributes:
        area: of each detection's mask, pixels.
        touches_border: whether each detection's mask reaches the image's edge.
        object_area: of each object's mask, pixels.
        object_touches_border: whether each object's mask reaches the image's edge.
        nearest: for each detection, the row of the object of its image and class that it overlaps most, the first of
            equals; -1 where there is none of that class.
        iou: with that object, in [0, 1]; NaN where there is none.
    """

    area: Int64[np.ndarray, " detections"]
    touches_border: Bool[np.ndarray, " detections"]
    object_area: Int64[np.ndarray, " objects"]
    object_touches_border: Bool[np.ndarray, " objects"]
    nearest: Int64[np.ndarray, " detections"]
    iou: Float64[np.ndarray, " detections"]


def overlap(images: pd.DataFrame, objects: pd.DataFrame, detections: pd.DataFrame) -> Overlaps:
    """Compare the masks of every image; a mask that repeats for several classes is compared once.

    Args:
        images: height, width.
        objects: image (position in `images`), class_number, counts (COCO's compressed run lengths, well formed).
        detections: the same.
    """
    result = Overlaps(
        area=np.zeros(len(detections), np.int64),
        touches_border=np.zeros(len(detections), bool),
        object_area=np.zeros(len(objects), np.int64),
        object_touches_border=np.zeros(len(objects), bool),
        nearest=np.full(len(detections), -1),
        iou=np.full(len(detections), np.nan),
    )
    object_classes = objects["class_number"].to_numpy(np.int64)
    detection_classes = detections["class_number"].to_numpy(np.int64)
    object_masks, detection_masks = _Masks(objects), _Masks(detections)
    object_rows, detection_rows = _rows_of(objects, len(images)), _rows_of(detections, len(images))
    for image, size in enumerate(zip(images["height"].tolist(), images["width"].tolist(), strict=True)):
        here, there = detection_rows[image], object_rows[image]
        found, found_inverse = detection_masks.distinct(here, size)
        true, true_inverse = object_masks.distinct(there, size)
        result.area[here], result.touches_border[here] = _measure(found, found_inverse, size)
        result.object_area[there], result.object_touches_border[there] = _measure(true, true_inverse, size)
        if not (len(here) and len(there)):
            continue
        ious = np.asarray(coco.iou(found, true, [0] * len(true)))[found_inverse][:, true_inverse]
        ious[detection_classes[here][:, None] != object_classes[there]] = -1
        best = ious.argmax(axis=1)
        best_iou = ious[np.arange(len(here)), best]
        result.nearest[here] = np.where(best_iou >= 0, there[best], -1)
        result.iou[here] = np.where(best_iou >= 0, best_iou, np.nan)
    return result


def claim(
    overlaps: Overlaps, confidence: Float64[np.ndarray, " detections"], threshold: float = IOU_THRESHOLD
) -> Bool[np.ndarray, " detections"]:
    """Which detections are true positives.

    In falling confidence, the later of equals first, each looks only at the object it overlaps most, and claims it when
    their IoU reaches the threshold and nobody did before.
    """
    matched = np.zeros(len(confidence), bool)
    candidates = np.flatnonzero(overlaps.iou >= threshold)
    order = candidates[np.argsort(confidence[candidates], kind="stable")][::-1]
    _, first = np.unique(overlaps.nearest[order], return_index=True)
    matched[order[first]] = True
    return matched


class _Masks:
    """The masks of a table, equal ones with equal numbers."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.codes, self.counts = pd.factorize(table["counts"].to_numpy(object))

    def distinct(
        self, rows: Int64[np.ndarray, " rows"], size: tuple[int, int]
    ) -> tuple[list[dict[str, object]], Int64[np.ndarray, " rows"]]:
        """The different masks among some rows of one image, in pycocotools' form, and which of them each row has."""
        codes, inverse = np.unique(self.codes[rows], return_inverse=True)
        return [{"size": list(size), "counts": self.counts[code]} for code in codes], inverse


def _rows_of(table: pd.DataFrame, images: int) -> list[Int64[np.ndarray, " rows"]]:
    """The rows of each image, in their order."""
    image = table["image"].to_numpy(np.int64)
    order = np.argsort(image, kind="stable")
    return np.split(order, np.searchsorted(image[order], np.arange(1, images)))


def _measure(
    masks: list[dict[str, object]], inverse: Int64[np.ndarray, " rows"], size: tuple[int, int]
) -> tuple[Int64[np.ndarray, " rows"], Bool[np.ndarray, " rows"]]:
    """Area, and whether the mask reaches the edge of the image, for every row."""
    if not masks:
        return np.zeros(0, np.int64), np.zeros(0, bool)
    area = np.asarray(coco.area(masks), np.int64)
    left, top, width, height = np.asarray(coco.toBbox(masks)).T
    at_edge = (left <= 0) | (top <= 0) | (left + width >= size[1]) | (top + height >= size[0])
    return area[inverse], (at_edge & (area > 0))[inverse]
