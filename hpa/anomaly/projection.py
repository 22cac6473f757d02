"""Embeddings in two dimensions, to look at: UMAP, t-SNE and principal components."""

import contextlib
from abc import ABC, abstractmethod
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
import threadpoolctl
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors

from hpa.anomaly.principal_components import PrincipalComponents
from hpa.anomaly.projection_config import FEWEST, PcaConfig, ProjectionConfig, TsneConfig, UmapConfig
from hpa.anomaly.projection_rows import check_values, chunks_of, sample_rows, unit_rows
from hpa.arrays import EmbeddingArray, Float32, Int64
from hpa.extras import require

Coordinates: TypeAlias = Float32[np.ndarray, "items 2"]


@runtime_checkable
class Projection(Protocol):
    """A map from embeddings (items, features) to the plane, in scikit-learn's form.

    Every method raises ValueError where a value is not finite or the number of features is not the learned one; `fit`
    and `fit_transform` also where two or more rows are all the same. Fewer rows than `FEWEST` are placed by their
    principal components; a single row lies at the origin.
    """

    def fit(self, values: EmbeddingArray) -> "Projection":
        """Learn the map."""

    def transform(self, values: EmbeddingArray) -> Coordinates:
        """Place rows in the learned map."""

    def fit_transform(self, values: EmbeddingArray) -> Coordinates:
        """Learn the map and place all rows: those that it was learned from where learning put them."""


def build_projection(config: ProjectionConfig) -> Projection:
    """The projection of a configuration; `umap` is imported when it is fitted.

    >>> values = np.array([[0, 0], [0, 3], [0, 0], [0, 1]], np.float32)
    >>> build_projection(PcaConfig()).fit_transform(values).tolist()
    [[-1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]
    """
    match config:
        case UmapConfig():
            return UmapProjection(config)
        case TsneConfig():
            return TsneProjection(config)
        case PcaConfig():
            return PcaProjection(config)


class PcaProjection:
    """See `PcaConfig`; `principal_` holds the fitted components."""

    def __init__(self, config: PcaConfig | None = None) -> None:
        self.config = config or PcaConfig()

    def fit(self, values: EmbeddingArray) -> "PcaProjection":
        """Learn the components of all rows."""
        check_values(values, to_learn=True)
        self.principal_ = PrincipalComponents(2, self.config.metric == "cosine").fit(values)
        return self

    def transform(self, values: EmbeddingArray) -> Coordinates:
        """Positions along the two components; the second is 0 where there is one feature."""
        check_values(values, features=len(self.principal_.mean_))
        return _two_columns(self.principal_.transform(values))

    def fit_transform(self, values: EmbeddingArray) -> Coordinates:
        """Both."""
        return self.fit(values).transform(values)


