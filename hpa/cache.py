"""Pixels of a data set at one size, in one file for fast random access."""

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import pandas as pd
from numpy.lib import format as npy

from hpa.arrays import Int64, PixelBatch, Pixels, UInt8
from hpa.artifacts import read_json, require_space, write_json
from hpa.parallel import map_images

K = TypeVar("K")

PIXELS = "pixels.npy"
CONTENT = "content.json"
_DONE = "done.bin"
_SECONDS_BETWEEN_SYNCS = 5.0


@dataclass(frozen=True)
class PixelCache:
    """Images of one size, read-only; picklable and cheap to send to workers, which map the same file.

    Attributes:
        folder: holds `pixels.npy` and `content.json`.
        image_ids: in the order of the rows.
        channels: names, in the order of the planes.
    """

    folder: Path
    image_ids: list[str]
    channels: tuple[str, ...]

    @classmethod
    def open(cls, folder: Path) -> "PixelCache":
        """Open a finished cache.

        Raises:
            ValueError: not there, or the files do not belong together.
        """
        try:
            content = read_json(folder / CONTENT)
            cache = cls(folder, list(content["image_ids"]), tuple(content["channels"]))
            shape = cache.pixels.shape
        except (OSError, KeyError, TypeError) as error:
            raise ValueError(f"{folder}: is not a cache of pixels ({error}); `hpa cache` makes it") from None
        if cache.pixels.dtype != np.uint8 or shape[:2] != (len(cache.image_ids), len(cache.channels)):
            raise ValueError(f"{folder}: {PIXELS} of shape {shape} does not fit {CONTENT}; remove the folder")
        return cache

    @cached_property
    def pixels(self) -> PixelBatch:
        """Memory-mapped uint8 (images, channels, size, size)."""
        pixels: PixelBatch = np.load(self.folder / PIXELS, mmap_mode="r", allow_pickle=False)
        return pixels

    @property
    def size(self) -> int:
        """Side of the images, in pixels."""
        return int(self.pixels.shape[-1])

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getstate__(self) -> dict[str, object]:
        # A pickled memory map would be a copy of all pixels.
        return {key: value for key, value in self.__dict__.items() if key != "pixels"}

    def rows(self, image_ids: Sequence[str]) -> Int64[np.ndarray, " images"]:
        """Row of each image.

        Raises:
            ValueError: an image is not in the cache.
        """
        rows = pd.Index(self.image_ids).get_indexer(pd.Index(list(image_ids), dtype=object))
        if (rows < 0).any():
            missing = [image_id for image_id, row in zip(image_ids, rows, strict=True) if row < 0]
            raise ValueError(f"{self.folder}: {len(missing)} images are not in the cache, such as {missing[:3]}")
        return np.asarray(rows, np.int64)


@dataclass(frozen=True)
class _ReadKey(Generic[K]):
    """Passes a job's key on and leaves its number; picklable when `read` is."""

    read: Callable[[K], UInt8[np.ndarray, "..."]]

    def __call__(self, job: tuple[int, K]) -> UInt8[np.ndarray, "..."]:
        return self.read(job[1])


def cache_bytes(images: int, channels: int, size: int) -> int:
    """Disk use of a cache, in bytes.

    >>> cache_bytes(1000, 4, 512) / 1e9
    1.048576128
    """
    return images * channels * size * size + npy.ARRAY_ALIGN * 2


def write_cache(
    folder: Path,
    image_ids: Sequence[str],
    keys: Sequence[K],
    read: Callable[[K], Pixels],
    channels: Sequence[str],
    size: int,
    executor: Executor | None = None,
) -> None:
    """Write a cache; called again on the same folder after a kill, it goes on with the images that are missing.

    Args:
        folder: an existing folder.
        image_ids: in the order of the rows.
        keys: what `read` takes for each row, such as the paths of its files.
        read: uint8 (channels, size, size) of a key; picklable when the executor runs processes.
        channels: names of the planes.
        size: side of the images, in pixels.
        executor: None reads in this process. This process alone writes.

    Raises:
        ArtifactError: the disk is too small; nothing was written.
        OSError: the folder cannot be written.
        ValueError: `read` gave another shape.
    """
    write_rows(folder, keys, read, (len(channels), size, size), executor=executor)
    finish_cache(folder, {"image_ids": list(image_ids), "channels": list(channels)})


