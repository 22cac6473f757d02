import numpy as np
import pandas as pd

from hpa.report.annotators import annotators_report
from hpa.report.gallery import make_example


def test_a_page_with_and_without_hard_images(tmp_path):
    metrics = {"images": 10, "items": 9, "fleiss_kappa": None, "observed": 0.9, "expected": 0.5, "unanimous": 0.8}
    metrics |= {"hard": 1, "relabelled": 3, "corrected": 2}
    metrics |= {"votes_of_annotators": {"A": 10, "B": 9}, "accuracy_of_annotators": {"A": 1.0, "B": 0.9}}
    settings = {
        "metrics": metrics,
        "pairs": pd.DataFrame([("A", "B", 9, 0.9, np.nan)], columns=["first", "second", "items", "agree", "kappa"]),
        "per_class": pd.DataFrame(
            [("<a>", 9, 5, 4, 0.8), ("b", 9, 5, 4, np.nan)], columns=["class", "votes", "images", "unanimous", "kappa"]
        ),
        "confusions": {"A": np.eye(2), "B": np.array([[0.9, 0.1], [0.0, 1.0]])},
        "classes": ["<a>", "b"],
        "channels": ["red", "green", "blue"],
    }
    example = make_example(
        "tile",
        np.zeros((3, 8, 8), np.uint8),
        ["red", "green", "blue"],
        ["b"],
        ["A: b", "B: <a>"],
        {"<a>": 0.5, "b": 0.5},
    )
    page = annotators_report(
        tmp_path / "one.html", **settings, examples=[(example, 1.0)], summary={"x": "y"}
    ).read_text()
    assert "B: &lt;a&gt;" in page
    assert "<a>" not in page
    assert "disagreement" in page
    assert "2 in the most likely class" in page
    assert "–" in page, "an undefined kappa is a dash"
    assert "No image is hard" in annotators_report(tmp_path / "none.html", **settings).read_text()
