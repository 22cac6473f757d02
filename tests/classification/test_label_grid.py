import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa.classification.label_grid import grid_points, shrink_label_map, square_label_map
from hpa.images import resize


def blocks(height, width, side):
    """A label map of square blocks with numbers far apart."""
    rows, columns = np.arange(height) // side, np.arange(width) // side
    return ((rows[:, None] * 7 + columns * 3) % 5 * 50).astype(np.uint16)


@pytest.mark.parametrize("fit", ["stretch", "pad", "crop"])
@pytest.mark.parametrize(("height", "width"), [(120, 120), (120, 80), (77, 131)])
@pytest.mark.parametrize("size", [40, 150])
def test_numbers_are_where_the_resized_image_has_them(fit, height, width, size):
    cell_map = blocks(height, width, 30)
    pixels = resize(cell_map.astype(np.uint8)[None], size, fit)[0]
    shrunk = shrink_label_map(square_label_map(cell_map, fit), size)
    assert shrunk.dtype == np.uint16
    assert shrunk.shape == (size, size)
    assert set(np.unique(shrunk)) <= set(np.unique(cell_map)) | {0}
    # The image mixes neighbours at the edges of the blocks, which are a small part of it.
    assert (pixels == shrunk).mean() > 0.8
    flat = np.zeros((size, size), bool)
    flat[2:-2, 2:-2] = np.lib.stride_tricks.sliding_window_view(shrunk, (5, 5)).std(axis=(2, 3)) == 0
    assert (pixels == shrunk)[flat].all()


def test_the_size_it_has_changes_nothing():
    cell_map = np.random.default_rng(0).integers(0, 60000, (50, 50)).astype(np.uint16)
    assert np.array_equal(shrink_label_map(square_label_map(cell_map, "crop"), 50), cell_map)


@given(st.integers(0, 2**32 - 1), st.integers(4, 60), st.integers(4, 60), st.integers(2, 40))
def test_every_cell_has_points_and_they_are_its_own(seed, height, width, resolution):
    draws = np.random.default_rng(seed)
    cell_map = (draws.integers(0, 9, (height, width)) * draws.integers(1, 7000)).astype(np.uint16)
    cell_ids, cells, places = grid_points(cell_map, resolution)
    assert cell_ids.tolist() == sorted(set(cell_map.ravel().tolist()) - {0})
    assert (np.diff(cells) >= 0).all()
    assert np.array_equal(np.unique(cells), np.arange(len(cell_ids)))
    grid = shrink_label_map(cell_map, resolution).ravel()
    for number, cell_id in enumerate(cell_ids):
        own = places[cells == number]
        if (grid == cell_id).any():
            assert np.array_equal(np.sort(own), np.flatnonzero(grid == cell_id))
        else:
            rows, columns = np.nonzero(cell_map == cell_id)
            known = {
                r * resolution // height * resolution + c * resolution // width
                for r, c in zip(rows, columns, strict=True)
            }
            assert len(own) == 1
            assert int(own[0]) in known


def test_an_empty_map_has_no_cells():
    cell_ids, cells, places = grid_points(np.zeros((5, 5), np.uint16), 4)
    assert len(cell_ids) == len(cells) == len(places) == 0
