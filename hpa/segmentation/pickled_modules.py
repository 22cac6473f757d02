"""Networks that `torch.save` wrote as whole objects: where in the file their tensors are, and the tensors' bytes.

The pickle in the file is followed by `hpa.segmentation.pickle_interpreter`, which imports and runs nothing. Sizes in a
file are claims; each is checked against the bytes that are there before anything is read or allocated.
"""

import io
import math
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BufferedIOBase
from typing import IO, Any, TypeAlias, cast

import numpy as np

from hpa.backbones.weight_files import CONTAINERS
from hpa.segmentation.pickle_interpreter import MOST_PICKLE_BYTES, Interpreter
from hpa.segmentation.pickle_values import MODULE_PARTS, Module, RefusedError, Tensor, elements, require

MOST_NAMES = 100_000
DEEPEST = 64
LONGEST_NAME = 1000
"""Limits on a tree of modules: references let a small file describe a tree without end."""

MOST_SHARING = 4
"""Tensors may share bytes, as tied weights do; together they take at most this many times the file's size."""

CHUNK = 4 << 20

# What opens a file of torch.save from before its zip archives (torch/serialization.py).
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_VERSION = 1001

_DAMAGES = (ValueError, EOFError, OverflowError, RuntimeError, struct.error, zipfile.BadZipFile)

Places: TypeAlias = Mapping[str, tuple[int, int]]
"""Position and bytes of each storage in the file, by the storage's key."""


@dataclass(frozen=True)
class StoredTensor:
    """Where a file holds a tensor; every number is checked against the file.

    Attributes:
        dtype: as safetensors names it.
        itemsize: bytes of an element.
        shape: elements along each axis.
        strides: elements from one to the next along each axis.
        position: of the first element, bytes from the start of the file.
    """

    dtype: str
    itemsize: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    position: int

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor without gaps."""
        return math.prod(self.shape) * self.itemsize


def find_tensors(stream: BufferedIOBase) -> dict[str, StoredTensor]:
    """Names and places of the tensors in a file of `torch.save`: a module, a state dict, or a checkpoint with either.

    Names are those of the module's own state dict, without the `module.` of DataParallel. Zip and legacy format.

    Args:
        stream: a file, opened for reading bytes.

    Raises:
        RefusedError: it asks for more than tensors, plain values and modules; nothing of it has been run.
        ValueError: it is damaged, of another format, or has no tensors.
    """
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    is_archive = stream.read(4) == b"PK\x03\x04"
    stream.seek(0)
    try:
        root, places = _read_archive(stream, size) if is_archive else _read_legacy(stream, size)
        named = _named_tensors(root)
    except RefusedError:
        raise
    except _DAMAGES as error:
        reason = " ".join(ascii(str(error))[1:-1].split())[:200] or type(error).__name__
        raise ValueError(f"not a file that torch.save wrote, or damaged ({reason})") from None
    if not named:
        raise ValueError("expected a module or a state dict with tensors in it, but there are none")
    while all(name.startswith("module.") for name in named):
        named = {name.removeprefix("module."): tensor for name, tensor in named.items()}
    require(all(name.isprintable() for name in named), "has a tensor whose name is no text")
    found = {name: _locate(name, tensor, places) for name, tensor in named.items()}
    total = sum(tensor.nbytes for tensor in found.values())
    require(total <= MOST_SHARING * size, f"has tensors of {total} bytes together, but the file has {size}")
    return found


def read_chunks(stream: BufferedIOBase, tensor: StoredTensor) -> Iterator[bytes]:
    """The bytes of a tensor in row-major order without gaps, in pieces; no more than one tensor is in memory."""
    stream.seek(tensor.position)
    if tensor.strides == _row_major(tensor.shape):
        for start in range(0, tensor.nbytes, CHUNK):
            yield _read_exactly(stream, min(CHUNK, tensor.nbytes - start))
        return
    data = _read_exactly(stream, _span(tensor.shape, tensor.strides) * tensor.itemsize)
    steps = tuple(stride * tensor.itemsize for stride in tensor.strides)
    yield np.ndarray(tensor.shape, f"u{tensor.itemsize}", data, strides=steps).tobytes()


def _read_archive(stream: BufferedIOBase, size: int) -> tuple[Any, Places]:
    with zipfile.ZipFile(cast(IO[bytes], _SmallReads(stream))) as archive:
        members = {info.filename: info for info in archive.infolist()}
        require(len(members) == len(archive.infolist()), "is an archive with two members of the same name")
        are_plain = all(
            i.compress_type == zipfile.ZIP_STORED and i.file_size == i.compress_size for i in members.values()
        )
        require(are_plain, "is a compressed archive, which torch.save does not write")
        pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"expected one member data.pkl in the archive, but got {len(pickles)}")
        folder = pickles[0].removesuffix("data.pkl")
        require(f"{folder}constants.pkl" not in members, "is a TorchScript program, which only torch.jit can read")
        order = members.get(f"{folder}byteorder")
        if order is not None and (order.file_size > len("little") or archive.read(order) != b"little"):
            raise ValueError("expected little-endian values")
        pickled = members[pickles[0]]
        require(pickled.file_size <= MOST_PICKLE_BYTES, f"is a pickle of more than {MOST_PICKLE_BYTES} bytes")
        interpreter = Interpreter()
        root = interpreter.run(io.BytesIO(archive.read(pickled)))
        places = {}
        for key in interpreter.storages:
            info = members.get(f"{folder}data/{key}")
            if info is None:
                raise ValueError(f"the archive has no member data/{key[:100]}")
            places[key] = (_payload(stream, info), info.file_size)
        claimed = sum(length for _, length in places.values())
        require(claimed <= size, "is an archive whose members overlap")
        for key in places:
            with archive.open(f"{folder}data/{key}") as member:
                while member.read(CHUNK):  # to the end, where zipfile compares the checksum
                    pass
    return root, places


class _SmallReads:
    """What zipfile reads through: it takes a directory of members whole, at whatever size the file claims."""

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream = stream
        self.seek, self.tell, self.seekable = stream.seek, stream.tell, stream.seekable

    def read(self, length: int = -1) -> bytes:
        data = self._stream.read(min(length, CHUNK + 1) if length >= 0 else CHUNK + 1)
        require(len(data) <= CHUNK, f"has a directory of members of more than {CHUNK} bytes")
        return data


def _payload(stream: BufferedIOBase, info: zipfile.ZipInfo) -> int:
    """Where a stored member's bytes begin: behind its local header, whose lengths are its own."""
    stream.seek(info.header_offset + 26)
    name, extra = struct.unpack("<HH", _read_exactly(stream, 4))
    return int(info.header_offset) + 30 + int(name) + int(extra)


