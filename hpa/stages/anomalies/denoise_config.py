"""The configuration of `denoise`: which findings, what is done about them, and what every class keeps."""

from pathlib import Path
from typing import Any

import pydantic

from hpa.anomaly.denoising_policy import DropPolicy, LimitsConfig, Policy, needs_correction
from hpa.anomaly.label_methods import NeighbourVote
from hpa.anomaly.neighbours import AutoSearch, SearchConfig
from hpa.config import Config
from hpa.stages.data.dataset_config import DatasetConfig


class DenoiseConfig(Config):
    """Decisions about doubtful images.

    Attributes:
        data: the images with their labels.
        findings: folder of `detect_anomalies`, or its table: `<name>_score` and `is_<name>` per image.
        probabilities: to correct labels with: out-of-fold probabilities, a table or the folder of a training.
        embedding: to correct labels with: folder of an embedding whose neighbours vote, beside the probabilities or in
            their place.
        vote: how they vote; its decision plays no part here.
        group_votes: to correct labels with, beside both or in their place: the other images of an image's group vote,
            as in `Combination`.
        search: how neighbours are found.
        policy: from findings to decisions.
        limits: what every class keeps.
        examples: pictures on the page, of every kind of decision.
        out: folder of the decisions.
    """

    data: DatasetConfig = DatasetConfig()
    findings: Path = Path("work/demo/anomalies")
    probabilities: Path | None = None
    embedding: Path | None = None
    vote: NeighbourVote = NeighbourVote()
    group_votes: bool = False
    search: SearchConfig = AutoSearch()
    policy: Policy = DropPolicy()
    limits: LimitsConfig = LimitsConfig()
    examples: int = pydantic.Field(default=12, ge=0, le=100)
    out: Path = Path("work/demo/denoised")

    @pydantic.model_validator(mode="after")
    def _can_correct(self) -> "DenoiseConfig":
        given = self.probabilities is not None or self.embedding is not None or self.group_votes
        if needs_correction(self.policy) and not given:
            raise ValueError(
                "relabelling needs corrected labels; give `probabilities`, `embedding` or both, or `group_votes`"
            )
        return self

    def content(self) -> dict[str, Any]:
        """The sections that decide the decisions, for the record; how labels are corrected only where they are."""
        content: dict[str, Any] = {"policy": self.policy, "limits": self.limits, "examples": self.examples}
        if needs_correction(self.policy):
            content["group_votes"] = self.group_votes
        if needs_correction(self.policy) and self.embedding is not None:
            content |= {"vote": self.vote.model_dump(mode="json", exclude={"decision"}), "search": self.search}
        return content
