"""Protein patterns made of threads; each is about 1 where its structures are."""

import numpy as np

from hpa.arrays import FloatPlane
from hpa.simulation.cell import Cell
from hpa.simulation.style import Style, between
from hpa.simulation.textures import as_light, blur, draw_paths, paths, random_points, smooth_noise


def intermediate_filaments(cell: Cell, style: Style, rng: np.random.Generator) -> FloatPlane:
    """A wavy cage around the nucleus that thins out towards the edge, denser on one side (spread)."""
    x, y = cell.centrosome
    side = np.exp(-cell.distance_from((x, y)) / np.float32(cell.length(between(6.0, 25.0, style.spread))))
    near = side * np.exp(-cell.outside / np.float32(between(3.0, 9.0, style.number))) * cell.cytoplasm
    starts = random_points(near.astype(np.float32), int(between(120.0, 320.0, style.number)), rng)
    step = max(0.9, cell.length(0.2))
    steps = int(np.clip(cell.length(between(4.0, 10.0, style.size)) / step, 4, 400))
    towards = np.arctan2(starts[:, 1] - cell.center[1], starts[:, 0] - cell.center[0])
    angles = towards + np.pi / 2 * rng.choice([-1, 1], len(starts)) + rng.normal(0, 0.8, len(starts))
    per_length = cell.length(1.0)
    curves = paths(starts, angles, steps, step, 0.42 / np.sqrt(per_length), 0.14 / per_length, rng, cell.stretch)
    width = cell.length(between(0.2, 0.35, style.contrast))
    plane = draw_paths(curves, cell.mask, step, width, rng.gamma(1.5, 0.4, len(starts)))
    plane = blur(plane, 0.3) * (1 - 0.8 * cell.soft_nucleus)
    return as_light(1.6 * np.tanh(0.7 * plane) + 0.05 * cell.height * cell.soft_mask)


def actin_filaments(cell: Cell, style: Style, rng: np.random.Generator) -> FloatPlane:
    """Straight parallel fibres along the cell and a cortex; or short streaks where the cell holds on (spread)."""
    cortex = np.exp(-cell.edge / np.float32(max(0.5, cell.pixel))) * cell.mask
    cortex *= between(0.3, 0.9, style.contrast) * (1 + 0.3 * smooth_noise(cell.shape, cell.length(1.0), rng))
    cortex += 0.08 * cell.height
    if cell.mitotic:
        return as_light(cortex * cell.soft_mask)
    adhesion = style.spread > 0.7
    step = max(0.9, cell.length(0.2))
    density = cell.mask * np.exp(-cell.edge / np.float32(1.2 if adhesion else 12))
    number = int(between(50.0, 170.0, style.number))
    starts = random_points(density.astype(np.float32), number, rng)
    if adhesion:
        towards = np.arctan2(starts[:, 1] - cell.center[1], starts[:, 0] - cell.center[0])
        angles, length, width = towards + np.pi + rng.normal(0, 0.25, len(starts)), 2.2, 0.45
    else:
        groups = cell.axis + rng.normal(0, 0.25, 3)
        angles = (
            rng.choice(groups, len(starts)) + rng.normal(0, 0.06, len(starts)) + np.pi * rng.integers(0, 2, len(starts))
        )
        length, width = between(6.0, 22.0, style.size), 0.22
    steps = int(np.clip(cell.length(length) / step, 3, 800))
    curves = paths(starts, angles, steps, step, 0.06 / np.sqrt(cell.length(1.0)), 0.015 / cell.length(1.0), rng)
    fibres = draw_paths(curves, cell.mask, step, cell.length(width), rng.gamma(1.5, 0.6, len(starts)))
    fibres *= np.maximum(0.8 + 0.4 * smooth_noise(cell.shape, cell.length(3.0), rng), 0.1)
    return as_light((np.minimum(fibres, 2) + cortex) * cell.soft_mask)


def microtubules(cell: Cell, style: Style, tubules: FloatPlane, rng: np.random.Generator) -> FloatPlane:
    """The stained microtubules themselves, unevenly bound (contrast), over a weak cytosol (spread)."""
    bound = 1 + between(0.05, 0.3, style.contrast) * smooth_noise(cell.shape, cell.length(0.5), rng)
    plane = np.tanh(0.8 * tubules * bound) + between(0.02, 0.2, style.spread) * cell.height * cell.soft_mask
    return as_light(plane)


def mitotic_spindle(cell: Cell, style: Style, spindle: FloatPlane, rng: np.random.Generator) -> FloatPlane:
    """The spindle of a dividing cell, its poles or its middle brighter (contrast), over a weak cytosol (spread)."""
    x = cell.distance_from(cell.center) * np.float32(cell.pixel / 5)
    poles = 1 + between(-0.5, 0.8, style.contrast) * np.clip(x, 0, 1.2)
    plane = spindle * poles * (1 + 0.15 * smooth_noise(cell.shape, cell.length(0.5), rng))
    return as_light(plane + between(0.05, 0.35, style.spread) * cell.soft_mask)


def mitochondria(cell: Cell, style: Style, rng: np.random.Generator) -> FloatPlane:
    """Worm-like threads of 1.5 to 6 µm, crowded about the nucleus or spread over the cytoplasm (spread)."""
    area = float(cell.mask.sum()) * cell.pixel**2
    number = int(between(0.10, 0.30, style.number) * area) + 5
    density = np.exp(-cell.outside / np.float32(between(1.5, 9.0, style.spread))) * cell.cytoplasm * (cell.edge > 0.6)
    starts = random_points(density.astype(np.float32), number, rng)
    step = max(0.7, cell.length(0.2))
    steps = int(max(3, cell.length(between(1.5, 5.0, style.size)) / step))
    per_length = cell.length(1.0)
    angles = rng.uniform(0, 2 * np.pi, len(starts))
    curves = paths(starts, angles, steps, step, 0.7 / np.sqrt(per_length), 0.15 / per_length, rng, cell.stretch)
    allowed = cell.cytoplasm if cell.nucleus.any() else cell.mask
    plane = draw_paths(curves, allowed, step, cell.length(0.32), rng.gamma(1.5, 0.5, len(starts)))
    plane *= np.maximum(0.9 + 0.4 * smooth_noise(cell.shape, cell.length(2.0), rng), 0.1)
    haze = between(0.01, 0.1, style.contrast) * cell.height
    return as_light((1.4 * np.tanh(0.8 * plane) + haze) * cell.soft_mask)
