"""Nearest neighbours in an embedding: exact where that is quick, else approximate within a stated recall (FAISS)."""

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import numpy as np
import pydantic

from hpa.anomaly.embedding_rows import EmbeddingRows, Metric
from hpa.anomaly.nearest_approximate import (
    POINTS_PER_CELL,
    CandidateIndex,
    HnswIndex,
    IvfIndex,
    Projection,
    approximate_nearest,
    fill,
    fit_projection,
    sampled,
    shared_recall,
)
from hpa.anomaly.nearest_exact import QUERIES, exact_nearest
from hpa.arrays import EmbeddingArray, Float32, Int64
from hpa.config import Config
from hpa.extras import require

Recall = Annotated[float, pydantic.Field(gt=0, le=1)]


class ExactSearch(Config):
    """Every query against every row.

    Attributes:
        metric: `euclidean`, or `cosine` for 1 - cosine.
    """

    kind: Literal["exact"] = "exact"
    metric: Metric = "euclidean"


class IvfSearch(Config):
    """Cells of k-means, of which the nearest are searched; candidates are ranked by their true distances.

    The index holds principal components in half precision: 2 · `dimensions` bytes a row. The number of cells that are
    searched is raised until a sample of the queries reaches the recall; where that is in vain, the search is exact.

    Attributes:
        metric: `euclidean`, or `cosine` for 1 - cosine.
        recall: least part of the true neighbours, on the sample.
        dimensions: principal components.
        cells: of k-means; None takes 4 · √rows.
        seed: of the samples and of k-means.
    """

    kind: Literal["ivf"] = "ivf"
    metric: Metric = "euclidean"
    recall: Recall = 0.95
    dimensions: Annotated[int, pydantic.Field(ge=1)] = 128
    cells: Annotated[int, pydantic.Field(ge=1)] | None = None
    seed: int = 0


class HnswSearch(Config):
    """A graph of small worlds; the rest as in `IvfSearch`.

    One thread builds it, for only then two builds are the same: it takes longer than `ivf`, and 4 · `dimensions` +
    8 · `links` bytes a row.

    Attributes:
        metric: `euclidean`, or `cosine` for 1 - cosine.
        recall: least part of the true neighbours, on the sample.
        dimensions: principal components.
        links: of each row in the graph.
        seed: of the samples.
    """

    kind: Literal["hnsw"] = "hnsw"
    metric: Metric = "euclidean"
    recall: Recall = 0.95
    dimensions: Annotated[int, pydantic.Field(ge=1)] = 128
    links: Annotated[int, pydantic.Field(ge=2, le=256)] = 32
    seed: int = 0


class AutoSearch(Config):
    """Exact below a size, `ivf` above.

    Attributes:
        metric: `euclidean`, or `cosine` for 1 - cosine.
        recall: least part of the true neighbours, on a sample.
        exact_pairs: most pairs of query and row that are all compared: 31,000 rows among themselves.
        seed: of the samples and of k-means.
    """

    kind: Literal["auto"] = "auto"
    metric: Metric = "euclidean"
    recall: Recall = 0.95
    exact_pairs: Annotated[int, pydantic.Field(ge=0)] = 10**9
    seed: int = 0


SearchConfig: TypeAlias = Annotated[
    AutoSearch | ExactSearch | IvfSearch | HnswSearch, pydantic.Field(discriminator="kind")
]


@dataclass(frozen=True)
class Neighbours:
    """What a search found.

    Attributes:
        distances: (queries, k), ascending: Euclidean, or 1 - cosine.
        rows: (queries, k), numbers of the rows; of equal distances the lower first.
        method: `exact`, `ivf` or `hnsw`.
        recall: part of the true neighbours that a sample of the queries found; 1 where the search is exact.
    """

    distances: Float32[np.ndarray, "queries k"]
    rows: Int64[np.ndarray, "queries k"]
    method: Literal["exact", "ivf", "hnsw"]
    recall: float


