"""Confidences of a submission from probabilities: Negative, cells at the border, and a floor."""

from typing import Annotated, Literal, TypeAlias

import numpy as np
import pandas as pd
import pydantic

from hpa.arrays import Float64
from hpa.config import Config
from hpa.labels import ClassList
from hpa.tables import CELL_KEY, IMAGE_KEY, align, class_table, class_values

_Values: TypeAlias = Float64[np.ndarray, "cells classes"]
_PerCell: TypeAlias = Float64[np.ndarray, " cells"]


class PredictedNegative(Config):
    """Negative as the network predicts it."""

    kind: Literal["predicted"] = "predicted"


class MaximumNegative(Config):
    """Negative = 1 - the largest probability of the other classes (4th, 6th, 32nd place: +.003 to +.006)."""

    kind: Literal["maximum"] = "maximum"


class ProductNegative(Config):
    """Negative = the product of (1 - p) over the other classes: none of them, if they were independent.

    The same places and gain as `MaximumNegative`.
    """

    kind: Literal["product"] = "product"


Negative: TypeAlias = Annotated[
    PredictedNegative | MaximumNegative | ProductNegative, pydantic.Field(discriminator="kind")
]


class NoBorder(Config):
    """Cells at the border of the image count as the others."""

    kind: Literal["none"] = "none"


class NucleusBorder(Config):
    """Cells at the border: confidence × the visible fraction of their nucleus (4th place: .5295 to .5436 private).

    A cell at the border whose nucleus is not seen at all counts 0; cells inside keep their confidence.
    """

    kind: Literal["visible_nucleus"] = "visible_nucleus"


class AreaBorder(Config):
    """Small cells: confidence × min(1, area / full area) (7th place: .580 to .594 public).

    Attributes:
        edge_area: pixels from which on a cell at the border counts in full.
        inside_area: the same for a cell inside.
        image_side: side of the square images that the two areas were set for, pixels: cells of other images are
            measured as if their image were scaled to it. None: areas are taken as they are.
    """

    kind: Literal["area"] = "area"
    edge_area: float = pydantic.Field(default=80_000, gt=0)
    inside_area: float = pydantic.Field(default=32_000, gt=0)
    image_side: int | None = pydantic.Field(default=2048, gt=0)


Border: TypeAlias = Annotated[NoBorder | NucleusBorder | AreaBorder, pydantic.Field(discriminator="kind")]


class ConfidenceConfig(Config):
    """How probabilities become confidences, in the order of the fields.

    Attributes:
        negative: the rule for the class that excludes the others.
        others_without_negative: whether the other classes are multiplied by (1 - Negative), Negative being what the
            rule gives (4th, 6th, 32nd place).
        border: what cells at the border, or small ones, count.
        smallest_visible: cells at the border with a smaller visible fraction of the nucleus are left out; 0.5 is the
            rule of the competition's annotators. None: all cells stay.
        floor: least confidence; every class of every cell is submitted, for a detection that costs nothing below all
            others may still be a true positive.
    """

    negative: Negative = PredictedNegative()
    others_without_negative: bool = False
    border: Border = NoBorder()
    smallest_visible: float | None = pydantic.Field(default=None, ge=0, le=1)
    floor: float = pydantic.Field(default=1e-6, ge=0, lt=1)

    @property
    def quality_columns(self) -> tuple[str, ...]:
        """Columns of the cell table that these settings read."""
        names: set[str] = set()
        if self.smallest_visible is not None or self.border.kind == "visible_nucleus":
            names |= {"touches_border", "visible_nucleus"}
        if self.border.kind == "area":
            names |= {"touches_border", "area"}
        return tuple(sorted(names))


