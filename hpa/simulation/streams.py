"""Random numbers that depend on names only: a seed, what they are for, and which image, antibody or cell."""

from enum import IntEnum

import numpy as np


class Stream(IntEnum):
    """What random numbers are for; each purpose draws from its own stream, so that changing one leaves the others."""

    LABELS = 1
    STYLE = 2
    ANTIBODY = 3
    SCENE = 4
    CELL_LABELS = 5
    PIXELS = 6
    NOISE = 7
    DEFECT = 8
    BATCH = 9


def stream(seed: int, purpose: Stream, *keys: int) -> np.random.Generator:
    """A generator that is the same for the same arguments, on every machine and in every process.

    >>> float(stream(0, Stream.NOISE, 3).random()) == float(stream(0, Stream.NOISE, 3).random())
    True
    """
    return np.random.default_rng([seed, int(purpose), *keys])
