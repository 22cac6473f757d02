"""What every training in folds is told about its images: which data set, and which of its folds are held out."""

from typing import Annotated, Literal, TypeAlias

import pydantic

from hpa.config import Config
from hpa.stages.data.dataset_config import DatasetConfig

Folds: TypeAlias = Literal["all"] | Annotated[tuple[int, ...], pydantic.Field(min_length=1)]


class FoldedTrainingConfig(Config):
    """A training that holds folds out, one after another.

    Attributes:
        data: the images with their folds.
        folds: which folds are held out, one training each; `all` for a full set of out-of-fold predictions.
    """

    data: DatasetConfig = DatasetConfig()
    folds: Folds = "all"

    @pydantic.model_validator(mode="after")
    def _folds_exist(self) -> "FoldedTrainingConfig":
        wrong = [fold for fold in self.chosen_folds if not 0 <= fold < self.data.fold.folds]
        if wrong:
            raise ValueError(f"folds: expected numbers from 0 to {self.data.fold.folds - 1}, but got {wrong}")
        return self

    @property
    def chosen_folds(self) -> tuple[int, ...]:
        """Numbers of the folds to hold out, each once, in order."""
        return tuple(range(self.data.fold.folds)) if self.folds == "all" else tuple(sorted(set(self.folds)))
