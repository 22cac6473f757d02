"""The images of an index as later stages read them: the table, what it says about the channels, and the pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import pandas as pd

from hpa.arrays import Pixels
from hpa.artifacts import read_json, read_record
from hpa.images import BitDepth, ImageError, read_image
from hpa.labels import ClassList
from hpa.stages.data import index
from hpa.tables import IMAGE_COLUMNS, read_table


@dataclass(frozen=True)
class ImageReader:
    """Reads an image that was indexed; picklable for worker processes.

    Attributes:
        channels: names of the planes.
        bit_depth: of the values.
    """

    channels: tuple[str, ...]
    bit_depth: BitDepth

    def __call__(self, paths: Sequence[str]) -> Pixels:
        """The pixels.

        Raises:
            ValueError: the image cannot be read any more; says what to do.
        """
        cv2.setNumThreads(1)  # the processes share the cores already
        try:
            return read_image(paths, self.channels, self.bit_depth)
        except ImageError as error:
            raise ValueError(f"{error}; it was fine when it was indexed: restore it, or remove the index") from None


@dataclass(frozen=True)
class IndexedImages:
    """A finished index.

    Attributes:
        table: the image table.
        classes: the class list.
        reader: reads one image, given its `paths`.
        fingerprint: of the index's record.
    """

    table: pd.DataFrame
    classes: ClassList
    reader: ImageReader
    fingerprint: str


def open_index(folder: Path) -> IndexedImages:
    """Open a finished index.

    Raises:
        ArtifactError: there is none; says which command makes it.
    """
    record = read_record(folder, index.STAGE)
    content = read_json(folder / index.CONTENT)
    return IndexedImages(
        read_table(folder / index.IMAGES, IMAGE_COLUMNS),
        ClassList.model_validate(content["classes"]),
        ImageReader(tuple(content["channels"]), content["bit_depth"]),
        record.fingerprint,
    )
