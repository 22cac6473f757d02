"""Weights of cells."""

import numpy as np
import pandas as pd
import pytest

from hpa.pseudolabels import WeightConfig, cell_weights

CELLS = pd.DataFrame(
    {
        "touches_border": [False, True, True, True, False],
        "visible_nucleus": [0.4, 0.7, np.nan, 1.0, 1.0],
        "is_small": [False, False, False, True, True],
        "is_large": False,
        "is_blurred": [False, False, False, False, True],
    }
)
OF_IMAGES = np.float32([[1, 1]] * 4 + [[0, 0]])
LABELS = np.float32([[1, 0], [0.5, 0.5], [0.75, 1], [0, 0], [0, 0]])


def test_cells_at_the_border_count_by_their_nucleus_and_flagged_ones_less():
    assert cell_weights(CELLS, LABELS, OF_IMAGES, WeightConfig()).tolist() == [1, 0.7, 0.1, 0.5, 0.25]


def test_every_rule_can_be_off():
    config = WeightConfig(by_visible_nucleus=False, flagged={})
    assert cell_weights(CELLS[["is_small"]], LABELS, OF_IMAGES, config).tolist() == [1] * 5


def test_certainty_of_the_labels_of_the_image():
    config = WeightConfig(by_visible_nucleus=False, flagged={}, certainty=1)
    assert cell_weights(CELLS, LABELS, OF_IMAGES, config).tolist() == [1, 0, 0.75, 1, 1]
    half = config.model_copy(update={"certainty": 0.5})
    assert cell_weights(CELLS, LABELS, OF_IMAGES, half).tolist() == [1, 0.5, 0.875, 1, 1]


def test_graded_cells_have_their_own_weight():
    known = np.full((5, 2), np.nan)
    known[3, 1] = 0
    weights = cell_weights(CELLS, LABELS, OF_IMAGES, WeightConfig(), known, 3.0)
    assert weights.tolist() == [1, 0.7, 0.1, 3, 0.25]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"\['is_odd'\] miss"):
        cell_weights(CELLS, LABELS, OF_IMAGES, WeightConfig(flagged={"is_odd": 0}))
    with pytest.raises(ValueError, match="one row per cell, but got 2 cells, 5 labels"):
        cell_weights(CELLS[:2], LABELS, OF_IMAGES, WeightConfig())
