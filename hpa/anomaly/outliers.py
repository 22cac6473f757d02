"""Rows of an embedding that lie apart: by neighbours, class centres, Mahalanobis, local density and random trees."""

import warnings
from typing import Annotated, Literal, TypeAlias

import numpy as np
import pandas as pd
import pydantic
from scipy.linalg import eigh
from scipy.sparse import csr_matrix
from sklearn.covariance import ledoit_wolf
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor

from hpa.anomaly.class_centres import centre_distances, centres, members
from hpa.anomaly.embedding_rows import EmbeddingRows, Metric, Vectors
from hpa.anomaly.findings import Decision, Finding, ShareDecision, decide
from hpa.anomaly.nearest_approximate import sampled
from hpa.anomaly.neighbours import AutoSearch, SearchConfig, find_neighbours
from hpa.arrays import Bool, EmbeddingArray, Float32, Float64, Targets
from hpa.config import Config

Count = Annotated[int, pydantic.Field(ge=1)]


class NeighboursConfig(Config):
    """Distance to the nearest neighbours.

    Attributes:
        neighbours: how many.
        reduce: mean of their distances, or the distance of the farthest.
        search: how they are found.
        decision: which scores are flagged.
    """

    kind: Literal["neighbours"] = "neighbours"
    neighbours: Count = 10
    reduce: Literal["mean", "farthest"] = "mean"
    search: SearchConfig = AutoSearch()
    decision: Decision = ShareDecision()


class ClassCentreConfig(Config):
    """Distance to the centre of the class, of several the one in which the row fits best.

    Attributes:
        metric: `euclidean`, or `cosine` for 1 - cosine to the mean direction.
        relative: divided by the median distance of the class, so that narrow and wide classes are judged alike.
        least: smallest class that has a centre; rows of smaller ones are compared with all others.
        decision: which scores are flagged.
    """

    kind: Literal["class_centre"] = "class_centre"
    metric: Metric = "euclidean"
    relative: bool = True
    least: Annotated[int, pydantic.Field(ge=2)] = 5
    decision: Decision = ShareDecision()


class MahalanobisConfig(Config):
    """Mahalanobis distance to the centre of the class, with one covariance within all classes (Ledoit and Wolf 2004).

    That of Lee et al. 2018 (arXiv:1807.03888), the covariance shrunk so that it can be inverted with few rows.

    Attributes:
        by_class: centres and covariance of classes; False takes those of the whole set.
        least: smallest class that has a centre; rows of smaller ones are compared with all others.
        sample: rows that the covariance is estimated from, at most.
        seed: of the sample.
        decision: which scores are flagged.
    """

    kind: Literal["mahalanobis"] = "mahalanobis"
    by_class: bool = True
    least: Annotated[int, pydantic.Field(ge=2)] = 5
    sample: Annotated[int, pydantic.Field(ge=2)] = 20_000
    seed: int = 0
    decision: Decision = ShareDecision()


class LocalOutlierFactorConfig(Config):
    """Density around a row beside that around its neighbours (Breunig et al. 2000).

    Attributes:
        neighbours: how many.
        search: how they are found.
        decision: which scores are flagged.
    """

    kind: Literal["local_outlier_factor"] = "local_outlier_factor"
    neighbours: Count = 20
    search: SearchConfig = AutoSearch()
    decision: Decision = ShareDecision()


class IsolationForestConfig(Config):
    """How few random cuts separate a row from the others (Liu, Ting and Zhou 2008).

    Attributes:
        trees: how many.
        sample: rows that each tree sees, at most.
        seed: of samples and cuts.
        decision: which scores are flagged.
    """

    kind: Literal["isolation_forest"] = "isolation_forest"
    trees: Count = 200
    sample: Annotated[int, pydantic.Field(ge=2)] = 256
    seed: int = 0
    decision: Decision = ShareDecision()


OutlierConfig: TypeAlias = Annotated[
    NeighboursConfig | ClassCentreConfig | MahalanobisConfig | LocalOutlierFactorConfig | IsolationForestConfig,
    pydantic.Field(discriminator="kind"),
]


def find_outliers(
    embeddings: EmbeddingArray,
    targets: Targets | None,
    config: NeighboursConfig | ClassCentreConfig | MahalanobisConfig | LocalOutlierFactorConfig | IsolationForestConfig,
    name: str | None = None,
) -> Finding:
    """Judge every row of an embedding.

    Args:
        embeddings: float32 (n, features), in memory or memory-mapped; blocks of it are read.
        targets: float32 (n, classes), from 0.5 on a row has the class; None where there are no labels. Only class
            centres and Mahalanobis look at them.
        config: how.
        name: of the finding; None takes the config's kind.

    Returns:
        Scores, higher = farther from the others. Constant embeddings score alike. A single row of the set cannot be
        judged by centres (NaN).

    Raises:
        ValueError: fewer rows than neighbours, values that are not finite (rows are named), no rows, targets of other
            rows, or faiss is needed and not installed.
    """
    match config:
        case NeighboursConfig():
            return neighbour_distance(embeddings, config, name or config.kind)
        case ClassCentreConfig():
            return class_centre(embeddings, targets, config, name or config.kind)
        case MahalanobisConfig():
            return mahalanobis(embeddings, targets, config, name or config.kind)
        case LocalOutlierFactorConfig():
            return local_outlier_factor(embeddings, config, name or config.kind)
        case IsolationForestConfig():
            return isolation_forest(embeddings, config, name or config.kind)


