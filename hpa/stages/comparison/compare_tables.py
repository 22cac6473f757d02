"""The tables of a comparison: a row per variant, per variant and fold, and per corruption."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpa.arrays import Probabilities, Targets
from hpa.artifacts import read_json
from hpa.evaluation import decide, tune_thresholds
from hpa.evaluation.fold_scores import FIGURES, ThresholdRule, decide_by_fold, fold_scores
from hpa.evaluation.paired import Predictor, Resampled, intervals, resample
from hpa.evaluation.robustness import CLEAN
from hpa.evaluation.weighted_rounds import Statistic
from hpa.labels import ClassList
from hpa.stages.comparison.compare_config import BootstrapConfig
from hpa.stages.comparison.measure_variant import COSTS, ROBUSTNESS
from hpa.stages.comparison.training_budget import Share
from hpa.stages.data.dataset import Dataset
from hpa.stages.image_level import predict, run_page, train_image_level
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig
from hpa.tables import align, class_values, read_table
from hpa.training import History


@dataclass(frozen=True)
class Variant:
    """One training of a comparison.

    Attributes:
        name: in tables and figures.
        training: what is trained, the budget applied.
        share: what the budget allowed it.
        failure: why there is no run; empty where there is one.
    """

    name: str
    training: TrainImageLevelConfig
    share: Share
    failure: str = ""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The held-out images that all variants predicted, in one order.

    Attributes:
        keys: image_id, fold, group.
        targets: float32 (items, classes).
        predictors: by variant, and by ensemble where there are some.
    """

    keys: pd.DataFrame
    targets: np.ndarray
    predictors: Mapping[str, Predictor]


def held_out(variants: Sequence[Variant], data: Dataset, rule: ThresholdRule) -> HeldOut:
    """Out-of-fold predictions of all runs, aligned by image.

    Raises:
        ValueError: the runs did not hold out the same images by the same folds.
    """
    assert data.targets is not None
    keys, predictors, targets = pd.DataFrame(), {}, np.empty(0)
    for variant in variants:
        table = read_table(variant.training.out / train_image_level.OUT_OF_FOLD, ["image_id", "fold"])
        if keys.empty:
            keys = table[["image_id", "fold"]].reset_index(drop=True)
            rows = pd.Index(data.images["image_id"]).get_indexer(keys["image_id"])
            keys["group"] = data.images["group"].to_numpy()[rows]
            targets = data.targets[rows]
        table = align(keys, table)
        if (table["fold"] != keys["fold"]).any():
            raise ValueError(f"{variant.training.out}: holds the same images out by other folds; remove it, and go on")
        probabilities = class_values(table, data.classes)
        folds = keys["fold"].to_numpy()
        predictors[variant.name] = Predictor(
            probabilities, decide_by_fold(targets, probabilities, data.classes, folds, rule)
        )
    return HeldOut(keys, targets, predictors)


def fold_table(found: HeldOut, classes: ClassList, ranks: Sequence[str] = ()) -> pd.DataFrame:
    """variant, fold, items and every figure of `fold_scores`.

    Args:
        found: the predictions.
        classes: the columns.
        ranks: rows whose scores are no probabilities, and not calibrated.
    """
    folds = found.keys["fold"].to_numpy()
    parts = [
        fold_scores(found.targets, one.probabilities, one.decisions, classes, folds).assign(variant=name)
        for name, one in found.predictors.items()
    ]
    table = pd.concat(parts, ignore_index=True)
    table.loc[table["variant"].isin(ranks), ["ece", "brier"]] = math.nan
    return table[["variant", *table.columns.drop("variant")]]


def probabilities_of_test(variants: Sequence[Variant], test: Dataset, folder: Path) -> dict[str, Probabilities]:
    """What each variant's networks say of the test images, in their order.

    Args:
        variants: with a run.
        test: the test images.
        folder: with each variant's predictions in `<its folder's name>/probabilities.parquet`.
    """
    found = {}
    for variant in variants:
        table = read_table(folder / variant.training.out.name / predict.PROBABILITIES)
        found[variant.name] = class_values(align(test.images, table), test.classes)
    return found


def predictors_of_test(
    probabilities: Mapping[str, np.ndarray], found: HeldOut, classes: ClassList, rule: ThresholdRule
) -> dict[str, Predictor]:
    """Decisions on test images, by thresholds that come from the held-out images.

    Args:
        probabilities: of the test images, by row.
        found: the same rows' held-out predictions.
        classes: the columns.
        rule: how multi-label tasks are decided.
    """
    predictors = {}
    for name, values in probabilities.items():
        thresholds: Any = 0.5
        if rule == "cross_fitted" and classes.multi_label:
            thresholds = tune_thresholds(found.targets, found.predictors[name].probabilities)
        predictors[name] = Predictor(values, decide(values, classes, thresholds))
    return predictors


