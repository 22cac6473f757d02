"""The three reference channels of a cell: DNA, microtubules and endoplasmic reticulum, in relative brightness."""

import numpy as np

from hpa.arrays import FloatPlane
from hpa.simulation.cell import Cell
from hpa.simulation.textures import as_light, blur, draw_paths, net, paths, random_points, smooth_noise


def draw_dna(cell: Cell, rng: np.random.Generator) -> FloatPlane:
    """DAPI: mottled nuclei with dark nucleoli; bright chromosomes in a dividing cell. About 1 in a nucleus."""
    if cell.mitotic:
        return cell.soft_nucleus * (1.7 + 0.15 * smooth_noise(cell.shape, cell.length(0.5), rng))
    mottled = 1 + 0.16 * smooth_noise(cell.shape, cell.length(0.45), rng)
    mottled += 0.10 * smooth_noise(cell.shape, cell.length(2.0), rng)
    mottled *= 1 - 0.65 * cell.nucleoli.plane
    flat = 0.72 + 0.28 * (1 - np.exp(-cell.depth / np.float32(1.2)))
    return as_light(cell.soft_nucleus * mottled * flat)


def draw_microtubules(cell: Cell, rng: np.random.Generator) -> FloatPlane:
    """Microtubules: from the centrosome and from around the nucleus, thin, bent, densest about the nucleus."""
    if cell.mitotic:
        return as_light(draw_spindle(cell, rng) + 0.12 * cell.soft_mask)
    step = max(0.9, cell.length(0.2))
    reach = 2.0 * cell.radius
    steps = int(np.clip(reach / step, 8, 1200))
    number = int(np.clip(1.1 * np.pi * (cell.radius * cell.pixel) ** 2 / 4, 50, 420))
    own = number // 6
    from_center = np.tile(cell.centrosome, (own, 1)) + rng.normal(0, cell.length(1.2), (own, 2))
    near = np.exp(-cell.outside / np.float32(6)) * cell.cytoplasm
    elsewhere = random_points(near.astype(np.float32), number - own, rng)
    starts = np.vstack([from_center, elsewhere])
    angles = rng.uniform(0, 2 * np.pi, len(starts))
    curves = paths(
        starts, angles, steps, step, cell.length(1.0) ** -0.5 * 0.2, 0.06 / cell.length(1.0), rng, cell.stretch
    )
    heights = rng.gamma(2, 0.5, len(starts))
    lines = draw_paths(curves, cell.mask, step, cell.length(0.22), heights)
    # The focal plane cuts the nucleus, so few lie over it.
    lines *= 1 - 0.85 * blur(cell.soft_nucleus, cell.length(0.3))
    lines = 2 * np.tanh(lines / 2) * (0.9 + 0.25 * smooth_noise(cell.shape, cell.length(2.0), rng))
    return as_light(lines + 0.08 * cell.height * cell.soft_mask)


def draw_spindle(cell: Cell, rng: np.random.Generator) -> FloatPlane:
    """The spindle of a dividing cell: fibres between two poles, widest at the chromosomes, and short asters."""
    along = np.array([np.cos(cell.axis), np.sin(cell.axis)])
    across = np.array([-along[1], along[0]])
    center, half = np.array(cell.center), cell.length(5.0)
    number = 90
    steps = int(np.clip(2 * half / max(0.9, cell.length(0.2)), 12, 400))
    t = np.linspace(-1, 1, steps)[None, :, None]
    bulge = rng.normal(0, cell.length(2.3), (number, 1, 1))
    end = rng.uniform(0.1, 1, (number, 1, 1))  # some fibres end at the chromosomes
    t = np.where(rng.random((number, 1, 1)) < 0.5, np.clip(t, -1, end), np.clip(t, -end, 1))
    fibres = center + along * (t * half) + across * (bulge * (1 - t**2))
    step = 2 * half / steps
    plane = draw_paths(fibres.reshape(1, -1, 2), np.ones_like(cell.mask), step, cell.length(0.25))
    poles = np.vstack([center + along * half, center - along * half])
    asters = paths(
        np.repeat(poles, 40, axis=0), rng.uniform(0, 2 * np.pi, 80), 12, max(0.9, cell.length(0.25)), 0.1, 0.0, rng
    )
    plane += 0.7 * draw_paths(asters, np.ones_like(cell.mask), max(0.9, cell.length(0.25)), cell.length(0.25))
    return as_light(1.6 * np.tanh(plane / 3) * cell.soft_mask)


def draw_er(cell: Cell, rng: np.random.Generator) -> FloatPlane:
    """Endoplasmic reticulum: a granular net, dense at the nucleus, thin towards the edge, little in the nucleus."""
    shape = cell.shape
    if cell.mitotic:
        ring = cell.soft_mask * (1 - np.exp(-cell.outside / np.float32(2)))
        return as_light(ring * (0.4 + 0.12 * smooth_noise(shape, cell.length(0.4), rng)))
    texture = 0.5 * net(shape, cell.length(0.5), rng) + 0.45 + 0.22 * smooth_noise(shape, cell.length(0.22), rng)
    texture *= 1 + 0.25 * smooth_noise(shape, cell.length(2.5), rng)
    falling = 0.25 + 0.9 * np.exp(-cell.outside / np.float32(rng.uniform(4, 10)))
    plane = np.maximum(texture, 0) * falling * (1 - np.exp(-cell.edge / np.float32(1.2)))
    nucleus = rng.uniform(0.15, 0.4)
    return as_light(plane * cell.soft_mask * (1 - (1 - nucleus) * cell.soft_nucleus))