def nearest(
    values: EmbeddingArray,
    queries: Float32[np.ndarray, "queries query_features"] | None,
    k: int,
    config: AutoSearch | ExactSearch | IvfSearch | HnswSearch,
) -> tuple[Float32[np.ndarray, "queries k"], Int64[np.ndarray, "queries k"]]:
    """Distances and row numbers of the k nearest rows; `find_neighbours` tells more and says what the arguments are.

    >>> values = np.array([[0.0], [1.0], [1.5]], np.float32)
    >>> nearest(values, None, 1, ExactSearch())[1].ravel().tolist()
    [1, 2, 1]
    """
    found = find_neighbours(values, queries, k, config)
    return found.distances, found.rows


def find_neighbours(
    values: EmbeddingArray,
    queries: Float32[np.ndarray, "queries query_features"] | None,
    k: int,
    config: AutoSearch | ExactSearch | IvfSearch | HnswSearch,
) -> Neighbours:
    """The k nearest rows of each query; the same answer in every call.

    Args:
        values: float32 (rows, features), in memory or a memory-mapped file of whole rows, which is read in blocks.
        queries: the same features; None searches every row among the others: its own number is left out, an equal row
            is not.
        k: how many.
        config: how.

    Raises:
        ValueError: fewer rows than k (without the own one), values that are not finite (rows are named), an array
            without rows or features, another number of features in the queries, or faiss is not installed.
    """
    require("faiss", "anomaly")
    rows = EmbeddingRows(values, config.metric)
    wanted = rows if queries is None else EmbeddingRows(queries, config.metric, rows)
    others = len(rows) - (queries is None)
    if not 1 <= k <= others:
        among = "others of each row" if queries is None else "rows"
        raise ValueError(
            f"expected 1 to {others} neighbours, for there are {others} {among}, but got {k}; ask for fewer"
        )
    match config:
        case AutoSearch(metric=metric, recall=recall, exact_pairs=most, seed=seed):
            if len(rows) * len(wanted) > most:
                config = IvfSearch(metric=metric, recall=recall, seed=seed)
            else:
                config = ExactSearch(metric=metric)
        case _:
            pass
    if not isinstance(config, ExactSearch):
        dimensions = min(config.dimensions, rows.features)
        projection = fit_projection(rows, dimensions, config.seed)
        index = _build_index(config, rows, projection)
        fill(index, rows, projection)
        found = approximate_nearest(index, projection, rows, wanted, k, config.recall, config.seed)
        if found is not None:
            return Neighbours(found[0], found[1], config.kind, found[2])
    return Neighbours(*exact_nearest(rows, wanted, k), "exact", 1.0)


def measured_recall(
    values: EmbeddingArray,
    queries: Float32[np.ndarray, "queries query_features"] | None,
    distances: Float32[np.ndarray, "queries k"],
    metric: Metric,
    sample: int = 256,
    seed: int = 0,
) -> float:
    """Part of the true neighbours that a search found, by an exact search for a sample of its queries.

    Args:
        values: as they were searched.
        queries: as they were searched for.
        distances: that the search gave, of distinct rows.
        metric: of the search.
        sample: queries that are looked up.
        seed: of the sample.
    """
    rows = EmbeddingRows(values, metric)
    wanted = rows if queries is None else EmbeddingRows(queries, metric, rows)
    numbers = sampled(len(wanted), sample, seed)
    truth, _ = exact_nearest(rows, wanted, distances.shape[1], numbers)
    return shared_recall(distances[numbers], truth)


def _build_index(config: IvfSearch | HnswSearch, rows: EmbeddingRows, projection: Projection) -> CandidateIndex:
    match config:
        case IvfSearch(cells=cells, seed=seed):
            wanted = cells or round(4 * len(rows) ** 0.5)
            chosen = max(1, min(wanted, len(rows) // POINTS_PER_CELL))
            sample = sampled(len(rows), POINTS_PER_CELL * chosen, seed)
            parts = np.array_split(sample, -(-len(sample) // QUERIES))  # whole rows of all would be a gigabyte
            reduced = np.concatenate([projection(rows.take(part)) for part in parts])
            return IvfIndex(reduced, chosen, seed)
        case HnswSearch(links=links):
            return HnswIndex(projection.axes.shape[1], links)
