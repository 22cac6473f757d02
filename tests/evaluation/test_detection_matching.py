"""Overlaps of run lengths against boolean masks; claiming objects in falling confidence."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from hpa.evaluation.detection_matching import Overlaps, claim, overlap


def table(images: list[int], classes: list[int], masks: list[np.ndarray]) -> pd.DataFrame:
    counts = [coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"] for mask in masks]
    return pd.DataFrame({"image": images, "class_number": classes, "counts": pd.Series(counts, dtype=object)})


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_overlaps_equal_those_of_boolean_masks(seed: int) -> None:
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, 9, (3, 2))
    images = pd.DataFrame(sizes, columns=["height", "width"])

    def draw(count: int) -> tuple[list[int], list[int], list[np.ndarray]]:
        of = generator.integers(0, 3, count).tolist()
        return of, generator.integers(0, 2, count).tolist(), [generator.random(sizes[image]) < 0.4 for image in of]

    object_images, object_classes, object_masks = draw(int(generator.integers(0, 8)))
    images_of, classes_of, masks = draw(int(generator.integers(0, 8)))
    found = overlap(images, table(object_images, object_classes, object_masks), table(images_of, classes_of, masks))
    assert found.area.tolist() == [mask.sum() for mask in masks]
    assert found.object_area.tolist() == [mask.sum() for mask in object_masks]
    assert found.touches_border.tolist() == [touches(mask) for mask in masks]
    assert found.object_touches_border.tolist() == [touches(mask) for mask in object_masks]
    for row, mask in enumerate(masks):
        ious = {
            other: (mask & object_masks[other]).sum() / max((mask | object_masks[other]).sum(), 1)
            for other in range(len(object_masks))
            if (object_images[other], object_classes[other]) == (images_of[row], classes_of[row])
        }
        if ious:
            assert found.iou[row] == max(ious.values())
            assert found.nearest[row] == next(other for other, value in ious.items() if value == found.iou[row])
        else:
            assert np.isnan(found.iou[row])
            assert found.nearest[row] == -1


def touches(mask: np.ndarray) -> bool:
    inner = mask.copy()
    inner[1:-1, 1:-1] = False
    return bool(inner.any())


def test_equal_masks_are_compared_once(monkeypatch) -> None:
    compared = []
    iou = coco.iou

    def counted(found: list, true: list, crowd: list) -> np.ndarray:
        compared.append((len(found), len(true)))
        return iou(found, true, crowd)

    monkeypatch.setattr("hpa.evaluation.detection_matching.coco.iou", counted)
    mask, other = np.eye(4, dtype=bool), np.ones((4, 4), bool)
    images = pd.DataFrame({"height": [4, 4], "width": [4, 4]})
    objects = table([0, 0, 0], [0, 1, 2], [mask] * 3)
    overlap(images, objects, table([0] * 6 + [1], [0, 1, 2] * 2 + [0], [mask] * 3 + [other] * 3 + [mask]))
    assert compared == [(2, 1)]


def test_falling_confidence_and_the_later_of_equals() -> None:
    def claims(confidence: list[float], nearest: list[int], iou: list[float]) -> list[bool]:
        count = len(confidence)
        overlaps = Overlaps(
            area=np.ones(count, np.int64),
            touches_border=np.zeros(count, bool),
            object_area=np.ones(3, np.int64),
            object_touches_border=np.zeros(3, bool),
            nearest=np.array(nearest, np.int64),
            iou=np.array(iou, np.float64),
        )
        return claim(overlaps, np.array(confidence, np.float64)).tolist()

    assert claims([0.1, 0.9], [0, 0], [0.9, 0.7]) == [False, True]
    assert claims([0.5, 0.5, 0.5], [0, 0, 1], [0.9, 0.7, 0.8]) == [False, True, True]
    assert claims([0.9, 0.1], [2, 2], [0.59, 0.6]) == [False, True]
    assert claims([0.9], [-1], [np.nan]) == [False]
    assert claims([], [], []) == []
