import numpy as np
import pytest

from hpa.images import CHANNELS
from hpa.segmentation.cell_table import MEASURES, QualityConfig, measure_cells
from hpa.segmentation.maps import CellMaps
from hpa.simulation import DefectsConfig, SimulationConfig, simulate_image


def image(height=200, width=300):
    """Complete, cut at the left edge, at the edge with a whole nucleus, without nucleus, and tiny."""
    cells = np.zeros((height, width), np.uint16)
    nuclei = np.zeros_like(cells)
    cells[50:100, 60:110], nuclei[60:80, 70:90] = 1, 1
    cells[20:60, 0:30], nuclei[30:50, 0:5] = 2, 2
    cells[150:200, 100:150], nuclei[160:180, 110:130] = 3, 3
    cells[120:160, 200:250] = 4
    cells[20:28, 200:210], nuclei[22:26, 202:206] = 5, 5
    cells[60:110, 200:250], nuclei[65:85, 205:225] = 6, 6
    pixels = np.random.default_rng(0).integers(0, 255, (4, height, width)).astype(np.uint8)
    return CellMaps(cells, nuclei), pixels


def test_every_measure():
    maps, pixels = image()
    table = measure_cells("a", maps, pixels, CHANNELS)
    assert list(table.columns) == [*MEASURES, *(f"sum_{name}" for name in CHANNELS)]
    assert table["image_id"].tolist() == ["a"] * 6
    assert table["cell_id"].tolist() == [1, 2, 3, 4, 5, 6]
    assert table.loc[0, ["left", "top", "right", "bottom"]].tolist() == [60, 50, 110, 100]
    assert table["area"].tolist() == [2500, 1200, 2500, 2000, 80, 2500]
    assert table["nucleus_area"].tolist() == [400, 100, 400, 0, 16, 400]
    assert table["touches_border"].tolist() == [False, True, True, False, False, False]
    assert table["visible_nucleus"].tolist() == [1, 0.25, 1, 0, 1, 1]
    assert table["is_without_nucleus"].tolist() == [False, False, False, True, False, False]
    assert table["is_small"].tolist() == [False, False, False, False, True, False]
    assert not table["is_large"].any()
    for number in range(1, 7):
        for index, name in enumerate(CHANNELS):
            assert table.loc[number - 1, f"sum_{name}"] == pixels[index][maps.cells == number].sum()


@pytest.mark.parametrize("edge", ["top", "left", "bottom", "right"])
def test_every_edge_of_the_image_is_an_edge(edge):
    cells = np.zeros((40, 40), np.uint16)
    cells[10:30, 10:30] = 1
    where = {"top": np.s_[0, 15:20], "left": np.s_[15:20, 0], "bottom": np.s_[-1, 15:20], "right": np.s_[15:20, -1]}
    cells[where[edge]] = 2
    table = measure_cells("a", CellMaps(cells, cells), np.zeros((1, 40, 40), np.uint8), ["blue"])
    assert table["touches_border"].tolist() == [False, True]
    assert table["visible_nucleus"].tolist() == [1, 5 / 400]


def test_what_a_complete_nucleus_is():
    maps, pixels = image()
    table = measure_cells("a", maps, pixels, CHANNELS, nucleus_area=1000.0)
    assert table["visible_nucleus"].tolist() == [1, 0.1, 1, 0, 1, 1]
    cut = np.zeros((20, 20), np.uint16)
    cut[0:4, 0:4], cut[10:18, 0:4] = 1, 2
    table = measure_cells("a", CellMaps(cut, cut), np.zeros((4, 20, 20), np.uint8), CHANNELS)
    assert table["visible_nucleus"].tolist() == [0.5, 1]  # all are cut: the largest is the best guess
    assert not table["is_small"].any()


def test_large_cells_and_settings():
    maps, pixels = image()
    config = QualityConfig(small=0.0, large=1.0)
    table = measure_cells("a", maps, pixels, CHANNELS, config)
    assert not table["is_small"].any()
    assert table["is_large"].tolist() == [True, False, True, False, False, True]  # the median is 2250


def test_images_without_cells_and_numbers_that_do_not_occur():
    nothing = np.zeros((30, 20), np.uint16)
    table = measure_cells("a", CellMaps(nothing, nothing), np.zeros((4, 30, 20), np.uint8), CHANNELS)
    assert len(table) == 0
    filled = measure_cells("a", *image(), CHANNELS)
    assert table.dtypes.to_dict() == filled.dtypes.to_dict()
    gap = nothing.copy()
    gap[3:5, 3:5] = 7
    table = measure_cells("a", CellMaps(gap, nothing), np.zeros((4, 30, 20), np.uint8), CHANNELS)
    assert table["cell_id"].tolist() == [7]
    assert np.isnan(table["focus"].tolist()).all()
    assert not table["is_blurred"].any()


def test_what_does_not_fit():
    maps, pixels = image()
    with pytest.raises(ValueError, match=r"a: expected pixels of the channels \['blue'\], but got 4 planes"):
        measure_cells("a", maps, pixels, ["blue"])
    with pytest.raises(ValueError, match=r"a: expected label maps of the image's size, \(200, 299\)"):
        measure_cells("a", maps, pixels[:, :, :299], CHANNELS)


@pytest.mark.parametrize("size", [320, 512])
def test_blurred_cells_are_found_at_any_magnification(size):
    for blurred in (0.0, 1.0):
        config = SimulationConfig(size=size, seed=3, defects=DefectsConfig(out_of_focus=blurred))
        for index in range(2):
            shown = simulate_image(config, index)
            maps = CellMaps(shown.cell_map, shown.nucleus_map)
            quality = QualityConfig(pixel_size=config.pixel)
            table = measure_cells(shown.image_id, maps, shown.pixels, CHANNELS, quality)
            assert abs(table["is_blurred"].mean() - blurred) <= 0.15
            truth = shown.cells.set_index("cell_id").loc[table["cell_id"]]
            assert table["area"].tolist() == truth["area"].tolist()
            assert table["nucleus_area"].tolist() == truth["nucleus_area"].tolist()
            assert table["touches_border"].tolist() == truth["touches_border"].astype(bool).tolist()
