"""What training does about doubtful images, as configurations: policies, and limits on what a class may lose."""

from typing import Annotated, Literal, TypeAlias

import pydantic

from hpa.config import Config

Action: TypeAlias = Literal["keep", "drop", "weight", "relabel"]
Share: TypeAlias = Annotated[float, pydantic.Field(ge=0, le=1)]
Names: TypeAlias = Annotated[tuple[str, ...], pydantic.Field(min_length=1)]


class DropPolicy(Config):
    """Images that any of the detectors flags are not learned from.

    Attributes:
        detectors: names of findings.
    """

    kind: Literal["drop"] = "drop"
    detectors: Names = ("combined",)


class WeightPolicy(Config):
    """Doubtful images count less, the worse their score the less; flags play no part.

    Attributes:
        detector: name of a finding.
        doubt: how a score becomes a doubt. `rank`: from 0 to 1 within the worst `share` of the images; `log_odds`: the
            probability whose log-odds the score is, for label methods that weigh evidence.
        share: part of the images that lose weight, for `rank`.
        least: weight where the doubt is 1.
    """

    kind: Literal["weight"] = "weight"
    detector: str = "combined"
    doubt: Literal["rank", "log_odds"] = "rank"
    share: float = pydantic.Field(default=0.3, gt=0, le=1)
    least: Share = 0.0


class RelabelPolicy(Config):
    """Images that any of the detectors flags are learned with corrected labels.

    Attributes:
        detectors: names of findings.
        everywhere: correct the labels of all images, flagged or not; those that nothing contradicts hardly change.
        strength: part of the correction in the mix with the given label.
        hard: corrected labels of 0 and 1 instead of their probabilities; then `strength` is how far the given go.
    """

    kind: Literal["relabel"] = "relabel"
    detectors: Names = ("combined",)
    everywhere: bool = False
    strength: float = pydantic.Field(default=1.0, gt=0, le=1)
    hard: bool = False


class Rule(Config):
    """What is done about the images that one detector flags.

    Attributes:
        detector: name of a finding.
        action: `relabel` takes the corrected labels.
        weight: of the images, for `weight` and `relabel`.
    """

    detector: str
    action: Literal["drop", "weight", "relabel"]
    weight: float | None = pydantic.Field(default=None, gt=0, le=1)

    @property
    def counts(self) -> float:
        """Weight of an image that the rule applies to: as given, else 0.5 for `weight` and 1 for `relabel`."""
        if self.action == "drop":
            return 0.0
        return self.weight if self.weight is not None else 0.5 if self.action == "weight" else 1.0

    @pydantic.model_validator(mode="after")
    def _no_weight_of_nothing(self) -> "Rule":
        if self.action == "drop" and self.weight is not None:
            raise ValueError("a rule that drops images takes no weight; use the action weight, or leave it out")
        return self


class RulesPolicy(Config):
    """A rule for each detector: bad images dropped and doubted labels corrected, say.

    Attributes:
        rules: in order; the first whose detector flags an image decides about it.
    """

    kind: Literal["rules"] = "rules"
    rules: Annotated[tuple[Rule, ...], pydantic.Field(min_length=1)]


Policy: TypeAlias = Annotated[
    DropPolicy | WeightPolicy | RelabelPolicy | RulesPolicy, pydantic.Field(discriminator="kind")
]


class LimitsConfig(Config):
    """What every class keeps, whatever the policy says; counted in images times weight times label.

    Attributes:
        share: at most this part of the images given a class may be lost to it.
        least: so many are kept, or all where the class has no more.
    """

    share: Share = 0.5
    least: int = pydantic.Field(default=20, ge=0)


def needs_correction(policy: Policy) -> bool:
    """Whether the policy takes corrected labels."""
    match policy:
        case RelabelPolicy():
            return True
        case RulesPolicy(rules=rules):
            return any(rule.action == "relabel" for rule in rules)
        case _:
            return False
