import numpy as np
import pandas as pd
import pytest

from hpa.simulation import SimulationConfig, simulate_image
from hpa.simulation.likeness import compare, image_figures


def test_figures_of_a_drawn_image() -> None:
    pixels = np.zeros((4, 256, 256), np.uint8)
    y, x = np.ogrid[:256, :256]
    for middle in ((60, 60), (60, 180), (180, 120)):
        distance = np.hypot(y - middle[0], x - middle[1])
        pixels[2][distance < 20] = 120
        pixels[0][(distance < 40) & (distance >= 20)] = 80
    figures = image_figures(pixels, 0.5)
    assert figures["nuclei"] == 3
    assert figures["nucleus_area"] == pytest.approx(np.pi * 10**2, rel=0.08)
    assert figures["nuclei_share"] == pytest.approx(3 * np.pi * 400 / 256**2, rel=0.08)
    assert figures["cell_share"] == pytest.approx(3 * np.pi * 1600 / 256**2, rel=0.15)
    assert figures["mean_red"] == pytest.approx(pixels[0].mean())
    assert figures["p99_blue"] == 120
    assert figures["nucleus_blue"] == pytest.approx(120, rel=0.05)
    assert figures["cytoplasm_red"] == pytest.approx(80, rel=0.2)
    assert figures["mean_green"] == figures["grain_green"] == 0


@pytest.mark.parametrize("level", [0, 7, 255])
def test_an_image_of_one_level_has_figures(level: int) -> None:
    figures = image_figures(np.full((4, 64, 64), level, np.uint8), 0.3)
    assert all(np.isfinite(value) for value in figures.values())
    assert figures["nuclei"] == 0


def test_nuclei_are_counted_as_simulated() -> None:
    config = SimulationConfig(size=384, seed=8)
    for index in range(3):
        image = simulate_image(config, index)
        large = (image.cells["nucleus_area"] * config.pixel**2 >= 15).sum()
        assert image_figures(image.pixels, config.pixel)["nuclei"] == pytest.approx(large, abs=0.3 * large)


def test_a_set_is_like_itself_and_unlike_another() -> None:
    values = pd.DataFrame({"a": np.arange(100.0)})
    table = compare(values, values)
    assert table.loc["a", "overlap"] == pytest.approx(0.9, abs=0.02)
    assert table.loc["a", "real_q50"] == table.loc["a", "simulated_q50"] == 49.5
    assert compare(values, values + 1000).loc["a", "overlap"] == 0
