"""The competition's score: the golden answers, a plain reading of the rules as oracle, properties, JSON."""

import base64
import csv
import json
import math
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from hpa.evaluation import CompetitionScore, score
from hpa.labels import HPA2021, ClassList

CASES = ("01_tiny_perfect", "02_tiny_straddle", "04_ties", "06_missing", "09_all_19", "11_medium")
THREE = ClassList(names=("x", "y", "z"))


def golden_tables(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Detections and images of a submission, read by the shortest code that can."""
    csv.field_size_limit(2**30)
    rows, images = [], []
    with path.open(newline="") as stream:
        for line in csv.DictReader(stream):
            image = (line["ID"], int(line["ImageHeight"]), int(line["ImageWidth"]))
            images.append(image)
            parts = line["PredictionString"].split()
            for number, confidence, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
                rows.append((*image, int(number), zlib.decompress(base64.b64decode(text)), float(confidence)))
    columns = ["image_id", "height", "width"]
    return (
        pd.DataFrame(rows, columns=[*columns, "class_number", "counts", "confidence"]),
        pd.DataFrame(images, columns=columns),
    )


@pytest.mark.parametrize("verified", ["all", "gt"])
@pytest.mark.parametrize("case", CASES)
def test_golden_answers(sample_data: Path, case: str, verified: str) -> None:
    folder = sample_data.parent / "metric"
    if not folder.is_dir():
        pytest.skip("the golden answers of the metric are not here")
    truth, images = golden_tables(folder / f"{case}.truth.csv")
    predictions, _ = golden_tables(folder / f"{case}.pred.csv")
    answers = json.loads((folder / f"{case}.json").read_text())["answers"]
    expected = answers.get(f"{verified}_stable", answers[verified])
    found = score(truth, predictions, HPA2021, verified, images)
    assert found.map == pytest.approx(expected["mAP"], abs=1e-9)
    written = found.to_json()
    assert written["AP"] == {
        number: None if value is None else pytest.approx(value, abs=1e-9) for number, value in expected["AP"].items()
    }
    for column, name in (("truth", "num_gt"), ("detections", "num_scored"), ("true_positives", "num_tp")):
        assert found.counts[column].tolist() == list(expected[name].values())


# A plain reading of the rules on boolean masks: loops, no shared code.


def oracle(
    truth: list[tuple], predictions: list[tuple], image_ids: list[str], classes: int, verified: str
) -> tuple[float, dict[int, float | None], set[int]]:
    """mAP, AP by class and the rows matched; truth is (image, class, mask), predictions (image, class, mask, conf)."""
    average: dict[int, float | None] = {}
    all_matched = set()
    for number in range(classes):
        ranking = []
        for place, image_id in enumerate(sorted(image_ids, reverse=True)):
            true = [mask for image, label, mask in truth if (image, label) == (image_id, number)]
            rows = [row for row, found in enumerate(predictions) if found[:2] == (image_id, number)]
            rows = [row for row in rows if predictions[row][2].any()]
            if verified == "gt" and not true:
                rows = []
            taken = [False] * len(true)
            matched = set()
            for row in sorted(rows, key=lambda row: (predictions[row][3], row), reverse=True):
                mask = predictions[row][2]
                ious = [(mask & other).sum() / (mask | other).sum() for other in true]
                best = max(range(len(true)), key=lambda index: (ious[index], -index), default=None)
                if best is not None and ious[best] >= 0.6 and not taken[best]:
                    taken[best] = True
                    matched.add(row)
            all_matched |= matched
            ranking += [(-predictions[row][3], place, row, row in matched) for row in rows]
        objects = sum(label == number for _, label, _ in truth)
        average[number] = voc2010([hit for *_, hit in sorted(ranking)], objects) if objects else None
    known = [value for value in average.values() if value is not None]
    return (sum(known) / len(known) if known else math.nan), average, all_matched


def voc2010(hits: list[bool], objects: int) -> float:
    """Area under the precision envelope as the VOC 2010 kit writes it."""
    recall, precision, found = [0.0], [0.0], 0
    for place, hit in enumerate(hits, 1):
        found += hit
        recall.append(found / objects)
        precision.append(found / place)
    recall.append(1.0)
    precision.append(0.0)
    for place in range(len(precision) - 2, -1, -1):
        precision[place] = max(precision[place], precision[place + 1])
    return sum(
        (recall[place + 1] - recall[place]) * precision[place + 1]
        for place in range(len(recall) - 1)
        if recall[place + 1] != recall[place]
    )


def tables(rows: list[tuple]) -> pd.DataFrame:
    """Rows of (image, class, mask[, confidence]) as `score` takes them."""
    return pd.DataFrame(
        {
            "image_id": pd.Series([row[0] for row in rows], dtype=str),
            "height": [row[2].shape[0] for row in rows],
            "width": [row[2].shape[1] for row in rows],
            "class_number": [row[1] for row in rows],
            "counts": [coco.encode(np.asfortranarray(row[2].astype(np.uint8)))["counts"] for row in rows],
            "confidence": [row[3] if len(row) > 3 else 1.0 for row in rows],
        }
    )


def image_table(sizes: dict[str, tuple[int, int]]) -> pd.DataFrame:
    rows = [(name, *size) for name, size in sizes.items()]
    return pd.DataFrame(rows, columns=["image_id", "height", "width"])


SIZES = {"a": (3, 4), "a10": (2, 5), "a2": (4, 3), "B": (1, 1)}


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[tuple], list[tuple]]:
    """Truth and predictions with many ties, overlaps, empty masks, and images with neither or unknown."""

    def box(name: str, least: int) -> np.ndarray:
        height, width = SIZES.get(name, (3, 3))
        mask = np.zeros((height, width), bool)
        top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        mask[top : top + draw(st.integers(least, 3)), left : left + draw(st.integers(least, 3))] = True
        return mask

    truth = [
        (name, draw(st.integers(0, 2)), box(name, 1)) for name in draw(st.lists(st.sampled_from([*SIZES]), max_size=8))
    ]
    names = draw(st.lists(st.sampled_from([*SIZES, "unknown"]), max_size=14))
    predictions = []
    for name in names:
        near = [mask for image, _, mask in truth if image == name]
        mask = draw(st.sampled_from(near)) if near and draw(st.booleans()) else box(name, 0)
        predictions.append((name, draw(st.integers(0, 2)), mask, draw(st.sampled_from([-1.0, 0.25, 0.5, 2.0]))))
    return truth, predictions


@settings(max_examples=120, deadline=None)
@given(problems(), st.sampled_from(["all", "gt"]))
def test_equals_a_plain_reading_of_the_rules(problem: tuple[list[tuple], list[tuple]], verified: str) -> None:
    truth, predictions = problem
    found = score(tables(truth), tables(predictions), THREE, verified, image_table(SIZES))
    expected, average, matched = oracle(truth, predictions, [*SIZES], 3, verified)
    assert found.map == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert found.average_precision == {
        number: None if value is None else pytest.approx(value, abs=1e-12) for number, value in average.items()
    }
    assert set(found.detections["row"][found.detections["is_matched"]]) == matched
    check_sums(found, len(truth), len(predictions))


def check_sums(found: CompetitionScore, objects: int, predictions: int) -> None:
    """Counts agree with each other and with the tables that they were made from."""
    totals = found.counts[["truth", "detections", "true_positives", "false_positives", "missed"]].sum()
    assert totals["truth"] == objects == len(found.objects)
    assert totals["detections"] == len(found.detections) == predictions - sum(found.left_out.values())
    assert totals["true_positives"] + totals["false_positives"] == totals["detections"]
    assert totals["true_positives"] + totals["missed"] == totals["truth"]
    assert totals["missed"] == (~found.objects["is_found"]).sum()
    for table in (found.by_size, found.by_border):
        assert table[totals.index].sum().tolist() == totals.tolist()


def square(left: int, side: int = 6) -> np.ndarray:
    """A square of 6 × 6 in an image of 10 × 30, five rows down at most."""
    mask = np.zeros((10, 30), bool)
    mask[2 : 2 + side, left : left + side] = True
    return mask


def test_exactly_at_the_threshold_counts() -> None:
    long, part = np.zeros((1, 10), bool), np.zeros((1, 10), bool)
    long[0, :10], part[0, :6] = True, True
    assert score(tables([("a", 0, long)]), tables([("a", 0, part, 0.5)]), THREE).map == 1
    part[0, 5] = False
    found = score(tables([("a", 0, long)]), tables([("a", 0, part, 0.5)]), THREE)
    assert found.map == 0
    assert found.detections["iou"].tolist() == [0.5]


def test_a_duplicate_is_false_and_has_no_second_choice() -> None:
    truth = [("a", 0, square(2)), ("a", 0, square(20))]
    predictions = [("a", 0, square(2), 0.9), ("a", 0, square(3), 0.8), ("a", 0, square(20), 0.7)]
    found = score(tables(truth), tables(predictions), THREE)
    assert found.detections["is_matched"].tolist() == [True, False, True]
    assert found.detections["truth_row"].tolist() == [0, -1, 1]
    assert found.map == pytest.approx((1 + 2 / 3) / 2)


def test_classes_without_truth_leave_the_mean_and_undetected_ones_do_not() -> None:
    truth = [("a", 0, square(2)), ("a", 1, square(2))]
    found = score(tables(truth), tables([("a", 0, square(2), 0.5), ("a", 2, square(2), 0.9)]), THREE)
    assert found.average_precision == {0: 1.0, 1: 0.0, 2: None}
    assert found.map == 0.5
    assert found.counts.loc[2, "false_positives"] == 1
    assert np.isnan(found.detections.set_index("class_number").loc[2, "iou"])


def test_nothing_to_find_or_nothing_found() -> None:
    nothing = tables([])
    found = score(nothing, tables([("a", 0, square(2), 0.5)]), THREE, images=image_table({"a": (10, 30)}))
    assert math.isnan(found.map)
    written = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert written["mAP"] is None
    assert written["AP"] == {"0": None, "1": None, "2": None}
    found = score(tables([("a", 0, square(2))]), nothing, THREE)
    assert (found.map, found.counts.loc[0, "missed"]) == (0, 1)
    assert found.by_size["precision"].isna().all()


def test_detections_left_out_are_counted() -> None:
    truth = [("a", 0, square(2))]
    predictions = [
        ("a", 0, square(2), 0.5),
        ("elsewhere", 0, square(2), 0.5),
        ("a", 0, np.zeros((10, 30), bool), 0.5),
        ("a", 1, np.zeros((10, 30), bool), 0.5),
        ("a", 1, square(2), 0.5),
    ]
    found = score(tables(truth), tables(predictions), THREE, "gt")
    assert found.left_out == {"outside": 1, "empty": 2, "unverified": 1}
    assert found.detections["row"].tolist() == [0]
    assert score(tables(truth), tables(predictions), THREE).left_out == {"outside": 1, "empty": 2, "unverified": 0}


def test_json_holds_the_figures_by_class() -> None:
    found = score(tables([("a", 1, square(2))]), tables([("a", 1, square(2), 0.5)]), THREE)
    written = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert list(written)[:2] == ["mAP", "AP"]
    assert written["mAP"] == 1
    assert written["AP"] == {"0": None, "1": 1.0, "2": None}
    assert written["counts"]["1"] == {
        **{"class": "y", "truth": 1, "detections": 1},
        **{"true_positives": 1, "false_positives": 0, "missed": 0},
    }
    assert written["by_size"][0] | {"mAP": 1.0, "images": 1, "height": 10, "width": 30} == written["by_size"][0]
    assert [row["place"] for row in written["by_border"]] == ["border", "inside"]
    assert (written["images"], written["verified"]) == (1, "all")


def test_an_empty_mask_in_the_truth_is_refused() -> None:
    truth = [("a", 0, square(2)), ("b", 0, np.zeros((10, 30), bool))]
    with pytest.raises(ValueError, match=r"row 1 \(image 'b'\) has an empty mask"):
        score(tables(truth), tables([]), THREE)


def test_tables_keep_their_own_index_and_are_not_changed() -> None:
    truth, predictions = tables([("a", 0, square(2))]), tables([("a", 0, square(2), 1 / place) for place in (1, 2, 3)])
    truth.index, predictions.index = pd.Index([7]), pd.Index([5, 5, 5])
    before = predictions.copy()
    assert score(truth, predictions, THREE).map == 1
    pd.testing.assert_frame_equal(predictions, before)
