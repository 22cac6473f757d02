"""Masks of cells as run lengths: from label maps, to and from the submission's text, without full-size masks.

A mask is COCO run-length encoding: the lengths of its runs in column-major order, background first, written in COCO's
compressed form (`hpa.rle`). The submission's text of a mask is these counts through zlib at level 9 and base64 (the
competition's evaluation page).
"""

import base64
import binascii
import zlib
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from hpa.arrays import Int64, LabelMap, Mask, UInt16
from hpa.rle import Lengths, MaskError, canonical, read_lengths, write_counts, written_size

__all__ = [
    "MAX_PIXELS",
    "CellRuns",
    "MaskError",
    "area_and_box",
    "cell_runs",
    "decode",
    "empty_counts",
    "encode_cells",
    "encode_mask",
    "object_runs",
    "to_counts",
    "to_text",
]

MAX_PIXELS = 2**31 - 1
"""Largest image; pycocotools counts in 32 bits."""

_MAX_COUNTS = 2**26  # bytes of compressed counts; those of a 2048² checkerboard are 4 million, of a cell a thousand
_LEVEL = 9
_ONE = np.zeros(1, np.int64)  # one mask, which begins at the first length

_Runs: TypeAlias = Int64[np.ndarray, " runs"]
_PerCell: TypeAlias = Int64[np.ndarray, " cells"]


@dataclass(frozen=True)
class CellRuns:
    """Every cell of one label map, in rising order of the cell's number; n cells.

    Attributes:
        cell_ids: numbers in the label map, from 1.
        counts: COCO's compressed counts of each cell's mask, as pycocotools writes them.
        areas: pixels.
        boxes: left, top, right, bottom in pixels; right and bottom are exclusive.
    """

    cell_ids: Int64[np.ndarray, " cells"]
    counts: tuple[bytes, ...]
    areas: Int64[np.ndarray, " cells"]
    boxes: Int64[np.ndarray, "cells 4"]


def cell_runs(label_map: LabelMap) -> CellRuns:
    """Run lengths, area and box of every cell, in one pass over the label map.

    >>> cell_runs(np.array([[0, 1], [1, 1]], np.uint16)).counts
    (b'13',)
    """
    height, width = label_map.shape
    _check_size(height, width, smallest=0)
    starts, ends, values = _runs(label_map)
    order = np.argsort(values, kind="stable")
    starts, ends, values = starts[order], ends[order], values[order]
    first = np.flatnonzero(np.diff(values, prepend=0))  # 0 is background, so the first run always begins a cell
    if not len(first):
        nothing = np.zeros(0, np.int64)
        return CellRuns(nothing, (), nothing, np.zeros((0, 4), np.int64))
    return CellRuns(
        cell_ids=values[first].astype(np.int64),
        counts=write_counts(*_interleave(starts, ends, first, height * width)),
        areas=np.add.reduceat(ends - starts, first),
        boxes=_boxes(starts, ends, first, height),
    )


def encode_cells(label_map: LabelMap) -> dict[int, str]:
    """The submission's text of every cell's mask, by the cell's number.

    >>> encode_cells(np.array([[0, 1], [1, 1]], np.uint16))
    {1: 'eNozNAYAAJcAZQ=='}
    """
    runs = cell_runs(label_map)
    return {cell_id: to_text(counts) for cell_id, counts in zip(runs.cell_ids.tolist(), runs.counts, strict=True)}


def encode_mask(mask: Mask) -> str:
    """The submission's text of one mask, which may be empty.

    Raises:
        MaskError: the mask has no pixels at all.
    """
    _check_size(*mask.shape)
    runs = cell_runs(mask.astype(np.uint16))
    return to_text(runs.counts[0] if runs.counts else empty_counts(*mask.shape))


def empty_counts(height: int, width: int) -> bytes:
    """Compressed counts of a mask without a cell."""
    _check_size(height, width)
    return write_counts(np.array([height * width]), _ONE)[0]


def to_text(counts: bytes) -> str:
    """The submission's text of compressed counts: zlib at level 9, then base64.

    >>> to_text(b"13")
    'eNozNAYAAJcAZQ=='
    """
    return base64.b64encode(zlib.compress(counts, _LEVEL)).decode("ascii")


def to_counts(text: str, height: int, width: int) -> bytes:
    """The compressed counts in a mask's text, checked without making pixels, safe to hand to pycocotools.

    What pycocotools would write comes back as it is; other spellings of the same mask (empty runs in the middle,
    superfluous digits, with which pycocotools computes wrongly) come back as pycocotools would write them.

    Args:
        text: as in a PredictionString.
        height: of the full image, pixels.
        width: of the full image, pixels.

    Raises:
        MaskError: not base64 or zlib, cut off, decompressing to more than any mask of that size takes, not COCO
            counts, or run lengths that do not sum to width × height.
    """
    counts = _decompress(text, height, width)
    lengths = read_lengths(counts, height, width)
    shortest = canonical(lengths)
    if len(shortest) == len(lengths) and len(counts) == written_size(lengths):
        return counts
    return write_counts(shortest, _ONE)[0]


