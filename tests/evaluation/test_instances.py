"""Agreement of two label maps, against every possible pairing of boolean masks."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa.evaluation import f1_at_iou, match_instances


def all_ious(true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    rows = [true == number for number in np.unique(true[true > 0])]
    columns = [predicted == number for number in np.unique(predicted[predicted > 0])]
    ious = [[(row & column).sum() / (row | column).sum() for column in columns] for row in rows]
    return np.array(ious, float).reshape(len(rows), len(columns))


def best_pairing(ious: np.ndarray, threshold: float) -> tuple[int, float]:
    """Most pairs, then the highest sum of IoU, by trying every one."""
    if ious.shape[0] > ious.shape[1]:
        ious = ious.T
    best = (0, 0.0)
    for columns in itertools.permutations(range(ious.shape[1]), ious.shape[0]):
        kept = [value for row, column in enumerate(columns) if (value := ious[row, column]) >= threshold]
        best = max(best, (len(kept), sum(kept)))
    return best


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.2, 0.5, 0.6, 1.0]))
def test_equals_the_best_of_all_pairings(seed: int, threshold: float) -> None:
    generator = np.random.default_rng(seed)
    shape = generator.integers(1, 7, 2)
    numbers = np.array([0, 1, 2, 9, 700, 65535], np.uint16)
    true = generator.choice(numbers[: generator.integers(1, 6)], shape)
    changed = generator.random(shape) < generator.random()
    predicted = np.where(changed, generator.choice(numbers[::-1][:5], shape), true).astype(np.uint16)
    found = match_instances(true, predicted, threshold)
    pairs, total = best_pairing(all_ious(true, predicted), threshold)
    assert len(found.ious) == pairs
    assert found.ious.sum() == pytest.approx(total)
    assert (found.true_count, found.predicted_count) == tuple(len(np.unique(m[m > 0])) for m in (true, predicted))
    assert len(set(found.predicted_ids.tolist())) == pairs
    assert (np.diff(found.true_ids) > 0).all()
    for number, partner, iou in zip(found.true_ids, found.predicted_ids, found.ious, strict=True):
        one, other = true == number, predicted == partner
        assert iou == (one & other).sum() / (one | other).sum()


def test_figures() -> None:
    true = np.zeros((4, 10), np.uint16)
    true[:, :4], true[:, 5:7], true[:, 8:] = 1, 2, 3
    predicted = np.zeros((4, 10), np.uint16)
    predicted[:, :3], predicted[:, 5:7] = 8, 300
    found = match_instances(true, predicted, 0.6)
    assert (found.true_ids.tolist(), found.predicted_ids.tolist(), found.ious.tolist()) == ([1, 2], [8, 300], [0.75, 1])
    assert (found.precision, found.recall, found.mean_iou) == (1, 2 / 3, 0.875)
    assert found.f1 == f1_at_iou(true, predicted) == 0.8
    assert f1_at_iou(true, predicted, 0.8) == 0.4


def test_an_iou_of_the_threshold_is_a_pair() -> None:
    true, predicted = np.ones((1, 10), np.uint16), np.ones((1, 10), np.uint16)
    predicted[0, 6:] = 0
    assert f1_at_iou(true, predicted, 0.6) == 1


def test_empty_maps() -> None:
    nothing, one = np.zeros((2, 3), np.uint16), np.ones((2, 3), np.uint16)
    both = match_instances(nothing, nothing)
    assert both.f1 == 1
    assert math.isnan(both.precision)
    assert math.isnan(both.recall)
    assert math.isnan(both.mean_iou)
    assert (match_instances(nothing, one).precision, match_instances(nothing, one).f1) == (0, 0)
    assert (match_instances(one, nothing).recall, match_instances(one, nothing).f1) == (0, 0)
    assert match_instances(nothing[:0], nothing[:0]).true_count == 0


def test_refused() -> None:
    one = np.ones((2, 3), np.uint16)
    for threshold in (0.0, 1.1, float("nan")):
        with pytest.raises(ValueError, match="IoU threshold above 0 and up to 1"):
            match_instances(one, one, threshold)
