"""One cell, cut out of its field: the geometry that stains and patterns are drawn on."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from hpa.arrays import Float, FloatPlane, Int, Mask, Points
from hpa.simulation.layout import Layout
from hpa.simulation.placement import Plan
from hpa.simulation.textures import as_light, blur, dots


@dataclass(frozen=True)
class Nucleoli:
    """The nucleoli of a cell: centres (pixels of the crop), radii (pixels), and how much of each pixel they fill."""

    points: Points
    radii: Float[np.ndarray, " points"]
    plane: FloatPlane


@dataclass(frozen=True)
class Cell:
    """A cell in its crop.

    Attributes:
        box: rows and columns of the crop in the field.
        mask: the cell, nucleus included.
        nucleus: the nucleus, or the chromosomes of a dividing cell.
        neighbours: other cells.
        pixel: side of a pixel, µm.
        center: (x, y) of the planned centre, pixels of the crop; may lie outside.
        axis: direction of the long axis, or of the spindle, radians.
        radius: of a disk of the planned area, pixels.
        nucleus_radius: same for the nucleus.
        mitotic: whether it divides.
        centrosome: (x, y), pixels of the crop; one pole when it divides.
        nucleoli: none when it divides.
    """

    box: tuple[slice, slice]
    mask: Mask
    nucleus: Mask
    neighbours: Mask
    pixel: float
    center: tuple[float, float]
    axis: float
    radius: float
    nucleus_radius: float
    mitotic: bool
    centrosome: tuple[float, float]
    nucleoli: Nucleoli

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the crop, pixels."""
        return self.mask.shape[0], self.mask.shape[1]

    @property
    def cytoplasm(self) -> Mask:
        """The cell without its nucleus."""
        around: Mask = self.mask & ~self.nucleus
        return around

    @cached_property
    def soft_mask(self) -> FloatPlane:
        """The cell with soft edges, 0 to 1."""
        return blur(self.mask.astype(np.float32), 0.18 / self.pixel)

    @cached_property
    def soft_nucleus(self) -> FloatPlane:
        """The nucleus with soft edges, 0 to 1."""
        return blur(self.nucleus.astype(np.float32), 0.15 / self.pixel)

    @cached_property
    def edge(self) -> FloatPlane:
        """Distance from the cell's edge, µm; 0 outside. The border of the image is no edge."""
        return _distance(self.mask) * np.float32(self.pixel)

    @cached_property
    def outside(self) -> FloatPlane:
        """Distance from the nucleus, µm; 0 in it. Where no nucleus is in the crop, distance from its centre."""
        if self.nucleus.any():
            return _distance(~self.nucleus) * np.float32(self.pixel)
        return np.maximum(self.distance_from(self.center) - self.nucleus_radius, 0) * np.float32(self.pixel)

    @cached_property
    def depth(self) -> FloatPlane:
        """Distance from the nucleus's edge inwards, µm; 0 outside."""
        return _distance(self.nucleus) * np.float32(self.pixel)

    @cached_property
    def height(self) -> FloatPlane:
        """Relative thickness of the cell, 0 to 1: flat at the edge, highest around the nucleus."""
        rise = 1 - np.exp(-self.edge / np.float32(0.5 if self.mitotic else 2.2))
        fall = 0.45 + 0.55 * np.exp(-self.outside / np.float32(7))
        return as_light(rise * fall)

    @cached_property
    def stretch(self) -> Float[np.ndarray, "2 2"]:
        """Linear map that makes a round thing as long as the cell."""
        y, x = np.nonzero(self.mask)
        if len(x) < 20:
            return np.eye(2)
        # Filaments follow the cell's elongation, but not entirely.
        values, vectors = np.linalg.eigh(np.cov(np.stack([x, y])) + np.eye(2))
        scale = np.sqrt(values / np.sqrt(values.prod())) ** 0.6
        return np.asarray(vectors * scale @ vectors.T)

    def distance_from(self, point: tuple[float, float]) -> FloatPlane:
        """Distance of every pixel of the crop from a point (x, y), pixels."""
        y, x = np.ogrid[: self.shape[0], : self.shape[1]]
        distance: FloatPlane = np.hypot(x - point[0], y - point[1]).astype(np.float32)
        return distance

    def length(self, micrometres: float) -> float:
        """Pixels of a length."""
        return micrometres / self.pixel


def cut_out(layout: Layout, number: int, pixel: float, rng: np.random.Generator) -> Cell | None:
    """The cell of `layout.plans[number - 1]`; None when none of it is in the field."""
    plan = layout.plans[number - 1]
    box = _bounds(layout.owner, number, plan)
    if box is None:
        return None
    owner = layout.owner[box]
    mask = owner == number
    nucleus = layout.nucleus[box] & mask
    center = (plan.x - box[1].start, plan.y - box[0].start)
    angle = plan.axis if plan.mitotic else rng.uniform(0, 2 * np.pi)
    index = int(angle / (2 * np.pi) * len(plan.nucleus_outline)) % len(plan.nucleus_outline)
    away = 5.0 / pixel if plan.mitotic else plan.nucleus_outline[index] + rng.uniform(0.6, 2.2) / pixel
    centrosome = (center[0] + away * float(np.cos(angle)), center[1] + away * float(np.sin(angle)))
    return Cell(
        box=box,
        mask=mask,
        nucleus=nucleus,
        neighbours=(owner > 0) & ~mask,
        pixel=pixel,
        center=center,
        axis=plan.axis,
        radius=plan.radius,
        nucleus_radius=plan.nucleus_radius,
        mitotic=plan.mitotic,
        centrosome=centrosome,
        nucleoli=_nucleoli(plan, center, mask.shape, pixel, rng),
    )


def _bounds(owner: Int[np.ndarray, "height width"], number: int, plan: Plan) -> tuple[slice, slice] | None:
    size = owner.shape[0]
    reach = float(plan.outline.max()) * 1.2 + 2
    top, left = max(0, int(plan.y - reach)), max(0, int(plan.x - reach))
    part = owner[top : max(0, int(plan.y + reach) + 1), left : max(0, int(plan.x + reach) + 1)] == number
    rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
    if not len(rows):
        return None
    return (
        slice(max(0, top + int(rows[0]) - 2), min(size, top + int(rows[-1]) + 3)),
        slice(max(0, left + int(columns[0]) - 2), min(size, left + int(columns[-1]) + 3)),
    )


def _nucleoli(
    plan: Plan, center: tuple[float, float], shape: tuple[int, ...], pixel: float, rng: np.random.Generator
) -> Nucleoli:
    """One to six nucleoli of 0.6 to 2 µm radius (measured by eye in the nuclear channel of the 2021 images)."""
    number = 0 if plan.mitotic else 1 + rng.poisson(1.8)
    angle = rng.uniform(0, 2 * np.pi, number)
    reach = plan.nucleus_outline[(angle / (2 * np.pi) * len(plan.nucleus_outline)).astype(int)]
    away = reach * 0.68 * np.sqrt(rng.random(number))
    points = np.stack([center[0] + away * np.cos(angle), center[1] + away * np.sin(angle)], axis=1)
    radii = rng.uniform(0.09, 0.24, number) * plan.nucleus_radius
    plane = dots(points, radii * 0.62, np.full(number, 1.6), (shape[0], shape[1]))
    plane = np.clip((plane - 0.55) / 0.4, 0, 1).astype(np.float32)
    return Nucleoli(points, radii, plane)


def _distance(mask: Mask) -> FloatPlane:
    if mask.all():
        return np.full(mask.shape, 1e3, np.float32)
    distance: FloatPlane = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    return distance
