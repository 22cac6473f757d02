"""Planted defects: which image has which, and what it does to an image's label, light or pixels."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from hpa.arrays import Pixels
from hpa.simulation.config import SimulationConfig
from hpa.simulation.labelling import NEGATIVE, draw_classes
from hpa.simulation.streams import Stream, stream

Defect: TypeAlias = Literal["wrong_label", "swapped_channels", "out_of_focus", "saturated", "nearly_empty", "duplicate"]
DEFECTS: tuple[Defect, ...] = get_args(Defect)


@dataclass(frozen=True)
class PlannedDefect:
    """The defect of one image.

    Attributes:
        kind: which.
        source: for a duplicate, the index of the image whose scene it shows.
    """

    kind: Defect
    source: int | None = None


def plan_defect(config: SimulationConfig, index: int) -> PlannedDefect | None:
    """The defect of an image, None for most; by the seed and the index alone."""
    kind = _drawn(config, index)
    if kind != "duplicate":
        return PlannedDefect(kind) if kind else None
    # Images of its own group are alike anyway, and a copy of a damaged image would have two defects.
    earlier = index - index % config.images_per_antibody
    for source in stream(config.seed, Stream.DEFECT, index, 5).permutation(earlier).tolist():
        other = _drawn(config, source)
        if other is None or (other == "duplicate" and source < config.images_per_antibody):
            return PlannedDefect("duplicate", source)
    return None


def _drawn(config: SimulationConfig, index: int) -> Defect | None:
    """What chance gives an image; a duplicate may find no earlier image to show."""
    shares = np.cumsum([getattr(config.defects, name) for name in DEFECTS])
    position = int(np.searchsorted(shares, stream(config.seed, Stream.DEFECT, index).random(), side="right"))
    return DEFECTS[position] if position < len(DEFECTS) else None


def wrong_classes(config: SimulationConfig, index: int, true: tuple[int, ...]) -> tuple[int, ...]:
    """Classes of another antibody, none of them among the true ones."""
    rng = stream(config.seed, Stream.DEFECT, index, 1)
    for _ in range(100):
        classes = draw_classes(rng, config.frequencies == "real")
        if not set(classes) & set(true):
            return classes
    return (NEGATIVE,) if NEGATIVE not in true else (0,)


def swap_channels(config: SimulationConfig, index: int, pixels: Pixels) -> Pixels:
    """The same pixels with two channels in each other's place."""
    rng = stream(config.seed, Stream.DEFECT, index, 2)
    first, second = rng.choice(len(pixels), 2, replace=False).tolist()
    order = list(range(len(pixels)))
    order[first], order[second] = second, first
    return pixels[order]


def exposure_factors(config: SimulationConfig, index: int, kind: Defect | None) -> tuple[float, ...]:
    """Factor on the light of each of the four channels."""
    rng = stream(config.seed, Stream.DEFECT, index, 3)
    match kind:
        case "saturated":
            over = rng.random(4) < 0.4
            over[1] = True
            return tuple(np.where(over, rng.uniform(6, 15, 4), 1.0).tolist())
        case "nearly_empty":
            return (float(rng.uniform(0.2, 0.6)),) * 4
        case "duplicate":
            return tuple(rng.uniform(0.93, 1.07, 4).tolist())
        case _:
            return (1.0,) * 4


def defocus(config: SimulationConfig, index: int, kind: Defect | None) -> float:
    """Further blur, µm."""
    return float(stream(config.seed, Stream.DEFECT, index, 4).uniform(1.5, 3)) if kind == "out_of_focus" else 0.0
