"""Which classes are mistaken for which."""

import itertools

import numpy as np
import pandas as pd
from sklearn import metrics

from hpa.arrays import Bool, Targets
from hpa.labels import ClassList


def confusion_matrix(
    targets: Targets, decisions: Bool[np.ndarray, "items classes"], classes: ClassList
) -> pd.DataFrame:
    """Counts of a single-label task: one row per true class, one column per predicted class.

    Raises:
        ValueError: the class list is multi-label (`taken_for` is for those).
    """
    if classes.multi_label:
        raise ValueError("expected a single-label class list; taken_for compares the classes of a multi-label one")
    counts = metrics.confusion_matrix(targets.argmax(axis=1), decisions.argmax(axis=1), labels=np.arange(len(classes)))
    return _frame(counts, classes)


CONFUSED_COLUMNS = ("first", "second", "first_as_second", "second_as_first", "images", "share", "share_of_errors")
"""Columns of `confused_pairs`."""


def confused_pairs(counts: pd.DataFrame) -> pd.DataFrame:
    """Every pair of classes of which one was taken for the other at least once, the most confused first.

    Args:
        counts: as `confusion_matrix` gives them.

    Returns:
        CONFUSED_COLUMNS: names in the order of the class list; how many images of the first were predicted as the
        second, and the other way round; images of both classes; the share of these that was taken for the other; and
        the pair's part of all wrong decisions. Sorted by `share`, so that rare classes count like frequent ones.

    >>> counts = pd.DataFrame([[8, 2, 0], [1, 9, 0], [0, 5, 95]], list("abc"), list("abc"))
    >>> confused_pairs(counts)[["first", "second", "share"]].values.tolist()
    [['a', 'b', 0.15], ['b', 'c', 0.045454545454545456]]
    """
    values, names = counts.to_numpy(), [str(name) for name in counts.index]
    totals, wrong = values.sum(axis=1), values.sum() - np.trace(values)
    rows = [
        (names[one], names[other], int(there), int(back), int(images), (there + back) / images, (there + back) / wrong)
        for one, other in itertools.combinations(range(len(names)), 2)
        for there, back, images in [(values[one, other], values[other, one], totals[one] + totals[other])]
        if there + back > 0
    ]
    found = pd.DataFrame(rows, columns=list(CONFUSED_COLUMNS))
    return found.sort_values("share", ascending=False, kind="stable", ignore_index=True)


def taken_for(targets: Targets, decisions: Bool[np.ndarray, "items classes"], classes: ClassList) -> pd.DataFrame:
    """Co-occurrence confusion of a multi-label task: what is wrongly predicted where a class is missed.

    Row = true class, over the items that have it and for which it was not predicted. Column = another class: its mean
    count among those items' wrong predictions (the share of the items for which it was predicted without being true).
    Rows need not sum to 1: an item may get several wrong classes, or none at all.

    Returns:
        Values in [0, 1]; NaN on the diagonal and in the rows of classes that were never missed.

    >>> truth, said = np.float32([[1, 0, 0], [1, 0, 0]]), np.array([[False, True, False], [False, False, False]])
    >>> taken_for(truth, said, ClassList(names=("a", "b", "c"))).loc["a"].tolist()
    [nan, 0.5, 0.0]
    """
    truth = targets > 0
    missed = (truth & ~decisions).astype(np.float64)
    wrong = (decisions & ~truth).astype(np.float64)
    counts = missed.sum(axis=0)[:, None]
    shares = np.divide(missed.T @ wrong, counts, out=np.full((len(classes),) * 2, np.nan), where=counts > 0)
    np.fill_diagonal(shares, np.nan)
    return _frame(shares, classes)


def _frame(values: np.ndarray, classes: ClassList) -> pd.DataFrame:
    names = list(classes.names)
    return pd.DataFrame(values, index=pd.Index(names, name="true"), columns=pd.Index(names, name="predicted"))
