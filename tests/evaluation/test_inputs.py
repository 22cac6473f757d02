"""What the evaluation refuses, and what the message says."""

import numpy as np
import pytest

from hpa.evaluation.inputs import check_inputs
from hpa.labels import ClassList

SEVERAL = ClassList(names=("a", "b", "c"))
TARGETS = np.float32([[1, 0, 0], [0, 1, 1], [0, 0, 0]])
PROBABILITIES = np.float32([[0.1, 0.2, 0.3], [0.0, 1.0, 0.5], [0.4, 0.4, 0.4]])


def test_good_ones_pass() -> None:
    check_inputs(TARGETS, PROBABILITIES, SEVERAL, np.full(3, 0.5), np.full(3, 0.1))


@pytest.mark.parametrize(
    ("targets", "probabilities", "message"),
    [
        (TARGETS[:0], PROBABILITIES[:0], "at least one item"),
        (TARGETS, PROBABILITIES[:-1], r"probabilities of shape \(3, 3\).*got \(2, 3\)"),
        (TARGETS[:, :2], PROBABILITIES[:, :2], r"targets of shape \(3, 3\).*got \(3, 2\)"),
        (np.where(TARGETS > 0, 0.5, TARGETS), PROBABILITIES, "targets of 0 and 1, but row 0 holds 0.5"),
        (TARGETS, PROBABILITIES * 2 - 0.2, r"in \[0, 1\], but row 1 holds -0.2.*sigmoid or softmax"),
        (TARGETS, np.where(PROBABILITIES == 0.5, np.nan, PROBABILITIES), "row 1 holds nan"),
    ],
)
def test_refused(targets: np.ndarray, probabilities: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_inputs(targets, probabilities, SEVERAL)


def test_single_label_needs_one_class_per_item() -> None:
    with pytest.raises(ValueError, match="row 1 has none or several"):
        check_inputs(TARGETS, PROBABILITIES, ClassList(names=("a", "b", "c"), multi_label=False))


@pytest.mark.parametrize("name", ["thresholds", "training_share"])
def test_vectors_have_one_value_per_class(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: one value for each of 3 classes"):
        check_inputs(TARGETS, PROBABILITIES, SEVERAL, **{name: np.full(2, 0.5)})
