"""Evidence for single cells from a classifier of whole images: class activation maps, pooled inside the cells."""

from typing import Annotated, Literal, TypeAlias

import cv2
import numpy as np
import pydantic
import scipy.special
import torch
from torch.nn import functional

from hpa.arrays import Float32, ImageTensor, Probabilities, UInt8
from hpa.classification.activation import Maps
from hpa.classification.label_grid import SquareMap, grid_points
from hpa.classification.model import ImageClassifier
from hpa.classification.tta import VIEWS, view
from hpa.config import Config

ActivationMap: TypeAlias = Float32[np.ndarray, "classes map_height map_width"]


class MeanPooling(Config):
    """The mean over the cell."""

    kind: Literal["mean"] = "mean"


class MaxPooling(Config):
    """The greatest value in the cell."""

    kind: Literal["max"] = "max"


class QuantilePooling(Config):
    """A quantile over the cell, interpolated linearly.

    Attributes:
        quantile: 0.5 is the median; 0.99 is what the third place of the 2021 competition took.
    """

    kind: Literal["quantile"] = "quantile"
    quantile: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.99


CellPooling: TypeAlias = Annotated[MeanPooling | MaxPooling | QuantilePooling, pydantic.Field(discriminator="kind")]


class LocalProbability(Config):
    """What the classifier's head says of the cell alone: sigmoid, or softmax, of its pooled logit.

    Evidence then means the same in every image, so that cells can be ranked across images.

    Attributes:
        temperature: divides the logits before. Above 1 the image's probability weighs more in comparison.
    """

    kind: Literal["probability"] = "probability"
    temperature: Annotated[float, pydantic.Field(gt=0)] = 2.0


class RectifiedMaximum(Config):
    """The positive part of the map, divided by its maximum over the image, as in Puzzle-CAM and by the third place.

    It compares the cells of one image only: the best place of an image has evidence 1, whatever the image.
    """

    kind: Literal["relu"] = "relu"


Normalisation: TypeAlias = Annotated[LocalProbability | RectifiedMaximum, pydantic.Field(discriminator="kind")]


class CamConfig(Config):
    """Evidence by class activation maps.

    The defaults ranked cells best in one run on the simulated atlas (220 images held out, 1172 cells: macro AP 0.56,
    against 0.51 for the image's probability alone): the mean of local logits, on images enlarged by half. The form of
    the third place, `relu` with quantile 0.99, stayed below the image's probability there (0.45 to 0.49), with maps of
    5 × 5 to 10 × 10 locations.

    Attributes:
        pooling: of the map inside a cell.
        normalisation: from pooled values to evidence in [0, 1].
        magnification: images are enlarged by this factor before the network, for finer maps; time grows with its
            square. A network sees objects larger than it was trained on, so beyond 2 the gain is lost again.
        resolution: side in pixels of the grid on which label map and activation meet.
    """

    kind: Literal["cam"] = "cam"
    pooling: CellPooling = MeanPooling()
    normalisation: Normalisation = LocalProbability()
    magnification: Annotated[float, pydantic.Field(ge=1, le=4)] = 1.5
    resolution: Annotated[int, pydantic.Field(ge=16, le=2048)] = 256


def class_activation(model: ImageClassifier, images: ImageTensor, views: int = 1) -> Maps:
    """Class activation maps, float32: the mean of a map plus the head's bias is the class's logit.

    The model is used as it is: call it in evaluation mode, without gradients, and in the precision that is wanted.

    Args:
        model: the classifier.
        images: uint8 batch.
        views: 1, 2, 4 or 8 orientations, whose maps are turned back and averaged; then the mean of the logits holds.

    Raises:
        ValueError: another number of views, or a network without such maps.
    """
    if views not in VIEWS:
        raise ValueError(f"expected {', '.join(map(str, VIEWS))} views, but got {views}")
    total: torch.Tensor | None = None
    for number in range(views):
        maps = view_back(model.activation(model.forward_features(view(images, number))).float(), number)
        total = maps if total is None else total + maps
    assert total is not None
    return total / views


