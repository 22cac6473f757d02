"""Soft labels from the votes of several annotators, and how hard an item is by their disagreement."""

from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import numpy as np
import pydantic

from hpa.arrays import Float64, Int64, Targets
from hpa.config import Config

Votes: TypeAlias = Int64[np.ndarray, "items annotators"]
"""Class numbers; -1 where an annotator gave none."""


class VoteShares(Config):
    """Every vote counts the same.

    Attributes:
        smoothing: votes for every class that are added: 0 makes unanimous labels hard.
    """

    kind: Literal["shares"] = "shares"
    smoothing: Annotated[float, pydantic.Field(ge=0)] = 0.0


class DawidSkene(Config):
    """Annotators count by how they err, which is learned from where they agree.

    Dawid and Skene, "Maximum likelihood estimation of observer error-rates using the EM algorithm", Applied Statistics
    28 (1979).

    Attributes:
        rounds: of expectation maximisation, at most.
        smoothing: counts added to every cell of an annotator's confusion matrix.
    """

    kind: Literal["dawid_skene"] = "dawid_skene"
    rounds: Annotated[int, pydantic.Field(ge=1)] = 100
    smoothing: Annotated[float, pydantic.Field(gt=0)] = 0.1


SoftLabels: TypeAlias = Annotated[VoteShares | DawidSkene, pydantic.Field(discriminator="kind")]

_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Consensus:
    """What the votes say together.

    Attributes:
        labels: soft labels that sum to 1; those of an item without votes are the classes' shares.
        confusions: of each annotator, the probability of its answer (last axis) given the class.
    """

    labels: Targets
    confusions: Float64[np.ndarray, "annotators classes classes"]


def soft_labels(votes: Votes, classes: int, config: SoftLabels) -> Consensus:
    """Soft labels from votes.

    Args:
        votes: of every item.
        classes: how many there are.
        config: how votes count.

    Raises:
        ValueError: no votes at all, or a class number out of range.

    >>> soft_labels(np.array([[0, 0, 1], [1, 1, -1]]), 2, VoteShares()).labels.round(2).tolist()
    [[0.6700000166893005, 0.33000001311302185], [0.0, 1.0]]
    """
    if not (votes >= 0).any() or votes.min() < -1 or votes.max() >= classes:
        raise ValueError(
            f"expected votes for the classes 0 to {classes - 1}, with -1 for none, but got numbers from "
            f"{votes.min(initial=0)} to {votes.max(initial=-1)}"
        )
    given = (votes[:, :, None] == np.arange(classes)).astype(np.float64)
    match config:
        case VoteShares(smoothing=smoothing):
            labels = _normalised(given.sum(axis=1) + smoothing, given)
            return Consensus(labels.astype(np.float32), _confusions(given, labels, _TOLERANCE))
        case DawidSkene(rounds=rounds, smoothing=smoothing):
            labels = _normalised(given.sum(axis=1), given)
            for _ in range(rounds):
                prior = labels.mean(axis=0)
                confusions = _confusions(given, labels, smoothing)
                odds = np.log(np.maximum(prior, 1e-12)) + np.einsum("iac,akc->ik", given, np.log(confusions))
                better = np.exp(odds - odds.max(axis=1, keepdims=True))
                better /= better.sum(axis=1, keepdims=True)
                change = np.abs(better - labels).max()
                labels = better
                if change < _TOLERANCE:
                    break
            return Consensus(labels.astype(np.float32), _confusions(given, labels, smoothing))


def disagreement(votes: Votes, classes: int) -> Float64[np.ndarray, " items"]:
    """How hard each item is for its annotators: the entropy of their votes over the largest that so many can have.

    Returns:
        0 where all agree or fewer than two voted, 1 where the votes are spread as evenly as they can be.

    >>> disagreement(np.array([[0, 0, 0], [0, 0, 1], [0, 1, 2], [2, -1, -1]]), 3).round(2).tolist()
    [0.0, 0.58, 1.0, 0.0]
    """
    counts = (votes[:, :, None] == np.arange(classes)).sum(axis=1).astype(np.float64)
    total = counts.sum(axis=1)
    shares = counts / np.maximum(total, 1)[:, None]
    entropy = np.abs((shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=1))
    # The most even split of n votes over k classes: n mod k classes have one vote more than the others.
    many = np.maximum(total, 1)
    low, more = np.floor(many / classes), many % classes
    parts = np.stack([more * (low + 1) / many, (classes - more) * low / many])
    each = np.stack([(low + 1) / many, low / many])
    most = -(parts * np.log(np.where(each > 0, each, 1))).sum(axis=0)
    hard: Float64[np.ndarray, " items"] = np.divide(entropy, most, out=np.zeros(len(votes)), where=most > 0)
    return hard


def _normalised(
    counts: Float64[np.ndarray, "items classes"], given: Float64[np.ndarray, "items annotators classes"]
) -> Float64[np.ndarray, "items classes"]:
    """Counts as shares; without any the shares of all votes."""
    usual = given.sum(axis=(0, 1)) / given.sum()
    total = counts.sum(axis=1, keepdims=True)
    has_votes = given.sum(axis=(1, 2))[:, None] > 0
    shares: Float64[np.ndarray, "items classes"] = np.where(has_votes, counts / np.maximum(total, 1e-12), usual)
    return shares


def _confusions(
    given: Float64[np.ndarray, "items annotators classes"],
    labels: Float64[np.ndarray, "items classes"],
    smoothing: float,
) -> Float64[np.ndarray, "annotators classes classes"]:
    counts = np.einsum("ik,iac->akc", labels, given) + smoothing
    result: Float64[np.ndarray, "annotators classes classes"] = counts / counts.sum(axis=2, keepdims=True)
    return result
