"""Average precision of a ranking, and the score by image size and by place."""

import numpy as np
import pandas as pd
import pytest
from pycocotools import mask as coco
from sklearn.metrics import average_precision_score

from hpa.evaluation import score
from hpa.evaluation.detection_summary import average_precision_of_ranking
from hpa.labels import ClassList

TWO = ClassList(names=("x", "y"))


def test_envelope_is_at_least_the_plain_average_precision() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        hits = generator.random(30) < 0.4
        plain = average_precision_score(hits, -np.arange(30.0)) if hits.any() else 0.0
        found = average_precision_of_ranking(hits, max(int(hits.sum()), 1))
        assert found is not None
        assert plain - 1e-12 <= found <= 1
        if not hits.any():
            assert found == 0


def test_falling_precision_is_the_plain_average_precision() -> None:
    # Without a rise in precision the envelope changes nothing, and scikit-learn's definition is the same.
    hits = np.array([True, True, False, True, False, False, False, True])
    expected = average_precision_score(hits, -np.arange(len(hits)))
    assert average_precision_of_ranking(hits, 4) == pytest.approx(expected)
    assert average_precision_of_ranking(hits, 8) == pytest.approx(expected / 2)
    assert average_precision_of_ranking(hits, 0) is None


def table(rows: list[tuple[str, int, tuple[slice, slice], float]], sizes: dict[str, tuple[int, int]]) -> pd.DataFrame:
    lines = []
    for image, number, place, confidence in rows:
        mask = np.zeros(sizes[image], np.uint8, order="F")
        mask[place] = 1
        lines.append((image, *sizes[image], number, coco.encode(mask)["counts"], confidence))
    return pd.DataFrame(lines, columns=["image_id", "height", "width", "class_number", "counts", "confidence"])


EDGE, INNER, CENTRE = np.s_[0:4, 0:4], np.s_[2:8, 2:8], np.s_[4:6, 4:6]
SIZES = {"small": (10, 10), "large": (12, 20), "large2": (12, 20)}


def test_each_size_is_scored_by_itself() -> None:
    truth = [(name, 0, INNER, 1.0) for name in SIZES]
    predictions = [("small", 0, CENTRE, 0.9), ("small", 0, INNER, 0.8), ("large", 0, INNER, 0.7), ("small", 1, EDGE, 1)]
    found = score(table(truth, SIZES), table(predictions, SIZES), TWO)
    small, large = found.by_size.to_dict("records")
    assert (small["height"], small["width"], small["images"]) == (10, 10, 1)
    assert (large["height"], large["width"], large["images"]) == (12, 20, 2)
    alone = [name for name in SIZES if name != "small"]
    for row, names in ((small, ["small"]), (large, alone)):
        kept = [[line for line in lines if line[0] in names] for lines in (truth, predictions)]
        expected = score(table(kept[0], SIZES), table(kept[1], SIZES), TWO)
        assert row["mAP"] == expected.map
        assert row["false_positives"] == expected.counts["false_positives"].sum()
    assert (small["mAP"], large["mAP"]) == (0.5, 0.5)
    assert (small["recall"], small["precision"]) == (1, pytest.approx(1 / 3))


def test_border_and_inside() -> None:
    truth = [("small", 0, EDGE, 1.0), ("small", 0, INNER, 1.0), ("large", 1, INNER, 1.0)]
    predictions = [
        ("small", 0, EDGE, 0.5),
        ("small", 0, np.s_[0:3, 6:10], 0.9),  # false, at the edge
        ("small", 0, INNER, 0.4),
        ("small", 0, CENTRE, 0.3),  # false, inside
    ]
    found = score(table(truth, SIZES), table(predictions, SIZES), TWO)
    border, inside = found.by_border.to_dict("records")
    assert (border["place"], inside["place"]) == ("border", "inside")
    assert (border["truth"], border["true_positives"], border["false_positives"], border["missed"]) == (1, 1, 1, 0)
    assert (inside["truth"], inside["true_positives"], inside["false_positives"], inside["missed"]) == (2, 1, 1, 1)
    assert border["mAP"] == 0.5
    assert inside["mAP"] == 0.5  # class x: 1, class y: 0


def test_a_detection_counts_where_the_object_that_it_found_lies() -> None:
    sizes = {"a": (10, 10)}
    truth = table([("a", 0, np.s_[1:8, 2:8], 1.0)], sizes)
    found = score(truth, table([("a", 0, np.s_[0:8, 2:8], 0.5)], sizes), TWO)
    assert found.detections["touches_border"].tolist() == [True]
    border, inside = found.by_border.to_dict("records")
    assert (border["detections"], inside["true_positives"]) == (0, 1)
    assert np.isnan(border["mAP"])
    assert np.isnan(border["recall"])
