"""Calibration against torchmetrics and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import brier_score_loss
from torchmetrics.functional.classification import binary_calibration_error

from hpa.evaluation import brier_score, expected_calibration_error, reliability_table
from hpa.labels import ClassList

CLASSES = ClassList(names=("a", "b"))


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    probabilities = generator.random((300, 2)).astype(np.float32)
    return (generator.random((300, 2)) < probabilities**2).astype(np.float32), probabilities


def test_agrees_with_torchmetrics(data) -> None:
    targets, probabilities = data
    expected = []
    for column in range(2):
        # Contiguous: torch warns otherwise.
        values, truth = torch.tensor(probabilities[:, column].copy()), torch.tensor(targets[:, column].copy()).long()
        expected.append(float(binary_calibration_error(values, truth, n_bins=15, norm="l1")))
    np.testing.assert_allclose(expected_calibration_error(targets, probabilities), expected, atol=1e-6)


def test_brier_agrees_with_sklearn(data) -> None:
    targets, probabilities = data
    expected = [brier_score_loss(targets[:, k], probabilities[:, k]) for k in range(2)]
    np.testing.assert_allclose(brier_score(targets, probabilities), expected, atol=1e-7)


def test_table_holds_every_item_and_gives_the_error(data) -> None:
    targets, probabilities = data
    table = reliability_table(targets, probabilities, CLASSES, bins=10)
    assert table.groupby("class")["items"].sum().tolist() == [300, 300]
    assert table["probability"].between(table["bin"] / 10, (table["bin"] + 1) / 10).all()
    distance = (table["probability"] - table["share"]).abs() * table["items"] / 300
    by_class = distance.groupby(table["class"]).sum()
    np.testing.assert_allclose(by_class, expected_calibration_error(targets, probabilities, bins=10), atol=1e-12)


def test_both_ends_have_a_bin() -> None:
    table = reliability_table(np.float32([[0, 1], [0, 1]]), np.float32([[0, 1], [0, 1]]), CLASSES, bins=15)
    assert table["bin"].tolist() == [0, 14]
    assert table["items"].tolist() == [2, 2]
    assert (table["probability"] == table["share"]).all()
