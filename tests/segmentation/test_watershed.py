import cv2
import numpy as np
import pytest

from hpa.config import ConfigError, validate
from hpa.images import CHANNELS, read_image
from hpa.segmentation.watershed import WatershedConfig, watershed
from hpa.simulation import SimulationConfig, simulate_image


def f1(found, truth, least):
    """F1 at an IoU, by counting every pair."""
    hits = 0
    for number in np.unique(truth[truth > 0]):
        mask = truth == number
        other = found == np.bincount(found[mask]).argmax()
        hits += found[mask].any() and (mask & other).sum() / (mask | other).sum() > least
    return 2 * hits / (len(np.unique(truth[truth > 0])) + len(np.unique(found[found > 0])))


def is_consistent(found):
    numbers = list(range(1, int(found.cells.max()) + 1))
    same = (found.nuclei == found.cells) | (found.nuclei == 0)
    return same.all() and all((found.nuclei == number).any() for number in numbers)


@pytest.mark.parametrize("size", [256, 512])
def test_simulated_cells(size):
    scores, nuclei = [], []
    for index in (0, 9, 21, 34):
        config = SimulationConfig(size=size, seed=5)
        shown = simulate_image(config, index)
        for pixel_size in (None, config.pixel):
            found = watershed(shown.pixels, CHANNELS, WatershedConfig(pixel_size=pixel_size))
            assert is_consistent(found)
            scores.append(f1(found.cells, shown.cell_map, 0.6))
            nuclei.append(f1(found.nuclei, shown.nucleus_map, 0.5))
    assert np.mean(scores) > 0.85
    assert np.mean(nuclei) > 0.9


def test_channels_by_name_and_in_any_order():
    shown = simulate_image(SimulationConfig(size=256, seed=5), 0)
    expected = watershed(shown.pixels, CHANNELS)
    order = [2, 0, 3, 1]
    found = watershed(shown.pixels[order], [CHANNELS[index] for index in order])
    assert (found.cells == expected.cells).all()
    names = {"red": "tubulin", "green": "protein", "blue": "dapi", "yellow": "er"}
    config = WatershedConfig(nucleus_channel="dapi", cell_channels=("tubulin", "er"))
    found = watershed(shown.pixels, [names[name] for name in CHANNELS], config)
    assert (found.cells == expected.cells).all()
    one_stain = watershed(shown.pixels[[0, 1, 2]], ("red", "green", "blue"))
    assert f1(one_stain.cells, shown.cell_map, 0.5) > 0.6


def test_nuclei_alone():
    shown = simulate_image(SimulationConfig(size=256, seed=5), 0)
    for pixels, channels in ((shown.pixels[2:3], ["grey"]), (shown.pixels[1:3], ["green", "blue"])):
        found = watershed(pixels, channels)
        assert (found.cells == found.nuclei).all()
        assert f1(found.nuclei, shown.nucleus_map, 0.5) > 0.9


def test_a_ring_is_filled_and_every_cell_holds_its_nucleus():
    rows, columns = np.mgrid[:200, :200]
    away = np.hypot(rows - 100, columns - 100)
    beside = np.hypot(rows - 100, columns - 70)
    pixels = np.zeros((4, 200, 200), np.uint8)
    pixels[0] = pixels[3] = np.where((away < 60) & (np.hypot(rows - 100, columns - 125) > 15), 150, 3)
    pixels[2] = np.where(beside < 15, 200, 3)
    found = watershed(pixels, CHANNELS)
    assert found.cells.max() == 1
    assert found.cells[100, 125] == 1
    assert (found.cells > 0).sum() / (away < 60).sum() == pytest.approx(1, abs=0.1)
    assert (found.nuclei > 0).sum() / (beside < 15).sum() == pytest.approx(1, abs=0.2)


def test_nothing_noise_and_cells_without_nuclei():
    for shape in ((1, 1), (5, 120), (90, 70)):
        for value in (0, 255):
            found = watershed(np.full((4, *shape), value, np.uint8), CHANNELS)
            assert found.cells.shape == shape
            assert not found.cells.any()
    noise = np.random.default_rng(0).integers(0, 256, (4, 120, 90)).astype(np.uint8)
    assert is_consistent(watershed(noise, CHANNELS))
    noise[2] = 0
    assert not watershed(noise, CHANNELS).cells.any()


def test_what_does_not_fit():
    with pytest.raises(ValueError, match=r"expected pixels of the channels \['blue'\], but got 2 planes"):
        watershed(np.zeros((2, 9, 9), np.uint8), ["blue"])
    with pytest.raises(ValueError, match=r"a channel 'blue' that shows nuclei, but there are \['red', 'dapi'\]; name"):
        watershed(np.zeros((2, 9, 9), np.uint8), ["red", "dapi"])
    with pytest.raises(ConfigError, match=r"least_radius <= most_radius, but got 5\.0 > 2\.0"):
        validate(WatershedConfig, {"least_radius": 5, "most_radius": 2})


def test_real_images(sample_data):
    """Against the cells of hpacellseg's networks."""
    scores = []
    for path in sorted((sample_data / "hpa2021" / "masks").glob("*.png")):
        files = [sample_data / "hpa2021" / "train" / f"{path.stem}_{channel}.png" for channel in CHANNELS]
        found = watershed(read_image(files, CHANNELS), CHANNELS)
        scores.append(f1(found.cells, cv2.imread(str(path), cv2.IMREAD_UNCHANGED), 0.6))
    assert np.mean(scores) >= 0.85
