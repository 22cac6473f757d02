import numpy as np
import pandas as pd
import pytest

from hpa.anomaly.duplicates import DuplicateConfig, thumbnails
from hpa.anomaly.histogram import HistogramConfig, JointHistogramConfig, joint_counts
from hpa.anomaly.measures import measure_image
from hpa.anomaly.quality import SaturatedConfig
from hpa.cache import PixelCache, write_cache
from hpa.cell_cache import CellCache, write_cell_cache
from hpa.parallel import WorkersConfig
from hpa.stages.anomalies import pixel_figures
from hpa.stages.anomalies.pixel_figures import CellPixels, ImagePixels, joint_name, measures_of, take_figures

HERE = WorkersConfig(kind="none")


@pytest.fixture
def images(tmp_path, monkeypatch) -> ImagePixels:
    monkeypatch.setattr(pixel_figures, "BLOCK", 3)
    pixels = np.random.default_rng(0).integers(0, 256, (7, 2, 16, 16), np.uint8)
    names = [f"i{row}" for row in range(7)]
    (tmp_path / "cache").mkdir()
    write_cache(tmp_path / "cache", names, range(7), lambda row: pixels[row], ["green", "blue"], 16)
    return ImagePixels(PixelCache.open(tmp_path / "cache"))


@pytest.fixture
def cells(tmp_path) -> CellPixels:
    """Cells of two scales in a cache, some of them, in another order."""
    generator = np.random.default_rng(0)
    crops = generator.integers(0, 256, (5, 6, 16, 16), np.uint8)
    crops[:, [2, 5]] = np.where(generator.random((5, 2, 16, 16)) < 0.5, 255, 0)
    (tmp_path / "cells").mkdir()
    write_cell_cache(
        tmp_path / "cells", {"a": [1, 2, 3, 4, 5]}, ["a"], lambda _: crops, ["green", "blue"], scales=2, size=16
    )
    cache = CellCache.open(tmp_path / "cells")
    return CellPixels(cache, cache.rows(pd.DataFrame({"image_id": ["a"] * 3, "cell_id": [4, 1, 2]})))


DETECTORS = (SaturatedConfig(), DuplicateConfig(), JointHistogramConfig(channels=("blue", "green")))


def test_images_of_all_blocks_in_order(images, tmp_path) -> None:
    found = take_figures(images, DETECTORS, True, tmp_path, HERE)
    pixels = images.cache.pixels
    assert found["histograms"].shape == (7, 2, 32)
    for row in (0, 4, 6):
        measured = measure_image(np.array(pixels[row]))
        np.testing.assert_array_equal(measures_of(found).shape[row], measured.shape)
        np.testing.assert_array_equal(found["thumbnails"][row], thumbnails(pixels[row][None])[0])
        expected = joint_counts(pixels[row, 1], pixels[row, 0])
        np.testing.assert_array_equal(found[joint_name("blue", "green")][row, 0], expected)
        expected = np.histogram(pixels[row, 1], 32, (0, 256))[0]
        np.testing.assert_array_equal(found["histograms"][row, 1], expected)


def test_blocks_that_stand_are_not_taken_again(images, tmp_path) -> None:
    first = take_figures(images, DETECTORS, False, tmp_path, HERE)
    paths = sorted((tmp_path / pixel_figures.FOLDER).iterdir())
    assert len(paths) == 3
    paths[1].unlink()
    stamps = [paths[0].stat().st_mtime_ns, paths[2].stat().st_mtime_ns]
    second = take_figures(images, DETECTORS, False, tmp_path, HERE)
    assert [paths[0].stat().st_mtime_ns, paths[2].stat().st_mtime_ns] == stamps
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_nothing_is_read_that_nobody_needs(images, tmp_path) -> None:
    assert take_figures(images, [HistogramConfig()], False, tmp_path, HERE) == {}
    assert not (tmp_path / pixel_figures.FOLDER).exists()
    assert set(take_figures(images, [DuplicateConfig()], False, tmp_path, HERE)) == {"thumbnails"}


def test_cells_count_within_their_masks_at_the_first_scale(cells, tmp_path) -> None:
    found = take_figures(cells, [JointHistogramConfig()], True, tmp_path, HERE)
    crops = cells.cache.read(np.array([3, 0, 1]))
    pixels, masks = cells.read(0, 3)
    np.testing.assert_array_equal(pixels, crops[:, :2])
    for row in range(3):
        own = crops[row, 2] > 0
        np.testing.assert_array_equal(masks[row], own)
        expected = np.histogram(crops[row, 1][own], 32, (0, 256))[0]
        np.testing.assert_array_equal(found["histograms"][row, 1], expected)
        assert found[joint_name("green", "blue")][row].sum() == own.sum()


def test_a_channel_that_is_not_there_is_named(images, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"joint_histogram: expected channels out of \['green', 'blue'\].*'red'"):
        take_figures(images, [JointHistogramConfig(channels=("red", "blue"))], False, tmp_path, HERE)
