"""`segment_cells`: label maps of cells and nuclei for every image of a data set, and a table of the cells."""

import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from hpa.arrays import Pixels
from hpa.artifacts import build, is_finished, make_record, require_space
from hpa.images import composite, write_png
from hpa.parallel import map_images, open_executor
from hpa.progress import say
from hpa.report import SegmentedExample, segmentation_report
from hpa.segmentation import (
    CellMaps,
    LabelMapsConfig,
    ProbabilityMaps,
    WatershedConfig,
    label_cells,
    measure_cells,
    read_label_map,
    read_label_maps,
    watershed,
)
from hpa.stages.cells.cells_config import CELL_TABLE, CELLS, IMAGE_TABLE, NUCLEI, SegmentCellsConfig, label_map_path
from hpa.stages.cells.segmenters import Predictor, load_predictor, segmenter_inputs
from hpa.stages.data import index
from hpa.stages.data.indexed_images import ImageReader, open_index
from hpa.tables import read_table, write_table

STAGE = "segment_cells"
ROWS = ".rows"
"""Folder of the cell tables of single images while the stage runs; an image is finished when its table is there."""

__all__ = ["SegmentCellsConfig", "run"]


def run(config: SegmentCellsConfig) -> Path:
    """Segment every image, going on where a killed run stopped; the bytes are the same either way.

    The folder holds `cells/{image_id}.png` and `nuclei/{image_id}.png` (uint16, the same numbers in both),
    `cells.parquet` (one row per cell, see `hpa.segmentation.measure_cells`), `images.parquet`
    (image_id, height, width, cells) and `segment_cells.html`.

    Returns:
        `config.out`.

    Raises:
        ArtifactError: something else stands there, or the disk is too small.
        ValueError: weights are missing, an image cannot be read any more, or a label map does not fit its image.
    """
    indexed = open_index(index.run(config.data))
    inputs = {"index": indexed.fingerprint, **segmenter_inputs(config.segmenter)}
    record = make_record(STAGE, config.content(), inputs)
    if is_finished(config.out, record):
        say(f"{config.out}: made before, nothing to do")
        return config.out
    images = indexed.table
    start = time.perf_counter()
    with build(config.out, record) as folder:
        jobs = [Job(row.image_id, tuple(row.paths)) for row in images.itertuples()]
        todo = [job for job in jobs if not _rows(folder, job.image_id).is_file()]
        # Label maps take a hundredth of their raw bytes; a fiftieth is safe.
        require_space(
            folder, int((images["width"] * images["height"]).sum() * 4 // 50), f"label maps of {len(images)} images"
        )
        for part in (CELLS, NUCLEI, ROWS):
            (folder / part).mkdir(parents=True, exist_ok=True)
        with open_executor(config.data.workers) as executor:
            for _ in segment(config, todo, indexed.reader, folder, executor, done=len(jobs) - len(todo)):
                pass
        cells = _gather(folder, images)
        _write_page(config, folder, images, cells, indexed.reader, time.perf_counter() - start)
        shutil.rmtree(folder / ROWS)
    say(f"{config.out}: {len(cells)} cells in {len(images)} images")
    return config.out


@dataclass(frozen=True)
class Job:
    """One image to segment.

    Attributes:
        image_id: names its label maps.
        paths: of its channels.
    """

    image_id: str
    paths: tuple[str, ...]


def segment(
    config: SegmentCellsConfig,
    jobs: Sequence[Job],
    reader: ImageReader,
    folder: Path,
    executor: Executor | None,
    done: int = 0,
    predictor: Predictor | None = None,
) -> Iterator[Job]:
    """Segment images and write their label maps and rows into a folder; gives each job as it is finished.

    Args:
        config: how.
        jobs: which images.
        reader: gives their pixels.
        folder: takes the files.
        executor: for all work but the network's.
        done: images finished before, for the progress bar.
        predictor: the network, where one is loaded already.
    """
    writer = Writer(config, reader, folder)
    total = len(jobs) + done
    if not jobs:
        return
    if not config.has_network:
        for job, _ in map_images(writer, jobs, executor, "segmented images", total, done):
            yield job
        return
    predictor = predictor or load_predictor(config, reader.channels)
    # Images are read ahead and label maps cut out behind the network by the same workers.
    keys = _predicted(jobs, reader, predictor, executor)
    cut = partial(writer.from_maps, pixel_size=predictor.pixel_size)
    for (job, _, _), _ in map_images(cut, keys, executor, "segmented images", total, done, ahead=8):
        yield job


def _predicted(
    jobs: Sequence[Job], reader: ImageReader, predictor: Predictor, executor: Executor | None
) -> Iterator[tuple[Job, Pixels, ProbabilityMaps]]:
    batch: list[tuple[Job, Pixels]] = []
    # total=0: the bar of finished images is shown already.
    for item in map_images(_JobReader(reader), jobs, executor, total=0, ahead=2 * predictor.batch_size):
        batch.append(item)
        if len(batch) == predictor.batch_size:
            yield from _run_network(batch, predictor)
            batch = []
    if batch:
        yield from _run_network(batch, predictor)


@dataclass(frozen=True)
class _JobReader:
    reader: ImageReader

    def __call__(self, job: Job) -> Pixels:
        return self.reader(job.paths)


def _run_network(
    batch: Sequence[tuple[Job, Pixels]], predictor: Predictor
) -> Iterator[tuple[Job, Pixels, ProbabilityMaps]]:
    found = predictor.predict([pixels for _, pixels in batch])
    for (job, pixels), maps in zip(batch, found, strict=True):
        yield job, pixels, maps


@dataclass(frozen=True)
class Writer:
    """From an image, or a network's maps of it, to its files; picklable for worker processes."""

    config: SegmentCellsConfig
    reader: ImageReader
    folder: Path

    def __call__(self, job: Job) -> None:
        """Segment without a network."""
        pixels = self.reader(job.paths)
        match self.config.segmenter:
            case WatershedConfig() as settings:
                maps = watershed(pixels, self.reader.channels, settings)
            case LabelMapsConfig() as settings:
                maps = read_label_maps(job.image_id, settings, pixels.shape[1], pixels.shape[2])
            case other:
                raise AssertionError(other)
        self.write(job, pixels, maps)

    def from_maps(self, item: tuple[Job, Pixels, ProbabilityMaps], pixel_size: float) -> None:
        """Cut a network's probability maps into cells."""
        cv2.setNumThreads(1)  # the processes share the cores already
        job, pixels, maps = item
        self.write(job, pixels, label_cells(maps, self.config.postprocessing, pixel_size))

    def write(self, job: Job, pixels: Pixels, maps: CellMaps) -> None:
        """Write the label maps and the rows of the cell table; the rows come last and say that the image is done."""
        write_png(label_map_path(self.folder, CELLS, job.image_id), maps.cells)
        write_png(label_map_path(self.folder, NUCLEI, job.image_id), maps.nuclei)
        write_table(
            _rows(self.folder, job.image_id),
            measure_cells(job.image_id, maps, pixels, self.reader.channels, self.config.quality),
        )


def _rows(folder: Path, image_id: str) -> Path:
    return folder / ROWS / f"{image_id}.parquet"


def _gather(folder: Path, images: pd.DataFrame) -> pd.DataFrame:
    """Join the rows of all images in the order of the image table."""
    parts = [read_table(_rows(folder, image_id)) for image_id in images["image_id"]]
    cells = pd.concat(parts, ignore_index=True)
    write_table(folder / CELL_TABLE, cells)
    counts = cells["image_id"].value_counts()
    table = images[["image_id", "height", "width"]].copy()
    table["cells"] = table["image_id"].map(counts).fillna(0).astype("int64")
    write_table(folder / IMAGE_TABLE, table)
    return cells


def _write_page(
    config: SegmentCellsConfig,
    folder: Path,
    images: pd.DataFrame,
    cells: pd.DataFrame,
    reader: ImageReader,
    seconds: float,
) -> None:
    table = read_table(folder / IMAGE_TABLE)
    # Spread evenly over the data set, so that no part of it goes unseen.
    chosen = np.unique(np.linspace(0, len(images) - 1, min(config.examples, len(images))).round().astype(int))
    examples = []
    for row in images.iloc[chosen].itertuples():
        pixels = reader(tuple(row.paths))
        own = cells[cells["image_id"] == row.image_id]
        flags = [name for name in own.columns if name.startswith("is_")]
        flagged = {
            int(cell.cell_id): [flag.removeprefix("is_").replace("_", " ") for flag in flags if getattr(cell, flag)]
            for cell in own.itertuples()
        }
        examples.append(
            SegmentedExample(
                row.image_id,
                composite(pixels, reader.channels),
                read_label_map(label_map_path(folder, CELLS, row.image_id)),
                read_label_map(label_map_path(folder, NUCLEI, row.image_id)),
                {cell: why for cell, why in flagged.items() if why},
            )
        )
    summary = {
        "Segmenter": config.segmenter.kind,
        "Images": str(len(images)),
        "Time": f"{seconds:.0f} s, {seconds / max(1, len(images)):.2f} s per image",
    }
    segmentation_report(folder / f"{STAGE}.html", cells, table, examples, summary)
