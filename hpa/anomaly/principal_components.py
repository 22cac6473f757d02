"""Principal components of an embedding that may be larger than memory."""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from hpa.anomaly.projection_rows import chunks_of, unit_rows
from hpa.arrays import EmbeddingArray, Float32

_WIDEST = 4096  # features up to which their covariance is formed; beyond, it would take hundreds of megabytes
_NO_VARIANCE = 1e-7  # of all variance: what rounding of float32 leaves


Components: TypeAlias = Float32[np.ndarray, "components features"]


class PrincipalComponents:
    """Directions of largest variance, in scikit-learn's form.

    Up to 4,096 features all rows take part, exactly (the covariance is summed over chunks of rows, so that a
    memory-mapped array is read and never held). Wider embeddings are fitted on at most 4,096 rows, spread evenly.
    A component's sign is such that its largest weight is positive. Components without variance are zero, so that
    what they give is zero and not noise.

    Attributes:
        count: components wanted; there are no more than features.
        unit_length: whether rows are scaled to length 1 first (zero rows stay zero): Euclidean distance between such
            rows orders pairs as the cosine does.
        mean_: float32 (features,).
        components_: float32 (components, features).
        explained_variance_ratio_: float32 (components,), in [0, 1].
    """

    def __init__(self, count: int, unit_length: bool = False) -> None:
        self.count = count
        self.unit_length = unit_length

    def fit(self, values: EmbeddingArray) -> "PrincipalComponents":
        """Learn the components; the values must be finite."""
        if self._is_wide(values):
            values = values[:: -(-len(values) // _WIDEST)]
        total = np.zeros(values.shape[1])
        for chunk in self._chunks(values):
            total += chunk.sum(axis=0, dtype=np.float64)
        self.mean_: Float32[np.ndarray, " features"] = (total / len(values)).astype(np.float32)
        variances, directions, everything = (
            self._by_rows(values) if self._is_wide(values) else self._by_features(values)
        )
        real = variances > _NO_VARIANCE * everything
        signs = np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(axis=1)])
        self.components_: Components = directions * np.where(real, signs, 0)[:, None]
        shares = variances / everything if everything > 0 else np.zeros(len(variances))
        self.explained_variance_ratio_: Float32[np.ndarray, " components"] = shares.astype(np.float32)
        return self

    def transform(self, values: EmbeddingArray) -> Float32[np.ndarray, "items components"]:
        """Positions of rows along the components."""
        result = np.empty((len(values), len(self.components_)), np.float32)
        start = 0
        for chunk in self._chunks(values):
            result[start : start + len(chunk)] = (chunk - self.mean_) @ self.components_.T
            start += len(chunk)
        return result

    def _is_wide(self, values: EmbeddingArray) -> bool:
        return bool(values.shape[1] > _WIDEST)

    def _by_features(self, values: EmbeddingArray) -> tuple[np.ndarray, Components, float]:
        """The largest variances, their directions (one a row), and all variance: from the products of features."""
        products = np.zeros((values.shape[1],) * 2)
        for chunk in self._chunks(values):
            centred = chunk - self.mean_
            products += centred.T @ centred
        variances, vectors = _largest(products, self.count)
        return variances, vectors.astype(np.float32), float(np.trace(products))

    def _by_rows(self, values: EmbeddingArray) -> tuple[np.ndarray, Components, float]:
        """The same from the products of rows."""
        centred = np.concatenate(list(self._chunks(values))) - self.mean_
        products = (centred @ centred.T).astype(np.float64)
        variances, vectors = _largest(products, self.count)
        return variances, unit_rows(vectors.astype(np.float32) @ centred), float(np.trace(products))

    def _chunks(self, values: EmbeddingArray) -> Iterator[EmbeddingArray]:
        for chunk in chunks_of(values):
            yield unit_rows(chunk) if self.unit_length else chunk


def _largest(products: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest eigenvalues of a symmetric matrix, falling, and their vectors, one a row."""
    values, columns = np.linalg.eigh(products)
    return np.maximum(values[::-1][:count], 0), columns[:, ::-1][:, :count].T
