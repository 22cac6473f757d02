"""The configuration of `annotators`."""

from pathlib import Path
from typing import Annotated, Any

import pydantic

from hpa.config import Config
from hpa.pseudolabels.annotators import DawidSkene, SoftLabels, VoteShares
from hpa.stages.data.dataset_config import DatasetConfig

__all__ = ["AnnotatorsConfig", "DawidSkene", "VoteShares"]


class AnnotatorsConfig(Config):
    """Labels of several annotators made into soft labels and findings.

    Attributes:
        data: the images.
        columns: of the image table, one per annotator, with class names (or numbers); empty where there is no label.
        labels: how votes become soft labels.
        hard: an image is hard where the disagreement of its annotators is above this; 0 calls every image hard that
            not all agree on.
        hard_weight: of hard images in training, 0 to leave them out.
        examples: hard images that the page shows.
        out: folder of the result.
    """

    data: DatasetConfig = DatasetConfig()
    columns: tuple[str, ...] = pydantic.Field(default=("label_A", "label_B", "label_C"), min_length=2)
    labels: SoftLabels = VoteShares()
    hard: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.0
    hard_weight: Annotated[float, pydantic.Field(ge=0, le=1)] = 1.0
    examples: Annotated[int, pydantic.Field(ge=0, le=100)] = 12
    out: Path = Path("work/demo/annotators")

    def content(self) -> dict[str, Any]:
        """The sections that decide the result, for the record."""
        names = ("columns", "labels", "hard", "hard_weight", "examples")
        return {name: getattr(self, name) for name in names}
