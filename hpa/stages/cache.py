"""`cache`: bring the indexed images to one size, once, for fast random access."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2

from hpa.arrays import Pixels
from hpa.artifacts import build, is_finished, make_record, read_json, read_record
from hpa.cache import cache_bytes, write_cache
from hpa.images import BitDepth, Fit, ImageError, read_image, resize
from hpa.parallel import open_executor
from hpa.progress import say
from hpa.stages import index
from hpa.stages.dataset_config import DatasetConfig
from hpa.tables import IMAGE_COLUMNS, read_table

STAGE = "cache"


def run(config: DatasetConfig) -> Path:
    """Write the cache of pixels, indexing the images first where that is missing; a killed run is gone on with.

    The folder is one that `hpa.cache.PixelCache` opens; its rows are those of the image table.

    Returns:
        The folder.

    Raises:
        ArtifactError: something else stands there, or the disk is too small.
        ValueError: an image has changed since it was indexed.
    """
    index.run(config)
    return make(config)


def make(config: DatasetConfig) -> Path:
    """Write the cache as `run` does, from an index that is there; raises as `run` does."""
    folder, index_folder = config.cache_folder, config.index_folder
    record = make_record(STAGE, {"cache": config.cache}, {"index": read_record(index_folder, index.STAGE).fingerprint})
    if is_finished(folder, record):
        say(f"{folder}: made before, nothing to do")
        return folder
    images = read_table(index_folder / index.IMAGES, IMAGE_COLUMNS)
    content = read_json(index_folder / index.CONTENT)
    channels, size = tuple(content["channels"]), config.cache.size
    needed = cache_bytes(len(images), len(channels), size)
    say(f"{folder}: {len(images)} images x {len(channels)} x {size} x {size} will take {needed / 1e9:.2f} GB of disk")
    paths = [tuple(paths) for paths in images["paths"]]
    read = _Reader(channels, content["bit_depth"], size, config.cache.fit)
    with build(folder, record) as partial, open_executor(config.workers) as executor:
        write_cache(partial, images["image_id"].tolist(), paths, read, channels, size, executor)
    return folder


@dataclass(frozen=True)
class _Reader:
    """Reads and resizes one image; picklable for worker processes."""

    channels: tuple[str, ...]
    bit_depth: BitDepth
    size: int
    fit: Fit

    def __call__(self, paths: Sequence[str]) -> Pixels:
        cv2.setNumThreads(1)  # the processes share the cores already
        try:
            return resize(read_image(paths, self.channels, self.bit_depth), self.size, self.fit)
        except ImageError as error:
            raise ValueError(f"{error}; it was fine when it was indexed: restore it, or remove the index") from None
