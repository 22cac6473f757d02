"""What a page of points shows: items with labels and columns, and their places in one or several maps."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

from hpa.arrays import Bool, Points
from hpa.report.thumbnails import Thumbnails

CLASS = "class"
"""Name under which the classes of the items can be chosen as the colour."""

RAMP = ((204, 210, 216), (244, 194, 122), (232, 116, 59), (179, 32, 58), (74, 13, 58))
"""Colours (red, green, blue) of numbers from low to high: light to dark, so that high scores stand out to every eye."""


@dataclass(frozen=True, eq=False)
class Panel:
    """One map of the items.

    Attributes:
        name: such as that of the embedding.
        coordinates: (items, 2), finite.
        facts: (name, value) pairs below the name: separation scores, say.
        note: one line: how the map was made.
    """

    name: str
    coordinates: Points
    facts: Sequence[tuple[str, str]] = ()
    note: str = ""


@dataclass(frozen=True, eq=False)
class Column:
    """One property of the items, to colour by.

    Attributes:
        name: shown in the list of colours; differs from every other's, and from `CLASS`.
        kind: `category` (texts), `number` (NaN = none) or `flag` (booleans).
        values: one per item.
        about: what a finding is about, which joins its score, its flag and its details; empty for other properties.
    """

    name: str
    kind: Literal["category", "number", "flag"]
    values: np.ndarray | Sequence[str]
    about: str = ""


@dataclass(frozen=True, eq=False)
class ScatterItems:
    """The items of a page.

    Attributes:
        keys: `image_id`, and `cell_id` for cells; one row per item.
        classes: names.
        labels: (items, classes); None for items without labels.
        columns: properties to colour by.
        details: texts of a finding (`about`) by item, empty where there is nothing to say: about → column → texts.
        thumbnails: pictures of the items, if there are any.

    Raises:
        ValueError: a length differs from the number of items, or two columns have one name.
    """

    keys: pd.DataFrame
    classes: Sequence[str]
    labels: Bool[np.ndarray, "items classes"] | None
    columns: Sequence[Column] = ()
    details: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    thumbnails: Thumbnails | None = None

    def __post_init__(self) -> None:
        lengths = {f"column {column.name}": len(column.values) for column in self.columns}
        lengths |= {} if self.labels is None else {"labels": len(self.labels)}
        lengths |= {} if self.thumbnails is None else {"thumbnails": len(self.thumbnails.places)}
        lengths |= {name: len(texts) for own in self.details.values() for name, texts in own.items()}
        wrong = {name: length for name, length in lengths.items() if length != len(self.keys)}
        if wrong:
            raise ValueError(f"expected {len(self.keys)} values, one per item, but got {wrong}")
        names = [CLASS, *(column.name for column in self.columns)]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"expected every column once, but {repeated} repeat")


def plain_items(items: ScatterItems) -> dict[str, object]:
    """The items as JSON takes them; numbers are little-endian binary in base64, as the page's script reads them."""
    cells = items.keys["cell_id"] if "cell_id" in items.keys.columns else None
    pictures = items.thumbnails
    return {
        "ids": [str(image_id) for image_id in items.keys["image_id"]],
        "cells": None if cells is None else _binary(cells.to_numpy(), "<i4"),
        "classes": [str(name) for name in items.classes],
        # Class by class, one byte per item.
        "labels": None if items.labels is None else _binary(items.labels.T, "u1"),
        "columns": [_plain_column(column) for column in items.columns],
        "details": [
            {"about": about, "name": name, "texts": {str(row): str(text) for row, text in enumerate(texts) if text}}
            for about, own in items.details.items()
            for name, texts in own.items()
        ],
        "thumbnails": None
        if pictures is None
        else {
            "side": pictures.format.side,
            "columns": pictures.format.columns,
            "places": _binary(pictures.places, "<i4"),
        },
    }


def plain_panel(panel: Panel, items: int) -> dict[str, object]:
    """A panel as JSON takes it.

    Raises:
        ValueError: not one place per item, or one is not finite.
    """
    if len(panel.coordinates) != items:
        raise ValueError(f"{panel.name}: expected {items} places, one per item, but got {len(panel.coordinates)}")
    if not np.isfinite(panel.coordinates).all():
        raise ValueError(f"{panel.name}: expected finite coordinates")
    facts = [[str(name), str(value)] for name, value in panel.facts]
    return {"name": panel.name, "note": panel.note, "facts": facts, "places": _binary(panel.coordinates, "<f4")}


def _plain_column(column: Column) -> dict[str, object]:
    plain: dict[str, object] = {"name": column.name, "kind": column.kind, "about": column.about}
    if column.kind != "category":
        return plain | {"values": _binary(np.asarray(column.values), "<f4" if column.kind == "number" else "u1")}
    texts = np.array(list(map(str, column.values)), object)
    codes, names = pd.factorize(texts, sort=True)
    return plain | {"values": _binary(codes, "<i4"), "names": names.tolist()}


def _binary(values: np.ndarray, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype).tobytes()).decode()
