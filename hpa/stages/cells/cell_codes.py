"""Label maps beside the cached pixels, at the same size, for trainings that show a network some cells of an image."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from hpa.arrays import Pixels
from hpa.artifacts import build, is_finished, make_record, read_record
from hpa.cache import PixelCache, write_cache
from hpa.classification.consistency import cell_codes
from hpa.classification.label_grid import shrink_label_map, square_label_map
from hpa.images import Fit
from hpa.parallel import open_executor
from hpa.segmentation import read_label_map
from hpa.stages.cells import segment_cells
from hpa.stages.cells.cells_config import CELLS, IMAGE_TABLE, label_map_path
from hpa.stages.data.dataset_config import CacheSettings, DatasetConfig
from hpa.stages.data.indexed_images import open_index
from hpa.tables import read_table

STAGE = "cache_cell_codes"
CHANNEL = "cells"


def codes_folder(cells: Path, settings: CacheSettings) -> Path:
    """Where the cache of an artifact of `segment_cells` stands: beside it."""
    return cells.with_name(f"{cells.name}-codes-{settings.size}-{settings.fit}")


def make_codes(cells: Path, config: DatasetConfig) -> Path:
    """Write the cache from label maps and an index that are there; a killed call is gone on with.

    Args:
        cells: artifact of `segment_cells`.
        config: the images, whose cache gives size and fit.

    Returns:
        A folder that `hpa.cache.PixelCache` opens: one plane, `hpa.classification.consistency.cell_codes`; its rows
        are those of the image table.

    Raises:
        ArtifactError: the label maps are missing, something else stands there, or the disk is too small.
        ValueError: an image is not segmented.
    """
    folder = codes_folder(cells, config.cache)
    indexed = open_index(config.index_folder)
    cells_print = read_record(cells, segment_cells.STAGE).fingerprint
    # Label maps have no contrast: with CLAHE and without, training reads the same codes.
    shape = config.cache.model_copy(update={"clahe": None})
    record = make_record(STAGE, {"cache": shape}, {"index": indexed.fingerprint, "cells": cells_print})
    if is_finished(folder, record):
        return folder
    image_ids = indexed.table["image_id"].tolist()
    require_segmented(cells, image_ids)
    read = _Codes(cells, config.cache.size, config.cache.fit)
    with build(folder, record) as partial, open_executor(config.workers) as executor:
        write_cache(partial, image_ids, image_ids, read, (CHANNEL,), config.cache.size, executor)
    return folder


def open_codes(cells: Path, config: DatasetConfig) -> PixelCache:
    """Open the cache that `make_codes` wrote; raises as `PixelCache.open` does."""
    return PixelCache.open(codes_folder(cells, config.cache))


def require_segmented(cells: Path, image_ids: list[str]) -> None:
    """Raise a ValueError that names some of the images that an artifact of `segment_cells` lacks."""
    segmented = set(read_table(cells / IMAGE_TABLE, ["image_id"])["image_id"])
    missing = [image_id for image_id in image_ids if image_id not in segmented]
    if missing:
        raise ValueError(
            f"{cells}: {len(missing)} of {len(image_ids)} images are not segmented, such as {missing[:3]}; run "
            "`hpa segment_cells` with the same `data`"
        )


@dataclass(frozen=True)
class _Codes:
    """Reads and shrinks one label map; picklable for worker processes."""

    cells: Path
    size: int
    fit: Fit

    def __call__(self, image_id: str) -> Pixels:
        cv2.setNumThreads(1)  # the processes share the cores already
        square = square_label_map(read_label_map(label_map_path(self.cells, CELLS, image_id)), self.fit)
        codes: Pixels = np.ascontiguousarray(cell_codes(shrink_label_map(square, self.size)))[None]
        return codes