def _read_legacy(stream: BufferedIOBase, size: int) -> tuple[Any, Places]:
    if Interpreter().run(stream) != _LEGACY_MAGIC or Interpreter().run(stream) != _LEGACY_VERSION:
        raise ValueError("it begins as another pickle")
    system = Interpreter().run(stream)
    if type(system) is not dict or system.get("little_endian") is not True:
        raise ValueError("expected little-endian values")
    interpreter = Interpreter()
    root = interpreter.run(stream)
    keys = Interpreter().run(stream)
    if type(keys) is not list or any(type(key) is not str for key in keys):
        raise ValueError("expected a list of storages behind the pickle")
    places: dict[str, tuple[int, int]] = {}
    position = stream.tell()
    for key in keys:
        storage = interpreter.storages.get(key)
        if storage is None or key in places:
            raise ValueError(f"the storage {key[:100]} is there twice or belongs to no tensor")
        stream.seek(position)
        (numel,) = struct.unpack("<q", _read_exactly(stream, 8))
        places[key] = (position + 8, numel * storage.itemsize)
        position += 8 + numel * storage.itemsize
        if numel < 0 or position > size:
            raise ValueError("a storage reaches beyond the end of the file")
    return root, places


def _locate(name: str, tensor: Tensor, places: Places) -> StoredTensor:
    storage = tensor.storage
    position, length = places.get(storage.key, (0, -1))
    if length != storage.numel * storage.itemsize:
        raise ValueError(f"not the {storage.numel} values that {name!r} should have are in the file; it is damaged")
    # More elements than values would be an expanded tensor: a few bytes that claim to be terabytes.
    last = tensor.offset + _span(tensor.shape, tensor.strides)
    is_inside = math.prod(tensor.shape) <= storage.numel and last <= storage.numel
    require(is_inside, f"has a tensor {name!r} of shape {tensor.shape}, but only {storage.numel} values for it")
    start = position + tensor.offset * storage.itemsize
    return StoredTensor(storage.dtype, storage.itemsize, tensor.shape, tensor.strides, start)


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _span(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Elements from the first to the last of a tensor, both included."""
    return 0 if 0 in shape else 1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))


def _read_exactly(stream: BufferedIOBase, length: int) -> bytes:
    data = stream.read(length)
    if len(data) != length:
        raise ValueError("the file ends too early")
    return data


def _named_tensors(root: Any) -> dict[str, Tensor]:
    if isinstance(root, Module):
        return _module_tensors(root)
    if type(root) is not dict:
        return {}
    for content in (*(root.get(key) for key in CONTAINERS), root):
        if isinstance(content, Module):
            return _module_tensors(content)
        if type(content) is dict:
            named = {name: item for name, item in content.items() if type(name) is str and isinstance(item, Tensor)}
            is_small = len(named) <= MOST_NAMES and all(len(name) <= LONGEST_NAME for name in named)
            require(is_small, f"has more than {MOST_NAMES} tensors, or one whose name is too long")
            if named:
                return named
    return {}


def _module_tensors(root: Module) -> dict[str, Tensor]:
    """Parameters and buffers under the names that `Module.state_dict` gives them."""
    found: dict[str, Tensor] = {}
    pending = [("", root, 0)]
    visited = 0
    while pending:
        prefix, module, depth = pending.pop()
        assert module.state is not None  # the interpreter refuses modules that were never built
        parameters, buffers, modules = (module.state[part] for part in MODULE_PARTS)
        visited += 1 + len(parameters) + len(buffers) + len(modules)
        is_tree = visited <= MOST_NAMES and depth <= DEEPEST
        require(is_tree, f"has more than {MOST_NAMES} modules and tensors, or modules more than {DEEPEST} deep")
        passing = set(elements(module.state.get("_non_persistent_buffers_set"), most=100))
        kept = {name: item for name, item in buffers.items() if name not in passing}
        for name, item in (*parameters.items(), *kept.items(), *modules.items()):
            full = f"{prefix}{name}" if type(name) is str and len(prefix) + len(name) <= LONGEST_NAME else ""
            require(bool(full), f"has a part of a module without a name, or with one of over {LONGEST_NAME} letters")
            if isinstance(item, Tensor) and name not in modules:
                require(full not in found, f"has two tensors named {full!r}")
                found[full] = item
            elif isinstance(item, Module) and name in modules:
                pending.append((f"{full}.", item, depth + 1))
            else:
                require(item is None, f"has {full!r} in a module, which is neither a tensor nor a module")
    return found
