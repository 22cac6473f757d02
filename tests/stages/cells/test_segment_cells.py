"""Segmentation of whole data sets through the command line, on a few small simulated images."""

import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from hpa import cli
from hpa.evaluation import f1_at_iou
from hpa.segmentation import read_label_map
from hpa.tables import read_table

ATLAS = (
    *("data.source.simulation.images=4", "data.source.simulation.size=256", "data.source.simulation.field=81.92"),
    "data.workers.kind=none",
)


def run(*arguments):
    """Exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return ended.value.code


@pytest.fixture(scope="module")
def segmented(tmp_path_factory):
    """Folder of a small atlas (`work`) and its segmentation (`cells`)."""
    folder = tmp_path_factory.mktemp("segmented")
    assert run("segment_cells", *ATLAS, f"data.out={folder}/work", f"out={folder}/cells") == 0
    return folder


def test_label_maps_table_and_page_belong_together(segmented):
    folder = segmented / "cells"
    cells, images = read_table(folder / "cells.parquet"), read_table(folder / "images.parquet")
    assert len(images) == 4
    assert (images[["height", "width"]] == 256).all(axis=None)
    for row in images.itertuples():
        maps = [read_label_map(folder / part / f"{row.image_id}.png") for part in ("cells", "nuclei")]
        own = cells[cells["image_id"] == row.image_id]
        assert maps[0].dtype == maps[1].dtype == np.uint16
        assert own["cell_id"].tolist() == np.unique(maps[0][maps[0] > 0]).tolist() == list(range(1, row.cells + 1))
        assert own["area"].tolist() == np.bincount(maps[0].ravel())[1:].tolist()
        assert set(np.unique(maps[1])) <= {0, *own["cell_id"]}
    assert images["cells"].sum() == len(cells) > 8
    page = (folder / "segment_cells.html").read_text()
    assert f"{len(cells)} cells in 4 images" in page
    assert not (folder / ".rows").exists()


def test_the_cells_are_those_of_the_truth(segmented):
    found = [
        f1_at_iou(read_label_map(path), read_label_map(segmented / "cells" / "cells" / path.name), 0.5)
        for path in sorted((segmented / "work" / "simulate" / "truth" / "cell_maps").glob("*.png"))
    ]
    assert np.mean(found) > 0.5


def test_the_same_command_finds_it_standing(segmented, capsys):
    assert run("segment_cells", *ATLAS, f"data.out={segmented}/work", f"out={segmented}/cells") == 0
    captured = capsys.readouterr()
    assert "nothing to do" in captured.err
    assert captured.out == f"{segmented}/cells\n"


KILLED = """
import os, signal, sys
from hpa.stages.cells import segment_cells as stage
real, seen = stage.Writer.write, []

def write(self, *arguments):
    real(self, *arguments)
    seen.append(1)
    if len(seen) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

