import numpy as np
import pytest

from hpa.evaluation.robustness import CLEAN, robustness_table

TARGETS = np.float32([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]])


def test_what_a_corruption_costs():
    right, wrong = TARGETS * 0.9, (1 - TARGETS) * 0.9
    same = np.full_like(TARGETS, 0.3)
    found = robustness_table(TARGETS, right, {"blur": wrong, "black": same}).set_index("corruption")
    assert found.index.tolist() == [CLEAN, "blur", "black"]
    assert found["macro_ap"].tolist() == pytest.approx([1, 0.5, 0.5])  # prevalence is all that is left
    assert found["drop"].tolist() == pytest.approx([0, 0.5, 0.5])
    assert found["constant"].tolist() == pytest.approx([0.5] * 3)  # the class that never occurs is left out


def test_other_items_are_refused():
    with pytest.raises(ValueError, match="blur: expected probabilities of shape"):
        robustness_table(TARGETS, TARGETS, {"blur": TARGETS[:2]})
