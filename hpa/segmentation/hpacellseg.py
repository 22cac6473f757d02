"""hpacellseg's published weights: where they are looked for, their download, and their conversion to safetensors."""

import hashlib
import json
import struct
import tempfile
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from io import BufferedIOBase
from pathlib import Path
from typing import Literal, TypeAlias

from hpa.artifacts import atomic_write, file_digest, require_space
from hpa.progress import track
from hpa.segmentation.pickled_modules import StoredTensor, find_tensors, read_chunks

Network: TypeAlias = Literal["nuclei", "cells_3ch", "cells_2ch"]

PUBLISHED: dict[Network, str] = {
    "nuclei": "dpn_unet_nuclei_v1.pth",
    "cells_3ch": "dpn_unet_cell_3ch_v1.pth",
    "cells_2ch": "dpn_unet_cell_v2.pth",
}
"""Files of CellProfiling/HPA-Cell-Segmentation (Apache-2.0): whole pickled modules of about 560 MB."""

RECORD = "https://zenodo.org/records/4665863"

TIMEOUT = 30.0
"""Seconds that the server has for each answer."""

MOST_BYTES = 2 << 30
"""A download ends with an error beyond this; the published files have about a quarter of it."""

SOURCE_SHA256 = "source_sha256"
"""Key in a converted file's metadata: SHA-256 of the file that it was made from."""


_METADATA = "__metadata__"


@dataclass(frozen=True)
class WeightFile:
    """One network's weights, and what may be done to get them.

    Attributes:
        network: which network.
        path: the converted file (safetensors) that is used.
        sha256: SHA-256 (hex) of the published file, or of the converted one; None checks nothing.
        download: whether the published file may be downloaded where nothing is at hand.
    """

    network: Network
    path: Path
    sha256: str | None = None
    download: bool = False

    @property
    def published(self) -> Path:
        """Where the published file is looked for: beside the converted one, under its own name."""
        return self.path.with_name(PUBLISHED[self.network])


def convert_hpacellseg(source: Path, target: Path) -> None:
    """Convert a network that `torch.save` wrote as a whole object into safetensors; nothing in it is imported or run.

    Takes zip and legacy format, a module plain or in DataParallel, and files with a state dict. Tensors keep their
    names (without `module.`), types and values. At most one tensor is in memory. `target` is written whole or not at
    all.

    Args:
        source: the published file.
        target: of the safetensors file; replaced if it is there.

    Raises:
        ValueError: the source is missing or damaged, or asks for more than tensors, plain values and modules (nothing
            of it has been run then); or the disk is too small.
        OSError: the target cannot be written.
    """
    if not source.is_file():
        raise ValueError(f"{source}: expected a network that torch.save wrote, but there is no such file; {_where()}")
    if target.exists() and target.samefile(source):
        raise ValueError(f"{target}: is the file to convert; give the converted one another name")
    with source.open("rb") as stream:
        try:
            tensors = find_tensors(stream)
        except ValueError as error:
            raise ValueError(f"{source}: cannot be converted, and nothing in it was run: {error}") from None
        if _METADATA in tensors:
            raise ValueError(
                f"{source}: cannot be converted: a tensor has the name {_METADATA!r}, which is safetensors' own"
            )
        needed = sum(tensor.nbytes for tensor in tensors.values())
        require_space(target.parent, needed, f"{target}")
        stream.seek(0)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        # Large elements first, so that every tensor begins at a multiple of its element (as safetensors orders them).
        order = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))
        with atomic_write(target, "wb") as result:
            result.write(_header({name: tensors[name] for name in order}, {"format": "pt", SOURCE_SHA256: digest}))
            for name in order:
                for chunk in read_chunks(stream, tensors[name]):
                    result.write(chunk)


