"""The configuration of `train_bags`."""

from pathlib import Path
from typing import Annotated, Literal

import pydantic

from hpa.backbones import PipWeights
from hpa.classification import (
    AugmentationConfig,
    AutomaticLoss,
    BagModelConfig,
    LossConfig,
    ModelConfig,
    PlainSampler,
    Sampler,
)
from hpa.classification.cell_dataset import MaskingConfig
from hpa.stages.image_level.folded_training import FoldedTrainingConfig
from hpa.training import LoopConfig, MachineConfig


class TrainBagsConfig(FoldedTrainingConfig):
    """Multiple-instance training: the labels of images, learned from bags of their cells.

    Attributes:
        out: folder of the run.
        data: which images, with their labels and folds; their pixels are shown in the report alone.
        cells_cache: artifact of `cache_cells` on the same images.
        init: a finished run of `train_image_level` or `train_cell_level` with the same backbone, channels, classes and
            folds, whose weights training begins with, both heads included, those of fold k for fold k; None for
            `model.backbone.pretrained`.
        model: backbone, pooling, and the weights of the two heads.
        cells_per_bag: most cells of an image that a training step sees; images with fewer show all. An epoch costs as
            much as images × this many cells.
        loss: of the image head, and of the cell head against the image's labels.
        sampler: which images an epoch reads.
        augmentation: how each cell is varied, by itself.
        masking: whether a cell's neighbours are shown.
        loop: optimiser, epochs, bags of a batch, precision.
        folds: which folds are held out, one training each; `all` for a full set of out-of-fold scores.
        tta: views of a cell that a prediction averages: 1, 2, 4 or 8 of the dihedral group.
        machine: workers and checkpoints; decides speed and safety only, so no record holds it.
    """

    out: Path = Path("runs/bags")
    cells_cache: Path = Path("work/demo/cache_cells")
    init: Path | None = None
    model: BagModelConfig = BagModelConfig(backbone=ModelConfig(pretrained=PipWeights()))
    cells_per_bag: Annotated[int, pydantic.Field(ge=1, le=256)] = 12
    loss: LossConfig = AutomaticLoss()
    sampler: Sampler = PlainSampler()
    augmentation: AugmentationConfig = AugmentationConfig()
    masking: MaskingConfig = MaskingConfig()
    loop: LoopConfig = LoopConfig(
        epochs=10, batch_size=8, learning_rate=1e-3, monitor="macro_ap", ema_decay=0.99, channels_last=True
    )
    tta: Literal[1, 2, 4, 8] = 4
    machine: MachineConfig = MachineConfig()

    def content(self) -> dict[str, object]:
        """The sections that decide the run's content, for its record."""
        names = ("model", "cells_per_bag", "loss", "sampler", "augmentation", "masking", "loop", "folds", "tta")
        return {name: getattr(self, name) for name in names}
