"""Which classes are mistaken for which."""

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
