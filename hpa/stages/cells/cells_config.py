"""The configuration of `segment_cells`, and where its artifact keeps what it found."""

from pathlib import Path
from typing import Annotated, TypeAlias

import pydantic

from hpa.config import Config
from hpa.segmentation import (
    DpnUnetConfig,
    LabelMapsConfig,
    PostprocessingConfig,
    QualityConfig,
    UnetConfig,
    WatershedConfig,
)
from hpa.stages.data.dataset_config import DatasetConfig

Segmenter: TypeAlias = Annotated[
    WatershedConfig | DpnUnetConfig | UnetConfig | LabelMapsConfig, pydantic.Field(discriminator="kind")
]

CELLS = "cells"
NUCLEI = "nuclei"
CELL_TABLE = "cells.parquet"
IMAGE_TABLE = "images.parquet"


class SegmentCellsConfig(Config):
    """Segmentation of cells.

    Attributes:
        data: the images.
        out: folder of the label maps and the cell table.
        segmenter: how cells are found; `watershed` needs no weights.
        postprocessing: from a network's probability maps to label maps; `watershed` and `labels` have none to process.
        quality: when a cell is marked as unusual.
        examples: images that the page shows.
    """

    data: DatasetConfig = DatasetConfig()
    out: Path = Path("work/demo/segment_cells")
    segmenter: Segmenter = WatershedConfig()
    postprocessing: PostprocessingConfig = PostprocessingConfig()
    quality: QualityConfig = QualityConfig()
    examples: Annotated[int, pydantic.Field(ge=0, le=100)] = 12

    def content(self) -> dict[str, object]:
        """The sections that decide the label maps, for the record."""
        sections: dict[str, object] = {"segmenter": self.segmenter, "quality": self.quality}
        return sections | ({"postprocessing": self.postprocessing} if self.has_network else {})

    @property
    def has_network(self) -> bool:
        """Whether a network gives probability maps that are processed afterwards."""
        return isinstance(self.segmenter, DpnUnetConfig | UnetConfig)


def label_map_path(folder: Path, part: str, image_id: str) -> Path:
    """File of an image's label map; `part` is CELLS or NUCLEI."""
    return folder / part / f"{image_id}.png"