def _header(tensors: Mapping[str, StoredTensor], metadata: Mapping[str, str]) -> bytes:
    """What a safetensors file begins with (https://github.com/huggingface/safetensors, "Format")."""
    entries: dict[str, object] = {_METADATA: dict(metadata)}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        entries[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def obtain_weights(files: list[WeightFile]) -> None:
    """Make sure that the converted files are there and are the right ones, before any of them is used.

    A file that is missing is converted from the published one beside it, or from a download where that is allowed. A
    checksum is compared before a published file is opened for conversion.

    Raises:
        ValueError: weights are missing (says of all of them where they are published and where to put them), have
            another checksum, cannot be converted, or the server does not give them.
    """
    missing = [file for file in files if not (file.path.is_file() or file.published.is_file() or file.download)]
    if missing:
        steps = "; ".join(
            f"hpa convert-hpacellseg {PUBLISHED[file.network]} {file.path}  (or put {PUBLISHED[file.network]} into "
            f"{file.path.parent})"
            for file in missing
        )
        names = " and ".join(PUBLISHED[file.network] for file in missing)
        raise ValueError(
            f"{' and '.join(str(file.path) for file in missing)}: hpacellseg's weights are not there. Download {names} "
            f"from {RECORD} and convert: {steps}. Or let the configuration do it with segmenter.download=true, or use "
            "segmenter.kind=watershed, which needs no weights"
        )
    for file in files:
        if not file.path.is_file():
            if file.published.is_file():
                _require_digest(file.published, file_digest(file.published), file.sha256)
                convert_hpacellseg(file.published, file.path)
            else:
                _download(file)
        elif file.sha256 is not None and file.sha256.lower() != _source_digest(file.path):
            _require_digest(file.path, file_digest(file.path), file.sha256)


def _download(file: WeightFile) -> None:
    """Download, compare, convert; whatever happens, only the converted file stays."""
    name = PUBLISHED[file.network]
    address = f"{RECORD}/files/{name}?download=1"
    file.path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.path.parent, prefix=f".{name}.") as folder:
        copy = Path(folder) / name
        try:
            digest = _fetch(address, copy)
        except (OSError, HTTPException) as error:
            raise ValueError(
                f"{address}: cannot be downloaded ({error}). Without a network, put {name} from another machine into "
                f"{file.path.parent}; {_where()}"
            ) from None
        _require_digest(address, digest, file.sha256)
        convert_hpacellseg(copy, file.path)


def _fetch(address: str, copy: Path) -> str:
    """Download a file; returns its SHA-256 (hex)."""
    digest = hashlib.sha256()
    with urllib.request.urlopen(address, timeout=TIMEOUT) as answer, copy.open("wb") as stream:
        length = int(answer.headers.get("Content-Length") or 0)
        if length > MOST_BYTES:
            raise ValueError(f"{address}: has {length} bytes, more than any network's weights; nothing was kept")
        if length:
            require_space(copy.parent, 2 * length, f"{address}, with the converted file,")
        received = 0
        with track(f"downloading {copy.name}", length) as advance:
            while chunk := answer.read(1 << 20):
                received += len(chunk)
                if received > MOST_BYTES:
                    raise ValueError(f"{address}: has more than {MOST_BYTES} bytes; nothing was kept")
                digest.update(chunk)
                stream.write(chunk)
                advance(len(chunk))
        if length and received != length:
            raise ValueError(f"{address}: ended after {received} of {length} bytes; nothing was kept, try again")
    return digest.hexdigest()


def _require_digest(where: str | Path, found: str, expected: str | None) -> None:
    if expected is not None and found != expected.lower():
        raise ValueError(
            f"{where}: expected the SHA-256 {expected.lower()}, but it is {found}; the file is damaged or another one, "
            "and it is not used: download it again, or correct the configuration"
        )


def _source_digest(path: Path) -> str | None:
    """What a converted file says of its source; this guards against mistakes, not against forgers."""
    with path.open("rb") as stream:
        return read_metadata(stream).get(SOURCE_SHA256)


def read_metadata(stream: BufferedIOBase) -> dict[str, str]:
    """Metadata of a safetensors file; none where the file is another one."""
    start = stream.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    try:
        header = json.loads(stream.read(min(length, 1 << 27)))
        return {str(key): str(value) for key, value in header[_METADATA].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _where() -> str:
    return f"the weights are published at {RECORD} ({', '.join(PUBLISHED.values())})"
