import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hpa import progress
from hpa.config import validate
from hpa.stages.data import fold
from hpa.stages.data.dataset_config import DatasetConfig


@pytest.fixture
def folder(tmp_path):
    """Class folders: 12 images of `a` in 4 dishes, 6 of `b` in 2."""
    rng = np.random.default_rng(0)
    for name, count in (("a", 12), ("b", 6)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(count):
            picture = Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).resize((40, 40))
            picture.save(tmp_path / "images" / name / f"{name}{number // 3}_{number % 3}.png")
    return tmp_path


@pytest.fixture
def said(monkeypatch):
    texts = []

    class Reporter(progress.Silent):
        def say(self, text):
            texts.append(text)

    monkeypatch.setattr(progress, "_reporter", Reporter())
    return texts


def config_of(folder, pattern="^([^_]+)_", **settings):
    source = {"kind": "class_folders", "folder": str(folder / "images"), "channels": ["grey"], "group_pattern": pattern}
    data = {"out": str(folder / "out"), "source": source, "workers": {"kind": "none"}, "fold": settings}
    return validate(DatasetConfig, data)


def test_dishes_stay_whole_and_classes_are_shared(folder, said):
    path = fold.run(config_of(folder, folds=2))
    folds = pd.read_parquet(path / "folds.parquet")
    dish = folds["image_id"].str.extract(r"^._(.\d)_")[0]
    assert all(len(set(part)) == 1 for _, part in folds.groupby(dish)["fold"])
    report = pd.read_csv(path / "report.csv")
    assert report[report["class"].isin(["a", "b"])]["deviation"].tolist() == [0, 0, 0, 0]
    assert report["ungrouped_count"].tolist() == [6, 6, 3, 3, 9, 9]
    assert said[-1] == f"{path}: 18 images in 2 folds of 9, 9"
    assert not any("warning" in text for text in said)


def test_a_second_run_does_nothing_and_another_seed_is_refused(folder, said):
    fold.run(config_of(folder, folds=2))
    fold.run(config_of(folder, folds=2))
    assert "nothing to do" in said[-1]
    with pytest.raises(ValueError, match=r"fold\.seed: there 0, now 1"):
        fold.run(config_of(folder, folds=2, seed=1))


def test_a_fold_without_a_class_is_a_warning_that_says_which(folder, said):
    fold.run(config_of(folder, folds=3))
    warnings = [text for text in said if text.startswith("warning")]
    assert len(warnings) == 1
    assert "classes without an image to validate on: b (fold" in warnings[0]


def test_a_class_in_one_group_is_a_warning(folder, said):
    for number in range(3):
        (folder / "images" / "b" / f"b1_{number}.png").unlink()
    fold.run(config_of(folder, folds=2))
    assert any("all their images in one fold" in text and "b (fold" in text for text in said)


def test_too_few_groups(folder):
    with pytest.raises(ValueError, match=r"at least 7 groups for 7 folds, but the 18 images are in 6 .*fold\.folds"):
        fold.run(config_of(folder, folds=7))


def test_nothing_to_train_on(folder):
    # One dish per class: whichever is left out, one class remains.
    with pytest.raises(ValueError, match="no fold leaves two classes to train on"):
        fold.run(config_of(folder, pattern="^([^_0-9]+)", folds=2))
    assert not (folder / "out" / "fold").exists()


def test_images_without_labels(folder):
    csv = folder / "images.csv"
    csv.write_text("path\nimages/a/a0_0.png\nimages/a/a0_1.png\n")
    source = {"kind": "table", "csv": str(csv), "classes": ["x", "y"], "channels": ["grey"]}
    config = validate(DatasetConfig, {"out": str(folder / "o"), "source": source, "workers": {"kind": "none"}})
    with pytest.raises(ValueError, match="the images have no labels"):
        fold.run(config)
