"""The report of a U-Net's training: figures of the images held out, the history, and outlines beside the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpa.arrays import LabelMap, Pixels
from hpa.images import composite
from hpa.report.curves import history_curves
from hpa.report.formats import count_of, duration, number
from hpa.report.gallery import encode
from hpa.report.overlays import draw_cells
from hpa.report.page import Block, Card, Cards, Facts, Figure, Gallery, Note, Page, Section, Tile, write_page
from hpa.report.run import whole_configuration

LONGEST = 400
"""Longest side of one of the two pictures of an example, pixels."""

WORDS = {"cells": "Cells", "nuclei": "Nuclei"}


@dataclass(frozen=True, eq=False)
class TrueAndFound:
    """A held-out image with its true and its found instances.

    Attributes:
        name: shown below the pictures.
        pixels: of the channels.
        channels: their names.
        truth: label map; None where it is not known.
        found: label map.
        figures: F1 by what was sought.
    """

    name: str
    pixels: Pixels
    channels: tuple[str, ...]
    truth: LabelMap | None
    found: LabelMap
    figures: Mapping[str, float]


def segmentation_training_report(
    path: Path,
    metrics: Mapping[str, Any],
    history: pd.DataFrame,
    examples: Sequence[TrueAndFound],
    config: Mapping[str, Any],
    initial_weights: str,
    match_iou: float,
    warnings: Sequence[str] = (),
) -> Path:
    """Write the page and its figures.

    Args:
        path: of the HTML file; figures go to `figures/` beside it too.
        metrics: `cells_f1`, `nuclei_f1` where known; epoch, seconds, peak_memory_gb.
        history: epoch, train_loss, loss, f1 and whatever else validation measured.
        examples: drawn beside their truth.
        config: the resolved configuration.
        initial_weights: where the encoder's first weights came from.
        match_iou: from which on an object counts as found.
        warnings: shown on top.
    """
    columns = {
        "Loss": [name for name in ("train_loss", "loss") if name in history],
        "F1 of objects at IoU 0.5": [name for name in ("cells_f1", "nuclei_f1") if name in history],
        "Pixels of borders, IoU": [name for name in ("cells_border_iou", "nuclei_border_iou") if name in history],
    }
    curves = history_curves(history.assign(fold=0), {title: names for title, names in columns.items() if names})
    cards = [
        Card(f"{words} found", number(metrics.get(f"{name}_f1")), f"F1 at IoU {match_iou:g}, mean of held-out images")
        for name, words in WORDS.items()
        if f"{name}_f1" in metrics
    ]
    cards += [
        Card("Best epoch", str(metrics["epoch"]), f"of {count_of(len(history), 'epoch')}"),
        Card("Time", duration(metrics["seconds"]), f"{metrics['peak_memory_gb']:.1f} GB of memory at most"),
    ]
    caption = (
        "Loss: of the training solid, of the images held out dashed. Elsewhere cells solid, nuclei dashed. "
        "F1 is 1 when every object is found with its outline and nothing else is. During training, connected pixels of "
        "the object plane are counted without post-processing, so those figures are lower than the final ones."
    )
    page = Page(
        title="Segmentation network",
        subtitle="U-Net for nuclei and cells",
        warnings=warnings,
        sections=[
            Section("At a glance", [Cards(cards)]),
            Section("Held-out images", [_gallery(examples)]),
            Section("Training", [Figure("history", curves, "Epoch by epoch", caption)]),
            Section(
                "How this was made",
                [Facts({"First weights of the encoder": initial_weights}), *whole_configuration(config)],
            ),
        ],
    )
    return write_page(path, page, path.parent / "figures")


def _gallery(examples: Sequence[TrueAndFound]) -> Block:
    if not examples:
        return Note("No examples were asked for.")
    tiles = []
    for example in examples:
        picture = composite(example.pixels, example.channels)
        nothing = np.zeros_like(example.found)
        truth = example.truth if example.truth is not None else nothing
        left, right = (encode(draw_cells(picture, cells, longest=LONGEST), LONGEST) for cells in (truth, example.found))
        lines = [(f"{WORDS[name]}, F1", number(value, 2)) for name, value in example.figures.items()]
        tiles.append(Tile(left, example.name, lines, second=right))
    return Gallery("Outlines", tiles, "Left the truth, right what was found.", tile_width=2 * LONGEST)
