import os
import pickle
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa.artifacts import ArtifactError
from hpa.cell_cache import CellCache, split_masks, write_cell_cache

CELLS = {"b": [1, 2, 5], "a": [], "c": [7], "d": [2, 1]}
CHANNELS = ("red", "green")
KEYS = [("b", 1), ("b", 2), ("b", 5), ("c", 7), ("d", 2), ("d", 1)]
SIZE = 8


def draw(image_id, cells=CELLS, scales=1):
    """Crops of one image: those of each cell depend on the image and the cell's number alone."""
    crops = []
    for cell in cells[image_id]:
        draws = np.random.default_rng([ord(image_id[-1]), cell])
        crop = draws.integers(0, 256, (scales, len(CHANNELS) + 1, SIZE, SIZE)).astype(np.uint8)
        crop[:, -1] = np.where(crop[:, -1] > 127, 255, 0)
        crops.append(crop.reshape(-1, SIZE, SIZE))
    return np.stack(crops)


def write(folder, read=draw, cells=CELLS, scales=1, **options):
    folder.mkdir(exist_ok=True)
    write_cell_cache(folder, cells, list(cells), read, CHANNELS, scales, SIZE, **options)
    return CellCache.open(folder)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return write(tmp_path_factory.mktemp("cache"))


def test_every_cell_is_in_its_row(tmp_path):
    with ThreadPoolExecutor(3) as executor:
        cache = write(tmp_path, executor=executor)
    assert len(cache) == 6
    assert (cache.size, cache.scales, cache.channels, cache.planes) == (SIZE, 1, CHANNELS, 2)
    assert list(cache.keys.itertuples(index=False, name=None)) == KEYS
    assert cache.pixels.shape == (6, 3, SIZE, SIZE)
    np.testing.assert_array_equal(cache.pixels, np.concatenate([draw(name) for name in "bcd"]))
    assert {name: rows.tolist() for name, rows in cache.rows_by_image.items()} == {
        "b": [0, 1, 2],
        "c": [3],
        "d": [4, 5],
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["content.json", "keys.parquet", "pixels.npy"]


def test_rows_by_key(cache):
    wanted = pd.DataFrame({"image_id": ["d", "b", "d"], "cell_id": [1, 5, 2], "other": [0, 0, 0]})
    assert cache.rows(wanted).tolist() == [5, 2, 4]
    assert cache.rows(wanted.iloc[:0]).tolist() == []
    with pytest.raises(ValueError, match=r"1 cells are not in the cache, such as \[\('c', 1\)\]"):
        cache.rows(pd.DataFrame({"image_id": ["c", "c"], "cell_id": [7, 1]}))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=12))
def test_any_rows_are_read_as_the_map_has_them(cache, rows):
    rows = np.array(rows, np.int64)
    found = cache.read(rows)
    np.testing.assert_array_equal(found, cache.pixels[rows])
    assert found.flags.writeable
    assert type(found) is np.ndarray


def test_rows_outside_are_refused(cache):
    for rows in ([6], [-1, 2]):
        with pytest.raises(ValueError, match="expected rows from 0 to 5"):
            cache.read(np.array(rows))


