"""The configuration of `project`."""

import re
from pathlib import Path
from typing import Literal

import pydantic

from hpa.anomaly.projection_config import ProjectionConfig, UmapConfig
from hpa.anomaly.separation import SeparationConfig
from hpa.config import Config
from hpa.stages.data.dataset_config import DatasetConfig

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.+-]{0,59}")


class PageSettings(Config):
    """What the page and the figures show.

    Attributes:
        items: images or cells at most; of more, so many are drawn at random. The tables of coordinates hold all.
        seed: decides which.
        thumbnail: largest side of a thumbnail, pixels; null leaves thumbnails out.
        megabytes: of the page for all thumbnails together, which become smaller until they fit.
    """

    items: int = pydantic.Field(default=20_000, ge=1)
    seed: int = 0
    thumbnail: int | None = pydantic.Field(default=192, ge=8, le=512)
    megabytes: float = pydantic.Field(default=24, gt=0)


class ProjectConfig(Config):
    """Maps of one or several embeddings.

    Attributes:
        data: the images.
        level: whether the embeddings are those of images or of their cells.
        cells_cache: for cells: folder of `cache_cells`, which gives their pictures.
        cell_labels: for cells: table of labels, or the folder of `make_pseudo_labels`; a cell has the classes whose
            label is 0.5 or more. Null gives every cell the labels of its image.
        embeddings: name to folder, of `embed` or of a run (its `embeddings`); a map each, in this order. What only some
            of them hold is left out of the page and the figures.
        findings: folder of `detect_anomalies`, or a table of findings, to colour by; null for none.
        method: of the maps.
        separation: how well the embeddings tell the classes apart.
        page: what is shown.
        out: folder of the maps.
    """

    data: DatasetConfig = DatasetConfig()
    level: Literal["image", "cell"] = "image"
    cells_cache: Path = Path("work/demo/cache_cells")
    cell_labels: Path | None = None
    embeddings: dict[str, Path] = pydantic.Field(default={"embedding": Path("work/demo/embed")}, min_length=1)
    findings: Path | None = None
    method: ProjectionConfig = UmapConfig()
    separation: SeparationConfig = SeparationConfig()
    page: PageSettings = PageSettings()
    out: Path = Path("work/demo/project")

    @pydantic.field_validator("embeddings")
    @classmethod
    def _has_plain_names(cls, embeddings: dict[str, Path]) -> dict[str, Path]:
        wrong = [name for name in embeddings if not _NAME.fullmatch(name)]
        if wrong:
            raise ValueError(
                f"expected names of at most 60 letters, digits, blanks and _.+-, for files bear them, but got {wrong}"
            )
        return embeddings

    def content(self) -> dict[str, object]:
        """The sections that decide the maps and the page, for the record."""
        return {
            "level": self.level,
            "embeddings": list(self.embeddings),
            **{name: getattr(self, name) for name in ("method", "separation", "page")},
        }