def view_back(maps: Maps, number: int) -> Maps:
    """Turn maps of images in one of their eight orientations (`hpa.classification.tta.view`) to the upright one."""
    axes = ((), (3,), (2,), (2, 3))[number % 4]
    upright = maps.flip(axes) if axes else maps
    return upright.transpose(2, 3) if number >= 4 else upright


def enlarge(images: ImageTensor, factor: float) -> UInt8[torch.Tensor, "batch channels new_height new_width"]:
    """Images of a side `factor` times as long, rounded to whole pixels; interpolated linearly, on their device."""
    if factor == 1:
        return images
    size = [round(side * factor) for side in images.shape[2:]]
    larger = functional.interpolate(images.float(), size, mode="bilinear", align_corners=False)
    return larger.round().to(torch.uint8)


def pool_in_cells(
    activation: ActivationMap, cell_map: SquareMap, pooling: CellPooling, resolution: int = 256
) -> Float32[np.ndarray, "cells classes"]:
    """One value per cell and class.

    Label map and activation are brought to one grid, the map by its nearest number and the activation by linear
    interpolation; they show the same field, each at its own scale. A cell too small to be met by the grid has the
    value at the middle one of its pixels.

    Args:
        activation: of one image.
        cell_map: 0 is background.
        pooling: how.
        resolution: side of the grid, pixels.

    Returns:
        float32, in the order of rising cell numbers.
    """
    cell_ids, cells, places = grid_points(cell_map, resolution)
    if len(cell_ids) == 0:
        return np.empty((0, len(activation)), np.float32)
    coarse = np.ascontiguousarray(np.moveaxis(activation, 0, 2))
    fine = cv2.resize(coarse, (resolution, resolution), interpolation=cv2.INTER_LINEAR)
    values = fine.reshape(-1, len(activation))[places].T
    starts = np.searchsorted(cells, np.arange(len(cell_ids)))
    counts = np.diff(np.append(starts, len(cells)))
    match pooling:
        case MeanPooling():
            pooled = np.add.reduceat(values, starts, axis=1, dtype=np.float64) / counts
        case MaxPooling():
            pooled = np.maximum.reduceat(values, starts, axis=1)
        case QuantilePooling():
            position = (counts - 1) * pooling.quantile
            low = np.floor(position).astype(np.int64)
            high = np.minimum(low + 1, counts - 1)
            ordered = np.stack([plane[np.lexsort((plane, cells))] for plane in values])
            below, above = ordered[:, starts + low], ordered[:, starts + high]
            pooled = below + (above - below) * (position - low)
    return np.ascontiguousarray(pooled.T, np.float32)


def cell_evidence(
    activation: ActivationMap,
    bias: Float32[np.ndarray, " classes"],
    cell_map: SquareMap,
    config: CamConfig,
    multi_label: bool = True,
) -> Probabilities:
    """How much each cell speaks for each class, in [0, 1]: pooled activation, normalised.

    Args:
        activation: class activation map of one image.
        bias: of the classifier's head.
        cell_map: of the same field.
        config: how.
        multi_label: False where an image has exactly one class; probabilities of a cell then sum to one.

    Returns:
        float32 (cells, classes), in the order of rising cell numbers.
    """
    pooled = pool_in_cells(activation, cell_map, config.pooling, config.resolution)
    match config.normalisation:
        case LocalProbability():
            logits = (pooled + bias) / np.float32(config.normalisation.temperature)
            evidence = scipy.special.expit(logits) if multi_label else scipy.special.softmax(logits, axis=1)
        case RectifiedMaximum():
            greatest = activation.max(axis=(1, 2))
            # A class without a positive place has no evidence anywhere.
            evidence = np.clip(pooled / np.where(greatest > 0, greatest, np.inf), 0, 1)
    return np.asarray(evidence, np.float32)
