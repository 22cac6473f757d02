"""The configuration of `run_pipeline`; without any setting it is the demo on the simulated atlas."""

from pathlib import Path
from typing import Annotated, Literal

import pydantic

from hpa.backbones import PipWeights
from hpa.classification import CamConfig, ModelConfig
from hpa.classification.bag_model import BagModelConfig
from hpa.classification.cell_dataset import MaskingConfig
from hpa.config import Config
from hpa.crops import CropShape
from hpa.fusion import FusionRule
from hpa.labels import HPA2021
from hpa.pseudolabels import RuleConfig, WeightConfig
from hpa.segmentation import PostprocessingConfig, QualityConfig, WatershedConfig
from hpa.simulation import SimulationConfig
from hpa.stages.cell_level.bag_config import TrainBagsConfig
from hpa.stages.cell_level.cell_level_config import TrainCellLevelConfig
from hpa.stages.cell_level.make_pseudo_labels import RatedCellsConfig
from hpa.stages.cells.cells_config import Segmenter
from hpa.stages.data.dataset_config import CacheSettings, DatasetConfig, FoldSettings, SimulatedSource
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig
from hpa.submission import ConfidenceConfig
from hpa.training import LoopConfig

Weight = Annotated[float, pydantic.Field(ge=0)]


class TruthConfig(Config):
    """True cells of the images to predict.

    Attributes:
        label_maps: folder of label maps, named by image.
        labels: parquet table: image_id, cell_id, one column per class.
    """

    label_maps: Path
    labels: Path


class FusionSettings(Config):
    """How the scores of the steps become one.

    Attributes:
        how: rule; see `hpa.fusion.FusionConfig`.
        weights: by member: `image` (the image's probability), `cam`, `bag`, `cell` (the mean of the rounds of
            pseudo-labels). Members that are not there, or of weight 0, are left out. The fourth place of 2021 took 0.7
            cell, 0.3 image; the default was chosen on out-of-fold scores of simulated cells (benchmarks/RESULTS.md),
            whose networks begin with the image's and so know what it knows.
        class_weights: by member, then by class name, the weight in its place.
        tune: look for better weights on the out-of-fold scores of the training images, where the truth about their
            cells is known (the simulated atlas).
    """

    how: FusionRule = "arithmetic"
    weights: dict[str, Weight] = {"image": 0.05, "cam": 0.0, "bag": 0.05, "cell": 0.9}  # noqa: RUF012 - pydantic copies
    class_weights: dict[str, dict[str, Weight]] = {}  # noqa: RUF012
    tune: bool = False

    @pydantic.field_validator("weights", "class_weights")
    @classmethod
    def _known(cls, found: dict[str, object]) -> dict[str, object]:
        unknown = sorted(found.keys() - {"image", "cam", "bag", "cell"})
        if unknown:
            raise ValueError(f"expected members named image, cam, bag or cell, but got {unknown}")
        return found


