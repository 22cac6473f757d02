"""The configuration of training on cells."""

from pathlib import Path
from typing import Literal

from hpa.backbones import PipWeights
from hpa.classification import (
    AugmentationConfig,
    AutomaticLoss,
    LossConfig,
    MixingConfig,
    ModelConfig,
    PlainSampler,
    Sampler,
)
from hpa.classification.cell_dataset import MaskingConfig
from hpa.stages.image_level.folded_training import FoldedTrainingConfig
from hpa.training import LoopConfig, MachineConfig

CELL_LABELS = "cell_labels.parquet"
CELL_SCORES = "cell_scores.parquet"


class TrainCellLevelConfig(FoldedTrainingConfig):
    """Training on cells.

    Attributes:
        out: folder of the run.
        data: the images that the cells are of; their folds are the cells'.
        cells_cache: folder made by `cache_cells`.
        labels: parquet table with image_id, cell_id, one column per class in [0, 1] and perhaps `weight` (1 where the
            column is missing), a row for every cell of the cache; or a folder with `cell_labels.parquet`. Cells of
            weight 0 are predicted and not learned from. With true labels this is the supervised variant.
        init: a finished run of `train_cell_level` or `train_image_level` with the same network, channels, classes and
            folds, whose weights training begins with, those of fold k for fold k; None for `model.pretrained`.
        model: network and first weights.
        loss: what is minimised; soft labels are learned as they are.
        sampler: which cells an epoch reads.
        augmentation: how training cells are varied.
        masking: whether a cell's neighbours are seen.
        mixing: mixup and cutmix.
        loop: optimiser, epochs, batch size, precision.
        folds: which folds are held out, one training each; `all` for a full set of out-of-fold scores.
        tta: views of a cell that a prediction averages: 1, 2, 4 or 8 of the dihedral group.
        machine: workers and checkpoints; decides speed and safety only, so no record holds it.
    """

    out: Path = Path("runs/cell_level")
    cells_cache: Path = Path("work/demo/cache_cells")
    labels: Path = Path("work/demo/pseudo_labels") / CELL_LABELS
    init: Path | None = None
    model: ModelConfig = ModelConfig(pretrained=PipWeights())
    loss: LossConfig = AutomaticLoss()
    sampler: Sampler = PlainSampler()
    augmentation: AugmentationConfig = AugmentationConfig()
    masking: MaskingConfig = MaskingConfig()
    mixing: MixingConfig = MixingConfig()
    loop: LoopConfig = LoopConfig(
        epochs=6, batch_size=64, learning_rate=2e-3, monitor="macro_ap", ema_decay=0.99, channels_last=True
    )
    tta: Literal[1, 2, 4, 8] = 4
    machine: MachineConfig = MachineConfig()

    @property
    def labels_file(self) -> Path:
        """The table of labels."""
        return self.labels / CELL_LABELS if self.labels.is_dir() else self.labels

    def content(self) -> dict[str, object]:
        """The sections that decide the run's content, for its record."""
        names = ("model", "loss", "sampler", "augmentation", "masking", "mixing", "loop", "folds", "tta")
        return {name: getattr(self, name) for name in names}
