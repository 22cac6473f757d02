"""The configuration of image-level training; without any setting it is the demo on the simulated atlas."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import pydantic

from hpa.backbones import PipWeights
from hpa.classification import (
    AugmentationConfig,
    AutomaticLoss,
    ConsistencyConfig,
    LossConfig,
    MixingConfig,
    ModelConfig,
    PlainSampler,
    Sampler,
)
from hpa.classification.early_learning import EarlyLearningConfig
from hpa.classification.sample_history import TwoPhaseConfig
from hpa.classification.selection import CoTeachingConfig
from hpa.simulation import SimulationConfig
from hpa.stages.data.dataset_config import CacheSettings, DatasetConfig, SimulatedSource
from hpa.stages.image_level.folded_training import FoldedTrainingConfig, Folds
from hpa.training import LoopConfig, MachineConfig

NoiseResistance: TypeAlias = Annotated[
    EarlyLearningConfig | CoTeachingConfig | TwoPhaseConfig, pydantic.Field(discriminator="kind")
]


class TrainImageLevelConfig(FoldedTrainingConfig):
    """Image-level training.

    Attributes:
        out: folder of the run.
        data: which images, and how they are prepared.
        model: network and first weights.
        loss: what is minimised; `auto` is BCE, or cross-entropy for single-label tasks.
        sampler: which images an epoch reads.
        augmentation: how training images are varied.
        mixing: mixup and cutmix.
        consistency: training on images whose cells are shown in part as well, for class activation maps that tell
            cells apart (`score_cells`); None is off.
        noise: how the training resists wrong labels, beside what a `loss` does; None is off.
        margins: whether the run tells, in `margins.parquet`, how each image's classes fared while it was learned from.
        margins_from: epochs, from 0, before the margins begin.
        decisions: what to learn from which image: a folder made by `denoise`, or a table like its `decisions.parquet`;
            None takes the data set's labels. Images held out are measured by the data set's labels always.
        loop: optimiser, epochs, batch size, precision.
        folds: which folds are held out, one training each; `all` for a full set of out-of-fold predictions.
        tta: views of an image that a prediction averages: 1, 2, 4 or 8 of the dihedral group.
        machine: workers and checkpoints; decides speed and safety only, so no record holds it.
    """

    out: Path = Path("runs/demo")
    data: DatasetConfig = DatasetConfig(
        source=SimulatedSource(simulation=SimulationConfig(images=1100, size=256, field=81.92)),
        cache=CacheSettings(size=160),
    )
    model: ModelConfig = ModelConfig(pretrained=PipWeights())
    loss: LossConfig = AutomaticLoss()
    sampler: Sampler = PlainSampler()
    augmentation: AugmentationConfig = AugmentationConfig()
    mixing: MixingConfig = MixingConfig()
    consistency: ConsistencyConfig | None = None
    noise: NoiseResistance | None = None
    margins: bool = False
    margins_from: Annotated[int, pydantic.Field(ge=0)] = 0
    decisions: Path | None = None
    loop: LoopConfig = LoopConfig(
        epochs=9, batch_size=32, learning_rate=2e-3, monitor="macro_ap", ema_decay=0.99, channels_last=True
    )
    folds: Folds = (0,)
    tta: Literal[1, 2, 4, 8] = 4
    machine: MachineConfig = MachineConfig()

    @pydantic.model_validator(mode="after")
    def _unmixed(self) -> "TrainImageLevelConfig":
        if self.consistency is not None and (self.mixing.mixup or self.mixing.cutmix):
            raise ValueError("consistency: cells of mixed images have no label map; set mixing.mixup=0 mixing.cutmix=0")
        return self

    @pydantic.model_validator(mode="after")
    def _remembers_images(self) -> "TrainImageLevelConfig":
        is_mixed = bool(self.mixing.mixup or self.mixing.cutmix)
        for name, is_on in (("noise", self.noise is not None), ("margins", self.margins)):
            if is_on and is_mixed:
                raise ValueError(
                    f"{name}: looks at single images, and mixed ones are none; set mixing.mixup=0 mixing.cutmix=0"
                )
        if isinstance(self.noise, CoTeachingConfig) and self.consistency is not None:
            raise ValueError("noise: co_teaching trains on whole images alone; set consistency=null")
        if self.margins and self.margins_from >= self.loop.epochs:
            raise ValueError(f"margins_from: expected less than loop.epochs={self.loop.epochs}")
        if isinstance(self.noise, TwoPhaseConfig) and self.noise.from_epoch >= self.first_epochs:
            raise ValueError(
                f"noise.from_epoch: expected less than the first training's epochs, {self.first_epochs}, "
                f"but got {self.noise.from_epoch}"
            )
        return self

    @property
    def first_epochs(self) -> int:
        """Epochs of the first of two trainings, where there are two."""
        chosen = self.noise.epochs if isinstance(self.noise, TwoPhaseConfig) else None
        return chosen or max(2, -(-self.loop.epochs // 2))

    def content(self) -> dict[str, object]:
        """The sections that decide the run's content, for its record."""
        sections: dict[str, object] = {
            name: getattr(self, name)
            for name in ("model", "loss", "sampler", "augmentation", "mixing", "loop", "folds", "tta")
        }
        if self.consistency is not None:
            # Which label maps they are is told by their fingerprint, not by where they stand.
            sections["consistency"] = self.consistency.model_dump(mode="json", exclude={"cells"})
        if self.noise is not None:
            sections["noise"] = self.noise
        if self.margins:
            sections["margins"] = {"from": self.margins_from}
        return sections
