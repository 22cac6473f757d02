import numpy as np
import pytest

from hpa.classification.prediction import Predictions, average, join


def predictions(image_ids, seed=0, classes=3, features=5):
    draws = np.random.default_rng(seed)
    rows = len(image_ids)
    return Predictions(
        tuple(image_ids),
        draws.random((rows, classes), dtype=np.float32),
        draws.random((rows, features), dtype=np.float32),
    )


def test_rows_are_taken_by_key():
    whole = predictions("abcd")
    some = whole.take(["d", "b"])
    assert (some.image_ids, len(some)) == (("d", "b"), 2)
    np.testing.assert_array_equal(some.probabilities, whole.probabilities[[3, 1]])
    np.testing.assert_array_equal(some.embeddings, whole.embeddings[[3, 1]])
    with pytest.raises(ValueError, match="no predictions for 1 of 2 images"):
        whole.take(["a", "x"])


def test_the_mean_of_models_is_matched_by_key():
    first, second = predictions("abc", 1), predictions("cab", 2, features=4)
    mean = average([first, second])
    assert mean.image_ids == ("a", "b", "c")
    order = [1, 2, 0]
    np.testing.assert_allclose(mean.probabilities, (first.probabilities + second.probabilities[order]) / 2)
    np.testing.assert_array_equal(mean.embeddings, np.hstack([first.embeddings, second.embeddings[order]]))
    assert mean.probabilities.dtype == np.float32
    weighted = average([first, second], np.array([3.0, 1.0]))
    np.testing.assert_allclose(
        weighted.probabilities, 0.75 * first.probabilities + 0.25 * second.probabilities[order], rtol=1e-6
    )


def test_parts_are_joined_in_order():
    whole = join([predictions("ab", 1), predictions("cd", 2)])
    assert whole.image_ids == tuple("abcd")
    np.testing.assert_array_equal(whole.probabilities[2:], predictions("cd", 2).probabilities)


@pytest.mark.parametrize(
    ("action", "problem"),
    [
        (lambda: average([]), "got none"),
        (lambda: average([predictions("ab"), predictions("ac")]), "same images"),
        (lambda: average([predictions("ab"), predictions("ab", classes=2)]), "3 classes"),
        (lambda: average([predictions("ab")], np.array([0.0])), "1 weights"),
        (lambda: join([]), "got none"),
        (lambda: join([predictions("ab"), predictions("bc")]), "some repeat"),
        (lambda: join([predictions("ab"), predictions("cd", features=2)]), "same numbers"),
    ],
)
def test_what_does_not_belong_together_is_an_error(action, problem):
    with pytest.raises(ValueError, match=problem):
        action()
