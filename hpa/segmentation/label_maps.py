"""Label maps that exist already, as files: the user's own, for example Cellpose's, or hand-made ones."""

import io
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pydantic
import tifffile

from hpa.arrays import Integer, LabelMap
from hpa.config import Config
from hpa.decoding import MAX_BYTES, TIFF, ImageError, check_size, decode_file
from hpa.npz import array_shapes, read_array
from hpa.segmentation.maps import CellMaps
from hpa.segmentation.regions import MAX_INSTANCES

SUFFIXES = (".png", ".tif", ".tiff", ".npz", ".npy")
"""Endings of label map files, in the order in which they are looked for."""

_NPY, _ZIP = b"\x93NUMPY", b"PK\x03\x04"


def _has_image_id(pattern: str) -> str:
    if "{image_id}" not in pattern:
        raise ValueError("expected a file name with {image_id} in it")
    return pattern


Pattern = Annotated[str, pydantic.AfterValidator(_has_image_id)]


class LabelMapsConfig(Config):
    """Label maps that the user already has, one file per image.

    Attributes:
        kind: `labels`.
        cells: folder of the cells' label maps.
        nuclei: folder of the nuclei's, numbered in any way: each nucleus goes to the cell that holds most of it. None
            where there are none.
        cells_pattern: file name of an image's cells; without an ending, the endings of SUFFIXES are tried. For
            Cellpose: `{image_id}_cp_masks`.
        nuclei_pattern: the same for nuclei.
        array: name of the array in npz files; None takes the only array.
    """

    kind: Literal["labels"] = "labels"
    cells: Path
    nuclei: Path | None = None
    cells_pattern: Pattern = "{image_id}"
    nuclei_pattern: Pattern = "{image_id}"
    array: str | None = None


def read_label_maps(image_id: str, config: LabelMapsConfig, height: int, width: int) -> CellMaps:
    """Label maps of one image from the user's files.

    Args:
        image_id: of the image.
        config: where the files are.
        height: of the image, pixels.
        width: of the image, pixels.

    Returns:
        Cells renumbered from 1 without gaps in the order of their numbers, and the nuclei inside them.

    Raises:
        ImageError: a file is missing, no label map, or of another size than the image.
    """
    cells = _read_sized(find_label_map(config.cells, config.cells_pattern, image_id), config.array, height, width)
    cells = renumber(cells)
    if config.nuclei is None:
        return CellMaps(cells, np.zeros_like(cells))
    path = find_label_map(config.nuclei, config.nuclei_pattern, image_id)
    return CellMaps(cells, nuclei_of_cells(cells, _read_sized(path, config.array, height, width)))


def find_label_map(folder: Path, pattern: str, image_id: str) -> Path:
    """The file of an image in a folder of label maps.

    Raises:
        ImageError: there is none, or none with a known ending.
    """
    name = pattern.replace("{image_id}", image_id)
    candidates = [folder / name] if name.endswith(SUFFIXES) else [folder / (name + suffix) for suffix in SUFFIXES]
    for path in candidates:
        if path.is_file():
            return path
    listed = candidates[0] if len(candidates) == 1 else f"{folder / name} with one of the endings {', '.join(SUFFIXES)}"
    raise ImageError("missing_file", f"{image_id}: expected its label map at {listed}, but there is no such file")


