"""The page about anomalies: what every detector found, the worst of it as pictures, and which classes it hits."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.ticker import FormatStrFormatter, MaxNLocator, NullFormatter

from hpa.arrays import Bool, Float32
from hpa.report.canvas import BLUE, FAINT, VERMILION, WIDTH, new_drawing, plain, tidy, to_png
from hpa.report.formats import count_of, number, percent
from hpa.report.heatmaps import heat_map
from hpa.report.page import Block, Card, Cards, Figure, Gallery, Note, Page, Section, Table, Tile, write_page


@dataclass(frozen=True, eq=False)
class DetectorPart:
    """One detector on the page.

    Attributes:
        name: as in the table of findings.
        title: in words.
        looks_for: a sentence on what a high score means.
        scores: (n,), NaN where it could not judge.
        flags: (n,).
        worst: tiles of the worst, flagged or not, the worst first.
    """

    name: str
    title: str
    looks_for: str
    scores: Float32[np.ndarray, " items"]
    flags: Bool[np.ndarray, " items"]
    worst: Sequence[Tile]


@dataclass(frozen=True, eq=False)
class ClassCounts:
    """How many of each class's members every detector flags.

    Attributes:
        classes: names.
        members: (classes,).
        flagged: (classes, detectors).
    """

    classes: Sequence[str]
    members: np.ndarray
    flagged: np.ndarray


def anomalies_report(
    path: Path,
    *,
    title: str,
    subtitle: str,
    noun: str,
    detectors: Sequence[DetectorPart],
    per_class: ClassCounts | None = None,
    planted: pd.DataFrame | None = None,
    lead: str = "",
    figures: Path | None = None,
) -> Path:
    """Write the page.

    Args:
        path: of the HTML file.
        title: of the page.
        subtitle: below it.
        noun: `image` or `cell`.
        detectors: the joined one first, then the single ones.
        per_class: where there are labels.
        planted: where the truth is known: finding, defect, planted, auroc, ap, recall, flagged.
        lead: what the colours of the pictures mean.
        figures: folder for the figures as PNG files.

    Raises:
        OSError: a file cannot be written.
    """
    sections = [_overview(detectors, noun)]
    if planted is not None and len(planted):
        sections.append(_planted(planted, detectors))
    sections.append(_worst(detectors, noun, lead))
    if per_class is not None:
        sections.append(_classes(per_class, detectors, noun))
    return write_page(path, Page(title, sections, subtitle), figures)


def _overview(detectors: Sequence[DetectorPart], noun: str) -> Section:
    first, single = detectors[0], detectors[1:]
    items, flagged = len(first.flags), int(first.flags.sum())
    cards = [
        Card(f"{noun}s", f"{items:,}"),
        Card("flagged", f"{flagged:,}", f"{percent(flagged / items if items else None)} of all"),
    ]
    if single:
        most = max(single, key=lambda part: int(part.flags.sum()))
        count = int(most.flags.sum())
        cards.append(Card("found most often", f"{count:,}", most.title if count else "nothing"))
    rows = []
    for part in detectors:
        judged = int((~np.isnan(part.scores)).sum())
        count = int(part.flags.sum())
        rows.append(
            {
                "detector": part.title,
                "judged": number(judged),
                "flagged": number(count),
                "share": percent(count / judged if judged else None),
                "a high score means": part.looks_for,
            }
        )
    table = Table(
        "Detectors",
        pd.DataFrame(rows),
        f"Nothing is deleted: the table of findings has a score and a decision for every {noun}, and denoising makes "
        "of them what training reads. What a detector could not judge has no score and is never flagged.",
        ("judged", "flagged", "share"),
    )
    figure = Figure(
        "scores",
        _score_panels(detectors),
        "Scores of every detector",
        f"How to read it: how many {noun}s (height, logarithmic) have which score; the orange part is flagged. A "
        "separate hump far to the right is damage of one kind; a smooth tail is cut where the decision says.",
    )
    return Section("What was found", [Cards(cards), table, figure])


def _score_panels(detectors: Sequence[DetectorPart]) -> bytes:
    across = min(3, len(detectors))
    down = -(-len(detectors) // across)
    drawing = new_drawing(WIDTH * across / 3, 0.2 + 1.9 * down)
    for place, part in enumerate(detectors):
        axes = drawing.add_subplot(down, across, place + 1)
        known = ~np.isnan(part.scores)
        tidy(axes, plain(part.title, 34), y="" if place % across else "count")
        if not known.any():
            axes.text(0.5, 0.5, "nothing could be judged", ha="center", va="center", fontsize=8.5, color=FAINT)
            axes.set_xticks([])
            axes.set_yticks([])
            continue
        low, high = float(part.scores[known].min()), float(part.scores[known].max())
        edges = np.linspace(low, high if high > low else low + 1, 41)
        parts = [part.scores[known & ~part.flags], part.scores[known & part.flags]]
        axes.hist(parts, bins=list(edges), stacked=True, color=[BLUE, VERMILION])
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FormatStrFormatter("%d"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(bottom=0.7)
    return to_png(drawing)


def _planted(planted: pd.DataFrame, detectors: Sequence[DetectorPart]) -> Section:
    titles = {part.name: part.title for part in detectors}
    names = [part.name for part in detectors if part.name in set(planted["finding"])]
    kinds = list(dict.fromkeys(planted["defect"]))
    counts = planted.drop_duplicates("defect").set_index("defect")["planted"]
    grid = planted.pivot_table(index="finding", columns="defect", values="auroc").loc[names, kinds]
    shares = planted.pivot_table(index="finding", columns="defect", values="flagged").loc[names, kinds]
    figure = Figure(
        "planted",
        heat_map(
            np.clip((grid.to_numpy(float) - 0.5) * 2, 0, 1),
            [titles[name] for name in names],
            [f"{kind.replace('_', ' ')} ({counts[kind]})" for kind in kinds],
            [[number(value, 2) for value in row] for row in grid.to_numpy(float)],
            "planted defect (how many)",
            "",
            "above chance",
        ),
        "Area under the ROC curve",
        "How to read it: 1.00 where a detector puts every image with that defect above every sound one, 0.50 where it "
        "cannot tell them apart. A detector need find only the defect that it looks for; all of them together should "
        "find every one.",
    )
    joined = planted[planted["finding"] == detectors[0].name]
    table = pd.DataFrame(
        {
            "planted defect": joined["defect"].str.replace("_", " "),
            "planted": [number(int(count)) for count in joined["planted"]],
            "AUROC": [number(value) for value in joined["auroc"]],
            "average precision": [number(value) for value in joined["ap"]],
            "recall at the planted rate": [number(value) for value in joined["recall"]],
            "flagged": [percent(shares.loc[detectors[0].name, kind]) for kind in joined["defect"]],
        }
    )
    shown = Table(
        "All detectors together",
        table,
        "Each defect against the sound images. Recall at the planted rate: of as many of the worst as there are "
        "planted ones, the part that is planted.",
        tuple(table.columns[1:]),
    )
    lead = "The data set is simulated, so it is known what was planted. No detector saw it."
    return Section("What was planted", [figure, shown], lead)


def _worst(detectors: Sequence[DetectorPart], noun: str, lead: str) -> Section:
    blocks: list[Block] = []
    for part in detectors:
        if not part.worst:
            continue
        count = int(part.flags.sum())
        blocks.append(
            Gallery(f"{part.title} ({count_of(count, noun)} flagged)", list(part.worst), part.looks_for, tile_width=190)
        )
    if not blocks:
        blocks = [Note(f"No picture is shown: no {noun} was judged, or `examples` is 0.")]
    explained = "The worst by every detector, the worst first; those that it flags are marked and framed."
    return Section("The worst", blocks, f"{explained} {lead}".strip())


def _classes(counts: ClassCounts, detectors: Sequence[DetectorPart], noun: str) -> Section:
    members = np.maximum(counts.members[:, None], 1)
    shares = np.where(counts.members[:, None] > 0, counts.flagged / members, np.nan)
    texts = [[f"{value}" if value else "" for value in row] for row in counts.flagged.astype(int).tolist()]
    names = [f"{name} ({count:,})" for name, count in zip(counts.classes, counts.members.tolist(), strict=True)]
    figure = Figure(
        "per_class",
        heat_map(
            shares,
            names,
            [part.title for part in detectors],
            texts,
            "detector",
            "",
            f"share of the class's {noun}s",
            None,
        ),
        "",
        f"How to read it: the number is how many {noun}s of the class (in brackets: all of them) the detector flags; "
        "the darker, the larger their part. A dark row is a class that denoising would thin out.",
    )
    return Section("Which classes are hit", [figure])
