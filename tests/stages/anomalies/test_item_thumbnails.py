"""Thumbnails out of caches of images and of cells."""

import contextlib
import pickle
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from hpa.cache import PixelCache, write_cache
from hpa.cell_cache import CellCache, write_cell_cache
from hpa.images import CHANNELS
from hpa.parallel import WorkersConfig
from hpa.stages.anomalies import item_thumbnails
from hpa.stages.anomalies.item_thumbnails import PictureReader, curve_order, make_thumbnails

NONE = WorkersConfig(kind="none")
ITEMS = 30


def planes(number):
    """Flat channels: green tells the item, red is dark everywhere."""
    pixels = np.zeros((4, 32, 32), np.uint8)
    pixels[0], pixels[1] = 20, 8 * number
    return pixels


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    write_cache(folder, [str(number) for number in range(ITEMS)], range(ITEMS), planes, CHANNELS, 32)
    return PixelCache.open(folder)


def decode(content):
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)


def shown(thumbnails, item):
    """Mean colour of an item's thumbnail."""
    layout, place = thumbnails.format, int(thumbnails.places[item])
    row, column = divmod(place % layout.per_sheet, layout.columns)
    sheet, side = decode(thumbnails.sheets[place // layout.per_sheet]), layout.side
    return sheet[row * side : (row + 1) * side, column * side : (column + 1) * side].mean(axis=(0, 1))


def make(source, rows, places, budget=10**7, largest=32):
    return make_thumbnails(source, np.asarray(rows, np.int64), places, budget, largest, NONE)


def test_every_item_has_its_picture(images):
    places = np.random.default_rng(0).normal(size=(ITEMS, 2))
    thumbnails = make(images, range(ITEMS), places)
    assert sorted(thumbnails.places.tolist()) == list(range(ITEMS))
    greens = [shown(thumbnails, item)[1] for item in range(ITEMS)]
    assert np.corrcoef(greens, np.arange(ITEMS))[0, 1] > 0.99
    chosen = make(images, [29, 0], places[:2])
    assert shown(chosen, 0)[1] > 200 > 30 > shown(chosen, 1)[1]


def test_channels_are_brightened_alike_for_all(images):
    read = PictureReader(images, (6.0, 1.0, 1.0, 1.0))
    picture = read(10, 16)
    assert picture.shape == (16, 16, 3)
    assert picture[0, 0].tolist() == [120, 80, 0]
    thumbnails = make(images, range(ITEMS), np.zeros((ITEMS, 2)))
    reds = [shown(thumbnails, item)[0] for item in (5, 20)]
    np.testing.assert_allclose(reds, 120, atol=15)  # six times 20, the most


def test_neighbours_in_the_map_share_sheets(images):
    places = np.array([[number % 2, 0] for number in range(ITEMS)], float)
    thumbnails = make(images, range(ITEMS), places)
    assert thumbnails.places[::2].max() < thumbnails.places[1::2].min()


def test_smaller_budget_smaller_thumbnails(images):
    places = np.zeros((ITEMS, 2))
    assert make(images, range(ITEMS), places, largest=24).format.side == 24
    with pytest.raises(ValueError, match="do not fit"):
        make(images, range(ITEMS), places, budget=50)


def test_workers_give_the_same_bytes(images, monkeypatch):
    rows = np.arange(2100) % ITEMS
    places = np.random.default_rng(0).normal(size=(2100, 2))
    alone = make(images, rows, places, budget=400_000)
    used = []

    @contextlib.contextmanager
    def threads(workers):
        used.append(workers)
        with ThreadPoolExecutor(3) as executor:
            yield executor

    monkeypatch.setattr(item_thumbnails, "open_executor", threads)
    together = make(images, rows, places, budget=400_000)
    assert len(alone.sheets) > 2
    assert alone.sheets == together.sheets
    assert used == [NONE]
    pickle.loads(pickle.dumps(PictureReader(images)))(3, 8)  # as processes take it


def test_cells_are_brighter_than_what_is_beside_them(tmp_path):
    crop = np.zeros((1, 5, 16, 16), np.uint8)
    crop[:, 1] = 200
    crop[:, 4, :, :8] = 255  # the cell is the left half
    write_cell_cache(tmp_path, {"a": [3]}, ["a"], lambda key: crop, CHANNELS, 1, 16)
    picture = PictureReader(CellCache.open(tmp_path))(0, 16)
    assert picture[8, 2].tolist() == [0, 200, 0]
    assert picture[8, 12].tolist() == [0, 70, 0]
    assert make(CellCache.open(tmp_path), [0], np.zeros((1, 2)), largest=64).format.side == 16


def test_curve_keeps_neighbours_together():
    places = np.random.default_rng(0).uniform(size=(2000, 2))
    along = places[np.argsort(curve_order(places))]
    assert np.linalg.norm(np.diff(along, axis=0), axis=1).mean() < 0.06  # 0.52 in any order
    assert (curve_order(np.zeros((3, 2))) == 0).all()