def test_the_pixels_are_mapped_and_cannot_be_written(cache):
    assert isinstance(cache.pixels, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        cache.pixels[0] = 0


def test_a_pickled_cache_is_small_and_opens_the_files_again(cache):
    cache.read(np.arange(2))
    assert len(cache.rows_by_image) == 3
    data = pickle.dumps(cache)
    assert len(data) < 1000
    again = pickle.loads(data)
    assert again == cache
    assert isinstance(again.pixels, np.memmap)
    np.testing.assert_array_equal(again.read(np.array([5, 0])), cache.pixels[[5, 0]])
    assert again.keys.equals(cache.keys)


def test_a_file_descriptor_is_given_back(cache):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        pickle.loads(pickle.dumps(cache)).read(np.arange(3))
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


def test_reading_needs_no_more_memory_than_what_is_read(tmp_path):
    """200 MB read in parts of 2 MB; through the map they would all count as this process's memory."""
    cells = {f"image{number:03}": list(range(1, 51)) for number in range(100)}
    part = np.zeros((50, 10, 64, 64), np.uint8)
    write_cell_cache(tmp_path, cells, list(cells), lambda key: part, CHANNELS * 2, 2, 64)
    cache = CellCache.open(tmp_path)
    cache.read(np.arange(100))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for start in range(0, 5000, 50):
        cache.read(np.arange(start, start + 50))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000  # KiB


def test_a_broken_run_is_gone_on_with(tmp_path):
    def fails(image_id):
        if image_id == "c":
            raise RuntimeError("power cut")
        return draw(image_id)

    folder = tmp_path / "broken"
    with pytest.raises(RuntimeError, match="power cut"):
        write(folder, fails)
    with pytest.raises(ValueError, match="is not a cache of cells"):
        CellCache.open(folder)
    seen = []

    def counts(image_id):
        seen.append(image_id)
        return draw(image_id)

    write(folder, counts)
    assert seen == ["c", "d"]
    write(tmp_path / "unbroken")
    for name in ("pixels.npy", "keys.parquet", "content.json"):
        assert (folder / name).read_bytes() == (tmp_path / "unbroken" / name).read_bytes()


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"expected uint8 pixels of shape \(3, 3, 8, 8\), but got uint8 \(3, 2, 8, 8\)"
    ):
        write(tmp_path / "planes", lambda name: draw(name)[:, :2])
    with pytest.raises(ValueError, match=r"expected uint8 pixels of shape \(3, 3, 8, 8\)"):
        write(tmp_path / "cells", lambda name: draw(name)[:1])
    with pytest.raises(ValueError, match="every cell of b once"):
        write(tmp_path / "repeats", cells={"b": [1, 1]})
    with pytest.raises(ValueError, match="a key for each of 4 images, but got 1"):
        write_cell_cache(tmp_path, CELLS, ["b"], draw, CHANNELS, 1, SIZE)


def test_a_full_disk_is_noticed_before_it_starts(tmp_path, monkeypatch):
    monkeypatch.setattr("hpa.artifacts.shutil.disk_usage", lambda path: type("Usage", (), {"free": 100})())
    with pytest.raises(ArtifactError, match="the cache of pixels needs"):
        write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_images_without_any_cells(tmp_path):
    cache = write(tmp_path, cells={"a": [], "b": []})
    assert len(cache) == 0
    assert cache.rows_by_image == {}
    assert cache.read(np.arange(0)).shape == (0, 3, SIZE, SIZE)
    assert cache.keys.empty


def test_what_is_no_cache(tmp_path):
    with pytest.raises(ValueError, match="`hpa cache_cells` makes it"):
        CellCache.open(tmp_path)
    write(tmp_path)
    for wrong in (np.zeros((6, 3, 8, 8), np.int8), np.zeros((5, 3, 8, 8), np.uint8), np.zeros((6, 3, 8), np.uint8)):
        np.save(tmp_path / "pixels.npy", wrong)
        with pytest.raises(ValueError, match="does not fit"):
            CellCache.open(tmp_path)


def test_a_file_that_was_cut_off_is_an_error(tmp_path):
    cache = write(tmp_path)
    cache.read(np.arange(1))
    os.truncate(tmp_path / "pixels.npy", (tmp_path / "pixels.npy").stat().st_size - 100)
    with pytest.raises(OSError, match="make the cache again"):
        cache.read(np.array([5]))


@pytest.mark.parametrize("scales", [1, 2])
def test_masks_are_taken_apart(tmp_path, scales):
    crops = draw("b", scales=scales)
    parts = crops.reshape(3, scales, 3, SIZE, SIZE)
    kept, masked = split_masks(crops, scales, masked=False), split_masks(crops, scales, masked=True)
    assert kept.shape == masked.shape == (3, 2 * scales, SIZE, SIZE)
    for cell in range(3):
        for scale in range(scales):
            for plane in range(2):
                ours = parts[cell, scale, plane]
                np.testing.assert_array_equal(kept[cell, scale * 2 + plane], ours)
                inside = parts[cell, scale, 2] == 255
                np.testing.assert_array_equal(masked[cell, scale * 2 + plane], np.where(inside, ours, 0))
    before = crops.copy()
    kept[:] = 0
    masked[:] = 0
    np.testing.assert_array_equal(crops, before)