stage.Writer.write = write
from hpa.cli import main
main(sys.argv[1:])
"""


def test_kill_9_and_the_same_command_finishes_with_the_same_bytes(segmented, tmp_path):
    arguments = ["segment_cells", *ATLAS, f"data.out={segmented}/work", f"out={tmp_path}/cells"]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "cells.partial" / ".rows").iterdir())) == 2
    assert run(*arguments) == 0
    for part in ("cells", "nuclei", "."):
        expected = {path.name: path.read_bytes() for path in (segmented / "cells" / part).glob("*.p*")}
        assert {path.name: path.read_bytes() for path in (tmp_path / "cells" / part).glob("*.p*")} == expected
        assert expected


def test_processes_give_the_same_label_maps(segmented, tmp_path):
    arguments = [*ATLAS[:-1], "data.workers.count=2", f"data.out={segmented}/work", f"out={tmp_path}/cells"]
    assert run("segment_cells", *arguments) == 0
    assert (tmp_path / "cells" / "cells.parquet").read_bytes() == (segmented / "cells" / "cells.parquet").read_bytes()


def test_label_maps_that_the_user_has(segmented, tmp_path):
    truth = segmented / "work" / "simulate" / "truth"
    settings = ("segmenter.kind=labels", f"segmenter.cells={truth}/cell_maps", f"segmenter.nuclei={truth}/nucleus_maps")
    assert run("segment_cells", *ATLAS, f"data.out={segmented}/work", f"out={tmp_path}/cells", *settings) == 0
    for path in (truth / "cell_maps").glob("*.png"):
        expected = read_label_map(path)
        found = read_label_map(tmp_path / "cells" / "cells" / path.name)
        assert ((found > 0) == (expected > 0)).all()
        assert f1_at_iou(expected, found, 0.99) == 1


def test_a_missing_label_map_is_named_and_finished_work_stays(segmented, tmp_path, capsys):
    maps = tmp_path / "maps"
    maps.mkdir()
    sources = sorted((segmented / "work" / "simulate" / "truth" / "cell_maps").glob("*.png"))
    for path in sources[:3]:
        (maps / path.name).write_bytes(path.read_bytes())
    arguments = (
        "segment_cells",
        *ATLAS,
        f"data.out={segmented}/work",
        f"out={tmp_path}/cells",
        "segmenter.kind=labels",
    )
    assert run(*arguments, f"segmenter.cells={maps}") == 1
    assert sources[3].stem in capsys.readouterr().err
    assert len(list((tmp_path / "cells.partial" / ".rows").iterdir())) == 3


def test_missing_weights_are_explained(segmented, tmp_path, capsys):
    arguments = (*ATLAS, f"data.out={segmented}/work", f"out={tmp_path}/cells", "segmenter.kind=dpn_unet")
    assert run("segment_cells", *arguments, f"segmenter.folder={tmp_path}") == 1
    message = capsys.readouterr().err
    assert "https://zenodo.org/records/4665863" in message
    assert "dpn_unet_nuclei_v1.pth" in message
    assert not list(tmp_path.iterdir())


@pytest.fixture
def unet(tmp_path):
    """A U-Net that has hardly learned anything; the path through it is what is tested."""
    settings = (
        *("source.simulation.images=3", "source.simulation.size=64", "source.simulation.field=40.96"),
        *("samples.size=32", "samples.pixel_size=0.64", "loop.epochs=1", "model.encoder=test_resnet"),
        *("model.pretrained.kind=none", "model.decoder_channels=[8,8,8,8,8]", "workers.kind=none", "examples=0"),
        "machine.loaders=0",
    )
    assert run("train_segmentation", *settings, f"out={tmp_path}/unet") == 0
    return tmp_path / "unet"


def test_a_trained_network_segments_in_batches(segmented, unet, tmp_path):
    settings = ("segmenter.kind=unet", f"segmenter.run={unet}", "segmenter.pixel_size=0.32", "segmenter.batch_size=3")
    for name, more in (("one", ()), ("two", ("data.workers.kind=processes", "data.workers.count=2"))):
        out = f"out={tmp_path}/{name}"
        assert run("segment_cells", *ATLAS, *settings, f"data.out={segmented}/work", out, *more) == 0
    assert len(read_table(tmp_path / "one" / "images.parquet")) == 4
    for part in ("cells", "nuclei"):
        maps = sorted((tmp_path / "one" / part).iterdir())
        assert len(maps) == 4
        for path in maps:
            assert path.read_bytes() == (tmp_path / "two" / part / path.name).read_bytes()


def test_an_image_that_broke_after_the_index_is_named(tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        for channel in ("red", "green", "blue", "yellow"):
            cv2.imwrite(str(folder / f"{name}_{channel}.png"), random.integers(0, 255, (64, 64), np.uint8))
    (tmp_path / "config.yaml").write_text(
        yaml.safe_dump(
            {
                "data": {
                    "out": str(tmp_path / "work"),
                    "source": {"kind": "kaggle2021", "folder": str(folder)},
                    "workers": {"kind": "none"},
                },
                "out": str(tmp_path / "cells"),
            }
        )
    )
    config = str(tmp_path / "config.yaml")
    assert run("index", "--config", config) in (0, 2)
    assert run("segment_cells", "--config", config) == 0
    assert len(read_table(tmp_path / "cells" / "images.parquet")) == 2
    broken = Path(folder / "b_blue.png")
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2].ljust(len(whole), b"\0"))
    assert run("segment_cells", "--config", config, f"out={tmp_path}/again") == 1
    assert "it was fine when it was indexed" in capsys.readouterr().err
