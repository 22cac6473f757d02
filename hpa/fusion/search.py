"""The weights of a few members that are worth most: a coordinate search over their shares."""

from collections.abc import Callable
from typing import Annotated, TypeAlias

import numpy as np
import pydantic

from hpa.arrays import Float64
from hpa.config import Config

Candidates: TypeAlias = Float64[np.ndarray, "candidates members"]
Shares: TypeAlias = Float64[np.ndarray, " members"]
Objective: TypeAlias = Callable[[Candidates], Float64[np.ndarray, " candidates"]]


class SearchConfig(Config):
    """How weights are looked for.

    Attributes:
        step: between the shares that are tried, from 0 to 1.
        rounds: of the coordinate search over three or more members; it stops when one improves nothing.
        least_gain: of the average precision, below which a class keeps its weights: smaller gains are chance.
        least_objects: a class with fewer true cells that were found keeps its weights.
    """

    step: Annotated[float, pydantic.Field(gt=0, le=0.5)] = 0.1
    rounds: Annotated[int, pydantic.Field(ge=1)] = 3
    least_gain: Annotated[float, pydantic.Field(ge=0)] = 0.001
    least_objects: Annotated[int, pydantic.Field(ge=1)] = 20


def search_shares(objective: Objective, start: Shares, config: SearchConfig) -> Shares:
    """The shares, of sum 1, with the highest objective that the search meets.

    One member after the other gets every share of the grid, the rest being divided among the others as before; with two
    members that is every pair of shares. Of equally good shares the nearest to the present one is taken.

    Args:
        objective: value of each row of shares.
        start: shares, or weights of any sum above 0, to begin from; they stay unless `least_gain` is won in all.
        config: grid, rounds and least gain.

    >>> def nearness(shares):
    ...     return -abs(shares[:, 0] - 0.3)
    >>> search_shares(nearness, np.array([1.0, 1.0]), SearchConfig()).round(3).tolist()
    [0.3, 0.7]
    """
    first: Shares = start / start.sum()
    if len(first) == 1:
        return first
    grid = np.linspace(0, 1, round(1 / config.step) + 1)
    begin = best_value = float(objective(first[None])[0])
    best = first
    turns = range(len(first) if len(first) > 2 else 1)
    for _ in range(config.rounds):
        before = best_value
        for member in turns:
            candidates = _with_share(best, member, grid)
            values = objective(candidates)
            top = np.flatnonzero(values >= values.max() - 1e-12)
            chosen = top[np.abs(grid[top] - best[member]).argmin()]
            if values[chosen] > best_value + 1e-12:
                best, best_value = candidates[chosen], float(values[chosen])
        if best_value <= before:
            break
    return best if best_value - begin >= config.least_gain else first


def _with_share(shares: Shares, member: int, grid: Float64[np.ndarray, " candidates"]) -> Candidates:
    """One member at each share of the grid, the others in their proportions; equal ones where they have nothing."""
    others = shares.copy()
    others[member] = 0
    if not others.sum() > 0:
        others = np.ones_like(shares)
        others[member] = 0
    candidates: Candidates = (1 - grid)[:, None] * (others / others.sum())
    candidates[:, member] = grid
    return candidates
