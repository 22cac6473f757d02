"""What the page of points is given, as JSON."""

import base64
import json

import numpy as np
import pandas as pd
import pytest

from hpa.report.scatter_items import Column, Panel, ScatterItems, plain_items, plain_panel
from hpa.report.thumbnails import SheetFormat, Thumbnails

KEYS = pd.DataFrame({"image_id": ["a", "b", "c"]})
LABELS = np.array([[1, 0], [1, 1], [0, 0]], bool)


def decode(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype).tolist()


def test_round_trip():
    columns = [
        Column("fold", "category", ["2", "10", "2"]),
        Column("blur score", "number", np.array([0.5, np.nan, 2], np.float32), "blur"),
        Column("blur flagged", "flag", np.array([False, False, True]), "blur"),
    ]
    thumbnails = Thumbnails(SheetFormat(32, 50, 2), [b"x"], np.array([2, 0, 1]))
    details = {"blur": {"sigma": ["", "", "4.1"]}}
    items = ScatterItems(KEYS.assign(cell_id=[1, 2, 70_000]), ["x", "y"], LABELS, columns, details, thumbnails)
    plain = json.loads(json.dumps(plain_items(items), allow_nan=False))
    assert plain["ids"] == ["a", "b", "c"]
    assert decode(plain["cells"], "<i4") == [1, 2, 70_000]
    assert decode(plain["labels"], "u1") == [1, 1, 0, 0, 1, 0]  # class by class
    fold, score, flag = plain["columns"]
    assert [fold["names"][code] for code in decode(fold["values"], "<i4")] == ["2", "10", "2"]
    assert decode(score["values"], "<f4")[::2] == [0.5, 2]
    assert np.isnan(decode(score["values"], "<f4")[1])
    assert decode(flag["values"], "u1") == [0, 0, 1]
    assert plain["details"] == [{"about": "blur", "name": "sigma", "texts": {"2": "4.1"}}]
    assert plain["thumbnails"]["columns"] == 2
    assert decode(plain["thumbnails"]["places"], "<i4") == [2, 0, 1]


def test_without_labels_cells_or_pictures():
    plain = plain_items(ScatterItems(KEYS, ["x", "y"], None))
    assert (plain["labels"], plain["cells"], plain["thumbnails"], plain["columns"]) == (None, None, None, [])


def test_panels():
    plain = plain_panel(Panel("map", np.array([[1, 2], [3, 4]], np.float64), [("a", "1")], "note"), 2)
    assert decode(plain["places"], "<f4") == [1, 2, 3, 4]
    assert plain["facts"] == [["a", "1"]]
    with pytest.raises(ValueError, match="map: expected 3 places"):
        plain_panel(Panel("map", np.zeros((2, 2))), 3)
    with pytest.raises(ValueError, match="map: expected finite"):
        plain_panel(Panel("map", np.array([[0, np.nan]])), 1)


def test_lengths_and_names_are_checked():
    with pytest.raises(ValueError, match=r"expected 3 values.*'column x': 2"):
        ScatterItems(KEYS, ["x"], None, [Column("x", "category", ["a", "b"])])
    with pytest.raises(ValueError, match="labels"):
        ScatterItems(KEYS, ["x", "y"], LABELS[:2])
    with pytest.raises(ValueError, match=r"\['class', 'x'\] repeat"):
        same = Column("x", "category", ["a", "b", "c"])
        ScatterItems(KEYS, ["x"], None, [same, same, Column("class", "category", ["a", "b", "c"])])
