"""The first of two trainings, and the labels that it hands to the second."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from hpa.cache import PixelCache, write_cache
from hpa.config import load_config
from hpa.labels import ClassList
from hpa.stages.data.dataset import Dataset
from hpa.stages.image_level import two_phase
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig
from hpa.stages.image_level.training_labels import TrainingLabels
from hpa.tables import read_table
from hpa.training import History, make_accelerator

COUNT = 60
TRAINING, VALIDATION = np.arange(48), np.arange(48, COUNT)
WRONG = np.array([3, 10, 17, 24, 31, 40])
SMALL = (
    *("model.name=test_resnet", "model.pretrained.kind=none", "model.dropout=0", "machine.loaders=0"),
    *("loop.epochs=4", "loop.batch_size=8", "loop.learning_rate=0.005", "loop.monitor=null", "noise.kind=two_phase"),
    *("noise.epochs=8", "noise.from_epoch=2", "loop.ema_decay=null"),
    *(f"augmentation.{name}=0" for name in ("intensity", "blur", "noise", "cutout", "downscale")),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two classes that anyone can tell apart, dark and bright, and a few images with the other's label."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("data")
    true = np.arange(COUNT) % 2
    noise = np.random.default_rng(0).integers(0, 50, (COUNT, 1, 32, 32))
    pixels = (noise + true[:, None, None, None] * 150).astype(np.uint8)
    ids = [f"image{number:02}" for number in range(COUNT)]
    write_cache(folder, ids, range(COUNT), lambda row: pixels[row], ("green",), 32)
    given = true.copy()
    given[WRONG] = 1 - true[WRONG]
    return Dataset(
        images=pd.DataFrame({"image_id": ids, "fold": (np.arange(COUNT) < 48).astype(int)}),
        targets=np.eye(2, dtype=np.float32)[given],
        classes=ClassList(names=("dark", "bright"), multi_label=False),
        channels=("green",),
        cache=PixelCache.open(folder),
        fingerprints={"index": ""},
        folder=folder,
    )


def correct(data, folder, labels=None, *more):
    config = load_config(TrainImageLevelConfig, overrides=[*SMALL, *more])
    return two_phase.corrected_labels(config, data, TRAINING, VALIDATION, labels, folder, make_accelerator("no"))


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "fold0"
    return correct(data, folder), folder


def test_wrong_labels_are_found_and_corrected(data, finished):
    labels, folder = finished
    table = read_table(folder / "history.parquet")
    assert table.columns.tolist() == [*two_phase.COLUMNS, "dark", "bright"]
    assert table["image_id"].tolist() == data.images["image_id"].iloc[:48].tolist()
    assert set(np.flatnonzero(table["category"] == "noisy")) == set(WRONG)
    assert (table["margin"].to_numpy()[WRONG] < 0).all()
    assert (labels.targets[WRONG].argmax(axis=1) == WRONG % 2).all()
    others = np.setdiff1d(np.arange(COUNT), WRONG)
    assert (labels.targets[others] == data.targets[others]).all()  # those held out too
    assert len(History.read(folder / "first").epochs) == 8


def test_a_history_that_stands_is_read_again(data, finished, tmp_path):
    labels, folder = finished
    shutil.copytree(folder, tmp_path / "fold0")
    shutil.rmtree(tmp_path / "fold0" / "first")
    again = correct(data, tmp_path / "fold0")
    assert not (tmp_path / "fold0" / "first").exists()
    assert (again.targets == labels.targets).all()
    assert (again.weights == labels.weights).all()


def test_decisions_come_first_and_their_weights_stay(data, tmp_path):
    weights = np.full(COUNT, 0.5, np.float32)
    weights[[0, 5]] = 0
    labels = TrainingLabels(data.targets[:, ::-1].copy(), weights)
    found = correct(data, tmp_path, labels, "noise.correction=0", "noise.noisy_weight=0.5")
    table = read_table(tmp_path / "history.parquet")
    assert len(table) == 46
    assert (found.targets == labels.targets).all()
    expected = np.where(table["category"] == "noisy", 0.25, 0.5)
    assert (table["weight"] == expected).all()
    assert (found.weights[[0, 5]] == 0).all()
    assert (found.weights[VALIDATION] == 0.5).all()


def test_histories_of_all_folds_are_joined(finished, tmp_path):
    for fold in (0, 2):
        (tmp_path / f"fold{fold}").mkdir()
        shutil.copy(finished[1] / "history.parquet", tmp_path / f"fold{fold}")
    two_phase.join_histories(tmp_path, (0, 2))
    table = read_table(tmp_path / "history.parquet")
    assert table["held_out_fold"].tolist() == [0] * 48 + [2] * 48
    assert table.columns[0] == "image_id"
