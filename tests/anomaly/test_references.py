import numpy as np
import pytest

from hpa.anomaly.references import ALL, references


def test_images_are_compared_with_their_large_classes_and_else_with_all() -> None:
    targets = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]], np.float32)
    found = references(targets, ("a", "b", "c"), 5, least=3)
    assert found.names == ("a", "b", "c", ALL)
    assert found.applies.tolist() == [
        [True, False, False, False],
        [True, False, False, False],
        [True, False, False, False],
        [False, False, False, True],
        [False, False, False, True],
    ]
    assert found.members[:, 1].tolist() == [False, True, False, True, False]
    assert found.members[:, 3].all()


def test_without_labels_all_are_one_set() -> None:
    found = references(None, ("a", "b"), 3, least=2)
    assert found.names == (ALL,)
    assert found.members.all()
    assert found.applies.all()


def test_soft_labels_count_from_a_half() -> None:
    found = references(np.array([[0.5], [0.49]], np.float32), ("a",), 2, least=1)
    assert found.members[:, 0].tolist() == [True, False]


def test_the_best_set_is_the_nearest_that_applies() -> None:
    found = references(np.array([[1, 1], [1, 0], [0, 1]], np.float32), ("a", "b"), 3, least=1)
    distances = np.array([[2.0, 1, 0], [3, 0, 0], [0, np.nan, 0]])
    least, sets = found.best(distances)
    assert least[:2].tolist() == [1, 3]
    assert np.isnan(least[2])
    assert sets[:2].tolist() == [1, 0]


def test_targets_must_fit() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 1\)"):
        references(np.ones((2, 1), np.float32), ("a",), 3, 1)
