"""Agreement of soft labels with true ones, against scikit-learn and by counting."""

import json

import numpy as np
import pytest
from sklearn import metrics

from hpa.labels import ClassList
from hpa.pseudolabels import compare_with_truth, positives_per_class, summarise_agreement

CLASSES = ClassList(names=("a", "b", "c", "d"))


@pytest.fixture
def tables():
    rng = np.random.default_rng(0)
    truth = (rng.random((200, 4)) < 0.3).astype(np.float32)
    labels = np.clip(0.4 * truth + 0.6 * rng.random((200, 4)), 0, 1).astype(np.float32)
    truth[:, 2] = 0
    truth[:, 3], labels[:, 3] = 1, 0.25
    return labels, truth


def test_figures_are_those_of_scikit_learn(tables):
    labels, truth = tables
    found = compare_with_truth(labels, truth, CLASSES)
    hard = labels >= 0.5
    for number in (0, 1):
        row = found.iloc[number]
        assert row["precision"] == pytest.approx(metrics.precision_score(truth[:, number], hard[:, number]))
        assert row["recall"] == pytest.approx(metrics.recall_score(truth[:, number], hard[:, number]))
        assert row["auc"] == pytest.approx(metrics.roc_auc_score(truth[:, number], labels[:, number]))
        assert row["ap"] == pytest.approx(metrics.average_precision_score(truth[:, number], labels[:, number]))
        assert (row["true_cells"], row["positives"]) == (truth[:, number].sum(), hard[:, number].sum())
        assert row["mean_label"] == pytest.approx(labels[:, number].mean())


def test_undefined_figures_are_nan(tables):
    found = compare_with_truth(*tables, CLASSES)
    assert np.isnan(found.loc[2, ["recall", "auc", "ap"]].to_numpy(float)).all()
    assert found.loc[2, "precision"] == 0
    assert np.isnan(found.loc[3, ["precision", "auc"]].to_numpy(float)).all()
    assert found.loc[3, "recall"] == 0
    none = np.zeros((0, 4), np.float32)
    assert compare_with_truth(none, none, CLASSES)["true_cells"].tolist() == [0] * 4


def test_summary_leaves_undefined_classes_out_and_is_json(tables):
    labels, truth = tables
    found = json.loads(json.dumps(summarise_agreement({"mine": labels}, truth, CLASSES), allow_nan=False))
    per_class = compare_with_truth(labels, truth, CLASSES)
    assert found["mine"]["macro"]["auc"] == pytest.approx(per_class["auc"][:2].mean())
    assert found["mine"]["per_class"][2]["recall"] is None


def test_positives_and_their_weight():
    labels, weights = np.float32([[0.5, 0.2], [1, 0.4]]), np.array([1, 0.5])
    found = positives_per_class(labels, weights, ClassList(names=("a", "b")))
    assert found["positives"].tolist() == [2, 0]
    assert found["share"].tolist() == [1, 0]
    np.testing.assert_allclose(found["sum"], [1.5, 0.6])
    np.testing.assert_allclose(found["weighted"], [1, 0.4])


def test_what_does_not_fit_is_refused(tables):
    labels, truth = tables
    with pytest.raises(ValueError, match="true labels of 0 and 1"):
        compare_with_truth(labels, truth / 2, CLASSES)
    with pytest.raises(ValueError, match="labels of 2 classes"):
        compare_with_truth(labels, truth, ClassList(names=("a", "b")))
