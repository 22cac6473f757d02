"""Exact nearest neighbours by brute force, block by block, on a GPU where faiss has one."""

from functools import cache
from typing import Any

import numpy as np

from hpa.anomaly.embedding_rows import EmbeddingRows, QueryVectors, Vectors
from hpa.arrays import Float32, Int64, Integer
from hpa.extras import require
from hpa.progress import Silent, track

QUERIES = 4096
"""Queries of one pass over the rows."""


def exact_nearest(
    rows: EmbeddingRows,
    queries: EmbeddingRows,
    k: int,
    numbers: Integer[np.ndarray, " queries"] | None = None,
) -> tuple[Float32[np.ndarray, "queries k"], Int64[np.ndarray, "queries k"]]:
    """The k nearest rows of each query.

    Args:
        rows: to search in.
        queries: to search for; the same object as `rows` leaves a query's own row out, by its number.
        k: how many, at most the rows that are left.
        numbers: which of the queries; None for all.

    Returns:
        Distances, ascending, and row numbers; of equal distances the lower row first.
    """
    numbers = np.arange(len(queries)) if numbers is None else numbers
    own = rows is queries
    distances, found = np.empty((len(numbers), k), np.float32), np.empty((len(numbers), k), np.int64)
    show = track if len(numbers) > QUERIES // 8 else Silent().track
    with show("searching neighbours", len(numbers), 0) as advance:
        for start in range(0, len(numbers), QUERIES):
            part = numbers[start : start + QUERIES]
            candidates = _candidates(rows, queries.take(part), k + own)
            place = slice(start, start + len(part))
            distances[place], found[place] = ranked(rows, queries, part, candidates, k)
            advance(len(part))
    return distances, found


def ranked(
    rows: EmbeddingRows,
    queries: EmbeddingRows,
    numbers: Integer[np.ndarray, " queries"],
    candidates: Int64[np.ndarray, "queries candidates"],
    k: int,
) -> tuple[Float32[np.ndarray, "queries k"], Int64[np.ndarray, "queries k"]]:
    """The k nearest of some candidates for each query, by distances from the values themselves.

    Args:
        rows: to which the candidates belong.
        queries: the same object as `rows` leaves a query's own row out.
        numbers: which of the queries.
        candidates: row numbers, each once; -1 is none. There are at least k + 1.
        k: how many.

    Returns:
        Distances, ascending, and row numbers; infinite and -1 where there were fewer than k candidates.
    """
    candidates = np.sort(candidates, axis=1)  # of equal distances the lower row comes first
    distances = rows.distances(queries, numbers, candidates)
    if rows is queries:
        is_own = candidates == numbers[:, None]
        distances[is_own] = np.inf
        candidates[is_own] = -1
    order = distances.argsort(axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, 1), np.take_along_axis(candidates, order, 1)


def _candidates(rows: EmbeddingRows, wanted: QueryVectors, k: int) -> Int64[np.ndarray, "queries k"]:
    """The k nearest rows by products of vectors, which is fast and right but for rounding."""
    best = np.full((len(wanted), 0), np.inf, np.float32)
    found = np.full((len(wanted), 0), -1, np.int64)
    for start, stop in rows.blocks():
        near, places = _search(wanted, rows.block(start, stop), min(k, stop - start))
        best = np.concatenate([best, near], axis=1)
        found = np.concatenate([found, places + start], axis=1)
        order = best.argsort(axis=1, kind="stable")[:, :k]
        best, found = np.take_along_axis(best, order, 1), np.take_along_axis(found, order, 1)
    return found


def _search(
    wanted: QueryVectors, block: Vectors, k: int
) -> tuple[Float32[np.ndarray, "queries k"], Int64[np.ndarray, "queries k"]]:
    """Squared Euclidean distances, also for rows of length 1: there they rank as the cosine does."""
    faiss = require("faiss", "anomaly")
    resources = gpu_resources()
    if resources is not None:
        near, places = faiss.knn_gpu(resources, wanted, block, k)
    else:
        near, places = faiss.knn(wanted, block, k)
    return near, places.astype(np.int64)


@cache
def gpu_resources() -> Any | None:
    """Memory of the first GPU for faiss; None where this faiss is built without, or there is no GPU."""
    faiss = require("faiss", "anomaly")
    if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0:
        return faiss.StandardGpuResources()
    return None
