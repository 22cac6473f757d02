"""The page of one explained image or cell: what the network saw, what it said, and why, by every method."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpa.arrays import Float32, LabelMap, Pixels
from hpa.images import composite
from hpa.report.attribution_maps import channel_picture, enlarged, grey_below, map_picture, outline
from hpa.report.explanation_figures import channel_bars, curve_panels
from hpa.report.explanation_wording import CONTROLS, STATUSES, cost, legend, method_name, stain_names
from hpa.report.formats import number, percent
from hpa.report.gallery import Picture, colours, encode, protein_channel
from hpa.report.page import Block, Facts, Figure, Gallery, Note, Page, Section, Table, Tile, write_page


@dataclass(frozen=True, eq=False)
class ExplainedClass:
    """Why an item has a class, by every method.

    Attributes:
        name: of the class.
        status: `right`, `wrong`, `missed`, `absent`, `predicted` or `not predicted`.
        probability: of the class.
        planes: evidence by method.
        shown: numbers of the cells that show the class in truth.
        brought: what each channel brings to the probability, by channel.
        figures: index method (and control), figures as `compare_methods` names them.
        parts: of the pixels, at each point of the curves; empty where nothing was judged.
        deletion: curves by method and control.
        insertion: curves by method and control.
    """

    name: str
    status: str
    probability: float
    planes: Mapping[str, Float32[np.ndarray, "_ _"]]
    shown: Collection[int]
    brought: Mapping[str, float]
    figures: pd.DataFrame
    parts: np.ndarray = field(default_factory=lambda: np.empty(0))
    deletion: Mapping[str, np.ndarray] = field(default_factory=dict)
    insertion: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ExplainedItem:
    """One image or cell.

    Attributes:
        name: shown in the title.
        level: `image` or `cell`.
        pixels: as the network saw it.
        channels: names of the planes.
        cells: label map; None where no cells are known.
        labelled: names of the classes; None where nobody knows.
        predicted: names of the classes.
        likely: likeliest classes with their probability.
        classes: that are explained.
        network: a sentence on which network explains.
    """

    name: str
    level: str
    pixels: Pixels
    channels: tuple[str, ...]
    cells: LabelMap | None
    labelled: tuple[str, ...] | None
    predicted: tuple[str, ...]
    likely: Mapping[str, float]
    classes: Sequence[ExplainedClass]
    network: str

    @property
    def is_wrong(self) -> bool:
        """Whether other classes were predicted than it is labelled with."""
        return self.labelled is not None and set(self.labelled) != set(self.predicted)


def item_page(
    path: Path, item: ExplainedItem, kinds: Mapping[str, str], longest: int, outlines: bool, white: float
) -> Path:
    """Write the page of one item.

    Args:
        path: of the HTML file.
        item: what it shows.
        kinds: `kind` of every method, by its name.
        longest: side of a picture, pixels.
        outlines: whether cells are outlined in the maps.
        white: part of a map's places that have the strongest colour.
    """
    warnings = []
    if item.is_wrong:
        warnings.append(
            f"The network's answer is wrong: labelled {_listed(item.labelled)}; predicted {_listed(item.predicted)}. "
            "The maps show why it said so, not where the true structure is."
        )
    sections = [Section("What the network saw", [_seen(item, longest), _answer(item)], item.network)]
    for one in item.classes:
        lead = f"{STATUSES[one.status]} Probability {one.probability:.2f}."
        blocks: list[Block] = [_maps(item, one, kinds, longest, outlines, white)]
        if len(item.channels) > 1:
            blocks.append(_channels(one))
        if len(one.parts):
            blocks += [_curves(one), _figures(one)]
        sections.append(Section(f"Why {one.name}? ({one.status})", blocks, lead))
    sections.append(Section("How to read this", [Note(text, title) for title, text in HOW_TO_READ.items()]))
    title = f"{item.level.capitalize()} {item.name}"
    return write_page(path, Page(title, sections, ", ".join(item.predicted) or "no class predicted", warnings))


def _seen(item: ExplainedItem, longest: int) -> Gallery:
    first = item.pixels[: len(item.channels)]
    picture = enlarged(composite(first, item.channels), longest)
    tiles = [Tile(encode(picture, longest), "all channels", mark="Composite")]
    if item.cells is not None:
        shown = {number for one in item.classes for number in one.shown}
        drawn = outline(picture, item.cells, shown)
        told = "green: cells that show an explained class in truth" if shown else "cells"
        tiles.append(Tile(encode(drawn, longest), told, mark="Outlines"))
    stains = stain_names(item.channels)
    for plane, channel in zip(first, item.channels, strict=True):
        if len(item.channels) > 1:
            grey = channel_picture(plane.astype(np.float32), longest)
            tiles.append(Tile(encode(grey, longest), f"{channel} channel", mark=stains[channel]))
    return Gallery("", tiles, colours(item.channels), tile_width=140)


def _answer(item: ExplainedItem) -> Facts:
    known = "unknown" if item.labelled is None else _listed(item.labelled)
    likely = ", ".join(f"{name} {value:.2f}" for name, value in item.likely.items())
    return Facts({"Labelled": known, "Predicted": _listed(item.predicted), "Likeliest classes": likely}, "The answer")


def _maps(
    item: ExplainedItem, one: ExplainedClass, kinds: Mapping[str, str], longest: int, outlines: bool, white: float
) -> Gallery:
    below = grey_below(item.pixels, item.channels)
    tiles = []
    for name, plane in one.planes.items():
        picture: Picture = map_picture(plane, below, item.cells if outlines else None, one.shown, longest, white)
        figures = one.figures.loc[name] if name in one.figures.index else pd.Series(dtype=float)
        lines = _lines(figures) if (plane > 0).any() else [("", "no place speaks for it")]
        tiles.append(Tile(encode(picture, longest), legend(kinds[name]), lines, method_name(name)))
    below_is = "the image" if protein_channel(item.channels) is None else "the protein's channel"
    caption = (
        f"Colour on {below_is} in grey. Orange: speaks for {one.name}, or matters to it; blue: speaks against it. "
        "Each map has its own scale."
    )
    if one.shown:
        caption += " Green outlines: cells that show the class in truth."
    return Gallery("Maps side by side", tiles, caption, tile_width=215)


def _lines(figures: pd.Series) -> list[tuple[str, str]]:
    lines = []
    for region, words in REGIONS.items():
        energy, area = figures.get(f"energy_{region}"), figures.get(f"area_{region}")
        if energy is not None and not pd.isna(energy):
            lines.append((f"in {words}", f"{percent(float(energy))} (area {percent(float(area))})"))
            break
    if "insertion" in figures and not pd.isna(figures["insertion"]):
        lines.append(("put back / removed", f"{figures['insertion']:.2f} / {figures['deletion']:.2f}"))
    return lines


def _channels(one: ExplainedClass) -> Figure:
    columns = {f"share_{channel}": channel for channel in one.brought}
    known = one.figures.reindex(columns=list(columns)).rename(columns=columns).dropna()
    known = known[~known.index.isin(list(CONTROLS))]
    known.index = pd.Index([method_name(name) for name in known.index])
    caption = (
        "Left: how much of the probability each channel brings, compared with images in which it is black; the values "
        "of all channels add up to the probability less that of a black image (Shapley values). Right: parts of the "
        "methods' maps that lie in each channel; methods whose maps have no channels are not listed."
    )
    drawn = channel_bars(one.brought, known, stain_names(one.brought))
    return Figure("channels", drawn, "Which channel matters?", caption)


def _curves(one: ExplainedClass) -> Figure:
    deletion, insertion = (
        {method_name(name): values for name, values in curves.items()} for curves in (one.deletion, one.insertion)
    )
    caption = (
        "Pixels are put back into a blurred image, or blackened, those first that a map holds for most important; the "
        "line shows what the network then says. Best three methods in colour. Maps no better than the controls tell "
        "nothing about this answer."
    )
    drawn = curve_panels(one.parts, deletion, insertion, [method_name(name) for name in CONTROLS])
    return Figure("curves", drawn, "Does the answer follow the map?", caption)


def _figures(one: ExplainedClass) -> Table:
    table: dict[str, Any] = {"Method": [method_name(str(name)) for name in one.figures.index]}
    for column, head in {"insertion": "Put back ↑", "deletion": "Removed ↓"}.items():
        table[head] = [number(value, 2) for value in one.figures[column].astype(float)]
    for region, words in REGIONS.items():
        if f"energy_{region}" in one.figures and one.figures[f"energy_{region}"].notna().any():
            table[f"In {words} ↑"] = [percent(value) for value in one.figures[f"energy_{region}"].astype(float)]
    if "seconds" in one.figures:
        table["Time"] = one.figures["seconds"].map(cost)
    return Table("Figures", pd.DataFrame(table), "", [name for name in table if name != "Method"])


def _listed(names: Sequence[str] | None) -> str:
    return ", ".join(names or ()) or "nothing"


REGIONS = {
    "true_cells": "true cells",
    "true_part": "their true part",
    "own_cell": "the cell",
    "any_cell": "any cell",
}
"""Regions by what a page calls them."""

HOW_TO_READ = {
    "A map is a statement about the network": (
        "It says what the network's answer rests on, not what is biologically true. A map that looks sensible can come "
        "from a network that is wrong, and a network that is right can look at the wrong thing."
    ),
    "Two kinds of maps": (
        "Contributions (Grad-CAM and its kin, integrated gradients, SHAP, LIME) say how much a place speaks for the "
        "class or against it. Sensitivities (guided backpropagation and what is made of it) say where the answer would "
        "change most if pixels changed; they have no sign and follow edges."
    ),
    "How fine a map can be": (
        "Grad-CAM and its kin see a few large squares (a 160-pixel image has 5 × 5), SHAP and LIME see superpixels or "
        "cells; only gradients see pixels. A smooth border in a coarse map is interpolation, not an outline."
    ),
}
"""Paragraphs at the end of every page, by title."""
