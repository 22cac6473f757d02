"""The page that compares methods of attribution, and leads to the pages of the explained items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpa.report.explanation_figures import method_panels
from hpa.report.explanation_verdict import last_level, verdict
from hpa.report.explanation_wording import CONTROLS, cost, method_name, stain_names
from hpa.report.explanations import REGIONS
from hpa.report.formats import count_of, duration, number, percent
from hpa.report.gallery import Picture, encode
from hpa.report.heatmaps import heat_map
from hpa.report.page import Block, Card, Cards, Facts, Figure, Gallery, Note, Page, Section, Table, Tile, write_page

_FEW = 20


@dataclass(frozen=True, eq=False)
class LinkedItem:
    """An explained item as the overview shows it.

    Attributes:
        name: of the item.
        link: to its page.
        picture: RGB.
        map: RGB picture of one method's map.
        labelled: names of its classes; None where unknown.
        predicted: names of the classes predicted.
    """

    name: str
    link: str
    picture: Picture
    map: Picture
    labelled: tuple[str, ...] | None
    predicted: tuple[str, ...]


def methods_page(
    path: Path,
    comparison: pd.DataFrame,
    agreement: pd.DataFrame,
    values: pd.DataFrame,
    items: Sequence[LinkedItem],
    shown_method: str,
    settings: Mapping[str, str],
    summary: Mapping[str, str],
    warnings: Sequence[str] = (),
) -> Path:
    """Write the page and its figures.

    Args:
        path: of the HTML file; figures go to `figures/` beside it too.
        comparison: one row per method and control, as `compare_methods` gives it.
        agreement: methods x methods, mean rank correlation; empty where nothing was judged.
        values: one row per explained class, a column per channel: what it brings to the probability.
        items: that have pages.
        shown_method: name of the method whose maps the overview shows.
        settings: by method, its settings as text.
        summary: name and value of what is worth knowing.
        warnings: shown on top.
    """
    is_judged = "insertion" in comparison
    few = []
    if is_judged and comparison["questions"].max() < _FEW:
        counted = count_of(int(comparison["questions"].max()), "explained class", "explained classes")
        few.append(
            f"{counted} cannot rank methods: look at the standard errors, and explain several dozen images for a "
            "comparison."
        )
    sections = [
        Section("At a glance", [_cards(comparison, values, items)]),
        Section(
            "Images and cells", [_gallery(items, shown_method)], "Each name leads to a page with all methods' maps."
        ),
    ]
    if is_judged:
        blocks: list[Block] = [Note(verdict(comparison), "What to trust"), _table(comparison), _panels(comparison)]
        sections.append(Section("Methods compared", blocks, LEAD))
        if len(agreement) > 1:
            sections.append(Section("Do the methods agree?", [_agreement(agreement)]))
    else:
        sections.append(Section("Methods", [_costs(comparison), Note("judge=true tells what these maps are worth.")]))
    names = {method_name(name): text for name, text in settings.items()}
    sections.append(Section("How this was made", [Facts(summary), Facts(names, "Settings of the methods")]))
    page = Page("Why the network says so", sections, summary.get("Run", ""), [*warnings, *few])
    return write_page(path, page, path.parent / "figures")


def _cards(comparison: pd.DataFrame, values: pd.DataFrame, items: Sequence[LinkedItem]) -> Cards:
    methods = comparison[~comparison["method"].isin(list(CONTROLS))]
    known = [item for item in items if item.labelled is not None]
    right = sum(set(item.labelled or ()) == set(item.predicted) for item in known)
    detail = f"{right} answered right, {len(known) - right} wrong" if known else "labels unknown"
    cards = [
        Card("Explained", str(len(items)), detail),
        Card("Methods", str(len(methods)), duration(float(methods["seconds"].sum())) + " for one class by all of them"),
    ]
    if "insertion_gain" in methods and methods["insertion_gain"].notna().any():
        for column, label in (("insertion_gain", "Best, put back"), ("deletion_gain", "Best, removed")):
            best = methods.loc[methods[column].idxmax()]
            cards.append(Card(label, f"{best[column]:+.2f}", f"{method_name(best['method'])}, against random places"))
    if len(values.columns) > 1 and len(values):
        mean = values.mean()
        channel = str(mean.idxmax())
        cards.append(
            Card(
                "Channel that matters most",
                stain_names(mean.index)[channel],
                f"brings {mean[channel]:+.2f} of the probability on average",
            )
        )
    return Cards(cards)


def _gallery(items: Sequence[LinkedItem], shown_method: str) -> Gallery:
    tiles = []
    for item in items:
        is_right = None if item.labelled is None else set(item.labelled) == set(item.predicted)
        tiles.append(
            Tile(
                encode(item.picture),
                item.name,
                [
                    *([] if item.labelled is None else [("labelled", ", ".join(item.labelled) or "nothing")]),
                    ("predicted", ", ".join(item.predicted) or "nothing"),
                ],
                mark="" if is_right is None else "✓ right" if is_right else "✗ wrong",
                state="" if is_right is None else "right" if is_right else "wrong",
                second=encode(item.map),
                link=item.link,
            )
        )
    caption = f"Beside each the {method_name(shown_method)} map of its first explained class: orange speaks for it."
    return Gallery("", tiles, caption, tile_width=280)


def _table(comparison: pd.DataFrame) -> Table:
    table: dict[str, Any] = {"Method": comparison["method"].map(method_name)}
    heads = {"insertion": "Put back ↑", "deletion": "Removed ↓"}
    for column, head in heads.items():
        table[head] = _with_error(comparison, column)
    for region in _told_regions(comparison):
        words = REGIONS[region]
        if f"energy_{region}" in comparison:
            table[f"In {words} ↑ (area)"] = [
                f"{percent(energy)} ({percent(area)})"
                for energy, area in zip(comparison[f"energy_{region}"], comparison[f"area_{region}"], strict=True)
            ]
    for region in ("true_cells", "own_cell"):
        if f"hit_{region}" in comparison:
            table["Points at it ↑"] = [percent(value) for value in comparison[f"hit_{region}"]]
    last = last_level(comparison)
    if last is not None:
        table["Random weights ↓"] = _with_error(comparison, last)
    if "agreement" in comparison:
        table["Agrees ↑"] = [number(value, 2) for value in comparison["agreement"]]
    table["Time"] = comparison["seconds"].map(cost)
    caption = (
        "Mean ± standard error. Put back, removed: areas under the insertion and deletion curves, of classes that were "
        "predicted. In ...: part of the positive evidence inside, and in brackets the region's part of the image, "
        "which a map without information would reach. Points at it: maps whose highest place is inside. Random "
        "weights: rank correlation with the map of the network with random weights. Agrees: mean rank correlation with "
        "the other methods. Time: per map."
    )
    return Table("All methods", pd.DataFrame(table), caption, [name for name in table if name != "Method"])


def _told_regions(comparison: pd.DataFrame) -> list[str]:
    """All regions that are known; that of any cell only where none is better."""
    known = [region for region in REGIONS if f"energy_{region}" in comparison]
    return known[:-1] if len(known) > 1 and known[-1] == "any_cell" else known


def _with_error(comparison: pd.DataFrame, column: str) -> list[str]:
    errors = comparison.get(f"{column}_error", pd.Series(np.nan, comparison.index))
    return [
        number(value, 2) + ("" if pd.isna(error) or pd.isna(value) else f" ± {error:.2f}")
        for value, error in zip(comparison[column], errors, strict=True)
    ]


def _panels(comparison: pd.DataFrame) -> Figure:
    titles = {"insertion_gain": "Put back,\nover random", "deletion_gain": "Removed,\nunder random"}
    for region in ("true_part", "own_cell", "any_cell"):
        if f"energy_{region}" in comparison:
            titles[f"energy_{region}"] = f"Energy in\n{REGIONS[region]}"
            break
    last = last_level(comparison)
    if last is not None:
        titles[last] = "Likeness,\nrandom weights"
    panels = {
        title: (comparison[column].tolist(), comparison.get(f"{column}_error", comparison[column] * np.nan).tolist())
        for column, title in titles.items()
        if column in comparison
    }
    marks = {
        title: float(comparison[column.replace("energy_", "area_")].mean())
        for column, title in titles.items()
        if column.startswith("energy_")
    }
    drawn = method_panels([method_name(name) for name in comparison["method"]], panels, marks)
    caption = (
        "Bars to the right are better in all panels but the last, where a trustworthy map is near 0. Whiskers: one "
        "standard error. Dashed: the region's part of the image."
    )
    return Figure("methods", drawn, "The same as bars", caption)


def _agreement(agreement: pd.DataFrame) -> Figure:
    names = [method_name(str(name)) for name in agreement.index]
    values = agreement.to_numpy(float)
    texts = [["" if np.isnan(value) else f"{value:.2f}" for value in row] for row in values]
    drawn = heat_map(np.clip(values, 0, 1), names, names, texts, scale="rank correlation of the maps (below 0 as 0)")
    caption = (
        "Mean over the explained classes. Methods of one family agree with each other; that alone makes none right."
    )
    return Figure("agreement", drawn, "", caption)


def _costs(comparison: pd.DataFrame) -> Table:
    times = comparison["seconds"].map(cost)
    table = pd.DataFrame({"Method": comparison["method"].map(method_name), "Time per map": times})
    return Table("", table, "", ["Time per map"])


LEAD = (
    "A map deserves trust when the answer follows it (put back, removed), when it changes with the network's weights, "
    "and, where the truth is known, when it lies in the cells that show the class."
)
