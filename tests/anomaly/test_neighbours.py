"""Neighbours against brute force, in every metric and by every kind of search."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from hpa.anomaly import embedding_rows, nearest_approximate, nearest_exact, neighbours
from hpa.anomaly.neighbours import (
    AutoSearch,
    ExactSearch,
    HnswSearch,
    IvfSearch,
    find_neighbours,
    measured_recall,
    nearest,
)


@pytest.fixture(autouse=True)
def _one_thread():
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(before)


def clustered(rows, features=24, clusters=30, seed=0):
    """Rows around some centres, on 6 dimensions of all, with a little noise in the others."""
    draws = np.random.default_rng(seed)
    latent = draws.normal(0, 2, (clusters, 6))[draws.integers(0, clusters, rows)] + draws.normal(0, 1, (rows, 6))
    values = latent @ draws.normal(0, 1, (6, features)) + draws.normal(0, 0.05, (rows, features))
    return values.astype(np.float32)


def by_scikit_learn(values, queries, k, metric):
    model = NearestNeighbors(n_neighbors=k, algorithm="brute", metric=metric).fit(values.astype(np.float64))
    return model.kneighbors(None if queries is None else queries.astype(np.float64))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("own", [True, False])
def test_exact_search_is_that_of_scikit_learn(metric, own, monkeypatch):
    monkeypatch.setattr(embedding_rows, "BLOCK_BYTES", 24 * 4 * 70)
    monkeypatch.setattr(nearest_exact, "QUERIES", 64)
    values = clustered(300)
    queries = None if own else clustered(50, seed=1)
    distances, rows = nearest(values, queries, 7, ExactSearch(metric=metric))
    expected_distances, expected_rows = by_scikit_learn(values, queries, 7, metric)
    np.testing.assert_allclose(distances, expected_distances, rtol=1e-4, atol=1e-5)
    assert (rows == expected_rows).mean() > 0.99  # near ties may be ordered otherwise
    assert distances.dtype == np.float32
    assert rows.dtype == np.int64
    if own:
        assert (rows != np.arange(300)[:, None]).all()


def test_values_far_from_zero_keep_their_neighbours():
    values = clustered(200) * 1e-3
    moved = values + np.float32(100)  # a product of rows is 2e5, its float32 digits end at 0.02
    _, rows = nearest(moved, None, 3, ExactSearch())
    # What rounding of the values themselves leaves.
    expected = by_scikit_learn(moved, None, 3, "euclidean")[1]
    assert (rows == expected).mean() > 0.99


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 40), st.integers(1, 4), st.integers(0, 10**6))
def test_every_row_but_the_own_is_found_once_in_order(count, features, seed):
    # Few values, so that many rows are equal.
    values = np.random.default_rng(seed).integers(0, 3, (count, features)).astype(np.float32)
    distances, rows = nearest(values, None, count - 1, ExactSearch())
    assert (np.sort(rows, axis=1) == np.array([np.delete(np.arange(count), row) for row in range(count)])).all()
    true = np.linalg.norm(values[:, None] - values[rows], axis=2)
    np.testing.assert_allclose(distances, true, rtol=1e-6)
    rising = np.diff(distances, axis=1)
    assert (rising >= 0).all()
    assert (np.diff(rows, axis=1)[rising == 0] > 0).all()  # of equal distances the lower row first


def test_an_equal_row_is_a_neighbour_at_distance_0_and_the_own_row_is_not():
    values = np.array([[1, 2], [1, 2], [5, 5]], np.float32)
    distances, rows = nearest(values, None, 1, ExactSearch())
    assert rows.ravel().tolist() == [1, 0, 0]
    assert distances.ravel()[:2].tolist() == [0, 0]
    # As queries of another array the same rows are found.
    assert nearest(values, values.copy(), 1, ExactSearch())[1].ravel().tolist() == [0, 0, 2]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("search", [IvfSearch, HnswSearch])
def test_approximate_search_reaches_its_recall_with_true_distances(search, metric, monkeypatch):
    monkeypatch.setattr(embedding_rows, "BLOCK_BYTES", 24 * 4 * 700)
    values = clustered(3000)
    config = search(metric=metric, dimensions=8, recall=0.97)
    found = find_neighbours(values, None, 10, config)
    assert found.method == config.kind
    assert found.recall >= 0.97
    assert measured_recall(values, None, found.distances, metric, sample=500, seed=3) >= 0.95
    expected_distances, expected_rows = by_scikit_learn(values, None, 10, metric)
    shared = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.rows, expected_rows, strict=True)])
    assert shared >= 0.95
    same = found.rows == expected_rows
    np.testing.assert_allclose(found.distances[same], expected_distances[same], rtol=1e-3, atol=1e-5)
    assert (found.rows != np.arange(3000)[:, None]).all()
    assert all(len(set(row)) == 10 for row in found.rows)
    again = find_neighbours(values, None, 10, config)
    assert np.array_equal(again.rows, found.rows)
    assert np.array_equal(again.distances, found.distances)


def test_approximate_search_takes_queries_from_elsewhere():
    values, queries = clustered(2000), clustered(400)[::-1][:100]
    found = find_neighbours(values, queries, 5, IvfSearch(dimensions=8))
    expected = by_scikit_learn(values, queries, 5, "euclidean")[1]
    assert np.mean([len(set(a) & set(b)) / 5 for a, b in zip(found.rows, expected, strict=True)]) >= 0.95


def test_a_recall_that_is_out_of_reach_gives_the_exact_answer(monkeypatch):
    monkeypatch.setattr(nearest_approximate, "EFFORTS", ((1, 1),))
    values = np.random.default_rng(0).normal(size=(1500, 40)).astype(np.float32)
    found = find_neighbours(values, None, 10, IvfSearch(dimensions=2, recall=0.99))
    assert (found.method, found.recall) == ("exact", 1.0)
    assert np.array_equal(found.rows, nearest(values, None, 10, ExactSearch())[1])


@pytest.mark.parametrize("search", [IvfSearch(), HnswSearch()])
def test_constant_and_clumped_rows_have_all_their_neighbours(search):
    same = np.full((400, 5), 7, np.float32)
    distances, rows = nearest(same, None, 30, search)
    assert (distances == 0).all()
    assert (rows >= 0).all()
    assert (rows != np.arange(400)[:, None]).all()
    # Two clumps, one smaller than k, each in a cell of its own.
    same[:20] = -1e6
    distances, rows = nearest(same, None, 30, search)
    assert (rows >= 0).all()
    assert all(len(set(row)) == 30 for row in rows)
    if search.kind == "ivf":  # a graph hardly leads from one clump into the other
        assert ((distances[:20] > 1e6).sum(axis=1) == 11).all()


def test_auto_is_exact_below_its_size_and_approximate_above(monkeypatch):
    values = clustered(1000)
    assert find_neighbours(values, None, 5, AutoSearch()).method == "exact"
    assert find_neighbours(values, None, 5, AutoSearch(exact_pairs=10**6 - 1)).method == "ivf"
    assert find_neighbours(values, values[:10], 5, AutoSearch(exact_pairs=10_000)).method == "exact"


def test_a_memory_mapped_file_is_searched_in_blocks(tmp_path, monkeypatch):
    values = clustered(1200)
    np.save(tmp_path / "values.npy", values)
    mapped = np.load(tmp_path / "values.npy", mmap_mode="r")
    monkeypatch.setattr(embedding_rows, "BLOCK_BYTES", 24 * 4 * 100)
    read = []
    prepared = embedding_rows.EmbeddingRows._prepared

    def counting(self, block, rows):
        read.append(len(block))
        return prepared(self, block, rows)

    monkeypatch.setattr(embedding_rows.EmbeddingRows, "_prepared", counting)
    monkeypatch.setattr(nearest_exact, "QUERIES", 100)
    for config in (ExactSearch(), IvfSearch(dimensions=8)):
        expected = nearest(values, None, 4, config)
        found = nearest(mapped, None, 4, config)
        assert np.array_equal(found[0], expected[0])
        assert np.array_equal(found[1], expected[1])
    nearest(mapped, None, 4, ExactSearch())
    del read[:]
    nearest(mapped, None, 4, ExactSearch())
    assert max(read) == 100


def test_views_that_are_not_contiguous_are_searched_right():
    wide = clustered(200, features=40)
    view = wide[::2, ::3]
    assert np.array_equal(nearest(view, None, 3, ExactSearch())[1], nearest(view.copy(), None, 3, ExactSearch())[1])


def test_rows_of_zeros_are_at_cosine_distance_1_of_everything():
    values = clustered(20)
    values[3] = 0
    distances, _ = nearest(values, None, 19, ExactSearch(metric="cosine"))
    assert (distances[3] == 1).all()
    assert np.isfinite(distances).all()


def test_wide_embeddings_are_reduced_by_products_of_rows(monkeypatch):
    monkeypatch.setattr(nearest_approximate, "WIDEST", 20)
    values = clustered(1000)
    found = find_neighbours(values, None, 5, IvfSearch(dimensions=6))
    assert found.method == "ivf"
    assert measured_recall(values, None, found.distances, "euclidean") >= 0.9


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e20])
def test_values_that_are_not_finite_are_named_by_their_rows(value, monkeypatch):
    monkeypatch.setattr(embedding_rows, "BLOCK_BYTES", 24 * 4 * 10)
    values = clustered(30)
    values[[4, 17, 19], 2] = value
    with pytest.raises(ValueError, match=r"1 rows have others, such as the rows \[4\]"):
        nearest(values, None, 3, AutoSearch())
    values[4] = 0
    with pytest.raises(ValueError, match=r"2 rows have others, such as the rows \[17, 19\]"):
        nearest(clustered(30), values, 3, AutoSearch())


@pytest.mark.parametrize("k", [0, 5, 10])
def test_more_neighbours_than_rows_are_refused(k):
    values = clustered(5)
    with pytest.raises(ValueError, match=f"expected 1 to 4 neighbours.*but got {k}; ask for fewer"):
        nearest(values, None, k, AutoSearch())
    if k == 5:
        assert nearest(values, values, k, AutoSearch())[1].shape == (5, 5)


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="shape \\(0, 3\\)"):
        nearest(np.zeros((0, 3), np.float32), None, 1, AutoSearch())
    with pytest.raises(ValueError, match="expected queries of 24 features, but got 3"):
        nearest(clustered(5), np.zeros((2, 3), np.float32), 1, AutoSearch())


def test_without_faiss_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ValueError, match=r"needs faiss.*pip install '\.\[anomaly\]'"):
        nearest(clustered(5), None, 1, AutoSearch())


def test_a_gpu_is_used_where_faiss_has_one(monkeypatch):
    import faiss

    used = []

    def search(resources, queries, rows, k):
        used.append(resources)
        return faiss.knn(queries, rows, k)

    def move(resources, device, index):
        used.append((resources, device))
        return index

    monkeypatch.setattr(faiss, "StandardGpuResources", lambda: "memory", raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "knn_gpu", search, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", move, raising=False)
    nearest_exact.gpu_resources.cache_clear()
    try:
        values = clustered(500)
        expected = by_scikit_learn(values, None, 3, "euclidean")[1]
        assert (nearest(values, None, 3, ExactSearch())[1] == expected).mean() > 0.99
        assert used == ["memory"]
        neighbours.nearest(values, None, 3, IvfSearch())
        assert used.count(("memory", 0)) == 1
    finally:
        nearest_exact.gpu_resources.cache_clear()


def test_measured_recall_tells_a_bad_search_from_a_good_one():
    values = clustered(400)
    distances, _ = nearest(values, None, 10, ExactSearch())
    assert measured_recall(values, None, distances, "euclidean") == 1
    assert measured_recall(values, None, distances * 1.5, "euclidean") < 0.8
    farther, _ = nearest(values, None, 20, ExactSearch())
    assert measured_recall(values, None, farther[:, 10:], "euclidean") < 0.1
