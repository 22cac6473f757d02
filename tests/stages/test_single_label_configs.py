"""Every single-label task's configuration, run on the real samples with a small network and small images."""

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hpa.classification import build_model
from hpa.config import load_config, validate
from hpa.stages.comparison import ensemble
from hpa.stages.comparison.ensemble_config import EnsembleConfig
from hpa.stages.image_level import predict, train_image_level
from hpa.stages.image_level.predict import PredictConfig
from hpa.stages.image_level.train_image_level import TrainImageLevelConfig
from hpa.tables import read_table, write_table

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = (
    *("data.cache.size=32", "data.workers.kind=none", "machine.loaders=0", "tta=1", "loop.epochs=1"),
    *("model.name=test_resnet", "model.pretrained.kind=none", "loop.batch_size=16", "folds=[0]", "data.fold.folds=2"),
)
FOLDERS = {
    "healthy_metastatic_clahe": "healthy_metastatic",
    "lc25000": "lc25000",
    "chest_xray_efficientnetv2_b2": "chest_xray3",
}
"""Configuration to its folder of samples."""

OF_FOLDERS = sorted(
    path.stem
    for pattern in ("healthy_metastatic*", "chest_xray*", "lc25000*")
    for path in (CONFIGS / "image_level").glob(f"{pattern}.yaml")
)


def train(name, folder, *overrides):
    """A small run of a configuration; overrides come last."""
    own = (*SMALL, f"data.out={folder}/work", f"out={folder}/run", *overrides)
    return train_image_level.run(load_config(TrainImageLevelConfig, CONFIGS / "image_level" / f"{name}.yaml", own))


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_samples_is_trained_on(sample_data, tmp_path, name):
    folder = FOLDERS[name]
    count = sum(path.is_file() for path in (sample_data / folder).rglob("*"))
    # Two folds by dish leave one class out: the sample has one metastatic dish.
    more = ("data.source.group_pattern=null",) if folder == "healthy_metastatic" else ()
    run = train(name, tmp_path, f"data.source.folder={sample_data / folder}", *more)
    assert len(read_table(tmp_path / "work" / "index" / "images.parquet")) == count
    assert "random weights" in (run / "report.html").read_text()
    metrics = json.loads((run / "metrics.json").read_text())
    assert 0 <= metrics["accuracy"] <= 1
    if "clahe" in name:
        source = {"kind": "class_folders", "folder": sample_data / folder}
        data = {"out": tmp_path / "new", "source": source, "workers": {"kind": "none"}}
        new = {"runs": [run], "data": data, "out": tmp_path / "predicted", "machine": {"loaders": 0}}
        predict.run(validate(PredictConfig, new))
        assert (tmp_path / "new" / "cache-32-clahe").is_dir(), "the run tells prediction to equalise as well"


@pytest.mark.parametrize("name", OF_FOLDERS)
def test_a_configuration_keeps_what_belongs_together(name):
    config = load_config(TrainImageLevelConfig, CONFIGS / "image_level" / f"{name}.yaml")
    assert config.data.source.kind == "class_folders"
    if "lc25000" not in name:
        assert config.data.source.group_pattern, "dishes and patients stay in one fold"
    if name.startswith("chest_xray_"):
        assert config.data.cache.size == 400


@pytest.mark.parametrize(
    ("name", "channels", "size"),
    [
        ("healthy_metastatic_cnn", 3, 64),
        ("chaoyang", 3, 64),
        ("cell_lines9", 3, 96),
        ("chest_xray_efficientnetv2_b2", 1, 64),
        ("healthy_metastatic_resnet50", 3, 64),
    ],
)
def test_the_networks_can_be_built_offline(name, channels, size):
    import torch

    from hpa.backbones import RandomWeights
    from hpa.labels import ClassList

    config = load_config(TrainImageLevelConfig, CONFIGS / "image_level" / f"{name}.yaml")
    offline = config.model.model_copy(update={"pretrained": RandomWeights()})
    model = build_model(offline, channels, ClassList(names=("a", "b", "c"), multi_label=False), size)
    with torch.inference_mode():
        assert model.eval()(torch.zeros(1, channels, size, size, dtype=torch.uint8)).shape == (1, 3)
    assert "random" in model.initialisation


