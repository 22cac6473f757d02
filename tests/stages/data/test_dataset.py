import shutil

import numpy as np
import pytest
from PIL import Image

from hpa.artifacts import ArtifactError, read_record
from hpa.config import validate
from hpa.stages.data.dataset import DatasetConfig, open_dataset, prepare

SMALL = {"kind": "none"}


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    lines = ["name,path,label"]
    for number in range(9, -1, -1):
        picture = Image.fromarray(rng.integers(0, 256, (6, 6), np.uint8)).resize((30, 44))
        picture.save(tmp_path / f"p{number}.png")
        lines.append(f"n{number},p{number}.png,{'x|y' if number % 3 == 0 else 'y'}")
    (tmp_path / "table.csv").write_text("\n".join(lines))
    return tmp_path


def config_of(folder, labelled=True, **more):
    source = {
        "kind": "table",
        "csv": str(folder / "table.csv"),
        "id_column": "name",
        "label_column": "label" if labelled else None,
        "classes": ["x", "y"],
        "multi_label": True,
        "channels": ["grey"],
    }
    data = {"out": str(folder / "out"), "source": source, "workers": SMALL, "fold": {"folds": 2}, "cache": {"size": 16}}
    return validate(DatasetConfig, {**data, **more})


def test_images_targets_folds_and_pixels_belong_together(table):
    config = config_of(table)
    prepare(config)
    dataset = open_dataset(config)
    assert dataset.images["image_id"].tolist() == [f"n{number}" for number in range(10)]
    assert dataset.targets.tolist() == [[float(number % 3 == 0), 1] for number in range(10)]
    assert dataset.targets.dtype == np.float32
    assert sorted(dataset.images["fold"].unique()) == [0, 1]
    assert dataset.cache.image_ids == dataset.images["image_id"].tolist()
    assert dataset.cache.pixels.shape == (10, 1, 16, 16)
    assert dataset.classes.names == ("x", "y")
    assert dataset.channels == ("grey",)
    assert dataset.folder == table / "out"
    for stage, folder in (("index", "index"), ("fold", "fold"), ("cache", "cache-16")):
        assert dataset.fingerprints[stage] == read_record(table / "out" / folder, stage).fingerprint


def test_each_step_makes_what_comes_before_it(table):
    config = config_of(table)
    prepare(config, "index")
    assert sorted(path.name for path in (table / "out").iterdir()) == ["index"]
    prepare(config, "fold")
    assert sorted(path.name for path in (table / "out").iterdir()) == ["fold", "index"]


def test_images_without_labels(table):
    config = config_of(table, labelled=False)
    prepare(config)
    dataset = open_dataset(config)
    assert dataset.targets is None
    assert set(dataset.images["fold"]) == {-1}
    assert set(dataset.fingerprints) == {"index", "cache"}


def test_what_is_missing_is_named_with_its_command(table):
    config = config_of(table)
    with pytest.raises(ArtifactError, match="`hpa index` makes it"):
        open_dataset(config)
    prepare(config, "fold")
    with pytest.raises(ArtifactError, match=r"cache-16: no finished artifact; `hpa cache` makes it"):
        open_dataset(config)
    prepare(config)
    shutil.rmtree(table / "out" / "fold")
    with pytest.raises(ArtifactError, match="`hpa fold` makes it"):
        open_dataset(config)


def test_artifacts_of_other_settings_are_refused(table):
    prepare(config_of(table))
    with pytest.raises(ArtifactError, match=r"fold\.folds: there 2, now 3"):
        open_dataset(config_of(table, fold={"folds": 3}))
    with pytest.raises(ArtifactError, match=r"index\.duplicate_distance"):
        open_dataset(config_of(table, index={"duplicate_distance": 1}))
    # A new index leaves the old folds and pixels behind.
    shutil.rmtree(table / "out" / "index")
    (table / "table.csv").write_text("\n".join((table / "table.csv").read_text().splitlines()[:-1]))
    prepare(config_of(table), "index")
    with pytest.raises(ArtifactError, match=r"inputs\.index"):
        open_dataset(config_of(table))


def test_a_prepared_set_opens_without_its_images(table):
    config = config_of(table)
    prepare(config)
    for path in table.glob("*.*"):
        path.unlink()
    prepare(config)
    assert len(open_dataset(config).images) == 10


def test_the_simulated_atlas_is_drawn_on_the_way(tmp_path):
    source = {"kind": "simulated", "simulation": {"images": 8, "size": 64}}
    data = {"out": str(tmp_path), "source": source, "workers": SMALL, "fold": {"folds": 2}, "cache": {"size": 32}}
    config = validate(DatasetConfig, data)
    prepare(config)
    dataset = open_dataset(config)
    assert len(dataset.images) == 8
    assert dataset.images["source"].unique().tolist() == ["simulated"]
    # Images of one antibody share its protein and labels, so that a fold that splits them would tell the answer.
    assert (dataset.images.groupby("antibody")["fold"].nunique() == 1).all()
    assert (tmp_path / "simulate" / "record.json").is_file()


def test_real_images_of_2018(sample_data, tmp_path):
    train = sample_data / "hpa2018"
    names = sorted({path.name.rsplit("_", 1)[0] for path in (train / "train").iterdir()})[:24]
    rows = [row for row in (train / "train.csv").read_text().splitlines() if row.split(",")[0] in [*names, "Id"]]
    (tmp_path / "train.csv").write_text("\n".join(rows))
    source = {"kind": "kaggle2018", "folder": str(train / "train"), "csv": str(tmp_path / "train.csv")}
    data = {"out": str(tmp_path / "out"), "source": source, "workers": SMALL, "fold": {"folds": 3}}
    config = validate(DatasetConfig, {**data, "cache": {"size": 64}})
    prepare(config)
    dataset = open_dataset(config)
    assert dataset.cache.pixels.shape == (24, 4, 64, 64)
    assert dataset.targets.shape == (24, 28)
    assert np.bincount(dataset.images["fold"]).min() >= 7
    assert dataset.cache.pixels[:].mean(axis=(0, 2, 3)).min() > 2
