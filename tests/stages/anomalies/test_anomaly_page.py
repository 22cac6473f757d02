import cv2
import numpy as np
import pandas as pd

from hpa.anomaly.duplicates import DuplicateConfig
from hpa.anomaly.findings import Finding
from hpa.cache import PixelCache, write_cache
from hpa.labels import ClassList
from hpa.stages.anomalies import anomaly_page
from hpa.stages.anomalies.anomaly_items import Items
from hpa.stages.anomalies.detect_anomalies_config import DetectAnomaliesConfig
from hpa.stages.anomalies.pixel_figures import ImagePixels

NAMES = ["<script>", "b", "dark"]


def make_items(tmp_path, targets) -> Items:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 1, 16, 16), np.uint8)
    pixels[2] //= 32
    (tmp_path / "cache").mkdir()
    write_cache(tmp_path / "cache", NAMES, range(3), lambda row: pixels[row], ["grey"], 16)
    return Items(
        keys=pd.DataFrame({"image_id": NAMES}),
        targets=targets,
        classes=ClassList(names=("healthy", "ill")),
        groups=NAMES,
        means=np.zeros((3, 1)),
        histograms=None,
        pixels=ImagePixels(PixelCache.open(tmp_path / "cache")),
        inputs={},
    )


def finding(name: str, scores, flags, **details) -> Finding:
    frame = pd.DataFrame({f"{name}_{key}": value for key, value in details.items()}) if details else None
    return Finding(name, np.array(scores, np.float32), np.array(flags), frame)


def write(tmp_path, targets) -> str:
    items = make_items(tmp_path, targets)
    joined = finding("combined", [1, 3, 2], [False, True, False], because=["", "duplicates", ""])
    copies = finding(
        "duplicates", [0, 0.99, 0.1], [False, True, False], of=["", NAMES[0], ""], orientation=["", "as it is", ""]
    )
    path = tmp_path / "report.html"
    anomaly_page.write(path, DetectAnomaliesConfig(), items, [DuplicateConfig()], [joined, copies], [])
    return path.read_text()


def test_a_duplicate_stands_beside_its_original_and_text_is_escaped(tmp_path) -> None:
    page = write(tmp_path, np.array([[1, 0], [0, 1], [1, 0]], np.float32))
    assert "similarity 0.99 with &lt;script&gt;, as it is" in page
    assert "<script>" not in page
    assert "labelled</span> ill" in page
    # Six pictures, one with its original, and twice the dark one with itself, brightened.
    assert page.count("data:image/jpeg") == 6 + 1 + 2
    assert "times as bright" in page


def test_without_labels_there_are_no_classes(tmp_path) -> None:
    page = write(tmp_path, None)
    assert "Which classes are hit" not in page
    assert "labelled" not in page


def test_counts_of_classes(tmp_path) -> None:
    items = make_items(tmp_path, np.array([[1, 0], [1, 0.4], [1, 1]], np.float32))
    members, flagged = anomaly_page.class_counts(items, [finding("x", [0, 1, 1], [False, True, True])])
    assert members.tolist() == [3, 1]
    assert flagged.tolist() == [[2], [1]]
    assert anomaly_page.label_names(items, 2) == ["healthy", "ill"]


def test_brightened_pictures_show_their_brightest_parts() -> None:
    picture = np.zeros((20, 20, 3), np.uint8)
    picture[:10] = 20
    factor = anomaly_page._brightening(picture)
    assert (picture * factor).max() == 200
    assert anomaly_page._brightening(cv2.add(picture, 60)) == 1
