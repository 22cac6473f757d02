"""The report of a search: values by trial, what mattered, and where the good ones lie."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from hpa.report.canvas import (
    BLACK,
    BLUE,
    FAINT,
    INK,
    ORANGE,
    WIDTH,
    logarithmic_x,
    name_rows,
    new_drawing,
    plain,
    tidy,
    to_png,
)
from hpa.report.formats import count_of, duration, number, percent
from hpa.report.page import Block, Card, Cards, Facts, Figure, Note, Page, Section, Table, write_page
from hpa.report.run import whole_configuration

SHOWN = 20
"""Trials in the table of the page."""


def search_report(
    path: Path,
    title: str,
    metric: str,
    is_higher_better: bool,
    trials: pd.DataFrame,
    best: int,
    importances: Mapping[str, float],
    logarithmic: Sequence[str],
    config: Mapping[str, Any],
    command: str,
    warnings: Sequence[str] = (),
) -> Path:
    """Write the page; its figures go to `figures/` beside it too.

    Args:
        path: of the HTML file.
        title: of the page.
        metric: what was searched for.
        is_higher_better: or lower.
        trials: number, folder, outcome, value (NaN unless finished), epochs, seconds, then a column per key.
        best: number of the best trial.
        importances: share of the variance by key; empty where there are too few trials.
        logarithmic: keys drawn on a logarithmic axis.
        config: the resolved configuration.
        command: that trains the best values.
        warnings: stand above everything.

    Returns:
        `path`.
    """
    keys = list(trials.columns[6:])
    one = trials[trials["number"] == best].iloc[0]
    cards = Cards(
        [
            Card(f"Best {metric}", number(one["value"]), f"trial {best + 1}; chosen on these images, so optimistic"),
            Card("Trials", str(len(trials)), f"{int((trials['outcome'] == 'cut short').sum())} cut short"),
            Card("Training time", duration(float(trials["seconds"].sum())), "of all processes together"),
        ]
    )
    sections = [
        Section("Overview", [cards, Facts({key: _text(one[key]) for key in keys} | {"Train it by": command})]),
        Section("Trials", [_course(trials, metric, is_higher_better), _table(trials, keys, metric, is_higher_better)]),
        Section("What mattered", _what_mattered(trials, keys, metric, importances, logarithmic)),
        Section("How this was made", list(whole_configuration(config))),
    ]
    return write_page(path, Page(title, sections, warnings=list(warnings)), path.parent / "figures")


def _course(trials: pd.DataFrame, metric: str, is_higher_better: bool) -> Figure:
    finished = trials[trials["value"].notna()]
    so_far = finished["value"].cummax() if is_higher_better else finished["value"].cummin()
    drawing = new_drawing(height=3.2)
    axes = drawing.add_subplot()
    axes.plot(finished["number"] + 1, finished["value"], "o", color=BLUE, markersize=4.5)
    axes.step(finished["number"] + 1, so_far, where="post", color=BLACK, linewidth=1.4)
    for place in trials.loc[trials["value"].isna(), "number"] + 1:
        axes.axvline(place, ymax=0.03, color=FAINT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    tidy(axes, x="trial", y=metric)
    caption = "Points are finished trials, the line the best so far; ticks at the bottom are trials without a value."
    return Figure("course", to_png(drawing), f"{metric} by trial", caption)


def _table(trials: pd.DataFrame, keys: list[str], metric: str, is_higher_better: bool) -> Table:
    ranked = trials.sort_values("value", ascending=not is_higher_better, na_position="last", kind="stable").head(SHOWN)
    frame = pd.DataFrame(
        {
            "Trial": ranked["number"] + 1,
            metric: [number(value) for value in ranked["value"]],
            "Outcome": ranked["outcome"],
            "Epochs": ranked["epochs"],
            "Time": [duration(float(seconds)) for seconds in ranked["seconds"]],
        }
        | {key: [_text(value) for value in ranked[key]] for key in keys}
    )
    left_out = len(trials) - len(ranked)
    caption = f"The first {SHOWN}; {count_of(left_out, 'trial')} more in trials.csv." if left_out else ""
    return Table("Best trials", frame, caption, ["Trial", metric, "Epochs", "Time", *keys])


def _what_mattered(
    trials: pd.DataFrame, keys: list[str], metric: str, importances: Mapping[str, float], logarithmic: Sequence[str]
) -> list[Block]:
    blocks: list[Block] = []
    if importances:
        falling = sorted(importances, key=lambda key: -importances[key])
        drawing = new_drawing(WIDTH, 0.8 + 0.3 * max(len(falling), 2))
        axes = drawing.add_subplot()
        shares = [importances[key] for key in falling]
        axes.barh(range(len(falling)), shares, color=BLUE, height=0.7)
        for row, share in enumerate(shares):
            axes.text(share + 0.01, row, percent(share), va="center", fontsize=8.5, color=INK)
        tidy(axes, x="share of the variance between trials", grid="x")
        name_rows(axes, falling, 40)
        axes.set_xlim(0, 1.08)
        caption = "By functional ANOVA over the finished trials (Hutter et al. 2014); with few trials, a rough guess."
        blocks.append(Figure("importances", to_png(drawing), "Importance", caption))
    else:
        blocks.append(Note("There are too few finished trials to say which value mattered."))
    finished = trials[trials["value"].notna()]
    columns = min(3, len(keys))
    rows = -(-len(keys) // columns)
    drawing = new_drawing(3.2 * columns, 2.6 * rows)
    for place, key in enumerate(keys):
        axes = drawing.add_subplot(rows, columns, place + 1)
        values = finished[key]
        if pd.api.types.is_numeric_dtype(values):
            axes.plot(values, finished["value"], "o", color=ORANGE, markersize=4.5, markeredgecolor="white")
            if key in logarithmic:
                logarithmic_x(axes)
        else:
            names = sorted(set(map(str, values)))
            axes.plot([names.index(str(one)) for one in values], finished["value"], "o", color=ORANGE, markersize=4.5)
            axes.set_xticks(np.arange(len(names)), [plain(name, 14) for name in names])
            axes.set_xlim(-0.5, len(names) - 0.5)
        tidy(axes, x=plain(key, 34), y=metric if place % columns == 0 else "", grid="y")
    blocks.append(Figure("values", to_png(drawing), f"{metric} by value", "Each point is a finished trial."))
    return blocks


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
