"""A finished training on cells, opened to predict with: its networks and what they expect of a cell.

`train_cell_level` and `train_bags` both leave such a run; whoever predicts cells need not know which.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml

from hpa.artifacts import RECORD, ArtifactError, read_json, read_record, write_json, write_text
from hpa.backbones import RandomWeights
from hpa.cell_cache import CellCache
from hpa.classification import BagModelConfig, ImageClassifier, ModelConfig, build_bag_model, build_model
from hpa.classification.cell_dataset import MaskingConfig
from hpa.config import Config
from hpa.labels import ClassList
from hpa.stages.cell_level.bag_config import TrainBagsConfig
from hpa.stages.cell_level.cell_level_config import TrainCellLevelConfig
from hpa.training import BEST, Precision, load_weights

CONTENT, CONFIG = "run.json", "config.yaml"
CellStage = Literal["train_cell_level", "train_bags"]


class CellRunContent(Config):
    """What a training on cells tells about itself, beside its weights.

    Attributes:
        stage: command that made it.
        classes: the class list.
        channels: names of the planes of one scale, in order.
        scales: squares of a cell, stacked.
        size: side of the cells, pixels.
        crops: how the cells were cut out: the section `crops` of the cell cache's record.
        masking: what was done to a cell's neighbours.
        folds: one network each, in `fold<k>/best.safetensors`.
        batch_size: cells, or bags, of a training step.
        precision: of the training.
        tta: views averaged per prediction.
        model: the network; that of `train_bags` has an image head beside the cell head.
    """

    stage: CellStage
    classes: ClassList
    channels: tuple[str, ...]
    scales: int
    size: int
    crops: dict[str, Any]
    masking: MaskingConfig
    folds: tuple[int, ...]
    batch_size: int
    precision: Precision
    tta: int
    model: ModelConfig | BagModelConfig

    @pydantic.model_validator(mode="after")
    def _fits(self) -> "CellRunContent":
        if isinstance(self.model, BagModelConfig) != (self.stage == "train_bags"):
            raise ValueError(f"model: {type(self.model).__name__} is not what {self.stage} trains")
        return self

    @property
    def planes(self) -> int:
        """Input channels of the network: those of all scales."""
        return self.scales * len(self.channels)


@dataclass(frozen=True)
class CellRun:
    """A finished training on cells.

    Attributes:
        folder: of the run.
        content: what it expects and gives.
        fingerprint: of its record.
    """

    folder: Path
    content: CellRunContent
    fingerprint: str

    @property
    def stage(self) -> CellStage:
        """Command that made it."""
        return self.content.stage

    @property
    def classes(self) -> ClassList:
        """The class list."""
        return self.content.classes

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the planes of one scale."""
        return self.content.channels

    @property
    def scales(self) -> int:
        """Squares of a cell, stacked."""
        return self.content.scales

    @property
    def size(self) -> int:
        """Side of the cells, pixels."""
        return self.content.size

    @property
    def masking(self) -> MaskingConfig:
        """What was done to a cell's neighbours in training."""
        return self.content.masking

    @property
    def folds(self) -> tuple[int, ...]:
        """One network each."""
        return self.content.folds

    def networks(self) -> Iterator[ImageClassifier]:
        """The network of each fold with its best weights, one at a time, on the CPU, in evaluation mode.

        It maps uint8 cells (batch, scales x channels, size, size) to logits; `probabilities(logits)` makes them
        confidences. That of a bag model joins both of its heads (`BagModel.cell_classifier`).

        Raises:
            CheckpointError: a checkpoint is damaged or of another network.
            FileNotFoundError: a checkpoint is missing.
        """
        content = self.content
        for fold in content.folds:
            weights = self.folder / f"fold{fold}" / BEST
            match content.model:
                case BagModelConfig(backbone=backbone) as settings:
                    settings = settings.model_copy(update={"backbone": _blank(backbone)})
                    bags = build_bag_model(settings, content.planes, content.classes, content.size)
                    load_weights(weights, bags)
                    yield bags.cell_classifier().eval()
                case ModelConfig() as settings:
                    model = build_model(_blank(settings), content.planes, content.classes, content.size)
                    load_weights(weights, model)
                    yield model.eval()

    def require_alike(self, cells: CellCache) -> None:
        """Refuse cells that were cut out in another way than those that the networks learned from.

        Raises:
            ArtifactError: the cache's folder is no finished artifact of `hpa cache_cells`.
            ValueError: channels, scales, size or settings of the crops differ; says which.
        """
        crops = read_record(cells.folder, "cache_cells").config.get("crops", {})
        found = {"channels": list(cells.channels), "scales": cells.scales, "size": cells.size, **_named(crops)}
        expected = {
            "channels": list(self.channels),
            "scales": self.scales,
            "size": self.size,
            **_named(self.content.crops),
        }
        differing = [name for name in expected.keys() | found.keys() if found.get(name) != expected.get(name)]
        if differing:
            shown = "; ".join(
                f"{name}: {expected.get(name)} there, {found.get(name)} here" for name in sorted(differing)
            )
            raise ValueError(
                f"{cells.folder}: its cells are not cut out as those that {self.folder} learned from ({shown}); "
                "make a cell cache with the run's settings"
            )


def open_cell_run(folder: Path) -> CellRun:
    """Open a finished run of `train_cell_level` or `train_bags`.

    Raises:
        ArtifactError: no finished run on cells there.
        ValueError: its description is damaged.
    """
    if not (folder / RECORD).is_file():
        raise ArtifactError(
            f"{folder}: no finished training on cells; `hpa train_cell_level` or `hpa train_bags` makes it"
        )
    try:
        content = CellRunContent.model_validate(read_json(folder / CONTENT))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{folder / CONTENT}: does not describe a training on cells ({type(error).__name__}); give a run of "
            "`hpa train_cell_level` or `hpa train_bags`, or train again"
        ) from None
    return CellRun(folder, content, read_record(folder, content.stage).fingerprint)


def write_description(
    folder: Path,
    stage: CellStage,
    config: TrainBagsConfig | TrainCellLevelConfig,
    classes: ClassList,
    cache: CellCache,
    crops: dict[str, Any],
) -> None:
    """Write what `open_cell_run` needs beside the weights, and the configuration to read or to run again.

    Args:
        folder: of the run.
        stage: the training.
        config: its configuration.
        classes: the class list.
        cache: cells that it learns from.
        crops: how they were cut out.
    """
    write_text(folder / CONFIG, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
    content = CellRunContent(
        stage=stage,
        classes=classes,
        channels=cache.channels,
        scales=cache.scales,
        size=cache.size,
        crops=crops,
        masking=config.masking,
        folds=config.chosen_folds,
        batch_size=config.loop.batch_size,
        precision=config.loop.precision,
        tta=config.tta,
        model=config.model,
    )
    write_content(folder, content)


def write_content(folder: Path, content: CellRunContent) -> None:
    """Write a run's description, from which `open_cell_run` opens it."""
    write_json(folder / CONTENT, content.model_dump(mode="json"))


def _blank(model: ModelConfig) -> ModelConfig:
    """The network without its first weights, which are replaced anyway and may not be to be had here."""
    return model.model_copy(update={"pretrained": RandomWeights()})


def _named(crops: dict[str, Any]) -> dict[str, Any]:
    return {f"crops.{name}": value for name, value in crops.items()}
