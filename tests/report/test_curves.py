"""Line charts draw what they are given."""

import cv2
import numpy as np
import pandas as pd
import pytest

from hpa.evaluation import precision_recall_points, reliability_table
from hpa.labels import ClassList
from hpa.report.curves import history_curves, intensity_histograms, precision_recall_grid, reliability_plot


def is_colour(png: bytes, colour: str) -> bool:
    """Whether a colour (as #rrggbb) is in the picture."""
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    wanted = [int(colour[start : start + 2], 16) for start in (5, 3, 1)]
    return bool((image == wanted).all(axis=2).any())


@pytest.mark.parametrize("folds", [1, 2, 12])
def test_one_colour_per_fold(folds: int) -> None:
    history = pd.DataFrame(
        [
            {"epoch": epoch, "fold": fold, "train_loss": 1 / epoch + fold, "macro_ap": np.nan if epoch == 1 else 0.5}
            for fold in range(folds)
            for epoch in (1, 2, 3)
        ]
    )
    png = history_curves(history, {"loss": ["train_loss"], "AP": ["macro_ap"]})
    assert is_colour(png, "#0072b2")
    assert is_colour(png, "#e69f00") == (folds > 1)


def test_single_epoch_shows_a_point() -> None:
    history = pd.DataFrame({"epoch": [1], "fold": [0], "learning_rate": [1e-4]})
    assert is_colour(history_curves(history, {"learning rate": ["learning_rate"]}), "#0072b2")


def test_calibration_and_curves() -> None:
    generator = np.random.default_rng(0)
    classes = ClassList(names=("a", "b", "never"))
    targets = (generator.random((200, 3)) < [0.5, 0.2, 0]).astype(np.float32)
    probabilities = generator.random((200, 3)).astype(np.float32)
    assert is_colour(reliability_plot(reliability_table(targets, probabilities, classes)), "#0072b2")
    points = precision_recall_points(targets, probabilities, classes)
    nan = float("nan")
    png = precision_recall_grid(points, classes.names, [0.5, 0.2, nan], [0.5, 0.2, nan])
    assert is_colour(png, "#0072b2")


def test_a_second_set_has_its_own_colour() -> None:
    shares = {"red": np.full((3, 32), 1 / 32), "green": np.full((3, 32), 1 / 32)}
    assert not is_colour(intensity_histograms({"one": shares}), "#e69f00")
    assert is_colour(intensity_histograms({"one": shares, "two": {"green": shares["green"] / 2}}), "#e69f00")
