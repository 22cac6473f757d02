"""How good an ensemble and its members are: figures with intervals, what each member adds, whose errors coincide."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hpa.arrays import Bool, Float64, Probabilities, Targets
from hpa.evaluation import decide, evaluate
from hpa.evaluation.error_overlap import error_overlap
from hpa.evaluation.fold_scores import decide_by_fold
from hpa.evaluation.paired import Predictor, Resampled, compare, intervals, resample
from hpa.evaluation.weighted_rounds import STATISTICS, Statistic
from hpa.labels import ClassList
from hpa.stages.comparison.ensemble_members import Members

_SMALLEST = 1e-7


@dataclass(frozen=True, eq=False)
class EnsembleScores:
    """What was measured.

    Attributes:
        table: one row per member and rule: name, kind (member, rule or ensemble), items, the figures of STATISTICS,
            each with `_low` and `_high`, macro_recall, ece, brier and log_loss (NaN where scores are no probabilities).
        added: one row per member: name, and of each figure of `judged` the difference that it makes to the ensemble:
            statistic, difference, low, high, probability.
        gains: the ensemble against every member, as `hpa.evaluation.paired.compare` gives it, with `statistic`.
        overlap: as `hpa.evaluation.error_overlap` gives it.
        judged: the figures of `added` and `gains`.
        oracle: share of the items that some member decides right: no choice among members can do better.
    """

    table: pd.DataFrame
    added: pd.DataFrame
    gains: pd.DataFrame
    overlap: pd.DataFrame
    judged: tuple[Statistic, ...]
    oracle: float


def decisions_of(
    probabilities: Probabilities,
    classes: ClassList,
    targets: Targets | None = None,
    folds: np.ndarray | None = None,
    thresholds: tuple[float, ...] | None = None,
) -> Bool[np.ndarray, "items classes"]:
    """What probabilities are decided as: by thresholds that were given, or tuned on the other folds, or 0.5."""
    if thresholds is not None and classes.multi_label:
        return decide(probabilities, classes, np.array(thresholds, np.float64))
    if targets is not None and folds is not None:
        return decide_by_fold(targets, probabilities, classes, folds)
    return decide(probabilities, classes)


def measure_ensemble(
    members: Members,
    rules: Mapping[str, Probabilities],
    chosen: str,
    without: Mapping[str, Probabilities],
    decided: Mapping[str, Bool[np.ndarray, "items classes"]],
    rounds: int,
    seed: int,
) -> EnsembleScores:
    """Measure everything on the same items and the same draws of groups.

    Args:
        members: with labels.
        rules: probabilities by name of the rule, cross-fitted where rules are fitted to these labels.
        chosen: the rule that makes the ensemble.
        without: probabilities of the chosen rule without a member, by the name of that member.
        decided: further decisions about the chosen rule's probabilities, by what they are called in the table.
        rounds: of the bootstrap.
        seed: of its draws.
    """
    assert members.targets is not None
    targets, classes = members.targets, members.classes
    scores = dict(zip(members.names, members.scores, strict=True)) | dict(rules)
    predictors = {name: _predictor(values, members) for name, values in scores.items()}
    predictors |= {name: Predictor(rules[chosen], decisions) for name, decisions in decided.items()}
    judged: tuple[Statistic, ...] = ("macro_ap", "macro_f1") if classes.multi_label else ("accuracy", "macro_auc")
    others = {f"without {name}": _predictor(values, members) for name, values in without.items()}
    draws = {
        name: resample(
            targets, predictors | (others if name in judged else {}), name, members.groups, None, rounds, seed
        )
        for name in STATISTICS
    }
    kinds = dict.fromkeys(members.names, "member") | dict.fromkeys(rules, "rule") | {chosen: "ensemble"}
    table = pd.DataFrame(
        [
            {"name": name, "kind": kinds.get(name, "ensemble"), **_figures(one, members)}
            for name, one in predictors.items()
        ]
    )
    for name, found in draws.items():
        ends = intervals(found).set_index("name").loc[table["name"]]
        table[name] = ends["value"].to_numpy()
        table[f"{name}_low"], table[f"{name}_high"] = ends["low"].to_numpy(), ends["high"].to_numpy()
    # Ranks are no probabilities.
    table.loc[table["name"] == "rank", ["ece", "brier", "log_loss"]] = np.nan
    wrong = [_wrong(predictors[name], targets, classes) for name in members.names]
    return EnsembleScores(
        table=table,
        added=_rows(draws, judged, {f"without {name}": name for name in without}, chosen),
        gains=_rows(draws, judged, {name: name for name in members.names}, chosen),
        overlap=error_overlap(members.names, wrong),
        judged=judged,
        oracle=float(1 - np.logical_and.reduce([one.reshape(len(one), -1).any(axis=1) for one in wrong]).mean()),
    )


def _rows(
    draws: Mapping[Statistic, Resampled], judged: tuple[Statistic, ...], others: Mapping[str, str], chosen: str
) -> pd.DataFrame:
    """The ensemble less each of the others, figure by figure."""
    columns = ["name", "statistic", "difference", "low", "high", "probability", "p_corrected"]
    rows = []
    for name in judged:
        kept = {one: values for one, values in draws[name].rounds.items() if one in others or one == chosen}
        part = Resampled(name, draws[name].observed, kept)
        # Each row is other - ensemble; turned round, it says what the ensemble gains.
        for row in compare(part, baseline=chosen).to_dict("records"):
            rows.append(
                {
                    "name": others[row["first"]],
                    "statistic": name,
                    "difference": -row["difference"],
                    "low": -row["high"],
                    "high": -row["low"],
                    "probability": 1 - row["probability"],
                    "p_corrected": row["p_corrected"],
                }
            )
    return pd.DataFrame(rows, columns=columns)


def _predictor(values: Probabilities, members: Members) -> Predictor:
    return Predictor(values, decisions_of(values, members.classes, members.targets, members.folds))


def _figures(predictor: Predictor, members: Members) -> dict[str, float | int]:
    assert members.targets is not None
    found = evaluate(members.targets, predictor.probabilities, members.classes, folds=members.folds).metrics
    calibration = found["ece" if members.classes.multi_label else "ece_top"]
    truth = members.targets.astype(np.float64)
    recall = (truth * predictor.decisions).sum(axis=0)[truth.any(axis=0)] / truth.sum(axis=0)[truth.any(axis=0)]
    return {
        "items": len(truth),
        "macro_recall": float(recall.mean()) if len(recall) else np.nan,
        "ece": np.nan if calibration is None else float(calibration),
        "brier": float(found["brier"] or 0.0),
        "log_loss": _log_loss(truth, predictor.probabilities, members.classes.multi_label),
    }


def _log_loss(truth: Float64[np.ndarray, "items classes"], probabilities: Probabilities, multi_label: bool) -> float:
    """Mean over the items of minus the log of what was said of the truth; over the classes too where they are many."""
    likely = np.clip(probabilities.astype(np.float64), _SMALLEST, 1 - _SMALLEST)
    if not multi_label:
        return float(-np.log((truth * likely).sum(axis=1)).mean())
    return float(-(truth * np.log(likely) + (1 - truth) * np.log1p(-likely)).mean())


def _wrong(predictor: Predictor, targets: Targets, classes: ClassList) -> Bool[np.ndarray, "..."]:
    wrong: Bool[np.ndarray, "..."] = (targets > 0) != predictor.decisions
    return wrong if classes.multi_label else np.asarray(wrong.any(axis=1))
