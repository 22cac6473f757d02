"""Checking a submission before it is sent: every problem with its row, one row in memory at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np

from hpa.arrays import Int64
from hpa.labels import ClassList
from hpa.masks import MAX_PIXELS, MaskError, object_runs, to_counts
from hpa.submission.reading import ImageSize, RawRow, UnreadableRowError, parse_size, raw_rows, read_images
from hpa.submission.rows import COLUMNS, parse_class, parse_confidence

Note: TypeAlias = Literal["confidence_above_one", "no_detections", "repeated_detection"]
"""What is allowed but may be a mistake."""

Kind: TypeAlias = Literal[
    "unreadable",
    "header",
    "fields",
    "id",
    "missing_id",
    "extra_id",
    "repeated_id",
    "size",
    "truncated",
    "class",
    "confidence",
    "mask",
    "empty_mask",
    "overlap",
    "confidence_above_one",
    "no_detections",
    "repeated_detection",
]
"""What a problem is about; those of `Note` too."""

_Runs: TypeAlias = Int64[np.ndarray, " runs"]
_MOST_PER_ROW = 10  # problems of one kind: a row may have a thousand detections, all wrong in the same way
_MAX_FIELD_SHOWN = 40


@dataclass(frozen=True)
class Problem:
    """One problem of a submission.

    Attributes:
        row: line in the file, where the header is 1; None for an image that has none.
        image_id: as in the file; None where there is no image.
        kind: what it is about.
        detail: what was expected and what was found.
    """

    row: int | None
    image_id: str | None
    kind: Kind
    detail: str

    def __str__(self) -> str:
        place = " ".join(part for part in (f"row {self.row}" if self.row else "", self.image_id or "") if part)
        return f"{place or 'file'}: {self.severity}, {self.kind.replace('_', ' ')}: {self.detail}"

    @property
    def severity(self) -> Literal["error", "note"]:
        """Errors may cost the submission or its score; notes are allowed but may be mistakes."""
        return "note" if self.kind in get_args(Note) else "error"


def check_submission(path: Path, classes: ClassList, sample: Path | None = None) -> list[Problem]:
    """All problems of a submission, in the order of its rows, then the images that are missing.

    Args:
        path: the submission.
        classes: the task's classes; numbers outside are errors.
        sample: the competition's sample submission, which has all IDs and sizes. None: they are not checked.

    Returns:
        At most 10 problems of one kind per row, the last of them saying how many more there are; empty where the
        submission is right.

    Raises:
        ValueError: the sample cannot be read.
        OSError: a file cannot be opened.
    """
    expected = None if sample is None else {image.image_id: image for image in read_images(sample)}
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    try:
        for number, row in enumerate(raw_rows(path)):
            if number == 0 and tuple(row.fields) != COLUMNS:
                found = ",".join(row.fields)[:_MAX_FIELD_SHOWN]
                detail = f"expected {','.join(COLUMNS)}, but found {found}"
                problems.append(Problem(row.line, None, "header", detail))
            if number > 0 or _is_data(row):
                problems.extend(_limited(_check_row(row, classes, expected, seen)))
    except UnreadableRowError as error:
        problems.append(Problem(error.line, None, "unreadable", str(error)))
        return problems
    if not seen and not problems:
        problems.append(Problem(None, None, "unreadable", "expected a header and one row per image, but found no rows"))
    missing = [image_id for image_id in expected or {} if image_id not in seen]
    problems.extend(Problem(None, image_id, "missing_id", "is in the sample, but not here") for image_id in missing)
    return problems


def _is_data(row: RawRow) -> bool:
    """Whether the first line is no header at all but an image."""
    return len(row.fields) == len(COLUMNS) and None not in (parse_size(row.fields[1]), parse_size(row.fields[2]))


def _limited(problems: Iterator[Problem]) -> Iterator[Problem]:
    """Leave out repetitions of one kind, and say how many."""
    counts: dict[Kind, int] = {}
    last: dict[Kind, Problem] = {}
    for problem in problems:
        counts[problem.kind] = counts.get(problem.kind, 0) + 1
        if counts[problem.kind] < _MOST_PER_ROW:
            yield problem
        else:
            last.setdefault(problem.kind, problem)
    for kind, problem in last.items():
        more = counts[kind] - _MOST_PER_ROW
        yield Problem(problem.row, problem.image_id, kind, problem.detail + (f"; and {more} more" if more else ""))


def _check_row(
    row: RawRow, classes: ClassList, expected: dict[str, ImageSize] | None, seen: dict[str, int]
) -> Iterator[Problem]:
    line, fields = row
    if len(fields) != len(COLUMNS):
        seen.setdefault(fields[0], line)
        yield Problem(line, fields[0], "fields", f"expected {len(COLUMNS)} fields, but found {len(fields)}")
        return
    image_id, width_text, height_text, text = fields
    if not image_id:
        yield Problem(line, None, "id", "expected an ID, but found none")
    elif image_id in seen:
        yield Problem(line, image_id, "repeated_id", f"is in row {seen[image_id]} already")
    elif expected is not None and image_id not in expected:
        yield Problem(line, image_id, "extra_id", "is not in the sample")
    seen.setdefault(image_id, line)
    width, height = parse_size(width_text), parse_size(height_text)
    if width is None or height is None or width * height > MAX_PIXELS:
        found = f"{width_text[:_MAX_FIELD_SHOWN]} × {height_text[:_MAX_FIELD_SHOWN]}"
        yield Problem(line, image_id, "size", f"expected width and height in pixels, but found {found}")
        size = None
    else:
        size = ImageSize(image_id, height, width)
        wanted = (expected or {}).get(image_id, size)
        if size != wanted:
            detail = f"expected {wanted.width} × {wanted.height} as in the sample, but found {width} × {height}"
            yield Problem(line, image_id, "size", detail)
    for kind, detail in _check_detections(text, size, len(classes)):
        yield Problem(line, image_id, kind, detail)


def _check_detections(text: str, size: ImageSize | None, classes: int) -> Iterator[tuple[Kind, str]]:
    parts = text.split()
    if not parts:
        yield "no_detections", "the image has no detections"
    if len(parts) % 3:
        yield "truncated", f"expected `class confidence mask` repeated, but {len(parts)} parts are no multiple of 3"
    whole = len(parts) // 3 * 3
    above, largest = 0, 1.0
    for place, (class_text, confidence_text) in enumerate(zip(parts[:whole:3], parts[1:whole:3], strict=True), start=1):
        class_number, confidence = parse_class(class_text), parse_confidence(confidence_text)
        if class_number is None or not 0 <= class_number < classes:
            found = class_text[:_MAX_FIELD_SHOWN]
            yield "class", f"detection {place}: expected a class from 0 to {classes - 1}, but found {found}"
        if confidence is None or not 0 <= confidence < float("inf"):
            found = confidence_text[:_MAX_FIELD_SHOWN]
            yield "confidence", f"detection {place}: expected a confidence of at least 0, but found {found}"
        elif confidence > 1:
            above, largest = above + 1, max(largest, confidence)
    if above:
        yield (
            "confidence_above_one",
            f"{above} confidences are above 1, the largest {largest:g}; they are scored as usual",
        )
    yield from _check_masks(parts[:whole:3], parts[2:whole:3], size)


def _check_masks(classes: list[str], masks: list[str], size: ImageSize | None) -> Iterator[tuple[Kind, str]]:
    """Problems of the masks; one that repeats for several classes is looked at once."""
    first: dict[str, int] = {}
    pairs: set[tuple[str, str]] = set()
    for place, (class_text, mask) in enumerate(zip(classes, masks, strict=True), start=1):
        first.setdefault(mask, place)
        if (class_text, mask) in pairs:
            detail = f"detection {place}: class {class_text} again for the mask of detection {first[mask]}"
            yield "repeated_detection", f"{detail}; the second counts as false"
        pairs.add((class_text, mask))
    if size is None:
        return
    distinct: dict[bytes, int] = {}
    starts, ends, owners = [], [], []
    for mask, place in first.items():
        try:
            counts = to_counts(mask, size.height, size.width)
        except MaskError as error:
            yield "mask", f"detection {place}: {error}"
            continue
        if counts in distinct:  # the same pixels in other text
            continue
        distinct[counts] = place
        begin, end = object_runs(counts, size.height, size.width)
        if not len(begin):
            yield "empty_mask", f"detection {place}: the mask has no pixels"
        starts.append(begin)
        ends.append(end)
        owners.append(np.full(len(begin), place))
    if starts:
        yield from _overlaps(np.concatenate(starts), np.concatenate(ends), np.concatenate(owners))


def _overlaps(starts: _Runs, ends: _Runs, owners: _Runs) -> Iterator[tuple[Kind, str]]:
    """Masks that share pixels with one that reaches further: every mask that overlaps occurs in at least one pair.

    The runs of one mask are disjoint, so in the order of their starts a run overlaps an earlier one exactly where it
    begins before the furthest end so far, which then is another mask's.
    """
    order = np.argsort(starts, kind="stable")
    starts, ends, owners = starts[order], ends[order], owners[order]
    furthest = np.maximum.accumulate(ends)
    is_new = np.append(True, ends[1:] > furthest[:-1])
    holder = owners[np.maximum.accumulate(np.where(is_new, np.arange(len(ends)), 0))]
    within = np.flatnonzero(starts[1:] < furthest[:-1]) + 1
    shared = np.minimum(ends[within], furthest[within - 1]) - starts[within]
    pairs = np.sort(np.stack([holder[within - 1], owners[within]], axis=1), axis=1)
    for one, other in np.unique(pairs, axis=0).tolist():
        pixels = int(shared[(pairs == (one, other)).all(axis=1)].sum())
        yield "overlap", f"the masks of detections {one} and {other} share at least {pixels} pixels"
