"""The page about an ensemble: how good it is beside its members, what each adds, and whose errors coincide."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hpa.report.bars import ROW
from hpa.report.canvas import BLUE, FAINT, GREEN, WIDTH, name_rows, new_drawing, tidy, to_png
from hpa.report.formats import count_of, number, percent
from hpa.report.heatmaps import heat_map
from hpa.report.page import Block, Card, Cards, Facts, Figure, Note, Page, Section, Table, write_page

COLOURS = {"member": BLUE, "rule": FAINT, "ensemble": GREEN}
"""Kind of a row to the colour of its interval."""

NAMES = {
    "accuracy": "accuracy",
    "macro_auc": "ROC AUC",
    "macro_ap": "average precision",
    "macro_f1": "F1, class mean",
    "micro_f1": "F1, pooled",
    "macro_recall": "recall, class mean",
    "ece": "calibration error",
    "brier": "Brier score",
    "log_loss": "log loss",
}
"""Figures of the table with their heads."""

FEW = 200
"""Below so many images, intervals are called wide."""


def ensemble_report(
    path: Path,
    *,
    title: str,
    chosen: str,
    table: pd.DataFrame,
    added: pd.DataFrame,
    gains: pd.DataFrame,
    overlap: pd.DataFrame,
    judged: Sequence[str],
    oracle: float,
    weights: Mapping[str, pd.DataFrame],
    classes: Sequence[str],
    is_applied: bool,
    left_out: int = 0,
    random: Sequence[str] = (),
    summary: Mapping[str, str] | None = None,
) -> Path:
    """Write the page, and its figures to `figures/` beside it.

    Args:
        path: the HTML file.
        title: of the page.
        chosen: the row of `table` that is the ensemble.
        table: name, kind (member, rule or ensemble) and the figures NAMES, some with `_low` and `_high`.
        added: name (of a member), statistic, difference, low, high, probability: what it adds to the ensemble.
        gains: the same, of the ensemble over each member.
        overlap: first, second, correlation, both_wrong, expected.
        judged: the figures that are drawn, the first one on the cards.
        oracle: share of the items that some member decides right.
        weights: fitted weights by rule: a row per class, a column per member.
        classes: names.
        is_applied: whether the rules were fitted on other images.
        left_out: images that not all members have predicted.
        random: members whose networks began with random weights.
        summary: settings worth knowing.

    Raises:
        OSError: a file cannot be written.
    """
    rows = table.set_index("name")
    members = table.loc[table["kind"] == "member", "name"].tolist()
    fit = (
        "Rules and thresholds were fitted on other images."
        if is_applied
        else "Rules that are fitted were fitted, for every image, on the images of the other folds."
    )
    sections = [
        Section("At a glance", _overview(rows, chosen, members, judged, gains, oracle), fit),
        Section("Members and rules", _table(table, judged)),
        *([_added(added)] if len(added) else []),
        *([_overlap(overlap, members)] if len(overlap) else []),
        *([_weights(weights)] if weights else []),
        Section("How this was made", [Facts({"Rule": chosen, **(summary or {})})]),
    ]
    items = int(table["items"].iloc[0])
    warnings = [f"{count_of(left_out, 'image')} left out, which not all members have predicted."] if left_out else []
    if random:
        warnings.append(f"Trained from random weights, not from ones trained on other images: {', '.join(random)}.")
    if items < FEW:
        warnings.append(f"Only {count_of(items, 'image')}: differences within the intervals may be chance.")
    counts = [count_of(len(members), "member"), count_of(items, "image"), count_of(len(classes), "class", "classes")]
    subtitle = f"{', '.join(counts)}; joined by {chosen}"
    return write_page(path, Page(title, sections, subtitle, warnings), path.parent / "figures")


def _overview(
    rows: pd.DataFrame, chosen: str, members: Sequence[str], judged: Sequence[str], gains: pd.DataFrame, oracle: float
) -> list[Block]:
    cards = []
    for name in judged:
        best = rows.loc[members, name].astype(float)
        detail = f"best member {best.idxmax()}: {number(best.max())}" if best.notna().any() else ""
        cards.append(Card(_capital(NAMES[name]), number(float(rows.loc[chosen, name])), detail))
    cards.append(Card("Some member right", percent(oracle), "of the images: more than any choice among them reaches"))
    blocks: list[Block] = [Cards(cards)]
    if len(gains):
        frame = pd.DataFrame(
            {
                "over": gains["name"],
                "figure": [NAMES[name] for name in gains["statistic"]],
                "gain": [_signed(value) for value in gains["difference"]],
                "95 % interval": _ranges(gains),
                "chance that it is a gain": [_chance(value) for value in gains["probability"]],
            }
        )
        blocks.append(
            Table("The ensemble less each member", frame, "Intervals by drawing groups of images again.", ["gain"])
        )
    return blocks


def _table(table: pd.DataFrame, judged: Sequence[str]) -> list[Block]:
    shown = {"name": table["name"], "": table["kind"]}
    for name, head in NAMES.items():
        if name in table:
            shown[head] = pd.Series([number(value) for value in table[name]])
    caption = (
        "Recall as a mean over the classes is the balanced accuracy. Calibration error, Brier score and log loss: the "
        "lower the better; ranks are no probabilities and have none."
    )
    figures = [
        Figure(
            f"intervals_{name}",
            _intervals(table, name),
            _capital(NAMES[name]),
            "How to read it: blue are the members, grey other rules, green the ensemble. The dot is measured, the "
            "line is where it would lie on other images of the same kind in 19 of 20 cases. Overlapping lines do not "
            "say that two rows are equal: they were measured on the same images; see the differences.",
        )
        for name in judged
    ]
    return [*figures, Table("All figures", pd.DataFrame(shown), caption, list(NAMES.values()))]


def _intervals(table: pd.DataFrame, name: str) -> bytes:
    drawing = new_drawing(WIDTH, 1.0 + ROW * max(len(table), 3))
    axes = drawing.add_subplot()
    lines = zip(table["kind"], table[name], table[f"{name}_low"], table[f"{name}_high"], strict=True)
    for row, (kind, value, low, high) in enumerate(lines):
        axes.plot([low, high], [row, row], color=COLOURS.get(kind, FAINT), linewidth=2.4, solid_capstyle="butt")
        axes.plot([value], [row], marker="o", color=COLOURS.get(kind, FAINT), markersize=6)
    tidy(axes, x=NAMES[name], grid="x")
    name_rows(axes, table["name"].tolist(), 44)
    return to_png(drawing)


def _added(added: pd.DataFrame) -> Section:
    names = list(dict.fromkeys(added["name"]))
    frame = pd.DataFrame(
        {
            "member": added["name"],
            "figure": [NAMES[name] for name in added["statistic"]],
            "adds": [_signed(value) for value in added["difference"]],
            "95 % interval": _ranges(added),
            "chance that it adds": [_chance(value) for value in added["probability"]],
        }
    )
    useless = [name for name in names if (added.loc[added["name"] == name, "high"].astype(float) < 0).any()]
    notes = [Note(f"The ensemble is better without {', '.join(useless)}.")] if useless else []
    return Section(
        "What each member adds",
        [Table("", frame, "The whole ensemble less the one without the member, fitted anew.", ["adds"]), *notes],
    )


def _overlap(overlap: pd.DataFrame, members: Sequence[str]) -> Section:
    values = np.full((len(members), len(members)), np.nan)
    for row in overlap.itertuples():
        first, second = members.index(row.first), members.index(row.second)
        values[first, second] = values[second, first] = row.correlation
    texts = [["" if np.isnan(value) else f"{value:.2f}" for value in line] for line in values]
    frame = pd.DataFrame(
        {
            "members": [f"{row.first}, {row.second}" for row in overlap.itertuples()],
            "correlation": [number(float(row.correlation), 2) for row in overlap.itertuples()],
            "both wrong": [percent(float(row.both_wrong)) for row in overlap.itertuples()],
            "if errors were independent": [percent(float(row.expected)) for row in overlap.itertuples()],
        }
    )
    caption = (
        "How to read it: 1 means that two members err on the same images, so that the one cannot correct the other; "
        "near 0 their errors are independent, and a mean of them is worth most."
    )
    shown = np.where(np.isnan(values), np.nan, np.maximum(values, 0))
    figure = Figure("errors", heat_map(shown, list(members), texts=texts, scale="correlation of errors"), "", caption)
    numeric = ["correlation", "both wrong", "if errors were independent"]
    return Section("Whose errors coincide", [figure, Table("", frame, "", numeric)])


def _weights(weights: Mapping[str, pd.DataFrame]) -> Section:
    blocks: list[Block] = []
    for name, found in weights.items():
        # One weight for all classes is one row.
        alike = np.allclose(found.to_numpy(), found.to_numpy()[:1])
        part = found.iloc[:1].rename(index={found.index[0]: "all classes"}) if alike else found
        frame = part.map(lambda value: number(float(value), 2)).reset_index(names="class")
        blocks.append(Table(name, frame, "", list(map(str, found.columns))))
    lead = (
        "Of the rules that fit any, on all images. Weights are parts of the mean; stacking multiplies each member's "
        "log-odds of the class by its coefficient, below 0 where the member is better not believed."
    )
    return Section("Weights", blocks, lead)


def _ranges(rows: pd.DataFrame) -> list[str]:
    return [f"{_signed(low)} to {_signed(high)}" for low, high in zip(rows["low"], rows["high"], strict=True)]


def _chance(value: float) -> str:
    """A share of bootstrap rounds, which is never a certainty.

    >>> _chance(1.0), _chance(0.94), _chance(0.0)
    ('over 99 %', '94 %', 'under 1 %')
    """
    if np.isnan(value):
        return "–"
    return "over 99 %" if value > 0.99 else "under 1 %" if value < 0.01 else f"{100 * value:.0f} %"


def _capital(text: str) -> str:
    """The first letter as a capital, the others as they are."""
    return text[:1].upper() + text[1:]


def _signed(value: float) -> str:
    """A difference with its sign.

    >>> _signed(0.0123), _signed(-0.5), _signed(float("nan"))
    ('+0.012', '−0.500', '–')
    """
    return "–" if np.isnan(value) else f"{'−' if value < 0 else '+'}{abs(value):.3f}"
