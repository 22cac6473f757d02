"""The report of a training run: one self-contained HTML page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from hpa.report.curves import history_curves
from hpa.report.formats import count_of, duration, number
from hpa.report.gallery import Example, colours, decision_tile
from hpa.report.page import Card, Cards, Facts, Figure, Gallery, Note, Page, Section, Table, write_page
from hpa.report.quality import calibration_section, classes_section, confusion_section
from hpa.report.wording import METRICS, RULES, history_title


def run_report(
    path: Path,
    *,
    title: str,
    metrics: Mapping[str, Any],
    per_class: pd.DataFrame,
    multi_label: bool,
    rule: str,
    subtitle: str = "",
    summary: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
    initial_weights: str = "",
    random_weights: bool = False,
    history: pd.DataFrame | None = None,
    confusion: pd.DataFrame | None = None,
    confused: pd.DataFrame | None = None,
    reliability: pd.DataFrame | None = None,
    precision_recall: pd.DataFrame | None = None,
    examples: Sequence[Example] = (),
    channels: Sequence[str] = (),
    warnings: Sequence[str] = (),
    figures: Path | None = None,
) -> Path:
    """Write the report of a run, atomically. Parts that are not given are left out.

    Args:
        path: the HTML file.
        title: heading of the page.
        metrics: as `evaluate(...).metrics`; `seconds` and `peak_memory_gb` are shown too where they are there.
        per_class: as `evaluate(...).per_class`.
        multi_label: whether an image may have several classes.
        rule: as `evaluate(...).rule`.
        subtitle: one line below the heading, such as the date and the folder.
        summary: facts of the run in the reader's words: model, data, folds, time, memory, versions, device.
        config: the resolved configuration, nested; shown folded up, one dotted key a line.
        initial_weights: where the weights came from before training.
        random_weights: whether they were random: the page then warns.
        history: columns epoch, fold, train_loss, learning_rate and any validation figures; NaN where not measured.
        confusion: as `evaluate(...).confusion`.
        confused: of a single-label task, the pairs as `confused_pairs` gives them.
        reliability: as `evaluate(...).reliability`.
        precision_recall: as `evaluate(...).precision_recall`.
        examples: images decided right and wrong.
        channels: names of their channels, for a word on the colours.
        warnings: further ones.
        figures: a folder for the figures as PNG files too.

    Returns:
        `path`.

    Raises:
        OSError: a file cannot be written.
    """
    page = Page(
        title=title,
        subtitle=subtitle,
        warnings=[*_weights_warning(initial_weights, random_weights), *warnings],
        sections=[
            _overview(metrics, per_class, rule),
            classes_section(per_class, precision_recall, multi_label, rule),
            *([] if confusion is None else [confusion_section(confusion, per_class, multi_label, confused)]),
            *([] if reliability is None or reliability.empty else [calibration_section(reliability)]),
            *([_examples(examples, channels)] if examples else []),
            *([] if history is None or history.empty else [_training(history)]),
            _figures(metrics),
            _making(summary or {}, config or {}, initial_weights),
        ],
    )
    return write_page(path, page, figures)


def _weights_warning(initial_weights: str, random_weights: bool) -> list[str]:
    if not random_weights:
        return []
    told = f" ({initial_weights})" if initial_weights.lower() not in ("", "none", "random", "random weights") else ""
    return [
        f"This network started from random weights{told}, not from weights trained on other images. With few images or "
        "few epochs its figures say little about what the method can reach."
    ]


def _overview(metrics: Mapping[str, Any], per_class: pd.DataFrame, rule: str) -> Section:
    def beside(name: str) -> str:
        value, constant = metrics.get(name), metrics.get(f"{name}_constant")
        if value is None or constant is None:
            return ""
        times = f", {value / constant:.1f} times as much" if constant > 0 and value >= constant else ""
        return f"constant predictor {number(constant)}{times}"

    cards = [Card("Average precision", number(metrics.get("macro_ap")), beside("macro_ap"))]
    if metrics.get("accuracy") is not None:
        cards.append(Card("Accuracy", number(metrics["accuracy"]), beside("accuracy")))
    else:
        cards.append(Card("F1, pooled", number(metrics.get("micro_f1")), beside("micro_f1")))
    cards.append(Card("F1, class mean", number(metrics.get("macro_f1")), beside("macro_f1")))
    cards.append(Card("ROC AUC", number(metrics.get("macro_auc")), "0.5 = chance, 1 = perfect"))
    if metrics.get("seconds") is not None:
        memory = metrics.get("peak_memory_gb")
        detail = f"at most {memory:.1f} GB of memory" if memory is not None else ""
        cards.append(Card("Time", duration(float(metrics["seconds"])), detail))
    items = f"{count_of(int(metrics['items']), 'image')}" if metrics.get("items") is not None else "images"
    absent = per_class.loc[per_class["positives"] == 0, "class"].tolist()
    lead = (
        f"Measured on {items} that the network was not trained on. The constant predictor gives every image the same "
        "answer, the classes' frequencies: whatever is above it was learnt from the pixels. " + RULES.get(rule, "")
    )
    left_out = [Note(f"No image has {', '.join(absent)}: left out of every mean over the classes.")] if absent else []
    return Section(
        "Results at a glance",
        [Cards(cards), *left_out],
        lead,
    )


def _figures(metrics: Mapping[str, Any]) -> Section:
    shown = [name for name in METRICS if metrics.get(name) is not None]
    table = pd.DataFrame(
        {
            "figure": [METRICS[name][0] for name in shown],
            "value": [number(float(metrics[name])) for name in shown],
            "what it says": [METRICS[name][1] for name in shown],
            "name": shown,
        }
    )
    lead = "With the names they have in metrics.json."
    return Section("All figures", [Table("", table, "", ["value"])], lead)


def _examples(examples: Sequence[Example], channels: Sequence[str]) -> Section:
    blocks = []
    for right, title, caption in (
        (True, "Decided right", "Taken at random, going round the classes."),
        (
            False,
            "Decided wrong",
            "The surest mistakes first, going round the classes. The label may be the one at fault.",
        ),
    ):
        tiles = [decision_tile(example) for example in examples if example.right == right]
        if tiles:
            wide = any(tile.second is not None for tile in tiles)
            blocks.append(Gallery(title, tiles, caption, tile_width=280 if wide else 200))
    alone = (
        "On the right of each pair the protein alone, brightened."
        if any(e.protein is not None for e in examples)
        else ""
    )
    lead = f"{colours(channels)} {alone} In brackets: the probability given to the class."
    return Section("Examples", blocks, lead)


def _training(history: pd.DataFrame) -> Section:
    figures = [
        name
        for name in history.columns
        if name not in ("epoch", "fold")
        and pd.api.types.is_numeric_dtype(history[name])
        and history[name].notna().any()
    ]
    figures.sort(key=lambda name: (name == "learning_rate", name != "train_loss", "loss" not in name))
    panels = {history_title(name): [name] for name in figures}
    caption = (
        "How to read it: the training loss should fall and level off; the figures measured on images held out should "
        "rise and level off. A figure that turns for the worse while the training loss still falls is overfitting."
    )
    return Section("Training", [Figure("history", history_curves(history, panels), "", caption)])


def _making(summary: Mapping[str, str], config: Mapping[str, Any], initial_weights: str) -> Section:
    facts = {"Initial weights": initial_weights} if initial_weights else {}
    blocks = [Facts({**facts, **{name: str(value) for name, value in summary.items()}})]
    return Section("How this run was made", [*blocks, *whole_configuration(config)])


def whole_configuration(config: Mapping[str, Any]) -> list[Facts]:
    """Every value of a configuration under its dotted key, folded; nothing for an empty one."""
    flat = dict(_flat(config))
    return [Facts(flat, folded=f"The whole configuration ({count_of(len(flat), 'value')})")] if flat else []


def _flat(config: Mapping[str, Any], path: str = "") -> list[tuple[str, str]]:
    """Dotted key and value of every leaf."""
    lines = []
    for key, value in config.items():
        dotted = f"{path}.{key}".lstrip(".")
        lines += _flat(value, dotted) if isinstance(value, Mapping) and value else [(dotted, str(value))]
    return lines
