"""The configuration of image-level training; without any setting it is the demo on the simulated atlas."""

from pathlib import Path
from typing import Literal

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
from hpa.simulation import SimulationConfig
from hpa.stages.dataset_config import CacheSettings, DatasetConfig, SimulatedSource
from hpa.stages.folded_training import FoldedTrainingConfig, Folds
from hpa.training import LoopConfig, MachineConfig


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

    def content(self) -> dict[str, object]:
        """The sections that decide the run's content, for its record."""
        sections: dict[str, object] = {
            name: getattr(self, name)
            for name in ("model", "loss", "sampler", "augmentation", "mixing", "loop", "folds", "tta")
        }
        if self.consistency is not None:
            # Which label maps they are is told by their fingerprint, not by where they stand.
            sections["consistency"] = self.consistency.model_dump(mode="json", exclude={"cells"})
        return sections
