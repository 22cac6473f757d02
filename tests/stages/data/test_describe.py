"""`describe` end to end on small folders of images."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from hpa.artifacts import ArtifactError, read_record
from hpa.stages.data import describe
from hpa.stages.data.dataset_config import DatasetConfig
from hpa.stages.data.describe import DescribeConfig


def write_folders(root: Path, classes: tuple[str, ...] = ("healthy", "ill <b>"), each: int = 4, side: int = 24) -> Path:
    generator = np.random.default_rng(0)
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(each):
            pixels = generator.integers(0, 255, (side, side + number, 3), np.uint8)
            assert cv2.imwrite(str(root / name / f"{number}.png"), pixels)
    return root


def config(tmp_path: Path, **more) -> DescribeConfig:
    values = {
        "out": tmp_path / "data",
        "source": {"kind": "class_folders", "folder": tmp_path / "images"},
        "fold": {"folds": 2},
        "workers": {"kind": "none"},
        **more,
    }
    return DescribeConfig.model_validate(values)


def page(folder: Path) -> str:
    return (folder / describe.PAGE).read_text(encoding="utf-8")


def test_page_and_record(tmp_path: Path) -> None:
    write_folders(tmp_path / "images")
    folder = describe.run(config(tmp_path, describe={"examples": 2}))
    assert folder == tmp_path / "data" / "describe"
    html = page(folder)
    assert html.count('<div class="tile ') == 4
    assert "<b>" not in html
    assert "ill &lt;b&gt; (4 images)" in html
    assert "Images per class and fold" in html
    assert (folder / "figures" / "label_counts.png").read_bytes().startswith(b"\x89PNG")
    record = read_record(folder, "describe")
    assert set(record.inputs) == {"index", "fold"}
    assert record.config["describe"]["examples"] == 2


def test_second_run_does_nothing_and_other_settings_are_refused(tmp_path: Path) -> None:
    write_folders(tmp_path / "images")
    folder = describe.run(config(tmp_path))
    stamp = (folder / describe.PAGE).stat().st_mtime_ns
    describe.run(config(tmp_path))
    assert (folder / describe.PAGE).stat().st_mtime_ns == stamp
    with pytest.raises(ArtifactError, match=r"describe\.seed: there 0, now 1"):
        describe.run(config(tmp_path, describe={"seed": 1}))


def test_plain_dataset_config_takes_the_defaults(tmp_path: Path) -> None:
    write_folders(tmp_path / "images")
    plain = DatasetConfig.model_validate(config(tmp_path).model_dump(exclude={"describe"}))
    folder = describe.run(plain)
    assert read_record(folder, "describe").config["describe"]["examples"] == 5


def test_folds_that_cannot_be_dealt_become_a_warning(tmp_path: Path) -> None:
    write_folders(tmp_path / "images", each=2)
    folder = describe.run(config(tmp_path, fold={"folds": 9}))
    html = page(folder)
    assert "cannot be dealt into folds: expected at least 9 groups" in html
    assert "Images per class and fold" not in html
    assert set(read_record(folder, "describe").inputs) == {"index"}


def test_images_without_labels(tmp_path: Path) -> None:
    root = tmp_path / "images"
    root.mkdir()
    for colour in ("red", "green", "blue", "yellow"):
        assert cv2.imwrite(str(root / f"a_{colour}.png"), np.full((20, 20), 9, np.uint8))
    html = page(describe.run(config(tmp_path, source={"kind": "kaggle2021", "folder": root})))
    assert "The images have no labels" in html
    assert "Any image" in html


def test_images_gone_since_the_index(tmp_path: Path) -> None:
    root = write_folders(tmp_path / "images")
    other = write_folders(tmp_path / "other" / "images")
    beside = config(tmp_path / "other")
    describe.run(beside)
    shutil.rmtree(other)
    html = page(describe.run(config(tmp_path, describe={"beside": tmp_path / "other" / "data"})))
    assert "5 example images could not be read" in html
    assert root.is_dir()


@pytest.mark.parametrize("inner", ["", "index"])
def test_beside_another_dataset(tmp_path: Path, inner: str) -> None:
    write_folders(tmp_path / "images")
    write_folders(tmp_path / "other" / "images", ("x", "y"), side=40)
    describe.run(config(tmp_path / "other"))
    folder = describe.run(
        config(tmp_path, describe={"beside": tmp_path / "other" / "data" / inner, "beside_name": "real"})
    )
    html = page(folder)
    assert "40 × 40 pixels" in html
    assert "images: real" in html
    assert "Side by side" in html
    assert set(read_record(folder, "describe").inputs) == {"index", "fold", "beside"}


def test_beside_without_an_index(tmp_path: Path) -> None:
    write_folders(tmp_path / "images")
    with pytest.raises(ArtifactError, match="`hpa index` makes it"):
        describe.run(config(tmp_path, describe={"beside": tmp_path / "nowhere"}))


def test_real_images(sample_data: Path, tmp_path: Path) -> None:
    source = {"kind": "class_folders", "folder": sample_data / "chest_xray3", "channels": ["grey"]}
    html = page(describe.run(config(tmp_path, source=source, describe={"examples": 1})))
    assert "tuberculosis" in html
    assert html.count('<div class="tile ') == 3
