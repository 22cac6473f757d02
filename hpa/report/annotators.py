"""The page about several annotators: how far they agree, how each errs, and the images that they disagree on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpa.report.formats import count_of, number, percent
from hpa.report.gallery import Example, colours, encode
from hpa.report.heatmaps import heat_map
from hpa.report.page import Block, Card, Cards, Facts, Figure, Gallery, Note, Page, Section, Table, Tile, write_page

SHOWN = 0.05
"""Least soft label that a picture's text names."""


def annotators_report(
    path: Path,
    *,
    metrics: Mapping[str, Any],
    pairs: pd.DataFrame,
    per_class: pd.DataFrame,
    confusions: Mapping[str, np.ndarray],
    classes: Sequence[str],
    channels: Sequence[str],
    examples: Sequence[tuple[Example, float]] = (),
    summary: Mapping[str, str] | None = None,
) -> Path:
    """Write the page, and its figures to `figures/` beside it.

    Args:
        path: the HTML file.
        metrics: images, items, fleiss_kappa, observed, expected, unanimous, hard, relabelled, corrected; and by
            annotator votes_of_annotators, accuracy_of_annotators.
        pairs: first, second, items, agree, kappa.
        per_class: class, votes, images, unanimous, kappa.
        confusions: of each annotator: (classes, classes), the probability of its answer (column) given the class (row).
        classes: names.
        channels: of the pictures.
        examples: hard images, `predicted` being what each annotator said, with their disagreement.
        summary: settings worth knowing.

    Raises:
        OSError: a file cannot be written.
    """
    sections = [
        Section("At a glance", [_cards(metrics)]),
        Section("Agreement", _agreement(pairs, per_class)),
        Section("How each annotator errs", [_right(metrics), *_errors(confusions, classes)]),
        Section("Hard images", _pictures(examples, channels)),
        *([Section("How this was made", [Facts(summary)])] if summary else []),
    ]
    subtitle = f"{count_of(int(metrics['images']), 'image')}, {count_of(len(confusions), 'annotator')}"
    return write_page(path, Page("Labels of several annotators", sections, subtitle), path.parent / "figures")


def _cards(metrics: Mapping[str, Any]) -> Cards:
    total = int(metrics["images"])
    return Cards(
        [
            Card("Fleiss's kappa", number(metrics["fleiss_kappa"]), "1 = perfect, 0 = chance"),
            Card("Two annotators agree", percent(metrics["observed"]), f"by chance {percent(metrics['expected'])}"),
            Card(
                "Unanimous", percent(metrics["unanimous"]), f"of {count_of(int(metrics['items']), 'image')} with votes"
            ),
            Card("Hard", f"{metrics['hard']:,}", f"{percent(metrics['hard'] / total)} of the images"),
            Card(
                "Learned otherwise",
                f"{metrics['relabelled']:,}",
                f"labels differ from the given ones, {metrics['corrected']:,} in the most likely class",
            ),
        ]
    )


def _agreement(pairs: pd.DataFrame, per_class: pd.DataFrame) -> list[Block]:
    of_pairs = pd.DataFrame(
        {
            "annotators": [f"{row.first}, {row.second}" for row in pairs.itertuples()],
            "images": [number(int(value)) for value in pairs["items"]],
            "agree": [percent(value) for value in pairs["agree"]],
            "Cohen's kappa": [number(float(value)) for value in pairs["kappa"]],
        }
    )
    of_classes = pd.DataFrame(
        {
            "class": per_class["class"],
            "votes": [number(int(value)) for value in per_class["votes"]],
            "images": [number(int(value)) for value in per_class["images"]],
            "unanimous": [number(int(value)) for value in per_class["unanimous"]],
            "Fleiss's kappa": [number(float(value)) for value in per_class["kappa"]],
        }
    )
    caption = (
        "Images that some annotator gave the class, how many of those all did, and agreement on this class or not."
    )
    return [
        Table("Every pair", of_pairs, "", ["images", "agree", "Cohen's kappa"]),
        Table("Every class", of_classes, caption, ["votes", "images", "unanimous", "Fleiss's kappa"]),
    ]


def _right(metrics: Mapping[str, Any]) -> Table:
    frame = pd.DataFrame(
        {
            "annotator": list(metrics["votes_of_annotators"]),
            "votes": [number(int(value)) for value in metrics["votes_of_annotators"].values()],
            "right": [percent(value) for value in metrics["accuracy_of_annotators"].values()],
        }
    )
    caption = (
        "The share of answers that are right, if the soft labels are: these are made from the same votes, so that an "
        "annotator seems somewhat better than on labels that others gave."
    )
    return Table("", frame, caption, ["votes", "right"])


def _errors(confusions: Mapping[str, np.ndarray], classes: Sequence[str]) -> list[Block]:
    caption = (
        "How to read it: a row is what the soft labels say, a column what this annotator answered; an annotator who "
        "errs nowhere has a dark diagonal alone."
    )
    blocks: list[Block] = []
    for place, (name, matrix) in enumerate(confusions.items()):
        texts = [[percent(float(value)) if value >= 0.005 else "" for value in row] for row in matrix]
        png = heat_map(matrix, list(classes), texts=texts, x="answer", y="soft label", scale="share of the answers")
        blocks.append(Figure(f"annotator_{place}", png, name, caption if place == 0 else ""))
    return blocks


def _pictures(examples: Sequence[tuple[Example, float]], channels: Sequence[str]) -> list[Block]:
    if not examples:
        return [Note("No image is hard, or no examples were asked for.")]
    tiles = []
    for example, hard in examples:
        soft = [f"{name} {value:.2f}" for name, value in example.probabilities.items() if value >= SHOWN]
        lines = [("labelled", ", ".join(example.true))] if example.true else []
        lines += [("", said) for said in example.predicted]
        lines += [("learned as", ", ".join(soft)), ("disagreement", f"{hard:.2f}")]
        tiles.append(Tile(encode(example.picture), name=example.image_id, lines=lines))
    return [Gallery("", tiles, f"The hardest first. {colours(channels)}")]
