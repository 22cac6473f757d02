import cv2
import numpy as np
import pytest

from hpa.config import ConfigError, validate
from hpa.segmentation.maps import BACKGROUND, BORDER, OBJECT, CellMaps, ProbabilityMaps
from hpa.segmentation.postprocessing import PostprocessingConfig, label_cells


def matched(found, expected):
    """IoU of every expected instance with the found one that overlaps it most."""
    ious = []
    for number in np.unique(expected[expected > 0]):
        mask = expected == number
        best = np.bincount(found[mask])
        best[0] = 0
        other = found == best.argmax()
        ious.append((mask & other).sum() / (mask | other).sum() if best.any() else 0.0)
    return np.array(ious)


def planes(objects, borders):
    """Probability planes, blurred a little as a network's."""
    stack = np.zeros((3, *objects.shape), np.float32)
    stack[BORDER], stack[OBJECT] = borders, objects & ~borders
    stack[BACKGROUND] = 1 - stack[BORDER] - stack[OBJECT]
    return np.stack([np.round(cv2.GaussianBlur(plane, (0, 0), 1) * 255).astype(np.uint8) for plane in stack])


def grid(rows, columns, pitch=24, border=3, height=None, width=None):
    """Square cells that touch along borders, with square nuclei: maps, cells, nuclei (numbers in scan order)."""
    height, width = height or rows * pitch, width or columns * pitch
    down, right = np.mgrid[:height, :width]
    number = (down // pitch) * columns + right // pitch + 1
    within = (down < rows * pitch) & (right < columns * pitch)
    cells = np.where(within, number, 0).astype(np.uint16)
    middle = np.maximum(np.abs(down % pitch - pitch / 2 + 0.5), np.abs(right % pitch - pitch / 2 + 0.5))
    nuclei = np.where(middle < pitch / 5, cells, 0).astype(np.uint16)
    edge = np.minimum(np.minimum(down % pitch, right % pitch), pitch - 1 - np.maximum(down % pitch, right % pitch))
    is_border = within & (edge < border / 2)
    nothing = np.zeros(cells.shape, bool)
    return ProbabilityMaps(planes(nuclei > 0, nothing), planes(cells > 0, is_border), height, width), cells, nuclei


PITCH_PIXEL = 0.08 * 300 / 24
"""Pixel size at which cells of 24 pixels are as wide as 300 pixels of 0.08 µm."""


def test_touching_cells_are_told_apart_and_share_numbers_with_their_nuclei():
    maps, cells, nuclei = grid(5, 7, height=130, width=190)
    found = label_cells(maps, pixel_size=PITCH_PIXEL)
    assert found.cells.shape == found.nuclei.shape == (130, 190)
    assert found.cells.dtype == found.nuclei.dtype == np.uint16
    assert found.cells.max() == 35
    assert matched(found.cells, cells).min() > 0.7
    assert matched(found.nuclei, nuclei).min() > 0.7
    for number in range(1, 36):
        assert (found.cells[found.nuclei == number] == number).all()
        assert (found.nuclei == number).any()


def test_cells_do_not_touch():
    maps, _, _ = grid(3, 3, pitch=60)
    for mode in ("full", "fast"):
        config = PostprocessingConfig(mode=mode, fast_scale=0.5)
        found = label_cells(maps, config, 0.08 * 300 / 60).cells.astype(int)
        assert found.max() == 9
        for one, other in ((found[1:], found[:-1]), (found[:, 1:], found[:, :-1])):
            assert not ((one != other) & (one > 0) & (other > 0)).any()


def test_more_than_255_cells_do_not_wrap():
    maps, cells, _ = grid(20, 22)
    found = label_cells(maps, pixel_size=PITCH_PIXEL)
    assert found.cells.max() == 440
    assert matched(found.cells, cells).min() > 0.7
    assert len(np.unique(found.nuclei)) == 441


def test_any_resolution_of_the_maps_and_any_mode():
    maps, cells, nuclei = grid(3, 4, pitch=96, border=8, height=300, width=400)
    small = [
        np.stack([cv2.resize(plane, (100, 75), interpolation=cv2.INTER_AREA) for plane in stack])
        for stack in (maps.nuclei, maps.cells)
    ]
    reduced = ProbabilityMaps(small[0], small[1], 300, 400)
    for given in (maps, reduced):
        for mode in ("full", "fast"):
            found = label_cells(given, PostprocessingConfig(mode=mode), 0.08 * 300 / 96)
            assert found.cells.shape == (300, 400)
            assert found.cells.max() == 12
            assert matched(found.cells, cells).mean() > 0.9
            assert matched(found.nuclei, nuclei).mean() > 0.85
            assert (found.cells[found.nuclei > 0] == found.nuclei[found.nuclei > 0]).all()


def test_sizes_follow_the_pixel_size():
    maps, _, _ = grid(3, 4)
    assert label_cells(maps, pixel_size=PITCH_PIXEL).cells.max() == 12
    assert not label_cells(maps, pixel_size=0.08).cells.any()  # 576 pixels are no cell there
    tiny = PostprocessingConfig(min_cell_area=100.0, min_nucleus_area=50.0, min_seed_area=10.0, closing_radius=0.0)
    assert label_cells(maps, tiny, 0.08).cells.max() == 12
    with pytest.raises(ValueError, match="pixel size above 0 µm, but got 0.0"):
        label_cells(maps, pixel_size=0.0)


def test_cells_without_a_nucleus():
    maps, cells, _ = grid(2, 3)
    maps.nuclei[:, cells == 2] = 0
    dropped = label_cells(maps, pixel_size=PITCH_PIXEL)
    assert dropped.cells.max() == 5
    assert not dropped.cells[5:18, 29:42].any()
    kept = label_cells(maps, PostprocessingConfig(cells_without_nucleus="keep"), PITCH_PIXEL)
    assert kept.cells.max() == 6
    assert matched(kept.cells, cells).min() > 0.7
    assert len(np.unique(kept.nuclei)) == 6
    for found in (dropped, kept):
        assert sorted(set(np.unique(found.cells)) - {0}) == list(range(1, found.cells.max() + 1))


def test_a_region_with_two_nuclei_is_parted_where_the_cell_is_improbable():
    objects = np.zeros((80, 160), bool)
    objects[5:75, 5:155] = True
    nothing = np.zeros_like(objects)
    nuclei = nothing.copy()
    nuclei[30:50, 30:50] = nuclei[30:50, 100:120] = True
    cells = planes(objects, nothing)
    cells[OBJECT, :, 58:63] //= 2  # nearer to the left nucleus
    found = label_cells(ProbabilityMaps(planes(nuclei, nothing), cells, 80, 160), pixel_size=0.08 * 4)
    assert found.cells.max() == 2
    columns = np.flatnonzero((found.cells[40, :-1] == 1) & (found.cells[40, 1:] != 1))
    assert len(columns) == 1
    assert 54 <= columns[0] <= 66


def test_a_border_that_no_cell_touches_is_no_cell():
    maps, _, _ = grid(2, 2, pitch=60, height=240, width=240)
    maps.cells[BORDER, 160:230, 20:220] = 255
    found = label_cells(maps, pixel_size=0.08 * 300 / 60)
    assert found.cells.max() == 4
    assert not found.cells[150:].any()


def test_holes_and_notches_are_filled():
    maps, _, _ = grid(1, 1, pitch=120)
    maps.cells[:, 20:30, 20:30] = 0
    found = label_cells(maps, pixel_size=0.08 * 300 / 120)
    assert (found.cells[20:30, 20:30] == 1).all()


def test_nuclei_alone_are_their_own_cells():
    maps, _, nuclei = grid(4, 5)
    for mode in ("full", "fast"):
        alone = ProbabilityMaps(maps.nuclei, None, maps.height, maps.width)
        found = label_cells(alone, PostprocessingConfig(mode=mode, fast_scale=0.5), PITCH_PIXEL)
        assert found.cells.max() == 20
        assert (found.cells == found.nuclei).all()
        assert matched(found.nuclei, nuclei).mean() > 0.7  # the blur adds a rim to 9 pixels


@pytest.mark.parametrize("mode", ["full", "fast"])
@pytest.mark.parametrize("rule", ["drop", "keep"])
def test_maps_of_nothing_of_everything_and_of_noise(mode, rule):
    config = PostprocessingConfig(mode=mode, cells_without_nucleus=rule)
    for height, width in ((1, 1), (3, 200), (65, 33)):
        empty = np.zeros((3, height, width), np.uint8)
        found = label_cells(ProbabilityMaps(empty, empty, height, width), config)
        assert not found.cells.any()
        assert found.cells.shape == (height, width)
        full = np.full((3, height, width), 255, np.uint8)
        label_cells(ProbabilityMaps(full, full, height, width), config)
    noise = np.random.default_rng(0).integers(0, 256, (2, 3, 600, 600)).astype(np.uint8)
    found = label_cells(ProbabilityMaps(noise[0], noise[1], 600, 600), config)
    assert isinstance(found, CellMaps)


def test_settings_are_checked():
    with pytest.raises(ConfigError) as error:
        validate(PostprocessingConfig, {"mode": "quick", "fast_scale": 0, "nucleus_threshold": 40, "min_area": 3})
    assert len(error.value.problems) == 4


@pytest.mark.parametrize("name", ["p1728_30", "p2048_30"])
def test_agrees_with_the_original(sample_data, name):
    folder = sample_data.parent / "hpacellseg" / "predictions"
    with np.load(folder / f"{name}.npz") as given, np.load(folder / f"{name}.labels.npz") as expected:
        nuclei, cells = (np.ascontiguousarray(given[key].transpose(2, 0, 1)) for key in ("nuclei_pred", "cell_pred"))
        truth = CellMaps(expected["cell_label"], expected["nuclei_label"])
    maps = ProbabilityMaps(nuclei, cells, nuclei.shape[1], nuclei.shape[2])
    for mode, least in (("full", 0.98), ("fast", 0.95)):
        found = label_cells(maps, PostprocessingConfig(mode=mode))
        assert found.cells.max() == truth.cells.max()
        assert matched(found.cells, truth.cells).mean() >= least
        assert matched(found.nuclei, truth.nuclei).mean() >= least
