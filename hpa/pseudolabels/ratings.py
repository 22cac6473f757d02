"""Cells that a person graded from 1 (does not show the class) to 5 (shows it)."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd
from scipy import stats

from hpa.arrays import Float64, Probabilities
from hpa.labels import ClassList, LabelError
from hpa.tables import CELL_KEY

CSV_COLUMNS = ("image_id", "cell_index_from_0", "class", "rating_1_to_5")
"""Columns that a file of ratings must have; `set` may follow."""

RATING_COLUMNS = (*CELL_KEY, "class_number", "rating", "grades")
"""Columns of a table of ratings: the mean rating (1 to 5) of a cell and class, and of how many grades."""

GRADES = (1, 2, 3, 4, 5)

_Known: TypeAlias = Float64[np.ndarray, "cells classes"]


def read_ratings(path: Path, classes: ClassList, sets: Sequence[str] | None = None) -> pd.DataFrame:
    """Ratings of cells from a CSV; repeated grades of one cell and class are averaged.

    The file's cells count from 0: cell 0 is number 1 of the label map that was graded.

    Args:
        path: columns CSV_COLUMNS, and `set` where ratings are of several kinds.
        classes: the class list; a class is written as its number or its name.
        sets: which values of `set` are taken; None for all.

    Returns:
        RATING_COLUMNS, by image, cell and class.

    Raises:
        ValueError: a column is missing, a value is not what it should be (names the line), or no row is left.
        OSError: the file cannot be read.
    """
    rows = []
    found_sets: set[str] = set()
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        wanted = (*CSV_COLUMNS, *(("set",) if sets is not None else ()))
        missing = [name for name in wanted if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path}: expected the columns {list(wanted)}, but {missing} are missing")
        for row in reader:
            place = f"{path}, line {reader.line_num}"
            found_sets.add(row.get("set") or "")
            if sets is None or row["set"] in sets:
                rows.append(_read_row(row, classes, place))
    if not rows:
        chosen = "" if sets is None else f" of the sets {list(sets)}; the file has {sorted(found_sets)}"
        raise ValueError(f"{path}: expected at least one rating{chosen}")
    table = pd.DataFrame(rows, columns=[*CELL_KEY, "class_number", "rating"])
    grouped = table.groupby([*CELL_KEY, "class_number"])["rating"].agg(["mean", "size"]).reset_index()
    return grouped.rename(columns={"mean": "rating", "size": "grades"})[list(RATING_COLUMNS)]


def _read_row(row: dict[str, str], classes: ClassList, place: str) -> tuple[str, int, int, float]:
    image_id, index, label, rating = (row[name] for name in CSV_COLUMNS)
    if not image_id:
        raise ValueError(f"{place}: expected an image_id, but it is empty")
    if not (index or "").isdecimal():
        raise ValueError(f"{place}: expected a cell's index from 0 on, but got {index!r}")
    if rating not in map(str, GRADES):
        raise ValueError(f"{place}: expected a rating from 1 to 5, but got {rating!r}")
    try:
        numbers = classes.parse(label or "")
    except LabelError as error:
        raise ValueError(f"{place}: expected one class: {error}") from None
    if len(numbers) != 1:
        raise ValueError(f"{place}: expected one class, but got {label!r}")
    return image_id, int(index) + 1, numbers[0], float(rating)


def carry_ratings(ratings: pd.DataFrame, numbers: Mapping[str, Mapping[int, int]]) -> pd.DataFrame:
    """Ratings with the numbers that their cells have in other label maps.

    Args:
        ratings: RATING_COLUMNS.
        numbers: by image_id, the new number of each cell that has one; other cells and images are left out.

    >>> table = pd.DataFrame([("a", 1, 0, 5.0, 1), ("a", 2, 0, 1.0, 1)], columns=list(RATING_COLUMNS))
    >>> carry_ratings(table, {"a": {2: 7}})[["cell_id", "rating"]].to_numpy().tolist()
    [[7.0, 1.0]]
    """
    pairs = zip(ratings["image_id"], ratings["cell_id"], strict=True)
    found = np.array([numbers.get(image_id, {}).get(cell_id, -1) for image_id, cell_id in pairs], np.int64)
    return ratings.assign(cell_id=found)[found >= 0].reset_index(drop=True)


def require_rated_cells(ratings: pd.DataFrame, keys: pd.DataFrame) -> pd.DataFrame:
    """The ratings of images that a table of cells has, after a look that it has every cell rated in them.

    Raises:
        ValueError: a rated cell is not there, which tells that other label maps were graded.
    """
    here = ratings[ratings["image_id"].isin(keys["image_id"])]
    lacking = _find(here, keys) < 0
    if lacking.any():
        image_id, cell_id = here.loc[lacking, list(CELL_KEY)].iloc[0]
        raise ValueError(
            f"ratings: cell {cell_id - 1} (from 0) of image {image_id} was graded, but the cell table lacks it: other "
            "label maps were graded; give them as ratings.label_maps"
        )
    return here.reset_index(drop=True)


def rated_labels(
    ratings: pd.DataFrame, keys: pd.DataFrame, classes: ClassList, values: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0)
) -> _Known:
    """Soft labels of rated cells, in the order of a table of cells.

    Args:
        ratings: RATING_COLUMNS; rows of cells that `keys` lacks are left out.
        keys: image_id, cell_id, each pair once.
        classes: the columns of the result.
        values: label of each rating from 1 to 5; means between two ratings are interpolated.

    Returns:
        In [0, 1]; NaN where nobody rated.

    Raises:
        ValueError: not five values, or values that fall or leave [0, 1].
    """
    steps = np.asarray(values, np.float64)
    if steps.shape != (len(GRADES),) or (np.diff(steps) < 0).any() or (steps < 0).any() or (steps > 1).any():
        raise ValueError(f"expected five labels from 0 to 1 that do not fall, for the ratings 1 to 5, but got {values}")
    known = np.full((len(keys), len(classes)), np.nan)
    rows = _find(ratings, keys)
    there = rows >= 0
    rating = ratings["rating"].to_numpy(np.float64)[there]
    known[rows[there], ratings["class_number"].to_numpy()[there]] = np.interp(rating, GRADES, steps)
    return known


def rank_agreement(
    ratings: pd.DataFrame, keys: pd.DataFrame, scores: Probabilities, classes: ClassList
) -> pd.DataFrame:
    """Spearman's rank correlation of ratings with scores, per class over its rated cells.

    Args:
        ratings: RATING_COLUMNS.
        keys: image_id, cell_id of the scores.
        scores: one row per key, one column per class.
        classes: names the columns.

    Returns:
        Columns class, cells and spearman (NaN for fewer than three cells, or where ratings or scores are all equal).
    """
    rows = _find(ratings, keys)
    table = ratings[rows >= 0].assign(row=rows[rows >= 0])
    found = []
    for number, group in table.groupby("class_number"):
        rating, score = group["rating"].to_numpy(), scores[group["row"].to_numpy(), number]
        defined = len(group) > 2 and np.ptp(rating) > 0 and np.ptp(score) > 0
        value = float(stats.spearmanr(rating, score).statistic) if defined else np.nan
        found.append((classes.names[number], len(group), value))
    return pd.DataFrame(found, columns=["class", "cells", "spearman"])


def _find(ratings: pd.DataFrame, keys: pd.DataFrame) -> np.ndarray:
    """Row of `keys` of every rating, -1 where there is none."""
    index = pd.MultiIndex.from_frame(keys[list(CELL_KEY)])
    return np.asarray(index.get_indexer(pd.MultiIndex.from_frame(ratings[list(CELL_KEY)])))
