"""The page about decisions: what became of the images of each class, with pictures of what was changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hpa.report.bars import ROW
from hpa.report.canvas import BLUE, GREEN, ORANGE, VERMILION, WIDTH, name_rows, new_drawing, tidy, to_png
from hpa.report.formats import count_of, number, percent, shorten
from hpa.report.gallery import Example, colours, encode
from hpa.report.page import Block, Card, Cards, Facts, Figure, Gallery, Note, Page, Section, Table, Tile, write_page

GALLERIES = {
    "drop": ("Not learned from", "The worst first, as far as the limits let them go."),
    "relabel": ("Learned with other labels", "The most changed first. Numbers are the labels that training reads."),
    "weight": ("Counting less", "The lightest first."),
    "limited": ("Held back by a limit", "The policy would have changed these more, but a class had lost enough."),
}
"""Kind of decision to the title and caption of its pictures."""

PARTS = (("kept", BLUE), ("lighter", ORANGE), ("relabelled", GREEN), ("dropped", VERMILION))
"""Columns of the moves with the colour of their bars."""

HEADS = {
    "class": "class",
    "given": "images",
    "kept": "kept",
    "dropped": "dropped",
    "lighter": "counting less",
    "relabelled": "relabelled",
    "removed": "labels removed",
    "added": "labels added",
    "learned": "learned",
    "limited": "held back",
}
"""Columns of the moves with their heads in the table."""


@dataclass(frozen=True, eq=False)
class DecidedExample:
    """An image with its decision.

    Attributes:
        kind: one of GALLERIES.
        example: picture and given labels.
        learned: class name to the label that training reads, in [0, 1].
        weight: in training.
        reason: why.
    """

    kind: str
    example: Example
    learned: Mapping[str, float]
    weight: float
    reason: str


def denoising_report(
    path: Path,
    *,
    decisions: pd.DataFrame,
    moves: pd.DataFrame,
    classes: Sequence[str],
    channels: Sequence[str],
    examples: Sequence[DecidedExample],
    truth: Mapping[str, int | float] | None = None,
    summary: Mapping[str, str] | None = None,
) -> Path:
    """Write the page, and its figures to `figures/` beside it.

    Args:
        path: the HTML file.
        decisions: a row per image with `action`, `weight` and `reason`.
        moves: one row per class with the columns HEADS.
        classes: names of the classes.
        channels: of the pictures.
        examples: pictures.
        truth: of a simulated atlas: wrong, wrong_changed, right_changed, squared_error_before, squared_error_after.
        summary: settings worth knowing.

    Raises:
        OSError: a file cannot be written.
    """
    sections = [Section("At a glance", _overview(decisions, truth)), Section("Class by class", _by_class(moves))]
    galleries: list[Block] = []
    for kind, (title, caption) in GALLERIES.items():
        tiles = [_tile(example) for example in examples if example.kind == kind]
        if tiles:
            galleries.append(Gallery(title, tiles, f"{caption} {colours(channels)}"))
    sections.append(Section("Pictures", galleries or [Note("No image was changed, or no examples were asked for.")]))
    if summary:
        sections.append(Section("How this was made", [Facts(summary)]))
    subtitle = f"{count_of(len(decisions), 'image')}, {count_of(len(classes), 'class', 'classes')}"
    page = Page("Decisions about doubtful images", sections, subtitle, _warnings(moves))
    return write_page(path, page, path.parent / "figures")


def _overview(decisions: pd.DataFrame, truth: Mapping[str, int | float] | None) -> list[Block]:
    total = len(decisions)
    counts = decisions["action"].value_counts()
    names = {"keep": "Kept as they are", "drop": "Dropped", "weight": "Counting less", "relabel": "Relabelled"}
    cards = [
        Card(label, f"{int(counts.get(action, 0)):,}", f"{percent(counts.get(action, 0) / total)} of the images")
        for action, label in names.items()
    ]
    blocks: list[Block] = [Cards(cards)]
    reasons = decisions.loc[decisions["action"] != "keep", "reason"].str.split(";").str[0].value_counts()
    if len(reasons):
        table = pd.DataFrame({"because of": reasons.index, "images": [f"{count:,}" for count in reasons]})
        blocks.append(Table("Why images were changed", table, numeric=("images",)))
    if truth is not None:
        right = total - truth["wrong"]
        blocks.append(
            Cards(
                [
                    Card("Wrong labels met", f"{truth['wrong_changed']:,}", f"of {truth['wrong']:,} that were planted"),
                    Card("Right labels touched", f"{truth['right_changed']:,}", f"of {right:,}"),
                    Card(
                        "Error of the labels",
                        number(truth["squared_error_after"]),
                        f"squared, per image; {number(truth['squared_error_before'])} before",
                    ),
                ],
                "Against the truth of the simulated atlas",
            )
        )
    return blocks


def _by_class(moves: pd.DataFrame) -> list[Block]:
    shown = {head: [_cell(value) for value in moves[name]] for name, head in HEADS.items()}
    table = Table(
        "All figures",
        pd.DataFrame(shown),
        "The first columns count images given the class. Removed and added labels and what is learned are sums of "
        "label times weight, so that half a label counts half.",
        [head for name, head in HEADS.items() if name != "class"],
    )
    caption = (
        "How to read it: a bar is all images given the class; what is not blue is dropped, counts less or has other "
        "labels. The tick is what training learns of the class after all changes: right of the bar's end where labels "
        "were added."
    )
    return [Figure("moves", _bars(moves), "What became of the images of each class", caption), table]


def _bars(moves: pd.DataFrame) -> bytes:
    drawing = new_drawing(WIDTH, 1.15 + ROW * max(len(moves), 2))
    axes = drawing.add_subplot()
    rows = np.arange(len(moves))
    left = np.zeros(len(moves))
    for name, colour in PARTS:
        values = moves[name].to_numpy(float)
        axes.barh(rows, values, left=left, color=colour, height=0.72, label=HEADS[name])
        left += values
    learned = moves["learned"].to_numpy(float)
    axes.plot(
        learned, rows, linestyle="", marker="|", markersize=13, markeredgewidth=2.2, color="black", label="learned"
    )
    tidy(axes, x="images", grid="x")
    name_rows(axes, [shorten(str(name), 44) for name in moves["class"]], 44)
    axes.set_xlim(0, max(float(left.max(initial=1)), float(learned.max(initial=1))) * 1.04)
    drawing.legend(loc="outside upper right", ncols=5, fontsize=8.5, frameon=False)
    return to_png(drawing)


def _tile(decided: DecidedExample) -> Tile:
    learned = ", ".join(f"{name} {value:.2f}" for name, value in decided.learned.items()) or "nothing"
    lines = [("labelled", ", ".join(decided.example.true) or "nothing")]
    lines += [("learned as", learned)] if decided.kind in ("relabel", "limited") else []
    lines += [("weight", f"{decided.weight:.2f}")] if 0 < decided.weight < 1 else []
    lines += [("because of", decided.reason)]
    protein = decided.example.protein
    return Tile(
        encode(decided.example.picture),
        name=decided.example.image_id,
        lines=lines,
        second=None if protein is None else encode(protein),
    )


def _warnings(moves: pd.DataFrame) -> list[str]:
    emptied = moves.loc[(moves["given"] > 0) & (moves["learned"] < 0.5), "class"].tolist()
    grown = moves.loc[(moves["given"] > 0) & (moves["added"] > moves["given"]), "class"].tolist()
    texts = [f"Nothing is left to learn of {', '.join(emptied)}; set limits.least above 0."] if emptied else []
    texts += [f"More labels were added than there were: {', '.join(grown)}. Look at the pictures."] if grown else []
    return texts


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value
    return number(value, 1) if isinstance(value, float | int | np.integer) else str(value)
