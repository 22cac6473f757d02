import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from hpa.artifacts import ArtifactError
from hpa.cache import PixelCache, cache_bytes, write_cache

IDS = [f"image{number}" for number in range(12)]
CHANNELS = ("red", "green")


def draw(seed):
    return np.random.default_rng(seed).integers(0, 256, (2, 16, 16)).astype(np.uint8)


def write(folder, read=draw, **options):
    folder.mkdir(exist_ok=True)
    write_cache(folder, IDS, range(len(IDS)), read, CHANNELS, 16, **options)


def test_every_image_is_in_its_row(tmp_path):
    with ThreadPoolExecutor(3) as executor:
        write(tmp_path, executor=executor)
    cache = PixelCache.open(tmp_path)
    assert len(cache) == 12
    assert cache.size == 16
    assert cache.channels == CHANNELS
    assert cache.image_ids == IDS
    for seed, pixels in enumerate(cache.pixels):
        assert np.array_equal(pixels, draw(seed))
    assert cache.rows(["image7", "image0"]).tolist() == [7, 0]
    with pytest.raises(ValueError, match="image99"):
        cache.rows(["image7", "image99"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["content.json", "pixels.npy"]


def test_the_pixels_are_mapped_and_cannot_be_written(tmp_path):
    write(tmp_path)
    cache = PixelCache.open(tmp_path)
    assert isinstance(cache.pixels, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        cache.pixels[0] = 0


def test_a_pickled_cache_is_small_and_maps_the_file_again(tmp_path):
    write(tmp_path)
    cache = PixelCache.open(tmp_path)
    assert np.array_equal(cache.pixels[3], draw(3))
    data = pickle.dumps(cache)
    assert len(data) < 1000
    again = pickle.loads(data)
    assert again == cache
    assert isinstance(again.pixels, np.memmap)
    assert np.array_equal(again.pixels[3], draw(3))


def test_a_broken_run_is_gone_on_with(tmp_path):
    seen = []

    def fails(seed):
        if seed == 5:
            raise RuntimeError("power cut")
        return draw(seed)

    with pytest.raises(RuntimeError, match="power cut"):
        write(tmp_path, fails)
    with pytest.raises(ValueError, match="not a cache"):
        PixelCache.open(tmp_path)

    def counts(seed):
        seen.append(seed)
        return draw(seed)

    write(tmp_path, counts)
    assert seen == list(range(5, 12))
    write(tmp_path.parent / "unbroken")
    for name in ("pixels.npy", "content.json"):
        assert (tmp_path / name).read_bytes() == (tmp_path.parent / "unbroken" / name).read_bytes()


def test_pixels_of_another_shape_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected uint8 pixels of shape \(2, 16, 16\)"):
        write(tmp_path, lambda seed: draw(seed)[:, :8])


def test_a_folder_with_another_cache_is_refused(tmp_path):
    with pytest.raises(RuntimeError):
        write(tmp_path, lambda seed: (_ for _ in ()).throw(RuntimeError()))
    with pytest.raises(ValueError, match="is wanted"):
        write_cache(tmp_path, IDS[:3], range(3), draw, CHANNELS, 16)


def test_a_full_disk_is_noticed_before_it_starts(tmp_path, monkeypatch):
    monkeypatch.setattr("hpa.artifacts.shutil.disk_usage", lambda path: type("Usage", (), {"free": 100})())
    with pytest.raises(ArtifactError, match="the cache of pixels needs"):
        write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_is_an_error_and_not_a_crash(tmp_path, monkeypatch):
    real = os.pwrite

    def full(file, data, offset):
        if len(data) > 100 and offset > 2000:
            raise OSError(28, "No space left on device")
        return real(file, data, offset)

    monkeypatch.setattr("hpa.cache.os.pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path)
    monkeypatch.undo()
    write(tmp_path)
    assert np.array_equal(PixelCache.open(tmp_path).pixels[11], draw(11))


def test_the_predicted_size_is_the_size(tmp_path):
    write(tmp_path)
    assert abs((tmp_path / "pixels.npy").stat().st_size - cache_bytes(12, 2, 16)) < 200


def test_what_is_no_cache(tmp_path):
    with pytest.raises(ValueError, match="`hpa cache` makes it"):
        PixelCache.open(tmp_path)
    write(tmp_path)
    np.save(tmp_path / "pixels.npy", np.zeros((3, 2, 16, 16), np.uint8))
    with pytest.raises(ValueError, match="does not fit"):
        PixelCache.open(tmp_path)
    (tmp_path / "content.json").write_text("{}")
    with pytest.raises(ValueError, match="not a cache"):
        PixelCache.open(tmp_path)