def read_label_map(path: Path, array: str | None = None) -> LabelMap:
    """Read one label map: PNG, TIFF, npz or npy; what the file is, is decided by its content.

    Args:
        path: whole numbers of any width, 0 = background; 16-bit PNG or 32-bit TIFF as Cellpose writes them.
        array: name of the array in an npz file; None takes the only array.

    Returns:
        uint16 (height, width) with the numbers of the file; where one is above 65535, all are renumbered from 1
        without gaps in the same order.

    Raises:
        ImageError: missing, unreadable, damaged, too large; not of whole numbers, of one plane, or with negative
            numbers; more than 65535 instances; a mask (everything is 255) instead of a label map.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(8)
    except FileNotFoundError:
        raise ImageError("missing_file", f"{path}: there is no such file") from None
    except OSError as error:
        raise ImageError("unreadable", f"{path}: cannot be read ({error.strerror})") from None
    try:
        if start.startswith(_ZIP):
            values = _read_npz(path, array)
        elif start.startswith(_NPY):
            values = _read_npy(path)
        elif start.startswith(TIFF):
            values = _read_tiff(path)
        else:
            values = decode_file(path)
        return _to_label_map(values)
    except ImageError as error:
        message = error.message if error.message.startswith(f"{path}: ") else f"{path}: {error.message}"
        raise ImageError(error.problem, message) from None


def renumber(label_map: Integer[np.ndarray, "height width"]) -> LabelMap:
    """Number instances from 1 without gaps, in the order of their numbers.

    Raises:
        ImageError: more than 65535 instances.

    >>> renumber(np.array([[0, 7], [3, 7]])).tolist()
    [[0, 2], [1, 2]]
    """
    highest = int(label_map.max(initial=0))
    if highest <= max(MAX_INSTANCES, label_map.size):
        present = np.zeros(highest + 1, bool)
        present[label_map.ravel()] = True
        present[0] = False
        numbers = np.cumsum(present)
        numbers[~present] = 0
        count, result = int(present.sum()), numbers
        index = label_map
    else:
        # Numbers far apart, hashes say: a table of all numbers would not fit into memory.
        values, index = np.unique(label_map, return_inverse=True)
        count = len(values) - int(values[0] == 0)
        result = np.arange(len(values)) + int(values[0] != 0)
    if count > MAX_INSTANCES:
        raise ImageError("pixel_type", f"expected at most {MAX_INSTANCES} instances in an image, but got {count}")
    numbered: LabelMap = result.astype(np.uint16)[index].reshape(label_map.shape)
    return numbered


def nuclei_of_cells(cells: LabelMap, nuclei: LabelMap) -> LabelMap:
    """Give nuclei the numbers of their cells.

    Args:
        cells: numbers without large gaps, 0 = background.
        nuclei: any numbers.

    Returns:
        uint16: every nucleus has the number of the cell that covers most of it (the lower number where two cover the
        same) and is cut where it leaves that cell; one outside all cells is dropped. A cell may hold several nuclei.
    """
    rows, columns = np.nonzero((nuclei > 0) & (cells > 0))
    nucleus, cell = nuclei[rows, columns].astype(np.int64), cells[rows, columns].astype(np.int64)
    pairs, overlap = np.unique(nucleus << 16 | cell, return_counts=True)
    # The last assignment to an index stays, so the pairs come with rising overlap, and equal ones with falling cells.
    order = np.lexsort((-pairs, overlap))
    owner = np.zeros(MAX_INSTANCES + 1, np.uint16)
    owner[pairs[order] >> 16] = pairs[order] & 0xFFFF
    owned = owner[nuclei]
    return np.where(owned == cells, owned, 0).astype(np.uint16)


def _read_sized(path: Path, array: str | None, height: int, width: int) -> LabelMap:
    label_map = read_label_map(path, array)
    if label_map.shape != (height, width):
        found = f"{label_map.shape[1]} x {label_map.shape[0]}"
        raise ImageError(
            "size_mismatch", f"{path}: expected the size of its image, {width} x {height}, but the label map is {found}"
        )
    return label_map


def _to_label_map(values: np.ndarray) -> LabelMap:
    """Check an array and bring it to uint16."""
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim != 2:
        raise ImageError(
            "channel_count",
            f"expected one plane of instance numbers, but got an array of shape {values.shape}: a colour picture of "
            "label maps does not hold the numbers; save the numbers themselves",
        )
    if values.dtype.kind not in "iu":
        raise ImageError("pixel_type", f"expected whole instance numbers, but got values of type {values.dtype}")
    check_size(values.shape[1], values.shape[0])
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0:
        raise ImageError("pixel_type", f"expected instance numbers of 0 and above, but got {lowest}")
    if highest == 255 and not ((values > 0) & (values < 255)).any():
        raise ImageError("pixel_type", "expected a number per instance, but everything is 255: this is a binary mask")
    return values.astype(np.uint16) if highest <= MAX_INSTANCES else renumber(values)


def _read_npz(path: Path, array: str | None) -> np.ndarray:
    try:
        shapes = array_shapes(path)
        if array is None and len(shapes) != 1:
            raise ImageError(
                "channel_count", f"expected one array, but there are {sorted(shapes)}; name the one to take (`array`)"
            )
        name = next(iter(shapes)) if array is None else array
        _check_shape(shapes.get(name, ()))
        return np.asarray(read_array(path, name))
    except ImageError:
        raise
    except ValueError as error:
        raise ImageError("corrupt", str(error)) from None


def _read_npy(path: Path) -> np.ndarray:
    try:
        mapped: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ImageError(
            "corrupt",
            f"is not a plain array ({error}); Python objects such as Cellpose's _seg.npy are never unpickled, save the "
            "label map as PNG or TIFF",
        ) from None
    _check_shape(mapped.shape)
    return np.asarray(mapped)


def _read_tiff(path: Path) -> np.ndarray:
    try:
        size = path.stat().st_size
        if size > 2 * MAX_BYTES:  # 32 bits a pixel
            raise ImageError("too_large", f"the file has {size} bytes, at most {2 * MAX_BYTES} are read")
        with tifffile.TiffFile(io.BytesIO(path.read_bytes())) as file:
            series = file.series[0]
            shape = tuple(side for side in series.shape if side != 1) if len(series.shape) > 2 else series.shape
            _check_shape(shape)
            image: np.ndarray = series.asarray()
    except ImageError:
        raise
    except Exception as error:
        # A parser over foreign bytes fails in many ways; none of them may end a run over thousands of files.
        raise ImageError("corrupt", f"damaged TIFF data ({error})") from None
    return image.reshape(shape)


def _check_shape(shape: tuple[int, ...]) -> None:
    """Refuse sizes before pixels are read; other numbers of planes get their message from the array itself."""
    if len(shape) == 2:
        check_size(shape[1], shape[0])
    elif shape and int(np.prod(shape, dtype=object)) > MAX_BYTES:
        raise ImageError("too_large", f"expected one plane of instance numbers, but got an array of shape {shape}")
