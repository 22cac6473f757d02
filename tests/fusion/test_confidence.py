import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hpa.fusion.confidence import confidences

KINDS = ("winner", "margin", "entropy")


def softmax(seed, items=20, classes=4):
    odds = np.random.default_rng(seed).normal(0, 2, (items, classes))
    return (np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)).astype(np.float32)


@given(seed=st.integers(0, 1000))
def test_single_label_confidences_follow_their_formulas(seed):
    scores = softmax(seed)
    ordered = np.sort(scores, axis=1)
    np.testing.assert_allclose(confidences(scores, "winner", False)[:, 0], ordered[:, -1])
    np.testing.assert_allclose(confidences(scores, "margin", False)[:, 0], ordered[:, -1] - ordered[:, -2], atol=1e-7)
    entropy = stats.entropy(scores.astype(np.float64), base=4, axis=1)
    np.testing.assert_allclose(confidences(scores, "entropy", False)[:, 0], 1 - entropy, atol=1e-6)


def test_multi_label_confidences_look_at_every_class():
    scores = np.random.default_rng(0).random((30, 5), np.float32)
    np.testing.assert_allclose(
        confidences(scores, "margin", True)[:, 0], np.abs(2 * scores - 1).mean(axis=1), rtol=1e-5
    )
    both = np.stack([scores, 1 - scores]).astype(np.float64)
    np.testing.assert_allclose(
        confidences(scores, "entropy", True)[:, 0], 1 - stats.entropy(both, base=2, axis=0).mean(axis=1), atol=1e-6
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("multi_label", [True, False])
def test_certainty_is_one_and_nothing_known_is_the_least(kind, multi_label):
    sure = confidences(np.float32([[1, 0, 0]]), kind, multi_label)[0, 0]
    unsure = confidences(np.full((1, 3), 0.5 if multi_label else 1 / 3, np.float32), kind, multi_label)[0, 0]
    assert sure == 1
    assert unsure == pytest.approx({"winner": 0.5 if multi_label else 1 / 3}.get(kind, 0), abs=1e-6)
