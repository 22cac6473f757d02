"""The learning rate over a training: linear warm-up, then a cosine; a pure function, so there is no state to resume."""

import math

from hpa.training.config import LoopConfig


def training_progress(epoch: int, step: int, steps: int, epochs: int) -> float:
    """Part of the training done at the middle of a step, in (0, 1); epoch and step count from 0.

    Epochs have equal shares even where their numbers of steps differ. The middle of the step, so that neither the
    first nor the last step has a learning rate of 0.

    >>> training_progress(epoch=1, step=0, steps=2, epochs=4)
    0.3125
    """
    return (epoch + (step + 0.5) / steps) / epochs


def learning_rate_factor(progress: float, warmup: float, final: float) -> float:
    """Factor on the peak learning rate: linear from 0 to 1 during the warm-up, then a cosine down to `final`.

    Args:
        progress: part of the training done, in [0, 1].
        warmup: part of the training that is warm-up, in [0, 1).
        final: factor at the end, in [0, 1].

    Source: Loshchilov and Hutter, SGDR (2017), equation 5, one cycle; the warm-up of Goyal et al. (2017), 2.2.

    >>> [round(learning_rate_factor(x, warmup=0.2, final=0.1), 3) for x in (0.1, 0.2, 0.6, 1.0)]
    [0.5, 1.0, 0.55, 0.1]
    """
    if progress < warmup:
        return progress / warmup
    cosine = 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))
    return final + (1 - final) * cosine


def learning_rate_at(config: LoopConfig, epoch: int, step: int, steps: int) -> float:
    """The learning rate of a step, before the groups' factors; `steps` is the epoch's number of steps."""
    progress = training_progress(epoch, step, steps, config.epochs)
    return config.learning_rate * learning_rate_factor(progress, config.warmup, config.final_factor)
