"""One self-contained HTML file: sections of figures, tables, cards and galleries; every text is escaped."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias

import jinja2
import pandas as pd
from markupsafe import Markup

from hpa.artifacts import atomic_write, write_text
from hpa.report.canvas import DPI
from hpa.report.template import STYLE, TEMPLATE


@dataclass(frozen=True)
class Figure:
    """A drawing with a sentence that says how to read it.

    Attributes:
        name: of its PNG file, without the ending, where a page's figures are written to a folder too.
        png: the file's bytes, drawn at `canvas.DPI`.
        title: heading above it.
        caption: how to read it.
    """

    kind: ClassVar[str] = "figure"
    name: str
    png: bytes
    title: str
    caption: str

    @property
    def source(self) -> str:
        """The image as a data URI."""
        return data_uri(self.png, "png")

    @property
    def width(self) -> int:
        """CSS pixels: the PNG's own width (bytes 16 to 20 of the file) at 96 to the inch."""
        return round(int.from_bytes(self.png[16:20], "big") * 96 / DPI)


@dataclass(frozen=True)
class Table:
    """A table of text that is formatted already.

    Attributes:
        title: heading above it.
        frame: cells are shown as `str`.
        caption: how to read it.
        numeric: columns set to the right.
    """

    kind: ClassVar[str] = "table"
    title: str
    frame: pd.DataFrame
    caption: str = ""
    numeric: Sequence[str] = ()

    @property
    def columns(self) -> list[str]:
        """Heads of the columns."""
        return [str(name) for name in self.frame.columns]

    @property
    def right(self) -> list[bool]:
        """Whether each column is set to the right."""
        return [name in self.numeric for name in self.columns]

    @property
    def rows(self) -> list[list[str]]:
        """Cells as text."""
        return [[str(value) for value in row] for row in self.frame.itertuples(index=False, name=None)]


@dataclass(frozen=True)
class Card:
    """One figure that matters, in large type."""

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Cards:
    """A row of cards."""

    kind: ClassVar[str] = "cards"
    cards: Sequence[Card]
    title: str = ""


@dataclass(frozen=True)
class Note:
    """A paragraph set apart."""

    kind: ClassVar[str] = "note"
    text: str
    title: str = ""


@dataclass(frozen=True)
class Facts:
    """Names and values, one a line.

    Attributes:
        facts: name to value.
        title: heading above it.
        folded: text of the link that unfolds it; empty to show it at once.
    """

    kind: ClassVar[str] = "facts"
    facts: Mapping[str, str]
    title: str = ""
    folded: str = ""


@dataclass(frozen=True)
class Tile:
    """One picture of a gallery.

    Attributes:
        picture: JPEG bytes.
        name: small print below, such as the image's ID.
        lines: (label, text) pairs.
        mark: bold first line.
        state: gives the tile its colour.
        second: JPEG bytes of a picture to the right of the first.
        link: where the name leads, such as `pages/a.html`; empty for nowhere.
    """

    picture: bytes
    name: str
    lines: Sequence[tuple[str, str]] = ()
    mark: str = ""
    state: Literal["", "right", "wrong"] = ""
    second: bytes | None = None
    link: str = ""

    @property
    def sources(self) -> list[str]:
        """The pictures as data URIs."""
        return [data_uri(picture, "jpeg") for picture in (self.picture, self.second) if picture is not None]


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side; `tile_width` is the least width of one in CSS pixels."""

    kind: ClassVar[str] = "gallery"
    title: str
    tiles: Sequence[Tile]
    caption: str = ""
    tile_width: int = 200


Block: TypeAlias = Figure | Table | Cards | Note | Facts | Gallery


@dataclass(frozen=True)
class Section:
    """A heading, a paragraph that leads in, and blocks."""

    title: str
    blocks: Sequence[Block]
    lead: str = ""


@dataclass(frozen=True)
class Page:
    """A whole page; warnings stand above everything else."""

    title: str
    sections: Sequence[Section]
    subtitle: str = ""
    warnings: Sequence[str] = ()
    footer: str = field(default="Made by hpa. This file needs nothing else: no network, no other files.")


def data_uri(content: bytes, image_format: Literal["png", "jpeg"]) -> str:
    """Image bytes as text that an HTML page can hold."""
    return f"data:image/{image_format};base64,{base64.b64encode(content).decode()}"


def render_page(page: Page) -> str:
    """The page as HTML text; all text in it is escaped, and no script runs.

    >>> "<b>" in render_page(Page(title="<b>", sections=[]))
    False
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(TEMPLATE).render(page=page, style=Markup(STYLE))


def write_page(path: Path, page: Page, figures: Path | None = None) -> Path:
    """Write the page, and its figures as PNG files into the folder `figures` where given; gives the page's path.

    Raises:
        OSError: a file cannot be written; what stood there is as it was.
    """
    if figures is not None:
        for section in page.sections:
            for block in section.blocks:
                if isinstance(block, Figure):
                    with atomic_write(figures / f"{block.name}.png", "wb") as stream:
                        stream.write(block.png)
    # File names that are not UTF-8 hold lone surrogates, which no text file can.
    write_text(path, render_page(page).encode("utf-8", "replace").decode())
    return path
