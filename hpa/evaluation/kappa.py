"""How far annotators agree beyond chance: Cohen's kappa of two, Fleiss's of any number, per class too."""

from dataclasses import dataclass

import numpy as np

from hpa.arrays import ClassVector, Int64

Votes = Int64[np.ndarray, "items annotators"]
"""Class numbers; -1 where an annotator gave none."""


def vote_counts(votes: Votes, classes: int) -> Int64[np.ndarray, "items classes"]:
    """How many annotators gave each class to each item.

    Raises:
        ValueError: a number outside the classes, other than -1.

    >>> vote_counts(np.array([[0, 1, 1], [-1, 0, 0]]), 2).tolist()
    [[1, 2], [2, 0]]
    """
    if votes.size and not -1 <= votes.min() <= votes.max() < classes:
        raise ValueError(f"expected class numbers from 0 to {classes - 1}, or -1 for none, but got {votes.max()}")
    counts: Int64[np.ndarray, "items classes"] = (votes[:, :, None] == np.arange(classes)).sum(axis=1)
    return counts


def cohen_kappa(first: Int64[np.ndarray, " items"], second: Int64[np.ndarray, " items"]) -> float:
    """Agreement of two annotators beyond that of their class frequencies: (po - pe) / (1 - pe).

    Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20 (1960).

    Args:
        first: class numbers; items to which either gave none (-1) are left out.
        second: the other annotator's.

    Returns:
        1 is perfect, 0 chance; NaN where both gave one and the same class to everything, or there is no common item.
    """
    both = (first >= 0) & (second >= 0)
    if not both.any():
        return float("nan")
    one, other = first[both], second[both]
    size = int(max(one.max(), other.max())) + 1
    expected = float((np.bincount(one, minlength=size) * np.bincount(other, minlength=size)).sum()) / len(one) ** 2
    return float(((one == other).mean() - expected) / (1 - expected)) if expected < 1 else float("nan")


@dataclass(frozen=True, eq=False)
class Agreement:
    """Agreement of any number of annotators.

    Attributes:
        kappa: of all classes together; NaN where only one class was ever given.
        per_class: of each class against all others; NaN for one never or always given.
        observed: chance that two annotators of an item, drawn at random, agree.
        expected: the same by the classes' frequencies alone.
        unanimous: share of the items with two votes or more whose votes are all alike.
        items: with two votes or more; the others play no part.
    """

    kappa: float
    per_class: ClassVector
    observed: float
    expected: float
    unanimous: float
    items: int


def fleiss_kappa(counts: Int64[np.ndarray, "items classes"]) -> Agreement:
    """Fleiss's kappa; items may have different numbers of votes.

    Fleiss, "Measuring nominal scale agreement among many raters", Psychological Bulletin 76 (1971), with the pairs of
    votes of all items pooled where their numbers differ.

    Args:
        counts: votes of each item for each class.

    Raises:
        ValueError: no item has two votes.
    """
    used = counts[counts.sum(axis=1) >= 2].astype(np.float64)
    if len(used) == 0:
        raise ValueError("expected items with the votes of two annotators or more, but there are none")
    votes = used.sum(axis=1)
    share = used.sum(axis=0) / votes.sum()
    # Items with equally many votes count the same, as in the paper; others by theirs.
    weights = votes / votes.sum()
    observed = float(weights @ ((used * (used - 1)).sum(axis=1) / (votes * (votes - 1))))
    expected = float((share**2).sum())
    split = weights @ (used * (votes[:, None] - used) / (votes * (votes - 1))[:, None])
    chance = share * (1 - share)
    return Agreement(
        kappa=(observed - expected) / (1 - expected) if expected < 1 else float("nan"),
        per_class=1 - np.divide(split, chance, out=np.full(len(share), np.nan), where=chance > 0),
        observed=observed,
        expected=expected,
        unanimous=float((used.max(axis=1) == votes).mean()),
        items=len(used),
    )
