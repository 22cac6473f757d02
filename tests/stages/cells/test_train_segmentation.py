"""Trainings of a U-Net through the command line, on a few small images."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest

from hpa import cli
from hpa.segmentation import UnetConfig, open_unet
from hpa.simulation import SimulationConfig, simulate_image

SMALL = (
    *("samples.size=32", "samples.pixel_size=0.64", "loop.epochs=1", "loop.batch_size=4", "loop.channels_last=false"),
    *("model.encoder=test_resnet", "model.pretrained.kind=none", "model.decoder_channels=[8,8,8,8,8]"),
    *("workers.kind=none", "machine.loaders=0", "examples=1", "validation=0.4"),
)
ATLAS = ("source.simulation.images=5", "source.simulation.size=64", "source.simulation.field=40.96")


def run(*arguments):
    """Exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return ended.value.code


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unet") / "run"
    assert run("train_segmentation", *SMALL, *ATLAS, f"out={folder}") == 0
    return folder


def test_a_run_leaves_what_segment_cells_opens_and_people_read(finished):
    trained = open_unet(UnetConfig(run=finished), "cpu")
    assert trained.content.targets == ("nuclei", "cells")
    metrics = json.loads((finished / "metrics.json").read_text())
    table = pd.read_csv(finished / "per_image.csv")
    assert len(table) == 2  # 0.4 of five images
    for name in ("cells_f1", "nuclei_f1"):
        assert metrics[name] == pytest.approx(table[name].mean())
    assert "simulated cells" in (finished / "report.html").read_text()
    assert not (finished / ".prepared").exists()


def test_the_same_command_finds_it_standing_and_another_does_not_touch_it(finished, capsys):
    before = (finished / "metrics.json").read_bytes()
    assert run("train_segmentation", *SMALL, *ATLAS, f"out={finished}") == 0
    assert "stands already" in capsys.readouterr().err
    assert run("train_segmentation", *SMALL, *ATLAS, f"out={finished}", "loss.region=0.5") == 1
    assert "loss.region: there 1.0, now 0.5" in capsys.readouterr().err
    assert (finished / "metrics.json").read_bytes() == before


@pytest.fixture
def fields(tmp_path):
    """Images of a person's own with label maps of nuclei; one without."""
    for index in range(4):
        image = simulate_image(SimulationConfig(images=4, size=64, field=40.96), index)
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "nuclei").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "images" / f"field{index}.png"), image.pixels[2])
        if index < 3:
            cv2.imwrite(str(tmp_path / "nuclei" / f"field{index}.tif"), image.nucleus_map)
    return (
        *("source.kind=folder", f"source.images={tmp_path}/images", f"source.nuclei={tmp_path}/nuclei"),
        *("source.image_pattern={image_id}", "source.channels=[grey]", "samples.channels=[grey]"),
        *("source.pixel_size=0.64", f"out={tmp_path}/run"),
    )


def test_a_folder_of_nuclei_alone_is_enough(fields, tmp_path, capsys):
    assert run("train_segmentation", *SMALL, *fields) == 0
    assert "1 images without a label map are left out (field3" in capsys.readouterr().err
    assert open_unet(UnetConfig(run=tmp_path / "run"), "cpu").content.targets == ("nuclei",)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert "cells_f1" not in metrics
    assert np.isfinite(metrics["nuclei_f1"])
    assert "simulated cells" not in (tmp_path / "run" / "report.html").read_text()


def test_missing_folders_and_targets_are_said(fields, tmp_path, capsys):
    assert run("train_segmentation", *SMALL, *fields, f"source.nuclei={tmp_path}/nothing") == 1
    assert "expected a folder at" in capsys.readouterr().err
    assert run("train_segmentation", *SMALL, *fields, "targets=[nuclei,cells]") == 1
    assert "no training image has a label map of cells" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_one_image_cannot_be_shared_out(tmp_path, capsys):
    one = ("source.simulation.images=1", *ATLAS[1:], f"out={tmp_path}/run")
    assert run("train_segmentation", *SMALL, *one) == 1
    assert "expected at least two images" in capsys.readouterr().err
