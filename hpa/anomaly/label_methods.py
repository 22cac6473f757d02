"""How labels that look wrong are found: every method as a configuration."""

from typing import Annotated, Literal, TypeAlias

import pydantic

from hpa.anomaly.confident_learning import QualityMethod
from hpa.anomaly.findings import Decision, ShareDecision, ValueDecision
from hpa.anomaly.label_votes import VoteWeighting
from hpa.config import Config


class SelfConfidence(Config):
    """One minus the probability of the given label; with several classes of the least likely class, present or absent.

    Attributes:
        decision: what is flagged.
    """

    kind: Literal["self_confidence"] = "self_confidence"
    decision: Decision = ShareDecision(share=0.1)


class LabelMargin(Config):
    """The most likely class that is not given, less the least likely one that is.

    Attributes:
        adjusted: less every class's mean probability where it is given, so that rare classes, whose probabilities are
            low throughout, do not stand out (the adjustment of confident learning).
        decision: what is flagged.
    """

    kind: Literal["label_margin"] = "label_margin"
    adjusted: bool = True
    decision: Decision = ShareDecision(share=0.1)


class LabelLoss(Config):
    """Cross-entropy of the probabilities, mean over the classes where there may be several.

    Attributes:
        relative: less the loss of predicting every class's share: how much worse the label fits this image than any
            other, which keeps images with several or rare classes from standing out.
        decision: what is flagged.
    """

    kind: Literal["label_loss"] = "label_loss"
    relative: bool = True
    decision: Decision = ShareDecision(share=0.1)


class Cleanlab(Config):
    """cleanlab's label quality as the score and its filter as the decision; with its defaults (extra `anomaly`).

    Attributes:
        quality: its name of the score.
        decision: what is flagged; None for the filter's own answer.
    """

    kind: Literal["cleanlab"] = "cleanlab"
    quality: QualityMethod = "self_confidence"
    decision: Decision | None = None


class NeighbourVote(Config):
    """Neighbours in an embedding have other labels: `weigh_evidence` of their votes.

    Attributes:
        neighbours: that vote.
        weighting: `distance` lets nearer ones count more.
        other_groups: whether neighbours of the image's own group do not vote; where errors are those of a whole group,
            such as an antibody, its images confirm each other's.
        decision: what is flagged; the score is the logarithm of the odds that the label is wrong.
    """

    kind: Literal["neighbour_vote"] = "neighbour_vote"
    neighbours: int = pydantic.Field(default=30, ge=1)
    weighting: VoteWeighting = "uniform"
    other_groups: bool = False
    decision: Decision = ValueDecision(threshold=0.0)


class AreaUnderMargin(Config):
    """Minus the area under the margin: labels that the network never came to believe while it learned from them.

    Attributes:
        decision: what is flagged; above 0 the training stood, on average, on another class's side.
    """

    kind: Literal["area_under_margin"] = "area_under_margin"
    decision: Decision = ShareDecision(share=0.1)


class Combination(Config):
    """Everything there is: probabilities and votes of neighbours by `weigh_evidence`, then the area under the margin.

    Attributes:
        neighbours: that vote, where an embedding is given.
        weighting: as in `NeighbourVote`.
        other_groups: as in `NeighbourVote`.
        group_votes: whether the other images of an image's group vote too, where all images of an antibody or a slide
            are to bear the same labels; how far they are trusted is estimated. Not for cells, which inherit labels.
        margin_weight: of the area under the margin, where margins are given, as a part of the whole.
        decision: what is flagged; the score is the logarithm of the odds that the label is wrong.
    """

    kind: Literal["combination"] = "combination"
    neighbours: int = pydantic.Field(default=30, ge=1)
    weighting: VoteWeighting = "uniform"
    other_groups: bool = False
    group_votes: bool = False
    margin_weight: float = pydantic.Field(default=0.2, ge=0, lt=1)
    decision: Decision = ValueDecision(threshold=0.0)


LabelMethod: TypeAlias = Annotated[
    SelfConfidence | LabelMargin | LabelLoss | Cleanlab | NeighbourVote | AreaUnderMargin | Combination,
    pydantic.Field(discriminator="kind"),
]
