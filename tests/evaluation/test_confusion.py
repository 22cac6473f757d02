"""Confusion counted by hand and by scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from hpa.evaluation import confused_pairs, confusion_matrix, taken_for
from hpa.labels import ClassList

ONE = ClassList(names=("a", "b", "c"), multi_label=False)
SEVERAL = ClassList(names=("a", "b", "c"))


def test_counts_agree_with_sklearn() -> None:
    generator = np.random.default_rng(0)
    true, said = generator.integers(0, 2, 50), generator.integers(0, 3, 50)  # class c never true
    frame = confusion_matrix(np.eye(3, dtype=np.float32)[true], np.eye(3, dtype=bool)[said], ONE)
    np.testing.assert_array_equal(frame, metrics.confusion_matrix(true, said, labels=[0, 1, 2]))
    assert frame.index.tolist() == frame.columns.tolist() == ["a", "b", "c"]


def test_confused_pairs_by_loops() -> None:
    generator = np.random.default_rng(1)
    true, said = generator.integers(0, 4, 60), generator.integers(0, 4, 60)
    names = ("a", "b", "c", "d")
    classes = ClassList(names=names, multi_label=False)
    counts = confusion_matrix(np.eye(4, dtype=np.float32)[true], np.eye(4, dtype=bool)[said], classes)
    found = confused_pairs(counts)
    assert found["share"].is_monotonic_decreasing
    assert found["share_of_errors"].sum() == pytest.approx(1)
    assert len(found) == 6
    for row in found.itertuples():
        one, other = names.index(row.first), names.index(row.second)
        there, back = ((true == one) & (said == other)).sum(), ((true == other) & (said == one)).sum()
        assert (row.first_as_second, row.second_as_first) == (there, back)
        assert row.share == pytest.approx((there + back) / np.isin(true, [one, other]).sum())


def test_nothing_confused_gives_no_pairs() -> None:
    perfect = np.eye(3, dtype=np.float32)
    assert confused_pairs(confusion_matrix(perfect, perfect > 0, ONE)).empty


def test_needs_a_single_label_list() -> None:
    with pytest.raises(ValueError, match="taken_for"):
        confusion_matrix(np.ones((1, 3), np.float32), np.ones((1, 3), bool), SEVERAL)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_taken_for_by_loops(seed: int) -> None:
    generator = np.random.default_rng(seed)
    targets = (generator.random((12, 3)) < 0.4).astype(np.float32)
    decisions = generator.random((12, 3)) < 0.4
    expected = np.full((3, 3), np.nan)
    for true in range(3):
        missed = [row for row in range(12) if targets[row, true] and not decisions[row, true]]
        for other in range(3):
            if missed and other != true:
                expected[true, other] = np.mean([decisions[row, other] and not targets[row, other] for row in missed])
    frame = taken_for(targets, decisions, SEVERAL)
    np.testing.assert_allclose(frame, expected)
    order = generator.permutation(12)
    pd.testing.assert_frame_equal(frame, taken_for(targets[order], decisions[order], SEVERAL))
