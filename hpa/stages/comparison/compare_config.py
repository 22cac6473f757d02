"""The configuration of `compare`: which variants of one training there are, and how they are measured."""

import itertools
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import pydantic
from pydantic import Field

from hpa.classification.corruptions import Corruption
from hpa.config import Config
from hpa.evaluation.fold_scores import ThresholdRule
from hpa.evaluation.weighted_rounds import STATISTICS, Statistic
from hpa.fusion.combination import needs_labels
from hpa.fusion.combination_config import CombinationRule
from hpa.stages.comparison.changed_config import as_text, changed, problems_of
from hpa.stages.comparison.ensemble_config import rule_name
from hpa.stages.data.dataset_config import DatasetConfig
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig

Positive = Annotated[int, Field(ge=1)]
Changes: TypeAlias = dict[str, Any]
"""Dotted keys of the training's configuration to values."""

SHARED = ("out", "folds", "machine", "data.out", "data.source", "data.index", "data.fold", "loop.epochs")
"""What no variant may change: they are measured on the same images, held out by the same folds, under one budget."""


class EpochBudget(Config):
    """So many passes over the images.

    Attributes:
        epochs: None for the base's `loop.epochs`.
    """

    kind: Literal["epochs"] = "epochs"
    epochs: Positive | None = None


class StepBudget(Config):
    """So many optimiser steps in each fold, rounded to whole epochs, at least one.

    Attributes:
        steps: whatever the batch size.
    """

    kind: Literal["steps"] = "steps"
    steps: Positive


class TimeBudget(Config):
    """So much time in each fold, on this machine: rounded to whole epochs by a short trial, at least one.

    Attributes:
        seconds: training and validation; what was really taken is in the table.
        trial_steps: optimiser steps that the trial times.
    """

    kind: Literal["seconds"] = "seconds"
    seconds: Annotated[float, Field(gt=0)]
    trial_steps: Positive = 8


Budget: TypeAlias = Annotated[EpochBudget | StepBudget | TimeBudget, Field(discriminator="kind")]


class RobustnessConfig(Config):
    """How the networks are tried on images made worse.

    Attributes:
        corruptions: None for the usual ones; see `hpa.classification.corruptions.usual_corruptions`.
        images: of each fold's held-out images, at most so many, drawn by chance; None for all.
    """

    corruptions: tuple[Corruption, ...] | None = None
    images: Positive | None = 2000


class BootstrapConfig(Config):
    """How it is judged whether one variant is better than another; see `hpa.evaluation.paired`.

    Attributes:
        statistic: what is compared, pair by pair.
        figures: what gets intervals beside it.
        rounds: resamplings.
        seed: of the resamplings.
        level: of intervals and claims.
        unit: `group` draws groups (antibodies, patients, dishes) whole, `image` draws images.
        baseline: name of the variant that the others are compared with; None compares all pairs.
        correction: for several pairs; `holm` or `none`.
    """

    statistic: Statistic = "macro_ap"
    figures: tuple[Statistic, ...] = STATISTICS
    rounds: Positive = 1000
    seed: Annotated[int, Field(ge=0)] = 0
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    unit: Literal["group", "image"] = "group"
    baseline: str | None = None
    correction: Literal["holm", "none"] = "holm"


class CostConfig(Config):
    """How a network's costs are measured.

    Attributes:
        batch_size: images of one forward pass.
        seconds: for which inference is repeated, after one pass to warm up.
    """

    batch_size: Positive = 32
    seconds: Annotated[float, Field(gt=0)] = 1.0


