import numpy as np
import pandas as pd

from hpa.report.ensemble import ensemble_report


def test_a_page_of_any_names(tmp_path):
    names = ["<first>", "$second$", "mean"]
    table = pd.DataFrame({"name": names, "kind": ["member", "member", "ensemble"], "items": 50})
    for figure in ("accuracy", "macro_auc"):
        table[figure] = [0.7, 0.8, 0.9]
        table[f"{figure}_low"], table[f"{figure}_high"] = table[figure] - 0.1, table[figure] + 0.05
    table["log_loss"] = [0.5, np.nan, 0.4]
    rows = pd.DataFrame(
        {
            "name": names[:2],
            "statistic": "accuracy",
            "difference": [0.2, -0.1],
            "low": [0.1, -0.2],
            "high": [0.3, -0.05],
            "probability": [0.99, 0.01],
        }
    )
    overlap = pd.DataFrame(
        [(names[0], names[1], -0.25, 0.1, 0.2)], columns=["first", "second", "correlation", "both_wrong", "expected"]
    )
    told = {
        "title": "Ensemble",
        "chosen": "mean",
        "table": table,
        "added": rows,
        "gains": rows,
        "overlap": overlap,
        "judged": ("accuracy", "macro_auc"),
        "oracle": 0.95,
        "weights": {"weights": pd.DataFrame([[0.25, 0.75], [0.25, 0.75]], index=["a", "b"], columns=names[:2])},
        "classes": ["a", "b"],
        "is_applied": False,
        "left_out": 3,
        "summary": {"Images": "50"},
    }
    page = ensemble_report(tmp_path / "report.html", **told).read_text()
    assert "&lt;first&gt;" in page
    assert "<first>" not in page
    assert "The ensemble is better without $second$." in page
    assert "3 images left out" in page
    assert "Only 50 images" in page
    assert "all classes" in page, "equal weights of all classes are one row"
    assert "−0.25" in page or "-0.25" in page
    assert "95 %" in page
    assert (tmp_path / "figures" / "intervals_accuracy.png").is_file()
    same = rows.assign(difference=[0.2, 0.0], low=[0.1, 0.0], high=[0.3, 0.0])
    page = ensemble_report(tmp_path / "same.html", **told | {"added": same}).read_text()
    assert "better without" not in page, "nothing is lost by a member that changes nothing"


def test_a_single_member_has_nothing_to_compare(tmp_path):
    table = pd.DataFrame({"name": ["one", "mean"], "kind": ["member", "ensemble"], "items": 500, "accuracy": 0.5})
    table["accuracy_low"] = table["accuracy_high"] = 0.5
    page = ensemble_report(
        tmp_path / "report.html",
        title="Ensemble",
        chosen="mean",
        table=table,
        added=pd.DataFrame(columns=["name"]),
        gains=pd.DataFrame(columns=["name"]),
        overlap=pd.DataFrame(columns=["first"]),
        judged=("accuracy",),
        oracle=0.5,
        weights={},
        classes=["a", "b"],
        is_applied=True,
    ).read_text()
    assert "What each member adds" not in page
    assert "fitted on other images" in page