def resampled_figures(
    targets: Targets,
    predictors: Mapping[str, Predictor],
    groups: np.ndarray,
    folds: np.ndarray | None,
    config: BootstrapConfig,
) -> dict[Statistic, Resampled]:
    """The bootstrap of every figure that gets intervals, on the same draws.

    Args:
        targets: 0 or 1.
        predictors: by row.
        groups: name of each image's group.
        folds: of held-out images, over which figures are averaged; None for test images.
        config: of the bootstrap.
    """
    drawn = groups.astype(str) if config.unit == "group" else None
    figures = dict.fromkeys((config.statistic, *config.figures))
    return {name: resample(targets, predictors, name, drawn, folds, config.rounds, config.seed) for name in figures}


def interval_table(resampled: Mapping[Statistic, Resampled], level: float) -> pd.DataFrame:
    """variant, and each figure with its interval: `<figure>`, `<figure>_low`, `<figure>_high`."""
    parts = []
    for figure, drawn in resampled.items():
        part = intervals(drawn, level).set_index("name")
        parts.append(part.set_axis([figure, f"{figure}_low", f"{figure}_high"], axis=1))
    return pd.concat(parts, axis=1).rename_axis("variant").reset_index()


def robustness_of(variants: Sequence[Variant], measures: Path) -> pd.DataFrame:
    """variant, corruption, macro_ap (mean over the folds), spread (standard deviation), drop, constant."""
    parts = []
    for variant in variants:
        table = read_table(measures / variant.training.out.name / ROBUSTNESS)
        if table.empty:
            continue
        by = table.groupby("corruption", sort=False)
        part = by[["macro_ap", "drop", "constant"]].mean().assign(spread=by["macro_ap"].std()).reset_index()
        parts.append(part.assign(variant=variant.name))
    columns = ["variant", "corruption", "macro_ap", "spread", "drop", "constant"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def variant_table(
    variants: Sequence[Variant], figures: pd.DataFrame, robustness: pd.DataFrame, measures: Path
) -> pd.DataFrame:
    """One row per variant, failed ones too.

    Args:
        variants: all.
        figures: as `figure_table` gives them.
        robustness: as `robustness_of` gives it.
        measures: folder of the variants' measurements.

    Returns:
        Columns variant, kind (`variant`), failure, folds, epochs, steps (optimiser steps of a fold), training_seconds
        (of all folds, with validation), initial_weights, those of `figures`, corrupted_ap (mean over the corruptions),
        and of `Costs` parameters, images_per_second, training_memory_gb.
    """
    return pd.DataFrame([_row(variant, figures, robustness, measures) for variant in variants])


def figure_table(folds: pd.DataFrame, ends: pd.DataFrame, statistic: Statistic) -> pd.DataFrame:
    """Mean, spread and interval of every figure.

    Args:
        folds: as `fold_table` gives them.
        ends: as `interval_table` gives them.
        statistic: what is compared.

    Returns:
        Indexed by variant; each figure with its standard deviation over the folds (`<figure>_spread`, NaN for one
        fold) and, where it was resampled, its interval (`_low`, `_high`); value, low and high of the statistic.
    """
    by = folds.groupby("variant", sort=False)[list(FIGURES)]
    found = by.mean().join(by.std().add_suffix("_spread"))
    found = found.join(ends.set_index("variant").drop(columns=list(FIGURES), errors="ignore"))
    names = dict(zip(("value", "low", "high"), (statistic, f"{statistic}_low", f"{statistic}_high"), strict=True))
    return found.assign(**{name: found[column] for name, column in names.items()})


def _row(variant: Variant, figures: pd.DataFrame, robustness: pd.DataFrame, measures: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"variant": variant.name, "kind": "variant", "failure": variant.failure}
    row |= {"folds": len(variant.training.chosen_folds), "epochs": variant.share.epochs}
    row["steps"] = variant.share.epochs * variant.share.steps
    if variant.failure:
        return row
    out = variant.training.out
    histories = [History.read(out / f"fold{fold}") for fold in variant.training.chosen_folds]
    row["training_seconds"] = sum(epoch.seconds for history in histories for epoch in history.epochs)
    row["initial_weights"] = read_json(out / run_page.METRICS)["initial_weights"]
    row |= figures.loc[variant.name].to_dict()
    worse = robustness[(robustness["variant"] == variant.name) & (robustness["corruption"] != CLEAN)]
    row["corrupted_ap"] = worse["macro_ap"].mean() if len(worse) else math.nan
    costs = read_json(measures / out.name / COSTS)
    return row | {name: math.nan if value is None else value for name, value in costs.items()}
