"""The two Kaggle competitions' layout, which the public atlas's downloads share: `{ID}_{color}.png` and a CSV file."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pydantic

from hpa.datasets.csv_file import CsvFile, Row, read_csv
from hpa.datasets.files import Folder, is_safe_id, scan
from hpa.datasets.listing import Entry, Listing, Problems, SourceConfig, hash_inputs, make_listing
from hpa.datasets.rows import LabelledRow, labelled_rows, own_columns
from hpa.labels import HPA2018, HPA2018_TO_2021, HPA2021, ClassList, LabelError

ID_COLUMNS = ("ID", "Image", "image_id")
LABEL_COLUMNS = ("Label_idx", "Label", "Target")
"""`kaggle_2021.tsv` has the numbers in Label_idx and names of the atlas's own, finer list in Label."""


class KaggleConfig(SourceConfig):
    """A folder of `{ID}_{color}` files and a CSV file.

    Attributes:
        folder: holds the files; PNG, JPEG, TIFF and .tif.gz are found by themselves.
        csv: ids and labels; None for images without labels, which are then those in the folder.
        id_column: None to look for ID, Image or image_id.
        label_column: None to look for Label_idx, Label or Target; without one the images are unlabelled.
        group_columns: columns whose equal values tell images that must share a fold (antibody, plate, ...).
        channels: which colours are read, in this order.
    """

    folder: Path
    csv: Path | None = None
    id_column: str | None = None
    label_column: str | None = None
    group_columns: tuple[str, ...] = ()
    channels: tuple[Literal["red", "green", "blue", "yellow"], ...] = pydantic.Field(
        default=("red", "green", "blue", "yellow"), min_length=1
    )


class Kaggle2021(KaggleConfig):
    """HPA Single Cell Classification (2021), and the atlas's `kaggle_2021.tsv`: 19 classes."""

    kind: Literal["kaggle2021"] = "kaggle2021"


class Kaggle2018(KaggleConfig):
    """HPA Image Classification (2018): 28 classes.

    Attributes:
        classes: `hpa2021` maps the labels to the 19 classes of 2021; an image none of whose classes has one is listed
            as a problem.
    """

    kind: Literal["kaggle2018"] = "kaggle2018"
    classes: Literal["hpa2018", "hpa2021"] = "hpa2018"


def list_kaggle(source: Kaggle2021 | Kaggle2018) -> Listing:
    """List the images of a Kaggle folder.

    Raises:
        ValueError: the folder or the CSV file is missing or cannot be used, or no image is left.
    """
    problems = Problems()
    classes, parse = _labels(source)
    folder = scan(source.folder, source.follow_links)
    if source.csv is None:
        rows = [LabelledRow(image_id, Row(0, {}), None) for image_id in _ids_in(folder, source.channels)]
        columns: tuple[str, ...] = ()
        is_address = False
    else:
        table = read_csv(source.csv, problems)
        id_column, label_column = _key_columns(source, table)
        is_address = any("://" in row.cells[id_column] for row in table.rows[:1])
        rows = labelled_rows(table.rows, lambda row: image_name(row.cells[id_column]), label_column, parse, problems)
        columns = own_columns(table.columns, (id_column, label_column), source.group_columns)
    entries, files = [], {}
    for item in rows:
        found = _find(folder, item, source.channels, problems)
        if found is None:
            continue
        files.update({name: folder.sizes[name] for name in found})
        own = {name: item.row.cells[name] for name in columns}
        if is_address:
            own["antibody"] = _antibody(item.row.cells[id_column])
        entries.append(Entry(item.image_id, tuple(str(folder.path / name) for name in found), item.classes, own))
    return make_listing(
        entries,
        problems,
        source=source,
        kind=source.kind,
        where=f"{source.csv or source.folder} with the images of {source.folder}",
        classes=classes,
        channels=source.channels,
        group_columns=(*source.group_columns, *(["antibody"] if is_address else [])),
        fingerprint=hash_inputs([source.csv] if source.csv else [], files),
    )


def image_name(text: str) -> str:
    """The id of an image: as written, or the last part of the atlas's address.

    >>> image_name("https://images.proteinatlas.org/4109/24_H11_1")
    '24_H11_1'
    """
    return text.rsplit("/", 1)[-1] if text.startswith(("https://", "http://")) else text


def to_hpa2021(text: str) -> tuple[int, ...]:
    """Class numbers of 2021 for a label of 2018; classes without a counterpart are left out.

    Raises:
        LabelError: malformed, or no class has a counterpart.

    >>> to_hpa2021("16 0")
    (0,)
    """
    numbers = HPA2018.parse(text)
    mapped = [HPA2018_TO_2021[number] for number in numbers]
    known = [number for number in mapped if number is not None]
    if not known:
        names = ", ".join(HPA2018.names[number] for number in numbers)
        raise LabelError(f"no class of 2021 for {names}")
    return HPA2021.check(known)


def _labels(source: Kaggle2021 | Kaggle2018) -> tuple[ClassList, Callable[[str], tuple[int, ...]]]:
    match source:
        case Kaggle2018(classes="hpa2018"):
            return HPA2018, partial(HPA2018.parse)
        case Kaggle2018():
            return HPA2021, to_hpa2021
        case Kaggle2021():
            return HPA2021, partial(HPA2021.parse)


def _key_columns(source: KaggleConfig, table: CsvFile) -> tuple[str, str | None]:
    id_column = table.column(source.id_column, ID_COLUMNS, "source.id_column")
    if id_column is None:
        raise ValueError(
            f"{table.path}: expected one of the columns {list(ID_COLUMNS)} with the image ids, but there are "
            f"{list(table.columns)}; set source.id_column"
        )
    return id_column, table.column(source.label_column, LABEL_COLUMNS, "source.label_column")


def _ids_in(folder: Folder, channels: tuple[str, ...]) -> list[str]:
    """Ids of the images of which at least one channel is there."""
    ids = {
        stem.removesuffix(f"_{channel}")
        for stem in folder.by_stem
        for channel in channels
        if stem.endswith(f"_{channel}")
    }
    return sorted(image_id for image_id in ids if is_safe_id(image_id))


def _find(folder: Folder, item: LabelledRow, channels: tuple[str, ...], problems: Problems) -> list[str] | None:
    """File names of an image's channels, or None with the problem noted."""
    found = [folder.by_stem.get(f"{item.image_id}_{channel}") for channel in channels]
    names = [name for name in found if name is not None]
    if len(names) == len(channels):
        return names
    row = item.row.line or None
    if any(name.startswith(f"{item.image_id}_") for name in folder.outside):
        detail = f"a link out of {folder.path}; source.follow_links=true allows it"
        problems.add(item.image_id, "unsafe_path", detail, row)
    elif names:
        missing = [channel for channel, name in zip(channels, found, strict=True) if name is None]
        problems.add(item.image_id, "missing_channel", f"no file for {', '.join(missing)} in {folder.path}", row)
    else:
        problems.add(item.image_id, "missing_file", f"no {item.image_id}_{channels[0]}.* in {folder.path}", row)
    return None


def _antibody(address: str) -> str:
    """The antibody's number, the folder in the atlas's address; its images show one protein and share their labels."""
    parts = urlsplit(address).path.strip("/").split("/")
    return parts[-2] if len(parts) > 1 else ""
