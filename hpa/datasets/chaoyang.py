"""Images that several annotators labelled, as the Chaoyang set of colon histology tells them: a JSON list.

The layout is that of the annotations published with Zhu et al., "Hard sample aware noise robust learning for
histopathology image classification" (IEEE Transactions on Medical Imaging, 2021; bupt-ai-cz/HSA-NRL):
`train_label.json` holds `[{"name": "train/353042_4-IMG005x014-1.JPG", "label": 1, "label_A": 1, "label_B": 1,
"label_C": 1}, ...]`.
"""

import json
import re
from pathlib import Path
from typing import Any, Literal

import pydantic

from hpa.datasets.files import SafeFolder, UnsafePathError, is_safe_id, require_folder, stem
from hpa.datasets.listing import ChannelsConfig, Entry, Listing, MissingSourceError, Problems, hash_inputs, make_listing
from hpa.labels import ClassList, LabelError

SLIDE = "slide"
"""Column of the slide that a tile is from: the part of the file's name before the first `-`."""

ANNOTATOR = re.compile(r"label_\w+")
"""Keys of the annotators' own labels; they become columns of the image table, class names as text."""

_MAX_BYTES = 1 << 28


class Chaoyang(ChannelsConfig):
    """Tiles of colon slides with the labels of three pathologists and their consensus.

    Attributes:
        folder: holds the lists, and the files that they name.
        lists: JSON files in the folder.
        classes: names by number.
        label: key of the label that the data set is given: the consensus, or one annotator's.
    """

    kind: Literal["chaoyang"] = "chaoyang"
    folder: Path
    lists: tuple[str, ...] = pydantic.Field(default=("train_label.json",), min_length=1)
    classes: tuple[str, ...] = pydantic.Field(default=("normal", "serrated", "adenocarcinoma", "adenoma"), min_length=2)
    label: str = "label"


def list_chaoyang(source: Chaoyang) -> Listing:
    """List the tiles; an image's id is its path without the ending, joined by `_`; tiles of a slide form a group.

    An annotator's label that is missing (a key left out, or null) or no class number is an empty text in its column.

    Raises:
        ValueError: the folder or a list is missing or no list of objects with names, or no image is left to use.
    """
    require_folder(source.folder)
    classes = ClassList(names=source.classes, multi_label=False)
    problems, safe = Problems(), SafeFolder(source.folder, source.follow_links)
    entries: dict[str, Entry] = {}
    files: dict[str, int] = {}
    paths = [source.folder / name for name in source.lists]
    for row, item in enumerate(item for path in paths for item in _read_list(path)):
        name = item["name"]
        image_id = re.sub(r"[/\\]+", "_", stem(name)).strip("_")
        problem = _add(source, classes, safe, row, item, image_id, entries, files)
        if problem is not None:
            problems.add(image_id[:80], problem[0], problem[1], row)
    annotators = sorted({key for entry in entries.values() for key in entry.columns if key != SLIDE})
    filled = [
        Entry(one.image_id, one.paths, one.classes, {SLIDE: one.columns[SLIDE]} | _all_of(annotators, one))
        for one in entries.values()
    ]
    return make_listing(
        filled,
        problems,
        source=source,
        kind=source.kind,
        where=", ".join(map(str, paths)),
        classes=classes,
        channels=source.channels,
        group_columns=(SLIDE,),
        fingerprint=hash_inputs(paths, files),
    )


def _add(
    source: Chaoyang,
    classes: ClassList,
    safe: SafeFolder,
    row: int,
    item: dict[str, Any],
    image_id: str,
    entries: dict[str, Entry],
    files: dict[str, int],
) -> tuple[str, str] | None:
    """Take up one item of a list; the problem and its detail where it cannot be used."""
    name = item["name"]
    if not is_safe_id(image_id):
        return "unsafe_id", "expected a name of printable characters"
    if image_id in entries:
        return "duplicate_id", f"item {row}: the name was listed before, and that item is used"
    try:
        path = safe.find(name)
        number = _number(item.get(source.label))
        if number is None:
            raise LabelError(f"expected a class number as {source.label!r}, but got {item.get(source.label)!r}")
        label = classes.check([number])
    except UnsafePathError as error:
        return "unsafe_path", str(error)
    except LabelError as error:
        return "bad_label", str(error)
    if not path.is_file():
        return "missing_file", f"{path}: there is no such file"
    given = {key: _number(value) for key, value in item.items() if ANNOTATOR.fullmatch(key)}
    votes = {
        key: classes.names[vote] if vote is not None and 0 <= vote < len(classes) else ""
        for key, vote in sorted(given.items())
    }
    entries[image_id] = Entry(image_id, (str(path),), label, {SLIDE: path.name.partition("-")[0], **votes})
    files[name] = path.stat().st_size
    return None


def _all_of(annotators: list[str], entry: Entry) -> dict[str, str]:
    return {key: entry.columns.get(key, "") for key in annotators}


def _number(value: Any) -> int | None:
    """A class number; None for anything else, such as the true of a careless list."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _read_list(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        raise MissingSourceError(f"{path}: there is no such list; set source.folder and source.lists")
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size} bytes is too large for a list of images")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected JSON, but it cannot be read ({error})") from None
    is_list = isinstance(content, list) and all(
        isinstance(item, dict) and isinstance(item.get("name"), str) for item in content
    )
    if not is_list:
        raise ValueError(f'{path}: expected a list of objects such as {{"name": "train/a-1.JPG", "label": 0}}')
    return list(content)
