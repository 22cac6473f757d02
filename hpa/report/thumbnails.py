"""Many small pictures in few files: sheets of thumbnails, as large as a number of bytes allows."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from hpa.arrays import Int64
from hpa.report.gallery import Picture

FORMATS = (
    *((192, 80), (160, 75), (128, 75), (112, 70), (96, 70), (80, 65), (64, 65), (64, 50), (56, 50)),
    *((48, 55), (48, 40), (40, 45), (32, 45), (32, 30), (24, 40)),
)
"""Sides in pixels and WebP qualities, the best to look at first; the bytes of a picture fall along the list."""

SHEET = 1024
"""Side of a sheet in pixels, about: a browser decodes one in some milliseconds when a picture on it is needed."""

_MARGIN = 1.05  # the pictures not tried may take more bytes than those tried


@dataclass(frozen=True)
class SheetFormat:
    """How thumbnails are laid out.

    Attributes:
        side: of a thumbnail, pixels.
        quality: of the WebP files, 1 to 100.
        columns: thumbnails side by side on a sheet, and rows of them.
    """

    side: int
    quality: int
    columns: int

    @property
    def per_sheet(self) -> int:
        """Thumbnails on a full sheet."""
        return self.columns**2


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """Sheets of thumbnails.

    Attributes:
        format: of all sheets.
        sheets: WebP files; all but the last are full.
        places: of item i: place on the sheets, row by row, sheet after sheet.
    """

    format: SheetFormat
    sheets: Sequence[bytes]
    places: Int64[np.ndarray, " items"]


def choose_format(examples: Sequence[Picture], items: int, budget: int, largest: int = 192) -> SheetFormat:
    """The first of `FORMATS` in which the thumbnails of all items take no more bytes than the budget.

    Args:
        examples: some of the pictures, square, as large as they are at hand; a few dozen foretell the rest.
        items: number of thumbnails.
        budget: bytes of all sheets together.
        largest: side that no thumbnail exceeds.

    Raises:
        ValueError: not even the smallest fit.
    """
    largest = min(largest, max((len(picture) for picture in examples), default=largest))
    fitting = [(side, quality) for side, quality in FORMATS if side <= largest] or [(largest, FORMATS[-1][1])]
    for side, quality in fitting:
        columns = max(1, min(SHEET // side, int(np.ceil(np.sqrt(items)))))
        found = SheetFormat(side, quality, columns)
        tried = SheetFormat(side, quality, max(1, int(np.ceil(np.sqrt(len(examples))))))
        share = items / max(1, len(examples))
        if len(encode_sheet(examples, tried)) * share * _MARGIN <= budget:
            return found
    raise ValueError(
        f"{items:,} thumbnails do not fit into {budget / 1e6:.1f} MB, not even at {fitting[-1][0]} pixels; show fewer "
        "items, or allow more megabytes"
    )


def encode_sheet(pictures: Sequence[Picture], layout: SheetFormat) -> bytes:
    """One sheet as a WebP file; pictures of other sizes are brought to the format's side.

    Args:
        pictures: RGB, square, at most `layout.per_sheet`; places beyond them stay black.
        layout: where they stand.
    """
    rows = max(1, -(-len(pictures) // layout.columns))
    sheet = np.zeros((rows * layout.side, layout.columns * layout.side, 3), np.uint8)
    for place, picture in enumerate(pictures):
        top, left = (np.array(divmod(place, layout.columns)) * layout.side).tolist()
        sheet[top : top + layout.side, left : left + layout.side] = _scaled(picture, layout.side)
    done, content = cv2.imencode(".webp", sheet[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, layout.quality])
    assert done, sheet.shape
    return content.tobytes()


def _scaled(picture: Picture, side: int) -> Picture:
    if picture.shape[:2] == (side, side):
        return picture
    shrinks = max(picture.shape[:2]) > side
    scaled: Picture = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return scaled
