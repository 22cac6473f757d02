"""From attribution maps to one number per place: how much it speaks for the class, whatever the method's units."""

from typing import Literal, TypeAlias

import numpy as np

from hpa.arrays import Float, Float32, Int64

Planes: TypeAlias = Float32[np.ndarray, "items height width"]
"""One plane per item; greater values speak more for the class."""

OtherPlanes: TypeAlias = Float32[np.ndarray, "_ _ _"]
"""The same, of a number and a size that whoever takes them compares with those of others."""

Meaning: TypeAlias = Literal["contribution", "sensitivity"]
"""What the values of a method's maps are.

`contribution`: signed parts of the answer (class activation, integrated gradients, SHAP, LIME): positive values speak
for the class, negative ones against it. `sensitivity`: how much the answer changes with a pixel (gradients, guided
backpropagation): the sign says in which direction the pixel would have to change, not for or against what it speaks.
"""

SENSITIVITIES = frozenset(
    {"gradient", "smooth_grad", "guided_backpropagation", "guided_grad_cam", "high_resolution_guided_grad_cam"}
)
"""Kinds of methods whose maps are sensitivities; those of all others are contributions."""


def meaning_of(kind: str) -> Meaning:
    """What the values of a method's maps are, by the `kind` of its settings.

    >>> meaning_of("lime")
    'contribution'
    """
    return "sensitivity" if kind in SENSITIVITIES else "contribution"


def evidence(maps: Float[np.ndarray, "items planes height width"], meaning: Meaning) -> Planes:
    """One plane per item: contributions of the channels are added, of sensitivities their magnitudes.

    Args:
        maps: attribution maps, one plane per channel or a single one.
        meaning: of their values.

    >>> maps = np.array([[[[1.0]], [[-3.0]]]])
    >>> evidence(maps, "contribution").tolist(), evidence(maps, "sensitivity").tolist()
    ([[[-2.0]]], [[[4.0]]])
    """
    values = maps if meaning == "contribution" else np.abs(maps)
    summed: Planes = values.sum(axis=1, dtype=np.float64).astype(np.float32)
    return summed


def coarsen(planes: Planes, side: int) -> Float32[np.ndarray, "items rows columns"]:
    """The means over squares; those at the right and lower edge may be narrower.

    Args:
        planes: one per item.
        side: of a square, pixels; 1 changes nothing.

    >>> coarsen(np.arange(6, dtype=np.float32).reshape(1, 2, 3), 2).tolist()
    [[[2.0, 3.5]]]
    """
    if side < 1:
        raise ValueError(f"expected squares of at least 1 pixel, but got {side}")
    height, width = planes.shape[1:]
    rows, columns = np.arange(0, height, side), np.arange(0, width, side)
    sums = np.add.reduceat(np.add.reduceat(planes, rows, axis=1, dtype=np.float64), columns, axis=2)
    counts = np.diff(np.append(rows, height))[:, None] * np.diff(np.append(columns, width))
    return np.asarray(sums / counts, np.float32)


def descending_ranks(
    planes: Float32[np.ndarray, "items rows columns"], seed: int = 0
) -> Int64[np.ndarray, "items rows columns"]:
    """The place of every value in falling order, from 0; equals come in random order.

    Were they left in reading order, a map that is 0 nearly everywhere would name the upper left corner next.

    Args:
        planes: one per item.
        seed: of the order among equals; it does not depend on the other items.
    """
    flat = planes.reshape(len(planes), planes.shape[1] * planes.shape[2])
    tied = np.random.default_rng(seed).random(flat.shape[1])
    order = np.lexsort((np.broadcast_to(tied, flat.shape), -flat), axis=1)
    ranks = np.empty(flat.shape, np.int64)
    np.put_along_axis(ranks, order, np.arange(flat.shape[1])[None], axis=1)
    return ranks.reshape(planes.shape)
