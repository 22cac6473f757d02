"""A finished run, opened to predict with: its networks, one per fold, and what they expect of an image."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydantic

from hpa.artifacts import read_json, read_record, write_json
from hpa.backbones import RandomWeights
from hpa.classification import ImageClassifier, ModelConfig, build_model
from hpa.classification.twin_model import build_twins
from hpa.config import Config
from hpa.images import ClaheConfig, Fit
from hpa.labels import ClassList
from hpa.stages.data.dataset_config import CacheSettings
from hpa.training import BEST, Precision, load_weights

CONTENT = "run.json"


class RunContent(Config):
    """What a run tells about itself, beside its weights.

    Attributes:
        stage: command that made it.
        classes: the class list.
        channels: names of the planes, in order.
        image_size: side of the images, pixels.
        fit: how other shapes became square.
        folds: one network each.
        batch_size: images of a training step.
        precision: of the training.
        tta: views averaged per prediction.
        model: the network.
        twins: whether two of it were trained side by side, by co-teaching.
        clahe: how the contrast was equalised before; None where it was not.
    """

    stage: str
    classes: ClassList
    channels: tuple[str, ...]
    image_size: int
    fit: Fit
    folds: tuple[int, ...]
    batch_size: int
    precision: Precision
    tta: int
    model: ModelConfig
    twins: bool = False
    clahe: ClaheConfig | None = None

    @property
    def cache(self) -> CacheSettings:
        """How pixels are prepared for the networks."""
        return CacheSettings(size=self.image_size, fit=self.fit, clahe=self.clahe)


def write_content(folder: Path, content: RunContent) -> None:
    """Write a run's description."""
    write_json(folder / CONTENT, content.model_dump(mode="json"))


@dataclass(frozen=True)
class TrainedRun:
    """A finished run.

    Attributes:
        folder: of the run.
        content: what it expects and gives.
        fingerprint: of its record.
    """

    folder: Path
    content: RunContent
    fingerprint: str

    @property
    def is_from_random_weights(self) -> bool:
        """Whether its networks began with random weights, not with ones trained on other images."""
        return self.content.model.pretrained.kind == "none"

    def networks(self) -> Iterator[ImageClassifier]:
        """The network of each fold with its best weights, one at a time, on the CPU.

        Raises:
            CheckpointError: a checkpoint is missing or damaged.
        """
        for fold in self.content.folds:
            build = build_twins if self.content.twins else build_model
            model = build(
                self.content.model.model_copy(update={"pretrained": RandomWeights()}),
                len(self.content.channels),
                self.content.classes,
                self.content.image_size,
            )
            load_weights(self.folder / f"fold{fold}" / BEST, model)
            yield model.eval()


def open_run(folder: Path, stage: str) -> TrainedRun:
    """Open a finished run.

    Raises:
        ArtifactError: no finished run of that stage there.
        ValueError: its description is damaged.
    """
    record = read_record(folder, stage)
    try:
        content = RunContent.model_validate(read_json(folder / CONTENT))
    except (OSError, pydantic.ValidationError) as error:
        raise ValueError(f"{folder / CONTENT}: does not describe a run ({type(error).__name__}); train again") from None
    return TrainedRun(folder, content, record.fingerprint)
