"""What detectors need of the pixels, taken in one pass over a cache of images or cells, block by block."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import cv2
import numpy as np

from hpa.anomaly.duplicates import DuplicateConfig, thumbnails
from hpa.anomaly.histogram import JointHistogramConfig, joint_counts
from hpa.anomaly.measures import Measures, measure_image, stack_measures
from hpa.anomaly.quality import NearlyEmptyConfig, OutOfFocusConfig, SaturatedConfig
from hpa.anomaly.swapped import SwappedConfig
from hpa.arrays import Bool, Int64, PixelBatch, Pixels
from hpa.artifacts import atomic_write
from hpa.cache import PixelCache
from hpa.cell_cache import CellCache, split_masks
from hpa.intensity import HISTOGRAM_BINS
from hpa.parallel import WorkersConfig, map_images, open_executor
from hpa.stages.anomalies.detect_anomalies_config import AnyDetector

FOLDER = "blocks"
BLOCK = 128

Figures: TypeAlias = dict[str, np.ndarray]
"""Arrays by name, one row per image or cell."""


@runtime_checkable
class PixelSource(Protocol):
    """Where the pixels of images or cells are; picklable for worker processes."""

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the planes."""
        ...

    def __len__(self) -> int:
        """Number of images or cells."""
        ...

    def read(self, start: int, stop: int) -> tuple[PixelBatch, Bool[np.ndarray, "items height width"] | None]:
        """Pixels of rows that follow one another, and for cells which of them are the cell's own."""
        ...


@dataclass(frozen=True)
class ImagePixels:
    """The images of a cache."""

    cache: PixelCache

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the planes."""
        return self.cache.channels

    def __len__(self) -> int:
        return len(self.cache)

    def read(self, start: int, stop: int) -> tuple[PixelBatch, Bool[np.ndarray, "items height width"] | None]:
        """Copies of the pixels; no masks."""
        return np.array(self.cache.pixels[start:stop]), None


@dataclass(frozen=True)
class CellPixels:
    """Cells of a cache: of several scales, the first; neighbours are seen.

    Attributes:
        cache: where they are.
        rows: which, in order.
    """

    cache: CellCache
    rows: Int64[np.ndarray, " cells"]

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the planes."""
        return self.cache.channels

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, start: int, stop: int) -> tuple[PixelBatch, Bool[np.ndarray, "items height width"] | None]:
        """Copies of the pixels, and the cells' masks."""
        crops = self.cache.read(self.rows[start:stop])
        count = len(self.channels)
        return split_masks(crops, self.cache.scales, masked=False)[:, :count].copy(), crops[:, count] > 0


@dataclass(frozen=True)
class _Wanted:
    """Takes the figures of a block of rows; picklable.

    Attributes:
        source: the pixels.
        measures: whether sharpness, coverage and texture are wanted.
        thumbnails: whether small copies are.
        histograms: whether the channels' histograms are, of cells, inside their masks.
        joint: pairs of channels whose joint histograms are.
    """

    source: PixelSource
    measures: bool
    thumbnails: bool
    histograms: bool
    joint: tuple[tuple[str, str], ...]

    def __bool__(self) -> bool:
        return self.measures or self.thumbnails or self.histograms or bool(self.joint)

    def __call__(self, start: int) -> Figures:
        cv2.setNumThreads(1)  # the processes share the cores already
        pixels, masks = self.source.read(start, min(start + BLOCK, len(self.source)))
        found: Figures = {}
        if self.measures:
            measured = stack_measures([measure_image(image) for image in pixels])
            found |= {f"measure_{name.name}": getattr(measured, name.name) for name in fields(Measures)}
        if self.thumbnails:
            found["thumbnails"] = thumbnails(pixels)
        kept = [np.ones(image.shape[1:], bool) for image in pixels] if masks is None else list(masks)
        if self.histograms:
            found["histograms"] = np.stack(
                [_histograms(image[:, own]) for image, own in zip(pixels, kept, strict=True)]
            )
        for first, second in self.joint:
            one, other = (self.source.channels.index(name) for name in (first, second))
            counts = [joint_counts(image[one][own], image[other][own]) for image, own in zip(pixels, kept, strict=True)]
            found[joint_name(first, second)] = np.stack(counts)[:, None]
        return found


def joint_name(first: str, second: str) -> str:
    """Name of a joint histogram among the figures: (items, 1, bins²)."""
    return f"joint_{first}_{second}"


def take_figures(
    source: PixelSource, detectors: Sequence[AnyDetector], histograms: bool, folder: Path, workers: WorkersConfig
) -> Figures:
    """The figures that detectors need, going on where a killed run stopped.

    Args:
        source: the pixels.
        detectors: those that are going to run.
        histograms: whether histograms of single channels are taken here too.
        folder: takes a file per block of rows, in a folder of its own that may be removed afterwards.
        workers: where the work runs.

    Returns:
        `measure_<field>` of `Measures`, `thumbnails`, `histograms` and `joint_<channel>_<channel>`, as far as needed.

    Raises:
        ValueError: a joint histogram wants a channel that is not there, or the pixels are too few.
    """
    pairs = [detector.channels for detector in detectors if isinstance(detector, JointHistogramConfig)]
    for name in [name for pair in pairs for name in pair]:
        if name not in source.channels:
            raise ValueError(f"joint_histogram: expected channels out of {list(source.channels)}, but got {name!r}")
    measured = OutOfFocusConfig | SaturatedConfig | NearlyEmptyConfig | SwappedConfig
    wanted = _Wanted(
        source,
        measures=any(isinstance(detector, measured) for detector in detectors),
        thumbnails=any(isinstance(detector, DuplicateConfig) for detector in detectors),
        histograms=histograms,
        joint=tuple(dict.fromkeys(pairs)),
    )
    if not wanted:
        return {}
    starts = range(0, len(source), BLOCK)
    paths = {start: folder / FOLDER / f"{start:09d}.npz" for start in starts}
    todo = [start for start in starts if not paths[start].is_file()]
    with open_executor(workers if len(todo) > 1 else WorkersConfig(kind="none")) as executor:
        for start, found in map_images(
            wanted, todo, executor, "blocks measured", len(paths), len(paths) - len(todo), ahead=8
        ):
            with atomic_write(paths[start], "wb") as stream:
                arrays: Any = found
                np.savez(stream, **arrays)
    blocks = [_read(path) for path in paths.values()]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def measures_of(figures: Figures) -> Measures:
    """The measures among the figures."""
    return Measures(**{name.name: figures[f"measure_{name.name}"] for name in fields(Measures)})


def _histograms(values: Pixels | np.ndarray) -> np.ndarray:
    """Int64 (channels, HISTOGRAM_BINS) of uint8 (channels, pixels)."""
    width = 256 // HISTOGRAM_BINS
    return np.stack([np.bincount(plane // width, minlength=HISTOGRAM_BINS) for plane in values])


def _read(path: Path) -> Figures:
    with np.load(path, allow_pickle=False) as content:
        return {name: content[name] for name in content.files}
