"""`cache_cells`: cut the segmented cells of a data set out of their images, once, for fast random access."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pydantic

from hpa.artifacts import ArtifactError, build, is_finished, make_record, read_record
from hpa.cache import cache_bytes
from hpa.cell_cache import write_cell_cache
from hpa.config import Config
from hpa.crops import CropBatch, CropConfig, CropShape, crop_cells
from hpa.parallel import open_executor
from hpa.progress import say
from hpa.segmentation import read_label_map
from hpa.stages.cells import segment_cells
from hpa.stages.cells.cells_config import CELL_TABLE, CELLS, NUCLEI, label_map_path
from hpa.stages.data import index
from hpa.stages.data.dataset_config import DatasetConfig
from hpa.stages.data.indexed_images import ImageReader, open_index
from hpa.tables import CELL_KEY, read_table

STAGE = "cache_cells"


class CacheCellsConfig(Config):
    """A cache of cells.

    Attributes:
        data: the images; `data.workers` says where they are cut.
        cells: folder made by `segment_cells` of the same images.
        crops: which squares are cut out around a cell. Neighbours are kept and a mask is stored beside them, so that
            it is decided later whether they are seen.
        pixel_size: µm of one pixel of the images, 0.08 in the 2021 competition; needed where a square is in µm.
        out: folder of the cache.
    """

    data: DatasetConfig = DatasetConfig()
    cells: Path = Path("work/demo/segment_cells")
    crops: CropShape = CropShape()
    pixel_size: Annotated[float, pydantic.Field(gt=0)] | None = None
    out: Path = Path("work/demo/cache_cells")

    @pydantic.model_validator(mode="after")
    def _has_pixel_size(self) -> "CacheCellsConfig":
        if self.crops.needs_pixel_size and self.pixel_size is None:
            raise ValueError(
                "pixel_size: a scale of crops in µm needs the images' pixel size in µm (0.08 in the 2021 competition); "
                "give it, or set the scale's unit to pixels"
            )
        return self

    def content(self) -> dict[str, object]:
        """The sections that decide the pixels, for the record."""
        sections: dict[str, object] = {"crops": self.crops}
        return sections | ({"pixel_size": self.pixel_size} if self.crops.needs_pixel_size else {})


def run(config: CacheCellsConfig) -> Path:
    """Cut every cell of the cell table, going on where a killed run stopped; the bytes are the same either way.

    The folder is one that `hpa.cell_cache.CellCache` opens; its rows are those of the cell table, in the order of the
    image table.

    Returns:
        `config.out`.

    Raises:
        ArtifactError: the cells are missing or those of other images, something else stands in the folder, or the disk
            is too small.
        ValueError: an image or a label map has changed since the cells were segmented.
    """
    indexed = open_index(index.run(config.data))
    found = read_record(config.cells, segment_cells.STAGE)
    if found.inputs.get("index") != indexed.fingerprint:
        raise ArtifactError(
            f"{config.cells}: its cells are not those of the images in {config.data.index_folder}; give the folder "
            f"that `hpa {segment_cells.STAGE}` made from the same data section"
        )
    record = make_record(STAGE, config.content(), {"index": indexed.fingerprint, "cells": found.fingerprint})
    if is_finished(config.out, record):
        say(f"{config.out}: made before, nothing to do")
        return config.out
    table = read_table(config.cells / CELL_TABLE, CELL_KEY)
    numbers = {image_id: own.tolist() for image_id, own in table.groupby("image_id")["cell_id"]}
    cells = {image_id: numbers.get(image_id, []) for image_id in indexed.table["image_id"]}
    jobs = [Job(row.image_id, tuple(row.paths), tuple(cells[row.image_id])) for row in indexed.table.itertuples()]
    channels, scales, size = indexed.reader.channels, len(config.crops.scales), config.crops.size
    planes = scales * (len(channels) + 1)
    needed = cache_bytes(len(table), planes, size)
    say(f"{config.out}: {len(table)} cells x {planes} x {size} x {size} will take {needed / 1e9:.2f} GB of disk")
    crops = CropConfig(scales=config.crops.scales, size=size, neighbours="separate")
    cutter = Cutter(indexed.reader, config.cells, crops, config.pixel_size)
    with build(config.out, record) as folder, open_executor(config.data.workers) as executor:
        write_cell_cache(folder, cells, jobs, cutter, channels, scales, size, executor)
    say(f"{config.out}: {len(table)} cells of {len(indexed.table)} images")
    return config.out


@dataclass(frozen=True)
class Job:
    """One image whose cells are cut out.

    Attributes:
        image_id: names its label maps.
        paths: of its channels.
        cell_ids: its cells, in order.
    """

    image_id: str
    paths: tuple[str, ...]
    cell_ids: tuple[int, ...]


@dataclass(frozen=True)
class Cutter:
    """Cuts the cells of one image; picklable for worker processes."""

    reader: ImageReader
    cells: Path
    crops: CropConfig
    pixel_size: float | None

    def __call__(self, job: Job) -> CropBatch:
        """The crops with their masks.

        Raises:
            ValueError: the image or its label maps are not as they were; names them.
        """
        pixels = self.reader(job.paths)
        cell_map = read_label_map(label_map_path(self.cells, CELLS, job.image_id))
        nuclei = None
        if self.crops.needs_nuclei:
            nuclei = read_label_map(label_map_path(self.cells, NUCLEI, job.image_id))
        try:
            crops: CropBatch = crop_cells(pixels, cell_map, self.crops, job.cell_ids, nuclei, self.pixel_size)
        except ValueError as error:
            raise ValueError(
                f"{label_map_path(self.cells, CELLS, job.image_id)}: {error}; the file has changed since the cells "
                f"were segmented: remove {self.cells} and run `hpa {segment_cells.STAGE}` again"
            ) from None
        return crops
