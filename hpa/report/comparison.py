"""The report of a comparison: every variant with mean and spread, which differences are certain, robustness, costs."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpa.report.canvas import BLACK, BLUE, GREEN, INK, ORANGE, new_drawing, plain, tidy, to_png
from hpa.report.comparison_costs import costs_section, robustness_section
from hpa.report.formats import count_of, number, percent
from hpa.report.heatmaps import heat_map
from hpa.report.page import Block, Card, Cards, Facts, Figure, Note, Page, Section, Table, write_page
from hpa.report.run import whole_configuration

NAMES = {
    "macro_ap": "Macro AP",
    "micro_ap": "Micro AP",
    "macro_auc": "Macro AUC",
    "macro_f1": "Macro F1",
    "micro_f1": "Micro F1",
    "macro_precision": "Macro precision",
    "macro_recall": "Macro recall",
    "micro_precision": "Micro precision",
    "micro_recall": "Micro recall",
    "accuracy": "Accuracy",
    "ece": "Calibration error",
    "brier": "Brier score",
}
"""Figures in the order of the page."""


@dataclass(frozen=True, eq=False)
class ComparedTest:
    """The variants on images that none of them learned from.

    Attributes:
        images: how many.
        variants: variant, and figures of `NAMES` each with `_low` and `_high`.
        pairs: as `comparison_report` takes them.
    """

    images: int
    variants: pd.DataFrame
    pairs: pd.DataFrame


def comparison_report(
    path: Path,
    title: str,
    statistic: str,
    level: float,
    table: pd.DataFrame,
    folds: pd.DataFrame,
    pairs: pd.DataFrame,
    robustness: pd.DataFrame,
    multi_label: bool,
    test: ComparedTest | None,
    summary: Mapping[str, str],
    config: Mapping[str, Any],
    warnings: Sequence[str] = (),
) -> Path:
    """Write the page; its figures go to `figures/` beside it too.

    Args:
        path: of the HTML file.
        title: of the page.
        statistic: the figure that was resampled, a key of `NAMES`.
        level: of the intervals.
        table: variant, kind (variant or ensemble), failure (empty where there is a run), folds, epochs, steps,
            training_seconds, initial_weights, the figures of `NAMES` each with `<figure>_spread`, some with `_low` and
            `_high`, value, low, high, corrupted_ap, parameters, images_per_second, training_memory_gb.
        folds: variant, fold, and the figures.
        pairs: first, second, difference, low, high, probability, p_corrected, is_different.
        robustness: variant, corruption, macro_ap, drop, constant; empty where it was not measured.
        multi_label: whether an image may have several classes.
        test: figures on test images, where there are some.
        summary: name and value of what is worth knowing.
        config: the resolved configuration.
        warnings: stand above everything.

    Returns:
        `path`.
    """
    trained = table[table["failure"] == ""].reset_index(drop=True)
    name = NAMES[statistic]
    sections = [
        _overview(trained, pairs, test, statistic, level),
        _figures(trained, folds, statistic, multi_label, level),
        Section("Which is better", _pair_blocks(pairs, list(trained["variant"]), name, level, "pairs")),
        *([_test(test, statistic, level, multi_label)] if test is not None else []),
        *([robustness_section(robustness)] if len(robustness) else []),
        costs_section(trained, statistic, name),
        Section("How this was made", [Facts(dict(summary)), *whole_configuration(config)]),
    ]
    return write_page(path, Page(title, sections, warnings=list(warnings)), path.parent / "figures")


def _overview(
    trained: pd.DataFrame, pairs: pd.DataFrame, test: ComparedTest | None, statistic: str, level: float
) -> Section:
    name = NAMES[statistic]
    best = trained.loc[trained["value"].idxmax()] if trained["value"].notna().any() else None
    certain = int(pairs["is_different"].sum())
    ensembles = int((trained["kind"] == "ensemble").sum())
    beside = f"; {count_of(ensembles, 'ensemble')} of them" if ensembles else ""
    cards = [
        Card("Variants", str(len(trained) - ensembles), f"trained under one budget{beside}"),
        Card("Differences that are certain", f"{certain} of {len(pairs)}", f"at {percent(level)}, all pairs together"),
    ]
    if best is not None:
        interval = f"{number(best['low'])} to {number(best['high'])}"
        cards.insert(0, Card(f"Highest {name}", number(best["value"]), f"{best['variant']}; {interval}"))
    if test is not None and test.variants[statistic].notna().any():
        best = test.variants.loc[test.variants[statistic].idxmax()]
        interval = f"{number(best[f'{statistic}_low'])} to {number(best[f'{statistic}_high'])}"
        cards.insert(1, Card(f"{name} on test images", number(best[statistic]), f"{best['variant']}; {interval}"))
    return Section("Overview", [Cards(cards)])


def _figures(trained: pd.DataFrame, folds: pd.DataFrame, statistic: str, multi_label: bool, level: float) -> Section:
    shown = _shown(multi_label)
    frame = pd.DataFrame({"Variant": trained["variant"]})
    for key in shown:
        pairs = zip(trained[key], trained[f"{key}_spread"], strict=True)
        frame[NAMES[key]] = [number(mean) + (f" ± {number(sd)}" if np.isfinite(sd) else "") for mean, sd in pairs]
    caption = (
        "Mean and standard deviation over the folds held out. Low is better for calibration error and Brier score, "
        "high for all others."
    )
    drawing = Figure(
        "variants",
        _dots(trained, folds, statistic),
        f"{NAMES[statistic]} by variant",
        "Bars are means over the folds (green: ensembles), points the folds, lines the intervals.",
    )
    around = (
        f"{percent(level)} intervals of the means: what other images of the same kind might have given (bootstrap). "
        "Another seed of the training is not covered."
    )
    intervals = _interval_table(trained, statistic, multi_label, around)
    return Section("Figures", [drawing, intervals, Table("All figures", frame, caption, [NAMES[key] for key in shown])])


def _shown(multi_label: bool) -> list[str]:
    """Accuracy of several classes at once is a figure few ask for; it stays in the table that is saved."""
    return [key for key in NAMES if key != "accuracy" or not multi_label]


def _interval_table(rows: pd.DataFrame, statistic: str, multi_label: bool, caption: str) -> Table:
    found = [key for key in _shown(multi_label) if f"{key}_low" in rows]
    keys = sorted(found, key=lambda key: key != statistic)
    frame = pd.DataFrame({"Variant": rows["variant"]})
    for key in keys:
        columns = (rows[key], rows[f"{key}_low"], rows[f"{key}_high"])
        frame[NAMES[key]] = [
            f"{number(value)} ({number(low)} to {number(high)})" for value, low, high in zip(*columns, strict=True)
        ]
    return Table("Intervals", frame, caption, [NAMES[key] for key in keys])


def _dots(trained: pd.DataFrame, folds: pd.DataFrame, statistic: str) -> bytes:
    drawing = new_drawing(height=0.9 + 0.42 * max(len(trained), 2))
    axes = drawing.add_subplot()
    for row, one in trained.iterrows():
        own = folds.loc[folds["variant"] == one["variant"], statistic].to_numpy(float)
        colour = GREEN if one["kind"] == "ensemble" else BLUE
        axes.barh(row, np.nan_to_num(one["value"]), color=colour, height=0.62)
        axes.plot([one["low"], one["high"]], [row, row], color=BLACK, linewidth=1.6)
        axes.plot(own, np.full(len(own), row), "o", color=ORANGE, markersize=4.5, markeredgecolor="white")
        end = np.nanmax([0, one["high"], *own])
        axes.text(end + 0.012, row, number(one["value"]), va="center", fontsize=8.5, color=INK)
    axes.set_yticks(range(len(trained)), [_in_two_lines(name) for name in trained["variant"]])
    axes.set_ylim(max(len(trained), 2) - 0.5, -0.5)
    axes.set_xlim(0, 1.08)
    tidy(axes, x=NAMES[statistic], grid="x")
    return to_png(drawing)


def _in_two_lines(name: str) -> str:
    """A variant's name for a figure; its end tells it from others of its backbone."""
    return "\n".join(plain(line) for line in textwrap.wrap(name, 34, max_lines=2, placeholder=" …"))


