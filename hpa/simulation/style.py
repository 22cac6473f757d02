"""How one antibody's version of a pattern looks: the same in all its images, different for another antibody."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Style:
    """Four traits from 0 to 1; every pattern says what it makes of them.

    Attributes:
        size: of the structures.
        number: of the structures.
        contrast: between the structures and what surrounds them.
        spread: of the structures over the cell.
    """

    size: float
    number: float
    contrast: float
    spread: float


def draw_style(rng: np.random.Generator) -> Style:
    """Traits drawn evenly."""
    size, number, contrast, spread = rng.random(4).tolist()
    return Style(size, number, contrast, spread)


def between(low: float, high: float, trait: float) -> float:
    """The value a part `trait` of the way from `low` to `high`.

    >>> between(10.0, 20.0, 0.25)
    12.5
    """
    return low + (high - low) * trait
