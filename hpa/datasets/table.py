"""A CSV file that names files and labels in columns of the user's own."""

import re
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pydantic

from hpa.datasets.csv_file import Row, read_csv
from hpa.datasets.files import SafeFolder, UnsafePathError, require_folder, stem
from hpa.datasets.listing import ChannelsConfig, Entry, Listing, Problems, hash_inputs, make_listing
from hpa.datasets.rows import labelled_rows, own_columns
from hpa.labels import HPA2018, HPA2021, ClassList

CHANNEL = "channel"
"""Stands for a channel's name in a path pattern."""


class Table(ChannelsConfig):
    """A CSV file with paths and labels.

    Attributes:
        csv: the file.
        root: folder that the paths are relative to and may not leave; None for the CSV file's own.
        path_columns: one column, or one per channel.
        path_pattern: instead of them, a path with columns in braces, and `{channel}` where each channel has a file of
            its own: `images_train/{file_id}_{channel}.png`; `{file_id:0>5}` fills up with zeros. Takes an `id_column`.
        id_column: None for an id made of the first path.
        label_column: None for images without labels.
        group_columns: columns whose equal values tell images that must share a fold.
        classes: `hpa2021`, `hpa2018`, names in order, or None for those that occur, sorted.
        multi_label: whether an image may have several classes, written with `|` or `;` between; of own names.
        exclusive: the class that never occurs with another, if there is one; of own names.
    """

    kind: Literal["table"] = "table"
    csv: Path
    root: Path | None = None
    path_columns: tuple[str, ...] = ("path",)
    path_pattern: str | None = None
    id_column: str | None = None
    label_column: str | None = None
    group_columns: tuple[str, ...] = ()
    classes: Literal["hpa2021", "hpa2018"] | tuple[str, ...] | None = None
    multi_label: bool = False
    exclusive: str | None = None

    @pydantic.model_validator(mode="after")
    def _check_paths(self) -> "Table":
        if len(self.path_columns) not in (1, len(self.channels)):
            raise ValueError(
                f"expected one path column, or one for each of {list(self.channels)}, but got {list(self.path_columns)}"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _check_pattern(self) -> "Table":
        if self.path_pattern is None:
            return self
        try:
            names = pattern_names(self.path_pattern)
            self.path_pattern.format_map(dict.fromkeys(names, "x"))
        except ValueError as error:
            raise ValueError(f"path_pattern: expected columns in braces, such as {{file_id}}.png ({error})") from None
        if self.id_column is None:
            raise ValueError("path_pattern: needs id_column, the column whose values name the images")
        if not set(names) - {CHANNEL}:
            raise ValueError(f"path_pattern: {self.path_pattern!r} names no column, so all images would be one file")
        return self


def pattern_names(pattern: str) -> list[str]:
    """The names in braces of a path pattern.

    Raises:
        ValueError: broken braces, or anything but plain names in them.

    >>> pattern_names("{file_id:0>5}_{channel}.png")
    ['file_id', 'channel']
    """
    names = [name for _, name, _, conversion in string.Formatter().parse(pattern) if name is not None]
    for name in names:
        if not name or any(mark in name for mark in ".[]!"):
            raise ValueError(f"expected the name of a column in braces, but got {{{name}}}")
    return names


def list_table(source: Table) -> Listing:
    """List the images of a table.

    Raises:
        ValueError: the file, a column or the root is missing, fewer than two classes, or no image is left.
    """
    problems = Problems()
    table = read_csv(source.csv, problems)
    named = source.path_columns
    if source.path_pattern is not None:
        named = tuple(name for name in pattern_names(source.path_pattern) if name != CHANNEL)
    for name in (*named, source.id_column, source.label_column):
        table.column(name, (), "a key of the source")
    columns = own_columns(table.columns, (*named, source.id_column, source.label_column), source.group_columns)
    classes = _class_list(source, [row.cells[source.label_column] for row in table.rows] if source.label_column else [])
    root = source.root or source.csv.parent
    require_folder(root, "source.root")
    safe = SafeFolder(root, source.follow_links)

    def image_id(row: Row) -> str:
        if source.id_column is not None:
            return row.cells[source.id_column]
        # A path that leads out is refused below as such, whatever its id.
        return re.sub(r"[/\\]+", "_", stem(row.cells[source.path_columns[0]])).strip("_") or "_"

    entries, files = [], {}
    for item in labelled_rows(table.rows, image_id, source.label_column, classes.parse, problems):
        try:
            paths = [safe.find(text) for text in _paths(source, item.row.cells)]
        except UnsafePathError as error:
            problems.add(item.image_id, "unsafe_path", str(error), item.row.line)
            continue
        missing = [path for path in paths if not path.is_file()]
        if missing:
            problem = "missing_file" if len(missing) == len(paths) else "missing_channel"
            problems.add(item.image_id, problem, f"{missing[0]}: there is no such file", item.row.line)
            continue
        files.update({str(path): path.stat().st_size for path in paths})
        own = {name: item.row.cells[name] for name in columns}
        entries.append(Entry(item.image_id, tuple(map(str, paths)), item.classes, own))
    return make_listing(
        entries,
        problems,
        source=source,
        kind=source.kind,
        where=str(source.csv),
        classes=classes,
        channels=source.channels,
        group_columns=source.group_columns,
        fingerprint=hash_inputs([source.csv], files),
    )


def _paths(source: Table, cells: Mapping[str, str]) -> list[str]:
    """Of one row's files: one per channel, or one for all."""
    if source.path_pattern is None:
        return [cells[name] for name in source.path_columns]
    several = CHANNEL in pattern_names(source.path_pattern)
    channels = source.channels if several else source.channels[:1]
    return [source.path_pattern.format_map({**cells, CHANNEL: channel}) for channel in channels]


def _class_list(source: Table, labels: list[str]) -> ClassList:
    match source.classes:
        case "hpa2021":
            return HPA2021
        case "hpa2018":
            return HPA2018
        case None:
            split = r"[|;]" if source.multi_label else r"$^"
            names = tuple(sorted({part.strip() for text in labels for part in re.split(split, text) if part.strip()}))
            if not labels:
                raise ValueError("source.classes: images without labels need the names of the classes")
            if len(names) < 2:
                raise ValueError(
                    f"{source.csv}: expected at least two classes, but {source.label_column!r} has {names}"
                )
        case names:
            pass
    return ClassList(names=names, multi_label=source.multi_label, exclusive=source.exclusive)
