"""The configuration of a fusion: its members, their weights, and the rule."""

from pathlib import Path
from typing import Annotated, Literal

import pydantic

from hpa.config import Config

Level = Literal["image", "cell", "cam"]
EnsembleRule = Literal["mean", "confidence_weighted", "rank"]
FusionRule = Literal["arithmetic", "geometric", "product"]

_Weight = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]


class MemberConfig(Config):
    """Scores of one kind, from one run or from several.

    Attributes:
        name: of the member, in tables of weights.
        level: `image` scores belong to images and are given to all their cells; `cell` and `cam` to single cells.
        paths: a table of scores per run, or a folder that holds one; the runs become one by `ensemble`.
        ensemble: how several runs become one: their `mean`; `confidence_weighted`, runs that are sure of some class of
            an item count more; `rank`, the mean of their ranks.
        weight: of the member, for every class.
        class_weights: by class name, the weight in its place (4th place, 2021: image 0.3 and cell 0.7, but image 0 for
            Mitotic spindle and Negative; .5315 to .5436).
    """

    name: str = pydantic.Field(min_length=1)
    level: Level = "cell"
    paths: tuple[Path, ...] = pydantic.Field(min_length=1)
    ensemble: EnsembleRule = "mean"
    weight: _Weight = 1.0
    class_weights: dict[str, _Weight] = pydantic.Field(default={})


class FusionConfig(Config):
    """What is fused, and how.

    Rules for Negative and for cells at the border belong to the submission, `hpa.submission.ConfidenceConfig`: they
    come after the fusion and read what it gives.

    Attributes:
        members: kinds of scores, at least one.
        how: with weights w, of sum W for a class: `arithmetic`, sum(w p) / W; `geometric`, prod(p ** (w / W));
            `product`, prod(p ** w), the plain product where all weights are 1 (3rd place, 2021: CAM in the cell x
            probability of the image).
    """

    members: tuple[MemberConfig, ...] = pydantic.Field(min_length=1)
    how: FusionRule = "arithmetic"

    @pydantic.field_validator("members")
    @classmethod
    def _names_differ(cls, members: tuple[MemberConfig, ...]) -> tuple[MemberConfig, ...]:
        names = [member.name for member in members]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"expected every member's name once, but {repeated} repeat")
        return members
