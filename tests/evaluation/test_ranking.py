"""Ranking figures against torchmetrics and against their definitions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from torchmetrics.functional.classification import multilabel_auroc, multilabel_average_precision

from hpa.evaluation import average_precision, precision_recall_points, roc_auc
from hpa.labels import ClassList


def draw(seed: int, items: int = 80, classes: int = 4, levels: int | None = None):
    generator = np.random.default_rng(seed)
    targets = (generator.random((items, classes)) < 0.25).astype(np.float32)
    probabilities = generator.random((items, classes)).astype(np.float32)
    if levels:
        probabilities = (probabilities * levels).round().astype(np.float32) / levels
    return targets, probabilities


@pytest.mark.parametrize("levels", [None, 7])
def test_agrees_with_torchmetrics(levels: int | None) -> None:
    targets, probabilities = draw(1, levels=levels)
    truth, values = torch.from_numpy(targets).long(), torch.from_numpy(probabilities)
    ap = multilabel_average_precision(values, truth, num_labels=4, average="none", thresholds=None)
    auc = multilabel_auroc(values, truth, num_labels=4, average="none", thresholds=None)
    np.testing.assert_allclose(average_precision(targets, probabilities), ap.numpy(), atol=1e-6)
    np.testing.assert_allclose(roc_auc(targets, probabilities), auc.numpy(), atol=1e-6)


def test_auc_is_the_share_of_pairs_in_order() -> None:
    targets, probabilities = draw(2, items=40, classes=1, levels=5)
    positive, negative = probabilities[targets > 0][:, None], probabilities[targets == 0][None]
    expected = ((positive > negative) + 0.5 * (positive == negative)).mean()
    assert roc_auc(targets, probabilities)[0] == pytest.approx(expected)


def test_constant_reaches_prevalence() -> None:
    targets, _ = draw(3)
    constant = np.full_like(targets, 0.3)
    np.testing.assert_allclose(average_precision(targets, constant), targets.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(roc_auc(targets, constant), 0.5)


def test_absent_and_full_classes_are_undefined() -> None:
    targets = np.float32([[0, 1], [0, 1]])
    probabilities = np.float32([[0.2, 0.3], [0.4, 0.9]])
    np.testing.assert_array_equal(average_precision(targets, probabilities), [np.nan, 1])
    assert np.isnan(roc_auc(targets, probabilities)).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_order_of_items_does_not_matter(seed: int, shuffle: int) -> None:
    targets, probabilities = draw(seed, items=30, levels=6)
    order = np.random.default_rng(shuffle).permutation(30)
    for function in (average_precision, roc_auc):
        np.testing.assert_allclose(
            function(targets, probabilities), function(targets[order], probabilities[order]), rtol=1e-12
        )


def test_points_enclose_the_average_precision() -> None:
    targets, probabilities = draw(4, items=500, classes=3)
    targets[:, 2] = 0
    table = precision_recall_points(targets, probabilities, ClassList(names=("a", "b", "c")), points=1000)
    assert set(table["class"]) == {"a", "b"}
    ap = average_precision(targets, probabilities)
    for column, name in enumerate("ab"):
        curve = table[table["class"] == name]
        assert (np.diff(curve["recall"]) > 0).all()
        steps = np.diff(curve["recall"])
        assert (steps * curve["precision"].to_numpy()[1:]).sum() == pytest.approx(ap[column], abs=1e-6)
        assert curve["recall"].iloc[0] == 0
        assert curve["recall"].iloc[-1] == 1
    thinned = precision_recall_points(targets, probabilities, ClassList(names=("a", "b", "c")), points=50)
    assert thinned.groupby("class").size().max() <= 50
    assert thinned.groupby("class")["recall"].agg(["min", "max"]).to_numpy().tolist() == [[0, 1], [0, 1]]


def test_points_without_positives() -> None:
    table = precision_recall_points(
        np.zeros((2, 2), np.float32), np.zeros((2, 2), np.float32), ClassList(names=("a", "b"))
    )
    assert list(table) == ["class", "recall", "precision"]
    assert table.empty


def test_sklearn_macro_is_the_mean() -> None:
    targets, probabilities = draw(5)
    expected = metrics.average_precision_score(targets, probabilities, average="macro")
    assert average_precision(targets, probabilities).mean() == pytest.approx(expected)
