"""Ensembles of a comparison's variants: rows beside theirs, measured on the same images."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from hpa.arrays import Probabilities
from hpa.evaluation.detection_summary import average_precision_of_ranking
from hpa.evaluation.fold_scores import ThresholdRule, decide_by_fold
from hpa.evaluation.paired import Predictor
from hpa.fusion.combination import combine, cross_fit, fit_combination
from hpa.fusion.combination_config import CombinationRule
from hpa.labels import ClassList
from hpa.stages.comparison.compare_tables import HeldOut


def with_ensembles(
    found: HeldOut, rules: Mapping[str, CombinationRule], classes: ClassList, thresholds: ThresholdRule
) -> HeldOut:
    """Held-out predictions with those of ensembles of all of them; rules are fitted on the other folds.

    Args:
        found: predictions of the variants alone.
        rules: by the names of the new rows.
        classes: the columns.
        thresholds: how multi-label tasks are decided.
    """
    folds = found.keys["fold"].to_numpy(np.int64)
    names, values = _members(found)
    predictors = dict(found.predictors)
    for name, rule in rules.items():
        said = cross_fit(rule, names, values, found.targets, folds, classes, average_precision_of_ranking)
        predictors[name] = Predictor(said, decide_by_fold(found.targets, said, classes, folds, thresholds))
    return replace(found, predictors=predictors)


def with_ensembles_of_test(
    test: Mapping[str, Probabilities], found: HeldOut, rules: Mapping[str, CombinationRule], classes: ClassList
) -> dict[str, Probabilities]:
    """Predictions of test images with those of ensembles, whose rules are fitted on all held-out images.

    Args:
        test: of the variants alone.
        found: held-out predictions of the variants alone.
        rules: by the names of the new rows.
        classes: the columns.
    """
    names, values = _members(found)
    result = dict(test)
    for name, rule in rules.items():
        fitted = fit_combination(rule, names, values, found.targets, classes, average_precision_of_ranking)
        result[name] = combine(fitted, [test[one] for one in names])
    return result


def ensemble_rows(names: Sequence[str], variants: pd.DataFrame, figures: pd.DataFrame) -> pd.DataFrame:
    """A row for each ensemble, for the table of the variants.

    Args:
        names: of the ensembles.
        variants: as `variant_table` gives it.
        figures: as `figure_table` gives it.

    Returns:
        The same columns; kind is `ensemble`. An ensemble has the parameters of all its members, takes the sum of their
        times, and needs for training what the greediest of them needs, one after another. Robustness is not measured.
    """
    members = variants[variants["failure"] == ""]
    cost: dict[str, Any] = {"kind": "ensemble", "failure": "", "initial_weights": "", "corrupted_ap": math.nan}
    cost |= dict.fromkeys(("epochs", "steps"), math.nan)
    if len(members):
        cost["folds"] = int(members["folds"].iloc[0])
        cost |= {name: members[name].sum() for name in ("parameters", "training_seconds")}
        cost["images_per_second"] = 1 / (1 / members["images_per_second"]).sum()
        cost["training_memory_gb"] = members["training_memory_gb"].max()
    rows = [{"variant": name, **cost, **figures.loc[name].to_dict()} for name in names]
    return pd.DataFrame(rows, columns=variants.columns)


def _members(found: HeldOut) -> tuple[list[str], list[Probabilities]]:
    return list(found.predictors), [one.probabilities for one in found.predictors.values()]
