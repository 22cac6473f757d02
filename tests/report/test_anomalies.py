import numpy as np
import pandas as pd
import pytest

from hpa.report.anomalies import ClassCounts, DetectorPart, anomalies_report
from hpa.report.page import Tile

TILE = Tile(b"picture", "image <1>", lines=[("", "6 sigmas")], mark="flagged", state="wrong")


def part(name: str, flags, scores=(0.1, 0.2, np.nan, 0.9), worst=(TILE,)) -> DetectorPart:
    return DetectorPart(name, name, f"What {name} means.", np.array(scores, np.float32), np.array(flags), worst)


@pytest.fixture
def detectors() -> list[DetectorPart]:
    return [part("together", [False, True, False, True]), part("blur", [False, False, False, True])]


def write(tmp_path, detectors, **more) -> str:
    path = anomalies_report(
        tmp_path / "page.html", title="T", subtitle="S", noun="image", detectors=detectors, figures=tmp_path, **more
    )
    return path.read_text()


def test_counts_meanings_and_pictures(tmp_path, detectors) -> None:
    page = write(tmp_path, detectors)
    assert "together (2 images flagged)" in page
    assert "blur (1 image flagged)" in page
    assert "What blur means." in page
    assert "50 % of all" in page
    assert "image &lt;1&gt;" in page
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")
    for absent in ("What was planted", "Which classes are hit"):
        assert absent not in page


def test_classes_and_planted_defects(tmp_path, detectors) -> None:
    rows = [
        {"finding": name, "defect": defect, "planted": 4, "auroc": auroc, "ap": 0.5, "recall": 0.75, "flagged": 0.25}
        for name, auroc in (("together", 0.987), ("blur", 0.5))
        for defect in ("any image defect", "out_of_focus")
    ]
    counts = ClassCounts(["a", "b"], np.array([3, 0]), np.array([[1, 0], [0, 0]]))
    page = write(tmp_path, detectors, planted=pd.DataFrame(rows), per_class=counts)
    assert "0.987" in page
    assert "out of focus" in page
    assert "25 %" in page
    for name in ("planted", "per_class"):
        assert (tmp_path / f"{name}.png").is_file()


def test_nothing_judged_flagged_or_shown(tmp_path) -> None:
    nothing = [
        part("together", [False] * 4, [np.nan] * 4, worst=()),
        part("constant", [False] * 4, [0.5] * 4, worst=()),
    ]
    page = write(tmp_path, nothing)
    assert "No picture is shown" in page
    assert "nothing" in page
