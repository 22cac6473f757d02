import numpy as np
import pytest

from hpa.explain.perturbation_config import CellSegments, SuperpixelSegments, WholeImageSegment
from hpa.explain.segments import build_segments, superpixels


def image(seed=0, channels=4, height=40, width=60):
    return np.random.default_rng(seed).integers(0, 256, (channels, height, width)).astype(np.uint8)


def cell_map():
    cells = np.zeros((40, 60), np.uint16)
    cells[5:15, 5:20] = 300  # above what a uint8 holds
    cells[20:35, 30:50] = 7
    return cells


def check(segments, shape=(40, 60)):
    """What the class promises."""
    used = np.unique(segments.numbers[segments.numbers >= 0])
    assert segments.numbers.shape == shape
    assert used.tolist() == list(range(len(segments)))
    assert segments.sizes.tolist() == [(segments.numbers == number).sum() for number in used]


def test_superpixels_follow_what_is_seen_in_any_channel():
    for channel in range(4):
        pixels = np.zeros((4, 40, 60), np.uint8)
        pixels[channel, 10:30, 17:44] = 200
        segments = build_segments(SuperpixelSegments(count=30, sigma=0), pixels)
        check(segments)
        assert 15 <= len(segments) <= 45
        inside = np.unique(segments.numbers[10:30, 17:44])
        outside = np.unique(segments.numbers[pixels[channel] == 0])
        assert not set(inside) & set(outside)
        assert (segments.cell_ids == 0).all()


def test_compact_superpixels_are_a_grid():
    # Ten by fifteen pixels each, whatever is seen: no piece of a grid is much larger than another.
    segments = superpixels(image(), SuperpixelSegments(count=16, compactness=1e4))
    check(segments)
    assert segments.sizes.max() <= 2 * segments.sizes.min()


@pytest.mark.parametrize("value", [0, 255])
def test_an_image_without_structure_is_cut_too(value):
    segments = superpixels(np.full((1, 40, 60), value, np.uint8), SuperpixelSegments(count=20))
    check(segments)
    assert len(segments) >= 10


def test_the_same_image_gives_the_same_superpixels_as_bytes_or_floats():
    one = superpixels(image(), SuperpixelSegments())
    two = superpixels(image().astype(np.float32), SuperpixelSegments())
    assert (one.numbers == two.numbers).all()


def test_cells_and_the_background_as_one():
    segments = build_segments(CellSegments(), image(), cell_map())
    check(segments)
    assert sorted(segments.cell_ids) == [0, 7, 300]
    for cell in (0, 7, 300):
        number = segments.cell_ids.tolist().index(cell)
        assert ((segments.numbers == number) == (cell_map() == cell)).all()


def test_a_kept_background_belongs_to_no_segment():
    segments = build_segments(CellSegments(background="kept"), image(), cell_map())
    check(segments)
    assert segments.cell_ids.tolist() == [7, 300]
    assert ((segments.numbers == -1) == (cell_map() == 0)).all()


def test_a_background_in_pieces():
    config = CellSegments(background="superpixels", superpixels=SuperpixelSegments(count=8))
    segments = build_segments(config, image(), cell_map())
    check(segments)
    pieces = np.flatnonzero(segments.cell_ids == 0)
    assert len(pieces) >= 4
    assert (np.isin(segments.numbers, pieces) == (cell_map() == 0)).all()
    assert sorted(segments.cell_ids[segments.cell_ids > 0]) == [7, 300]


def test_a_label_map_of_another_size_is_brought_to_the_images():
    fine = np.kron(cell_map(), np.ones((5, 3), np.uint16))
    segments = build_segments(CellSegments(), image(), fine)
    same = build_segments(CellSegments(), image(), cell_map())
    assert (segments.numbers == same.numbers).all()
    assert (segments.cell_ids == same.cell_ids).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.uint32])
def test_label_maps_of_any_integers(dtype):
    cells = (cell_map() > 0).astype(dtype)
    segments = build_segments(CellSegments(), image(), cells)
    assert segments.cell_ids.tolist() == [0, 1]


def test_a_cell_that_no_pixel_meets_has_no_segment():
    fine = np.zeros((4000, 6000), np.uint16)
    fine[100:900, 100:900] = 1
    fine[2000:2002, 3000:3002] = 2
    segments = build_segments(CellSegments(), image(), fine)
    check(segments)
    assert segments.cell_ids.tolist() == [0, 1]


def test_an_image_full_of_cells_has_no_background():
    full = np.ones((40, 60), np.uint16)
    for background in ("one", "kept", "superpixels"):
        assert build_segments(CellSegments(background=background), image(), full).cell_ids.tolist() == [1]


def test_an_image_without_cells():
    empty = np.zeros((40, 60), np.uint16)
    assert len(build_segments(CellSegments(), image(), empty)) == 1
    pieces = build_segments(CellSegments(background="superpixels"), image(), empty)
    check(pieces)
    assert len(pieces) > 4
    with pytest.raises(ValueError, match=r"no cell and the background is kept.*background=one"):
        build_segments(CellSegments(background="kept"), image(), empty)


def test_missing_label_maps():
    with pytest.raises(ValueError, match=r"hpa segment_cells.*superpixels"):
        build_segments(CellSegments(), image())


def test_the_whole_image_is_one_segment():
    segments = build_segments(WholeImageSegment(), image())
    check(segments)
    assert segments.sizes.tolist() == [2400]
