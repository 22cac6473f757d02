"""`cache`: bring the indexed images to one size, once, for fast random access."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpa.arrays import Pixels, ResizedPixels
from hpa.artifacts import build, is_finished, make_record
from hpa.cache import cache_bytes, write_cache
from hpa.images import equalize, resize
from hpa.parallel import open_executor
from hpa.progress import say
from hpa.stages.data import index
from hpa.stages.data.dataset_config import CacheSettings, DatasetConfig
from hpa.stages.data.indexed_images import ImageReader, open_index

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
    indexed = open_index(index_folder)
    record = make_record(STAGE, {"cache": config.cache}, {"index": indexed.fingerprint})
    if is_finished(folder, record):
        say(f"{folder}: made before, nothing to do")
        return folder
    images, channels, size = indexed.table, indexed.reader.channels, config.cache.size
    needed = cache_bytes(len(images), len(channels), size)
    say(f"{folder}: {len(images)} images x {len(channels)} x {size} x {size} will take {needed / 1e9:.2f} GB of disk")
    paths = [tuple(paths) for paths in images["paths"]]
    read = _Prepared(indexed.reader, config.cache)
    with build(folder, record) as partial, open_executor(config.workers) as executor:
        write_cache(partial, images["image_id"].tolist(), paths, read, channels, size, executor)
    return folder


def prepare_pixels(pixels: Pixels, settings: CacheSettings) -> ResizedPixels:
    """An image as the cache holds it: with CLAHE where that is on, at the cache's size."""
    # Before the size changes, so that no tile is half padding.
    equal = pixels if settings.clahe is None else equalize(pixels, settings.clahe)
    return resize(equal, settings.size, settings.fit)


@dataclass(frozen=True)
class _Prepared:
    """Reads and prepares one image; picklable for worker processes."""

    reader: ImageReader
    settings: CacheSettings

    def __call__(self, paths: Sequence[str]) -> Pixels:
        return prepare_pixels(self.reader(paths), self.settings)
