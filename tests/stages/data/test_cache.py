import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hpa import progress
from hpa.cache import PixelCache
from hpa.config import validate
from hpa.images import ClaheConfig, equalize, resize
from hpa.stages.data import cache
from hpa.stages.data.dataset_config import CacheSettings, DatasetConfig
from hpa.stages.data.indexed_images import ImageReader

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 28, 28, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
    np.savez(tmp_path / "data.npz", train_images=IMAGES, train_labels=np.arange(20) % 2)
    return tmp_path


def config_of(folder, out="out", **settings):
    source = {"kind": "npz", "file": str(folder / "data.npz")}
    data = {"out": str(folder / out), "source": source, "workers": {"kind": "none"}}
    return validate(DatasetConfig, {**data, "cache": {"size": 16, **settings}})


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
def test_the_cache_holds_the_resized_images(folder, fit):
    config = config_of(folder, fit=fit)
    pixels = PixelCache.open(cache.run(config))
    assert cache.run(config) == folder / "out" / "cache-16"
    assert pixels.channels == ("red", "green", "blue")
    for row, image in enumerate(IMAGES):
        assert pixels.image_ids[row] == f"train_{row:06d}"
        assert np.array_equal(pixels.pixels[row], resize(np.moveaxis(image, 2, 0), 16, fit))


def test_disk_use_is_said_before_it_starts(folder, monkeypatch):
    texts = []

    class Reporter(progress.Silent):
        def say(self, text):
            texts.append(text)

    monkeypatch.setattr(progress, "_reporter", Reporter())
    cache.run(config_of(folder, size=512))
    assert any("20 images x 3 x 512 x 512 will take 0.02 GB of disk" in text for text in texts)


def test_the_work_per_image_can_be_sent_to_processes(folder):
    read = cache._Prepared(ImageReader(("red", "green", "blue"), "auto"), CacheSettings(size=16, fit="pad"))
    sent = pickle.loads(pickle.dumps(read))
    path = [f"{folder}/data.npz::train_images/3"]
    assert np.array_equal(sent(path), resize(np.moveaxis(IMAGES[3], 2, 0), 16, "pad"))


def test_sizes_stand_beside_each_other_and_other_fits_are_refused(folder):
    assert cache.run(config_of(folder)).name == "cache-16"
    assert cache.run(config_of(folder, size=8)).name == "cache-8"
    with pytest.raises(ValueError, match=r"cache\.fit: there 'stretch', now 'pad'"):
        cache.run(config_of(folder, fit="pad"))


KILLED = """
import os, signal, sys
from pathlib import Path
from hpa.config import load_config
from hpa.stages.data import cache
from hpa.stages.data.dataset_config import CacheSettings, DatasetConfig
import hpa.cache
hpa.cache._SECONDS_BETWEEN_SYNCS = 0
real, seen = cache._Prepared.__call__, []
def read(self, paths):
    seen.append(paths)
    if len(seen) == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, paths)
cache._Prepared.__call__ = read
cache.run(load_config(DatasetConfig, Path(sys.argv[1])))
"""


def test_kill_9_and_the_same_command_finishes_with_the_same_bytes(folder, monkeypatch):
    expected = cache.run(config_of(folder, "unbroken"))
    config = config_of(folder)
    file = folder / "config.yaml"
    file.write_text(config.model_dump_json())
    killed = subprocess.run([sys.executable, "-c", KILLED, file], cwd=Path(__file__).parents[3], check=False)
    assert killed.returncode == -signal.SIGKILL
    read = []
    real = cache._Prepared.__call__
    monkeypatch.setattr(cache._Prepared, "__call__", lambda self, paths: read.append(paths) or real(self, paths))
    found = cache.run(config)
    assert len(read) == 12
    for path in expected.iterdir():
        assert (found / path.name).read_bytes() == path.read_bytes(), path.name


def test_an_image_that_changed_since_it_was_indexed(folder):
    config = config_of(folder)
    cache.index.run(config)
    np.savez(folder / "data.npz", train_images=IMAGES.astype(np.float32), train_labels=np.arange(20) % 2)
    with pytest.raises(ValueError, match="it was fine when it was indexed"):
        cache.make(config)


def test_contrast_is_equalised_before_the_size_changes(folder):
    plain = PixelCache.open(cache.run(config_of(folder)))
    config = config_of(folder, clahe={"clip": 4.0, "tiles": 2})
    path = cache.run(config)
    assert path.name == "cache-16-clahe"
    for row, image in enumerate(IMAGES):
        expected = resize(equalize(np.moveaxis(image, 2, 0), ClaheConfig(clip=4.0, tiles=2)), 16)
        assert np.array_equal(PixelCache.open(path).pixels[row], expected)
    assert (PixelCache.open(path).pixels[:] != plain.pixels[:]).any()
    with pytest.raises(ValueError, match=r"cache\.clahe\.clip: there 4\.0, now 2\.0"):
        cache.run(config_of(folder, clahe={"clip": 2.0, "tiles": 2}))
