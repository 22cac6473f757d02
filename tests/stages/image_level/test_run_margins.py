"""Margins of a run, joined over its trainings."""

import numpy as np
import pandas as pd
import pytest
import torch

from hpa.cache import PixelCache, write_cache
from hpa.config import load_config
from hpa.labels import ClassList
from hpa.stages.data.dataset import Dataset
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig
from hpa.stages.image_level.image_task import ImageTask
from hpa.stages.image_level.run_margins import join_margins, write_fold_margins
from hpa.tables import read_table

IDS = ["d", "b", "a", "c", "e"]


@pytest.fixture
def data(tmp_path):
    (tmp_path / "cache").mkdir()
    write_cache(tmp_path / "cache", IDS, range(5), lambda row: np.zeros((1, 8, 8), np.uint8), ("green",), 8)
    return Dataset(
        images=pd.DataFrame({"image_id": IDS, "fold": [0, 0, 1, 1, 1]}),
        targets=np.eye(5, 2, dtype=np.float32),
        classes=ClassList(names=("x", "y")),
        channels=("green",),
        cache=PixelCache.open(tmp_path / "cache"),
        fingerprints={},
        folder=tmp_path,
    )


def test_a_run_has_the_mean_over_all_readings_in_all_its_trainings(tmp_path, data):
    config = load_config(TrainImageLevelConfig, overrides=["margins=true"])
    readings = {  # of each training: rows to learn from; which of them is read, and what is noted
        0: ([2, 3], [(0, [1.0, -1.0]), (1, [2.0, 0.5]), (0, [3.0, -5.0])]),
        1: ([0, 1, 2], [(2, [5.0, 0.0]), (0, [7.0, 8.0])]),
    }
    for fold, (rows, noted) in readings.items():
        task = ImageTask(config, data, np.array(rows), np.array([4]))
        for index, values in noted:
            task._margins.add(torch.tensor([index]), torch.tensor([values]))
        write_fold_margins(tmp_path / f"fold{fold}", data, task)
    of_fold = read_table(tmp_path / "fold0" / "margins.parquet")
    assert of_fold["image_id"].tolist() == ["a", "c"]
    assert of_fold["reads"].tolist() == [2, 1]
    assert of_fold[["x", "y"]].to_numpy().tolist() == [[2, -3], [2, 0.5]]
    join_margins(tmp_path, data, (0, 1))
    found = read_table(tmp_path / "margins.parquet")
    assert found.columns.tolist() == ["image_id", "x", "y"]
    assert found["image_id"].tolist() == IDS
    assert (found.dtypes[["x", "y"]] == np.float32).all()
    expected = [[7, 8], [np.nan, np.nan], [3, -2], [2, 0.5], [np.nan, np.nan]]
    np.testing.assert_array_equal(found[["x", "y"]].to_numpy(), np.float32(expected))
