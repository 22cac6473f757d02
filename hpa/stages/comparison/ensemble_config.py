"""The configuration of `ensemble`, and what it keeps of a fit to apply it to new images."""

from pathlib import Path
from typing import Annotated, Any

import pydantic

from hpa.config import Config
from hpa.evaluation.threshold_moving import Objective
from hpa.fusion.combination import Combination
from hpa.fusion.combination_config import (
    CombinationRule,
    ConfidenceRule,
    MeanRule,
    RankRule,
    StackingRule,
    WeightsRule,
)
from hpa.stages.data.dataset_config import DatasetConfig

USUAL: tuple[CombinationRule, ...] = (
    MeanRule(),
    ConfidenceRule(confidence="margin"),
    ConfidenceRule(confidence="entropy"),
    RankRule(),
    WeightsRule(),
    StackingRule(),
)
"""The rules that the table compares, unless it is told others."""


class EnsembleMember(Config):
    """One member of an ensemble.

    Attributes:
        name: of the member, in tables.
        paths: tables of probabilities, or folders that hold one: of `train_image_level`, `predict`, `ensemble`; the
            probabilities of several are averaged, as for one network trained with several seeds.
    """

    name: str = pydantic.Field(min_length=1)
    paths: tuple[Path, ...] = pydantic.Field(min_length=1)


class EnsembleConfig(Config):
    """An ensemble of classifiers of images.

    Attributes:
        members: at least one; their networks may have other inputs, sizes and folds, but the same classes.
        rule: how they become one.
        compared: rules that the table compares, apart from what is saved.
        data: the images, with labels to fit and to measure; only the index that stands in `data.out` is read.
        fitted: folder of an earlier `ensemble` with members of the same names, whose rules and thresholds are applied
            here: fit on out-of-fold probabilities, then apply to predictions of new images. None fits.
        common: whether images that not all members have predicted are left out; otherwise they are an error.
        folds: across which rules and thresholds are fitted to be measured, where the members' tables do not agree on
            folds of their own; images of a group share one.
        seed: of those folds, and of the intervals.
        moving: single-label tasks: factors per class that raise this figure before the highest probability is taken;
            None takes the highest as it is. Tasks with several classes per image always get tuned thresholds.
        rounds: of the bootstrap that the intervals are from.
        out: folder of the result.
    """

    members: tuple[EnsembleMember, ...] = pydantic.Field(min_length=1)
    rule: CombinationRule = MeanRule()
    compared: tuple[CombinationRule, ...] = USUAL
    data: DatasetConfig = DatasetConfig()
    fitted: Path | None = None
    common: bool = False
    folds: Annotated[int, pydantic.Field(ge=2)] = 5
    seed: Annotated[int, pydantic.Field(ge=0)] = 0
    moving: Objective | None = None
    rounds: Annotated[int, pydantic.Field(ge=1)] = 1000
    out: Path = Path("runs/ensemble")

    @pydantic.field_validator("members")
    @classmethod
    def _names_differ(cls, members: tuple[EnsembleMember, ...]) -> tuple[EnsembleMember, ...]:
        names = [member.name for member in members]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"expected every member's name once, but {repeated} repeat")
        taken = sorted({rule_name(rule) for rule in USUAL} & set(names))
        if taken:
            raise ValueError(f"expected names of members that are not those of rules, but got {taken}")
        return members

    def content(self) -> dict[str, Any]:
        """The sections that decide the result, for the record; tables count by their bytes."""
        sections: dict[str, Any] = {
            "members": [member.name for member in self.members],
            **{name: getattr(self, name) for name in ("common", "seed", "rounds")},
        }
        if self.fitted is not None:
            return sections
        compared = [rule.model_dump(mode="json") for rule in self.compared]
        return sections | {"rule": self.rule, "compared": compared, "folds": self.folds, "moving": self.moving}


class FittedEnsemble(Config):
    """Rules and thresholds fitted to labelled images, ready for JSON.

    Attributes:
        members: names, in order.
        chosen: name of the rule that makes the ensemble.
        rules: by name, the chosen one among them.
        without: the chosen rule without a member, by the name of that member.
        thresholds: per class, tuned on the ensemble's probabilities, for tasks with several classes per image.
        factors: per class, for single-label tasks with moved thresholds.
    """

    members: tuple[str, ...]
    chosen: str
    rules: dict[str, Combination]
    without: dict[str, Combination]
    thresholds: tuple[float, ...] | None = None
    factors: tuple[float, ...] | None = None


def rule_name(rule: CombinationRule) -> str:
    """How a rule is called in tables.

    >>> rule_name(ConfidenceRule(confidence="margin")), rule_name(RankRule())
    ('confidence (margin)', 'rank')
    """
    match rule:
        case MeanRule() | RankRule():
            return rule.kind
        case ConfidenceRule(confidence=confidence):
            return f"confidence ({confidence})"
        case WeightsRule(objective=objective):
            return f"weights ({objective})"
        case StackingRule(features=features):
            return f"stacking ({features})"
