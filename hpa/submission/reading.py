"""Reading a submission, a sample submission or a truth file: one row at a time, or all as two tables."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from hpa.submission.rows import COLUMNS, parse_prediction_string

_LARGEST_FIELD = 2**28  # characters; a real row of 100 cells × 19 classes has 2 million


class UnreadableRowError(ValueError):
    """Text that is no CSV in UTF-8.

    Attributes:
        line: where the row begins; the header is 1.
    """

    def __init__(self, path: Path, line: int, reason: Exception) -> None:
        self.line = line
        super().__init__(f"{path}, row {line}: cannot be read as CSV ({reason})")


class ImageSize(NamedTuple):
    """An image of a submission; pixels."""

    image_id: str
    height: int
    width: int


class RawRow(NamedTuple):
    """A row as it stands in the file: the line it begins at (the header is 1), and its fields."""

    line: int
    fields: list[str]


@dataclass(frozen=True)
class Submission:
    """A file in the form of a submission, in its order.

    Attributes:
        images: row, image_id, height, width; one per row of the file, so that an ID may repeat.
        detections: row, image_id, height, width, class_number (int), confidence (float64), mask (str, as objects:
            detections of one cell share one). `row` is the line in the file, where the header is 1.
    """

    images: pd.DataFrame
    detections: pd.DataFrame


def read_submission(path: Path) -> Submission:
    """Read a submission or a truth file whole. Masks stay text: `hpa.masks.to_counts` checks and unpacks them.

    Raises:
        ValueError: not a CSV file with the four columns, or a malformed row: an empty ID, a size that is not a
            positive number, a PredictionString that is cut off or whose classes or confidences are not finite numbers;
            names the row.
        OSError: the file cannot be opened.
    """
    sizes: list[ImageSize] = []
    lines: list[int] = []
    counts: list[int] = []
    classes: list[int] = []
    confidences: list[float] = []
    masks: list[str] = []
    for line, fields in read_rows(path):
        image = _image(path, line, fields)
        try:
            detections = parse_prediction_string(fields[3])
        except ValueError as error:
            raise ValueError(f"{path}, row {line}, image {image.image_id}: {error}") from None
        if not np.isfinite([detection.confidence for detection in detections]).all():
            raise ValueError(f"{path}, row {line}, image {image.image_id}: expected finite confidences")
        sizes.append(image)
        lines.append(line)
        counts.append(len(detections))
        classes.extend(detection.class_number for detection in detections)
        confidences.extend(detection.confidence for detection in detections)
        masks.extend(detection.mask for detection in detections)
    images = pd.DataFrame(sizes, columns=list(ImageSize._fields)).astype({"height": np.int64, "width": np.int64})
    images.insert(0, "row", np.asarray(lines, np.int64))
    detections_table = images.iloc[np.repeat(np.arange(len(images)), counts)].reset_index(drop=True)
    detections_table["class_number"] = np.asarray(classes, np.int64)
    detections_table["confidence"] = np.asarray(confidences, np.float64)
    detections_table["mask"] = pd.Series(masks, dtype=object)
    return Submission(images, detections_table)


def read_images(path: Path) -> list[ImageSize]:
    """The images of a sample submission, in its order; its PredictionStrings are placeholders and are not looked at.

    Raises:
        ValueError: as `read_submission` for the first three columns, or an ID repeats.
        OSError: the file cannot be opened.
    """
    images: dict[str, ImageSize] = {}
    for line, fields in read_rows(path):
        image = _image(path, line, fields)
        if image.image_id in images:
            raise ValueError(f"{path}, row {line}: the ID {image.image_id} repeats")
        images[image.image_id] = image
    return list(images.values())


def read_rows(path: Path) -> Iterator[RawRow]:
    """The rows below the header, one in memory at a time; blank lines are left out.

    Raises:
        ValueError: another header, a row with another number of fields, or text that is no CSV in UTF-8.
        OSError: the file cannot be opened.
    """
    rows = raw_rows(path)
    header = next(rows, None)
    if header is None or tuple(header.fields) != COLUMNS:
        found = "nothing" if header is None else ",".join(header.fields)[:80]
        raise ValueError(f"{path}: expected the header {','.join(COLUMNS)}, but found {found}")
    for row in rows:
        if len(row.fields) != len(COLUMNS):
            raise ValueError(f"{path}, row {row.line}: expected {len(COLUMNS)} fields, but found {len(row.fields)}")
        yield row


def raw_rows(path: Path) -> Iterator[RawRow]:
    """All rows, the header too, as they stand; raises UnreadableRowError where the text is no CSV in UTF-8."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        line = 1
        while True:
            limit = csv.field_size_limit(_LARGEST_FIELD)  # of the process, hence put back after every row
            try:
                fields = next(reader, None)
            except (csv.Error, UnicodeDecodeError) as error:
                raise UnreadableRowError(path, line, error) from None
            finally:
                csv.field_size_limit(limit)
            if fields is None:
                return
            if fields:
                yield RawRow(line, fields)
            line = reader.line_num + 1


def parse_size(text: str) -> int | None:
    """A positive number of pixels, or None where the text is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 and int(text) else None


def _image(path: Path, line: int, fields: list[str]) -> ImageSize:
    image_id, width, height = fields[0], parse_size(fields[1]), parse_size(fields[2])
    if not image_id:
        raise ValueError(f"{path}, row {line}: expected an ID, but found none")
    if width is None or height is None:
        raise ValueError(
            f"{path}, row {line}, image {image_id}: expected width and height in pixels, "
            f"but found {fields[1][:20]!r} and {fields[2][:20]!r}"
        )
    return ImageSize(image_id, height, width)
