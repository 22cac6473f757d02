"""Embeddings of different networks brought into one space."""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import svd

from hpa.arrays import EmbeddingArray, Float32


@dataclass(frozen=True)
class Rotation:
    """A rigid motion: distances stay as they are.

    Attributes:
        mean: (features,), what is taken away first.
        matrix: (features, features), orthogonal.
        target: (features,), what is added last.
    """

    mean: Float32[np.ndarray, " features"]
    matrix: Float32[np.ndarray, "features features"]
    target: Float32[np.ndarray, " features"]

    def __call__(self, values: EmbeddingArray) -> EmbeddingArray:
        """Embeddings in the space of the target."""
        return np.asarray((values - self.mean) @ self.matrix + self.target, np.float32)


def fit_rotation(
    values: Float32[np.ndarray, "anchors features"], target: Float32[np.ndarray, "anchors features"]
) -> Rotation:
    """The rotation (or reflection) and shift that bring embeddings closest to those of the same images elsewhere.

    The orthogonal Procrustes problem (Schönemann 1966). With fewer anchors than features, directions that no anchor
    shows are turned in some way, the same in every call.

    Args:
        values: of the anchors by the one network.
        target: of the same anchors by the other.
    """
    means = [array.mean(axis=0, dtype=np.float64) for array in (values, target)]
    ours, theirs = (array - mean for array, mean in zip((values, target), means, strict=True))
    left, _, right = svd(ours.T @ theirs)
    return Rotation(means[0].astype(np.float32), (left @ right).astype(np.float32), means[1].astype(np.float32))
