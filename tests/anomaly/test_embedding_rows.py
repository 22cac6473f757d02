"""Rows of embeddings in blocks, prepared for a metric."""

import numpy as np
import pytest

from hpa.anomaly import embedding_rows
from hpa.anomaly.embedding_rows import EmbeddingRows, require_finite


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(5, 1, (50, 4)).astype(np.float32)


def test_blocks_are_all_rows_centred_or_of_length_1(values, monkeypatch):
    monkeypatch.setattr(embedding_rows, "BLOCK_BYTES", 4 * 4 * 7)
    for metric in ("euclidean", "cosine"):
        rows = EmbeddingRows(values, metric)
        parts = [rows.block(start, stop) for start, stop in rows.blocks()]
        assert [len(part) for part in parts] == [7] * 7 + [1]
        prepared = np.concatenate(parts)
        if metric == "euclidean":
            np.testing.assert_allclose(prepared, values - values.mean(axis=0), atol=1e-5)
        else:
            np.testing.assert_allclose(np.linalg.norm(prepared, axis=1), 1, rtol=1e-6)
        chosen = np.array([9, 3, 3])
        assert np.array_equal(rows.take(chosen), prepared[chosen])
        queries = EmbeddingRows(values[:5] + 100, metric, rows)
        assert np.array_equal(queries.shift, rows.shift)


def test_distances_come_from_the_values_themselves(values):
    places = np.array([[0, 7, -1], [3, 3, 2]])
    rows = EmbeddingRows(values, "euclidean")
    found = rows.distances(rows, np.array([0, 5]), places)
    assert found[0, 0] == 0
    assert found[0, 2] == np.inf
    assert found[1, 2] == pytest.approx(np.linalg.norm(values[5] - values[2]))
    cosine = EmbeddingRows(values, "cosine")
    found = cosine.distances(cosine, np.array([0, 5]), places)
    assert found[0, 0] == pytest.approx(0, abs=1e-6)
    assert found[0, 2] == np.inf
    product = values[5] @ values[2] / np.linalg.norm(values[5]) / np.linalg.norm(values[2])
    assert found[1, 2] == pytest.approx(1 - product, abs=1e-6)


def test_a_file_is_not_copied_and_never_changed(values, tmp_path):
    np.save(tmp_path / "values.npy", values)
    before = (tmp_path / "values.npy").read_bytes()
    mapped = np.load(tmp_path / "values.npy", mmap_mode="r")
    rows = EmbeddingRows(mapped, "cosine")
    assert rows.values is mapped
    rows.block(0, 50)[:] = 0
    assert (tmp_path / "values.npy").read_bytes() == before


def test_rows_that_are_not_finite_are_counted_and_named():
    block = np.zeros((9, 2), np.float32)
    require_finite(block)
    block[[2, 5], 1] = [np.nan, -np.inf]
    with pytest.raises(ValueError, match=r"2 rows have others, such as the rows \[102, 105\] \(the first holds nan\)"):
        require_finite(block, 100)