class CompareConfig(Config):
    """Several trainings that differ in what is compared, and in nothing else.

    The variants are all combinations of one of `variants`, one of `backbones` and one value for each key of `grid`,
    as far as they are given; a value of `grid` comes last.

    Attributes:
        out: folder of everything.
        base: what all have in common; its `out` is not used. The folds it holds out give mean and spread.
        variants: by name, the keys that it changes.
        backbones: values of `model.name`.
        grid: values by key.
        budget: how long each may train.
        thresholds: how multi-label tasks are decided.
        robustness: null leaves it out.
        bootstrap: whether one is better than another.
        costs: parameters, images/s, memory.
        ensembles: rules that make one classifier of all variants, each a row beside them; fitted on held-out images of
            the other folds, and on all of them for test images.
        test: images that no variant learned from, with labels; each variant predicts them with all its folds.
    """

    out: Path = Path("runs/compare")
    base: TrainImageLevelConfig = TrainImageLevelConfig(folds="all")
    variants: dict[str, Changes] = {}  # noqa: RUF012 - pydantic copies
    backbones: tuple[str, ...] = ()
    grid: dict[str, tuple[Any, ...]] = {}  # noqa: RUF012
    budget: Budget = EpochBudget()
    thresholds: ThresholdRule = "cross_fitted"
    robustness: RobustnessConfig | None = RobustnessConfig()
    bootstrap: BootstrapConfig = BootstrapConfig()
    costs: CostConfig = CostConfig()
    ensembles: tuple[CombinationRule, ...] = ()
    test: DatasetConfig | None = None

    @pydantic.model_validator(mode="after")
    def _can_be_compared(self) -> "CompareConfig":
        changes = self.changes()
        problems = []
        if len(changes) < 2:
            problems.append("expected at least two variants; give variants, backbones or grid")
        kept = sorted({key for one in changes.values() for key in one if _is_shared(key)})
        problems += [f"{key}: is the same for all variants; set base.{key}" for key in kept if key != "loop.epochs"]
        if "loop.epochs" in kept:
            problems.append("loop.epochs: is what all variants share; set budget.kind=epochs budget.epochs=N")
        if not kept:
            for name, one in changes.items():
                problems += [f"variant {name}: {line}" for line in problems_of(self.base, one)]
        folders = Counter(folder_name(name).casefold() for name in changes)
        problems += [
            f"variants: several would be kept in the folder {name}; rename one"
            for name in folders - Counter(set(folders))
        ]
        problems += self._ensemble_problems(set(changes))
        rows = [*changes, *self.rules()]
        if self.bootstrap.baseline is not None and self.bootstrap.baseline not in rows:
            problems.append(f"bootstrap.baseline: expected one of {rows}, but got {self.bootstrap.baseline!r}")
        if problems:
            raise ValueError("; ".join(dict.fromkeys(problems)))
        return self

    def _ensemble_problems(self, variants: set[str]) -> list[str]:
        names = Counter(ensemble_name(rule) for rule in self.ensembles)
        problems = [f"ensembles: {name} is there more than once" for name, times in names.items() if times > 1]
        problems += [
            f"variants: {name} is the name of an ensemble; rename it" for name in sorted(variants & set(names))
        ]
        if any(map(needs_labels, self.ensembles)) and len(self.base.chosen_folds) < 2:
            problems.append("ensembles: rules that are fitted need two folds at least; set base.folds=all")
        return problems

    def rules(self) -> dict[str, CombinationRule]:
        """The ensembles' rules by the names of their rows."""
        return {ensemble_name(rule): rule for rule in self.ensembles}

    def changes(self) -> dict[str, Changes]:
        """What each variant changes, by its name."""
        axes: list[list[tuple[str, Changes]]] = []
        if self.variants:
            axes.append(list(self.variants.items()))
        if self.backbones:
            axes.append([(name, {"model.name": name}) for name in self.backbones])
        for key, values in self.grid.items():
            axes.append([(_label(key, value, self.grid), {key: value}) for value in values])
        found: dict[str, Changes] = {}
        for parts in itertools.product(*axes) if axes else ():
            together: Changes = {}
            for _, change in parts:
                together |= change
            found[" ".join(label for label, _ in parts)] = together
        return found

    def trainings(self) -> dict[str, TrainImageLevelConfig]:
        """Each variant's training by its name, in its own folder below `out/runs`; the budget is not applied yet."""
        return {
            name: changed(self.base, change).model_copy(update={"out": self.out / "runs" / folder_name(name)})
            for name, change in self.changes().items()
        }


def ensemble_name(rule: CombinationRule) -> str:
    """How an ensemble's row is called.

    >>> from hpa.fusion.combination_config import MeanRule
    >>> ensemble_name(MeanRule())
    'ensemble: mean'
    """
    return f"ensemble: {rule_name(rule)}"


def folder_name(name: str) -> str:
    """A variant's name as that of a folder.

    >>> folder_name("resnet18 loss={kind: focal}")
    'resnet18_loss=_kind_focal'
    """
    return re.sub(r"[^\w.=+-]+", "_", name).strip("_.") or "variant"


def _label(key: str, value: Any, grid: Mapping[str, Any]) -> str:
    """Key and value, the key as short as it can be told from the others; of a section its kind, where that tells."""
    parts = key.split(".")
    taken = [other.split(".") for other in grid if other != key]
    short = next(
        (".".join(parts[-k:]) for k in range(1, len(parts)) if all(other[-k:] != parts[-k:] for other in taken)), key
    )
    if short == "name" or short == "kind":
        short = ".".join(parts[-2:])
    kinds = [other.get("kind") if isinstance(other, dict) else None for other in grid[key]]
    is_told = isinstance(value, dict) and kinds.count(value.get("kind")) == 1 and "kind" in value
    return f"{short}={value['kind'] if is_told else as_text(value)}"


def _is_shared(key: str) -> bool:
    return any(key == one or key.startswith(f"{one}.") or one.startswith(f"{key}.") for one in SHARED)
