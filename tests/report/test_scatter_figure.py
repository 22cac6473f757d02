"""Maps side by side: every class, any text, numbers that are missing."""

import warnings

import cv2
import numpy as np
import pytest

from hpa.report.scatter_figure import class_maps, number_maps, rarest_class
from hpa.report.scatter_items import Panel


def read(png):
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image[..., ::-1].astype(int)


def panels(count, items=60):
    draws = np.random.default_rng(0)
    return [Panel(f"map {number}", draws.normal(size=(items, 2)), [("silhouette", "0.1")]) for number in range(count)]


def near(image, colour, within=24):
    return (np.abs(image - np.array(colour)).max(axis=2) < within).sum()


LABELS = np.eye(2, dtype=bool)[np.arange(60) % 2]


def test_each_class_has_its_colour():
    image = read(class_maps(panels(1), ["a", "b"], LABELS))
    blue, orange = (0, 114, 178), (230, 159, 0)
    assert near(image, blue) > 500
    assert near(image, orange) > 500
    only = read(class_maps(panels(1), ["a", "b"], LABELS & [True, False]))
    assert near(only, orange) == 0  # not in the legend either
    assert near(only, (138, 146, 154)) > 500  # without a label


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_any_number_of_maps(count):
    image = read(class_maps(panels(count), ["a", "b"], LABELS))
    assert image.shape[1] <= 9.7 * 160
    assert near(image, (0, 114, 178)) > 300 * count


def test_high_numbers_are_dark_and_missing_ones_are_grey():
    values = np.linspace(0, 1, 60).astype(np.float32)
    values[:30] = np.nan
    image = read(number_maps(panels(1), "score", values))
    assert near(image, (138, 146, 154)) > 500
    assert near(image, (74, 13, 58), 40) > 100
    for odd in (np.full(60, np.nan, np.float32), np.ones(60, np.float32)):
        read(number_maps(panels(2), "score", odd))


def test_any_text_and_same_bytes():
    odd = [r"cost $\frac{1}{0}$", "<b>&", "細胞 🧬", "x" * 300, ""]
    labels = np.eye(5, dtype=bool)[np.arange(60) % 5]
    maps = [Panel(text, np.random.default_rng(1).normal(size=(60, 2)), [(text, text)]) for text in odd[:2]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png = class_maps(maps, odd, labels)
        number_maps(maps, odd[0], np.arange(60, dtype=np.float32))
    assert png == class_maps(maps, odd, labels)


def test_rarest_class():
    labels = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1], [0, 1, 0]], bool)
    assert rarest_class(labels).tolist() == [1, 0, -1, 2, 1]
    assert rarest_class(np.zeros((0, 3), bool)).tolist() == []
