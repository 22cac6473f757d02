"""The page about a dataset: what it counts, lists and compares."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpa.folds import fold_report
from hpa.labels import ClassList
from hpa.report import Example, Reference, dataset_report
from hpa.report.appearance import class_shares, histogram_shares

CLASSES = ("Nucleoplasm", "<b>Golgi</b>", "never")
CHANNELS = ("red", "green")


def table(count: int, channels=CHANNELS, size: int = 64) -> pd.DataFrame:
    generator = np.random.default_rng(0)
    images = pd.DataFrame(
        {
            "image_id": [f"im{number:03d}" for number in range(count)],
            "width": size,
            "height": [size + number for number in range(count)],
            "bit_depth": 8,
            "group": [f"g{number // 2}" for number in range(count)],
            "duplicate_set": ["im000" if number < 2 else "" for number in range(count)],
        }
    )
    for channel in channels:
        images[f"mean_{channel}"] = generator.uniform(0, 50, count)
        images[f"std_{channel}"] = generator.uniform(0, 50, count)
        images[f"p99_{channel}"] = generator.integers(50, 255, count)
        images[f"hist_{channel}"] = generator.integers(0, 100, (count, 32)).tolist()
    return images


def labels(count: int) -> np.ndarray:
    targets = np.zeros((count, 3), np.float32)
    targets[:, 0] = 1
    targets[: count // 2, 1] = 1
    return targets


def describe(path: Path, **more) -> str:
    images = more.pop("images", table(24))
    settings = {"title": "Dataset", "images": images, "channels": CHANNELS, "classes": CLASSES, **more}
    return dataset_report(path, **settings).read_text(encoding="utf-8")


def test_everything(tmp_path: Path) -> None:
    targets = labels(24)
    images = table(24)
    folds = fold_report(targets, images["group"].tolist(), np.arange(24) // 2 % 3, ClassList(names=CLASSES), seed=0)
    problems = pd.DataFrame({"image_id": ["<u>x"], "problem": ["truncated"], "detail": ["ends early"], "row": [pd.NA]})
    picture = np.zeros((8, 8, 3), np.uint8)
    html = describe(
        tmp_path / "page.html",
        targets=targets,
        folds=folds,
        problems=problems,
        examples={CLASSES[0]: [Example("im000", picture, CLASSES[:1])], CLASSES[2]: []},
        reference=Reference("real", table(4, ("green",), 2048), ("green",), (Example("r", picture, ()),)),
        name="simulated",
        warnings=["look out"],
        figures=tmp_path / "figures",
    )
    assert "<b>" not in html
    assert "<u>" not in html
    for text in (
        "No image has never",
        "&lt;b&gt;Golgi&lt;/b&gt; (12)",  # rare
        "Nucleoplasm (24 images)",
        "2,048 × 2,048 pixels",
        "images: real",
        "17 other sizes",
        "12 groups of several images",
        "1 set of images that look almost the same",
        "im000, im001",
        "Folds that tear groups apart",
        "truncated",
        "Side by side",
        "look out",
        "64 to 87 pixels high",
    ):
        assert text in html, text
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {
        *("label_counts", "labels_per_image", "co_occurrence", "intensity_histograms", "intensity_by_class", "folds"),
    }


def test_without_labels(tmp_path: Path) -> None:
    html = describe(tmp_path / "page.html", figures=tmp_path / "figures")
    assert "The images have no labels" in html
    assert "Every entry could be used" in html
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {"intensity_histograms"}


def test_single_label_has_no_co_occurrence(tmp_path: Path) -> None:
    targets = np.eye(3, dtype=np.float32)[np.arange(24) % 2]
    html = describe(tmp_path / "page.html", targets=targets, multi_label=False)
    assert "occur together" not in html
    assert "Labels per image" not in html


def test_classes_from_few_groups_are_named(tmp_path: Path) -> None:
    images = table(24).assign(group=["dish 1"] * 12 + ["dish 2"] * 12)
    targets = np.repeat(np.eye(3, dtype=np.float32)[:2], 12, axis=0)
    html = describe(tmp_path / "page.html", images=images, targets=targets, multi_label=False)
    assert "fewer than 5 groups: Nucleoplasm (1), &lt;b&gt;Golgi&lt;/b&gt; (1)" in html
    assert "Nucleoplasm (12)" in html


def test_reference_without_a_common_channel(tmp_path: Path) -> None:
    html = describe(tmp_path / "page.html", reference=Reference("grey set", table(3, ("grey",)), ("grey",)))
    assert "grey set has no channel of the same name" in html


def test_one_class_and_one_image(tmp_path: Path) -> None:
    targets = np.ones((1, 1), np.float32)
    html = describe(tmp_path / "page.html", images=table(1), classes=("only",), targets=targets)
    assert "Every image is a group of its own" in html


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one image"):
        describe(tmp_path / "page.html", images=table(0))


def test_many_problems_are_cut(tmp_path: Path) -> None:
    problems = pd.DataFrame({"image_id": [f"p{n}" for n in range(60)], "problem": "missing", "detail": "none"})
    html = describe(tmp_path / "page.html", problems=problems)
    assert "The first 50 of 60" in html
    assert "p49" in html
    assert "p50" not in html


def test_class_shares_are_means_of_shares() -> None:
    images = table(6)
    shares = histogram_shares(images, "red")
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    targets = labels(6)
    means = class_shares(shares, targets)
    np.testing.assert_allclose(means[0], shares.mean(axis=0))
    np.testing.assert_allclose(means[1], shares[:3].mean(axis=0))
    assert np.isnan(means[2]).all()
