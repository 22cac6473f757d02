"""Protein patterns outside the nucleus that are not threads; each is about 1 where its structures are."""

import numpy as np

from hpa.arrays import FloatPlane
from hpa.simulation.cell import Cell
from hpa.simulation.style import Style, between
from hpa.simulation.textures import as_light, blur, dots, draw_paths, net, paths, random_points, smooth_noise


def cytosol(cell: Cell, style: Style, rng: np.random.Generator) -> FloatPlane:
    """The whole cytoplasm, smooth to grainy (size), with a darker nucleus (contrast) and small holes (number)."""
    if cell.mitotic:
        plane = cell.soft_mask * (1 - 0.6 * cell.soft_nucleus)
        return as_light(plane * (1 + 0.1 * smooth_noise(cell.shape, cell.length(0.3), rng)))
    grain = 1 + between(0.06, 0.25, style.size) * smooth_noise(cell.shape, cell.length(0.3), rng)
    grain += 0.15 * smooth_noise(cell.shape, cell.length(2.5), rng)
    holes = smooth_noise(cell.shape, cell.length(0.6), rng)
    grain *= 1 - between(0.0, 0.6, style.number) * np.clip(holes - 1.2, 0, 1)
    plane = cell.height ** np.float32(between(0.4, 1.0, style.spread)) * grain
    plane *= 1 - between(0.3, 0.9, style.contrast) * cell.soft_nucleus
    return as_light(plane * cell.soft_mask)


def endoplasmic_reticulum(cell: Cell, style: Style, er: FloatPlane, rng: np.random.Generator) -> FloatPlane:
    """The stained reticulum itself, with the antibody's own unevenness and often a clear nuclear rim (contrast)."""
    plane = er * (1 + 0.2 * smooth_noise(cell.shape, cell.length(0.3), rng))
    plane += 0.35 * er * net(cell.shape, cell.length(between(0.4, 0.7, style.size)), rng)
    plane *= np.exp(-cell.outside / np.float32(between(8.0, 25.0, style.spread)))
    if not cell.mitotic:
        rim = np.exp(-((cell.outside - np.float32(0.4)) ** 2) / np.float32(0.3)) * ~cell.nucleus
        plane += between(0.0, 0.35, style.contrast) * rim * cell.soft_mask
    return as_light(plane)


def golgi(cell: Cell, style: Style, rng: np.random.Generator) -> FloatPlane:
    """Ribbons at one side of the nucleus, about the centrosome: compact or stretched along it (spread)."""
    x, y = cell.centrosome
    start = np.arctan2(y - cell.center[1], x - cell.center[0])
    number = 4 + rng.poisson(between(5.0, 14.0, style.number))
    angle = start + rng.normal(0, between(0.25, 0.9, style.spread), number)
    near = np.hypot(x - cell.center[0], y - cell.center[1])
    away = (
        near * rng.normal(1, 0.06, number)
        + cell.length(rng.uniform(0.2, 0.8))
        + rng.exponential(cell.length(0.6), number)
    )
    points = np.stack([cell.center[0] + away * np.cos(angle), cell.center[1] + away * np.sin(angle)], axis=1)
    step = max(0.8, cell.length(0.2))
    steps = int(max(3, cell.length(between(1.2, 3.2, style.size)) / step))
    tangent = angle + np.pi / 2 + np.pi * rng.integers(0, 2, number) + rng.normal(0, 0.5, number)
    curves = paths(points, tangent, steps, step, 0.5 / np.sqrt(cell.length(1.0)), 0.2 / cell.length(1.0), rng)
    width = cell.length(between(0.4, 0.75, style.contrast))
    ribbons = draw_paths(curves, cell.mask & (cell.depth < 0.5), step, width, rng.uniform(0.4, 1.2, number))
    vesicles = random_points(
        (np.exp(-cell.distance_from((x, y)) / cell.length(4.0)) * cell.cytoplasm).astype(np.float32), 8, rng
    )
    plane = 1.5 * np.tanh(ribbons) + dots(
        vesicles, np.full(len(vesicles), cell.length(0.2)), rng.uniform(0.2, 0.6, len(vesicles)), cell.shape
    )
    return as_light(plane * cell.soft_mask)


