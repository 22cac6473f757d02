"""Labels that look wrong: one function that applies a method to what can be held against given labels.

`probabilities` are out of fold (of networks that did not learn from the image's own label), `neighbours` are distances
and row numbers from a search of an embedding, all rows against all, `margins` come from the training itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from hpa.anomaly.confident_learning import confident_issues
from hpa.anomaly.findings import Finding, decide, ranks
from hpa.anomaly.label_calibration import class_shares
from hpa.anomaly.label_evidence import LabelEvidence, check_labels, weigh_evidence
from hpa.anomaly.label_methods import (
    AreaUnderMargin,
    Cleanlab,
    Combination,
    LabelLoss,
    LabelMargin,
    LabelMethod,
    NeighbourVote,
    SelfConfidence,
)
from hpa.anomaly.label_votes import area_under_margin, group_votes, neighbour_votes, signed_margins
from hpa.arrays import Bool, Float32, Float64, Int64, Probabilities, Targets
from hpa.labels import ClassList

LARGEST_LOSS = 1e-6
"""Probabilities below this count as this, so that losses are finite."""


@dataclass(frozen=True, eq=False)
class LabelInputs:
    """Given labels and what can be held against them; row i of everything is one image.

    Attributes:
        targets: (n, classes), 0 or 1.
        classes: the class list.
        probabilities: (n, classes) out of fold.
        neighbours: distances and row numbers, (n, k) each, nearest first.
        margins: (n, classes), see `hpa.anomaly.label_votes.signed_margins`.
        groups: (n,) names, for `other_groups` and `group_votes`.
    """

    targets: Targets
    classes: ClassList
    probabilities: Probabilities | None = None
    neighbours: tuple[Float32[np.ndarray, "items k"], Int64[np.ndarray, "items k"]] | None = None
    margins: Float32[np.ndarray, "items classes"] | None = None
    groups: Sequence[str] | None = None


@dataclass(frozen=True, eq=False)
class LabelIssues:
    """What a method says about every label.

    Attributes:
        scores: (n,), higher = worse; NaN where an image could not be judged.
        flags: (n,), the decision.
        wrong: (n, classes) in [0, 1], higher where the given label of the class, present or absent, looks wrong; from
            0.5 on the method would turn it over.
        evidence: of the methods that weigh it.
    """

    scores: Float32[np.ndarray, " items"]
    flags: Bool[np.ndarray, " items"]
    wrong: Probabilities
    evidence: LabelEvidence | None = None


def find_label_issues(config: LabelMethod, inputs: LabelInputs) -> LabelIssues:
    """Apply one method.

    Raises:
        ValueError: what the method needs is not given, or does not fit; cleanlab is not installed.
    """
    targets, multi_label = inputs.targets, inputs.classes.multi_label
    evidence = None
    match config:
        case SelfConfidence():
            wrong = _wrong(config.kind, inputs)
            scores = wrong.max(axis=1) if multi_label else (wrong * targets).sum(axis=1)
        case LabelMargin():
            wrong = _wrong(config.kind, inputs)
            scores = _margins(targets, _probabilities(config.kind, inputs), config.adjusted)
        case LabelLoss():
            wrong = _wrong(config.kind, inputs)
            scores = _losses(targets, _probabilities(config.kind, inputs), multi_label, config.relative)
        case Cleanlab():
            wrong = _wrong(config.kind, inputs)
            probabilities = _probabilities(config.kind, inputs)
            scores, flags = confident_issues(targets, probabilities, multi_label, config.quality)
            return LabelIssues(scores, flags if config.decision is None else decide(scores, config.decision), wrong)
        case NeighbourVote():
            evidence = weigh_evidence(targets, [_votes(config, inputs)], multi_label)
            scores, wrong = evidence.log_odds, evidence.wrong
        case AreaUnderMargin():
            margins = _margins_given(config.kind, inputs)
            scores = -area_under_margin(targets, margins, multi_label)
            wrong = expit(-np.nan_to_num(signed_margins(targets, margins)))
        case Combination():
            sources = [] if inputs.probabilities is None else [inputs.probabilities]
            sources += [] if inputs.neighbours is None else [_votes(config, inputs)]
            sources += [_group_votes(inputs)] if config.group_votes else []
            evidence = weigh_evidence(targets, sources, multi_label)
            scores, wrong = _with_margins(evidence, inputs, config.margin_weight), evidence.wrong
    scores = scores.astype(np.float32)
    return LabelIssues(scores, decide(scores, config.decision), wrong.astype(np.float32), evidence)


def label_finding(name: str, config: LabelMethod, inputs: LabelInputs) -> Finding:
    """The same as a finding, with the column `<name>_suggested`: what would be changed, as text, empty for nothing.

    Raises:
        ValueError: as `find_label_issues` does.
    """
    issues = find_label_issues(config, inputs)
    details = pd.DataFrame({f"{name}_suggested": suggestions(inputs.targets, issues.wrong, inputs.classes)})
    return Finding(name, issues.scores, issues.flags, details)


def turned_over(targets: Targets, wrong: Probabilities, classes: ClassList) -> Targets:
    """Labels with those turned over that are more likely wrong than right; every image keeps or gets a class.

    A single-label image gets the most likely other class. The exclusive class drives the others out, or they it,
    whichever is new.

    Args:
        targets: (n, classes), 0 or 1.
        wrong: (n, classes), as `LabelIssues.wrong`.
        classes: the class list.

    Returns:
        float32 (n, classes), 0 or 1.

    >>> classes = ClassList(names=("a", "b", "c"))
    >>> given, wrong = np.array([[1, 0, 0]], np.float32), np.array([[0.9, 0.2, 0.4]], np.float32)
    >>> turned_over(given, wrong, classes).tolist()
    [[0.0, 0.0, 1.0]]
    """
    flips: Bool[np.ndarray, "items classes"] = np.asarray(wrong >= 0.5)
    labels = np.where(flips, 1 - targets, targets)
    if not classes.multi_label:
        doubted = np.asarray((flips & (targets > 0)).any(axis=1))
        likely = np.where(targets > 0, -1.0, wrong).argmax(axis=1)
        return np.where(doubted[:, None], np.eye(len(classes))[likely], targets).astype(np.float32)
    empty = np.flatnonzero((labels.sum(axis=1) == 0) & (targets.sum(axis=1) > 0))
    labels[empty, np.where(targets[empty] > 0, -1.0, wrong[empty]).argmax(axis=1)] = 1
    if classes.exclusive is not None:
        column = classes.names.index(classes.exclusive)
        both = (labels[:, column] > 0) & (labels.sum(axis=1) > 1)
        new = both & (targets[:, column] == 0)
        labels[new] = np.eye(len(classes))[column]
        labels[both & ~new, column] = 0
    return labels.astype(np.float32)


def suggestions(targets: Targets, wrong: Probabilities, classes: ClassList) -> list[str]:
    """What `turned_over` would change in each image, as text; empty for nothing.

    >>> classes = ClassList(names=("Golgi apparatus", "Cytosol"))
    >>> suggestions(np.array([[1, 0]], np.float32), np.array([[0.9, 0.8]], np.float32), classes)
    ['remove Golgi apparatus; add Cytosol']
    """
    changes = turned_over(targets, wrong, classes) - targets
    names = np.asarray(classes.names, dtype=object)
    texts = [""] * len(targets)
    for row in np.flatnonzero(changes.any(axis=1)).tolist():
        parts = [("remove", names[changes[row] < 0]), ("add", names[changes[row] > 0])]
        texts[row] = "; ".join(f"{verb} {', '.join(found)}" for verb, found in parts if len(found))
    return texts


def _probabilities(kind: str, inputs: LabelInputs) -> Probabilities:
    """The probabilities, which the method needs; checked."""
    if inputs.probabilities is None:
        raise ValueError(f"{kind} needs out-of-fold probabilities; give `probabilities`")
    check_labels(inputs.targets, [inputs.probabilities], inputs.classes.multi_label)
    return inputs.probabilities


def _margins_given(kind: str, inputs: LabelInputs) -> Float32[np.ndarray, "items classes"]:
    if inputs.margins is None:
        raise ValueError(f"{kind} needs the margins of a training; give `margins` (train with margins=true)")
    return inputs.margins


def _votes(config: NeighbourVote | Combination, inputs: LabelInputs) -> Probabilities:
    if inputs.neighbours is None:
        raise ValueError(f"{config.kind} needs neighbours in an embedding; give `embedding`")
    if config.other_groups and inputs.groups is None:
        raise ValueError(f"{config.kind}.other_groups needs the groups of the images")
    distances, rows = (found[:, : config.neighbours] for found in inputs.neighbours)
    groups = inputs.groups if config.other_groups else None
    return neighbour_votes(inputs.targets, distances, rows, config.weighting, groups)


def _group_votes(inputs: LabelInputs) -> Probabilities:
    if inputs.groups is None:
        raise ValueError("combination.group_votes needs the groups of the images")
    return group_votes(inputs.targets, inputs.groups)


def _wrong(kind: str, inputs: LabelInputs) -> Float32[np.ndarray, "items classes"]:
    """How unlikely each given label is by the probabilities alone."""
    return np.where(inputs.targets > 0, 1 - _probabilities(kind, inputs), _probabilities(kind, inputs))


def _margins(targets: Targets, probabilities: Probabilities, adjusted: bool) -> Float64[np.ndarray, " items"]:
    values = probabilities.astype(np.float64)
    if adjusted:
        given = targets.sum(axis=0, dtype=np.float64)
        means = np.divide((values * targets).sum(axis=0), given, out=np.zeros_like(given), where=given > 0)
        values = values - means
    # An image without classes has no least likely one: 0 stands for it, and so for one that has all of them.
    given_least = np.where(targets > 0, values, np.inf).min(axis=1)
    other_most = np.where(targets > 0, -np.inf, values).max(axis=1)
    given_least[np.isinf(given_least)] = 0
    other_most[np.isinf(other_most)] = 0
    return np.asarray(other_most - given_least, np.float64)


def _losses(
    targets: Targets, probabilities: Probabilities, multi_label: bool, relative: bool
) -> Float64[np.ndarray, " items"]:
    def loss(values: Float64[np.ndarray, "_ classes"]) -> Float64[np.ndarray, " items"]:
        known = np.clip(values, LARGEST_LOSS, 1 - LARGEST_LOSS)
        if multi_label:
            return np.asarray(-np.where(targets > 0, np.log(known), np.log1p(-known)).mean(axis=1))
        return np.asarray(-(np.log(known) * targets).sum(axis=1))

    losses = loss(probabilities.astype(np.float64))
    return losses - loss(class_shares(targets)[None]) if relative else losses


def _with_margins(evidence: LabelEvidence, inputs: LabelInputs, weight: float) -> Float32[np.ndarray, " items"]:
    """Log-odds, mixed with the rank of the area under the margin on a scale whose 0 lies where the noise ends."""
    if inputs.margins is None or not weight:
        return evidence.log_odds
    areas = area_under_margin(inputs.targets, inputs.margins, inputs.classes.multi_label)
    noise = float(np.clip(evidence.noise, 0.5 / len(areas), 1 - 0.5 / len(areas)))
    beyond = logit(ranks(-areas).astype(np.float64)) - logit(1 - noise)
    mixed = (1 - weight) * evidence.log_odds + weight * beyond
    return np.where(np.isnan(beyond), evidence.log_odds, mixed).astype(np.float32)
