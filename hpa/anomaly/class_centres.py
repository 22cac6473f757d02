"""Distances of rows to the centres of their classes, no row pulling a centre that it is compared with."""

from collections.abc import Callable

import numpy as np

from hpa.anomaly.embedding_rows import EmbeddingRows, Vectors
from hpa.arrays import Bool, Float32, Float64, Int64, Targets

Transform = Callable[[Vectors], Vectors]


def members(targets: Targets | None, count: int, least: int) -> Bool[np.ndarray, "items groups"]:
    """Which rows belong to which class, and in the last column to the whole set.

    A class with fewer than `least` rows has no member, so that its rows are compared with all others. A row without
    any class that counts is in the last column alone, and every row with one is in its classes alone.

    Args:
        targets: (count, classes), from 0.5 on a row has the class; None where nothing is known.
        count: rows.
        least: smallest class that has a centre.

    Raises:
        ValueError: another number of rows.
    """
    if targets is None:
        return np.ones((count, 1), bool)
    if len(targets) != count:
        raise ValueError(f"expected targets of {count} rows, as the embeddings have, but got {len(targets)}")
    belongs = targets >= 0.5
    belongs &= belongs.sum(axis=0) >= least
    return np.concatenate([belongs, ~belongs.any(axis=1, keepdims=True)], axis=1)


def centres(
    rows: EmbeddingRows, belongs: Bool[np.ndarray, "items groups"], transform: Transform
) -> tuple[Float64[np.ndarray, "groups features"], Int64[np.ndarray, " groups"]]:
    """Sums of the transformed rows of each class, the last that of all rows, and how many rows each has."""
    weights = belongs.astype(np.float64)
    weights[:, -1] = 1
    sums = np.zeros(0)
    for start, stop in rows.blocks():
        part = weights[start:stop].T @ transform(rows.block(start, stop)).astype(np.float64)
        sums = part if start == 0 else sums + part
    return sums, weights.sum(axis=0).astype(np.int64)


def centre_distances(
    rows: EmbeddingRows, belongs: Bool[np.ndarray, "items groups"], transform: Transform, relative: bool
) -> tuple[Float32[np.ndarray, " items"], Int64[np.ndarray, " items"]]:
    """Distance of each row to the mean of the other rows of its class: of several, the class in which it fits best.

    Args:
        rows: of the metric `cosine`, distances are 1 - cosine to the mean of the others' directions.
        belongs: as `members` gives it.
        transform: applied to every block of rows first.
        relative: divide by the median distance of the class, which 1 is then. A class whose median is 0 is measured by
            the median of all distances, and by 1 where that is 0 as well.

    Returns:
        (n,) the least distance, NaN for the only row of a set; (n,) the class, -1 for the whole set.
    """
    sums, counts = centres(rows, belongs, transform)
    compared = belongs.copy()
    compared[:, -1] = True  # what is usual in the whole set, all of it says
    distances = np.full(belongs.shape, np.nan, np.float32)
    for start, stop in rows.blocks():
        block = transform(rows.block(start, stop)).astype(np.float64)
        for group in np.flatnonzero(compared[start:stop].any(axis=0) & (counts > 1)).tolist():
            own = np.flatnonzero(compared[start:stop, group])
            others = sums[group] - block[own]
            if rows.metric == "cosine":
                lengths = np.linalg.norm(others, axis=1)
                cosines = np.einsum("ij,ij->i", block[own], others) / np.where(lengths > 0, lengths, 1)
                distances[start + own, group] = np.clip(1 - cosines, 0, 2)
            else:
                distances[start + own, group] = np.linalg.norm(block[own] - others / (counts[group] - 1), axis=1)
    if relative:
        distances /= _usual(distances)
    distances[~belongs | np.isnan(distances)] = np.inf
    best = distances.argmin(axis=1)
    least = distances[np.arange(len(distances)), best]
    classes = np.where(best == belongs.shape[1] - 1, -1, best).astype(np.int64)
    return np.where(np.isfinite(least), least, np.nan).astype(np.float32), classes


def _usual(distances: Float32[np.ndarray, "items groups"]) -> Float32[np.ndarray, " groups"]:
    """The median of each column without NaN, above 0."""
    known = np.isfinite(distances)
    overall = float(np.median(distances[known])) if known.any() else 0.0
    medians = [np.median(column[one]) if one.any() else 0 for column, one in zip(distances.T, known.T, strict=True)]
    return np.array([median or overall or 1 for median in medians], np.float32)
