"""What neighbours in an embedding, and a network's own training, say about given labels."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from hpa.anomaly.label_calibration import class_shares
from hpa.arrays import Bool, Float32, Float64, Int64, Probabilities, Targets

VoteWeighting: TypeAlias = Literal["uniform", "distance"]

PRIOR_VOTES = 1.0
"""Votes for the shares of the classes beside those of the neighbours, so that no few neighbours are certain."""


def neighbour_votes(
    targets: Targets,
    distances: Float32[np.ndarray, "queries neighbours"],
    rows: Int64[np.ndarray, "found found_neighbours"],
    weighting: VoteWeighting = "uniform",
    groups: Sequence[str] | None = None,
) -> Probabilities:
    """Share of every class among the neighbours of every item, the item's own label left out.

    Args:
        targets: (n, classes), 0 or 1.
        distances: (n, k), at least 0, as a search of all rows against all gives them.
        rows: (n, k), positions in `targets`; negative where a search found fewer. A row's own number does not vote.
        weighting: `distance` lets a vote count exp(-d / mean distance of the item's neighbours).
        groups: where given, neighbours of the item's own group do not vote: images of one antibody often share an
            error, and then confirm it. None lets them vote, which finds errors of single images better.

    Returns:
        float32 (n, classes) in (0, 1); the shares of the classes in the whole set where no neighbour votes.

    Raises:
        ValueError: shapes that do not fit, rows outside the targets, or distances that are negative or not finite.

    >>> targets = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    >>> rows = np.array([[1], [0], [1]])
    >>> neighbour_votes(targets, np.ones((3, 1), np.float32), rows).argmax(axis=1).tolist()
    [0, 0, 0]
    """
    items = len(targets)
    if distances.shape != rows.shape or len(rows) != items:
        raise ValueError(f"expected ({items}, k) distances and rows, but got {distances.shape} and {rows.shape}")
    if rows.size and int(rows.max()) >= items:
        raise ValueError(f"expected rows below {items}, but got {int(rows.max())}: neighbours of other images")
    votes_there = (rows >= 0) & (rows != np.arange(items)[:, None])
    if groups is not None:
        numbers = _numbered(groups, items)
        votes_there &= numbers[rows] != numbers[:, None]
    found = distances[votes_there]
    if not ((found >= 0) & np.isfinite(found)).all():
        raise ValueError("expected distances that are finite and at least 0; look at the embedding for NaN")
    weights = _weights(distances, votes_there, weighting)
    votes = np.full(targets.shape, PRIOR_VOTES) * class_shares(targets)
    for column in range(rows.shape[1]):  # a column at a time, so that memory does not grow with k × classes
        votes += weights[:, column, None] * targets[np.maximum(rows[:, column], 0)]
    shares: Probabilities = (votes / (weights.sum(axis=1, keepdims=True) + PRIOR_VOTES)).astype(np.float32)
    return shares


def group_votes(targets: Targets, groups: Sequence[str]) -> Probabilities:
    """Share of every class among the other images of an image's group, as images of one antibody or slide vote.

    Of use where images of a group bear the same labels, and a wrong one is an image's own; a group that is mislabelled
    as a whole confirms itself.

    Args:
        targets: (n, classes), 0 or 1.
        groups: (n,) names.

    Returns:
        float32 (n, classes) in (0, 1); the shares of the classes in the whole set for an image alone in its group.

    Raises:
        ValueError: not one group per image, or no group of two.

    >>> targets = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    >>> group_votes(targets, ["a", "a", "a", "b"]).argmax(axis=1).tolist()[:3]
    [0, 0, 0]
    """
    numbers = _numbered(groups, len(targets))
    if len(numbers) and np.bincount(numbers).max() < 2:
        raise ValueError(
            "group_votes: no two images share a group, so that none votes; name groups by `source.group_columns` or "
            "`source.group_pattern`, or leave group_votes out"
        )
    sums = np.zeros((int(numbers.max(initial=-1)) + 1, targets.shape[1]))
    np.add.at(sums, numbers, targets)
    votes = sums[numbers] - targets + PRIOR_VOTES * class_shares(targets)
    voters = np.bincount(numbers)[numbers] - 1
    shares: Probabilities = (votes / (voters + PRIOR_VOTES)[:, None]).astype(np.float32)
    return shares


def _numbered(groups: Sequence[str], items: int) -> Int64[np.ndarray, " items"]:
    """Groups as numbers from 0."""
    if len(groups) != items:
        raise ValueError(f"expected {items} groups, one per image, but got {len(groups)}")
    names = np.asarray(groups, dtype=object).astype(str)
    numbers: Int64[np.ndarray, " items"] = np.unique(names, return_inverse=True)[1].astype(np.int64)
    return numbers


def _weights(
    distances: Float32[np.ndarray, "items k"], there: Bool[np.ndarray, "items k"], weighting: VoteWeighting
) -> Float64[np.ndarray, "items k"]:
    if weighting == "uniform":
        return np.asarray(there, np.float64)
    known = np.where(there, distances, 0.0).astype(np.float64)
    number = np.maximum(there.sum(axis=1, keepdims=True), 1)
    scale = known.sum(axis=1, keepdims=True) / number
    away = np.divide(known, scale, out=np.zeros_like(known), where=scale > 0)
    weights: Float64[np.ndarray, "items k"] = np.exp(-away) * there
    # As many votes as neighbours, so that they stand against the prior votes as equal ones would.
    total = weights.sum(axis=1, keepdims=True)
    weights *= np.divide(number, total, out=np.zeros_like(total), where=total > 0)
    return weights


def signed_margins(
    targets: Targets, margins: Float32[np.ndarray, "rows columns"]
) -> Float32[np.ndarray, "items classes"]:
    """How far training stood on the side of each given label: the margin for a class that is there, else minus it.

    The area under the margin of Pleiss, Zhang, Elenberg, Weinberger 2020 (arXiv:2001.10528), read class by class where
    an image may have several.

    Args:
        targets: (n, classes), 0 or 1.
        margins: (n, classes), means over the epochs of training: of the logit (several classes), or of the logit less
            the highest other one (one class). NaN where an image was never learned from.

    Raises:
        ValueError: shapes differ, or a margin is infinite.
    """
    if margins.shape != targets.shape:
        raise ValueError(f"expected margins of shape {targets.shape}, as the labels, but got {margins.shape}")
    if np.isinf(margins).any():
        row = int(np.flatnonzero(np.isinf(margins).any(axis=1))[0])
        raise ValueError(f"expected finite margins or NaN, but row {row} is {margins[row]}; the training diverged")
    return np.where(targets > 0, margins, -margins).astype(np.float32)


def area_under_margin(
    targets: Targets, margins: Float32[np.ndarray, "rows columns"], multi_label: bool
) -> Float32[np.ndarray, " items"]:
    """One figure per image, lower = worse, NaN where it was never learned from.

    With one class its signed margin; with several the least over the classes.

    Raises:
        ValueError: as `signed_margins` does.

    >>> targets, margins = np.array([[1, 0]], np.float32), np.array([[2, -0.5]], np.float32)
    >>> area_under_margin(targets, margins, multi_label=True).tolist()
    [0.5]
    """
    signed = signed_margins(targets, margins)
    given = np.take_along_axis(signed, targets.argmax(axis=1)[:, None], axis=1)[:, 0]
    areas: Float32[np.ndarray, " items"] = signed.min(axis=1) if multi_label else given
    return areas
