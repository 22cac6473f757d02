"""What a comparison leaves: tables, metrics.json and a page."""

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from hpa.artifacts import write_json, write_text
from hpa.backbones import RANDOM_WEIGHTS
from hpa.evaluation.paired import Resampled, compare
from hpa.report.comparison import ComparedTest, comparison_report
from hpa.stages.comparison.compare_config import BootstrapConfig, CompareConfig, EpochBudget, StepBudget, TimeBudget
from hpa.stages.comparison.compare_ensembles import ensemble_rows, with_ensembles, with_ensembles_of_test
from hpa.stages.comparison.compare_tables import (
    HeldOut,
    Variant,
    figure_table,
    fold_table,
    held_out,
    interval_table,
    predictors_of_test,
    probabilities_of_test,
    resampled_figures,
    robustness_of,
    variant_table,
)
from hpa.stages.data.dataset import Dataset, open_dataset
from hpa.stages.image_level.run_page import SIMULATED
from hpa.tables import as_records

REPORT, METRICS = "report.html", "metrics.json"
TABLE, FOLDS, ROBUSTNESS, PAIRS = "table.csv", "folds.csv", "robustness.csv", "pairs.csv"
TEST, TEST_PAIRS = "test.csv", "test_pairs.csv"


def write_comparison(config: CompareConfig, variants: list[Variant]) -> dict[str, Any]:
    """Write the tables and the page of variants that are trained and measured.

    Returns:
        The content of metrics.json.

    Raises:
        ValueError: every variant failed.
    """
    finished = [variant for variant in variants if not variant.failure]
    if not finished:
        told = "; ".join(f"{variant.name}: {variant.failure}" for variant in variants)
        raise ValueError(f"no variant could be trained ({told}); lower loop.learning_rate")
    data = open_dataset(finished[0].training.data)
    trained = held_out(finished, data, config.thresholds)
    rules = config.rules() if len(finished) > 1 else {}
    found = with_ensembles(trained, rules, data.classes, config.thresholds)
    folds = fold_table(found, data.classes, [name for name, rule in rules.items() if rule.kind == "rank"])
    groups, numbers = found.keys["group"].to_numpy(), found.keys["fold"].to_numpy()
    resampled = resampled_figures(found.targets, found.predictors, groups, numbers, config.bootstrap)
    measures = config.out / "measures"
    robustness = robustness_of(finished, measures)
    figures = figure_table(folds, interval_table(resampled, config.bootstrap.level), config.bootstrap.statistic)
    table = variant_table(variants, figures, robustness, measures)
    table = pd.concat([table, ensemble_rows(list(rules), table, figures)], ignore_index=True)
    pairs = _pairs(resampled[config.bootstrap.statistic], config.bootstrap)
    test = _test(config, finished, trained, found) if config.test is not None else None
    for name, frame in ((TABLE, table), (FOLDS, folds), (ROBUSTNESS, robustness), (PAIRS, pairs)):
        _write(config.out / name, frame)
    if test is not None:
        _write(config.out / TEST, test.variants)
        _write(config.out / TEST_PAIRS, test.pairs)
    metrics = _metrics(config, table, pairs, test)
    write_json(config.out / METRICS, metrics)
    comparison_report(
        config.out / REPORT,
        title=f"Comparison {config.out.name}",
        statistic=config.bootstrap.statistic,
        level=config.bootstrap.level,
        table=table,
        folds=folds,
        pairs=pairs,
        robustness=robustness,
        multi_label=data.classes.multi_label,
        test=test,
        summary=_summary(config, data, len(found.keys), len(variants)),
        config=config.model_dump(mode="json"),
        warnings=_warnings(config, table),
    )
    return metrics


