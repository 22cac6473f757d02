"""SHAP values of segments, by shap: Owen values over a hierarchy, and Shapley values by weighted least squares."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from scipy.cluster.hierarchy import linkage

from hpa.arrays import Bool, Float64
from hpa.explain.perturbation_config import KernelShap, PartitionShap
from hpa.explain.segment_game import Players
from hpa.extras import require

Game: TypeAlias = Callable[[Bool[np.ndarray, "coalitions players"]], Float64[np.ndarray, "coalitions classes"]]

_STEP = 32
"""Coalitions that the partition explainer asks for at once: part of its result where evaluations run out before the
hierarchy is exhausted, and so not the batch size, which may be anything."""


@dataclass(frozen=True)
class ShapleyValues:
    """How a game's outcome is shared.

    Attributes:
        contributions: of each player; with `base` they sum to `output`.
        base: outcome when nobody is seen.
        output: outcome when everybody is.
    """

    contributions: Float64[np.ndarray, "classes players"]
    base: Float64[np.ndarray, " classes"]
    output: Float64[np.ndarray, " classes"]


def partition_shap(game: Game, players: Players, config: PartitionShap) -> ShapleyValues:
    """Owen values over the hierarchy of `hierarchy` (shap's PartitionExplainer).

    They are Shapley values of a game in which only neighbours may join forces: for an additive game the same. Where
    evaluations run out, parts that change the classes least are left whole; which ones these are depends on the classes
    that are explained together. The first call of a process compiles for some seconds.

    Args:
        game: outcome of each coalition.
        players: for their number and where they are.
        config: how many evaluations.
    """
    base, output = _ends(game, len(players))
    if len(players) == 1:
        return ShapleyValues((output - base)[:, None], base, output)
    shap = require("shap", "explain")
    explainer = shap.PartitionExplainer(_seen(game), _CoalitionMasker(len(players), hierarchy(players)))
    with _seeded(config.seed):  # for ties in its queue
        found = explainer(
            np.ones((1, len(players))), max_evals=config.evaluations, batch_size=_STEP, silent=True, fixed_context=None
        )
    return ShapleyValues(np.asarray(found.values[0], np.float64).reshape(len(players), -1).T, base, output)


def kernel_shap(game: Game, players: Players, config: KernelShap) -> ShapleyValues:
    """Shapley values by weighted least squares (shap's KernelExplainer); exact where all coalitions are evaluated.

    No coefficient is set to 0 to make the answer sparse, as shap does by default. Four evaluations per player are made
    in any case, as the least squares would have no single answer with fewer.

    Args:
        game: outcome of each coalition.
        players: for their number.
        config: how many evaluations.
    """
    base, output = _ends(game, len(players))
    shap = require("shap", "explain")
    explainer = shap.KernelExplainer(_seen(game), np.zeros((1, len(players))))
    budget = max(config.evaluations - 2, 4 * len(players))
    with _seeded(config.seed):
        found = explainer.shap_values(np.ones((1, len(players))), nsamples=budget, l1_reg=False, silent=True)
    return ShapleyValues(np.asarray(found[0], np.float64).reshape(len(players), -1).T, base, output)


def hierarchy(players: Players) -> Float64[np.ndarray, "joints 4"]:
    """Who joins whom: Ward's clustering of the segments' middles, in SciPy's linkage form.

    Channels are joined last, as their distance is greater than any within the image.
    """
    centres = players.centres * np.array([1.0, 1.0, 10.0])
    return np.asarray(linkage(centres, "ward"), np.float64)


class _CoalitionMasker:
    """What shap calls a masker: here the mask itself is what the model is given."""

    immutable_outputs = True

    def __init__(self, players: int, clustering: Float64[np.ndarray, "joints 4"]) -> None:
        self.shape = (1, players)
        self.clustering = clustering

    def __call__(self, mask: Any, row: Any) -> tuple[Any]:
        return (np.asarray(mask, bool)[None],)


def _seen(game: Game) -> Callable[[Any], Float64[np.ndarray, "coalitions classes"]]:
    """The game on rows of 0 and 1, as shap writes coalitions."""
    return lambda rows: game(np.asarray(rows) > 0.5)


def _ends(game: Game, players: int) -> tuple[Float64[np.ndarray, " classes"], Float64[np.ndarray, " classes"]]:
    outcomes = game(np.array([[False] * players, [True] * players]))
    return outcomes[0], outcomes[1]


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """NumPy's global random numbers from a seed, and afterwards as they were: shap draws from no other."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
