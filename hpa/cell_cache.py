"""Crops of a data set's cells at one size, in one file for fast random access."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import pandas as pd

from hpa.arrays import Int64, Integer, UInt8
from hpa.artifacts import read_json
from hpa.cache import CONTENT, PIXELS, finish_cache, write_rows
from hpa.crops import CropBatch
from hpa.tables import CELL_KEY, read_table, write_table

K = TypeVar("K")

KEYS = "keys.parquet"
_MOST_AHEAD = 256 * 2**20  # bytes of crops that wait to be written
_CACHED = ("pixels", "keys", "rows_by_image", "_index", "_file")


@dataclass(frozen=True)
class CellCache:
    """Crops of one size, read-only; picklable and cheap to send to workers, which open the same file.

    A row holds, per scale, the channels with the neighbours kept and then a mask: 255 in the cell, 0 elsewhere. So it
    is decided when a row is read whether a crop shows the neighbours (`split_masks`).

    Attributes:
        folder: holds `pixels.npy`, `keys.parquet` and `content.json`.
        channels: names of the planes of one scale, without the mask.
        scales: squares per cell.
    """

    folder: Path
    channels: tuple[str, ...]
    scales: int

    @classmethod
    def open(cls, folder: Path) -> "CellCache":
        """Open a finished cache.

        Raises:
            ValueError: not there, or the files do not belong together.
        """
        try:
            content = read_json(folder / CONTENT)
            cache = cls(folder, tuple(content["channels"]), int(content["scales"]))
            found = (len(cache.keys), cache.scales * (len(cache.channels) + 1))
            pixels = np.load(folder / PIXELS, mmap_mode=cache._mode, allow_pickle=False)
        except (OSError, EOFError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{folder}: is not a cache of cells ({error}); `hpa cache_cells` makes it") from None
        shape = pixels.shape
        if pixels.dtype != np.uint8 or len(shape) != 4 or shape[:2] != found or shape[2] != shape[3]:
            raise ValueError(
                f"{folder}: {PIXELS} of shape {shape} does not fit {KEYS} and {CONTENT}; remove the folder"
            )
        return cache

    @cached_property
    def pixels(self) -> CropBatch:
        """Memory-mapped uint8 (cells, scales × (channels + 1), size, size).

        What is read through the map counts as this process's memory until the system takes it back; `read` does not.
        """
        pixels: CropBatch = np.load(self.folder / PIXELS, mmap_mode=self._mode, allow_pickle=False)
        return pixels

    @cached_property
    def keys(self) -> pd.DataFrame:
        """image_id and cell_id of every row; the cells of an image follow one another."""
        return read_table(self.folder / KEYS, CELL_KEY)[list(CELL_KEY)]

    @cached_property
    def rows_by_image(self) -> dict[str, Int64[np.ndarray, " cells"]]:
        """Rows of each image's cells, in the order of the rows; images without cells are not in it."""
        images = self.keys["image_id"].to_numpy()
        if not len(images):
            return {}
        starts = np.flatnonzero(np.concatenate([[True], images[1:] != images[:-1]]))
        parts = np.split(np.arange(len(images)), starts[1:])
        return {str(images[start]): part for start, part in zip(starts, parts, strict=True)}

    @property
    def size(self) -> int:
        """Side of the crops, in pixels."""
        return int(self.pixels.shape[-1])

    @property
    def planes(self) -> int:
        """Planes of a crop without its masks: scales × channels."""
        return self.scales * len(self.channels)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getstate__(self) -> dict[str, object]:
        # A pickled memory map would be a copy of all pixels, and the keys of all cells are megabytes.
        return {key: value for key, value in self.__dict__.items() if key not in _CACHED}

    def rows(self, keys: pd.DataFrame) -> Int64[np.ndarray, " cells"]:
        """Row of each cell.

        Args:
            keys: a table with image_id and cell_id.

        Raises:
            ValueError: a cell is not in the cache.
        """
        wanted = pd.MultiIndex.from_frame(keys[list(CELL_KEY)])
        rows = self._index.get_indexer(wanted)
        if (rows < 0).any():
            missing = wanted[rows < 0]
            raise ValueError(f"{self.folder}: {len(missing)} cells are not in the cache, such as {list(missing[:3])}")
        return np.asarray(rows, np.int64)

    def read(self, rows: Integer[np.ndarray, " cells"]) -> CropBatch:
        """Copies of rows, in the order asked for, repeats allowed: (cells, scales × (channels + 1), size, size).

        Rows that follow one another in the file are read at once. Memory does not grow with what was read before.

        Raises:
            ValueError: no such row.
            OSError: the file is shorter than it was.
        """
        rows = np.asarray(rows, np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise ValueError(f"expected rows from 0 to {len(self) - 1}, but got {rows.min()} to {rows.max()}")
        crops = np.empty((len(rows), *self.pixels.shape[1:]), np.uint8)
        ends = np.append(np.flatnonzero(np.diff(rows) != 1) + 1, len(rows))
        start = 0
        for end in ends.tolist():
            if end > start:
                self._fill(crops[start:end], int(rows[start]))
            start = end
        return crops

    def _fill(self, crops: CropBatch, row: int) -> None:
        view = crops.reshape(-1).data
        position = self._file.header + row * (crops.nbytes // len(crops))
        while view:
            count = os.preadv(self._file.number, [view], position)
            if count == 0:
                raise OSError(f"{self.folder / PIXELS}: ends before row {row}; make the cache again")
            view, position = view[count:], position + count

    @property
    def _mode(self) -> Literal["r"] | None:
        """How `pixels.npy` is opened: what has no bytes cannot be mapped."""
        return "r" if len(self.keys) else None

    @cached_property
    def _file(self) -> "_OpenFile":
        assert isinstance(self.pixels, np.memmap)
        return _OpenFile(self.folder / PIXELS, self.pixels.offset)

    @cached_property
    def _index(self) -> pd.MultiIndex:
        return pd.MultiIndex.from_frame(self.keys)


class _OpenFile:
    """A file descriptor that is closed with its owner; forked workers may share it, for reads name their position."""

    def __init__(self, path: Path, header: int) -> None:
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.header = header

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


def split_masks(crops: CropBatch, scales: int, masked: bool) -> UInt8[np.ndarray, "cells channels size size"]:
    """Rows of a cache without their mask planes.

    Args:
        crops: (cells, scales × (channels + 1), size, size), as `CellCache.read` gives them.
        scales: squares per cell.
        masked: whether pixels outside the cell become 0.

    Returns:
        (cells, scales × channels, size, size), a copy.

    >>> crops = np.array([5, 6, 7, 8, 255, 0, 0, 255], np.uint8).reshape(1, 2, 2, 2)
    >>> split_masks(crops, scales=1, masked=True).ravel().tolist()
    [5, 0, 0, 8]
    """
    cells, planes, *sides = crops.shape
    parts = crops.reshape(cells, scales, planes // scales, *sides)
    images, masks = parts[:, :, :-1], parts[:, :, -1:]
    found = np.bitwise_and(images, masks) if masked else images.copy()
    return found.reshape(cells, planes - scales, *sides)


def write_cell_cache(
    folder: Path,
    cells: Mapping[str, Sequence[int]],
    keys: Sequence[K],
    read: Callable[[K], CropBatch],
    channels: Sequence[str],
    scales: int,
    size: int,
    executor: Executor | None = None,
) -> None:
    """Write a cache; called again on the same folder after a kill, it goes on with the images that are missing.

    Args:
        folder: an existing folder.
        cells: the cells of each image, in the order of the rows; an image may have none.
        keys: what `read` takes for each image, such as the paths of its files.
        read: uint8 (cells, scales × (channels + 1), size, size) of a key, as `hpa.crops.crop_cells` gives them with
            masks; picklable when the executor runs processes. It is not called for images without cells.
        channels: names of the planes of one scale.
        scales: squares per cell.
        size: side of the crops, pixels.
        executor: None reads in this process. This process alone writes.

    Raises:
        ArtifactError: the disk is too small; nothing was written.
        OSError: the folder cannot be written.
        ValueError: a cell repeats, or `read` gave another shape.
    """
    if len(keys) != len(cells):
        raise ValueError(f"expected a key for each of {len(cells)} images, but got {len(keys)}")
    for image_id, cell_ids in cells.items():
        if len(set(cell_ids)) != len(cell_ids):
            raise ValueError(f"expected every cell of {image_id} once, but one repeats")
    counts = [len(cell_ids) for cell_ids in cells.values()]
    shape = (scales * (len(channels) + 1), size, size)
    largest = max(counts, default=0) * int(np.prod(shape))
    ahead = int(np.clip(_MOST_AHEAD // max(1, largest), 8, 64))
    write_rows(folder, keys, read, shape, counts, executor, "images cut into cells", ahead)
    numbers = np.concatenate([np.zeros(0, np.int64), *(np.asarray(ids, np.int64) for ids in cells.values())])
    image_ids = np.repeat(np.array(list(cells), dtype=object), counts)
    table = pd.DataFrame({"image_id": pd.Series(image_ids, dtype="str"), "cell_id": numbers})
    write_table(folder / KEYS, table)
    finish_cache(folder, {"channels": list(channels), "scales": scales})
