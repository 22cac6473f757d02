"""How good a model is class by class, as sections of a run's page."""

from typing import Any

import numpy as np
import pandas as pd

from hpa.report.bars import precision_bars
from hpa.report.curves import precision_recall_grid, reliability_plot
from hpa.report.formats import compact, number, percent, shorten
from hpa.report.heatmaps import heat_map
from hpa.report.page import Figure, Note, Section, Table
from hpa.report.wording import COLUMNS, RULES

FEW = 20
"""Below so many images a class's figures are called uncertain: one image more or less moves recall by 0.05."""

PAIRS = 10
"""Pairs of classes that the table of the most confused shows."""


def classes_section(per_class: pd.DataFrame, curves: pd.DataFrame | None, multi_label: bool, rule: str) -> Section:
    """Average precision, all figures and the precision-recall curve of every class."""
    names, positives = per_class["class"].tolist(), per_class["positives"].tolist()
    ap, constant = per_class["ap"].tolist(), per_class["ap_constant"].tolist()
    kept = [name for name in COLUMNS if name in per_class and (multi_label or name != "threshold")]
    table = pd.DataFrame({COLUMNS[name]: [_cell(value) for value in per_class[name]] for name in kept})
    blocks: list[Any] = [
        Figure(
            "average_precision",
            precision_bars(names, ap, constant, positives),
            "Average precision of each class",
            "How to read it: a bar that ends far right of its black tick is a class that the network recognises; "
            "a bar that ends at its tick is one it cannot tell from the others. In brackets: images with the class.",
        ),
        Table(
            "All figures by class",
            table,
            "Average precision and ROC AUC judge the ranking, the others the decisions. " + RULES.get(rule, ""),
            [COLUMNS[name] for name in kept if name != "class"],
        ),
    ]
    few = [f"{name} ({count})" for name, count in zip(names, positives, strict=True) if 0 < count < FEW]
    if few:
        blocks.append(Note(f"Fewer than {FEW} images, so these figures are uncertain: {', '.join(few)}."))
    if curves is not None and not curves.empty:
        blocks.append(
            Figure(
                "precision_recall",
                precision_recall_grid(curves, names, ap, constant),
                "Precision and recall at every threshold",
                "How to read it: to the right more of the class's images are found, the height is how clean they "
                "are; a curve along the top is ideal, one along the dashed line is chance.",
            )
        )
    return Section("How well each class is recognised", blocks)


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return number(int(value)) if isinstance(value, int | np.integer) else number(float(value))


def confusion_section(
    confusion: pd.DataFrame, per_class: pd.DataFrame, multi_label: bool, confused: pd.DataFrame | None = None
) -> Section:
    """Confusion matrix and the pairs most confused (single-label), or what is predicted for what is missed."""
    values = confusion.to_numpy(float)
    names = [str(name) for name in confusion.index]
    if multi_label:
        rows = [
            f"{shorten(name, 25)} ({compact(missed) or 0}/{compact(count) or 0})"
            for name, missed, count in zip(names, per_class["missed"], per_class["positives"], strict=True)
        ]
        texts = [["" if not value >= 0.005 else f"{100 * value:.0f}" for value in line] for line in values]
        png = heat_map(
            values,
            rows,
            names,
            texts,
            "wrongly predicted instead",
            "missed class (missed / images with it)",
            "share of the missed",
            None,
        )
        lead = (
            "For every class, the images that are labelled with it but for which it was not predicted, and what was "
            "wrongly predicted for those images instead."
        )
        caption = (
            "How to read it: a row is a class, in brackets how many of its images were missed, of how many; each "
            "number is the percentage of the missed for which the column's class was wrongly predicted. Rows need not "
            "add up to 100: an image may get several wrong classes or none. Grey: the class itself, or nothing missed."
        )
    else:
        sums = values.sum(axis=1, keepdims=True)
        shares = np.divide(values, sums, out=np.full_like(values, np.nan), where=sums > 0)
        texts = [[compact(int(value)) for value in line] for line in values]
        png = heat_map(shares, names, None, texts, "predicted class", "true class", "share of the true class")
        lead = "Every image once, by its true class and the class predicted for it."
        caption = (
            "How to read it: the diagonal holds the images decided right; a dark cell elsewhere is a pair of classes "
            "that the network confuses. Numbers are images; the colour is their share of the row."
        )
    pairs = [] if confused is None or len(names) < 3 or confused.empty else [_confused(confused)]
    return Section("What is mistaken for what", [Figure("confusion", png, "", caption), *pairs], lead)


def _confused(confused: pd.DataFrame) -> Table:
    shown = confused.head(PAIRS)
    frame = pd.DataFrame(
        {
            "classes": [f"{row.first} / {row.second}" for row in shown.itertuples()],
            "first taken for second": [number(int(value)) for value in shown["first_as_second"]],
            "second taken for first": [number(int(value)) for value in shown["second_as_first"]],
            "images of both": [number(int(value)) for value in shown["images"]],
            "mistaken": [percent(float(value)) for value in shown["share"]],
            "of all errors": [percent(float(value)) for value in shown["share_of_errors"]],
        }
    )
    rest = len(confused) - len(shown)
    told = f" {rest} more pairs, less confused, are not shown." if rest else ""
    caption = f"Of the images of both classes, the share that was taken for the other one.{told}"
    return Table("The pairs most confused", frame, caption, [name for name in frame if name != "classes"])


def calibration_section(reliability: pd.DataFrame) -> Section:
    """Predicted probability against the share that is true."""
    caption = (
        "How to read it: of all predictions that said about 0.8, 80 % should be true, so the blue line (all classes "
        "together) should lie on the dashed one; below it the network is too sure of itself. Grey lines are single "
        "classes; the bars count the predictions, on a logarithmic scale."
    )
    return Section(
        "Can the probabilities be trusted?",
        [Figure("calibration", reliability_plot(reliability), "", caption)],
    )