def centrosome(cell: Cell, style: Style, rng: np.random.Generator) -> FloatPlane:
    """One or two dots beside the nucleus, at both poles in a dividing cell; in some antibodies satellites (spread)."""
    x, y = cell.centrosome
    if cell.mitotic:
        points = np.array([[x, y], [2 * cell.center[0] - x, 2 * cell.center[1] - y]])
    else:
        angle, apart = rng.uniform(0, np.pi), cell.length(rng.uniform(0.25, 0.8))
        pair = np.array([[np.cos(angle), np.sin(angle)], [-np.cos(angle), -np.sin(angle)]]) * apart / 2
        points = np.array([[x, y]]) + pair
    radii = np.full(2, cell.length(between(0.22, 0.4, style.size)))
    plane = dots(points, radii, rng.uniform(1.3, 2.0, 2), cell.shape)
    if style.spread > 0.6:
        near = np.exp(-cell.distance_from((x, y)) / np.float32(cell.length(1.5))) * cell.cytoplasm
        satellites = random_points(near.astype(np.float32), 4 + rng.poisson(between(2.0, 14.0, style.number)), rng)
        plane += dots(
            satellites, np.full(len(satellites), cell.length(0.2)), rng.uniform(0.2, 0.6, len(satellites)), cell.shape
        )
    return as_light(np.minimum(plane, 2.2) * cell.soft_mask)


def plasma_membrane(cell: Cell, style: Style, rng: np.random.Generator) -> FloatPlane:
    """The edge, brightest between neighbours, ruffled, over a weaker interior (spread)."""
    width = np.float32(max(between(0.3, 0.8, style.size), 0.9 * cell.pixel))
    rim = np.exp(-((cell.edge / width) ** 2)) * cell.mask
    contact = blur(cell.neighbours.astype(np.float32), max(1.0, cell.length(0.8)))
    ruffles = 1 + 0.45 * smooth_noise(cell.shape, cell.length(1.5), rng)
    rim = rim * np.maximum(ruffles, 0.1) * (0.55 + 1.3 * np.minimum(2 * contact, 1))
    inside = between(0.08, 0.4, style.spread) * (1 + 0.25 * smooth_noise(cell.shape, cell.length(0.35), rng))
    band = 0.4 * between(0.0, 1.0, style.contrast) * np.exp(-cell.edge / np.float32(2.5))
    inside = (inside + band) * (1 - 0.45 * cell.soft_nucleus) * cell.soft_mask
    return as_light(rim + inside)


def aggresome(cell: Cell, style: Style, rng: np.random.Generator) -> FloatPlane:
    """One bright irregular clump beside the nucleus, over a weak cytosol (spread)."""
    x, y = cell.centrosome
    radius = cell.length(between(0.7, 1.5, style.size)) * rng.uniform(0.8, 1.25)
    parts = 3 + rng.poisson(4)
    away = max(0.0, np.hypot(x - cell.center[0], y - cell.center[1]) + 0.6 * radius)
    angle = np.arctan2(y - cell.center[1], x - cell.center[0])
    middle = np.array([cell.center[0] + away * np.cos(angle), cell.center[1] + away * np.sin(angle)])
    points = middle + rng.normal(0, 0.55 * radius, (parts, 2))
    clump = dots(points, radius * rng.uniform(0.35, 0.6, parts), np.full(parts, 0.9), cell.shape)
    clump = np.minimum(clump, 1.4) * (1 - 0.6 * cell.soft_nucleus)
    return as_light(
        (clump + between(0.03, 0.2, style.spread) * cell.height * (1 - 0.5 * cell.soft_nucleus)) * cell.soft_mask
    )


def vesicles(cell: Cell, style: Style, rng: np.random.Generator) -> FloatPlane:
    """Fifteen to two hundred dots of several sizes in the cytoplasm, around the nucleus or everywhere (spread)."""
    area = float(cell.mask.sum()) * cell.pixel**2
    number = int(between(0.03, 0.28, style.number**1.5) * area * rng.uniform(0.6, 1.4)) + 6
    density = np.exp(-cell.outside / np.float32(between(3.0, 30.0, style.spread))) * cell.cytoplasm * (cell.edge > 0.4)
    points = random_points(density.astype(np.float32), number, rng)
    radii = cell.length(between(0.13, 0.38, style.size)) * rng.gamma(8, 1 / 8, len(points))
    plane = dots(points, radii, rng.gamma(2.5, 0.35, len(points)), cell.shape)
    haze = between(0.02, 0.2, style.contrast) * cell.height * (1 - 0.5 * cell.soft_nucleus)
    return as_light((np.minimum(plane, 2) + haze) * cell.soft_mask)
