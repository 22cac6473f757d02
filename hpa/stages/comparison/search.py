"""`search`: trials of a training with other values, the poor ones cut short, until the budget is used up."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from hpa.artifacts import (
    build,
    fingerprint,
    is_finished,
    make_record,
    partial_folder,
    read_json,
    write_json,
    write_text,
)
from hpa.progress import say
from hpa.report.search import search_report
from hpa.stages.comparison.changed_config import changed
from hpa.stages.comparison.search_config import SearchConfig
from hpa.stages.comparison.search_study import PrunedError, Study, Trial, alone
from hpa.stages.comparison.watched_task import WatchedTask
from hpa.stages.data.dataset import Dataset, open_dataset, prepare
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig
from hpa.stages.image_level.noise_tasks import build_network, build_task, loop_settings
from hpa.stages.image_level.run_page import SIMULATED
from hpa.stages.image_level.training_labels import decisions_fingerprint, open_decisions
from hpa.training import History, TrainingDivergedError, make_accelerator, train

STAGE = "search"
TRIALS, BEST_CONFIG, METRICS, REPORT = "trials.csv", "best.yaml", "metrics.json", "report.html"
VALUE = "value.json"

__all__ = ["SearchConfig", "run"]


def run(config: SearchConfig) -> Path:
    """Try values until the budget is used up; the same command in several processes shares the work.

    A killed process's trial is gone on with by the next that looks for one, from its last checkpoint. The best value
    was chosen among many on the same held-out images, so it is optimistic: measure the best configuration on others.

    Returns:
        `config.out`: `study.db` (Optuna's), `trials/` (histories, no weights), `trials.csv`, `best.yaml` (a
        configuration of `train_image_level`), `metrics.json` and `report.html`.

    Raises:
        ArtifactError: another study stands in the folder.
        ValueError: the data cannot be trained on, or no trial could be finished.
    """
    base = config.base
    if make_accelerator(base.loop.precision).num_processes > 1:
        raise ValueError("search works in one process; start it several times to share the trials among GPUs or cores")
    with alone(config.out / ".data.lock"):  # processes that are started together need the same images
        prepare(base.data)
    data = open_dataset(base.data)
    if data.targets is None:
        raise ValueError(f"{base.data.out}: the images have no labels to learn from; give a source with labels")
    build_network(base, data)
    inputs = dict(data.fingerprints)
    if base.decisions is not None:
        inputs["decisions"] = decisions_fingerprint(base.decisions)
    space = {key: values.model_dump(mode="json") for key, values in config.space.items()}
    same = fingerprint({"base": make_record(STAGE, base.content(), inputs).fingerprint, "space": space})
    with Study(config, same) as study:
        while (trial := study.begin()) is not None:
            told = ", ".join(f"{key}={value}" for key, value in trial.changes.items())
            say(f"trial {trial.number + 1}: {told}")
            value, outcome = _try(config, study, trial, data, inputs)
            study.finish(trial, value, outcome)
            say(f"trial {trial.number + 1}: {outcome if value is None else f'{base.loop.monitor} {value:.4f}'}")
            _write(config, study)
        _write(config, study)
    return config.out


def _try(
    config: SearchConfig, study: Study, trial: Trial, data: Dataset, inputs: Mapping[str, str]
) -> tuple[float | None, str]:
    """Value and outcome of a trial; no value where it came to no end."""
    folder = config.out / "trials" / trial.folder
    try:
        training = changed(config.base, trial.changes)
        record = make_record(STAGE, training.content(), inputs)
        if not is_finished(folder, record):
            with build(folder, record) as partial:
                write_json(partial / VALUE, {"value": _value(config, training, study, trial, data, partial)})
        _forget_weights(folder)
        value = read_json(folder / VALUE)["value"]
        return value, "finished" if value is not None else "the metric is undefined"
    except PrunedError:
        outcome = "cut short"
    except TrainingDivergedError as error:
        outcome = f"diverged in epoch {error.epoch}"
    except (ValueError, torch.OutOfMemoryError) as error:  # a combination of values that cannot be trained
        outcome = f"failed: {' '.join(str(error).split())[:200]}"
    _forget_weights(partial_folder(folder))
    return None, outcome


def _value(
    config: SearchConfig, training: TrainImageLevelConfig, study: Study, trial: Trial, data: Dataset, folder: Path
) -> float | None:
    """Mean over the folds of the monitored metric in each fold's best epoch; None where it is undefined."""
    name, values = str(training.loop.monitor), []
    labels = None if training.decisions is None else open_decisions(training.decisions, data)
    accelerator = make_accelerator(training.loop.precision)
    for fold in training.chosen_folds:
        if (folder / f"fold{fold}" / VALUE).is_file():
            values.append(read_json(folder / f"fold{fold}" / VALUE)["value"])
            continue
        held_out = data.images["fold"].to_numpy() == fold

        def watch(epoch: int, metrics: Mapping[str, float], fold: int = fold) -> None:
            if fold == training.chosen_folds[0]:
                study.report(trial, epoch, float(metrics[name]))

        task = build_task(training, data, np.flatnonzero(~held_out), np.flatnonzero(held_out), labels)
        history: History = train(
            build_network(training, data),
            WatchedTask(task, watch),
            loop_settings(training),
            folder / f"fold{fold}",
            training.machine,
            accelerator,
        )
        values.append(history.best.metrics[name])
        write_json(folder / f"fold{fold}" / VALUE, {"value": values[-1]})
    return None if any(value is None for value in values) else float(np.mean(values))


def _forget_weights(folder: Path) -> None:
    """Checkpoints of many trials would fill the disk; the best values are trained again from `best.yaml`."""
    for path in folder.rglob("*.safetensors"):
        path.unlink()


def _write(config: SearchConfig, study: Study) -> None:
    """What is known so far; every process writes the same."""
    table, best, importances = study.table(), study.best(), study.importances()
    write_text(config.out / TRIALS, table.to_csv(index=False, lineterminator="\n"))
    if best is None:
        if len(table) >= config.trials:
            raise ValueError(f"no trial could be finished; {config.out / TRIALS} says why")
        return
    number, value, changes = best
    training = changed(config.base, changes).model_copy(update={"out": config.out / "best"})
    head = (
        f"# The best of {len(table)} trials of {config.out}: {config.loop.monitor} {value:.4f}, on the images that "
        "chose it.\n"
        f"#\n#   hpa train_image_level --config {config.out / BEST_CONFIG}\n"
    )
    values = yaml.safe_dump(training.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_text(config.out / BEST_CONFIG, head + values)
    metrics: dict[str, Any] = {
        "metric": config.loop.monitor,
        "best": value,
        "best_trial": number,
        "best_values": changes,
        "trials": len(table),
        "finished": int((table["outcome"] == "finished").sum()),
        "cut_short": int((table["outcome"] == "cut short").sum()),
        "hours": round(float(table["seconds"].sum()) / 3600, 3),
        "importances": importances,
    }
    write_json(config.out / METRICS, metrics)
    search_report(
        config.out / REPORT,
        title=f"Search {config.out.name}",
        metric=str(config.loop.monitor),
        is_higher_better=config.loop.mode == "max",
        trials=table,
        best=number,
        importances=importances,
        logarithmic=[key for key, values in config.space.items() if getattr(values, "log", False)],
        config=config.model_dump(mode="json"),
        command=f"hpa train_image_level --config {config.out / BEST_CONFIG}",
        warnings=[SIMULATED] if config.base.data.source.kind == "simulated" else [],
    )
