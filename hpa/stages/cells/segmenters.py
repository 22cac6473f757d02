"""Segmenters opened from their configuration: networks ready to predict, and fingerprints of what they come from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpa.arrays import Pixels
from hpa.artifacts import file_digest, fingerprint, read_record
from hpa.segmentation import (
    TRAIN_SEGMENTATION,
    DpnUnetConfig,
    DpnUnetSegmenter,
    LabelMapsConfig,
    ProbabilityMaps,
    UnetConfig,
    WatershedConfig,
    obtain_weights,
    open_unet,
)
from hpa.stages.cells.cells_config import SegmentCellsConfig, Segmenter

NETWORK_PIXEL = 0.32
"""µm: hpacellseg's networks see images of 0.08 µm per pixel at scale 0.25."""


@dataclass(frozen=True)
class Predictor:
    """A network that is loaded.

    Attributes:
        predict: from images to their probability maps.
        batch_size: images that it takes at once.
        pixel_size: µm per pixel of the images.
    """

    predict: Callable[[Sequence[Pixels]], list[ProbabilityMaps]]
    batch_size: int
    pixel_size: float


def load_predictor(config: SegmentCellsConfig, channels: Sequence[str]) -> Predictor:
    """Load the network of a segmenter that has one.

    Args:
        config: `config.has_network` is true.
        channels: of the images.

    Raises:
        ArtifactError: a training is missing.
        ValueError: weights are missing or damaged, or the images lack a channel.
    """
    match config.segmenter:
        case DpnUnetConfig() as settings:
            network = DpnUnetSegmenter.load(settings, channels)
            return Predictor(network.predict, settings.batch_size, NETWORK_PIXEL * settings.scale)
        case UnetConfig() as settings:
            trained = open_unet(settings)
            return Predictor(lambda images: trained.predict(images, channels), settings.batch_size, settings.pixel_size)
        case other:
            raise AssertionError(other)


def segmenter_inputs(segmenter: Segmenter) -> dict[str, str]:
    """Fingerprints of the weights, training or label maps that a segmenter reads.

    Raises:
        ArtifactError: a training is missing.
        ValueError: weights are missing; says where they are published and where to put them.
    """
    match segmenter:
        case WatershedConfig():
            return {}
        case DpnUnetConfig() as settings:
            files = settings.weight_files()
            obtain_weights(files)
            return {file.network: file_digest(file.path) for file in files}
        case UnetConfig(run=run):
            return {"unet": read_record(run, TRAIN_SEGMENTATION).fingerprint}
        case LabelMapsConfig() as settings:
            folders = {"cells": settings.cells, "nuclei": settings.nuclei}
            return {f"label maps of {name}": _listing(folder) for name, folder in folders.items() if folder is not None}


def _listing(folder: Path) -> str:
    """Of the names and sizes of a folder's files."""
    if not folder.is_dir():
        raise ValueError(f"segmenter: expected a folder of label maps at {folder}, but there is none")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return fingerprint([[path.name, path.stat().st_size] for path in files])
