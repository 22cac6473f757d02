"""Images sorted into one folder per class: `root/<class>/*`, one label each."""

import os
import re
from pathlib import Path
from typing import Literal

import pydantic

from hpa.datasets.files import SafeFolder, UnsafePathError, is_safe_id, require_folder, stem
from hpa.datasets.listing import ChannelsConfig, Entry, Listing, Problems, hash_inputs, make_listing
from hpa.labels import ClassList

GROUP = "name_group"
"""Column that holds what `group_pattern` found."""

_NOT_IMAGES = ("thumbs.db", "desktop.ini")


class ClassFolders(ChannelsConfig):
    """One folder per class.

    Attributes:
        folder: holds the class folders.
        classes: names of the class folders, in order; None for all, sorted.
        group_pattern: regular expression looked for in each file's path below its class folder; its first group (or
            all of it) tells which images belong together, such as `^([^_]+)_` for the dish in `BJprimary2_7.jpg`.
    """

    kind: Literal["class_folders"] = "class_folders"
    folder: Path
    classes: tuple[str, ...] | None = None
    group_pattern: str | None = None

    @pydantic.field_validator("group_pattern")
    @classmethod
    def _check_pattern(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"not a regular expression ({error})") from None
        return pattern


def list_class_folders(source: ClassFolders) -> Listing:
    """List the images below every class folder; an image's id is its class and path, joined by `_`.

    Raises:
        ValueError: the folder is missing, holds fewer than two classes or none that was named, no image is left, or
            the pattern fits no file.
    """
    require_folder(source.folder)
    problems = Problems()
    classes = ClassList(names=_class_names(source), multi_label=False)
    safe = SafeFolder(source.folder, source.follow_links)
    entries: dict[str, Entry] = {}
    files: dict[str, int] = {}
    matched = 0
    for number, name in enumerate(classes.names):
        for inner in _files_below(source.folder / name):
            relative = f"{name}/{inner}"
            image_id = stem(relative).replace("/", "_")
            try:
                path = safe.find(relative)
            except UnsafePathError as error:
                problems.add(image_id, "unsafe_path", str(error))
                continue
            if not is_safe_id(image_id):
                problems.add(image_id, "unsafe_id", f"{path}: expected a name of printable characters")
                continue
            if image_id in entries:
                problems.add(
                    image_id, "duplicate_id", f"{path}: {entries[image_id].paths[0]} has the same id, and is used"
                )
                continue
            found = re.search(source.group_pattern, inner) if source.group_pattern else None
            matched += found is not None
            group = (found.group(1) if found.re.groups else found.group()) if found else None
            entries[image_id] = Entry(image_id, (str(path),), (number,), {GROUP: group or ""})
            files[relative] = path.stat().st_size
    if source.group_pattern and entries and not matched:
        example = Path(next(iter(entries.values())).paths[0]).name
        raise ValueError(f"source.group_pattern: {source.group_pattern!r} fits no file, such as {example!r}")
    return make_listing(
        entries.values(),
        problems,
        source=source,
        kind=source.kind,
        where=f"{source.folder} with the classes {list(classes.names)}",
        classes=classes,
        channels=source.channels,
        group_columns=(GROUP,),
        fingerprint=hash_inputs([], files),
    )


def _class_names(source: ClassFolders) -> tuple[str, ...]:
    found = sorted(
        entry.name for entry in os.scandir(source.folder) if entry.is_dir() and not entry.name.startswith(".")
    )
    if source.classes is None and len(found) < 2:
        raise ValueError(f"{source.folder}: expected one folder per class, at least two, but found {found}")
    missing = [name for name in source.classes or () if name not in found]
    if missing:
        raise ValueError(f"{source.folder}: no folder for the classes {missing}; there are {found}")
    return tuple(found) if source.classes is None else source.classes


def _files_below(folder: Path) -> list[str]:
    """Paths of all files below a folder, sorted, with `/`; hidden ones and the systems' own are left out."""
    found = []
    for root, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and name.lower() not in _NOT_IMAGES and Path(root, name).is_file():
                found.append(Path(root, name).relative_to(folder).as_posix())
    return sorted(found)
