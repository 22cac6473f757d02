"""Does a map point at what it should? Energy inside a true region, and the pointing game."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from hpa.arrays import Bool, Float64
from hpa.explain.evidence import Planes


@dataclass(frozen=True, eq=False)
class Localization:
    """How much of each map lies in a region. NaN where the region is empty, or the map has nothing positive.

    Attributes:
        energy: part of the positive evidence inside, 0 to 1 (energy-based pointing game: Wang et al., "Score-CAM",
            CVPR workshops 2020, arXiv:1910.01279, section 4.2).
        area: part of the pixels inside: the energy of a map that says nothing.
        hit: 1 where the greatest evidence is inside or close by, else 0 (pointing game: Zhang et al., "Top-down neural
            attention by excitation backprop", ECCV 2016, arXiv:1608.00507, section 4.2).
    """

    energy: Float64[np.ndarray, " items"]
    area: Float64[np.ndarray, " items"]
    hit: Float64[np.ndarray, " items"]


def localize(planes: Planes, regions: Bool[np.ndarray, "_ _ _"], tolerance: float | int = 0) -> Localization:
    """Measure maps against regions.

    Args:
        planes: evidence at each pixel; only its positive part counts.
        regions: where the class is.
        tolerance: of the pointing game, pixels: 15 in the paper, for photographs of about 500 pixels.

    Raises:
        ValueError: maps and regions differ in number or size.

    >>> found = localize(np.float32([[[3, 1], [-9, 0]]]), np.array([[[True, False], [False, False]]]))
    >>> found.energy.tolist(), found.area.tolist(), found.hit.tolist()
    ([0.75], [0.25], [1.0])
    """
    if planes.shape != regions.shape:
        raise ValueError(f"expected maps and regions of one shape, but got {planes.shape} and {regions.shape}")
    positive = np.clip(planes, 0, None).astype(np.float64).reshape(len(planes), planes.shape[1] * planes.shape[2])
    inside = regions.reshape(positive.shape)
    total = positive.sum(axis=1)
    defined = (total > 0) & inside.any(axis=1)
    energy = np.divide(
        (positive * inside).sum(axis=1), total, out=np.full(len(planes), np.nan), where=defined
    )  # where undefined, NaN stays
    area = np.where(inside.any(axis=1), inside.mean(axis=1), np.nan) if inside.size else np.empty(len(planes))
    hit = np.full(len(planes), np.nan)
    for item in np.flatnonzero(defined):
        hit[item] = _is_hit(planes[item], regions[item], tolerance)
    return Localization(energy, area, hit)


def _is_hit(plane: np.ndarray, region: np.ndarray, tolerance: float | int) -> float:
    """The part of the places with the greatest value that are close to the region; usually there is one such place."""
    highest = plane == plane.max()
    near = region if tolerance <= 0 else ndimage.distance_transform_edt(~region) <= tolerance
    return float(near[highest].mean())
