import numpy as np
import pytest

from hpa.evaluation import cross_fit_thresholds, evaluate
from hpa.evaluation.fold_scores import FIGURES, decide_by_fold, fold_scores
from hpa.labels import ClassList

MULTI, SINGLE = ClassList(names=("a", "b", "c")), ClassList(names=("a", "b", "c"), multi_label=False)


def task(classes, items=90):
    generator = np.random.default_rng(0)
    targets = np.eye(3, dtype=np.float32)[generator.integers(0, 3, items)]
    if classes.multi_label:
        targets = np.maximum(targets, generator.random((items, 3)) < 0.2).astype(np.float32)
    values = np.exp(targets + generator.normal(0, 1, (items, 3)))
    return targets, (values / values.sum(axis=1, keepdims=True)).astype(np.float32), np.arange(items) % 3


@pytest.mark.parametrize("classes", [MULTI, SINGLE])
def test_each_fold_is_measured_as_evaluate_does(classes):
    targets, probabilities, folds = task(classes)
    found = fold_scores(
        targets, probabilities, decide_by_fold(targets, probabilities, classes, folds, "half"), classes, folds
    )
    assert found.columns.tolist() == ["fold", "items", *FIGURES]
    for row in found.itertuples():
        here = folds == row.fold
        metrics = evaluate(targets[here], probabilities[here], classes).metrics
        assert row.items == 30
        for name in FIGURES:
            key = {"accuracy": "exact_match", "ece": "ece" if classes.multi_label else "ece_top"}.get(name, name)
            assert getattr(row, name) == pytest.approx(metrics[key]), name


def test_thresholds_come_from_the_other_folds():
    targets, probabilities, folds = task(MULTI)
    tuned = decide_by_fold(targets, probabilities, MULTI, folds)
    np.testing.assert_array_equal(tuned, probabilities >= cross_fit_thresholds(targets, probabilities, folds))
    np.testing.assert_array_equal(decide_by_fold(targets, probabilities, MULTI, folds * 0), probabilities >= 0.5)
    single = decide_by_fold(*task(SINGLE)[:2], SINGLE, folds)
    assert (single.sum(axis=1) == 1).all()