def confidences(
    probabilities: pd.DataFrame,
    quality: pd.DataFrame | None,
    classes: ClassList,
    config: ConfidenceConfig,
    images: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Confidences of every class of every cell that is submitted.

    Args:
        probabilities: image_id, cell_id and one column per class, in [0, 1].
        quality: the same cells in any order, with the columns that `config.quality_columns` names: area in pixels,
            touches_border, visible_nucleus in [0, 1] (NaN where no nucleus is seen).
        classes: the columns of the classes.
        config: the rules.
        images: image_id, height and width in pixels; needed where `border.image_side` is set.

    Returns:
        image_id, cell_id and one float32 column per class; the rows of `probabilities` in their order, less those
        left out.

    Raises:
        ValueError: a probability outside [0, 1], a rule that needs a class or table that is not there, or tables
            with other cells.
    """
    values = np.asarray(class_values(probabilities, classes), np.float64)
    if ((values < 0) | (values > 1)).any():
        row = int(np.flatnonzero(((values < 0) | (values > 1)).any(axis=1))[0])
        image_id, cell_id = (probabilities[name].iloc[row] for name in CELL_KEY)
        raise ValueError(
            f"expected probabilities from 0 to 1, but image {image_id}, cell {cell_id} has {values[row].tolist()}"
        )
    cells = _quality(probabilities, quality, config)
    values = _with_negative(values, classes, config)
    values *= _border_weights(probabilities, cells, config.border, images)[:, None]
    table = class_table(probabilities[list(CELL_KEY)], np.maximum(values, config.floor).astype(np.float32), classes)
    if config.smallest_visible is not None:
        table = table[_visible(cells) >= config.smallest_visible].reset_index(drop=True)
    return table


def _quality(probabilities: pd.DataFrame, quality: pd.DataFrame | None, config: ConfidenceConfig) -> pd.DataFrame:
    """The quality of the probabilities' cells, in their order; an empty table where no rule reads it."""
    needed = config.quality_columns
    if not needed:
        return pd.DataFrame(index=range(len(probabilities)))
    if quality is None:
        raise ValueError(f"expected a cell table with the columns {list(needed)}, which these rules read, but got none")
    missing = [name for name in needed if name not in quality.columns]
    if missing:
        raise ValueError(f"expected the columns {list(needed)} in the cell table, but {missing} are missing")
    return align(probabilities, quality, CELL_KEY)


def _with_negative(values: _Values, classes: ClassList, config: ConfidenceConfig) -> _Values:
    if config.negative.kind == "predicted" and not config.others_without_negative:
        return values.copy()
    if classes.exclusive is None:
        raise ValueError("these rules for Negative need a class list with `exclusive`, but it has none")
    place = classes.names.index(classes.exclusive)
    others = np.delete(np.arange(len(classes)), place)
    result = values.copy()
    match config.negative:
        case MaximumNegative():
            result[:, place] = 1 - values[:, others].max(axis=1)
        case ProductNegative():
            result[:, place] = (1 - values[:, others]).prod(axis=1)
        case PredictedNegative():
            pass
    if config.others_without_negative:
        result[:, others] *= 1 - result[:, [place]]
    return result


def _border_weights(
    probabilities: pd.DataFrame, cells: pd.DataFrame, border: Border, images: pd.DataFrame | None
) -> _PerCell:
    match border:
        case NoBorder():
            return np.ones(len(cells))
        case NucleusBorder():
            return _visible(cells)
        case AreaBorder():
            area = cells["area"].to_numpy(np.float64)
            if not (area >= 0).all():
                raise ValueError("expected the area of every cell, but the cell table has some missing or negative")
            if border.image_side is not None:
                area = area * border.image_side**2 / _image_areas(probabilities, images)
            full = np.where(cells["touches_border"].to_numpy(bool), border.edge_area, border.inside_area)
            return np.asarray(np.minimum(1, area / full))


def _visible(cells: pd.DataFrame) -> _PerCell:
    """Visible fraction of the nucleus: 1 for cells inside, 0 for those at the border without a nucleus in sight."""
    fraction = np.nan_to_num(cells["visible_nucleus"].to_numpy(np.float64), nan=0.0)
    return np.where(cells["touches_border"].to_numpy(bool), np.clip(fraction, 0, 1), 1.0).astype(np.float64)


def _image_areas(probabilities: pd.DataFrame, images: pd.DataFrame | None) -> _PerCell:
    """Pixels of the image of every cell."""
    if images is None:
        raise ValueError("`border.image_side` needs the sizes of the images; give them, or set it to null")
    (key,) = IMAGE_KEY
    table = images.drop_duplicates(key).set_index(key)
    found = table.reindex(probabilities[key])
    area: _PerCell = found["height"].to_numpy(np.float64) * found["width"].to_numpy(np.float64)
    if np.isnan(area).any():
        missing = probabilities[key].iloc[int(np.flatnonzero(np.isnan(area))[0])]
        raise ValueError(f"expected the size of every image, but that of {missing} is missing")
    return area
