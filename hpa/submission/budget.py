"""How long a whole test set will take, from the seconds of a few images, and what to drop where that is too long."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

KERNEL_HOURS = 9.0
"""Limit of the competition's kernels (rules of "Human Protein Atlas - Single Cell Classification", 2021)."""

COST_COLUMNS = ("height", "width", "images", "segment", "segment_fast", "shrink", "forward", "write")
"""Of a cost table: a size, how many images have it, and seconds per image of each step with all workers busy.
`segment_fast` is the segmentation with fast post-processing (NaN where there is none to choose); `forward` is one
forward pass of one network, the mean over the networks."""


@dataclass(frozen=True)
class Plan:
    """One way to spend the time.

    Attributes:
        dropped: what is left out of the configured work, in words; empty for all of it.
        networks: forward passes of so many networks.
        views: of each network.
        is_fast: whether post-processing works at a reduced resolution.
    """

    dropped: str
    networks: int
    views: int
    is_fast: bool


def plans(networks_per_run: Sequence[int], views: int, has_fast: bool) -> list[Plan]:
    """The configured work, then ways that drop more and more, the least costly in score first.

    Fast post-processing changes masks by a few percent of their area, test-time views gave the winners about .003,
    ensembles more (their reports on the 2021 competition), so they go in that order.

    >>> [plan.dropped for plan in plans([5], 2, has_fast=False)][:2]
    ['', 'views: 1 instead of 2']
    """
    total, runs = sum(networks_per_run), len(networks_per_run)
    found = [Plan("", total, views, False)]
    words: list[str] = []
    if has_fast:
        words = ["post-processing: fast"]
        found.append(Plan(_join(words), total, views, True))
    kept = views
    while kept > 1:
        kept //= 2
        found.append(Plan(_join([*words, f"views: {kept} instead of {views}"]), total, kept, has_fast))
    if views > 1:
        words = [*words, f"views: 1 instead of {views}"]
    if total > runs:
        words = [*words, f"folds: one network of each run instead of {total} networks"]
        found.append(Plan(_join(words), runs, 1, has_fast))
    if runs > 1:
        words = [*words[: len(words) - (total > runs)], f"runs: one network of one run instead of {total} networks"]
        found.append(Plan(_join(words), 1, 1, has_fast))
    return found


def project(costs: pd.DataFrame, plan: Plan) -> float:
    """Seconds that a plan takes for all images.

    Args:
        costs: COST_COLUMNS.
        plan: how.
    """
    segment = costs["segment_fast"] if plan.is_fast else costs["segment"]
    per_image = segment + costs["shrink"] + costs["write"] + costs["forward"] * plan.networks * plan.views
    return float((per_image * costs["images"]).sum())


def compare_plans(costs: pd.DataFrame, candidates: Sequence[Plan], hours: float, reserve: float) -> pd.DataFrame:
    """Hours of every plan and whether it fits.

    Args:
        costs: COST_COLUMNS.
        candidates: `plans`.
        hours: limit.
        reserve: part of the limit kept free, for a slower machine than the one that measured.

    Returns:
        dropped, networks, views, hours, fits; in the order of the candidates.
    """
    seconds = [project(costs, plan) for plan in candidates]
    return pd.DataFrame(
        {
            "dropped": [plan.dropped for plan in candidates],
            "networks": [plan.networks for plan in candidates],
            "views": [plan.views for plan in candidates],
            "hours": [value / 3600 for value in seconds],
            "fits": [value <= hours * 3600 * (1 - reserve) for value in seconds],
        }
    )


def scale_counts(counts: pd.Series, images: int) -> pd.Series:
    """Numbers of images by size, brought to another total with the same shares (floats).

    >>> scale_counts(pd.Series([1, 3]), 1776).tolist()
    [444.0, 1332.0]
    """
    return counts / counts.sum() * images


def _join(words: Sequence[str]) -> str:
    return "; ".join(words)
