"""Thumbnails of images or cells out of their caches."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from hpa.arrays import Composite, Int64, Pixels, Points
from hpa.cache import PixelCache
from hpa.cell_cache import CellCache
from hpa.images import composite, resize
from hpa.parallel import WorkersConfig, map_images, open_executor
from hpa.report.thumbnails import SheetFormat, Thumbnails, choose_format, encode_sheet

EXAMPLES = 96
"""Items that foretell brightness and bytes."""

_WHITE = 0.997  # share of a channel's pixels, over the examples, that are not white
_MOST_GAIN = 6.0
_BESIDE = 0.35  # brightness of what is beside a cell


@dataclass(frozen=True)
class PictureReader:
    """Pictures of items; picklable for worker processes.

    Attributes:
        source: their pixels; of cells the first scale, with what is beside them darkened.
        gains: by which each channel is brightened, the same for all items, so that a dark one stays dark among others.
    """

    source: PixelCache | CellCache
    gains: tuple[float, ...] = ()

    def pixels(self, row: int, side: int | None = None) -> Pixels:
        """Channels of one item, of another side where that is given."""
        if not isinstance(self.source, CellCache):
            whole: Pixels = self.source.pixels[row]
            return np.array(whole) if side is None else resize(np.ascontiguousarray(whole), side)
        planes = self.source.read(np.array([row]))[0][: len(self.source.channels) + 1]
        share = np.where(planes[-1:] > 0, 1, _BESIDE)
        cell = (planes[:-1] * share).astype(np.uint8)
        return cell if side is None else resize(cell, side)

    def __call__(self, row: int, side: int) -> Composite:
        """RGB picture of one item."""
        pixels = self.pixels(row, side)
        if self.gains:
            bright = pixels * np.array(self.gains, np.float32)[:, None, None]
            pixels = np.minimum(bright, 255).astype(np.uint8)
        return composite(pixels, self.source.channels)


def make_thumbnails(
    source: PixelCache | CellCache,
    rows: Int64[np.ndarray, " items"],
    places: Points,
    budget: int,
    largest: int,
    workers: WorkersConfig,
) -> Thumbnails:
    """Thumbnails as large as a number of bytes allows.

    Args:
        source: pixels.
        rows: of the items in it.
        places: of the items in a map; what lies together there stands together on a sheet, so that a browser that
            shows a neighbourhood decodes few sheets.
        budget: bytes of all sheets.
        largest: side of a thumbnail, pixels, at most.
        workers: where the sheets are made.

    Raises:
        ValueError: not even tiny thumbnails fit.
    """
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), EXAMPLES)).astype(np.int64)]
    side = min(largest, source.size)
    plain = PictureReader(source)
    read = PictureReader(source, _gains([plain.pixels(int(row), min(side, 96)) for row in some]))
    layout = choose_format([read(int(row), side) for row in some], len(rows), budget, side)
    order = np.argsort(curve_order(places), kind="stable")
    positions = np.empty(len(rows), np.int64)
    positions[order] = np.arange(len(rows))
    parts = [
        (start, tuple(rows[order[start : start + layout.per_sheet]].tolist()))
        for start in range(0, len(rows), layout.per_sheet)
    ]
    make = _SheetMaker(read, layout)
    # A few sheets are made sooner than processes start.
    with open_executor(workers if len(rows) > 2000 else WorkersConfig(kind="none")) as executor:
        made = {
            start: sheet for (start, _), sheet in map_images(make, parts, executor, "sheets of thumbnails", ahead=8)
        }
    return Thumbnails(layout, [made[start] for start, _ in parts], positions)


@dataclass(frozen=True)
class _SheetMaker:
    """Makes the sheet of some rows; picklable for worker processes."""

    read: PictureReader
    layout: SheetFormat

    def __call__(self, part: tuple[int, tuple[int, ...]]) -> bytes:
        cv2.setNumThreads(1)  # the processes share the cores already
        return encode_sheet([self.read(row, self.layout.side) for row in part[1]], self.layout)


def _gains(examples: Sequence[Pixels]) -> tuple[float, ...]:
    """By channel: what brings nearly all of its pixels below white; 1 for channels that are bright already."""
    flat = np.concatenate([pixels.reshape(len(pixels), -1) for pixels in examples], axis=1)
    white = np.maximum(np.quantile(flat, _WHITE, axis=1), 1)
    return tuple(float(gain) for gain in np.clip(255 / white, 1, _MOST_GAIN))


def curve_order(places: Points) -> Int64[np.ndarray, " items"]:
    """Numbers along Morton's curve, by which points that are near in the plane are mostly near in order.

    >>> curve_order(np.array([[0, 0], [9, 9], [0.1, 0.1]])).argsort().tolist()
    [0, 2, 1]
    """
    low, span = places.min(axis=0), np.ptp(places, axis=0)
    cells = ((places - low) / np.where(span > 0, span, 1) * 1023).astype(np.int64)
    code = np.zeros(len(places), np.int64)
    for bit in range(10):
        code |= ((cells[:, 0] >> bit) & 1) << (2 * bit) | ((cells[:, 1] >> bit) & 1) << (2 * bit + 1)
    return code
