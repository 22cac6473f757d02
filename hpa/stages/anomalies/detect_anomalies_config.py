"""The configuration of `detect_anomalies`: which detectors look at which images or cells."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import pydantic

from hpa.anomaly.combinations import RareCombinationConfig
from hpa.anomaly.combined import NAME, CombinedConfig
from hpa.anomaly.duplicates import DuplicateConfig
from hpa.anomaly.histogram import HistogramConfig, JointHistogramConfig
from hpa.anomaly.intensity import IntensityConfig
from hpa.anomaly.label_methods import (
    AreaUnderMargin,
    Cleanlab,
    Combination,
    LabelLoss,
    LabelMargin,
    LabelMethod,
    NeighbourVote,
    SelfConfidence,
)
from hpa.anomaly.neighbours import AutoSearch, SearchConfig
from hpa.anomaly.outliers import (
    ClassCentreConfig,
    IsolationForestConfig,
    LocalOutlierFactorConfig,
    MahalanobisConfig,
    NeighboursConfig,
)
from hpa.anomaly.quality import NearlyEmptyConfig, OutOfFocusConfig, SaturatedConfig
from hpa.anomaly.swapped import SwappedConfig
from hpa.config import Config
from hpa.stages.data.dataset_config import DatasetConfig

Level: TypeAlias = Literal["image", "cell"]


class InEmbedding(Config):
    """What a detector that looks at an embedding needs besides its own settings.

    Attributes:
        embedding: folder of the embedding (`values.npy`, `keys.parquet`), such as one that `hpa embed` or a training
            made; of the same images or cells.
        name: of the columns; None for the detector's kind.
    """

    embedding: Path
    name: str | None = None


class Neighbours(NeighboursConfig, InEmbedding):
    """Mean distance to the nearest neighbours in an embedding."""


class ClassCentre(ClassCentreConfig, InEmbedding):
    """Distance to the class's centre in an embedding."""


class Mahalanobis(MahalanobisConfig, InEmbedding):
    """Mahalanobis distance in an embedding."""


class LocalOutlierFactor(LocalOutlierFactorConfig, InEmbedding):
    """Local outlier factor in an embedding."""


class IsolationForest(IsolationForestConfig, InEmbedding):
    """Isolation forest on an embedding."""


class LabelDetector(Config):
    """Labels that something contradicts.

    Attributes:
        name: of the columns.
        method: how they are told.
        probabilities: out-of-fold probabilities: a table, or the folder of the training that made it.
        embedding: folder of an embedding whose neighbours vote.
        search: how neighbours are found.
        margins: table of margins, or the folder of a training with `margins=true`.
    """

    kind: Literal["label"] = "label"
    name: str = "label"
    method: LabelMethod = Combination()
    probabilities: Path | None = None
    embedding: Path | None = None
    search: SearchConfig = AutoSearch()
    margins: Path | None = None

    @pydantic.model_validator(mode="after")
    def _has_what_it_needs(self) -> "LabelDetector":
        match self.method:
            case NeighbourVote():
                needed: tuple[str, ...] = ("embedding",)
            case AreaUnderMargin():
                needed = ("margins",)
            case SelfConfidence() | LabelMargin() | LabelLoss() | Cleanlab():
                needed = ("probabilities",)
            case Combination(group_votes=votes):
                needed = () if votes or self.probabilities or self.embedding else ("probabilities",)
        missing = [name for name in needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f"the method {self.method.kind} needs `{missing[0]}`; give its path")
        return self


PixelDetector: TypeAlias = (
    IntensityConfig
    | HistogramConfig
    | JointHistogramConfig
    | OutOfFocusConfig
    | SaturatedConfig
    | NearlyEmptyConfig
    | SwappedConfig
    | DuplicateConfig
)
EmbeddingDetector: TypeAlias = Neighbours | ClassCentre | Mahalanobis | LocalOutlierFactor | IsolationForest
AnyDetector: TypeAlias = PixelDetector | EmbeddingDetector | LabelDetector | RareCombinationConfig
Detector: TypeAlias = Annotated[AnyDetector, pydantic.Field(discriminator="kind")]

