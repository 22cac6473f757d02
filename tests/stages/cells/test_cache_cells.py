"""Cells of a small simulated atlas cut out of their images."""

import contextlib
import json
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from hpa.artifacts import ArtifactError
from hpa.cell_cache import CellCache
from hpa.config import ConfigError, load_config
from hpa.crops import CropConfig, CropShape, FixedScale, crop_cells
from hpa.images import CHANNELS, read_image
from hpa.parallel import WorkersConfig
from hpa.segmentation import LabelMapsConfig, read_label_map
from hpa.simulation import SimulationConfig
from hpa.stages.cells import cache_cells, segment_cells
from hpa.stages.cells.cache_cells import CacheCellsConfig
from hpa.stages.cells.cells_config import SegmentCellsConfig
from hpa.stages.data.dataset_config import DatasetConfig, FoldSettings, SimulatedSource
from hpa.tables import read_table

IMAGES = 5


def atlas(folder, images=IMAGES, **workers):
    return DatasetConfig(
        out=folder / "work",
        source=SimulatedSource(simulation=SimulationConfig(images=images, size=128, field=60)),
        fold=FoldSettings(folds=2),
        workers=WorkersConfig(**(workers or {"kind": "none"})),
    )


def config(atlas_folder, out, **settings):
    settings = {"data": atlas(atlas_folder), "crops": CropShape(size=24), **settings}
    return CacheCellsConfig(cells=atlas_folder / "cells", out=out, **settings)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of an atlas (`work`), its true label maps as a segmentation (`cells`) and the cache of cells (`cache`)."""
    folder = tmp_path_factory.mktemp("atlas")
    truth = folder / "work" / "simulate" / "truth"
    maps = LabelMapsConfig(cells=truth / "cell_maps", nuclei=truth / "nucleus_maps")
    segment_cells.run(SegmentCellsConfig(data=atlas(folder), segmenter=maps, out=folder / "cells"))
    assert cache_cells.run(config(folder, folder / "cache")) == folder / "cache"
    return folder


def test_the_cache_holds_every_cell_of_the_table(finished):
    cache = CellCache.open(finished / "cache")
    table = read_table(finished / "cells" / "cells.parquet")
    assert cache.keys.equals(table[["image_id", "cell_id"]])
    assert (cache.size, cache.scales, cache.channels) == (24, 1, CHANNELS)
    assert len(cache) > IMAGES


def test_rows_are_the_crops_of_the_images(finished):
    cache = CellCache.open(finished / "cache")
    shape = CropConfig(size=24, neighbours="separate")
    for image_id, rows in cache.rows_by_image.items():
        paths = [finished / "work" / "simulate" / "train" / f"{image_id}_{name}.png" for name in CHANNELS]
        cells = read_label_map(finished / "cells" / "cells" / f"{image_id}.png")
        expected = crop_cells(read_image(paths, CHANNELS), cells, shape)
        np.testing.assert_array_equal(cache.pixels[rows], expected)


def test_the_record_tells_how_cells_were_cut_and_from_what(finished):
    record = json.loads((finished / "cache" / "record.json").read_text())
    assert record["stage"] == "cache_cells"
    assert record["config"]["crops"]["size"] == 24
    assert set(record["config"]) == {"crops"}
    assert set(record["inputs"]) == {"index", "cells"}


def test_the_same_command_finds_it_standing(finished):
    before = (finished / "cache" / "pixels.npy").stat().st_mtime_ns
    cache_cells.run(config(finished, finished / "cache", data=atlas(finished, kind="processes", count=2)))
    assert (finished / "cache" / "pixels.npy").stat().st_mtime_ns == before
    with pytest.raises(ArtifactError, match="crops.size: there 24, now 32"):
        cache_cells.run(config(finished, finished / "cache", crops=CropShape(size=32)))


def test_workers_give_the_same_bytes(finished, tmp_path, monkeypatch):
    """Threads, to which the work goes as it would to processes: pickled."""

    class Workers(ThreadPoolExecutor):
        def submit(self, function, *arguments):
            sent = pickle.dumps((function, arguments))
            return super().submit(_call, sent)

    @contextlib.contextmanager
    def workers(settings):
        with Workers(3) as executor:
            yield executor

    monkeypatch.setattr(cache_cells, "open_executor", workers)
    cache_cells.run(config(finished, tmp_path / "cache"))
    for name in ("pixels.npy", "keys.parquet", "content.json"):
        assert (tmp_path / "cache" / name).read_bytes() == (finished / "cache" / name).read_bytes()


def _call(sent):
    function, arguments = pickle.loads(sent)
    return function(*arguments)


KILLED = """
import os, signal, sys
from hpa.stages.cells import cache_cells as stage
from hpa.config import load_config
real, seen = stage.Cutter.__call__, []

