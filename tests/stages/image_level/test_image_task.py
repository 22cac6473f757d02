"""Training with consistency of class activation maps, as a task and through the command line."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from hpa import cli
from hpa.cache import PixelCache, write_cache
from hpa.classification import build_model
from hpa.config import ConfigError, load_config, validate
from hpa.stages.cells.cell_codes import open_codes
from hpa.stages.data.dataset import open_dataset
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig
from hpa.stages.image_level.image_task import ImageTask
from hpa.training import Step

DATA = (
    *("data.source.simulation.images=24", "data.source.simulation.size=64", "data.source.simulation.field=60"),
    *("data.fold.folds=2", "data.workers.kind=none"),
)
TRAINING = (
    *("data.cache.size=32", "folds=[0]", "tta=1", "model.name=test_resnet", "model.pretrained.kind=none"),
    *("loop.epochs=2", "loop.batch_size=6", "machine.loaders=0"),
)


def run(*arguments):
    """Exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return ended.value.code


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """Folder with a data set (work), its true label maps as cells (cells), and a run with consistency (run)."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("house")
    data = [*DATA, f"data.out={folder}/work"]
    assert (
        run("simulate", f"out={folder}/work/simulate", *(item.removeprefix("data.source.") for item in DATA[:3])) == 0
    )
    truth = f"segmenter.cells={folder}/work/simulate/truth/cell_maps"
    assert run("segment_cells", *data, "segmenter.kind=labels", truth, "examples=0", f"out={folder}/cells") == 0
    assert train(folder, folder / "run") == 0
    return folder


def settings(house, *more):
    return [*DATA, *TRAINING, f"data.out={house}/work", f"consistency.cells={house}/cells", *more]


def train(house, out, *more):
    return run("train_image_level", *settings(house, *more), f"out={out}")


def open_task(house, *more):
    config = load_config(TrainImageLevelConfig, overrides=settings(house, *more))
    data = open_dataset(config.data)
    return ImageTask(config, data, np.arange(20), np.arange(20, 24)), config, data


def test_a_run_with_consistency_says_so_in_its_record(house):
    record = json.loads((house / "run" / "record.json").read_text())
    assert record["config"]["consistency"] == {"groups": 2, "alpha": 4.0, "ramp": 0.5, "merged": 1.0}
    cells = json.loads((house / "cells" / "record.json").read_text())
    assert set(record["inputs"]) == {"index", "fold", "cache", "cells"}
    assert cells["stage"] == "segment_cells"
    assert np.isfinite(json.loads((house / "run" / "metrics.json").read_text())["macro_ap"])


def test_the_record_of_a_run_without_it_is_as_it_was(house):
    content = load_config(TrainImageLevelConfig).content()
    assert sorted(content) == ["augmentation", "folds", "loop", "loss", "mixing", "model", "sampler", "tta"]
    task, _, _ = open_task(house, "consistency=null")
    assert set(task.sample(0, 0)) == {"images", "index", "targets", "weights"}


def test_the_same_command_gives_the_same_weights(house, tmp_path):
    assert train(house, tmp_path / "again") == 0
    name = "fold0/best.safetensors"
    assert (tmp_path / "again" / name).read_bytes() == (house / "run" / name).read_bytes()


def test_scores_of_cells_come_from_such_a_run_too(house, tmp_path):
    data = [*DATA, f"data.out={house}/work", "machine.loaders=0"]
    assert run("score_cells", *data, f"run={house}/run", f"cells={house}/cells", f"out={tmp_path}/scores") == 0


def test_a_sample_has_the_label_map_moved_as_the_image_is(house, tmp_path):
    """Images that show the cells' numbers: each pixel must stay with its number, whatever the movement."""
    still = [f"augmentation.{name}=0" for name in ("intensity", "blur", "noise", "cutout", "downscale")]
    _, config, data = open_task(house, *still)
    codes = open_codes(house / "cells", config.data)
    numbers = np.repeat(codes.pixels * np.uint8(12), 4, axis=1)
    write_cache(tmp_path, codes.image_ids, range(24), lambda row: numbers[row], data.channels, 32)
    data = dataclasses.replace(data, cache=PixelCache.open(tmp_path))
    task = ImageTask(config, data, np.arange(1, 21), np.arange(21, 24))
    seen = set()
    for index in range(20):
        sample = task.sample(index, 3)
        cells, image = sample["cells"], sample["images"][2]
        assert (cells.dtype, cells.shape) == (np.uint8, image.shape)
        seen.add(np.array_equal(cells, codes.pixels[1 + index, 0]))
        # Inside a cell; at its edge the image is interpolated.
        flat = np.lib.stride_tricks.sliding_window_view(cells, (3, 3)).std(axis=(2, 3)) == 0
        assert flat.mean() > 0.1
        assert (image[1:-1, 1:-1][flat] == cells[1:-1, 1:-1][flat] * 12).all()
    assert False in seen


def test_the_loss_reaches_every_weight_and_grows_with_alpha(house):
    losses = {}
    for alpha in (0, 4):
        task, config, data = open_task(house, f"consistency.alpha={alpha}", "model.dropout=0")
        torch.manual_seed(0)
        model = build_model(config.model, 4, data.classes).eval()
        batch = task.collate([task.sample(index, 1) for index in range(6)])
        step = Step(epoch=1, step=1, steps=4, epochs=2, generator=torch.Generator().manual_seed(0))
        loss = task.loss(model, batch, step)
        loss.backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        losses[alpha] = float(loss.detach())
        with torch.no_grad():
            plain = float(task._loss(model(batch["images"]), batch["targets"], batch["weights"]))
    # Classification of whole and merged maps, nearly the same for a fresh network; then the difference of the maps.
    assert losses[0] == pytest.approx(2 * plain, rel=0.2)
    assert losses[4] > losses[0]


def test_mixing_is_refused(house, tmp_path, capsys):
    assert train(house, tmp_path / "run", "mixing.mixup=0.2") == 2
    assert "set mixing.mixup=0 mixing.cutmix=0" in capsys.readouterr().err


def test_a_network_without_maps_is_told_what_to_choose(house, tmp_path, capsys):
    assert train(house, tmp_path / "run", "model.name=test_convnext") == 1
    error = capsys.readouterr().err
    assert "choose a convolutional backbone" in error
    assert "Traceback" not in error


def test_missing_label_maps_name_the_command(house, tmp_path, capsys):
    assert train(house, tmp_path / "run", f"consistency.cells={tmp_path}/none") == 1
    assert "`hpa segment_cells` makes it" in capsys.readouterr().err


def test_label_maps_must_be_named():
    with pytest.raises(ConfigError, match=r"consistency\.cells: a value is needed"):
        validate(TrainImageLevelConfig, {"consistency": {"groups": 3}})
