"""The configuration of `train_segmentation`."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import pydantic

from hpa.backbones import PipWeights
from hpa.config import Config
from hpa.parallel import WorkersConfig
from hpa.segmentation import (
    FolderPairsConfig,
    PostprocessingConfig,
    Target,
    UnetLossConfig,
    UnetModelConfig,
    UnetSamplesConfig,
)
from hpa.simulation import SimulationConfig
from hpa.training import LoopConfig, MachineConfig


class SimulatedPairsConfig(Config):
    """Simulated images with the truth about their cells and nuclei; nothing is needed.

    Attributes:
        kind: `simulated`.
        simulation: what is drawn; by default at the resolution at which the network works, 0.32 µm a pixel.
    """

    kind: Literal["simulated"] = "simulated"
    simulation: SimulationConfig = SimulationConfig(images=300, size=512, field=163.84)


PairsSource: TypeAlias = Annotated[SimulatedPairsConfig | FolderPairsConfig, pydantic.Field(discriminator="kind")]


class TrainSegmentationConfig(Config):
    """Training of a U-Net.

    Attributes:
        out: folder of the run.
        source: images with label maps.
        targets: what the network learns to find; None for all that the source has.
        validation: share of the images that is held out, at least one image.
        samples: channels, resolution, size and variation of what the network sees.
        model: encoder, its first weights, decoder.
        loss: what is minimised.
        parts: samples of each image in an epoch.
        loop: optimiser, epochs, batch size, precision.
        postprocessing: from probabilities to cells, for the figures and pictures of the report.
        examples: images that the report shows.
        machine: workers and checkpoints; decides speed and safety only.
        workers: where images are prepared; decides speed only.
    """

    out: Path = Path("runs/unet")
    source: PairsSource = SimulatedPairsConfig()
    targets: tuple[Target, ...] | None = None
    validation: Annotated[float, pydantic.Field(gt=0, lt=1)] = 0.15
    samples: UnetSamplesConfig = UnetSamplesConfig()
    model: UnetModelConfig = UnetModelConfig(pretrained=PipWeights())
    loss: UnetLossConfig = UnetLossConfig()
    parts: Annotated[int, pydantic.Field(ge=1)] = 2
    loop: LoopConfig = LoopConfig(
        epochs=12, batch_size=16, learning_rate=2e-3, monitor="iou", ema_decay=0.99, channels_last=True
    )
    postprocessing: PostprocessingConfig = PostprocessingConfig()
    examples: Annotated[int, pydantic.Field(ge=0, le=50)] = 8
    machine: MachineConfig = MachineConfig()
    workers: WorkersConfig = WorkersConfig()
