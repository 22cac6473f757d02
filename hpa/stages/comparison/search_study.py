"""Optuna's part of a search: a study in an SQLite file that several processes share, its trials and what they tell."""

import fcntl
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import numpy as np
import pandas as pd

from hpa.artifacts import ArtifactError
from hpa.extras import require
from hpa.stages.comparison.search_config import Choice, FloatRange, IntRange, MedianPruning, NoPruning, SearchConfig

STUDY = "study.db"
FOLDER, OUTCOME, VALUES, SAME = "folder", "outcome", "values", "made_from"
"""Names under which the study keeps what belongs to a trial, or to itself."""


class PrunedError(Exception):
    """A trial that is not worth finishing."""


@dataclass(frozen=True)
class Trial:
    """One trial that this process works on.

    Attributes:
        number: in the study.
        folder: name of its folder; that of a killed trial which this one goes on with.
        changes: dotted keys to values.
    """

    number: int
    folder: str
    changes: Mapping[str, Any]


class Study:
    """A study of a search; used in a `with` block, it leaves trials that are not finished to others at its end.

    Args:
        config: of the search.
        made_from: fingerprint of what decides a trial's outcome; a study made from something else is refused.

    Raises:
        ArtifactError: another study stands in the folder.
        ValueError: optuna is not installed.
    """

    def __init__(self, config: SearchConfig, made_from: str) -> None:
        self._optuna: ModuleType = require("optuna", "search")
        self._optuna.logging.set_verbosity(self._optuna.logging.WARNING)
        self._config = config
        config.out.mkdir(parents=True, exist_ok=True)
        with alone(config.out / ".study.lock"):
            self._storage = self._optuna.storages.RDBStorage(
                f"sqlite:///{(config.out / STUDY).resolve()}", engine_kwargs={"connect_args": {"timeout": 120}}
            )
            self._study = self._optuna.create_study(
                storage=self._storage,
                study_name="search",
                direction="maximize" if config.loop.mode == "max" else "minimize",
                pruner=self._pruner(),
                load_if_exists=True,
            )
            found = self._study.user_attrs.get(SAME)
            if found is None:
                self._study.set_user_attr(SAME, made_from)
        if found not in (None, made_from):
            raise ArtifactError(
                f"{config.out}: the study there has another base, space or data; give another output folder, or "
                "remove it"
            )
        self._states = self._optuna.trial.TrialState
        self._open: dict[int, Any] = {}
        self._reported: dict[int, set[int]] = {}
        self._locks: dict[int, IO[str]] = {}

    def __enter__(self) -> "Study":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave unfinished trials to others."""
        while self._locks:
            self._locks.popitem()[1].close()
        self._storage.engine.dispose()

    def begin(self) -> Trial | None:
        """A trial to work on; None where the budget is used up. A trial that a killed process left is gone on with."""
        with alone(self._config.out / ".study.lock"):
            self._take_over()
            counted = self._trials((self._states.COMPLETE, self._states.PRUNED, self._states.RUNNING))
            if len(counted) >= self._config.trials or self._hours() >= (self._config.hours or math.inf):
                return None
            trial = self._study.ask()
            folder = trial.user_attrs.get(FOLDER, f"{trial.number:04d}")
            trial.set_user_attr(FOLDER, folder)
            # Held as long as this process lives and works on the trial: how others know that somebody does.
            self._locks[trial.number] = self._lock_path(folder).open("w")
            fcntl.flock(self._locks[trial.number], fcntl.LOCK_EX)
        # Seeded by the trial, not by the process: processes that begin together would draw the same values.
        self._study.sampler = self._sampler(trial.number)
        changes = {key: self._suggest(trial, key) for key in self._config.space}
        values = trial.user_attrs.get(VALUES, {})
        for step, value in values.items():
            trial.report(value, int(step))
        self._open[trial.number], self._reported[trial.number] = trial, {int(step) for step in values}
        return Trial(trial.number, folder, changes)

    def report(self, trial: Trial, epoch: int, value: float) -> None:
        """Tell the value after an epoch, counted from 1.

        Raises:
            PrunedError: the trial is not worth finishing.
        """
        own = self._open[trial.number]
        if epoch not in self._reported[trial.number] and math.isfinite(value):
            own.report(value, epoch)
            self._reported[trial.number].add(epoch)
        if own.should_prune():
            raise PrunedError

    def finish(self, trial: Trial, value: float | None, outcome: str) -> None:
        """Tell how a trial ended; a value of None is a trial that was cut short."""
        own = self._open.pop(trial.number)
        own.set_user_attr(OUTCOME, outcome)
        if value is None:
            self._study.tell(own, state=self._states.PRUNED)
        else:
            self._study.tell(own, value)
        self._locks.pop(trial.number).close()

    def table(self) -> pd.DataFrame:
        """number, outcome, value (NaN unless finished), epochs, seconds, then a column per key; one row per trial."""
        rows = []
        for one in self._trials((self._states.COMPLETE, self._states.PRUNED)):
            row: dict[str, Any] = {"number": one.number, "folder": one.user_attrs[FOLDER]}
            row["outcome"] = one.user_attrs.get(OUTCOME, "")
            is_complete = one.state == self._states.COMPLETE
            row["value"] = one.value if is_complete else math.nan
            row["epochs"] = max(one.intermediate_values, default=0)
            row["seconds"] = one.duration.total_seconds()
            rows.append(row | {key: one.params[key] for key in self._config.space})
        columns = ["number", "folder", "outcome", "value", "epochs", "seconds", *self._config.space]
        return pd.DataFrame(rows, columns=columns)

    def best(self) -> tuple[int, float, dict[str, Any]] | None:
        """Number, value and changes of the best finished trial; None where none is finished."""
        found = self._trials((self._states.COMPLETE,))
        if not found:
            return None
        sign = 1 if self._config.loop.mode == "max" else -1
        one = max(found, key=lambda trial: sign * trial.value)
        return one.number, float(one.value), {key: self._value(key, one.params[key]) for key in self._config.space}

    def importances(self) -> dict[str, float]:
        """Share of the values' variance that each key explains (fANOVA, Hutter et al. 2014); empty for few trials."""
        found = self._trials((self._states.COMPLETE,))
        if len(found) < 4 or np.ptp([trial.value for trial in found]) == 0:
            return {}
        evaluator = self._optuna.importance.FanovaImportanceEvaluator(seed=self._config.seed)
        shares: dict[str, float] = self._optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        return shares

    def _take_over(self) -> None:
        """End trials whose process is gone, and queue what they were about."""
        for one in self._trials((self._states.RUNNING,)):
            name = one.user_attrs.get(FOLDER)
            if name is not None and _is_held(self._lock_path(name)):
                continue
            values = {str(step): value for step, value in one.intermediate_values.items()}
            if len(one.params) == len(self._config.space):
                self._study.enqueue_trial(dict(one.params), user_attrs={FOLDER: name, VALUES: values})
            self._study.tell(one.number, state=self._states.FAIL)

    def _hours(self) -> float:
        """Of all trials that ended by themselves, and of those that run."""
        total = 0.0
        for one in self._trials((self._states.COMPLETE, self._states.PRUNED, self._states.RUNNING)):
            total += ((one.datetime_complete or datetime.now()) - one.datetime_start).total_seconds()
        return total / 3600

    def _lock_path(self, folder: str) -> Path:
        path = self._config.out / "trials" / f"{folder}.lock"
        path.parent.mkdir(exist_ok=True)
        return path

    def _trials(self, states: tuple[Any, ...]) -> list[Any]:
        found: list[Any] = self._study.get_trials(deepcopy=False, states=states)
        return found

    def _suggest(self, trial: Any, key: str) -> Any:
        match self._config.space[key]:
            case FloatRange(low=low, high=high, log=log):
                return trial.suggest_float(key, low, high, log=log)
            case IntRange(low=low, high=high, log=log):
                return trial.suggest_int(key, low, high, log=log)
            case Choice() as choice:
                return self._value(key, trial.suggest_categorical(key, list(choice.labels)))

    def _value(self, key: str, stored: Any) -> Any:
        values = self._config.space[key]
        return values.labels[stored] if isinstance(values, Choice) else stored

    def _sampler(self, number: int) -> Any:
        seed = int(np.random.default_rng([self._config.seed, number]).integers(2**31))
        if self._config.sampler == "random":
            return self._optuna.samplers.RandomSampler(seed=seed)
        return self._optuna.samplers.TPESampler(seed=seed, n_startup_trials=self._config.first_random)

    def _pruner(self) -> Any:
        match self._config.pruning:
            case NoPruning():
                return self._optuna.pruners.NopPruner()
            case MedianPruning(first_trials=trials, first_epochs=epochs):
                # Optuna counts steps from 0, epochs count from 1.
                return self._optuna.pruners.MedianPruner(n_startup_trials=trials, n_warmup_steps=epochs + 1)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Only one process at a time is inside; others wait.

    Args:
        path: a file that stands for what is inside; its folder is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_held(path: Path) -> bool:
    """Whether a process holds a lock."""
    if not path.exists():
        return False
    with path.open("r+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
