"""Which items `explain` explains, and which classes of each: right answers, wrong ones, and what was missed."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from hpa.arrays import Int64
from hpa.evaluation import pick_examples
from hpa.stages.explanation.explain_config import ExplainConfig
from hpa.stages.explanation.explained_items import UNKNOWN, Explainable

Status: TypeAlias = Literal["right", "wrong", "missed", "absent", "predicted", "not predicted"]
"""Of a class of an item. `right`: predicted, as labelled. `wrong`: predicted, and not labelled. `missed`: labelled, and
not predicted. `absent`: neither. `predicted` and `not predicted`: the labels are unknown."""

ANSWERS: tuple[Status, ...] = ("right", "wrong", "predicted")
"""Of classes that the network says an item has."""


@dataclass(frozen=True)
class Subject:
    """One image or cell to be explained.

    Attributes:
        name: `image_id`, or `image_id/cell_id`.
        file: the name as files have it.
        image_id: of the image.
        cell_id: of the cell; 0 for an image.
        row: in the items.
        fold: whose network explains it.
    """

    name: str
    file: str
    image_id: str
    cell_id: int
    row: int
    fold: int


@dataclass(frozen=True)
class Question:
    """Why does this item have this class?

    Attributes:
        number: of the class.
        name: of the class.
        status: of the answer.
        probability: of the class.
    """

    number: int
    name: str
    status: Status
    probability: float


def choose(config: ExplainConfig, found: Explainable) -> list[Subject]:
    """The items to explain.

    Of items with labels and out-of-fold probabilities, half were answered right and half wrong, going round the
    classes, the surest mistakes first; otherwise they are spread evenly over the table.

    Raises:
        ValueError: an item or a class asked for by name is not there, or no network held the item out.
    """
    if isinstance(config.classes, tuple):
        known = found.classes.names
        unknown = [name for name in config.classes if name not in known]
        if unknown:
            raise ValueError(f"classes: {unknown} are not classes of {config.run}: {', '.join(known)}")
    names = found.names
    usable = np.flatnonzero(found.explained_by != UNKNOWN)
    if isinstance(config.images, tuple):
        places = {name: row for row, name in enumerate(names)}
        missing = [name for name in config.images if name not in places]
        if missing:
            raise ValueError(
                f"images: {missing[:3]} are not among the {len(names)} {config.level}s, such as {names[:2]}"
            )
        rows = np.array([places[name] for name in config.images], np.int64)
        unheld = [names[row] for row in rows if found.explained_by[row] == UNKNOWN]
        if unheld:
            raise ValueError(
                f"images: no network of {config.run} held out {unheld[:3]}, and one that learned from them would "
                "explain what it knows by heart; choose others, or train with folds=all"
            )
    else:
        rows = _right_and_wrong(found, usable, config.images)
    keys = found.items.keys
    cells = keys["cell_id"].to_numpy(np.int64) if "cell_id" in keys else np.zeros(len(keys), np.int64)
    # Image names may hold what file names may not, and two may differ in that alone.
    files = ["".join(sign if sign.isalnum() or sign in "-_." else "_" for sign in names[row]) for row in rows]
    return [
        Subject(
            name=names[row],
            file=file if files.count(file) == 1 else f"{file}-{row}",
            image_id=str(keys["image_id"].iloc[row]),
            cell_id=int(cells[row]),
            row=int(row),
            fold=int(found.explained_by[row]),
        )
        for row, file in zip(rows.tolist(), files, strict=True)
    ]


def _right_and_wrong(
    found: Explainable, usable: Int64[np.ndarray, " usable"], count: int
) -> Int64[np.ndarray, " chosen"]:
    if found.targets is not None and found.scores is not None:
        known = usable[np.isfinite(found.targets[usable]).all(axis=1) & np.isfinite(found.scores[usable]).all(axis=1)]
        if len(known):
            scores = found.scores[known]
            picked = pick_examples(found.targets[known], scores, found.decide(scores), count)
            right, wrong = (known[picked["row"].to_numpy()[picked["right"] == is_right]] for is_right in (True, False))
            wrongs = min(len(wrong), max(count // 2, count - len(right)))
            return np.asarray(np.concatenate([right[: count - wrongs], wrong[:wrongs]]), np.int64)
    places = np.linspace(0, len(usable) - 1, min(count, len(usable))).round().astype(np.int64)
    return np.asarray(usable[np.unique(places)], np.int64)


def ask(config: ExplainConfig, found: Explainable, subject: Subject, probabilities: np.ndarray) -> list[Question]:
    """The classes of an item to explain.

    Args:
        config: says which.
        found: the items.
        subject: the item.
        probabilities: of its classes, by the network that explains them.
    """
    names = found.classes.names
    targets = None if found.targets is None else found.targets[subject.row]
    labelled = None if targets is None or np.isnan(targets).any() else targets > 0
    decided = found.decide(probabilities[None])[0]
    if isinstance(config.classes, tuple):
        numbers = [names.index(name) for name in config.classes]
    else:
        numbers = np.argsort(-probabilities, kind="stable")[: config.classes].tolist()
        if labelled is not None:
            wrong = np.flatnonzero(decided & ~labelled)
            surest = wrong[np.argsort(-probabilities[wrong], kind="stable")][:1]
            more = [*surest.tolist(), *np.flatnonzero(labelled & ~decided).tolist()]
            numbers += [number for number in more if number not in numbers]
    return [
        Question(
            number,
            names[number],
            _status(bool(decided[number]), None if labelled is None else bool(labelled[number])),
            float(probabilities[number]),
        )
        for number in numbers
    ]


def _status(is_predicted: bool, is_labelled: bool | None) -> Status:
    match is_predicted, is_labelled:
        case True, None:
            return "predicted"
        case False, None:
            return "not predicted"
        case True, True:
            return "right"
        case True, False:
            return "wrong"
        case False, True:
            return "missed"
        case _:
            return "absent"
