"""From labels of images and evidence in cells to soft labels of cells."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

import numpy as np
import pydantic

from hpa.arrays import ClassVector, Float, Float64, Int64, Probabilities, Targets
from hpa.config import Config
from hpa.labels import ClassList
from hpa.pseudolabels.rescaling import MaximumRescaling, Rescaling, rescale

_Labels: TypeAlias = Float64[np.ndarray, "cells classes"]
Share = Annotated[float, pydantic.Field(ge=0, le=1)]


class NegativeOfImage(Config):
    """A cell is Negative where its image is, and nowhere else."""

    kind: Literal["image"] = "image"


class MaximumNegative(Config):
    """Negative = 1 - the highest label of the other classes: a cell that shows none of what its image has."""

    kind: Literal["maximum"] = "maximum"


class ProductNegative(Config):
    """Negative = the product of (1 - label) over the other classes."""

    kind: Literal["product"] = "product"


NegativeLabels: TypeAlias = Annotated[
    NegativeOfImage | MaximumNegative | ProductNegative, pydantic.Field(discriminator="kind")
]


class RuleConfig(Config):
    """How evidence in cells becomes labels of cells, in the order of the fields.

    Attributes:
        rescaling: how the cells of an image are compared with one another.
        single_label_floor: in an image with one class (not Negative) every cell has it with at least this label. Where
            stainings hardly differ between cells, a high floor is right; where half of the cells differ, as in the
            weak-label sets that were labelled cell by cell, 0 is.
        doubt: how far an image's label gives way where the image's own out-of-fold probability p denies it: labels are
            multiplied by 1 - doubt x (1 - p). 0 believes every label.
        mining: by class name, the evidence from which on a cell has the class although its image has not; its label is
            that evidence, not rescaled. Without an entry a class is never positive there (7th place, 2021).
        levels: labels are rounded to so many equal steps, 5 for 0, 0.25, 0.5, 0.75 and 1; null keeps them as they are.
        negative: when a cell is Negative; needs a class list with an exclusive class, unless it is `image`.
    """

    rescaling: Rescaling = MaximumRescaling()
    single_label_floor: Share = 0.0
    doubt: Share = 0.0
    mining: dict[str, Share] = pydantic.Field(default={})
    levels: Annotated[int, pydantic.Field(ge=2, le=101)] | None = None
    negative: NegativeLabels = MaximumNegative()


def soft_labels(
    images: Int64[np.ndarray, " cells"],
    image_labels: Targets,
    evidence: Probabilities,
    classes: ClassList,
    config: RuleConfig,
    image_probabilities: Probabilities | None = None,
    known: Float[np.ndarray, "cells classes"] | None = None,
) -> Targets:
    """Soft labels of cells: image label x evidence, compared within each image.

    In an image that is Negative every cell is, whatever the evidence: nothing is stained there.

    Args:
        images: the same number for the cells of one image.
        image_labels: of each cell's image, in [0, 1].
        evidence: that a cell shows a class, in [0, 1], from networks that did not learn from the cell's image.
        classes: names the columns, and the class that excludes the others.
        config: the rules.
        image_probabilities: out of fold, of each cell's image; needed where `doubt` is above 0.
        known: labels that a person gave, NaN elsewhere; they stand in place of the rules', and a cell's Negative
            follows from them unless it is among them.

    Returns:
        In [0, 1], one row per cell.

    Raises:
        ValueError: tables of different shapes, values outside [0, 1], a class to mine that the list does not have, or
            a rule that needs what is not given.

    >>> labels = np.float32([[1, 0], [1, 0]])
    >>> rule = RuleConfig(negative=NegativeOfImage())
    >>> soft_labels(np.array([0, 0]), labels, np.float32([[0.4, 0.9], [0.2, 0.9]]), ClassList(names=("a", "b")), rule)
    array([[1. , 0. ],
           [0.5, 0. ]], dtype=float32)
    """
    values = _checked("evidence", evidence, len(images), classes)
    given = _checked("image_labels", image_labels, len(images), classes)
    exclusive = None if classes.exclusive is None else classes.names.index(classes.exclusive)
    labels = rescale(values, images, config.rescaling)
    single = (given > 0) & ((given > 0).sum(axis=1) == 1)[:, None]
    labels = np.where(single, np.maximum(labels, config.single_label_floor), labels)
    if exclusive is not None:
        labels[:, exclusive] = 1
    labels *= given
    if config.doubt > 0:
        if image_probabilities is None:
            raise ValueError("`doubt` needs the images' out-of-fold probabilities; give them, or set it to 0")
        denied = 1 - _checked("image_probabilities", image_probabilities, len(images), classes)
        labels *= 1 - config.doubt * denied
    thresholds = _thresholds(config.mining, classes)
    # Compared as float32, so that evidence of 0.7 reaches a threshold of 0.7.
    labels = np.where((given == 0) & (evidence >= thresholds.astype(np.float32)), values, labels)
    labels = _rounded(labels, config.levels)
    known_values = np.full(labels.shape, np.nan) if known is None else np.asarray(known, np.float64)
    labels = _with_known(labels, known_values)
    return _with_negative(labels, known_values, exclusive, config).astype(np.float32)


def _checked(name: str, values: Probabilities, cells: int, classes: ClassList) -> _Labels:
    if values.shape != (cells, len(classes)):
        raise ValueError(f"expected `{name}` of shape {(cells, len(classes))} (cells, classes), but got {values.shape}")
    if not ((values >= 0) & (values <= 1)).all():
        row = int(np.flatnonzero(~((values >= 0) & (values <= 1)).all(axis=1))[0])
        raise ValueError(f"expected `{name}` from 0 to 1, but row {row} is {values[row].tolist()}")
    return values.astype(np.float64)


def _thresholds(mining: Mapping[str, float], classes: ClassList) -> ClassVector:
    """One per class; above 1 where nothing is mined."""
    unknown = sorted(set(mining) - set(classes.names))
    if unknown:
        raise ValueError(f"mining: expected names of classes, but {unknown} are not in the list {list(classes.names)}")
    return np.array([mining.get(name, 2.0) for name in classes.names])


def _rounded(labels: _Labels, levels: int | None) -> _Labels:
    if levels is None:
        return labels
    # Halves go up: NumPy's rounding to even would send 0.125 down and 0.375 up.
    return np.asarray(np.floor(labels * (levels - 1) + 0.5) / (levels - 1))


def _with_known(labels: _Labels, known: _Labels) -> _Labels:
    if known.shape != labels.shape:
        raise ValueError(f"expected `known` of shape {labels.shape} (cells, classes), but got {known.shape}")
    if ((known < 0) | (known > 1)).any():
        raise ValueError("expected `known` labels from 0 to 1, NaN where there is none")
    return np.where(np.isnan(known), labels, known)


def _with_negative(labels: _Labels, known: _Labels, exclusive: int | None, config: RuleConfig) -> _Labels:
    if isinstance(config.negative, NegativeOfImage):
        return labels
    if exclusive is None:
        raise ValueError(
            f"negative: the rule {config.negative.kind!r} needs a class list with `exclusive`, which this one has not; "
            "set negative.kind to image"
        )
    others = np.delete(labels, exclusive, axis=1)
    match config.negative:
        case MaximumNegative():
            negative = 1 - others.max(axis=1)
        case ProductNegative():
            negative = (1 - others).prod(axis=1)
    rounded = _rounded(negative[:, None], config.levels)[:, 0]
    result = labels.copy()
    result[:, exclusive] = np.where(np.isnan(known[:, exclusive]), rounded, known[:, exclusive])
    return result