class LearnedProjection(ABC):
    """A map that is learned from a sample of rows, reduced to their principal components.

    Attributes:
        rows_: the rows learned from, rising.
        coordinates_: where learning put them.
        reduction_: principal components of those rows; None where rows are left as they are.
    """

    def __init__(self, config: UmapConfig | TsneConfig) -> None:
        self.config = config

    def fit(self, values: EmbeddingArray) -> "LearnedProjection":
        """Learn the map from a sample."""
        config = self.config
        check_values(values, to_learn=True)
        self._features = values.shape[1]
        self.rows_: Int64[np.ndarray, " sample"] = sample_rows(len(values), config.sample, config.seed)
        chosen = np.array(values[self.rows_], np.float32)
        with _threads(config.seed):
            self._plane = PrincipalComponents(2, config.metric == "cosine").fit(chosen)
            start = _two_columns(self._plane.transform(chosen))
            self.reduction_: PrincipalComponents | None = None
            if config.components is not None and config.components < values.shape[1]:
                self.reduction_ = PrincipalComponents(config.components, config.metric == "cosine").fit(chosen)
            self._is_learned = len(chosen) >= FEWEST and bool(np.ptp(chosen, axis=0).any())
            self.coordinates_: Coordinates = self._learn(self._reduce(chosen), start) if self._is_learned else start
        return self

    def transform(self, values: EmbeddingArray) -> Coordinates:
        """Place rows in the learned map, a chunk at a time."""
        check_values(values, features=self._features)
        with _threads(self.config.seed):
            if not self._is_learned:
                return _two_columns(self._plane.transform(values))
            placed = [self._place(self._reduce(chunk)) for chunk in chunks_of(values)]
        return np.concatenate(placed).astype(np.float32)

    def fit_transform(self, values: EmbeddingArray) -> Coordinates:
        """Learn the map and place all rows: those that it was learned from where learning put them."""
        self.fit(values)
        result = np.empty((len(values), 2), np.float32)
        result[self.rows_] = self.coordinates_
        others = np.setdiff1d(np.arange(len(values)), self.rows_, assume_unique=True)
        for part in np.array_split(others, -(-len(others) // self.config.sample)) if len(others) else []:
            result[part] = self.transform(np.array(values[part], np.float32))
        return result

    @abstractmethod
    def _learn(self, reduced: EmbeddingArray, start: Coordinates) -> Coordinates:
        """Coordinates of the sample; `start` are its first two principal components."""

    @abstractmethod
    def _place(self, reduced: EmbeddingArray) -> Coordinates:
        """Coordinates of other rows."""

    def _reduce(self, values: EmbeddingArray) -> EmbeddingArray:
        if self.reduction_ is not None:
            return self.reduction_.transform(values)
        return unit_rows(values) if self.config.metric == "cosine" else values


class UmapProjection(LearnedProjection):
    """See `UmapConfig`."""

    config: UmapConfig

    def __init__(self, config: UmapConfig | None = None) -> None:
        super().__init__(config or UmapConfig())

    def _learn(self, reduced: EmbeddingArray, start: Coordinates) -> Coordinates:
        umap = require("umap", "anomaly")
        config = self.config
        # Principal components as the start: as good as the spectral one, and it needs no connected graph of neighbours
        # (Kobak and Linderman 2021, doi:10.1038/s41587-020-00809-z).
        self._model = umap.UMAP(
            n_neighbors=min(config.neighbours, len(reduced) - 1),
            min_dist=config.min_distance,
            init=start if (np.ptp(start, axis=0) > 0).all() else "random",
            random_state=config.seed,
            transform_seed=42 if config.seed is None else config.seed,
            n_jobs=-1 if config.seed is None else 1,
        )
        found: Coordinates = self._model.fit_transform(reduced).astype(np.float32)
        return found

    def _place(self, reduced: EmbeddingArray) -> Coordinates:
        found: Coordinates = self._model.transform(reduced).astype(np.float32)
        return found


class TsneProjection(LearnedProjection):
    """See `TsneConfig`."""

    config: TsneConfig

    def __init__(self, config: TsneConfig | None = None) -> None:
        super().__init__(config or TsneConfig())

    def _learn(self, reduced: EmbeddingArray, start: Coordinates) -> Coordinates:
        config = self.config
        spread = float(np.std(start[:, 0]))
        model = TSNE(
            perplexity=min(config.perplexity, (len(reduced) - 1) / 3),
            # As scikit-learn's own init="pca" scales it, without computing the components a second time.
            init=(start / np.float32(max(spread, 1e-12)) * np.float32(1e-4)),
            random_state=config.seed,
            n_jobs=-1 if config.seed is None else 1,
        )
        self._neighbours = NearestNeighbors(n_neighbors=min(config.placed_by, len(reduced))).fit(reduced)
        found: Coordinates = model.fit_transform(reduced).astype(np.float32)
        return found

    def _place(self, reduced: EmbeddingArray) -> Coordinates:
        distances, rows = self._neighbours.kneighbors(reduced)
        weights = 1 / np.maximum(distances, 1e-12 + 1e-6 * distances.max())
        weights /= weights.sum(axis=1, keepdims=True)
        placed: Coordinates = np.einsum("nk,nkd->nd", weights, self.coordinates_[rows]).astype(np.float32)
        return placed


def _two_columns(values: Float32[np.ndarray, "items components"]) -> Coordinates:
    """The first two columns, zeros where there is one."""
    result = np.zeros((len(values), 2), np.float32)
    result[:, : min(2, values.shape[1])] = values[:, :2]
    return result


def _threads(seed: int | None) -> contextlib.AbstractContextManager[object]:
    """One thread where a seed is given: sums of several threads round in the order in which they arrive."""
    return contextlib.nullcontext() if seed is None else threadpoolctl.threadpool_limits(1)
