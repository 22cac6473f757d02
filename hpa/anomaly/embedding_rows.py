"""Embeddings as a search reads them: checked, prepared for a metric, and never all of them in memory."""

from collections.abc import Iterator
from typing import Literal, TypeAlias

import numpy as np

from hpa.arrays import EmbeddingArray, Float32, Int64, Integer
from hpa.extras import require

Metric: TypeAlias = Literal["euclidean", "cosine"]
Vectors: TypeAlias = Float32[np.ndarray, "rows features"]
QueryVectors: TypeAlias = Float32[np.ndarray, "queries features"]

BLOCK_BYTES = 64 * 2**20
"""Of embeddings that are read at once."""

LARGEST = 1e15
"""Greatest size of a value: the square of a difference, summed over the features, stays a float32."""


class EmbeddingRows:
    """Rows of an embedding in an array or a memory-mapped file.

    A block is what distances are computed on: for `euclidean` the mean of all rows is taken away, without which a
    product of two vectors far from zero has no digits left for their distance (distances stay what they are); for
    `cosine` a row has the length 1, and a row of zeros stays one (its cosine with anything is 0).

    Attributes:
        values: as given, float32 (rows, features).
        metric: what blocks are prepared for.
        shift: (features,), what is taken away from every row.
        norms: (rows,), for `cosine` the rows' lengths, 1 in place of 0; else None.

    Raises:
        ValueError: no rows or features, a value that is not finite or too large (the error names rows), or another
            number of features than `like`.
    """

    def __init__(self, values: EmbeddingArray, metric: Metric, like: "EmbeddingRows | None" = None) -> None:
        if 0 in values.shape:
            raise ValueError(f"expected embeddings with rows and features, but got an array of shape {values.shape}")
        if like is not None and values.shape[1] != like.values.shape[1]:
            raise ValueError(f"expected queries of {like.values.shape[1]} features, but got {values.shape[1]}")
        # FAISS reads the memory itself; a memory-mapped file of whole rows is not copied.
        self.values: EmbeddingArray = values if values.flags.c_contiguous else np.ascontiguousarray(values)
        self.metric: Metric = metric
        self.norms: Float32[np.ndarray, " rows"] | None = None
        if metric == "cosine":
            self.norms = np.empty(len(values), np.float32)
        total = np.zeros(values.shape[1])
        for start, stop in self.blocks():
            block = self.values[start:stop]
            require_finite(block, start)
            total += block.sum(axis=0, dtype=np.float64)
            if self.norms is not None:
                lengths = np.linalg.norm(block.astype(np.float64), axis=1)
                self.norms[start:stop] = np.where(lengths > 0, lengths, 1)
        mean = total / len(values) if metric == "euclidean" else np.zeros(values.shape[1])
        self.shift: Float32[np.ndarray, " features"] = mean.astype(np.float32) if like is None else like.shift

    def __len__(self) -> int:
        return len(self.values)

    @property
    def features(self) -> int:
        """Values of a row."""
        return int(self.values.shape[1])

    def blocks(self, rows: int | None = None) -> Iterator[tuple[int, int]]:
        """Where blocks begin and end; None takes as many rows as `BLOCK_BYTES` hold."""
        step = rows or max(1, BLOCK_BYTES // (4 * self.features))
        for start in range(0, len(self), step):
            yield start, min(start + step, len(self))

    def block(self, start: int, stop: int) -> Vectors:
        """Prepared rows that follow one another; a copy."""
        return self._prepared(self.values[start:stop], slice(start, stop))

    def take(self, rows: Integer[np.ndarray, " chosen"]) -> Vectors:
        """Prepared rows in the order asked for; a copy."""
        return self._prepared(self.values[rows], rows)

    def _prepared(self, values: Vectors, rows: slice | np.ndarray) -> Vectors:
        prepared: Vectors = np.subtract(values, self.shift)
        if self.norms is not None:
            prepared /= self.norms[rows, None]
        return np.ascontiguousarray(prepared)

    def distances(
        self, queries: "EmbeddingRows", numbers: Integer[np.ndarray, " queries"], rows: Int64[np.ndarray, "queries k"]
    ) -> Float32[np.ndarray, "queries k"]:
        """Distances of queries to some rows each, from the values themselves.

        Args:
            queries: of the same metric.
            numbers: which of the queries.
            rows: which rows for each of them; -1 is none, at an infinite distance.

        Returns:
            Euclidean distances from differences, so that equal rows have 0 exactly, or 1 - cosine in [0, 2].
        """
        faiss = require("faiss", "anomaly")
        wanted = np.ascontiguousarray(queries.values[numbers])
        places = np.ascontiguousarray(rows, np.int64)
        found = np.empty(places.shape, np.float32)
        compute = faiss.fvec_L2sqr_by_idx if self.norms is None else faiss.fvec_inner_products_by_idx
        arrays = (faiss.swig_ptr(array) for array in (found, wanted, self.values, places))
        compute(*arrays, self.features, *places.shape)
        if self.norms is None or queries.norms is None:
            return np.sqrt(found, out=found)
        cosines = found / (queries.norms[numbers, None] * self.norms[places])
        distances: Float32[np.ndarray, "queries k"] = np.where(places < 0, np.inf, np.clip(1 - cosines, 0, 2))
        return distances.astype(np.float32)


def require_finite(block: Vectors, first: int = 0) -> None:
    """Raise a ValueError that names rows with a value that is not finite, or above `LARGEST`.

    Args:
        block: rows.
        first: number of its first row.
    """
    wrong = ~(np.abs(block).max(axis=1) <= LARGEST)
    if wrong.any():
        rows = np.flatnonzero(wrong)
        example = block[rows[0]]
        value = example[~(np.abs(example) <= LARGEST)][0]
        raise ValueError(
            f"expected embeddings of finite values up to {LARGEST:g}, but {len(rows)} rows have others, such as "
            f"the rows {(rows[:5] + first).tolist()} (the first holds {value}); leave them out or compute them again"
        )
