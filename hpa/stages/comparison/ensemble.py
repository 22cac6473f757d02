"""`ensemble`: several classifiers of images made into one, with what each member adds and how its errors coincide."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydantic

from hpa.arrays import Bool, Probabilities
from hpa.artifacts import (
    ArtifactError,
    build,
    file_digest,
    is_finished,
    make_record,
    read_json,
    read_record,
    write_json,
    write_text,
)
from hpa.backbones import RANDOM_WEIGHTS
from hpa.evaluation import tune_thresholds
from hpa.evaluation.detection_summary import average_precision_of_ranking
from hpa.evaluation.threshold_moving import cross_fit_factors, decide_moved, move_thresholds
from hpa.fusion.combination import Combination, combine, cross_fit, fit_combination
from hpa.progress import say, tracked
from hpa.report.ensemble import ensemble_report
from hpa.stages.cell_level.fuse import find_scores
from hpa.stages.comparison.ensemble_config import EnsembleConfig, EnsembleMember, FittedEnsemble, rule_name
from hpa.stages.comparison.ensemble_members import Members, from_random_weights, read_members
from hpa.stages.comparison.ensemble_scores import EnsembleScores, decisions_of, measure_ensemble
from hpa.stages.image_level.run_page import METRICS
from hpa.tables import as_records, class_table, write_table

__all__ = ["EnsembleConfig", "EnsembleMember", "run"]

STAGE = "ensemble"
OUT_OF_FOLD, PROBABILITIES, DECIDED = "out_of_fold.parquet", "probabilities.parquet", "decided.parquet"
FITTED, REPORT = "fitted.json", "report.html"
TABLES = ("table", "added", "gains", "overlap")
MOVED, GIVEN = "ensemble, moved thresholds", "ensemble, thresholds of the fit"
"""Names of the table's rows about decisions that are not those of `decisions_of`."""


def run(config: EnsembleConfig) -> Path:
    """Make an ensemble, or apply one that was fitted before.

    Returns:
        `config.out`: the ensemble's probabilities, image by image: `out_of_fold.parquet` where it was fitted here (of
        each image by a rule fitted on the other folds, so that figures on them are honest), `probabilities.parquet`
        where an earlier fit was applied; `decided.parquet` (1 where an image is said to have the class); `fitted.json`,
        which later calls read as `fitted`. Where the images have labels also `table.csv`, `added.csv`, `gains.csv` and
        `overlap.csv` (see `EnsembleScores`), `metrics.json` and `report.html`.

    Raises:
        ArtifactError: a member, the index or the earlier fit is missing, or something else stands in the folder.
        ValueError: members of other images or classes, or images without labels where a rule is to be fitted.
    """
    paths = {member.name: [find_scores(path, "image") for path in member.paths] for member in config.members}
    inputs = {f"{name} {i}": file_digest(path) for name, found in paths.items() for i, path in enumerate(found)}
    inputs["index"] = read_record(config.data.index_folder, "index").fingerprint
    if config.fitted is not None:
        inputs["fitted"] = read_record(config.fitted, STAGE).fingerprint
    record = make_record(STAGE, config.content(), inputs)
    if is_finished(config.out, record):
        say(f"{config.out}: made before, nothing to do")
        return config.out
    earlier = None if config.fitted is None else _read_fitted(config, config.fitted)
    members = read_members(config, paths, None if earlier is None else earlier.rules[earlier.chosen].classes)
    with build(config.out, record) as folder:
        if earlier is None:
            fitted, found, decided = _fit(config, members)
        else:
            fitted, found, decided = earlier, *_apply(earlier, members)
        table = class_table(pd.DataFrame({"image_id": members.image_ids}), found[fitted.chosen], members.classes)
        if earlier is None and members.folds is not None:
            table.insert(1, "fold", members.folds)
        write_table(folder / (OUT_OF_FOLD if earlier is None else PROBABILITIES), table)
        answers = class_table(table[["image_id"]], decided.astype(np.float32), members.classes)
        write_table(folder / DECIDED, answers)
        write_json(folder / FITTED, fitted.model_dump(mode="json"))
        if members.targets is not None:
            _report(config, folder, members, fitted, found, decided)
    say(f"{config.out}: {len(members.names)} members, {len(members.image_ids)} images, {fitted.chosen}")
    return config.out


def _fit(
    config: EnsembleConfig, members: Members
) -> tuple[FittedEnsemble, dict[str, Probabilities], Bool[np.ndarray, "items classes"]]:
    """Rules fitted on all images, what they say of each fitted on the other folds, and the ensemble's decisions."""
    chosen = rule_name(config.rule)
    rules = {rule_name(rule): rule for rule in (*config.compared, config.rule)}
    if members.targets is None:
        # Nothing can be compared; rules that are not fitted need no labels.
        rules = {chosen: config.rule}
    fitted, found = {}, {}
    measure = average_precision_of_ranking
    for name, rule in tracked(rules.items(), "fitting rules", len(rules)):
        fitted[name] = fit_combination(rule, members.names, members.scores, members.targets, members.classes, measure)
        if members.targets is None or members.folds is None:
            found[name] = combine(fitted[name], members.scores)
        else:
            found[name] = cross_fit(
                rule, members.names, members.scores, members.targets, members.folds, members.classes, measure
            )
    without: dict[str, Combination] = {}
    if len(members.names) > 1 and members.targets is not None and members.folds is not None:
        for number, name in enumerate(members.names):
            names, values = _all_but(members, number)
            found[f"without {name}"] = cross_fit(
                config.rule, names, values, members.targets, members.folds, members.classes, measure
            )
            without[name] = fit_combination(config.rule, names, values, members.targets, members.classes, measure)
    thresholds = factors = None
    decided = decisions_of(found[chosen], members.classes, members.targets, members.folds)
    if members.targets is not None and members.folds is not None:
        if members.classes.multi_label:
            thresholds = tune_thresholds(members.targets, found[chosen])
        elif config.moving is not None:
            factors = move_thresholds(members.targets, found[chosen], config.moving)
            moved = cross_fit_factors(members.targets, found[chosen], members.folds, config.moving)
            decided = decide_moved(found[chosen], moved)
    ensemble = FittedEnsemble(
        members=members.names,
        chosen=chosen,
        rules=fitted,
        without=without,
        thresholds=None if thresholds is None else tuple(map(float, thresholds)),
        factors=None if factors is None else tuple(map(float, factors)),
    )
    return ensemble, found, decided


