"""The page about a dataset before anyone trains on it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hpa.arrays import Targets
from hpa.report.appearance import Reference, intensity_section, size_section
from hpa.report.bars import columns, count_bars
from hpa.report.dealing import folds_section, groups_section, problems_section
from hpa.report.formats import compact, count_of
from hpa.report.gallery import Example, colours, plain_tile
from hpa.report.heatmaps import heat_map
from hpa.report.page import Block, Card, Cards, Figure, Gallery, Note, Page, Section, write_page

RARE = 20
"""Below so many images a class is called rare: a fifth of them are four images to judge it by."""


def dataset_report(
    path: Path,
    *,
    title: str,
    images: pd.DataFrame,
    channels: Sequence[str],
    classes: Sequence[str],
    multi_label: bool = True,
    targets: Targets | None = None,
    problems: pd.DataFrame | None = None,
    folds: pd.DataFrame | None = None,
    examples: Mapping[str, Sequence[Example]] | None = None,
    reference: Reference | None = None,
    subtitle: str = "",
    name: str = "this dataset",
    warnings: Sequence[str] = (),
    figures: Path | None = None,
) -> Path:
    """Write the page that describes a dataset, atomically. Parts that are not given are left out.

    Args:
        path: the HTML file.
        title: heading of the page.
        images: an ImageTable with the index's columns: `mean_`, `std_`, `p99_` and `hist_<channel>`, `duplicate_set`.
        channels: names of the channels.
        classes: names of the classes.
        multi_label: whether an image may have several classes.
        targets: rows as in `images`; None for images without labels.
        problems: image_id, problem, detail of every entry left out.
        folds: class, fold, count, deviation, ungrouped_deviation, as `folds.fold_report` gives it.
        examples: class name to images that have it.
        reference: another dataset to show beside this one.
        subtitle: one line below the heading.
        name: what to call this dataset where it stands beside another.
        warnings: shown above everything else.
        figures: a folder for the figures as PNG files too.

    Returns:
        `path`.

    Raises:
        ValueError: no images.
        OSError: a file cannot be written.
    """
    if images.empty:
        raise ValueError("expected at least one image to describe, but got none")
    bad = pd.DataFrame(columns=["image_id", "problem", "detail"]) if problems is None else problems
    sections = [_overview(images, channels, classes, targets, bad)]
    if targets is not None:
        sections.append(_labels(targets, classes, multi_label))
    if reference and reference.examples and examples:
        sections.append(_side_by_side(name, examples, reference))
    if examples:
        sections.append(_examples(examples, channels, classes, targets, multi_label))
    sections += [
        intensity_section(name, images, channels, targets, classes, reference),
        size_section(name, images, reference),
        groups_section(images, targets, classes),
    ]
    if folds is not None:
        sections.append(folds_section(folds))
    sections.append(problems_section(bad))
    return write_page(path, Page(title, sections, subtitle, list(warnings)), figures)


def _overview(
    images: pd.DataFrame,
    channels: Sequence[str],
    classes: Sequence[str],
    targets: Targets | None,
    problems: pd.DataFrame,
) -> Section:
    cards = [Card("Images", f"{len(images):,}", f"{count_of(len(channels), 'channel')}: {', '.join(channels)}")]
    notes: list[Block] = []
    if targets is None:
        notes.append(Note("The images have no labels: they can be predicted, but not trained on."))
    else:
        counts = targets.sum(axis=0).astype(int)
        absent = [name for name, count in zip(classes, counts, strict=True) if count == 0]
        rare = [f"{name} ({count})" for name, count in zip(classes, counts, strict=True) if 0 < count < RARE]
        present = counts[counts > 0]
        cards.append(Card("Classes", f"{len(present)}", f"of {len(classes)} in the list have images"))
        if len(present) > 1:
            detail = f"{present.max():,} images against {present.min():,}"
            cards.append(Card("Most : least frequent", f"{present.max() / present.min():,.1f} : 1", detail))
        if absent:
            notes.append(Note(f"No image has {', '.join(absent)}: a model cannot learn what it never sees."))
        if rare:
            notes.append(Note(f"Fewer than {RARE} images: {', '.join(rare)}. Figures for these will be uncertain."))
    cards.append(Card("Groups", f"{images['group'].nunique():,}", "images of one group belong together"))
    cards.append(Card("Problems", f"{len(problems):,}", "entries left out, listed below" if len(problems) else "none"))
    return Section("At a glance", [Cards(cards), *notes])


def _labels(targets: Targets, classes: Sequence[str], multi_label: bool) -> Section:
    counts = targets.sum(axis=0).astype(int)
    blocks: list[Block] = [
        Figure(
            "label_counts",
            count_bars(classes, counts.tolist(), len(targets)),
            "Images per class",
            "How to read it: a bar is the number of images that carry the label, in brackets its share of all images"
            + ("; an image with several labels counts in each." if multi_label else "."),
        )
    ]
    if multi_label:
        per_image = np.bincount(targets.sum(axis=1).astype(int))
        numbers = [value for value in range(len(per_image)) if value or per_image[0]]
        blocks.append(
            Figure(
                "labels_per_image",
                columns(numbers, per_image[numbers].tolist(), "labels of one image"),
                "Labels per image",
                "How to read it: how many images carry one label, two labels and so on.",
            )
        )
        together = (targets.T.astype(np.float64) @ targets).round()
        shares = np.divide(together, counts[:, None], out=np.full(together.shape, np.nan), where=counts[:, None] > 0)
        texts = [[compact(int(value)) for value in line] for line in together]
        np.fill_diagonal(shares, np.nan)
        blocks.append(
            Figure(
                "co_occurrence",
                heat_map(
                    shares, classes, None, texts, "also has this class", "images with this class", "share of the row"
                ),
                "Which labels occur together",
                "How to read it: the number is how many images carry both labels (on the grey diagonal: the label at "
                "all); the darker a cell, the larger the part of the row's images that also carry the column's label.",
            )
        )
    return Section("Labels", blocks)


def _examples(
    examples: Mapping[str, Sequence[Example]],
    channels: Sequence[str],
    classes: Sequence[str],
    targets: Targets | None,
    multi_label: bool,
) -> Section:
    counts = dict(zip(classes, targets.sum(axis=0).astype(int).tolist(), strict=True)) if targets is not None else {}
    blocks = [
        Gallery(
            f"{name} ({count_of(counts[name], 'image')})" if name in counts else name,
            [plain_tile(example) for example in shown],
            tile_width=165,
        )
        for name, shown in examples.items()
        if shown
    ]
    chosen = "Chosen at random, images with fewer labels first." if multi_label else "Chosen at random."
    lead = f"{colours(channels)} Brightness is as in the files. {chosen}"
    return Section("Examples", blocks, lead)


def _side_by_side(name: str, examples: Mapping[str, Sequence[Example]], reference: Reference) -> Section:
    """As many images of each dataset, one of each class in turn on this side."""
    most = max(map(len, examples.values()))
    turns = [shown[turn] for turn in range(most) for shown in examples.values() if turn < len(shown)]
    mine = list({example.image_id: example for example in turns}.values())[: len(reference.examples)]
    blocks = [
        Gallery(each, [plain_tile(example) for example in shown], tile_width=165)
        for each, shown in ((name, mine), (reference.name, reference.examples))
    ]
    return Section("Side by side", blocks, "Images of both datasets, brightness as in the files.")