def write_rows(
    folder: Path,
    keys: Sequence[K],
    read: Callable[[K], UInt8[np.ndarray, "..."]],
    shape: tuple[int, int, int],
    counts: Sequence[int] | None = None,
    executor: Executor | None = None,
    label: str = "cached images",
    ahead: int = 64,
) -> None:
    """Write the pixels of a cache; called again on the same folder after a kill, it goes on with what is missing.

    Args:
        folder: an existing folder.
        keys: what `read` takes, one after the other.
        read: uint8 pixels of a key: of `shape`, or (count, *shape) where counts are given; picklable when the executor
            runs processes.
        shape: of one row of the cache: planes, size, size.
        counts: rows of each key, at least 0; None for one each.
        executor: None reads in this process. This process alone writes.
        label: what the progress bar says.
        ahead: keys that are read and not yet written at the same time.

    Raises:
        ArtifactError: the disk is too small; nothing was written.
        OSError: the folder cannot be written.
        ValueError: `read` gave another shape.
    """
    sizes = np.ones(len(keys), np.int64) if counts is None else np.asarray(counts, np.int64)
    firsts = np.cumsum(sizes) - sizes
    row_bytes = int(np.prod(shape))
    with (
        _open(folder / PIXELS, (int(sizes.sum()), *shape)) as (pixels, offset),
        _open_flags(folder / _DONE, len(keys)) as flags,
    ):
        done = np.frombuffer(os.pread(flags, len(keys), 0), np.uint8)
        missing = np.flatnonzero((done == 0) & (sizes > 0)).tolist()
        written: list[int] = []
        synced = time.monotonic()
        # Plain writes, not a memory map: a full disk is then an error instead of a signal that kills the process, and
        # the pages do not count as this process's memory.
        jobs = ((number, keys[number]) for number in missing)
        results = map_images(_ReadKey(read), jobs, executor, label, len(keys), len(keys) - len(missing), ahead)
        try:
            for (number, _), found in results:
                expected = shape if counts is None else (int(sizes[number]), *shape)
                if found.shape != expected or found.dtype != np.uint8:
                    raise ValueError(f"expected uint8 pixels of shape {expected}, but got {found.dtype} {found.shape}")
                _write_all(pixels, np.ascontiguousarray(found).tobytes(), offset + int(firsts[number]) * row_bytes)
                written.append(number)
                if time.monotonic() - synced > _SECONDS_BETWEEN_SYNCS:
                    _mark(pixels, flags, written)
                    synced = time.monotonic()
        finally:
            _mark(pixels, flags, written)


def finish_cache(folder: Path, content: Mapping[str, object]) -> None:
    """Write what the rows of `write_rows` are; only then is it a cache."""
    write_json(folder / CONTENT, dict(content))
    (folder / _DONE).unlink()


def _mark(pixels: int, flags: int, written: list[int]) -> None:
    """Note keys as done, once their pixels are on the disk for certain."""
    os.fsync(pixels)
    for number in written:
        os.pwrite(flags, b"\1", number)
    written.clear()


@contextlib.contextmanager
def _open(path: Path, shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """A file descriptor of an npy file with room for everything, and where its pixels begin."""
    if not path.is_file():
        require_space(path.parent, cache_bytes(shape[0], shape[1], shape[2]), "the cache of pixels")
        fresh = path.with_suffix(".new")
        with fresh.open("wb") as stream:
            npy.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
            _reserve(stream.fileno(), stream.tell(), int(np.prod(shape)))
        fresh.rename(path)
    with path.open("r+b") as stream:
        npy.read_magic(stream)
        found, _, dtype = npy.read_array_header_1_0(stream)
        if found != shape or dtype != np.uint8:
            raise ValueError(f"{path}: holds {dtype} of shape {found}, but {shape} is wanted; remove {path.parent}")
        yield stream.fileno(), stream.tell()


@contextlib.contextmanager
def _open_flags(path: Path, count: int) -> Iterator[int]:
    with path.open("r+b" if path.is_file() else "w+b") as stream:
        stream.truncate(count)
        yield stream.fileno()


def _reserve(file: int, offset: int, length: int) -> None:
    """Take the disk space now, so that it is not missing halfway; some file systems can only make a sparse file."""
    os.truncate(file, offset + length)
    if length and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, offset, length)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                raise


def _write_all(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(file, view, offset)
        view, offset = view[count:], offset + count
