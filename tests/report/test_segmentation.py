import numpy as np
import pandas as pd

from hpa.report import SegmentedExample, segmentation_report


def cell_table(**changes):
    table = pd.DataFrame(
        {
            "image_id": ["a"] * 3 + ["b"],
            "cell_id": [1, 2, 3, 1],
            "area": [900, 1000, 90, 1100],
            "nucleus_area": [200, 250, 0, 300],
            "touches_border": [False, True, False, False],
            "is_small": [False, False, True, False],
            "is_without_nucleus": [False, False, True, False],
        }
    )
    return table.assign(**changes)


def images(counts):
    names = [chr(ord("a") + number) for number in range(len(counts))]
    return pd.DataFrame({"image_id": names, "height": 40, "width": 60, "cells": counts})


def example():
    cells = np.zeros((40, 60), np.uint16)
    cells[5:20, 5:20] = 1
    return SegmentedExample("a<b>", np.zeros((40, 60, 3), np.uint8), cells, cells, {1: ["small", "blurred"]})


def test_the_page_tells_what_was_found_and_what_is_unusual(tmp_path):
    path = segmentation_report(
        tmp_path / "page.html", cell_table(), images([3, 1, 0]), [example()], {"Segmenter": "watershed"}, ["Look out."]
    )
    text = path.read_text()
    for words in (
        "4 cells in 3 images",
        "look at these first",
        "much smaller than the others",
        "1: small, blurred",
        "watershed",
        "Look out.",
        "a&lt;b&gt;",
    ):
        assert words in text, words
    assert (tmp_path / "figures" / "sizes.png").is_file()


def test_a_set_without_any_cell_still_has_a_page(tmp_path):
    path = segmentation_report(tmp_path / "page.html", cell_table().iloc[:0], images([0, 0]), [], {})
    text = path.read_text()
    assert "No cells were found." in text
    assert "0 cells in 2 images" in text