PATHS = ("embedding", "probabilities", "margins")
"""Fields of detectors that say where an input is; its content goes into the record in their place."""


def detector_name(detector: AnyDetector) -> str:
    """What a detector's columns are called.

    >>> detector_name(IntensityConfig()), detector_name(OutOfFocusConfig())
    ('intensity', 'out_of_focus')
    """
    return getattr(detector, "name", None) or detector.kind


def default_detectors(level: Level, channels: Sequence[str]) -> tuple[AnyDetector, ...]:
    """Every detector that needs nothing but the pixels and fits the channels.

    >>> [detector.kind for detector in default_detectors("cell", ["grey"])]
    ['intensity', 'histogram', 'out_of_focus', 'saturated']
    """
    found: list[AnyDetector] = [IntensityConfig(), HistogramConfig()]
    if {"green", "blue"} <= set(channels):
        found.append(JointHistogramConfig())
    found += [OutOfFocusConfig(), SaturatedConfig()]
    if level == "image":
        found.append(NearlyEmptyConfig())
        found += [SwappedConfig()] if 1 < len(channels) <= 6 else []
        found.append(DuplicateConfig())
    return tuple(found)


class DetectAnomaliesConfig(Config):
    """A search for anomalies.

    Attributes:
        data: the images.
        level: whether images are judged, or their cells.
        cells: for cells: artifact of `segment_cells`.
        cells_cache: for cells: folder of `cache_cells`.
        cell_labels: for cells: table of labels, or the folder of `make_pseudo_labels`; a cell has the classes whose
            label is 0.5 or more. None gives every cell the labels of its image.
        detectors: which; None for all that need nothing but the pixels.
        combined: how they are joined into one score.
        examples: pictures per detector on the page.
        out: folder of the findings.
    """

    data: DatasetConfig = DatasetConfig()
    level: Level = "image"
    cells: Path = Path("work/demo/segment_cells")
    cells_cache: Path = Path("work/demo/cache_cells")
    cell_labels: Path | None = None
    detectors: tuple[Detector, ...] | None = None
    combined: CombinedConfig = CombinedConfig()
    examples: int = pydantic.Field(default=12, ge=0, le=100)
    out: Path = Path("work/demo/anomalies")

    @pydantic.model_validator(mode="after")
    def _fits(self) -> "DetectAnomaliesConfig":
        if self.detectors == ():
            raise ValueError("detectors: expected at least one, but got none; null takes all that need only the pixels")
        detectors = self.detectors or ()
        names = [detector_name(detector) for detector in detectors]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"expected every detector under its own name, but {repeated} repeat; give `name`")
        if NAME in names:
            raise ValueError(f"no detector may be called {NAME!r}, as all of them together are")
        whole = (NearlyEmptyConfig, SwappedConfig, DuplicateConfig)
        wrong = [detector.kind for detector in detectors if isinstance(detector, whole)]
        if self.level == "cell" and wrong:
            raise ValueError(f"{wrong} judge whole images; leave them out, or set level to image")
        methods = [detector.method for detector in detectors if isinstance(detector, LabelDetector)]
        if self.level == "cell" and any(isinstance(one, Combination) and one.group_votes for one in methods):
            raise ValueError("group_votes: cells of an image inherit its labels and would confirm them; leave it out")
        return self

    def content(self, detectors: Sequence[AnyDetector]) -> dict[str, Any]:
        """The sections that decide the findings, for the record.

        Args:
            detectors: as chosen, where the configuration leaves that open.
        """
        plain = [detector.model_dump(mode="json", exclude=set(PATHS)) for detector in detectors]
        return {"level": self.level, "detectors": plain, "combined": self.combined, "examples": self.examples}