def _apply(
    fitted: FittedEnsemble, members: Members
) -> tuple[dict[str, Probabilities], Bool[np.ndarray, "items classes"]]:
    """What rules fitted on other images say of these, and the ensemble's decisions."""
    found = {name: combine(rule, members.scores) for name, rule in fitted.rules.items()}
    for number, name in enumerate(members.names):
        if name in fitted.without:
            found[f"without {name}"] = combine(fitted.without[name], _all_but(members, number)[1])
    if fitted.factors is not None:
        return found, decide_moved(found[fitted.chosen], np.array(fitted.factors))
    return found, decisions_of(found[fitted.chosen], members.classes, thresholds=fitted.thresholds)


def _all_but(members: Members, number: int) -> tuple[tuple[str, ...], list[Probabilities]]:
    names = members.names[:number] + members.names[number + 1 :]
    return names, members.scores[:number] + members.scores[number + 1 :]


def _report(
    config: EnsembleConfig,
    folder: Path,
    members: Members,
    fitted: FittedEnsemble,
    found: Mapping[str, Probabilities],
    decided: Bool[np.ndarray, "items classes"],
) -> None:
    further = {} if fitted.factors is None else {MOVED: decided}
    if config.fitted is not None and fitted.thresholds is not None:
        further[GIVEN] = decided
    scores = measure_ensemble(
        members,
        {name: found[name] for name in fitted.rules},
        fitted.chosen,
        {name: found[f"without {name}"] for name in fitted.without},
        further,
        config.rounds,
        config.seed,
    )
    for name in TABLES:
        write_text(folder / f"{name}.csv", getattr(scores, name).to_csv(index=False, lineterminator="\n"))
    random = from_random_weights(config)
    write_json(folder / METRICS, _metrics(scores, members, fitted, random))
    ensemble_report(
        folder / REPORT,
        title=f"Ensemble {config.out.name}",
        chosen=fitted.chosen,
        table=scores.table,
        added=scores.added,
        gains=scores.gains,
        overlap=scores.overlap,
        judged=scores.judged,
        oracle=scores.oracle,
        weights=_shares(fitted.rules),
        classes=members.classes.names,
        is_applied=config.fitted is not None,
        left_out=members.left_out,
        random=random,
        summary={
            "Images": f"{len(members.image_ids)} in {len(set(members.groups.tolist()))} groups",
            "Folds to fit across": "those of the members" if members.are_own_folds else "dealt anew, groups whole",
            **{f"Member {member.name}": ", ".join(map(str, member.paths)) for member in config.members},
        },
    )
    row = scores.table.set_index("name").loc[fitted.chosen]
    say(f"{config.out}: " + ", ".join(f"{name} {row[name]:.3f}" for name in scores.judged))


def _metrics(scores: EnsembleScores, members: Members, fitted: FittedEnsemble, random: Sequence[str]) -> dict[str, Any]:
    plain = {name: as_records(getattr(scores, name)) for name in TABLES}
    return {
        "items": len(members.image_ids),
        "chosen": fitted.chosen,
        "oracle": scores.oracle,
        "left_out": members.left_out,
        "initial_weights": f"{RANDOM_WEIGHTS} ({', '.join(random)})" if random else "trained before, or not told",
        **plain,
    }


def _shares(rules: Mapping[str, Combination]) -> dict[str, pd.DataFrame]:
    """Fitted weights by rule, or coefficients where each is of one member: a row per class, a column per member."""
    found = {name: rule.weights for name, rule in rules.items() if rule.weights is not None}
    tables = {name: np.array(weights).T for name, weights in found.items()}
    for name, rule in rules.items():
        if rule.stack is not None and len(rule.stack.coefficients[0]) == len(rule.members):
            tables[name] = np.array(rule.stack.coefficients)
    return {
        name: pd.DataFrame(values, index=list(rules[name].classes.names), columns=list(rules[name].members))
        for name, values in tables.items()
    }


def _read_fitted(config: EnsembleConfig, folder: Path) -> FittedEnsemble:
    try:
        fitted = FittedEnsemble.model_validate(read_json(folder / FITTED))
    except (OSError, pydantic.ValidationError) as error:
        raise ArtifactError(
            f"{folder / FITTED}: is no fit of an ensemble ({type(error).__name__}); fit again"
        ) from None
    names = tuple(member.name for member in config.members)
    if names != fitted.members:
        raise ValueError(
            f"expected the members {list(fitted.members)} that {folder} was fitted with, in this order, but got "
            f"{list(names)}"
        )
    return fitted
