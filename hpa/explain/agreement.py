"""Do two maps say the same? Rank correlation, overlap of their highest parts, structural similarity."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
import skimage.metrics

from hpa.arrays import Float64
from hpa.explain.evidence import OtherPlanes, Planes, coarsen, descending_ranks

WINDOW = 7
"""Side of the squares that structural similarity compares (Wang et al. 2004 as scikit-image has it)."""


def rank_correlation(first: Planes, second: OtherPlanes) -> Float64[np.ndarray, " items"]:
    """Spearman's rank correlation of each pair of maps, -1 to 1; 0 where one of them is the same everywhere.

    Raises:
        ValueError: the maps differ in number or size.
    """
    _check(first, second)
    if not first.size:
        return np.zeros(len(first))
    ranks = [scipy.stats.rankdata(one.reshape(len(one), -1), axis=1) for one in (first, second)]
    centred = [one - one.mean(axis=1, keepdims=True) for one in ranks]
    product = (centred[0] * centred[1]).sum(axis=1)
    scale = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    found = np.divide(product, scale, out=np.zeros(len(first)), where=scale > 0)
    return np.asarray(np.clip(found, -1, 1), np.float64)


def top_overlap(first: Planes, second: OtherPlanes, part: float = 0.1) -> Float64[np.ndarray, " items"]:
    """Intersection over union of the highest places of each pair of maps, 0 to 1.

    Two maps that have nothing to do with each other reach part / (2 - part): 0.05 for a tenth.

    Args:
        first: maps.
        second: others of the same items.
        part: of the places that count as the highest; at least one place. Of equals, random ones are taken, not the
            same ones for both maps.

    Raises:
        ValueError: the maps differ in number or size, or the part is not in (0, 1].
    """
    _check(first, second)
    if not 0 < part <= 1:
        raise ValueError(f"expected a part in (0, 1], but got {part}")
    count = max(1, round(part * first.shape[1] * first.shape[2]))
    ours, theirs = descending_ranks(first, 0) < count, descending_ranks(second, 1) < count
    both = (ours & theirs).sum(axis=(1, 2))
    return np.asarray(both / (2 * count - both), np.float64)


def structural_similarity(first: Planes, second: OtherPlanes) -> Float64[np.ndarray, " items"]:
    """Structural similarity of each pair of maps, each scaled to [0, 1] by its own range; 1 for the same map.

    Maps smaller than WINDOW are compared as a whole. A map that is the same everywhere is 0.5 everywhere.

    Raises:
        ValueError: the maps differ in number or size.
    """
    _check(first, second)
    window = min(WINDOW, *first.shape[1:])
    window -= 1 - window % 2
    pairs = [(_scaled(ours), _scaled(theirs)) for ours, theirs in zip(first, second, strict=True)]
    if window < 3:
        return np.array([float(np.allclose(*pair)) for pair in pairs], np.float64)
    compare: Any = skimage.metrics.structural_similarity
    return np.array([compare(*pair, win_size=window, data_range=1.0) for pair in pairs], np.float64)


def agreement(methods: Mapping[str, Planes], square: int = 8, part: float = 0.1) -> pd.DataFrame:
    """How much each pair of methods agrees on each item.

    Args:
        methods: maps of the same items, by name.
        square: the maps are compared by their means over squares of this side, so that fine maps and coarse ones meet
            on one scale.
        part: of the squares that count as the highest.

    Returns:
        One row per item and pair, each pair once: item, first, second, rank_correlation, top_overlap.

    Raises:
        ValueError: maps differ in number or size.
    """
    coarse = {name: coarsen(planes, square) for name, planes in methods.items()}
    names = list(coarse)
    tables = [
        pd.DataFrame(
            {
                "item": np.arange(len(coarse[first])),
                "first": first,
                "second": second,
                "rank_correlation": rank_correlation(coarse[first], coarse[second]),
                "top_overlap": top_overlap(coarse[first], coarse[second], part),
            }
        )
        for place, first in enumerate(names)
        for second in names[place + 1 :]
    ]
    columns = ["item", "first", "second", "rank_correlation", "top_overlap"]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns)


def _scaled(plane: np.ndarray) -> np.ndarray:
    low, high = float(plane.min()), float(plane.max())
    if high <= low:
        return np.full(plane.shape, 0.5)
    return (plane.astype(np.float64) - low) / (high - low)


def _check(first: OtherPlanes, second: OtherPlanes) -> None:
    if first.shape != second.shape:
        raise ValueError(f"expected maps of one shape, but got {first.shape} and {second.shape}")
