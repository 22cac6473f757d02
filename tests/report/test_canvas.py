"""Drawing leaves no state behind and takes any text."""

import warnings

import cv2
import numpy as np
import pytest
from matplotlib import _pylab_helpers

from hpa.report.bars import columns, count_bars, precision_bars
from hpa.report.canvas import logarithmic_x, new_drawing, plain
from hpa.report.curves import intensity_histograms
from hpa.report.heatmaps import heat_map, intensity_maps


def read(png: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


ODD = [r"cost $\frac{1}{0}$ and $x^{$", "<b>&", "細胞 🧬", "a\nb\tc", "x" * 300, ""]


def test_any_text_is_drawn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(count_bars(ODD, [1, 2, 3, 4, 5, 6], 10))
        read(heat_map(np.zeros((6, 6)), ODD))
        read(precision_bars(ODD, [0.5] * 6, [0.1] * 6, [3] * 6))
        read(columns(ODD[:3], [1, 2, 3], "x"))
    assert plain("$a$") == r"\$a\$"
    assert len(plain("x" * 300)) == 30


def test_no_figure_stays_open() -> None:
    count_bars(["a"], [1], 1)
    assert not _pylab_helpers.Gcf.figs


def test_same_drawing_same_bytes() -> None:
    assert count_bars(["a", "b"], [1, 2], 3) == count_bars(["a", "b"], [1, 2], 3)
    assert count_bars(["a", "b"], [1, 2], 3) != count_bars(["a", "b"], [2, 1], 3)


@pytest.mark.parametrize("classes", [1, 28])
def test_figures_fit_the_page_for_any_number_of_classes(classes: int) -> None:
    names = [f"Class with a long name {number}" for number in range(classes)]
    values = np.linspace(0, 1, classes)
    shares = {"green": np.full((classes, 32), 1 / 32)}
    for png in (
        count_bars(names, [5] * classes, 5),
        precision_bars(names, values.tolist(), [0.1] * classes, [4] * classes),
        heat_map(np.eye(classes), names, None, [["10k"] * classes] * classes),
        intensity_maps(shares, names),
    ):
        image = read(png)
        assert image.shape[1] <= 9.7 * 160
        assert (image < 128).any()  # something is drawn


def test_heat_map_is_darker_where_the_value_is_higher() -> None:
    image = read(heat_map(np.array([[0.0, 1.0]]), ["row"], ["a", "b"]))
    dark = (image[..., 2] < 40) & (image[..., 0] > 80)  # the dark end of the blues (channels are blue, green, red)
    assert dark.any()
    assert not ((read(heat_map(np.array([[0.0, 0.0]]), ["row"], ["a", "b"]))[..., 2] < 5).mean()) > 0.2


def test_values_without_a_number() -> None:
    read(heat_map(np.full((2, 2), np.nan), ["a", "b"], highest=None))
    read(precision_bars(["a"], [float("nan")], [float("nan")], [0]))
    read(count_bars(["a"], [0], 0))
    read(intensity_histograms({"set": {"grey": np.zeros((1, 32))}}))


def test_a_logarithmic_axis_of_small_numbers_is_marked_in_plain_numbers():
    axes = new_drawing().add_subplot()
    axes.plot([8, 16, 64], [1, 2, 3])
    logarithmic_x(axes)
    low, high = axes.get_xlim()
    axes.figure.draw_without_rendering()
    ticks = zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    assert [label.get_text() for place, label in ticks if low <= place <= high] == ["10", "20", "50"]