def decode(text: str, height: int, width: int) -> Mask:
    """The mask of a submission's text; raises MaskError as `to_counts` does.

    >>> decode("eNozNAYAAJcAZQ==", 2, 2).tolist()
    [[False, True], [True, True]]
    """
    lengths = read_lengths(_decompress(text, height, width), height, width)
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return np.ascontiguousarray(flat.reshape(width, height).T)


def object_runs(counts: bytes, height: int, width: int) -> tuple[_Runs, _Runs]:
    """First and one past the last position of every run of object pixels, in rising order, disjoint.

    Positions count down the columns: `column * height + row`.

    Raises:
        MaskError: the counts are malformed or do not fit the image.
    """
    positions: Lengths = np.cumsum(canonical(read_lengths(counts, height, width)))
    return positions[: len(positions) // 2 * 2 : 2], positions[1::2]


def area_and_box(counts: bytes, height: int, width: int) -> tuple[int, tuple[int, int, int, int]]:
    """Area in pixels, and left, top, right, bottom with right and bottom exclusive; all 0 for an empty mask.

    Raises:
        MaskError: the counts are malformed or do not fit the image.

    >>> area_and_box(b"13", 2, 2)
    (3, (0, 0, 2, 2))
    """
    starts, ends = object_runs(counts, height, width)
    if not len(starts):
        return 0, (0, 0, 0, 0)
    left, top, right, bottom = _boxes(starts, ends, _ONE, height)[0].tolist()
    return int((ends - starts).sum()), (left, top, right, bottom)


def _check_size(height: int, width: int, smallest: int = 1) -> None:
    if not (smallest <= height * width <= MAX_PIXELS and min(height, width) >= 0):
        raise MaskError(f"expected an image of {smallest} to {MAX_PIXELS} pixels, but it is {width} × {height}")


def _runs(label_map: LabelMap) -> tuple[_Runs, _Runs, UInt16[np.ndarray, " runs"]]:
    """Begin, end and cell number of every run of one cell in column-major order, background left out."""
    if not label_map.size:
        nothing = np.zeros(0, np.int64)
        return nothing, nothing, np.zeros(0, np.uint16)
    flat = cv2.transpose(np.ascontiguousarray(label_map)).ravel()  # several times faster than NumPy's
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate([[0], changes])
    ends = np.concatenate([changes, [flat.size]])
    values = flat[starts]
    cells = values != 0
    return starts[cells], ends[cells], values[cells]


def _interleave(starts: _Runs, ends: _Runs, first: _PerCell, total: int) -> tuple[Lengths, _PerCell]:
    """Lengths of the runs of background and cell in turn, cell after cell, and where each cell's begin."""
    gaps = starts.copy()
    gaps[1:] -= ends[:-1]
    gaps[first] = starts[first]
    last = np.append(first[1:], len(starts)) - 1
    rest = total - ends[last]  # background after the cell; pycocotools writes it only where there is some
    before = np.cumsum(rest > 0) - (rest > 0)
    begin = 2 * first + before
    runs = np.diff(np.append(first, len(starts)))
    place = 2 * np.arange(len(starts)) + np.repeat(before, runs)
    lengths = np.empty(2 * len(starts) + int((rest > 0).sum()), np.int64)
    lengths[place] = gaps
    lengths[place + 1] = ends - starts
    lengths[place[last[rest > 0]] + 2] = rest[rest > 0]
    return lengths, begin


def _boxes(starts: _Runs, ends: _Runs, first: _PerCell, height: int) -> Int64[np.ndarray, "cells 4"]:
    first_column, top = np.divmod(starts, height)
    last_column, bottom = np.divmod(ends - 1, height)
    wraps = first_column != last_column  # a run that goes on in the next column touches both edges
    top[wraps], bottom[wraps] = 0, height - 1
    return np.stack(
        [
            np.minimum.reduceat(first_column, first),
            np.minimum.reduceat(top, first),
            np.maximum.reduceat(last_column, first) + 1,
            np.maximum.reduceat(bottom, first) + 1,
        ],
        axis=1,
    )


def _decompress(text: str, height: int, width: int) -> bytes:
    _check_size(height, width)
    try:
        packed = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MaskError(f"expected base64, but {_shortened(text)} is not ({error})") from None
    limit = min(height * width + 64, _MAX_COUNTS)  # at most one run per pixel, of one digit then
    unpacker = zlib.decompressobj()
    try:
        counts = unpacker.decompress(packed, limit + 1)
    except zlib.error as error:
        raise MaskError(f"expected data compressed by zlib, but {_shortened(text)} is not ({error})") from None
    if len(counts) > limit:
        raise MaskError(f"{_shortened(text)} decompresses to more than a mask of {width} × {height} takes")
    if not unpacker.eof:
        raise MaskError(f"the compressed data of {_shortened(text)} is cut off")
    if unpacker.unused_data:
        raise MaskError(f"{_shortened(text)} goes on after the end of the compressed data")
    return counts


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 20 else f"{text[:20]}…")
