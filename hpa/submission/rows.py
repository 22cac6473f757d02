"""Rows of a submission: detections of cells to and from the text of a PredictionString."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import pandas as pd

from hpa.labels import ClassList
from hpa.tables import class_values

COLUMNS = ("ID", "ImageWidth", "ImageHeight", "PredictionString")
"""Header of a submission, of a sample submission and of a truth file."""

_MASK = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_WHOLE = re.compile(r"-?[0-9]+")
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?(nan|inf(inity)?)", re.IGNORECASE)


class Detection(NamedTuple):
    """One class of one cell: class number, confidence, and the mask's text (hpa.masks)."""

    class_number: int
    confidence: float
    mask: str


def write_prediction_string(detections: Iterable[Detection]) -> str:
    """`class confidence mask` repeated, separated by blanks; a confidence has as many digits as give it back exactly.

    Raises:
        ValueError: a class number or confidence is negative, a confidence is not finite, or a mask is not base64.

    >>> write_prediction_string([Detection(16, 0.5, "eNozNAYAAJcAZQ=="), Detection(18, 0.25, "eNozNAYAAJcAZQ==")])
    '16 0.5 eNozNAYAAJcAZQ== 18 0.25 eNozNAYAAJcAZQ=='
    """
    parts = []
    checked: set[str] = set()
    for class_number, confidence, mask in detections:
        if class_number < 0 or not 0 <= confidence < float("inf"):
            raise ValueError(
                f"expected a class and a finite confidence of at least 0, but got {class_number} {confidence}"
            )
        if mask not in checked and not _MASK.fullmatch(mask):
            raise ValueError(f"expected a mask's text in base64, but got {mask[:20]!r}")
        checked.add(mask)
        parts.append(f"{int(class_number)} {float(confidence)!r} {mask}")
    return " ".join(parts)


def parse_prediction_string(text: str) -> list[Detection]:
    """Detections in their order. A mask that repeats is one string object, so that a row's memory is that of its cells.

    Raises:
        ValueError: cut off, or a class or confidence is not a number; says which detection. Values are not judged:
            hpa.submission.checking does.

    >>> parse_prediction_string("16 0.5 eNozNAYAAJcAZQ==")
    [Detection(class_number=16, confidence=0.5, mask='eNozNAYAAJcAZQ==')]
    """
    parts = text.split()
    if len(parts) % 3:
        raise ValueError(f"expected `class confidence mask` repeated, but {len(parts)} parts are not a multiple of 3")
    masks: dict[str, str] = {}
    detections = []
    for place, (class_text, confidence_text, mask) in enumerate(
        zip(parts[::3], parts[1::3], parts[2::3], strict=True), start=1
    ):
        class_number, confidence = parse_class(class_text), parse_confidence(confidence_text)
        if class_number is None:
            raise ValueError(f"detection {place}: expected a class number, but got {class_text[:20]!r}")
        if confidence is None:
            raise ValueError(f"detection {place}: expected a confidence, but got {confidence_text[:20]!r}")
        detections.append(Detection(class_number, confidence, masks.setdefault(mask, mask)))
    return detections


def parse_class(text: str) -> int | None:
    """A whole number, or None where the text is none."""
    return int(text) if len(text) <= 20 and _WHOLE.fullmatch(text) else None


def parse_confidence(text: str) -> float | None:
    """A number, which may be NaN or infinite, or None where the text is none."""
    return float(text) if _NUMBER.fullmatch(text) else None


def cell_detections(masks: Mapping[int, str], confidences: pd.DataFrame, classes: ClassList) -> Iterator[Detection]:
    """Every class of every cell of one image, cell by cell in the table's order.

    Args:
        masks: text by cell_id, as `hpa.masks.encode_cells` gives them; cells that the table leaves out are left out.
        confidences: one image's rows: cell_id and one column per class.
        classes: the columns, in the order of their numbers.

    Raises:
        ValueError: a cell of the table has no mask or comes twice, or a confidence is missing, not finite or negative.
    """
    values = class_values(confidences, classes)
    cell_ids = [int(cell_id) for cell_id in confidences["cell_id"]]
    if len(set(cell_ids)) < len(cell_ids):
        raise ValueError("expected every cell of the image once in the table of confidences, but some repeat")
    missing = sorted(set(cell_ids) - masks.keys())
    if missing:
        raise ValueError(f"expected a mask for every cell in the table, but the label map has no cells {missing[:5]}")
    for cell_id, row in zip(cell_ids, values, strict=True):
        for class_number, confidence in enumerate(row):
            # The shortest number that is this float32: 0.1 and not 0.10000000149011612.
            yield Detection(class_number, float(str(confidence)), masks[cell_id])