class PipelineConfig(Config):
    """The whole chain, from images with labels to a submission of cells.

    Attributes:
        out: folder of everything; each step has its own in it.
        data: the images to learn from; `data.out` is set to `out/train`.
        test: the images to predict; `test.out` is set to `out/test`.
        image_level: training on whole images; its `data` and `out` are set by the pipeline, as in the other steps.
        segmenter: how cells are found.
        postprocessing: from a network's probabilities to cells.
        quality: when a cell is marked as unusual.
        cam: class activation in cells; null leaves it out.
        begin: what every training on cells begins with: `image_level`, the network of the same fold that was trained on
            whole images, which must be of the same backbone; or `pretrained`, the weights that its model names.
        crops: how cells are cut out.
        pixel_size: µm per pixel, where crops are in µm.
        bags: multiple-instance training; null leaves it out.
        rounds: of pseudo-labels, at most; fewer where the out-of-fold quality stops rising.
        rule: from evidence to pseudo-labels.
        weights: how much each cell counts.
        ratings: cells that a person graded.
        cell_level: training on cells with pseudo-labels; each round begins as `begin` says.
        supervised: train on true labels of cells too, where they are known: the upper bound.
        fusion: how the scores become one.
        confidence: from fused scores to the numbers submitted, and to those that every method is scored with.
        sample: the competition's sample submission, for IDs and sizes; null submits all test images.
        truth: of the test images' cells; null where it is unknown. The simulated atlas has its own.
        examples: images that the report shows.
    """

    out: Path = Path("runs/pipeline")
    data: DatasetConfig = DatasetConfig(
        source=SimulatedSource(simulation=SimulationConfig(images=400, size=256, field=81.92)),
        fold=FoldSettings(folds=2),
        cache=CacheSettings(size=160),
    )
    test: DatasetConfig = DatasetConfig(
        source=SimulatedSource(simulation=SimulationConfig(images=100, size=256, field=81.92, seed=1))
    )
    image_level: TrainImageLevelConfig = TrainImageLevelConfig(
        model=ModelConfig(pretrained=PipWeights()),
        folds="all",
        loop=LoopConfig(
            epochs=8, batch_size=32, learning_rate=2e-3, monitor="macro_ap", ema_decay=0.99, channels_last=True
        ),
        tta=2,
    )
    segmenter: Segmenter = WatershedConfig()
    postprocessing: PostprocessingConfig = PostprocessingConfig()
    quality: QualityConfig = QualityConfig()
    cam: CamConfig | None = CamConfig()
    begin: Literal["image_level", "pretrained"] = "image_level"
    crops: CropShape = CropShape(size=96)
    pixel_size: Annotated[float, pydantic.Field(gt=0)] | None = None
    bags: TrainBagsConfig | None = TrainBagsConfig(
        model=BagModelConfig(backbone=ModelConfig(pretrained=PipWeights())),
        cells_per_bag=8,
        masking=MaskingConfig(neighbours="kept"),
        loop=LoopConfig(
            epochs=8, batch_size=8, learning_rate=1e-3, monitor="macro_ap", ema_decay=0.99, channels_last=True
        ),
        tta=2,
    )
    rounds: Annotated[int, pydantic.Field(ge=0, le=10)] = 1
    rule: RuleConfig = RuleConfig()
    weights: WeightConfig = WeightConfig()
    ratings: RatedCellsConfig | None = None
    cell_level: TrainCellLevelConfig = TrainCellLevelConfig(masking=MaskingConfig(neighbours="kept"), tta=2)
    supervised: bool = False
    fusion: FusionSettings = FusionSettings()
    confidence: ConfidenceConfig = ConfidenceConfig()
    sample: Path | None = None
    truth: TruthConfig | None = None
    examples: Annotated[int, pydantic.Field(ge=0, le=50)] = 6

    @pydantic.model_validator(mode="after")
    def _set_by_the_pipeline(self) -> "PipelineConfig":
        sections = {"image_level": self.image_level, "bags": self.bags, "cell_level": self.cell_level}
        for name, section in sections.items():
            if section is None:
                continue
            for field in ("out", "data", "cells_cache", "labels", "init"):
                given = getattr(section, field, None)
                if field in type(section).model_fields and given != type(section).model_fields[field].get_default():
                    raise ValueError(f"{name}.{field}: is set by the pipeline; give `out`, `data` or `test` at the top")
            if section.folds != "all":
                raise ValueError(f"{name}.folds: expected `all`, as every training image needs out-of-fold scores")
        if self.begin == "image_level":
            self._require_one_network()
        if not any(weight > 0 for weight in self.fusion.weights.values()):
            raise ValueError("fusion.weights: expected a weight above 0")
        for member, weights in self.fusion.class_weights.items():
            unknown = sorted(weights.keys() - set(HPA2021.names))
            if unknown:
                raise ValueError(f"fusion.class_weights.{member}: expected names of classes, but got {unknown}")
        return self

    def _require_one_network(self) -> None:
        """Raise where the image-level networks' weights do not fit those on cells."""
        own, bags = self.image_level.model, None if self.bags is None else self.bags.model.backbone
        for name, model in (("bags.model.backbone", bags), ("cell_level.model", self.cell_level.model)):
            if model is not None and (model.name, model.pooling) != (own.name, own.pooling):
                raise ValueError(
                    f"begin: the image-level network is {own.name}, but {name} is {model.name}; give both the same "
                    "backbone and pooling, or set begin=pretrained"
                )
        if len(self.crops.scales) > 1:
            raise ValueError("begin: image-level networks see one scale, crops.scales has more; set begin=pretrained")

    @property
    def training_data(self) -> DatasetConfig:
        """The images to learn from, in the pipeline's folder."""
        return self.data.model_copy(update={"out": self.out / "train"})

    @property
    def test_data(self) -> DatasetConfig:
        """The images to predict, in the pipeline's folder."""
        return self.test.model_copy(update={"out": self.out / "test"})

    def truth_of(self, part: DatasetConfig) -> TruthConfig | None:
        """True cells of the images to learn from or to predict, where they are known."""
        if isinstance(part.source, SimulatedSource):
            folder = part.simulate_folder / "truth"
            return TruthConfig(label_maps=folder / "cell_maps", labels=folder / "cells.parquet")
        return self.truth if part == self.test_data else None
