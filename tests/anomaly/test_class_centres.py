"""Which rows belong to which class, and what is refused; the distances are tested with the outliers."""

import numpy as np
import pytest

from hpa.anomaly.class_centres import centre_distances, members
from hpa.anomaly.embedding_rows import EmbeddingRows


def test_rows_without_a_class_that_counts_belong_to_the_whole_set_alone():
    targets = np.array([[1, 0, 0], [1, 1, 0], [0.4, 0.5, 0], [0, 0, 1], [0, 0, 0]], np.float32)
    belongs = members(targets, 5, least=2)
    assert belongs.tolist() == [
        [True, False, False, False],
        [True, True, False, False],
        [False, True, False, False],
        [False, False, False, True],
        [False, False, False, True],
    ]
    assert members(None, 2, least=2).tolist() == [[True], [True]]


def test_targets_of_other_rows_are_refused():
    with pytest.raises(ValueError, match="targets of 30 rows, as the embeddings have, but got 29"):
        members(np.ones((29, 2), np.float32), 30, 5)


def test_a_row_does_not_pull_the_centre_that_it_is_compared_with():
    values = np.array([[0.0], [2.0], [10.0]], np.float32)
    rows = EmbeddingRows(values, "euclidean")
    distances, classes = centre_distances(rows, members(None, 3, 2), np.asarray, relative=False)
    assert distances.tolist() == [6, 3, 9]
    assert classes.tolist() == [-1, -1, -1]
    halved, _ = centre_distances(rows, members(None, 3, 2), lambda block: block / 2, relative=False)
    assert halved.tolist() == [3, 1.5, 4.5]
    relative, _ = centre_distances(rows, members(None, 3, 2), np.asarray, relative=True)
    assert relative.tolist() == [1, 0.5, 1.5]


def test_classes_without_any_spread_are_measured_by_the_whole():
    values = np.array([[0.0], [0.0], [0.0], [5.0], [7.0], [9.0]], np.float32)
    targets = np.eye(2, dtype=np.float32)[[0, 0, 0, 1, 1, 1]]
    rows = EmbeddingRows(values, "euclidean")
    distances, _ = centre_distances(rows, members(targets, 6, 2), np.asarray, relative=True)
    assert np.isfinite(distances).all()
    assert distances[:3].tolist() == [0, 0, 0]
