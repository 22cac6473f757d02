import numpy as np
import pandas as pd
import pytest
import torch

from hpa.artifacts import read_json
from hpa.cache import PixelCache, write_cache
from hpa.config import load_config
from hpa.labels import ClassList
from hpa.stages.comparison import training_budget
from hpa.stages.comparison.compare_config import EpochBudget, StepBudget, TimeBudget
from hpa.stages.comparison.training_budget import share_of
from hpa.stages.data.dataset import Dataset
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig

COUNT = 50


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("data")
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 1, 32, 32), np.uint8)
    ids = [f"image{number}" for number in range(COUNT)]
    write_cache(folder, ids, range(COUNT), lambda row: pixels[row], ("green",), 32)
    return Dataset(
        images=pd.DataFrame({"image_id": ids, "fold": np.arange(COUNT) % 5}),
        targets=np.eye(2, dtype=np.float32)[np.arange(COUNT) % 2],
        classes=ClassList(names=("x", "y")),
        channels=("green",),
        cache=PixelCache.open(folder),
        fingerprints={"index": ""},
        folder=folder,
    )


def training(*more):
    small = ["model.name=test_resnet", "model.pretrained.kind=none", "loop.batch_size=8", "machine.loaders=0"]
    return load_config(TrainImageLevelConfig, overrides=[*small, *more])


def test_epochs_and_steps(data, tmp_path):
    kept = tmp_path / "x.json"
    share = share_of(EpochBudget(), training("loop.epochs=7"), data, None, kept)
    assert (share.epochs, share.steps) == (7, 5)  # 40 images of four folds
    assert share_of(EpochBudget(epochs=3), training(), data, None, kept).epochs == 3
    assert share_of(StepBudget(steps=23), training(), data, None, kept).epochs == 5
    assert share_of(StepBudget(steps=23), training("loop.batch_size=40"), data, None, kept).epochs == 23
    assert share_of(StepBudget(steps=1), training(), data, None, kept).epochs == 1
    assert not kept.exists()


def test_time_is_measured_once_and_kept(data, tmp_path, monkeypatch):
    kept = tmp_path / "x.json"
    budget = TimeBudget(seconds=1, trial_steps=2)
    share = share_of(budget, training(), data, None, kept)
    assert 0 < share.seconds < 10
    assert share.epochs == max(1, int(1 / share.seconds))

    def never(*_):
        raise AssertionError("measured again")

    monkeypatch.setattr(training_budget, "seconds_per_epoch", never)
    assert share_of(budget, training("out=elsewhere"), data, None, kept) == share
    with pytest.raises(AssertionError, match="measured again"):
        share_of(budget, training("loop.batch_size=4"), data, None, kept)
    assert read_json(kept)["seconds_per_epoch"] == share.seconds


def test_the_trial_measures_what_an_epoch_takes(data, monkeypatch):
    """Two of five steps of a second each, and validation of half a second."""
    from hpa.training import Epoch, History

    def train(model, task, loop, *_):
        assert [len(task.order(epoch)) for epoch in (0, 1)] == [16, 16]
        row = {"loss": 0.0, "learning_rate": 0.0, "samples_per_second": 8.0}
        return History(epochs=(Epoch(epoch=1, seconds=9, **row), Epoch(epoch=2, seconds=2.5, **row)))

    monkeypatch.setattr(training_budget, "train", train)
    config = training()
    task = training_budget._first_task(config, data, None)
    found = training_budget.seconds_per_epoch(config, data, task, training_budget.make_accelerator(), 2)
    assert found == pytest.approx(5.5)
