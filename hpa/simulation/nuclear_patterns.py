"""Protein patterns in the nucleus; each is about 1 where its structures are. The cell does not divide."""

import numpy as np

from hpa.arrays import FloatPlane
from hpa.simulation.cell import Cell
from hpa.simulation.style import Style, between
from hpa.simulation.textures import as_light, dots, random_points, smooth_noise


def nucleoplasm(cell: Cell, style: Style, rng: np.random.Generator) -> FloatPlane:
    """The nucleus, grainy, with darker nucleoli (contrast: how dark; size: of the grain)."""
    grain = 1 + between(0.08, 0.35, style.number) * smooth_noise(
        cell.shape, cell.length(between(0.2, 0.7, style.size)), rng
    )
    grain += 0.12 * smooth_noise(cell.shape, cell.length(2.0), rng)
    grain *= 1 - between(0.3, 0.95, style.contrast) * cell.nucleoli.plane
    return as_light(cell.soft_nucleus * grain)


def nuclear_membrane(cell: Cell, style: Style, rng: np.random.Generator) -> FloatPlane:
    """A thin rim around the nucleus, uneven (contrast), over a weak interior (spread)."""
    distance = cell.depth - cell.outside
    width = np.float32(max(between(0.28, 0.5, style.size), 0.8 * cell.pixel))
    rim = np.exp(-(((distance - np.float32(0.15)) / width) ** 2))
    rim *= 1 + between(0.1, 0.35, style.contrast) * smooth_noise(cell.shape, cell.length(1.2), rng)
    inside = between(0.05, 0.45, style.spread) * cell.soft_nucleus
    inside *= 1 + 0.2 * smooth_noise(cell.shape, cell.length(0.4), rng)
    return as_light(rim * cell.soft_mask + inside)


def nucleoli(cell: Cell, style: Style, rng: np.random.Generator) -> FloatPlane:
    """The nucleoli as a whole, in some antibodies their rim only, over a weak nucleoplasm (spread)."""
    plane = cell.nucleoli.plane
    if style.contrast > 0.75:
        plane = np.clip(4 * plane * (1 - 0.85 * plane), 0, 1)
    plane = plane * (1 + 0.2 * smooth_noise(cell.shape, cell.length(0.4), rng))
    return as_light(plane + between(0.03, 0.3, style.spread) * cell.soft_nucleus)


def fibrillar_center(cell: Cell, style: Style, rng: np.random.Generator) -> FloatPlane:
    """A few small spots in each nucleolus."""
    spots = cell.nucleoli
    per = 1 + rng.poisson(between(0.3, 2.5, style.number), len(spots.points))
    points = np.repeat(spots.points, per, axis=0)
    reach = np.repeat(spots.radii, per)[:, None]
    points = points + rng.normal(0, 0.4, points.shape) * reach
    radii = cell.length(between(0.18, 0.4, style.size)) * rng.uniform(0.8, 1.2, len(points))
    plane = dots(points, radii, rng.uniform(0.6, 1.3, len(points)), cell.shape)
    return as_light(np.minimum(plane, 1.5) + between(0.0, 0.15, style.spread) * cell.soft_nucleus)


def nuclear_speckles(cell: Cell, style: Style, rng: np.random.Generator) -> FloatPlane:
    """Twenty to fifty irregular patches between the nucleoli, over a weak nucleoplasm (spread)."""
    noise = smooth_noise(cell.shape, cell.length(between(0.45, 0.75, style.size)), rng)
    noise += 0.25 * smooth_noise(cell.shape, cell.length(0.2), rng)
    patches = 1 / (1 + np.exp(-(noise - np.float32(between(1.3, 0.8, style.number))) / np.float32(0.3)))
    patches *= 1 - np.exp(-cell.depth / np.float32(0.8))
    patches *= 1 - cell.nucleoli.plane
    return as_light(patches + between(0.05, 0.3, style.spread) * cell.soft_nucleus)


def nuclear_bodies(cell: Cell, style: Style, rng: np.random.Generator) -> FloatPlane:
    """Two to fifteen round dots in the nucleus outside the nucleoli."""
    number = 1 + rng.poisson(between(1.5, 12.0, style.number**2))
    density = cell.nucleus * (cell.depth > 0.7) * (1 - cell.nucleoli.plane)
    points = random_points(density.astype(np.float32), number, rng)
    radii = cell.length(between(0.16, 0.45, style.size)) * rng.uniform(0.7, 1.3, len(points))
    plane = dots(points, radii, rng.uniform(0.5, 1.3, len(points)), cell.shape)
    return as_light(np.minimum(plane, 1.5) + between(0.02, 0.25, style.spread) * cell.soft_nucleus)
