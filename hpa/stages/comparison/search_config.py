"""The configuration of `search`: which values of a training are tried, how long, and what is searched for."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import pydantic
from pydantic import Field

from hpa.classification.sample_history import TwoPhaseConfig
from hpa.config import Config
from hpa.stages.comparison.changed_config import as_text, changed, problems_of
from hpa.stages.comparison.compare_config import Positive
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig
from hpa.training import LoopConfig


def _check_ends(low: float | int, high: float | int, log: bool) -> None:
    if low > high:
        raise ValueError(f"expected low <= high, but got {low} and {high}")
    if log and low <= 0:
        raise ValueError(f"log: expected low above 0, but got {low}")


class FloatRange(Config):
    """Numbers between two ends.

    Attributes:
        low: the least.
        high: the greatest.
        log: whether factors, not differences, are alike (learning rates).
    """

    kind: Literal["float"] = "float"
    low: float
    high: float
    log: bool = False

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> "FloatRange":
        _check_ends(self.low, self.high, self.log)
        return self

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values to check a configuration with."""
        return (self.low, self.high)


class IntRange(Config):
    """Whole numbers between two ends, both included.

    Attributes:
        low: the least.
        high: the greatest.
        log: as in `float`.
    """

    kind: Literal["int"] = "int"
    low: int
    high: int
    log: bool = False

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> "IntRange":
        _check_ends(self.low, self.high, self.log)
        return self

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values to check a configuration with."""
        return (self.low, self.high)


class Choice(Config):
    """One of some values without an order.

    Attributes:
        values: numbers, names, or whole sections (`{kind: focal, gamma: 1}`).
    """

    kind: Literal["choice"] = "choice"
    values: Annotated[tuple[Any, ...], Field(min_length=1)]

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values to check a configuration with."""
        return self.values

    @property
    def labels(self) -> dict[str, Any]:
        """The values by their notation in YAML, which is what a study stores."""
        return {as_text(value): value for value in self.values}


Range: TypeAlias = Annotated[FloatRange | IntRange | Choice, Field(discriminator="kind")]


class MedianPruning(Config):
    """A trial ends when, after an epoch, it is worse than half of the earlier ones were then.

    Attributes:
        first_trials: trials that run to their end before any is cut short.
        first_epochs: epochs that every trial may run.
    """

    kind: Literal["median"] = "median"
    first_trials: Annotated[int, Field(ge=0)] = 5
    first_epochs: Annotated[int, Field(ge=0)] = 1


class NoPruning(Config):
    """Every trial runs to its end."""

    kind: Literal["none"] = "none"


Pruning: TypeAlias = Annotated[MedianPruning | NoPruning, Field(discriminator="kind")]


class SearchConfig(Config):
    """A search for the best values of a training.

    Attributes:
        out: folder of the study; several processes on one machine may work on one study.
        base: what all trials have in common; its `out` is not used. `loop.monitor` and `loop.mode` say what is
            searched for: the mean over the folds of each fold's best epoch. With several folds, pruning looks at the
            first.
        space: by dotted key of the training's configuration, which values are tried.
        trials: how many, of all processes together; those cut short count, those of killed processes do not.
        hours: of training, of all processes together, after which no trial begins; None for no such end.
        pruning: when a trial is cut short.
        sampler: `tpe`, the tree-structured Parzen estimator (Bergstra et al. 2011), or `random`.
        first_random: trials before `tpe` looks at earlier ones.
        seed: of the sampler.
    """

    out: Path = Path("runs/search")
    base: TrainImageLevelConfig = TrainImageLevelConfig()
    space: Annotated[dict[str, Range], Field(min_length=1)] = {  # noqa: RUF012 - pydantic copies
        "loop.learning_rate": FloatRange(low=1e-4, high=1e-2, log=True),
        "loop.weight_decay": FloatRange(low=1e-4, high=1e-1, log=True),
        "model.dropout": FloatRange(low=0.0, high=0.5),
    }
    trials: Positive = 20
    hours: Annotated[float, Field(gt=0)] | None = None
    pruning: Pruning = MedianPruning()
    sampler: Literal["tpe", "random"] = "tpe"
    first_random: Annotated[int, Field(ge=1)] = 8
    seed: Annotated[int, Field(ge=0)] = 0

    @pydantic.model_validator(mode="after")
    def _can_be_searched(self) -> "SearchConfig":
        problems = []
        if self.base.loop.monitor is None:
            problems.append("base.loop.monitor: expected the metric to search for, such as macro_ap")
        for key, values in self.space.items():
            if key in FIXED or key.split(".")[0] in ("out", "data", "folds", "machine", "margins", "margins_from"):
                problems.append(f"space.{key}: is the same for all trials; set base.{key}")
                continue
            found = [f"space.{key}: {line}" for value in values.ends for line in problems_of(self.base, {key: value})]
            problems += found
            if not found and any(_trains_twice(changed(self.base, {key: value})) for value in values.ends):
                problems.append("noise: two_phase trains twice, and a trial once; choose another kind")
        if problems:
            raise ValueError("; ".join(dict.fromkeys(problems)))
        return self

    @property
    def loop(self) -> LoopConfig:
        """The base's loop, whose metric and epochs all trials have."""
        return self.base.loop


FIXED = ("loop.epochs", "loop.monitor", "loop.mode", "loop.patience")
"""What makes trials comparable, epoch by epoch."""


def _trains_twice(training: TrainImageLevelConfig) -> bool:
    return isinstance(training.noise, TwoPhaseConfig)
