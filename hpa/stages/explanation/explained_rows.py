"""What is known of one explained item, as plain values for JSON: of the item, its questions, and every map."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from hpa.arrays import Float64
from hpa.explain.attribution import Attribution
from hpa.explain.shares import channel_shares
from hpa.stages.explanation.explained_batch import QuestionBatch
from hpa.stages.explanation.explained_items import Explainable
from hpa.stages.explanation.explained_judging import Judgement
from hpa.tables import json_value

LIKELY = 5
"""Classes whose probabilities are told."""


def item_rows(
    batch: QuestionBatch,
    place: int,
    found: Explainable,
    made: Mapping[str, Attribution],
    judged: Judgement | None,
    brought: Float64[np.ndarray, "questions channels"],
) -> dict[str, Any]:
    """One item's figures.

    Args:
        batch: with the item.
        place: of the item in it.
        found: all items.
        made: maps of the batch, by method.
        judged: of the batch.
        brought: by each channel to the probability.

    Returns:
        `item`, and lists of rows `questions`, `scores`, and where judged `agreement` and `randomization`.
    """
    tables = {"scores": _scores(made, judged, found.items.channels)}
    if judged is not None:
        tables |= {"agreement": judged.agreement, "randomization": judged.randomization}
    own, name = batch.of(place), batch.subjects[place].name
    rows: dict[str, Any] = {"item": _item(batch, place, found)}
    rows["questions"] = [
        {"item": name, **asdict(batch.questions[number])}
        | {
            f"value_{channel}": float(value)
            for channel, value in zip(found.items.channels, brought[number], strict=True)
        }
        for number in own
    ]
    for table_name, table in tables.items():
        rows[table_name] = [
            {"item": name, "class": batch.questions[row["item"]].name}
            | {column: json_value(value) for column, value in row.items() if column != "item"}
            for row in (table[table["item"].isin(own)] if len(table) else table).to_dict("records")
        ]
    return rows


def _scores(made: Mapping[str, Attribution], judged: Judgement | None, channels: tuple[str, ...]) -> pd.DataFrame:
    tables = []
    for name, found in made.items():
        table = {"item": np.arange(len(found)), "method": name, "seconds": found.seconds / len(found)}
        shares = channel_shares(found.maps, channels)
        table |= {f"share_{channel}": shares[:, column] for column, channel in enumerate(channels)}
        tables.append(pd.DataFrame(table | {f"figure_{key}": values for key, values in found.extra.items()}))
    scores = pd.concat(tables, ignore_index=True)
    return scores if judged is None else judged.scores.merge(scores, on=["item", "method"], how="left")


def _item(batch: QuestionBatch, place: int, found: Explainable) -> dict[str, Any]:
    subject, probabilities, names = batch.subjects[place], batch.probabilities[place], found.classes.names
    targets = None if found.targets is None else found.targets[subject.row]
    labelled = None
    if targets is not None and np.isfinite(targets).all():
        labelled = [name for name, target in zip(names, targets, strict=True) if target > 0]
    decided = found.decide(probabilities[None])[0]
    likely = np.argsort(-probabilities, kind="stable")[:LIKELY].tolist()
    return {
        "item": subject.name,
        "file": subject.file,
        "image_id": subject.image_id,
        "cell_id": subject.cell_id,
        "fold": subject.fold,
        "labelled": labelled,
        "predicted": [name for name, is_there in zip(names, decided, strict=True) if is_there],
        "likely": {names[number]: float(probabilities[number]) for number in likely},
    }