def neighbour_distance(embeddings: EmbeddingArray, config: NeighboursConfig, name: str = "neighbours") -> Finding:
    """Distance of every row to its nearest neighbours; the score is in units of the metric."""
    found = find_neighbours(embeddings, None, config.neighbours, config.search)
    scores = found.distances.mean(axis=1) if config.reduce == "mean" else found.distances[:, -1]
    return _finding(name, scores, config.decision)


def class_centre(
    embeddings: EmbeddingArray, targets: Targets | None, config: ClassCentreConfig, name: str = "class_centre"
) -> Finding:
    """Distance of every row to the centre of the others of its class.

    The detail `<name>_class` is the number of the class in which it fits best, -1 for the whole set.
    """
    rows = EmbeddingRows(embeddings, config.metric)
    belongs = members(targets, len(rows), config.least)
    scores, classes = centre_distances(rows, belongs, np.asarray, config.relative)
    return _finding(name, scores, config.decision, pd.DataFrame({f"{name}_class": classes}))


def mahalanobis(
    embeddings: EmbeddingArray, targets: Targets | None, config: MahalanobisConfig, name: str = "mahalanobis"
) -> Finding:
    """Mahalanobis distance of every row to the centre of the others of its class.

    The detail `<name>_class` is the number of the class in which it fits best, -1 for the whole set.
    """
    rows = EmbeddingRows(embeddings, "euclidean")
    belongs = members(targets if config.by_class else None, len(rows), config.least)
    whitening = _whitening(rows, belongs, config)

    def whiten(block: Vectors) -> Vectors:
        return np.asarray(block @ whitening, np.float32)

    # One covariance for all: distances to different centres are in the same units already.
    scores, classes = centre_distances(rows, belongs, whiten, relative=False)
    return _finding(name, scores, config.decision, pd.DataFrame({f"{name}_class": classes}))


def _whitening(
    rows: EmbeddingRows, belongs: Bool[np.ndarray, "items groups"], config: MahalanobisConfig
) -> Float32[np.ndarray, "features features"]:
    """What makes the covariance within classes the identity; directions without any variance become 0."""
    sums, counts = centres(rows, belongs, np.asarray)
    chosen = sampled(len(rows), config.sample, config.seed)
    labelled = belongs[chosen]
    if labelled[:, :-1].any():  # rows of small classes are far from the centre of the whole set by nature
        labelled[:, -1] = False
    items, groups = np.nonzero(labelled)
    residuals = rows.take(chosen)[items] - (sums / np.maximum(counts, 1)[:, None])[groups]
    covariance: Float64[np.ndarray, "features features"] = np.zeros((rows.features,) * 2)
    if len(residuals) > 1 and np.abs(residuals).max() > 0:
        covariance = ledoit_wolf(residuals, assume_centered=True)[0]
    values, vectors = eigh(covariance)
    kept = values > max(values[-1], 0) * 1e-12
    factors = np.where(kept, 1 / np.sqrt(np.where(kept, values, 1)), 0)
    return np.asarray(vectors * factors, np.float32)


def local_outlier_factor(
    embeddings: EmbeddingArray, config: LocalOutlierFactorConfig, name: str = "local_outlier_factor"
) -> Finding:
    """Local outlier factor of every row, from the neighbours that the search finds; about 1 among its like."""
    found = find_neighbours(embeddings, None, config.neighbours, config.search)
    count, k = found.distances.shape
    # scikit-learn takes a graph of neighbours in which every row is its own nearest.
    distances = np.concatenate([np.zeros((count, 1), np.float32), found.distances], axis=1)
    places = np.concatenate([np.arange(count)[:, None], found.rows], axis=1)
    graph = csr_matrix((distances.ravel(), places.ravel(), np.arange(count + 1) * (k + 1)), (count, count))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of equal rows, whose factor is defined all the same
        detector = LocalOutlierFactor(n_neighbors=k, metric="precomputed").fit(graph)
    return _finding(name, -detector.negative_outlier_factor_, config.decision)


def isolation_forest(
    embeddings: EmbeddingArray, config: IsolationForestConfig, name: str = "isolation_forest"
) -> Finding:
    """Anomaly score of every row by a forest, in (0, 1)."""
    rows = EmbeddingRows(embeddings, "euclidean")
    forest = IsolationForest(
        n_estimators=config.trees, max_samples=min(config.sample, len(rows)), random_state=config.seed
    )
    # Each tree draws its own rows of these; all of a large embedding would have to be in memory.
    forest.fit(rows.take(sampled(len(rows), config.sample * config.trees, config.seed)))
    scores = np.concatenate([-forest.score_samples(rows.block(start, stop)) for start, stop in rows.blocks()])
    return _finding(name, scores, config.decision)


def _finding(name: str, scores: np.ndarray, decision: Decision, details: pd.DataFrame | None = None) -> Finding:
    values = np.asarray(scores, np.float32)
    return Finding(name, values, decide(values, decision), details)