def cut(self, job):
    seen.append(1)
    if len(seen) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, job)

stage.Cutter.__call__ = cut
stage.run(load_config(stage.CacheCellsConfig, overrides=sys.argv[1:]))
"""


def test_kill_9_and_the_same_command_finishes_with_the_same_bytes(finished, tmp_path):
    settings = config(finished, tmp_path / "cache")
    overrides = [f"{name}={json.dumps(value)}" for name, value in settings.model_dump(mode="json").items()]
    killed = subprocess.run([sys.executable, "-c", KILLED, *overrides], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (tmp_path / "cache.partial" / "pixels.npy").exists()
    cache_cells.run(load_config(CacheCellsConfig, overrides=overrides))
    for name in ("pixels.npy", "keys.parquet", "content.json"):
        assert (tmp_path / "cache" / name).read_bytes() == (finished / "cache" / name).read_bytes()


def test_two_scales_with_one_around_the_nucleus(finished, tmp_path):
    scales = (FixedScale(side=20.0, centre="nucleus"), FixedScale(side=30.0))
    pixel_size = 60 / 128
    cache_cells.run(
        config(finished, tmp_path / "cache", crops=CropShape(scales=scales, size=16), pixel_size=pixel_size)
    )
    cache = CellCache.open(tmp_path / "cache")
    assert (cache.scales, cache.planes, cache.pixels.shape[1]) == (2, 8, 10)
    image_id, rows = next(iter(cache.rows_by_image.items()))
    paths = [finished / "work" / "simulate" / "train" / f"{image_id}_{name}.png" for name in CHANNELS]
    maps = [read_label_map(finished / "cells" / part / f"{image_id}.png") for part in ("cells", "nuclei")]
    shape = CropConfig(scales=scales, size=16, neighbours="separate")
    expected = crop_cells(read_image(paths, CHANNELS), maps[0], shape, None, maps[1], pixel_size)
    np.testing.assert_array_equal(cache.pixels[rows], expected)
    record = json.loads((tmp_path / "cache" / "record.json").read_text())
    assert record["config"]["pixel_size"] == pixel_size


def test_micrometres_need_a_pixel_size():
    with pytest.raises(ConfigError, match="pixel_size: a scale of crops in µm needs"):
        load_config(CacheCellsConfig, overrides=["crops.scales=[{kind: fixed}]"])
    load_config(CacheCellsConfig, overrides=["crops.scales=[{kind: fixed, unit: pixels}]"])
    load_config(CacheCellsConfig, overrides=["crops.scales=[{kind: fixed}]", "pixel_size=0.08"])


def test_cells_of_other_images_are_refused(finished, tmp_path):
    other = atlas(tmp_path, images=4)
    with pytest.raises(ArtifactError, match="its cells are not those of the images"):
        cache_cells.run(config(finished, tmp_path / "cache", data=other))
    with pytest.raises(ArtifactError, match="`hpa segment_cells` makes it"):
        cache_cells.run(CacheCellsConfig(data=atlas(finished), cells=tmp_path / "none", out=tmp_path / "cache"))


def test_a_label_map_that_changed_is_named_and_finished_work_stays(finished, tmp_path):
    image_id = read_table(finished / "cells" / "cells.parquet")["image_id"].iloc[-1]
    path = finished / "cells" / "cells" / f"{image_id}.png"
    original = path.read_bytes()
    try:
        assert cv2.imwrite(str(path), np.zeros((128, 128), np.uint16))
        with pytest.raises(ValueError, match=rf"{image_id}.png: .*the file has changed since the cells were segmented"):
            cache_cells.run(config(finished, tmp_path / "cache"))
    finally:
        path.write_bytes(original)
    cache_cells.run(config(finished, tmp_path / "cache"))
    assert (tmp_path / "cache" / "pixels.npy").read_bytes() == (finished / "cache" / "pixels.npy").read_bytes()