def _test(config: CompareConfig, finished: list[Variant], trained: HeldOut, found: HeldOut) -> ComparedTest:
    assert config.test is not None
    # Any variant's pixels will do: only labels and groups are read.
    settings = config.test.model_copy(update={"cache": finished[0].training.data.cache})
    data = open_dataset(settings, needs_folds=False)
    assert data.targets is not None  # checked before the training
    values = probabilities_of_test(finished, data, config.out / "test")
    if len(finished) > 1:
        values = with_ensembles_of_test(values, trained, config.rules(), data.classes)
    predictors = predictors_of_test(values, found, data.classes, config.thresholds)
    groups = data.images["group"].to_numpy()
    resampled = resampled_figures(data.targets, predictors, groups, None, config.bootstrap)
    pairs = _pairs(resampled[config.bootstrap.statistic], config.bootstrap)
    return ComparedTest(len(data.images), interval_table(resampled, config.bootstrap.level), pairs)


def _pairs(resampled: Resampled, config: BootstrapConfig) -> pd.DataFrame:
    """All pairs where the baseline failed."""
    baseline = config.baseline if config.baseline in resampled.rounds else None
    return compare(resampled, baseline, config.level, config.correction)


def _write(path: Path, table: pd.DataFrame) -> None:
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def _metrics(
    config: CompareConfig, table: pd.DataFrame, pairs: pd.DataFrame, test: ComparedTest | None
) -> dict[str, Any]:
    trained = table[table["failure"] == ""]
    best = trained.loc[trained["value"].idxmax(), "variant"] if trained["value"].notna().any() else None
    metrics = {
        "statistic": config.bootstrap.statistic,
        "best": best,
        "certain_differences": int(pairs["is_different"].sum()),
        "variants": _by_variant(table),
    }
    return metrics if test is None else metrics | {"test_images": test.images, "test": _by_variant(test.variants)}


def _by_variant(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {row.pop("variant"): row for row in as_records(table)}


def _summary(config: CompareConfig, data: Dataset, items: int, variants: int) -> dict[str, str]:
    match config.budget:
        case EpochBudget(epochs=epochs):
            budget = f"{epochs or config.base.loop.epochs} epochs in each fold"
        case StepBudget(steps=steps):
            budget = f"{steps} optimiser steps in each fold, rounded to whole epochs"
        case TimeBudget(seconds=seconds):
            budget = f"{seconds:g} s in each fold on this machine, rounded to whole epochs"
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    folds = config.base.chosen_folds
    return {
        "Variants": str(variants),
        "Budget of each": budget,
        "Data": f"{config.base.data.source.kind}, {len(data.images)} images in {data.images['group'].nunique()} groups",
        "Measured on": f"{items} images, held out by folds {', '.join(map(str, folds))} of "
        f"{config.base.data.fold.folds}",
        "Decisions": {"half": "at 0.5", "cross_fitted": "at thresholds tuned on the other folds"}[config.thresholds]
        if data.classes.multi_label and len(folds) > 1
        else ("at 0.5" if data.classes.multi_label else "the class with the highest probability"),
        "Resampling": f"{config.bootstrap.rounds} rounds over {config.bootstrap.unit}s, "
        f"{config.bootstrap.level:.0%} intervals, correction {config.bootstrap.correction}",
        "Costs measured on": device,
    }


def _warnings(config: CompareConfig, table: pd.DataFrame) -> list[str]:
    warnings = []
    if config.base.data.source.kind == "simulated":
        warnings.append(SIMULATED)
    trained = table[(table["failure"] == "") & (table["kind"] == "variant")]
    by_chance = trained["initial_weights"].str.contains(RANDOM_WEIGHTS)
    if by_chance.any():
        names = ", ".join(trained.loc[by_chance, "variant"])
        among = "" if by_chance.all() else " Variants that began with pretrained weights have that advantage."
        warnings.append(f"Trained from random weights: {names}.{among}")
    if len(config.base.chosen_folds) == 1:
        warnings.append("One fold was held out, so there is no spread over folds; base.folds=all gives one.")
    for row in table[table["failure"] != ""].to_dict("records"):
        without = " The ensembles are without it." if config.ensembles else ""
        warnings.append(f"{row['variant']} could not be trained: {row['failure']}.{without}")
    return warnings
