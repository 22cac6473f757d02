"""Outlines of cells and nuclei as distances from the centre in a fixed set of directions."""

from dataclasses import replace

import numpy as np

from hpa.arrays import Float
from hpa.simulation.cell_lines import CellLine
from hpa.simulation.placement import Plan

ANGLES = 128
"""Directions in which an outline is known."""


def shape_cell(plan: Plan, line: CellLine, mitotic: bool, pixel: float, rng: np.random.Generator) -> Plan:
    """Give a planned cell its outlines: flat, irregular and with processes; round when it divides."""
    theta = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    nucleus_ratio = float(np.clip(rng.normal(0.74, 0.1), 0.45, 0.97))
    nucleus = _ellipse(theta, nucleus_ratio, plan.axis + rng.normal(0, 0.35)) * plan.nucleus_radius
    nucleus *= _irregular(theta, 0.035, range(2, 6), rng)
    if rng.random() < 0.12:  # kidney-shaped
        nucleus *= 1 - 0.3 * np.exp(2.5 * (np.cos(theta - rng.uniform(0, 2 * np.pi)) - 1))
    if mitotic:
        radius = max(0.72 * plan.radius, 7.0 / pixel)
        outline = radius * _irregular(theta, 0.03, range(2, 5), rng)
        return replace(plan, mitotic=True, outline=outline, nucleus_outline=nucleus, radius=radius)
    ratio = float(np.clip(rng.normal(line.roundness, 0.15), 0.3, 0.97))
    outline = _ellipse(theta, ratio, plan.axis) * _irregular(theta, line.ruggedness, range(2, 9), rng)
    outline *= 1 + rng.uniform(0, 0.35) * np.cos(theta - plan.axis - np.pi * rng.integers(2))
    for _ in range(rng.poisson(line.processes)):
        towards = plan.axis + np.pi * rng.integers(2) + rng.normal(0, 0.6)
        outline += rng.uniform(0.4, 1.6) * np.exp(rng.uniform(15, 60) * (np.cos(theta - towards) - 1))
    outline *= plan.radius / np.sqrt(np.mean(outline**2))
    outline = np.maximum(outline, 1.08 * nucleus + 0.8 / pixel)
    return replace(plan, outline=outline, nucleus_outline=nucleus)


def _ellipse(theta: Float[np.ndarray, " a"], ratio: float, axis: float) -> Float[np.ndarray, " a"]:
    """Polar outline of an ellipse of the unit disk's area."""
    long = ratio**-0.5
    cos, sin = np.cos(theta - axis) / long, np.sin(theta - axis) * long
    outline: Float[np.ndarray, " a"] = 1 / np.hypot(cos, sin)
    return outline


def _irregular(
    theta: Float[np.ndarray, " a"], size: float, orders: range, rng: np.random.Generator
) -> Float[np.ndarray, " a"]:
    factor = np.ones_like(theta)
    for order in orders:
        factor += size * rng.normal() * (2 / order) * np.cos(order * theta + rng.uniform(0, 2 * np.pi))
    uneven: Float[np.ndarray, " a"] = np.maximum(factor, 0.35)
    return uneven
