import numpy as np
import pytest

from hpa.anomaly.planted import detection


def test_a_perfect_and_a_useless_score() -> None:
    planted = np.array([True, False, False, True, False])
    perfect = detection(planted.astype(float), planted)
    assert perfect is not None
    assert (perfect.planted, perfect.sound) == (2, 3)
    assert (perfect.auroc, perfect.ap, perfect.recall) == (1, 1, 1)
    constant = detection(np.ones(5), planted)
    assert constant is not None
    assert (constant.auroc, constant.ap, constant.recall) == (0.5, pytest.approx(0.4), pytest.approx(0.4))


def test_equal_scores_count_as_in_random_order() -> None:
    generator = np.random.default_rng(0)
    scores, planted = generator.integers(0, 4, 40).astype(float), generator.random(40) < 0.3
    found = detection(scores, planted)
    recalls = []
    for _ in range(4000):
        order = np.lexsort((generator.random(40), -scores))[: planted.sum()]
        recalls.append(planted[order].mean())
    assert found is not None
    assert found.recall == pytest.approx(np.mean(recalls), abs=0.01)


def test_rows_without_a_score_come_last() -> None:
    found = detection(np.array([np.nan, -5.0, 3.0]), np.array([True, False, False]))
    assert found is not None
    assert found.auroc == 0
    unknown = detection(np.full(3, np.nan), np.array([True, False, False]))
    assert unknown is not None
    assert unknown.auroc == 0.5


@pytest.mark.parametrize("planted", [[False, False], [True, True], []])
def test_nothing_to_tell_apart(planted) -> None:
    assert detection(np.zeros(len(planted)), np.array(planted, bool)) is None
