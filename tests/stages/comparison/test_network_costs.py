import numpy as np
import pandas as pd
import pytest
import torch

from hpa.cache import PixelCache, write_cache
from hpa.config import load_config
from hpa.labels import ClassList
from hpa.stages.comparison.compare_config import CostConfig
from hpa.stages.comparison.network_costs import measure_costs
from hpa.stages.data.dataset import Dataset
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig
from hpa.stages.image_level.noise_tasks import build_network
from hpa.training import make_accelerator


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("data")
    pixels = np.random.default_rng(0).integers(0, 256, (6, 1, 64, 64), np.uint8)
    ids = [f"image{number}" for number in range(6)]
    write_cache(folder, ids, range(6), lambda row: pixels[row], ("green",), 64)
    return Dataset(
        images=pd.DataFrame({"image_id": ids, "fold": np.arange(6) % 2}),
        targets=np.eye(2, dtype=np.float32)[np.arange(6) % 2],
        classes=ClassList(names=("x", "y")),
        channels=("green",),
        cache=PixelCache.open(folder),
        fingerprints={"index": ""},
        folder=folder,
    )


def measured(data, name, *more):
    small = [f"model.name={name}", "model.pretrained.kind=none", "loop.batch_size=8", "machine.loaders=0", *more]
    config = load_config(TrainImageLevelConfig, overrides=small)
    return measure_costs(config, data, CostConfig(batch_size=8, seconds=0.05), make_accelerator()), config


def test_a_larger_network_costs_more(data):
    small, config = measured(data, "test_resnet")
    large, _ = measured(data, "resnet18")
    assert small.parameters == sum(one.numel() for one in build_network(config, data).parameters())
    assert large.parameters > 10 * small.parameters
    assert small.images_per_second > 2 * large.images_per_second
    # Weights, gradients and two moments of eleven million parameters are 180 MB.
    assert large.training_memory_gb > 0.15
    assert large.training_memory_gb > 2 * small.training_memory_gb


def test_two_networks_in_one_are_twice_as_many_parameters(data):
    one, _ = measured(data, "test_resnet")
    two, _ = measured(data, "test_resnet", "noise.kind=co_teaching")
    assert two.parameters == 2 * one.parameters
