"""What is chosen about a projection of embeddings to the plane."""

from typing import Annotated, Literal, TypeAlias

import pydantic

from hpa.config import Config

Metric: TypeAlias = Literal["euclidean", "cosine"]

FEWEST = 5
"""Rows that neighbours can be made out of; fewer are placed by their principal components, whatever the method."""


class UmapConfig(Config):
    """UMAP (McInnes, Healy and Melville 2018, arXiv:1802.03426), by umap-learn (extra `anomaly`).

    Attributes:
        neighbours: of a row; few show fine structure, many the whole. Never more than there are other rows.
        min_distance: how close points may lie in the picture.
        metric: distance between rows; the cosine is that of rows scaled to length 1.
        components: principal components that rows are reduced to first; null leaves them as they are.
        sample: rows that the map is learned from; the others are placed in it.
        seed: the same seed gives the same map, on one core only (some times slower on many cores: randomness and
            parallel updates exclude each other). Null uses all cores, and every run differs.
    """

    kind: Literal["umap"] = "umap"
    neighbours: int = pydantic.Field(default=15, ge=2)
    min_distance: float = pydantic.Field(default=0.1, ge=0, le=1)
    metric: Metric = "euclidean"
    components: Annotated[int, pydantic.Field(ge=2)] | None = 50
    sample: int = pydantic.Field(default=20_000, ge=FEWEST)
    seed: int | None = 0


class TsneConfig(Config):
    """t-SNE (van der Maaten and Hinton 2008) with Barnes and Hut's approximation, by scikit-learn.

    Attributes:
        perplexity: about the number of neighbours that count; never more than a third of the other rows.
        metric: distance between rows; the cosine is that of rows scaled to length 1.
        components: principal components that rows are reduced to first; null leaves them as they are.
        sample: rows that the map is learned from. t-SNE has no rule for others: each is put at the mean of its
            `placed_by` nearest learned rows, weighted by inverse distance.
        placed_by: learned rows that place another one.
        seed: the same seed gives the same map, on one core only. Null uses all cores.
    """

    kind: Literal["tsne"] = "tsne"
    perplexity: float = pydantic.Field(default=30, ge=1)
    metric: Metric = "euclidean"
    components: Annotated[int, pydantic.Field(ge=2)] | None = 50
    sample: int = pydantic.Field(default=10_000, ge=FEWEST)
    placed_by: int = pydantic.Field(default=5, ge=1)
    seed: int | None = 0


class PcaConfig(Config):
    """The first two principal components, of all rows (`PrincipalComponents`).

    Attributes:
        metric: `cosine` scales rows to length 1 first.
    """

    kind: Literal["pca"] = "pca"
    metric: Metric = "euclidean"


ProjectionConfig: TypeAlias = Annotated[UmapConfig | TsneConfig | PcaConfig, pydantic.Field(discriminator="kind")]
