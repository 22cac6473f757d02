"""Where the cells of a field lie and how large they are, before they have a shape."""

from dataclasses import dataclass

import numpy as np

from hpa.arrays import Float
from hpa.simulation.cell_lines import CellLine


@dataclass(frozen=True)
class Plan:
    """One cell as planned, before its neighbours and the border take their part of it.

    Attributes:
        x, y: centre of the nucleus, pixels; may lie outside the field.
        radius: of a disk of the cell's area, pixels.
        nucleus_radius: of a disk of the nucleus's area, pixels.
        axis: direction of the long axis, radians.
        mitotic: whether it divides.
        outline: distance from the centre to the cell's edge, pixels, in ANGLES directions.
        nucleus_outline: same for the nucleus.
    """

    x: float
    y: float
    radius: float
    nucleus_radius: float
    axis: float
    mitotic: bool
    outline: Float[np.ndarray, " angles"]
    nucleus_outline: Float[np.ndarray, " angles"]


def place_cells(line: CellLine, size: int, pixel: float, coverage: float, rng: np.random.Generator) -> list[Plan]:
    """Centres and sizes of round cells, in and around the field.

    Args:
        line: cell line.
        size: side of the field, pixels.
        pixel: side of a pixel, µm.
        coverage: part of the field to cover; there is at least one cell.
        rng: source of randomness.
    """
    typical = np.sqrt(line.area / np.pi) / pixel
    margin = 1.2 * typical
    side = size + 2 * margin
    # A cell loses to neighbours what lies under them, more of it where it is dense; so outlines are drawn larger.
    planned = line.area * (1 + 0.4 * coverage)
    expected = coverage * (1 + 0.35 * coverage) * (side * pixel) ** 2 / (planned * np.exp(line.spread**2 / 2))
    number = max(1, int(rng.poisson(expected)))
    placed = np.zeros((0, 4))
    for _ in range(number):
        area = planned * np.exp(line.spread * np.clip(rng.standard_normal(), -2.2, 2.2))
        radius = np.sqrt(area / np.pi) / pixel
        # A cell four times as large has a nucleus about twice as large.
        nucleus_area = line.nucleus * (area / planned) ** 0.5 * np.exp(0.18 * rng.standard_normal())
        nucleus_radius = np.sqrt(nucleus_area / np.pi) / pixel
        nucleus_radius = min(nucleus_radius, 0.72 * radius)
        tries = rng.uniform(-margin, size + margin, (24, 2))
        if len(placed) and rng.random() < line.clustering:
            mother = placed[rng.integers(len(placed), size=24)]
            angle = rng.uniform(0, 2 * np.pi, 24)
            away = (mother[:, 2] + radius) * rng.uniform(0.75, 1.15, 24)
            tries = mother[:, :2] + np.stack([np.cos(angle), np.sin(angle)], 1) * away[:, None]
        distance = np.hypot(tries[:, None, 0] - placed[None, :, 0], tries[:, None, 1] - placed[None, :, 1])
        near = distance - 1.25 * (placed[None, :, 3] + nucleus_radius) < 0
        crowded = distance < 0.62 * (placed[None, :, 2] + radius)
        good = ~(near | crowded).any(axis=1) & (np.abs(tries - size / 2).max(axis=1) < size / 2 + margin)
        if not good.any():
            continue
        x, y = tries[int(np.argmax(good))]
        if not len(placed):
            x, y = rng.uniform(0.25 * size, 0.75 * size, 2)  # so that no field is without a cell
        placed = np.vstack([placed, [x, y, radius, nucleus_radius]])
    none = np.zeros(0)
    # Neighbours grow in similar directions.
    common = rng.uniform(0, np.pi)
    axes = common + rng.normal(0, 0.7, len(placed))
    return [
        Plan(float(x), float(y), float(radius), float(nucleus), float(axis), False, none, none)
        for (x, y, radius, nucleus), axis in zip(placed, axes, strict=True)
    ]