def test_pneumonia_from_training_to_an_ensemble_on_the_test_part(sample_data, tmp_path):
    with np.load(sample_data / "pneumonia28" / "pneumoniamnist_longtail.npz") as arrays:
        rows = {name: arrays[name][:: 60 if "train" in name else 20] for name in arrays.files if "val" not in name}
    np.savez(tmp_path / "part.npz", **rows)
    run = train("pneumonia_mnist", tmp_path, f"data.source.file={tmp_path / 'part.npz'}", "folds=all")
    source = {"kind": "npz", "file": tmp_path / "part.npz", "splits": ["test"], "classes": ["normal", "pneumonia"]}
    data = {"out": tmp_path / "test", "source": source, "workers": {"kind": "none"}}
    data["index"] = {"duplicate_distance": None}
    new = {"runs": [run], "data": data, "out": tmp_path / "new", "machine": {"loaders": 0}}
    tables = {
        "work": run / "out_of_fold.parquet",
        "test": predict.run(validate(PredictConfig, new)) / "probabilities.parquet",
    }
    fitted = None
    for work, table in tables.items():
        # Another member that says something else of each image.
        other = read_table(table)
        values = np.random.default_rng(0).random(len(other), np.float32)
        other["normal"], other["pneumonia"] = values, 1 - values
        write_table(tmp_path / f"{work}.parquet", other)
        paths = {"network": table, "other": tmp_path / f"{work}.parquet"}
        settings = {"members": [{"name": name, "paths": [path]} for name, path in paths.items()]}
        settings |= {"data": {"out": tmp_path / work}, "out": tmp_path / f"ensemble_{work}", "fitted": fitted}
        settings |= {"rounds": 20, "compared": [], "rule": {"kind": "stacking"}, "moving": "macro_recall"}
        fitted = ensemble.run(validate(EnsembleConfig, settings))
    # The network's random beginning is told by every page about it.
    assert "random weights" in (tmp_path / "new" / "report.html").read_text()
    for path in (run, tmp_path / "new"):
        assert "random weights" in json.loads((path / "metrics.json").read_text())["initial_weights"]
    found = pd.read_csv(fitted / "table.csv").set_index("name")
    assert found.index.tolist() == ["network", "other", "stacking (own)", "ensemble, moved thresholds"]
    assert (found["items"] == len(rows["test_images"])).all()


def test_nine_cell_lines_with_their_real_labels_and_simulated_pixels(sample_data, tmp_path):
    """The real table with its imbalance; pixels stand in for images that are not in the sample."""
    labels = pd.read_csv(sample_data / "cell_lines9" / "y_train.csv")
    rng = np.random.default_rng(0)
    few = labels.groupby("cell_line").head(4)
    (tmp_path / "images_train").mkdir()
    names = sorted(labels["cell_line"].unique())
    for row in few.itertuples():
        for channel in ("red", "blue", "yellow"):
            plane = rng.integers(0, 30 + 20 * names.index(row.cell_line), (24, 24), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "images_train" / f"{row.file_id}_{channel}.png"), plane)
    csv = sample_data / "cell_lines9" / "y_train.csv"
    data = (f"data.source.csv={csv}", f"data.source.root={tmp_path}", "data.index.duplicate_distance=null")
    run = train("cell_lines9", tmp_path, *data)
    images = read_table(tmp_path / "work" / "index" / "images.parquet")
    assert len(images) == 36
    problems = pd.read_csv(tmp_path / "work" / "index" / "problems.csv")
    assert len(problems) == len(labels) - 36
    assert set(problems["problem"]) == {"missing_file"}
    content = json.loads((run / "run.json").read_text())
    assert content["classes"]["names"] == names
    assert content["channels"] == ["red", "blue", "yellow"]
    confusion = pd.read_csv(run / "confusion.csv", index_col=0)
    assert confusion.columns.tolist() == names
    held_out = len(read_table(run / "out_of_fold.parquet"))
    assert confusion.to_numpy().sum() == held_out
    pairs = pd.read_csv(run / "confused_pairs.csv")
    counted = pairs[["first_as_second", "second_as_first"]].to_numpy().sum()
    assert counted == held_out - np.trace(confusion.to_numpy())
    assert "The pairs most confused" in (run / "report.html").read_text()


def test_chaoyang_with_co_teaching(tmp_path):
    (tmp_path / "train").mkdir()
    items = []
    for number in range(24):
        name = f"train/{number % 6}_1-IMG{number:03d}-{number % 4}.JPG"
        cv2.imwrite(str(tmp_path / name), np.full((16, 16, 3), 60 * (number % 4), np.uint8))
        items.append({"name": name, "label": number % 4, "label_A": 0, "label_B": 1, "label_C": 2})
    (tmp_path / "train_label.json").write_text(json.dumps(items))
    data = (f"data.source.folder={tmp_path}", "data.index.duplicate_distance=null", "loop.batch_size=8")
    run = train("chaoyang", tmp_path, *data)
    assert json.loads((run / "run.json").read_text())["twins"]
    assert len(read_table(run / "out_of_fold.parquet")) == 12