def _pair_blocks(pairs: pd.DataFrame, names: list[str], name: str, level: float, figure: str) -> list[Block]:
    if not len(pairs):
        return [Note("There is one variant, and nothing to compare it with.")]
    frame = pd.DataFrame(
        {
            "First": pairs["first"],
            "Second": pairs["second"],
            "Difference": [f"{value:+.3f}" for value in pairs["difference"]],
            "Interval": [f"{low:+.3f} to {high:+.3f}" for low, high in zip(pairs["low"], pairs["high"], strict=True)],
            "First is better": [percent(share) for share in pairs["probability"]],
            "p, corrected": [number(p) for p in pairs["p_corrected"]],
            "Verdict": [_verdict(row) for row in pairs.to_dict(orient="records")],
        }
    )
    caption = (
        "Paired bootstrap: the same images or groups are drawn again and again, and both variants measured on each "
        f"draw. The difference of {name} with its {percent(level)} interval, the share of the draws in which the first "
        "is ahead, and the p-value corrected for the number of pairs. No verdict means that these images cannot tell. "
        "What another seed of the training would change is not covered."
    )
    blocks: list[Block] = []
    if len(names) > 2:
        values = np.full((len(names),) * 2, np.nan)
        for row in pairs.itertuples():
            one, other = names.index(row.first), names.index(row.second)
            values[one, other], values[other, one] = row.probability, 1 - row.probability
        texts = [["" if np.isnan(value) else f"{value:.2f}" for value in line] for line in values]
        # Columns by number: what tells variants apart stands at the end of names too long for them.
        numbers = [str(place + 1) for place in range(len(names))]
        rows = [f"{place}  {name}" for place, name in zip(numbers, names, strict=True)]
        drawing = heat_map(
            values, rows, numbers, texts=texts, x="second", y="first", scale="chance that the first is better"
        )
        blocks.append(
            Figure(figure, drawing, "Row better than column", "Share of the draws in which the row is ahead.")
        )
    return [*blocks, Table("Pairs", frame, caption, ["Difference", "Interval", "First is better", "p, corrected"])]


def _verdict(row: Mapping[str, Any]) -> str:
    if not row["is_different"]:
        return ""
    return f"{row['first'] if row['difference'] > 0 else row['second']} is better"


def _test(test: ComparedTest, statistic: str, level: float, multi_label: bool) -> Section:
    caption = f"Each variant is the mean of its folds' networks. In brackets: {percent(level)} intervals (bootstrap)."
    blocks = [
        _interval_table(test.variants, statistic, multi_label, caption),
        *_pair_blocks(test.pairs, list(test.variants["variant"]), NAMES[statistic], level, "test_pairs"),
    ]
    return Section("On test images", blocks, f"{count_of(test.images, 'image')} that no variant learned from.")
