"""How well an embedding tells classes apart: silhouette, and what the nearest neighbours say about an item."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pydantic
from sklearn.metrics import average_precision_score, silhouette_samples

from hpa.anomaly.projection_config import Metric
from hpa.anomaly.projection_rows import check_values, sample_rows, unit_rows
from hpa.arrays import Bool, EmbeddingArray, Float64, Targets
from hpa.config import Config

_QUERIES = 512  # rows whose distances to all others are in memory at a time


class SeparationConfig(Config):
    """How separation is measured.

    Attributes:
        neighbours: that vote.
        metric: distance between rows.
        sample: rows that are measured, and that vote, at most.
        seed: decides which of them.
    """

    neighbours: int = pydantic.Field(default=10, ge=1)
    metric: Metric = "euclidean"
    sample: int = pydantic.Field(default=5000, ge=2)
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Separation:
    """What was measured; NaN where there is nothing to measure on.

    Attributes:
        items: that were measured: those with labels, or a sample of them.
        silhouette: mean over the items with exactly one class, in [-1, 1]: how much nearer an item lies to the items of
            its class than to those of the next class (Rousseeuw 1987). Items with several classes belong to no single
            cluster and take no part.
        silhouette_items: so many took part.
        accuracy: share of the items whose class (one of whose classes) has most of the votes of the nearest other
            items; of equals, the class with the nearer votes counts.
        accuracy_by_chance: what the most frequent class, always, would have.
        macro_ap: mean over classes of the average precision of the votes as a score of the class.
        macro_ap_by_chance: mean share of the items with a class.
        per_class: one row per class: items, silhouette, average_precision.
    """

    items: int
    silhouette: float
    silhouette_items: int
    accuracy: float
    accuracy_by_chance: float
    macro_ap: float
    macro_ap_by_chance: float
    per_class: pd.DataFrame

    @property
    def metrics(self) -> dict[str, float | int | None]:
        """The figures for JSON: None in place of NaN."""
        values = {name: value for name, value in vars(self).items() if name != "per_class"}
        return {name: None if np.isnan(value) else value for name, value in values.items()}


def measure_separation(
    values: EmbeddingArray,
    targets: Targets,
    config: SeparationConfig | None = None,
    groups: Sequence[str] | None = None,
) -> Separation:
    """Measure how well neighbourhoods of an embedding agree with labels.

    Args:
        values: (items, features), finite; may be memory-mapped.
        targets: (items, classes), a class being present from 0.5 on; items without any class are left out.
        config: see `SeparationConfig`.
        groups: of the items (images of one antibody, cells of one image); items of the same group do not vote for one
            another, for they are alike and share labels whatever the embedding is worth. None lets all vote.

    Raises:
        ValueError: lengths differ, or a value is not finite.

    >>> values = np.array([[0], [1], [10], [11]], np.float32)
    >>> targets = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    >>> found = measure_separation(values, targets, SeparationConfig(neighbours=1))
    >>> found.accuracy, found.macro_ap, round(found.silhouette, 3)
    (1.0, 1.0, 0.9)
    """
    config = config or SeparationConfig()
    lengths = {"values": len(values), "targets": len(targets), "groups": len(values) if groups is None else len(groups)}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"expected as many targets (and groups) as values, but got {lengths}")
    has = targets >= 0.5
    labelled = np.flatnonzero(has.any(axis=1))
    rows = labelled[sample_rows(len(labelled), config.sample, config.seed)]
    chosen = np.array(values[rows], np.float32)
    check_values(chosen)
    if config.metric == "cosine":
        chosen = unit_rows(chosen)
    has = has[rows]
    codes = np.arange(len(rows)) if groups is None else pd.factorize(np.asarray(groups, object)[rows])[0]
    votes = _votes(chosen, has, codes, config.neighbours)
    asked = votes.any(axis=1)  # an item all of whose neighbours are of its group is not measured
    silhouettes = _silhouettes(chosen, has)
    precisions = _average_precisions(has[asked], votes[asked])
    per_class = pd.DataFrame(
        {
            "items": has.sum(axis=0),
            "silhouette": [_mean(silhouettes[column & (has.sum(axis=1) == 1)]) for column in has.T],
            "average_precision": precisions,
        }
    )
    right = has[np.arange(len(rows)), votes.argmax(axis=1)] if len(rows) else np.zeros(0, bool)
    prevalence = has[asked].mean(axis=0) if asked.any() else np.full(has.shape[1], np.nan)
    judged = ~np.isnan(precisions)
    return Separation(
        items=int(asked.sum()),
        silhouette=_mean(silhouettes),
        silhouette_items=int((~np.isnan(silhouettes)).sum()),
        accuracy=_mean(right[asked].astype(float)),
        accuracy_by_chance=float(prevalence.max(initial=0)) if asked.any() else np.nan,
        macro_ap=_mean(precisions),
        macro_ap_by_chance=_mean(prevalence[judged]),
        per_class=per_class,
    )


def _votes(
    values: EmbeddingArray, has: Bool[np.ndarray, "items classes"], groups: np.ndarray, neighbours: int
) -> Float64[np.ndarray, "items classes"]:
    """Votes of the nearest items of other groups (and not the item itself); nearer ones weigh a thousandth more."""
    items = len(values)
    count = min(neighbours, max(items - 1, 0))
    votes = np.zeros(has.shape)
    if count == 0:
        return votes
    # A product of vectors far from zero has no digits left for their distance.
    values = values - values.mean(axis=0)
    squares = np.einsum("nd,nd->n", values, values)
    weights = 1 + 1e-3 * np.arange(count, 0, -1) / count
    for start in range(0, items, _QUERIES):
        rows = np.arange(start, min(start + _QUERIES, items))
        distances = squares[rows, None] + squares - 2 * values[rows] @ values.T
        distances[groups[rows, None] == groups] = np.inf
        nearest = np.argpartition(distances, count - 1, axis=1)[:, :count]
        found = np.take_along_axis(distances, nearest, axis=1)
        order = np.lexsort((nearest, found), axis=1)
        nearest, found = np.take_along_axis(nearest, order, axis=1), np.take_along_axis(found, order, axis=1)
        votes[rows] = np.einsum("nk,nkc->nc", weights * np.isfinite(found), has[nearest].astype(float))
    return votes


def _silhouettes(values: EmbeddingArray, has: Bool[np.ndarray, "items classes"]) -> Float64[np.ndarray, " items"]:
    """Silhouettes of the items with one class, NaN for others and where fewer than two classes have such items."""
    found = np.full(len(values), np.nan)
    single = np.flatnonzero(has.sum(axis=1) == 1)
    labels = has[single].argmax(axis=1)
    if 2 <= len(np.unique(labels)) < len(single):
        found[single] = silhouette_samples(values[single], labels)
    return found


def _average_precisions(
    has: Bool[np.ndarray, "items classes"], votes: Float64[np.ndarray, "items classes"]
) -> Float64[np.ndarray, " classes"]:
    """Average precision of each class that some items have and some do not; NaN for the others."""
    return np.array(
        [
            average_precision_score(column, scores) if 0 < column.sum() < len(column) else np.nan
            for column, scores in zip(has.T, votes.T, strict=True)
        ]
    )


def _mean(values: np.ndarray) -> float:
    """Mean of the values that are numbers; NaN where there is none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
