"""Arrays inside `.npz` files, read one image at a time: mapped where stored plainly, else in memory."""

import functools
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from hpa.decoding import Decoded, ImageError, check_size, check_type

MEMBER = "::"
"""Separates the file from the array and the row in a path: `images.npz::train_images/17`."""

MAX_UNPACKED = 4 << 30
"""Largest compressed array, in bytes, as each process holds all of it; plainly stored ones may have any size."""


@runtime_checkable
class _Readable(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


def member_path(file: Path, array: str, row: int) -> str:
    """The path of one image inside an npz file.

    >>> member_path(Path("a.npz"), "train_images", 17)
    'a.npz::train_images/17'
    """
    return f"{file}{MEMBER}{array}/{row}"


def read_member(path: str) -> Decoded:
    """One image of an npz file by its path, as (height, width, planes) of uint8 or uint16.

    Raises:
        ImageError: no such file, array or row, or not an array of images.
    """
    file, _, inner = path.rpartition(MEMBER)
    array, _, row = inner.rpartition("/")
    if not row.isdecimal():
        raise ImageError("missing_file", f"{path}: expected FILE.npz{MEMBER}ARRAY/ROW")
    try:
        status = Path(file).stat()
        images = _images(file, array, status.st_mtime_ns, status.st_size)
    except FileNotFoundError:
        raise ImageError("missing_file", f"{file}: there is no such file") from None
    except OSError as error:
        raise ImageError("unreadable", f"{file}: cannot be read ({error.strerror})") from None
    if isinstance(images, ValueError):
        raise ImageError("corrupt", str(images))
    if images.ndim not in (3, 4):
        raise ImageError("channel_count", f"{path}: expected images x height x width (x planes), got {images.shape}")
    planes = images.shape[3] if images.ndim == 4 else 1
    check_size(images.shape[2], images.shape[1], planes)
    check_type(images.dtype)
    if int(row) >= len(images):
        raise ImageError("missing_file", f"{path}: the array has {len(images)} images")
    image = images[int(row)]
    return np.asarray(image).reshape(*images.shape[1:3], planes)


def array_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays of an npz file, read from their headers.

    Raises:
        ValueError: not an npz file, or damaged.
        OSError: the file cannot be opened.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            shapes = {}
            for name in names:
                with archive.open(name) as stream:
                    shapes[name.removesuffix(".npy")] = _read_header(stream)[0]
            return shapes
    except (zipfile.BadZipFile, EOFError, RuntimeError, zlib.error) as error:
        raise ValueError(f"{file}: is not a readable npz file ({error})") from None


def read_array(file: Path, name: str) -> np.ndarray:
    """One whole array of an npz file; nothing in it is ever unpickled.

    Returns:
        Memory-mapped, read-only, where the file stores it without compression.

    Raises:
        ValueError: not an npz file, no such array, damaged, of objects, or larger than MAX_UNPACKED and compressed.
        OSError: the file cannot be opened.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            info = archive.getinfo(f"{name}.npy")
            with archive.open(info) as stream:
                shape, fortran, dtype = _read_header(stream)
                length = stream.tell()
                count = int(np.prod(shape, dtype=object))
                expected = count * dtype.itemsize
                if not count:
                    return np.zeros(shape, dtype)
                if info.file_size != length + expected:
                    raise ValueError(f"{file}: {name} should have {length + expected} bytes, but has {info.file_size}")
                if info.compress_type == zipfile.ZIP_STORED:
                    offset = _data_offset(file, info) + length
                    order: Literal["C", "F"] = "F" if fortran else "C"
                    return np.memmap(file, dtype, mode="r", offset=offset, shape=shape, order=order)
                if expected > MAX_UNPACKED:
                    raise ValueError(
                        f"{file}: {name} unpacks to {expected / 1e9:.1f} GB, more than {MAX_UNPACKED / 1e9:.1f}; "
                        "store it without compression (np.savez)"
                    )
                values = np.empty(count, dtype)
                _read_into(stream, values.view(np.uint8).data)
                return values.reshape(shape, order="F" if fortran else "C")
    except KeyError:
        raise ValueError(f"{file}: has no array {name!r}; there are {sorted(array_shapes(file))}") from None
    except (zipfile.BadZipFile, EOFError, RuntimeError, zlib.error, struct.error) as error:
        raise ValueError(f"{file}: is not a readable npz file ({error})") from None


# One array at a time: the images of a split are read one after another, and each may be large. An error is kept too,
# so that a damaged array is not unpacked again for each of its images.
@functools.lru_cache(maxsize=1)
def _images(file: str, array: str, modified: int, size: int) -> np.ndarray | ValueError:
    try:
        return read_array(Path(file), array)
    except ValueError as error:
        return error


def _read_header(stream: _Readable) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("an array of Python objects, which are never unpickled; expected numbers")
    return shape, fortran, dtype


def _data_offset(file: Path, info: zipfile.ZipInfo) -> int:
    """Where a member's bytes start: after its local header (PKWARE APPNOTE 4.3.7)."""
    with file.open("rb") as stream:
        stream.seek(info.header_offset)
        fixed = stream.read(30)
    name, extra = struct.unpack_from("<HH", fixed, 26)
    return info.header_offset + 30 + int(name) + int(extra)


def _read_into(stream: _Readable, target: memoryview) -> None:
    at = 0
    while at < len(target):
        block = stream.read(min(1 << 24, len(target) - at))
        if not block:
            raise EOFError("the data ends too early")
        target[at : at + len(block)] = block
        at += len(block)
    # One more read makes zipfile compare the checksum.
    stream.read(1)
