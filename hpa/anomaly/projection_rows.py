"""Rows to project, of an embedding that may be larger than memory: in chunks, sampled, scaled, checked."""

from collections.abc import Iterator

import numpy as np

from hpa.anomaly.embedding_rows import require_finite
from hpa.arrays import EmbeddingArray, Int64

CHUNK_BYTES = 2**25
"""Bytes of rows that are in memory at a time."""


def chunks_of(values: EmbeddingArray) -> Iterator[EmbeddingArray]:
    """Copies of successive rows, `CHUNK_BYTES` at a time.

    >>> [len(chunk) for chunk in chunks_of(np.zeros((3, 2), np.float32))]
    [3]
    """
    rows = max(1, CHUNK_BYTES // max(1, values.shape[1] * 4))
    for start in range(0, len(values), rows):
        yield np.array(values[start : start + rows], np.float32)


def unit_rows(values: EmbeddingArray) -> EmbeddingArray:
    """Rows scaled to length 1; zero rows stay zero.

    >>> unit_rows(np.array([[3, 4], [0, 0]], np.float32)).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    scaled: EmbeddingArray = values / np.where(lengths > 0, lengths, np.float32(1))
    return scaled


def sample_rows(rows: int, sample: int, seed: int | None) -> Int64[np.ndarray, " sample"]:
    """At most `sample` of so many rows, at random without repeats, rising.

    >>> sample_rows(3, 5, 0).tolist()
    [0, 1, 2]
    """
    if rows <= sample:
        return np.arange(rows, dtype=np.int64)
    return np.sort(np.random.default_rng(seed).choice(rows, sample, replace=False)).astype(np.int64)


def check_values(values: EmbeddingArray, to_learn: bool = False, features: int | None = None) -> None:
    """Refuse what cannot be projected, reading a chunk at a time.

    Args:
        values: (items, features).
        to_learn: whether a map shall be learned from them, which needs rows that differ.
        features: number that is expected; None for any.

    Raises:
        ValueError: no rows or no features, another number of features, values that are not finite (names rows), or two
            or more rows that are all the same.
    """
    if features is not None and values.shape[1] != features:
        raise ValueError(f"expected {features} features, which the map was learned with, but got {values.shape[1]}")
    if to_learn and 0 in values.shape:
        raise ValueError(f"expected at least one row and one feature, but got an embedding of shape {values.shape}")
    start, differ = 0, False
    for chunk in chunks_of(values):
        require_finite(chunk, start)
        differ = differ or bool((chunk != values[0]).any())
        start += len(chunk)
    if to_learn and len(values) > 1 and not differ:
        raise ValueError(
            f"expected rows that differ, but all {len(values)} rows of the embedding are the same, so that there is "
            "nothing to see; look at how it was computed"
        )
