"""Training on bags of cells, from a simulated atlas of a few small images to scores of every cell."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from hpa.artifacts import ArtifactError, read_json
from hpa.cell_cache import CellCache
from hpa.classification import AugmentationConfig, ModelConfig, predict_batch
from hpa.classification.bag_model import BagModelConfig
from hpa.classification.bag_pooling import LogSumExpPooling
from hpa.classification.cell_dataset import CellDataset, MaskingConfig
from hpa.crops import CropShape
from hpa.evaluation import average_precision
from hpa.parallel import WorkersConfig
from hpa.segmentation import LabelMapsConfig
from hpa.simulation import SimulationConfig
from hpa.stages.cell_level import bag_task, train_bags
from hpa.stages.cell_level.bag_config import TrainBagsConfig
from hpa.stages.cell_level.cell_networks import open_cell_run
from hpa.stages.cells import cache_cells, segment_cells
from hpa.stages.cells.cache_cells import CacheCellsConfig
from hpa.stages.cells.cells_config import SegmentCellsConfig
from hpa.stages.data.dataset import open_dataset
from hpa.stages.data.dataset_config import CacheSettings, DatasetConfig, FoldSettings, SimulatedSource
from hpa.stages.image_level import train_image_level
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig
from hpa.tables import align, class_values, read_table
from hpa.training import LoopConfig, MachineConfig

BYTES = ("fold0/best.safetensors", "fold1/best.safetensors", "cell_scores.parquet", "image_probabilities.parquet")


def settings(folder, out, **changes):
    data = DatasetConfig(
        out=folder / "work",
        source=SimulatedSource(simulation=SimulationConfig(images=24, size=96, field=60)),
        fold=FoldSettings(folds=2),
        cache=CacheSettings(size=32),
        workers=WorkersConfig(kind="none"),
    )
    plain = {
        "out": out,
        "data": data,
        "cells_cache": folder / "crops",
        "model": BagModelConfig(
            backbone=ModelConfig(name="test_resnet"), pooling=LogSumExpPooling(sharpness=2), image_share=0.7
        ),
        "cells_per_bag": 3,
        "augmentation": AugmentationConfig(warp=0, noise=0, blur=0),
        "masking": MaskingConfig(neighbours="random"),
        "loop": LoopConfig(epochs=2, batch_size=4, ema_decay=0.9, monitor="macro_ap", channels_last=True),
        "tta": 2,
        "machine": MachineConfig(loaders=0),
    }
    return TrainBagsConfig(**plain | changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder with the atlas, its cells, and the run made unbroken."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("bags")
    config = settings(folder, folder / "run")
    truth = LabelMapsConfig(cells=folder / "work" / "simulate" / "truth" / "cell_maps")
    segment_cells.run(SegmentCellsConfig(data=config.data, out=folder / "cells", segmenter=truth, examples=1))
    cache_cells.run(
        CacheCellsConfig(data=config.data, cells=folder / "cells", crops=CropShape(size=32), out=folder / "crops")
    )
    assert train_bags.run(config) == folder / "run"
    return folder


def test_every_cell_is_scored_by_a_network_that_did_not_see_its_image(finished):
    data, cells = open_dataset(settings(finished, finished / "run").data), CellCache.open(finished / "crops")
    scores = read_table(finished / "run" / "cell_scores.parquet")
    align(cells.keys, scores, ("image_id", "cell_id"))  # every cell once
    folds = data.images.set_index("image_id")["fold"]
    assert (folds.loc[scores["image_id"]].to_numpy() == scores["fold"].to_numpy()).all()
    values = class_values(scores, data.classes)
    assert ((values >= 0) & (values <= 1)).all()
    assert scores["cell_id"].dtype == cells.keys["cell_id"].dtype
    images = read_table(finished / "run" / "image_probabilities.parquet")
    assert sorted(images["image_id"]) == sorted(set(cells.keys["image_id"]))
    assert (folds.loc[images["image_id"]].to_numpy() == images["fold"].to_numpy()).all()


def test_the_figures_are_those_of_the_images_held_out(finished):
    data = open_dataset(settings(finished, finished / "run").data)
    metrics = json.loads((finished / "run" / "metrics.json").read_text())
    images = read_table(finished / "run" / "image_probabilities.parquet")
    rows = pd.Index(data.images["image_id"]).get_indexer(images["image_id"])
    expected = np.nanmean(average_precision(data.targets[rows], class_values(images, data.classes)))
    assert metrics["macro_ap"] == pytest.approx(expected, abs=1e-6)
    assert metrics["images"] == len(images)
    assert metrics["cells"] == len(read_table(finished / "run" / "cell_scores.parquet"))
    assert metrics["peak_memory_gb"] > 0
    page = (finished / "run" / "report.html").read_text()
    assert "pooling lse" in page
    assert "random weights" in page
    assert (finished / "run" / "per_class.csv").exists()
    assert (finished / "run" / "config.yaml").exists()


def test_its_networks_give_the_same_scores_again(finished):
    """`predict_cells` opens them: they score held-out cells as the run did."""
    run, cells = open_cell_run(finished / "run"), CellCache.open(finished / "crops")
    run.require_alike(cells)
    assert (run.stage, run.size, run.scales, run.channels, run.folds) == ("train_bags", 32, 1, cells.channels, (0, 1))
    scores = read_table(finished / "run" / "cell_scores.parquet")
    for fold, network in zip(run.folds, run.networks(), strict=True):
        own = scores[scores["fold"] == fold]
        batch = CellDataset(cells, cells.rows(own), masking=run.masking).read_batch(np.arange(len(own)))
        with torch.no_grad():
            found = predict_batch(network, torch.from_numpy(batch), run.content.tta)["probabilities"]
        np.testing.assert_allclose(found.numpy(), class_values(own, run.classes), atol=1e-5)


@pytest.fixture
def said(monkeypatch):
    """What the stage says."""
    lines = []
    monkeypatch.setattr(train_bags, "say", lines.append)
    return lines


def test_a_finished_run_is_left_alone_and_another_refused(finished, said):
    config = settings(finished, finished / "run")
    before = (finished / "run" / "metrics.json").stat().st_mtime_ns
    train_bags.run(config)
    assert "stands already" in said[-1]
    assert (finished / "run" / "metrics.json").stat().st_mtime_ns == before
    with pytest.raises(ArtifactError, match="cells_per_bag: there 3, now 5"):
        train_bags.run(settings(finished, finished / "run", cells_per_bag=5))


def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(finished, tmp_path, monkeypatch):
    """Stopped within an epoch of the second fold, when the first was finished."""
    config = settings(finished, tmp_path / "run", machine=MachineConfig(loaders=0, checkpoint_steps=1))
    left, real = [11], bag_task.BagTask.loss

    def failing(self, model, batch, step):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(self, model, batch, step)

    monkeypatch.setattr(bag_task.BagTask, "loss", failing)
    with pytest.raises(KeyboardInterrupt):
        train_bags.run(config)
    assert not (tmp_path / "run").exists()
    assert (tmp_path / "run.partial" / "fold0" / "cell_scores.parquet").exists()
    assert (tmp_path / "run.partial" / "fold1" / "last.safetensors").exists()
    monkeypatch.undo()
    train_bags.run(config)
    for name in BYTES:
        assert (tmp_path / "run" / name).read_bytes() == (finished / "run" / name).read_bytes(), name


def test_beginning_with_a_training_on_images(finished, tmp_path):
    """The backbone and both heads are those of the image-level network that held the same fold out."""
    base = settings(finished, tmp_path / "run", init=tmp_path / "images")
    train_image_level.run(
        TrainImageLevelConfig(
            out=tmp_path / "images",
            data=base.data,
            model=base.model.backbone,
            loop=base.loop.model_copy(update={"epochs": 1}),
            folds="all",
            machine=base.machine,
        )
    )
    still = LoopConfig(epochs=1, batch_size=4, learning_rate=1e-12, monitor="macro_ap", batch_norm="frozen")
    train_bags.run(base.model_copy(update={"loop": still}))
    for fold in (0, 1):
        images, bags = (load_file(tmp_path / name / f"fold{fold}" / "best.safetensors") for name in ("images", "run"))
        for name, values in images.items():
            torch.testing.assert_close(bags[f"cells.{name}"], values, atol=1e-6, rtol=0)
        torch.testing.assert_close(bags["head.weight"], images["head.weight"], atol=1e-6, rtol=0)
    assert read_json(tmp_path / "run" / "metrics.json")["initial_weights"].endswith("of the same fold")
    with pytest.raises(ArtifactError, match="init: .*none is no finished run"):
        train_bags.run(settings(finished, tmp_path / "other", init=tmp_path / "none"))


def test_images_without_cells_are_left_out(finished, monkeypatch, tmp_path, said):
    absent = CellCache.open(finished / "crops").keys["image_id"].iloc[0]
    whole = CellCache.rows_by_image.func

    def lacking(self):
        return {image_id: rows for image_id, rows in whole(self).items() if image_id != absent}

    monkeypatch.setattr(CellCache, "rows_by_image", property(lacking))
    train_bags.run(settings(finished, tmp_path / "run", folds=(1,), loop=LoopConfig(epochs=1, batch_size=8)))
    assert "1 images have no cells and are left out" in said
    for name in ("cell_scores.parquet", "image_probabilities.parquet"):
        assert absent not in set(read_table(tmp_path / "run" / name)["image_id"])
    monkeypatch.setattr(CellCache, "rows_by_image", property(lambda self: {}))
    with pytest.raises(ValueError, match="holds no cells; look at the segmentation"):
        train_bags.run(settings(finished, tmp_path / "none"))


def test_cells_of_other_images_are_refused(finished, tmp_path):
    other = settings(finished, tmp_path / "run").data
    source = SimulatedSource(simulation=other.source.simulation.model_copy(update={"images": 16, "seed": 5}))
    other = other.model_copy(update={"out": tmp_path / "other", "source": source})
    with pytest.raises(ArtifactError, match="its cells are not those of the images in"):
        train_bags.run(settings(finished, tmp_path / "run", data=other))


def test_a_missing_cache_names_the_command(finished, tmp_path):
    with pytest.raises(ArtifactError, match="`hpa cache_cells` makes it"):
        train_bags.run(settings(finished, tmp_path / "run", cells_cache=tmp_path / "none"))


def test_folds_that_do_not_exist_are_refused(finished, tmp_path):
    with pytest.raises(ValueError, match=r"folds: expected numbers from 0 to 1, but got \[2\]"):
        settings(finished, tmp_path, folds=(2,))
    assert settings(finished, tmp_path, folds=(1, 1, 0)).chosen_folds == (0, 1)


def test_its_description_can_be_read_by_a_person(finished):
    content = read_json(finished / "run" / "run.json")
    assert content["stage"] == "train_bags"
    assert content["model"]["pooling"] == {"kind": "lse", "sharpness": 2.0}
    assert content["crops"]["size"] == 32
