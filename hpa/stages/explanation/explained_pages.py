"""Pages of finished explanations, made from what was saved alone: they can be made again without any network."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from hpa.artifacts import read_json, write_json
from hpa.explain.evidence import evidence, meaning_of
from hpa.explain.saved_maps import SavedMaps, read_maps
from hpa.images import composite
from hpa.report.attribution_maps import enlarged, grey_below, map_picture
from hpa.report.explained_methods import LinkedItem, methods_page
from hpa.report.explanation_wording import CONTROLS
from hpa.report.explanations import ExplainedClass, ExplainedItem, item_page
from hpa.stages.explanation.explain_config import PagesConfig
from hpa.stages.explanation.explained_parts import MAPS
from hpa.stages.explanation.explained_regions import TRUE_CELLS
from hpa.stages.explanation.explained_tables import (
    AGREEMENT,
    COMPARISON,
    ITEMS,
    PAGES,
    QUESTIONS,
    REPORT,
    SCORES,
    SETTINGS,
)
from hpa.tables import read_table

RENDERED = "rendered.json"
"""Settings that the pages were made with."""


def are_current(folder: Path, config: PagesConfig) -> bool:
    """Whether the pages stand, made with these settings."""
    path = folder / PAGES / RENDERED
    return path.is_file() and read_json(path) == config.model_dump(mode="json")


def render(folder: Path, config: PagesConfig) -> None:
    """Write `report.html` and a page per item from an artifact of `explain`, finished or about to be."""
    content = read_json(folder / SETTINGS)
    questions, scores = read_table(folder / QUESTIONS), read_table(folder / SCORES)
    comparison = pd.read_csv(folder / COMPARISON)
    kinds = {name: method["kind"] for name, method in content["methods"].items()}
    shown_method = _shown_method(comparison)
    linked = []
    for item in read_json(folder / ITEMS):
        saved = read_maps(folder / MAPS / f"{item['file']}.npz")
        own = questions[questions["item"] == item["item"]]
        shown = _item(item, saved, own, scores[scores["item"] == item["item"]], content, kinds)
        path = folder / PAGES / f"{item['file']}.html"
        item_page(path, shown, kinds, config.longest, config.outlines, config.white)
        below = grey_below(saved.pixels, shown.channels)
        first = shown.classes[0]
        linked.append(
            LinkedItem(
                item["item"],
                f"{PAGES}/{quote(path.name)}",
                enlarged(composite(saved.pixels[: len(shown.channels)], shown.channels), 256),
                map_picture(first.planes[shown_method], below, saved.cells, first.shown, 256, config.white),
                shown.labelled,
                shown.predicted,
            )
        )
    warnings = []
    if content["is_simulated"]:
        warnings.append("Explained on simulated cells, which this project's own simulator drew: real cells are harder.")
    methods_page(
        folder / REPORT,
        comparison,
        _agreement(folder, list(kinds)),
        questions[[f"value_{channel}" for channel in content["channels"]]].set_axis(content["channels"], axis=1),
        linked,
        shown_method,
        {name: _settings(method) for name, method in content["methods"].items()},
        {
            "Run": content["run"],
            "Network": content["network"],
            "Explained by": _explained_by(content),
            **({"Judged with": _settings(content["judging"])} if content["judging"] else {}),
        },
        warnings,
    )
    write_json(folder / PAGES / RENDERED, config.model_dump(mode="json"))


def _item(
    item: dict[str, Any],
    saved: SavedMaps,
    questions: pd.DataFrame,
    scores: pd.DataFrame,
    content: dict[str, Any],
    kinds: dict[str, str],
) -> ExplainedItem:
    channels = tuple(content["channels"])
    planes = {name: evidence(maps, meaning_of(kinds[name])) for name, maps in saved.maps.items()}
    classes = []
    for place, question in enumerate(questions.to_dict("records")):
        cells: tuple[int, ...] = ()
        if saved.cells is not None and TRUE_CELLS in saved.regions:
            cells = tuple(np.unique(saved.cells[saved.regions[TRUE_CELLS][place]]).tolist())
        classes.append(
            ExplainedClass(
                name=question["name"],
                status=question["status"],
                probability=question["probability"],
                planes={name: own[place] for name, own in planes.items()},
                shown=tuple(cell for cell in cells if cell),
                brought={channel: question[f"value_{channel}"] for channel in channels},
                figures=scores[scores["class"] == question["name"]].set_index("method"),
                parts=saved.parts,
                deletion={name: curves[place] for name, curves in saved.deletion.items()},
                insertion={name: curves[place] for name, curves in saved.insertion.items()},
            )
        )
    return ExplainedItem(
        name=item["item"],
        level=content["level"],
        pixels=saved.pixels,
        channels=channels,
        cells=saved.cells,
        labelled=None if item["labelled"] is None else tuple(item["labelled"]),
        predicted=tuple(item["predicted"]),
        likely=item["likely"],
        classes=classes,
        network=_network(content, item["fold"]),
    )


def _network(content: dict[str, Any], fold: int) -> str:
    views = content["views"]
    turned = (
        f" Probabilities are means over {views} views; maps and curves are of the first alone." if views > 1 else ""
    )
    return f"{content['network']} of fold {fold}: {_explained_by(content)}.{turned}"


def _explained_by(content: dict[str, Any]) -> str:
    if content["out_of_fold"]:
        return "a network that did not see the image in training"
    return "the network of the run's first fold; the images are new to the run"


def _shown_method(comparison: pd.DataFrame) -> str:
    """The method that the answers follow best; the first where nothing was judged."""
    methods = comparison[~comparison["method"].isin(list(CONTROLS))]
    if "insertion_gain" in methods and methods["insertion_gain"].notna().any():
        return str(methods.loc[(methods["insertion_gain"] + methods["deletion_gain"]).idxmax(), "method"])
    return str(methods["method"].iloc[0])


def _agreement(folder: Path, methods: list[str]) -> pd.DataFrame:
    """Mean rank correlation of every two methods."""
    if not (folder / AGREEMENT).is_file():
        return pd.DataFrame()
    pairs = read_table(folder / AGREEMENT).groupby(["first", "second"])["rank_correlation"].mean()
    table = pd.DataFrame(np.nan, index=methods, columns=methods)
    for (first, second), value in pairs.items():
        table.loc[first, second] = table.loc[second, first] = value
    return table


def _settings(values: dict[str, Any]) -> str:
    """Settings in one line: `samples 250, seed 0`."""
    texts = []
    for name, value in values.items():
        if name == "kind":
            continue
        if isinstance(value, dict):
            inner = _settings(value)
            texts.append(
                " ".join(part for part in (name, value.get("kind", ""), f"({inner})" if inner else "") if part)
            )
        else:
            texts.append(f"{name} {value}")
    return ", ".join(texts) or "none"
