"""Which classes an antibody stains, and which cells of an image show them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpa.arrays import Bool, ClassVector, Float64
from hpa.labels import HPA2021
from hpa.simulation.config import BetaFraction, FixedFraction, SimulationConfig
from hpa.simulation.streams import Stream, stream

NEGATIVE = HPA2021.names.index("Negative")
CYTOSOL = HPA2021.names.index("Cytosol")
MICROTUBULES = HPA2021.names.index("Microtubules")
MITOTIC_SPINDLE = HPA2021.names.index("Mitotic spindle")
GOLGI = HPA2021.names.index("Golgi apparatus")

REAL_IMAGES = 21_806
REAL_COUNTS = (
    *(8797, 1095, 2451, 1262, 1425, 1792, 775, 1846, 964, 1011),
    *(818, 78, 1734, 3216, 2013, 252, 5685, 621, 34),
)
"""Training images of every class in the 2021 competition."""

REAL_LABELS_PER_IMAGE = (10_412, 8_928, 2_266, 197, 3)
"""Its training images with one label, with two, ... with five."""

DISPERSED_IN_MITOSIS = frozenset((*range(6), GOLGI))
"""Classes whose structure comes apart in a dividing cell (nucleus without envelope, Golgi in fragments)."""


@dataclass(frozen=True)
class Antibody:
    """What a group of images has in common.

    Attributes:
        number: the group's number.
        classes: sorted class numbers, the true label of its images.
        weights: brightness of each of `classes` relative to the strongest, 0.5 to 1.
        fractions: expected part of the cells that show each of `classes`.
    """

    number: int
    classes: tuple[int, ...]
    weights: tuple[float, ...]
    fractions: tuple[float, ...]


def make_antibody(config: SimulationConfig, number: int) -> Antibody:
    """The antibody of a group, by the seed and the group's number alone."""
    rng = stream(config.seed, Stream.LABELS, number)
    classes = draw_classes(rng, config.frequencies == "real")
    weights = rng.uniform(0.5, 1, len(classes))
    weights /= weights.max()
    fractions = [_antibody_fraction(config.positive_fraction, label, rng) for label in classes]
    return Antibody(number, classes, tuple(weights.tolist()), tuple(fractions))


def draw_classes(rng: np.random.Generator, real: bool) -> tuple[int, ...]:
    """The classes of one antibody: as many as in the real set, each class with its share exactly (in expectation).

    The classes of an image are drawn by systematic sampling with unequal probabilities in random order (Madow,
    Ann. Math. Stat. 1949), which gives class i the inclusion probability (number of labels) x (share of i).
    """
    counts = np.array(REAL_LABELS_PER_IMAGE, float)
    others = np.array(REAL_COUNTS[:NEGATIVE], float)
    if real:
        negative = REAL_COUNTS[NEGATIVE] / REAL_IMAGES
    else:
        others[:] = 1
        per_image = float(counts @ np.arange(1, len(counts) + 1) / counts.sum())
        negative = per_image / (len(others) + per_image)  # so that as many images are Negative as carry another class
    if rng.random() < negative:
        return (NEGATIVE,)
    number = 1 + int(rng.choice(len(counts), p=counts / counts.sum()))
    return _systematic(others / others.sum(), number, rng)


def _systematic(shares: ClassVector, number: int, rng: np.random.Generator) -> tuple[int, ...]:
    order = rng.permutation(len(shares))
    inclusion = np.minimum(shares[order] * number, 1)
    ends = np.cumsum(inclusion)
    points = rng.random() + np.arange(number)
    picked = np.searchsorted(ends, points[points < ends[-1]], side="right")
    return tuple(sorted(int(order[i]) for i in set(picked.tolist())))


def _antibody_fraction(choice: FixedFraction | BetaFraction, label: int, rng: np.random.Generator) -> float:
    match choice:
        case FixedFraction():
            return choice.value
        case BetaFraction():
            shape = choice.by_class.get(HPA2021.names[label], choice.general)
            return float(_beta(shape.mean, shape.concentration, rng))


def image_fractions(config: SimulationConfig, antibody: Antibody, rng: np.random.Generator) -> tuple[float, ...]:
    """Expected part of the cells of one image that show each of its antibody's classes."""
    match config.positive_fraction:
        case FixedFraction():
            return antibody.fractions
        case BetaFraction(within=within):
            return tuple(float(_beta(fraction, within, rng)) for fraction in antibody.fractions)


def _beta(mean: float, concentration: float, rng: np.random.Generator) -> float:
    mean = float(np.clip(mean, 1e-3, 1 - 1e-3))
    return float(rng.beta(mean * concentration, (1 - mean) * concentration))


def cell_classes(
    classes: Sequence[int],
    fractions: Sequence[float],
    mitotic: Bool[np.ndarray, " cells"],
    visibility: Float64[np.ndarray, " cells"],
    rng: np.random.Generator,
) -> Bool[np.ndarray, "cells classes"]:
    """Truth of every cell.

    Each cell shows each of the image's classes independently; at least one cell shows it. In a dividing cell the
    dispersed structures show as cytosol and microtubules as a spindle, so such a cell may carry a class that its image
    does not, as 2 % of the cells of the real set do. A cell that shows nothing is Negative.

    Args:
        classes: of the image.
        fractions: expected part of the cells, per class.
        mitotic: which cells divide; a spindle is shown by such cells only.
        visibility: per cell; where no cell came out positive, the most visible one is made so.
        rng: of this image.
    """
    truth = np.zeros((len(mitotic), len(HPA2021)), bool)
    if not len(mitotic):
        return truth
    for label, fraction in zip(classes, fractions, strict=True):
        if label == NEGATIVE:
            continue
        chosen = rng.random(len(mitotic)) < fraction
        if label == MITOTIC_SPINDLE:
            # The layout gave a spindle image as many dividing cells as its fraction asks for.
            truth[:, label] |= mitotic
            continue
        usable = ~mitotic if label in DISPERSED_IN_MITOSIS or label == MICROTUBULES else np.ones_like(mitotic)
        if not (chosen & usable).any() and usable.any():
            chosen[np.argmax(np.where(usable, visibility, -1))] = True
        elif not chosen.any():
            chosen[np.argmax(visibility)] = True
        truth[chosen & usable, label] = True
        truth[chosen & ~usable, MITOTIC_SPINDLE if label == MICROTUBULES else CYTOSOL] = True
    truth[~truth.any(axis=1), NEGATIVE] = True
    return truth
