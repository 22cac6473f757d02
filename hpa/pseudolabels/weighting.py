"""How much a cell counts in training: how well it is seen, and how sure its label is."""

from typing import Annotated, TypeAlias

import numpy as np
import pandas as pd
import pydantic

from hpa.arrays import Float64, Targets
from hpa.config import Config

_PerCell: TypeAlias = Float64[np.ndarray, " cells"]


class WeightConfig(Config):
    """How much a cell counts.

    Attributes:
        by_visible_nucleus: cells at the image's edge count as much as the part of their nucleus that is in the picture
            (4th place, 2021, for confidences: .5295 to .5436 private).
        least: of what a cell at the edge counts by that rule.
        flagged: by column of the cell table, the factor for cells that it marks.
        certainty: 0: the label itself does not matter; 1: a cell counts as much as its labels are sure, the mean of
            |2 x label - 1| over the classes of its image; between: part of it.
    """

    by_visible_nucleus: bool = True
    least: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.1
    flagged: dict[str, Annotated[float, pydantic.Field(ge=0)]] = pydantic.Field(
        default={"is_small": 0.5, "is_large": 0.5, "is_blurred": 0.5}
    )
    certainty: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.0


def cell_weights(
    cells: pd.DataFrame,
    labels: Targets,
    image_labels: Targets,
    config: WeightConfig,
    known: Float64[np.ndarray, "cells classes"] | None = None,
    known_weight: float = 1.0,
) -> _PerCell:
    """Weight of every cell, 0 or above.

    Args:
        cells: cell table of the same rows: touches_border, visible_nucleus in [0, 1] (NaN counts as 0), and the
            columns of `config.flagged`.
        labels: soft labels of the cells.
        image_labels: of each cell's image; those above 0 are asked for their certainty.
        config: the rules.
        known: labels that a person gave, NaN elsewhere.
        known_weight: of the cells with such a label, in place of what the rules give.

    Raises:
        ValueError: the cell table lacks a column, or tables of different length.
    """
    needed = [*(("touches_border", "visible_nucleus") if config.by_visible_nucleus else ()), *config.flagged]
    missing = [name for name in needed if name not in cells.columns]
    if missing:
        raise ValueError(f"expected the columns {needed} in the cell table, which the weights read, but {missing} miss")
    if not len(cells) == len(labels) == len(image_labels):
        raise ValueError(
            f"expected one row per cell, but got {len(cells)} cells, {len(labels)} labels and {len(image_labels)} "
            "labels of images"
        )
    weights = np.ones(len(cells))
    if config.by_visible_nucleus:
        visible = np.nan_to_num(cells["visible_nucleus"].to_numpy(np.float64), nan=0.0)
        weights = np.where(cells["touches_border"].to_numpy(bool), np.clip(visible, config.least, 1), weights)
    for name, factor in config.flagged.items():
        weights = np.where(cells[name].to_numpy(bool), weights * factor, weights)
    if config.certainty > 0:
        weights *= 1 - config.certainty * (1 - _certainty(labels, image_labels))
    if known is not None:
        weights = np.where(np.isnan(known).all(axis=1), weights, known_weight)
    return weights


def _certainty(labels: Targets, image_labels: Targets) -> _PerCell:
    """Mean of |2 x label - 1| over the classes of each cell's image; 1 where its image has none."""
    asked = image_labels > 0
    sure = np.abs(2 * labels.astype(np.float64) - 1)
    count = asked.sum(axis=1)
    return np.asarray(np.divide((sure * asked).sum(axis=1), count, out=np.ones(len(labels)), where=count > 0))
