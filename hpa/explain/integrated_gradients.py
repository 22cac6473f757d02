"""Integrated gradients, with the part of the logits' difference that the sum over the map misses.

Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks" (2017), arXiv 1703.01365.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import nn

from hpa.arrays import Float, Int64
from hpa.explain.gradients import ScoresAndGradients, scores_and_gradients
from hpa.explain.items import ClassNumbers, Images, PixelMaps, Scores, prepare

SMALLEST_DIFFERENCE = 0.1
"""Logits. A smaller difference between image and baseline is judged as this, since nothing can be 1 % of nothing."""

Along: TypeAlias = Callable[[torch.Tensor, torch.Tensor], ScoresAndGradients]
"""Scores and gradients of the images with these numbers, at these parts of their ways."""


class IntegratedMaps(NamedTuple):
    """Integrated gradients and how complete they are.

    Attributes:
        maps: signed, in logits; their sum is `difference` but for `gap`.
        difference: logit of the image minus that of the baseline.
        gap: sum of the map minus `difference`, logits.
        steps: parts that the way was cut into; the network saw one image more.
    """

    maps: PixelMaps
    difference: Scores
    gap: Scores
    steps: Int64[torch.Tensor, " batch"]

    @property
    def error(self) -> Scores:
        """Size of the gap as a part of the difference, the latter counted as 0.1 logits at least."""
        return self.gap.abs() / self.difference.abs().clamp(min=SMALLEST_DIFFERENCE)


def integrated_gradients(
    model: nn.Module,
    images: Images,
    classes: ClassNumbers,
    baselines: Float[torch.Tensor, "batch channels height width"],
    steps: int = 32,
    max_steps: int = 512,
    tolerance: float = 0.01,
    batch_size: int = 16,
) -> IntegratedMaps:
    """Integrate each logit's gradient along the straight way from a baseline to the image.

    The integral is a trapezoidal sum over the square root of the way's part: steps are small near the baseline, where
    the logits of trained networks change most, and a linear network still needs but one. On a trained ReLU6 network
    this misses about half of what equal steps miss, from black and from blurred baselines (`IntegratedGradients` has
    figures). Twice as many steps use all gradients that were found before, so an image is refined until its maps are
    complete at the cost of its last number of steps alone.

    Args:
        model: gives logits.
        images: to explain.
        classes: of each.
        baselines: where each image's way begins, pixels in 0..255.
        steps: to begin with.
        max_steps: refining ends before more than these.
        tolerance: refining ends when `error` is at most this for all classes of an image.
        batch_size: images per pass. Ways of all images share the batches.

    Raises:
        ValueError: see `hpa.explain.gradients.scores_and_gradients`; or fewer than one step.
    """
    floats, numbers = prepare(model, images, classes)
    if steps < 1:
        raise ValueError(f"expected at least one step, but got {steps}")
    starts = baselines.to(floats)
    way = floats - starts

    def at(rows: torch.Tensor, parts: torch.Tensor) -> ScoresAndGradients:
        points = starts[rows] + parts.to(floats)[:, None, None, None] * way[rows]
        return scores_and_gradients(model, points, numbers[rows])

    everyone = torch.arange(len(floats))
    ends = [_in_batches(at, everyone, torch.full((len(floats),), part), batch_size) for part in (0.0, 1.0)]
    difference = ends[1].scores.double() - ends[0].scores.double()
    # With t = u², the integral of g(t) dt is that of g(u²) 2u du: the end counts half of 2, the beginning nothing.
    total = ends[1].gradients
    used = torch.full((len(floats),), steps)
    gap = torch.zeros_like(difference)
    waiting = everyone
    count, roots = steps, torch.arange(1, steps) / steps
    while True:
        _add_along(at, total, waiting, roots, batch_size)
        used[waiting] = count
        sums = (total[waiting] / count * way[waiting, None]).sum(dim=(2, 3, 4), dtype=torch.float64)
        gap[waiting] = sums - difference[waiting]
        allowed = tolerance * difference[waiting].abs().clamp(min=SMALLEST_DIFFERENCE)
        waiting = waiting[(gap[waiting].abs() > allowed).any(dim=1).cpu()]
        if len(waiting) == 0 or 2 * count > max_steps:
            break
        roots = (torch.arange(count) * 2 + 1) / (2 * count)
        count *= 2
    maps = total / used.to(total)[:, None, None, None, None] * way[:, None]
    return IntegratedMaps(maps, difference.to(total), gap.to(total), used)


def _add_along(at: Along, total: torch.Tensor, rows: torch.Tensor, roots: torch.Tensor, batch_size: int) -> None:
    """Add to each row's total its weighted gradients where the roots of the parts of its way are given, in place."""
    for start in range(0, len(rows) * len(roots), batch_size):
        places = torch.arange(start, min(start + batch_size, len(rows) * len(roots)))
        here, root = rows[places // len(roots)], roots[places % len(roots)]
        weighted = at(here, root**2).gradients * (2 * root).to(total)[:, None, None, None, None]
        total.index_add_(0, here.to(total.device), weighted)


def _in_batches(at: Along, rows: torch.Tensor, parts: torch.Tensor, batch_size: int) -> ScoresAndGradients:
    found = [at(rows[s : s + batch_size], parts[s : s + batch_size]) for s in range(0, len(rows), batch_size)]
    return ScoresAndGradients(torch.cat([each.scores for each in found]), torch.cat([each.gradients for each in found]))
