"""The whole evaluation: keys, rules, the constant predictor, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from hpa.evaluation import cross_fit_thresholds, decide, evaluate, tune_thresholds
from hpa.labels import ClassList

SEVERAL = ClassList(names=("a", "b", "c", "never"))
ONE = ClassList(names=("a", "b", "c"), multi_label=False)


def multi(seed: int = 0, items: int = 60):
    generator = np.random.default_rng(seed)
    targets = (generator.random((items, 4)) < [0.6, 0.3, 0.1, 0]).astype(np.float32)
    targets[0] = [1, 1, 1, 0]
    probabilities = (0.5 * targets + 0.5 * generator.random((items, 4))).clip(0, 1).astype(np.float32)
    return targets, probabilities, np.arange(items) % 3


def single(items: int = 50):
    generator = np.random.default_rng(1)
    true = generator.integers(0, 3, items)
    values = generator.dirichlet([1, 1, 1], items) + 0.4 * np.eye(3)[true]
    return np.eye(3, dtype=np.float32)[true], (values / values.sum(axis=1, keepdims=True)).astype(np.float32), true


def test_multi_label_against_sklearn() -> None:
    targets, probabilities, _ = multi()
    found = evaluate(targets, probabilities, SEVERAL)
    assert found.rule == "threshold 0.5"
    truth, values, said = targets[:, :3], probabilities[:, :3], probabilities[:, :3] >= 0.5
    for name, expected in {
        "macro_ap": metrics.average_precision_score(truth, values),
        "macro_auc": metrics.roc_auc_score(truth, values),
        "macro_f1": metrics.f1_score(truth, said, average="macro"),
        "macro_precision": metrics.precision_score(truth, said, average="macro"),
        "macro_recall": metrics.recall_score(truth, said, average="macro"),
        "micro_ap": metrics.average_precision_score(targets, probabilities, average="micro"),
        "micro_f1": metrics.f1_score(targets, probabilities >= 0.5, average="micro"),
        "exact_match": metrics.accuracy_score(targets, probabilities >= 0.5),
        "macro_ap_constant": truth.mean(axis=0).mean(),
        "classes_with_positives": 3,
    }.items():
        assert found.metrics[name] == pytest.approx(expected), name
    assert found.metrics["accuracy"] is None
    assert found.metrics["macro_f1_cross_fitted"] is None
    assert found.metrics["macro_f1_at_half"] == found.metrics["macro_f1"]


def test_single_label_against_sklearn() -> None:
    targets, probabilities, true = single()
    found = evaluate(targets, probabilities, ONE)
    said = probabilities.argmax(axis=1)
    assert found.rule == "highest probability"
    for name, expected in {
        "accuracy": metrics.accuracy_score(true, said),
        "micro_f1": metrics.accuracy_score(true, said),
        "macro_f1": metrics.f1_score(true, said, average="macro"),
        "macro_recall": metrics.balanced_accuracy_score(true, said),
        "macro_auc": metrics.roc_auc_score(true, probabilities, multi_class="ovr"),
        "accuracy_constant": np.bincount(true).max() / len(true),
    }.items():
        assert found.metrics[name] == pytest.approx(expected, rel=1e-6), name
    assert found.metrics["macro_f1_at_half"] is None
    assert found.metrics["ece_top"] > 0
    assert found.per_class["threshold"].isna().all()
    np.testing.assert_array_equal(found.confusion, metrics.confusion_matrix(true, said))


def test_both_tasks_have_the_same_keys_ready_for_json() -> None:
    targets, probabilities, folds = multi()
    keys = [list(evaluate(targets, probabilities, SEVERAL, folds=folds).metrics)]
    keys.append(list(evaluate(*single()[:2], ONE).metrics))
    nothing = evaluate(np.zeros((2, 4), np.float32), np.zeros((2, 4), np.float32), SEVERAL)
    keys.append(list(nothing.metrics))
    assert keys[0] == keys[1] == keys[2]
    assert set(keys[0]) >= {
        *("macro_ap", "macro_ap_constant", "micro_ap", "micro_f1", "macro_f1", "macro_precision", "macro_recall"),
        *("accuracy", "macro_auc", "ece", "items"),
    }
    assert json.loads(json.dumps(nothing.metrics, allow_nan=False))["macro_ap"] is None


def test_rules() -> None:
    targets, probabilities, folds = multi()
    crossed = evaluate(targets, probabilities, SEVERAL, folds=folds)
    assert crossed.rule == "cross-fitted thresholds"
    expected = decide(probabilities, SEVERAL, cross_fit_thresholds(targets, probabilities, folds))
    np.testing.assert_array_equal(crossed.decisions, expected)
    assert crossed.metrics["macro_f1"] == crossed.metrics["macro_f1_cross_fitted"]
    assert crossed.metrics["macro_f1_tuned"] >= crossed.metrics["macro_f1_cross_fitted"]
    assert crossed.metrics["macro_f1_tuned"] >= crossed.metrics["macro_f1_at_half"]
    np.testing.assert_array_equal(crossed.per_class["threshold"], tune_thresholds(targets, probabilities))
    given = evaluate(targets, probabilities, SEVERAL, thresholds=np.full(4, 0.9), folds=folds)
    assert given.rule == "given thresholds"
    np.testing.assert_array_equal(given.decisions, probabilities >= 0.9)
    one_fold = evaluate(targets, probabilities, SEVERAL, folds=np.zeros(60, int))
    assert one_fold.rule == "threshold 0.5"
    assert (one_fold.per_class["threshold"] == 0.5).all()


def test_constant_predictor() -> None:
    targets, probabilities, folds = multi()
    at_half = evaluate(targets, probabilities, SEVERAL).metrics
    # Only class a is above 0.5: always predicted; b and c have F1 0.
    share = targets[:, :3].mean(axis=0)
    assert at_half["macro_f1_constant"] == pytest.approx(2 * share[0] / (1 + share[0]) / 3, rel=1e-5)
    tuned = evaluate(targets, probabilities, SEVERAL, folds=folds).metrics
    assert tuned["macro_f1_constant"] == pytest.approx((2 * share / (1 + share)).mean(), rel=1e-5)
    # The constant predictor itself, evaluated, is its own baseline.
    constant = np.broadcast_to(targets.mean(axis=0), targets.shape).copy()
    found = evaluate(targets, constant, SEVERAL).metrics
    for name in ("macro_ap", "micro_ap", "macro_f1", "micro_f1", "brier"):
        assert found[name] == pytest.approx(found[f"{name}_constant"])


def test_constant_follows_the_training_share() -> None:
    targets, probabilities, true = single()
    rare = int(np.bincount(true).argmin())
    share = np.eye(3)[rare]
    found = evaluate(targets, probabilities, ONE, training_share=share)
    assert found.metrics["accuracy_constant"] == pytest.approx((true == rare).mean())
    prevalence = targets.mean(axis=0)
    np.testing.assert_allclose(found.per_class["ap_constant"], prevalence, rtol=1e-6)


def test_per_class_table() -> None:
    targets, probabilities, folds = multi()
    table = evaluate(targets, probabilities, SEVERAL, folds=folds).per_class
    assert table["class"].tolist() == list(SEVERAL.names)
    assert table["positives"].tolist() == targets.sum(axis=0).tolist()
    never = table.iloc[3]
    assert never[["ap", "ap_constant", "auc", "f1", "precision", "recall", "f1_tuned"]].isna().all()
    seen = table.iloc[:3]
    np.testing.assert_allclose(seen["missed"], seen["positives"] * (1 - seen["recall"]))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_order_of_items_does_not_matter(seed: int) -> None:
    targets, probabilities, folds = multi(seed, items=24)
    order = np.random.default_rng(seed).permutation(24)
    first = evaluate(targets, probabilities, SEVERAL, folds=folds)
    second = evaluate(targets[order], probabilities[order], SEVERAL, folds=folds[order])
    assert second.metrics == pytest.approx(first.metrics)
    pd.testing.assert_frame_equal(second.per_class, first.per_class)
    pd.testing.assert_frame_equal(second.reliability, first.reliability)
    np.testing.assert_array_equal(second.decisions, first.decisions[order])


def test_perfect_and_single_item() -> None:
    targets = np.float32([[1, 0, 1, 0]])
    found = evaluate(targets, targets, SEVERAL).metrics
    assert found["macro_ap"] == found["macro_f1"] == found["micro_f1"] == found["exact_match"] == 1
    assert found["ece"] == found["brier"] == 0
    assert found["macro_auc"] is None


def test_refuses_what_check_inputs_refuses() -> None:
    targets, probabilities, _ = multi()
    with pytest.raises(ValueError, match="sigmoid"):
        evaluate(targets, probabilities * 9, SEVERAL)
