"""The configuration of `score_cells`."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import pydantic

from hpa.classification import CamConfig
from hpa.config import Config
from hpa.stages.data.dataset_config import DatasetConfig
from hpa.training import MachineConfig, Precision


class CopyConfig(Config):
    """Every cell has its image's probabilities: what any other method must beat."""

    kind: Literal["copy"] = "copy"


Method: TypeAlias = Annotated[CopyConfig | CamConfig, pydantic.Field(discriminator="kind")]


class ScoreCellsConfig(Config):
    """Scores of cells by an image-level run.

    Attributes:
        run: a finished image-level run.
        data: the images; `data.cache` is taken from the run.
        cells: artifact of `segment_cells` for the same images.
        out: folder of the scores.
        method: `copy` is the image's probability, `cam` that times the cell's evidence in class activation maps.
        out_of_fold: true for the images that the run was trained on: each is scored by the network that held it out.
            False for new images: by all networks, averaged.
        tta: views of an image that are averaged; None takes the run's own.
        batch_size: images of one forward pass.
        precision: of the forward passes.
        machine: workers that read images; decides speed only.
    """

    run: Path = Path("runs/demo")
    data: DatasetConfig = DatasetConfig()
    cells: Path = Path("work/demo/segment_cells")
    out: Path = Path("runs/cell_scores")
    method: Method = CamConfig()
    out_of_fold: bool = True
    tta: Literal[1, 2, 4, 8] | None = None
    batch_size: Annotated[int, pydantic.Field(ge=1)] = 32
    precision: Precision = "no"
    machine: MachineConfig = MachineConfig()
