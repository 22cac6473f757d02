"""How members of an ensemble of classifiers become one: the rules, as configurations."""

from typing import Annotated, Literal, TypeAlias

import pydantic

from hpa.config import Config
from hpa.fusion.confidence import ConfidenceKind
from hpa.fusion.search import SearchConfig


class MeanRule(Config):
    """The mean of the members' scores; nothing is fitted."""

    kind: Literal["mean"] = "mean"


class ConfidenceRule(Config):
    """The mean in which a member counts, item by item, as much as it is sure of its answer; nothing is fitted.

    Attributes:
        confidence: how sure a member is; see `hpa.fusion.confidence.confidences`.
    """

    kind: Literal["confidence_weighted"] = "confidence_weighted"
    confidence: ConfidenceKind = "margin"


class RankRule(Config):
    """The mean of ranks among the items scored together, class by class; no probability, nothing is fitted."""

    kind: Literal["rank"] = "rank"


class WeightsRule(Config):
    """A weighted mean whose weights are fitted.

    Attributes:
        objective: `log_loss`: one weight per member, those under which the labels are most likely (a linear opinion
            pool); `average_precision`: weights per member and class, by a search.
        search: of `average_precision`.
    """

    kind: Literal["weights"] = "weights"
    objective: Literal["log_loss", "average_precision"] = "log_loss"
    search: SearchConfig = SearchConfig()


class StackingRule(Config):
    """Logistic regression on the members' log-odds, one per class; sums are made 1 where an item has one class.

    Wolpert, "Stacked generalization", Neural Networks 5 (1992).

    Attributes:
        features: `own`: a class is told by the members' log-odds of that class; `all`: by those of all classes, which
            learns what a member takes for what, and needs more items.
        penalty: strength of the penalty on squared coefficients; 1 / C of scikit-learn.
    """

    kind: Literal["stacking"] = "stacking"
    features: Literal["own", "all"] = "own"
    penalty: Annotated[float, pydantic.Field(gt=0)] = 1.0


CombinationRule: TypeAlias = Annotated[
    MeanRule | ConfidenceRule | RankRule | WeightsRule | StackingRule, pydantic.Field(discriminator="kind")
]
