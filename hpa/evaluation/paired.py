"""Whether one predictor is better than another on the same items: a paired bootstrap over images or groups."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd

from hpa.arrays import Bool, Float64, Int64, Probabilities, Targets
from hpa.evaluation.weighted_rounds import Statistic, Weights, weighted_statistic

MEMORY = 64 * 2**20
"""Bytes that the weights of one batch of rounds may take."""


@dataclass(frozen=True, eq=False)
class Predictor:
    """What one predictor says of the items.

    Attributes:
        probabilities: float32 in [0, 1].
        decisions: which classes each item is said to have.
    """

    probabilities: Probabilities
    decisions: Bool[np.ndarray, "items classes"]


@dataclass(frozen=True, eq=False)
class Resampled:
    """Figures of several predictors on the same resamplings.

    Attributes:
        statistic: which figure.
        observed: by predictor, on the items themselves.
        rounds: by predictor, one value per round; round k draws the same items for all. NaN where undefined.
    """

    statistic: Statistic
    observed: Mapping[str, float]
    rounds: Mapping[str, Float64[np.ndarray, " rounds"]]


def resample(
    targets: Targets,
    predictors: Mapping[str, Predictor],
    statistic: Statistic = "macro_ap",
    groups: Sequence[str] | np.ndarray | None = None,
    folds: Sequence[int] | np.ndarray | None = None,
    rounds: int = 1000,
    seed: int = 0,
) -> Resampled:
    """Draw groups of items with replacement, and measure every predictor on each draw.

    Args:
        targets: 0 or 1.
        predictors: by name, all on the same items in the same order.
        statistic: which figure.
        groups: name of each item's group; items of one group are drawn together, since they resemble each other. None
            draws items.
        folds: the fold of each item where the predictions are out of fold: the figure is then the mean over the folds
            of each fold's own, as probabilities of different networks need not be ranked together. None pools all.
        rounds: how often to draw.
        seed: decides the draws.

    Raises:
        ValueError: no items, no predictors, less than one round, or arrays of other shapes.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and 13; drawing whole groups:
    Field and Welsh, "Bootstrapping clustered data" (2007).
    """
    _check(targets, predictors, groups, folds, rounds)
    count = len(targets)
    numbers = np.arange(count) if groups is None else np.unique(np.asarray(groups, str), return_inverse=True)[1]
    parts = [np.arange(count)]
    if folds is not None:
        parts = [np.flatnonzero(np.asarray(folds) == fold) for fold in np.unique(np.asarray(folds))]

    def measured(predictor: Predictor, weights: Weights) -> np.ndarray:
        each = np.stack([_part(statistic, targets, predictor, weights, rows) for rows in parts])
        known = ~np.isnan(each)
        total = np.where(known, each, 0).sum(axis=0)
        return np.asarray(
            np.divide(total, known.sum(axis=0), out=np.full(total.shape, np.nan), where=known.any(axis=0))
        )

    observed = {name: float(measured(one, np.ones((1, count)))[0]) for name, one in predictors.items()}
    found: dict[str, list[np.ndarray]] = {name: [] for name in predictors}
    for weights in _draws(numbers, rounds, seed, max(1, MEMORY // (8 * count))):
        for name, predictor in predictors.items():
            found[name].append(measured(predictor, weights))
    return Resampled(statistic, observed, {name: np.concatenate(values) for name, values in found.items()})


def intervals(resampled: Resampled, level: float = 0.95) -> pd.DataFrame:
    """Each predictor's figure with the percentiles of its rounds, moved so that their mean is the figure.

    Rounds that miss rare classes, or hold items repeatedly, lie beside the figure; see `hpa.evaluation.bootstrap`.

    Returns:
        Columns name, value, low, high; NaN where no round is defined.

    Raises:
        ValueError: a level outside (0, 1).
    """
    _check_level(level)
    rows = []
    for name, values in resampled.rounds.items():
        value = resampled.observed[name]
        low, high = np.clip(np.array(_percentiles(values, level)) + value - _mean(values), 0, 1)
        rows.append({"name": name, "value": value, "low": float(low), "high": float(high)})
    return pd.DataFrame(rows)


def compare(
    resampled: Resampled,
    baseline: str | None = None,
    level: float = 0.95,
    correction: Literal["holm", "none"] = "holm",
) -> pd.DataFrame:
    """Every pair of predictors, or all against one: how much better the first is, and how sure that is.

    Args:
        resampled: figures on the same draws.
        baseline: the predictor that the others are compared with; None compares all pairs, the one with the higher
            figure first.
        level: of the interval of a difference, each for itself.
        correction: `holm` makes the chance of any false claim among all rows at most 1 - level (Holm, "A simple
            sequentially rejective multiple test procedure", 1979); `none` looks at each row by itself.

    Returns:
        Columns first, second, difference (of the figures, first - second), low, high, probability (share of the rounds
        in which the first is ahead, half of the ties added), p (two-sided, from the share of the rounds on the other
        side of 0, never below 2 / (rounds + 1)), p_corrected, is_different (whether p_corrected is below 1 - level).

    Raises:
        ValueError: a level outside (0, 1), or no such baseline.
    """
    _check_level(level)
    names = list(resampled.rounds)
    if baseline is None:
        falling = sorted(names, key=lambda name: -np.nan_to_num(resampled.observed[name], nan=-1.0))
        pairs = list(combinations(falling, 2))
    elif baseline in resampled.rounds:
        pairs = [(name, baseline) for name in names if name != baseline]
    else:
        raise ValueError(f"baseline: expected one of {names}, but got {baseline!r}")
    rows = []
    for first, second in pairs:
        difference = resampled.rounds[first] - resampled.rounds[second]
        difference = difference[~np.isnan(difference)]
        low, high = _percentiles(difference, level)
        ahead, behind = int((difference > 0).sum()), int((difference < 0).sum())
        ties = len(difference) - ahead - behind
        rows.append(
            {
                "first": first,
                "second": second,
                "difference": resampled.observed[first] - resampled.observed[second],
                "low": low,
                "high": high,
                "probability": (ahead + ties / 2) / len(difference) if len(difference) else np.nan,
                "p": min(1.0, 2 * (min(ahead, behind) + ties + 1) / (len(difference) + 1)),
            }
        )
    columns = ["first", "second", "difference", "low", "high", "probability", "p"]
    table = pd.DataFrame(rows, columns=columns)
    p = table["p"].to_numpy(np.float64)
    table["p_corrected"] = holm(p) if correction == "holm" else p
    table["is_different"] = table["p_corrected"] < 1 - level
    return table


def holm(p: Float64[np.ndarray, " tests"]) -> Float64[np.ndarray, " tests"]:
    """P-values to compare with the level for all tests together (Holm 1979).

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1)
    return corrected


