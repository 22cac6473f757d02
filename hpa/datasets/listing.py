"""What a source gives: the images it lists, their labels, and the entries that cannot be used."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pydantic

from hpa.config import Config
from hpa.images import BitDepth
from hpa.labels import ClassList
from hpa.tables import class_table

PROBLEM_COLUMNS = ("image_id", "problem", "detail", "row")
RESERVED = ("image_id", "paths", "width", "height", "bit_depth", "group", "source", "fold", "phash", "row")
"""Names that a user's columns may not take in an ImageTable."""


class MissingSourceError(ValueError):
    """The folder or file of a source is not there."""


class SourceConfig(Config):
    """What every source of images has.

    Attributes:
        bit_depth: bits of the values in 16-bit files; `auto` takes those whose values stay within 255 as 8.
        follow_links: whether symbolic links may lead out of the folder.
    """

    bit_depth: BitDepth = "auto"
    follow_links: bool = False


class ChannelsConfig(SourceConfig):
    """A source whose channels are the user's to say.

    Attributes:
        channels: names, in order; such as `[grey]` or `[red, green, blue]`.
    """

    channels: tuple[str, ...] = pydantic.Field(default=("red", "green", "blue"), min_length=1)

    @pydantic.field_validator("channels")
    @classmethod
    def _check_channels(cls, channels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(channels)) != len(channels) or not all(name.isidentifier() for name in channels):
            raise ValueError("expected names of letters, digits and _, each once")
        return channels


@dataclass(frozen=True)
class Listing:
    """The images of a source, before any of them is read.

    Attributes:
        images: image_id, paths (list[str]: one file per channel, or one for all), source, and the source's own
            columns as text; sorted by image_id, which is unique.
        labels: image_id and one float32 column per class, rows as in `images`; no rows when the source has no labels.
        problems: image_id, problem, detail, row (line in the CSV file, the header being 1, or row of an array;
            missing where there is neither).
        classes: the class list of the labels.
        channels: names of the channels, in the order of `paths`.
        bit_depth: as given to `read_image`.
        group_columns: columns of `images` whose values tell which images belong together.
        fingerprint: SHA-256 (hex) of the tables and of every file's name and size.
    """

    images: pd.DataFrame
    labels: pd.DataFrame
    problems: pd.DataFrame
    classes: ClassList
    channels: tuple[str, ...]
    bit_depth: BitDepth
    group_columns: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True)
class Entry:
    """One image of a source that can be used as far as its listing tells."""

    image_id: str
    paths: tuple[str, ...]
    classes: tuple[int, ...] | None
    columns: Mapping[str, str]


class Problems:
    """The entries that cannot be used, as they are found."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, str, str, int | None]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, image_id: str, problem: str, detail: str, row: int | None = None) -> None:
        """Note one problem."""
        self._rows.append((image_id, problem, detail, row))

    def table(self) -> pd.DataFrame:
        """The problems as a table of PROBLEM_COLUMNS, ordered by image_id and row."""
        table = pd.DataFrame(self._rows, columns=list(PROBLEM_COLUMNS)).astype({"row": "Int64"})
        return table.sort_values(["image_id", "row"], kind="stable", ignore_index=True)

    def summary(self) -> str:
        """Counts by kind and the first of each, for an error when nothing is left."""
        table = self.table()
        lines = [
            f"  {len(rows)} x {problem}, such as {rows['image_id'].iloc[0]!r}: {rows['detail'].iloc[0]}"
            for problem, rows in table.groupby("problem")
        ]
        return "\n".join(lines)


def make_listing(
    entries: Iterable[Entry],
    problems: Problems,
    *,
    source: SourceConfig,
    kind: str,
    where: str,
    classes: ClassList,
    channels: Sequence[str],
    group_columns: Sequence[str],
    fingerprint: str,
) -> Listing:
    """Put entries into tables.

    Args:
        entries: with unique ids; all of them labelled or none.
        problems: what was found on the way.
        source: the settings all sources share.
        kind: name of the source's kind.
        where: what was looked through, for the error.
        classes: the class list.
        channels: names of the channels.
        group_columns: columns of the entries that tell groups.
        fingerprint: of the tables and files.

    Raises:
        ValueError: nothing is left to use.
    """
    ordered = sorted(entries, key=lambda entry: entry.image_id)
    if not ordered:
        found = f"; every entry has a problem:\n{problems.summary()}" if len(problems) else ""
        raise ValueError(f"{where}: no image that can be used{found}")
    images = pd.DataFrame(
        {
            "image_id": [entry.image_id for entry in ordered],
            "paths": [list(entry.paths) for entry in ordered],
            "source": kind,
        }
    )
    columns: dict[str, None] = {name: None for entry in ordered for name in entry.columns}
    for name in columns:
        images[name] = [entry.columns.get(name, "") for entry in ordered]
    labelled = [entry.classes for entry in ordered if entry.classes is not None]
    assert len(labelled) in (0, len(ordered))
    keys = images[["image_id"]] if labelled else images[["image_id"]].iloc[:0]
    return Listing(
        images=images,
        labels=class_table(keys, classes.encode(labelled), classes),
        problems=problems.table(),
        classes=classes,
        channels=tuple(channels),
        bit_depth=source.bit_depth,
        group_columns=tuple(group_columns),
        fingerprint=fingerprint,
    )


def hash_inputs(tables: Iterable[Path], files: Mapping[str, int], *more: Any) -> str:
    """SHA-256 (hex) of the bytes of tables, of the names and sizes of files, and of further values."""
    digest = hashlib.sha256()
    for table in tables:
        digest.update(hashlib.sha256(table.read_bytes()).digest())
    for name in sorted(files):
        digest.update(f"{name}\0{files[name]}\n".encode("utf-8", "surrogateescape"))
    for value in more:
        digest.update(repr(value).encode())
    return digest.hexdigest()
