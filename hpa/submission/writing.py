"""Writing a submission image by image: finished rows are on disk at once, and a valid CSV is there at every moment."""

import csv
import io
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from hpa.artifacts import atomic_write
from hpa.submission.reading import ImageSize
from hpa.submission.rows import COLUMNS, Detection, write_prediction_string

ROWS_SUFFIX = ".rows"
_LARGEST_SHARE = 0.1  # of the time that rewriting the CSV may take


class SubmissionWriter:
    """A submission in the making: `with SubmissionWriter(path, images) as writer: writer.add(image_id, detections)`.

    Finished rows are appended to `<path>.rows`, in any order, and are safe from a kill as soon as `add` returns. The
    CSV at `path` always has every image, in the order given, those not yet finished with an empty PredictionString; it
    is replaced as a whole on opening, at intervals, and on leaving the block, with an error or without. A writer
    opened again takes up the finished rows. Memory is that of one row. One process may write at a time.

    Args:
        path: the CSV; its folder is made where it is missing.
        images: all images of the submission in its order, for example from `read_images`.
        every: least seconds between two replacements of the CSV; they are further apart where writing it takes
            more than a tenth of the time.

    Attributes:
        path: the CSV.
        images: by image_id, in order.

    Raises:
        ValueError: an ID repeats, is empty or has a line break, or the finished rows belong to other images.
        OSError: the folder cannot be written or the disk is full.
    """

    def __init__(self, path: Path, images: Sequence[ImageSize], every: float = 60.0) -> None:
        self.path = path
        self.images = {image.image_id: image for image in images}
        if len(self.images) < len(images):
            raise ValueError("expected every image once, but some IDs repeat")
        wrong = [image_id for image_id in self.images if len(image_id.splitlines()) != 1]
        if wrong:
            raise ValueError(f"expected IDs of one line, but got {wrong[0]!r}")
        self._rows_path = path.with_name(path.name + ROWS_SUFFIX)
        self._every = every
        self._offsets: dict[str, tuple[int, int]] = {}
        self._stale = True
        self._due = 0.0
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".{path.name}.*"):  # of an atomic write that was killed
            leftover.unlink()
        self._rows = self._rows_path.open("ab", buffering=0)  # a failed write leaves nothing in a buffer
        try:
            self._take_up()
            self.write()
        except BaseException:
            self._rows.close()
            raise

    @property
    def remaining(self) -> list[str]:
        """IDs of the images that have no finished row, in order."""
        return [image_id for image_id in self.images if image_id not in self._offsets]

    def add(self, image_id: str, detections: Iterable[Detection]) -> None:
        """Finish an image; one without cells has no detections.

        Raises:
            ValueError: an image that is not in the submission or already finished, or a detection that cannot be
                written; nothing is stored then.
            OSError: the disk is full; the rows finished before are whole.
        """
        if image_id not in self.images:
            raise ValueError(f"expected an image of the submission, but {image_id!r} is none")
        if image_id in self._offsets:
            raise ValueError(f"expected every image once, but {image_id} is finished already")
        row = _row(self.images[image_id], write_prediction_string(detections))
        start = self._rows.seek(0, os.SEEK_END)
        rest = memoryview(row)
        try:
            while rest:
                rest = rest[self._rows.write(rest) :]
            os.fsync(self._rows.fileno())
        except OSError:
            self._rows.truncate(start)
            raise
        self._offsets[image_id] = (start, len(row))
        self._stale = True
        if time.monotonic() >= self._due:
            self.write()

    def write(self) -> None:
        """Replace the CSV by one with all rows finished so far.

        Raises:
            OSError: the disk is full; the CSV is as it was.
        """
        begin = time.monotonic()
        with atomic_write(self.path, "wb") as stream, self._rows_path.open("rb") as rows:
            stream.write(_line(COLUMNS))
            for image in self.images.values():
                if image.image_id in self._offsets:
                    start, length = self._offsets[image.image_id]
                    rows.seek(start)
                    stream.write(rows.read(length))
                else:
                    stream.write(_row(image, ""))
        self._stale = False
        end = time.monotonic()
        self._due = end + max(self._every, (end - begin) / _LARGEST_SHARE)

    def remove_rows(self) -> None:
        """Remove `<path>.rows` when the submission is complete and closed: a writer opened later starts anew.

        Raises:
            ValueError: images are not finished.
        """
        if self.remaining:
            raise ValueError(f"{self.path}: expected all images to be finished, but {len(self.remaining)} are not")
        self._rows.close()
        self._rows_path.unlink(missing_ok=True)

    def __enter__(self) -> "SubmissionWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._stale:
                self.write()
        finally:
            self._rows.close()

    def _take_up(self) -> None:
        """Find the finished rows of an earlier writer; a row cut off by a kill, without its line's end, is dropped."""
        position = 0
        with self._rows_path.open("rb") as rows:
            for line in rows:
                if not line.endswith(b"\n"):
                    break
                image_id = self._owner(line)
                self._offsets[image_id] = (position, len(line))
                position += len(line)
        self._rows.truncate(position)

    def _owner(self, line: bytes) -> str:
        try:
            quoted_id, width, height, _ = line.decode().rsplit(",", 3)
            (image_id,) = next(csv.reader([quoted_id]))
            if self.images.get(image_id) == (image_id, int(height), int(width)):
                return image_id
        except (ValueError, csv.Error):
            pass
        raise ValueError(
            f"{self._rows_path}: holds rows of other images than this submission's; remove it to start anew"
        )


def _row(image: ImageSize, prediction_string: str) -> bytes:
    return _line((image.image_id, image.width, image.height, prediction_string))


def _line(fields: Sequence[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(fields)
    return text.getvalue().encode()
