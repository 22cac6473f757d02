"""Examples: right are right, wrong are wrong, the surest first, many classes."""

import numpy as np

from hpa.evaluation import pick_examples


def test_kinds_and_limits() -> None:
    generator = np.random.default_rng(0)
    targets = np.eye(3, dtype=np.float32)[generator.integers(0, 3, 60)]
    probabilities = generator.dirichlet([1, 1, 1], 60).astype(np.float32)
    decisions = probabilities == probabilities.max(axis=1, keepdims=True)
    found = pick_examples(targets, probabilities, decisions, count=6, seed=1)
    assert found["right"].tolist() == [True] * 6 + [False] * 6
    right = (decisions == (targets > 0)).all(axis=1)
    assert right[found["row"]].tolist() == found["right"].tolist()
    assert found["row"].is_unique
    for _, rows in found.groupby("right"):
        assert sorted(targets[rows["row"]].sum(axis=0)) == [2, 2, 2]
    assert pick_examples(targets, probabilities, decisions, count=6, seed=1).equals(found)
    assert not pick_examples(targets, probabilities, decisions, count=6, seed=2).equals(found)


def test_surest_mistake_first() -> None:
    targets = np.float32([[1, 0]] * 4)
    probabilities = np.float32([[0.4, 0.1], [0.05, 0.1], [0.9, 0.95], [0.9, 0.1]])
    found = pick_examples(targets, probabilities, probabilities >= 0.5, count=2)
    assert found[~found["right"]]["row"].tolist() in ([1, 2], [2, 1])
    assert found[found["right"]]["row"].tolist() == [3]


def test_everything_right_or_no_class_at_all() -> None:
    targets = np.zeros((2, 2), np.float32)
    found = pick_examples(targets, targets, targets > 0)
    assert sorted(found["row"]) == [0, 1]
    assert found["right"].all()
