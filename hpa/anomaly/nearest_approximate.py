"""Approximate nearest neighbours by FAISS: candidates from a small index, then true distances."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from scipy.linalg import eigh

from hpa.anomaly.embedding_rows import EmbeddingRows, Vectors
from hpa.anomaly.nearest_exact import QUERIES, exact_nearest, gpu_resources, ranked
from hpa.arrays import Float, Float32, Int64, Integer
from hpa.extras import require
from hpa.progress import Silent, track

WIDEST = 4096
"""Features up to which the products of all pairs of them are formed."""

SAMPLE = 256
"""Queries whose true neighbours are looked up to choose the effort."""

POINTS_PER_CELL = 40
"""Rows per cell that k-means sees, FAISS asks for 39 at the least; better cells would cost more than they save."""

ROUNDS = 6
"""Of k-means."""

LARGEST_REDUCED = 1e4
"""Reduced values, in units of their spread, are cut here: half precision ends at 65504."""

EFFORTS = tuple((8 * 2**step, 4 * 2 ** (step // 2)) for step in range(8))
"""Probes (cells, or the breadth of a graph's search) and candidates per neighbour, from the least effort on."""


@dataclass(frozen=True)
class Projection:
    """Principal components of prepared rows.

    Attributes:
        mean: (features,).
        axes: (features, dimensions), divided by the spread along the first.
    """

    mean: Float32[np.ndarray, " features"]
    axes: Float32[np.ndarray, "features dimensions"]

    def __call__(self, block: Vectors) -> Float32[np.ndarray, "rows dimensions"]:
        """Reduced rows."""
        reduced = (block - self.mean) @ self.axes
        return np.ascontiguousarray(np.clip(reduced, -LARGEST_REDUCED, LARGEST_REDUCED), np.float32)


def fit_projection(rows: EmbeddingRows, dimensions: int, seed: int) -> Projection:
    """The first principal components of a sample: 10 rows per feature and 10,000 at least, 4,096 if they are wide."""
    is_wide = rows.features > WIDEST
    size = WIDEST if is_wide else max(10_000, 10 * rows.features)
    sample = rows.take(sampled(len(rows), size, seed))
    mean = sample.mean(axis=0, dtype=np.float64).astype(np.float32)
    sample -= mean
    # Of the shorter side: the products of wide rows with each other have the same components as those of features.
    products = (sample @ sample.T if is_wide else sample.T @ sample).astype(np.float64)
    last = len(products) - 1
    strengths, vectors = eigh(products, subset_by_index=[max(0, last + 1 - dimensions), last])
    axes = vectors.astype(np.float32)
    if is_wide:
        axes = sample.T @ axes
        axes /= np.maximum(np.linalg.norm(axes, axis=0), np.finfo(np.float32).tiny)
    spread = (max(float(strengths[-1]), 0.0) / len(sample)) ** 0.5 or 1.0
    return Projection(mean, np.ascontiguousarray(axes / spread, np.float32))


@runtime_checkable
class CandidateIndex(Protocol):
    """Reduced rows that give candidates."""

    def add(self, reduced: Float32[np.ndarray, "rows dimensions"]) -> None:
        """Put rows in, numbered on."""

    def search(
        self, reduced: Float32[np.ndarray, "queries dimensions"], count: int, probes: int
    ) -> Int64[np.ndarray, "queries count"]:
        """Row numbers of candidates, each once; -1 where fewer were met."""


class IvfIndex:
    """Cells of k-means, of which a search visits the nearest; rows in half precision.

    Args:
        sample: reduced rows that the cells are learned from.
        cells: how many.
        seed: of k-means.
    """

    def __init__(self, sample: Float32[np.ndarray, "rows dimensions"], cells: int, seed: int) -> None:
        faiss = require("faiss", "anomaly")
        dimensions = sample.shape[1]
        self._quantizer = faiss.IndexFlatL2(dimensions)
        half = faiss.ScalarQuantizer.QT_fp16
        self._index: Any = faiss.IndexIVFScalarQuantizer(self._quantizer, dimensions, cells, half)
        parameters = self._index.cp
        parameters.seed, parameters.niter, parameters.min_points_per_centroid = seed, ROUNDS, 1
        self._index.train(sample)
        self._on_gpu = False

    def add(self, reduced: Float32[np.ndarray, "rows dimensions"]) -> None:
        """Put rows in, numbered on."""
        self._index.add(reduced)

    def search(
        self, reduced: Float32[np.ndarray, "queries dimensions"], count: int, probes: int
    ) -> Int64[np.ndarray, "queries count"]:
        """Rows of the `probes` nearest cells."""
        resources = gpu_resources()
        if resources is not None and not self._on_gpu:
            faiss = require("faiss", "anomaly")
            self._index, self._on_gpu = faiss.index_cpu_to_gpu(resources, 0, self._index), True
        self._index.nprobe = min(probes, self._index.nlist)
        return np.asarray(self._index.search(reduced, count)[1], np.int64)


class HnswIndex:
    """A graph of small worlds (Malkov and Yashunin 2018, arXiv:1603.09320), built by one thread to be deterministic.

    Args:
        dimensions: of the reduced rows.
        links: of each row.
    """

    def __init__(self, dimensions: int, links: int) -> None:
        self._index: Any = require("faiss", "anomaly").IndexHNSWFlat(dimensions, links)

    def add(self, reduced: Float32[np.ndarray, "rows dimensions"]) -> None:
        """Put rows in, numbered on."""
        faiss = require("faiss", "anomaly")
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        try:
            self._index.add(reduced)
        finally:
            faiss.omp_set_num_threads(threads)

    def search(
        self, reduced: Float32[np.ndarray, "queries dimensions"], count: int, probes: int
    ) -> Int64[np.ndarray, "queries count"]:
        """Rows that a walk over the graph meets, `8 * probes` of them kept in mind."""
        self._index.hnsw.efSearch = max(8 * probes, count)
        return np.asarray(self._index.search(reduced, count)[1], np.int64)


def sampled(count: int, size: int, seed: int) -> Int64[np.ndarray, " chosen"]:
    """Distinct numbers below `count`, ascending; at most `size` of them."""
    draws = np.random.default_rng(seed)
    return np.sort(draws.choice(count, min(size, count), replace=False)).astype(np.int64)


def fill(index: CandidateIndex, rows: EmbeddingRows, projection: Projection) -> None:
    """Put all rows into an index, block by block."""
    with track("indexing embeddings", len(rows)) as advance:
        for start, stop in rows.blocks():
            index.add(projection(rows.block(start, stop)))
            advance(stop - start)


def approximate_nearest(
    index: CandidateIndex,
    projection: Projection,
    rows: EmbeddingRows,
    queries: EmbeddingRows,
    k: int,
    recall: float,
    seed: int,
) -> tuple[Float32[np.ndarray, "queries k"], Int64[np.ndarray, "queries k"], float] | None:
    """The k nearest rows of each query, with the least effort that reaches a recall on a sample of the queries.

    Args:
        index: holds all rows, reduced by `projection`.
        projection: of the index.
        rows: to search in.
        queries: the same object as `rows` leaves a query's own row out.
        k: how many.
        recall: wanted on the sample.
        seed: of the sample.

    Returns:
        Distances, rows, and the recall that was reached; None where no effort reaches it.
    """
    sample = sampled(len(queries), SAMPLE, seed)
    truth, _ = exact_nearest(rows, queries, k, sample)
    for effort in EFFORTS:
        found, _ = _search(index, projection, rows, queries, k, effort, sample)
        reached = shared_recall(found, truth)
        if reached >= recall:
            everything = np.arange(len(queries))
            return *_search(index, projection, rows, queries, k, effort, everything), reached
    return None


def shared_recall(found: Float[np.ndarray, "queries k"], truth: Float[np.ndarray, "queries k"]) -> float:
    """Part of the true neighbours that were found: those as near as the farthest true one, but for rounding.

    Args:
        found: distances of distinct rows to each query.
        truth: distances of its true k nearest, ascending.
    """
    return float((found <= truth[:, -1:] * (1 + 1e-5) + 1e-7).mean())


def _search(
    index: CandidateIndex,
    projection: Projection,
    rows: EmbeddingRows,
    queries: EmbeddingRows,
    k: int,
    effort: tuple[int, int],
    numbers: Integer[np.ndarray, " queries"],
) -> tuple[Float32[np.ndarray, "queries k"], Int64[np.ndarray, "queries k"]]:
    probes, per_neighbour = effort
    count = min(per_neighbour * k + 1, len(rows))
    distances, found = np.empty((len(numbers), k), np.float32), np.empty((len(numbers), k), np.int64)
    show = track if len(numbers) > SAMPLE else Silent().track
    with show("searching neighbours", len(numbers), 0) as advance:
        for start in range(0, len(numbers), QUERIES):
            part = numbers[start : start + QUERIES]
            candidates = index.search(projection(queries.take(part)), count, probes)
            place = slice(start, start + len(part))
            distances[place], found[place] = ranked(rows, queries, part, candidates, k)
            advance(len(part))
    # Cells with few rows, or many equal rows in a graph, give too few candidates.
    short = np.flatnonzero(found[:, -1] < 0)
    if len(short):
        distances[short], found[short] = exact_nearest(rows, queries, k, numbers[short])
    return distances, found