def _part(
    statistic: Statistic, targets: Targets, predictor: Predictor, weights: Weights, rows: Int64[np.ndarray, " part"]
) -> np.ndarray:
    return weighted_statistic(
        statistic, targets[rows], predictor.probabilities[rows], predictor.decisions[rows], weights[:, rows]
    )


def _draws(groups: Int64[np.ndarray, " items"], rounds: int, seed: int, batch: int) -> Iterator[Weights]:
    """How often each item is drawn, in batches of rounds; the batches' size changes nothing."""
    generator = np.random.default_rng(seed)
    count = int(groups.max()) + 1
    for begin in range(0, rounds, batch):
        times = generator.multinomial(count, np.full(count, 1 / count), size=min(batch, rounds - begin))
        yield times[:, groups].astype(np.float64)


def _percentiles(values: Float64[np.ndarray, " rounds"], level: float) -> tuple[float, float]:
    kept = values[~np.isnan(values)]
    if not len(kept):
        return float("nan"), float("nan")
    low, high = np.quantile(kept, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _mean(values: Float64[np.ndarray, " rounds"]) -> float:
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else float("nan")


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"expected a level between 0 and 1, but got {level}")


def _check(
    targets: Targets,
    predictors: Mapping[str, Predictor],
    groups: Sequence[str] | np.ndarray | None,
    folds: Sequence[int] | np.ndarray | None,
    rounds: int,
) -> None:
    if not len(targets) or not predictors or rounds < 1:
        raise ValueError(
            f"expected items, predictors and at least one round, but got {len(targets)}, {len(predictors)} and {rounds}"
        )
    for name, predictor in predictors.items():
        for what, values in (("probabilities", predictor.probabilities), ("decisions", predictor.decisions)):
            if values.shape != targets.shape:
                raise ValueError(f"{name}: expected {what} of shape {targets.shape}, but got {values.shape}")
    for what, labels in (("groups", groups), ("folds", folds)):
        if labels is not None and np.shape(labels) != (len(targets),):
            raise ValueError(f"expected {what}: one for each of {len(targets)} items, but got {np.shape(labels)}")
