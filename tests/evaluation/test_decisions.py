"""Decisions and their scores against scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from hpa.evaluation import decide, score_decisions
from hpa.evaluation.decisions import mean_of_defined
from hpa.labels import ClassList

CLASSES = ClassList(names=("a", "b", "c"))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_scores_agree_with_sklearn(seed: int) -> None:
    generator = np.random.default_rng(seed)
    targets = (generator.random((25, 3)) < 0.4).astype(np.float32)
    targets[0] = 1  # every class occurs
    decisions = generator.random((25, 3)) < generator.choice([0.0, 0.3, 0.9], 3)
    scores = score_decisions(targets, decisions)
    for average, got in (
        (None, (scores.precision, scores.recall, scores.f1)),
        ("macro", (scores.macro_precision, scores.macro_recall, scores.macro_f1)),
        ("micro", (scores.micro_precision, scores.micro_recall, scores.micro_f1)),
    ):
        expected = metrics.precision_recall_fscore_support(targets, decisions, average=average, zero_division=0)[:3]
        for value, reference in zip(got, expected, strict=True):
            np.testing.assert_allclose(value, reference, atol=1e-12)


def test_absent_class_leaves_the_mean_but_counts_in_micro() -> None:
    targets = np.float32([[1, 0], [1, 0]])
    decisions = np.array([[True, True], [True, False]])
    scores = score_decisions(targets, decisions)
    np.testing.assert_array_equal(scores.f1, [1, np.nan])
    assert scores.macro_f1 == scores.macro_precision == 1
    assert scores.micro_precision == pytest.approx(2 / 3)


def test_nothing_true_is_undefined() -> None:
    scores = score_decisions(np.zeros((3, 2), np.float32), np.zeros((3, 2), bool))
    assert np.isnan([scores.macro_f1, scores.micro_f1, scores.micro_recall]).all()


def test_one_threshold_per_class_or_per_item() -> None:
    probabilities = np.float32([[0.4, 0.5, 0.6], [0.6, 0.5, 0.4]])
    assert decide(probabilities, CLASSES, np.array([0.5, 0.5, 0.3])).tolist() == [
        [False, True, True],
        [True, True, True],
    ]
    per_item = np.array([[0.0, 1, 1], [1, 1, 0.0]])
    assert decide(probabilities, CLASSES, per_item).tolist() == [[True, False, False], [False, False, True]]


def test_threshold_is_compared_in_float64() -> None:
    # 0.1 in float32 is a little above 0.1 in float64, and 0.7 a little below.
    assert decide(np.float32([[0.1, 0.7]]), ClassList(names=("a", "b")), np.array([0.1, 0.7])).tolist() == [
        [True, False]
    ]


def test_single_label_takes_the_first_highest() -> None:
    chosen = decide(np.float32([[0.4, 0.4, 0.2]]), ClassList(names=("a", "b", "c"), multi_label=False), 0.9)
    assert chosen.tolist() == [[True, False, False]]


def test_mean_of_nothing() -> None:
    assert np.isnan(mean_of_defined(np.array([np.nan])))
