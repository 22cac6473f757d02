"""How likely each given label is wrong, weighed from what out-of-fold networks and neighbours say about the image.

A label is held against four explanations: it is right; it is another image's altogether; one of its classes is too
many; one class is missing. (The label of a single-label image is right, or another class was true.) How common each is
in this data set, and how far each source can be trusted, is estimated from the data set itself by expectation
maximisation (Dempster, Laird, Rubin 1977, doi:10.1111/j.2517-6161.1977.tb01600.x), so that rare classes are judged by
their own frequency. That noise can be estimated from out-of-sample probabilities, class by class, is the idea of
confident learning (Northcutt, Jiang, Chuang 2021, doi:10.1613/jair.1.12125).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logsumexp, softmax

from hpa.anomaly.label_calibration import Calibration, calibrate, class_shares
from hpa.arrays import Float32, Float64, Probabilities, Targets

FLOOR = 1e-3
"""No calibrated probability of one of several classes counts as more certain than this: none decides alone."""

FLOOR_OF_ONE = 1e-6
"""The same where an image has one class, which has to decide alone."""

ROUNDS, ROUNDS_OF_ONE = 3, 6
"""Of calibration and estimated noise in turn, with several classes and with one; more of them overfit where the sources
know little."""

STEPS = 20
"""Of expectation maximisation in each round."""

MOST_NOISE = 0.6
"""Most wrong labels that are believed: with more, which labels are the right ones is not to be told from the data."""

BEFOREHAND = np.array([0.2, 0.02, 0.02, 0.02])
"""Images counted beforehand for each explanation (right, another image's, one too many, one missing), as parts of all:
where the sources know too little to tell, labels are held right."""

EXTRA_BEFOREHAND = 20
"""Images counted beforehand of which a class is one too many, spread over the classes as they are given."""

MOVES_BEFOREHAND = (0.2, 0.1)
"""Single-label images of each class counted beforehand as written down rightly and wrongly, as parts of all of it."""


@dataclass(frozen=True, eq=False)
class LabelEvidence:
    """What the sources say about the given labels; rows as in the targets.

    Attributes:
        log_odds: (n,), natural logarithm of the odds that the image's label is wrong; 0 is undecided.
        wrong: (n, classes), probability that the given label of the class, present or absent, is wrong.
        corrected: (n, classes) in [0, 1], the expected true labels.
        noise: estimated part of the images with a wrong label; too low rather than too high where it is large.
        weights: of every source, 1 where its log-odds are taken at face value.
    """

    log_odds: Float32[np.ndarray, " items"]
    wrong: Probabilities
    corrected: Probabilities
    noise: float
    weights: tuple[float, ...]


def weigh_evidence(targets: Targets, sources: Sequence[Float32[np.ndarray, "_ _"]], multi_label: bool) -> LabelEvidence:
    """Weigh given labels against what the sources say.

    Args:
        targets: (n, classes), 0 or 1; a single-label image has exactly one.
        sources: each (n, classes) in [0, 1], not learned from the image's own label: out-of-fold probabilities of a
            network, votes of neighbours. They need not be calibrated.
        multi_label: whether an image may have several classes.

    Raises:
        ValueError: no source, shapes that differ, targets other than 0 and 1, probabilities outside [0, 1] or NaN, or a
            single-label image without exactly one class.

    >>> targets = np.repeat(np.eye(2, dtype=np.float32), 20, axis=0)
    >>> said = np.where(targets > 0, 0.9, 0.1).astype(np.float32)
    >>> targets[0] = [0, 1]
    >>> evidence = weigh_evidence(targets, [said], multi_label=False)
    >>> int(evidence.log_odds.argmax()), (evidence.log_odds > 0).sum().item()
    (0, 1)
    """
    check_labels(targets, sources, multi_label)
    return _several_classes(targets, sources) if multi_label else _one_class(targets, sources)


def check_labels(targets: Targets, sources: Sequence[Float32[np.ndarray, "_ _"]], multi_label: bool) -> None:
    """Raise ValueError unless these are labels, and probabilities of the same images and classes."""
    if not len(sources):
        raise ValueError("expected at least one source of probabilities, but got none; give `probabilities` or votes")
    if not np.isin(targets, (0, 1)).all():
        raise ValueError("expected given labels of 0 and 1, but others are there; soft labels cannot be judged")
    if not multi_label and (counts := targets.sum(axis=1) != 1).any():
        row = int(np.flatnonzero(counts)[0])
        raise ValueError(f"expected one class for every single-label image, but row {row} has {targets[row].sum():g}")
    for number, source in enumerate(sources):
        if source.shape != targets.shape:
            raise ValueError(f"source {number}: expected the shape {targets.shape} of the labels, got {source.shape}")
        if not ((source >= 0) & (source <= 1)).all():  # False for NaN too
            row = int(np.flatnonzero(~((source >= 0) & (source <= 1)).all(axis=1))[0])
            raise ValueError(f"source {number}: expected probabilities in [0, 1], but row {row} is {source[row]}")


def _several_classes(targets: Targets, sources: Sequence[Float32[np.ndarray, "_ _"]]) -> LabelEvidence:
    given = class_shares(targets)
    surplus = given / given.sum()  # which class it is where one is too many
    shares = np.array([1.0, 0.1, 0.05, 0.05])  # right, another image's, one too many, one missing
    shares /= shares.sum()
    believed, counts = targets.astype(np.float64), np.ones(len(targets))
    calibration: Calibration | None = None
    for _ in range(ROUNDS):
        calibration = calibrate(sources, targets, believed, counts, multi_label=True, start=calibration)
        known = np.clip(calibration.probabilities, FLOOR, 1 - FLOOR)
        other, extra, missing = _explanations(targets, known)
        for step in range(STEPS + 1):
            by_class = extra + np.log(surplus)
            # Explanations × images: log-likelihood of the label under each, against its being right.
            ratios = np.stack([np.zeros(len(targets)), other, logsumexp(by_class, axis=1), logsumexp(missing, axis=1)])
            joint = np.log(shares)[:, None] + ratios
            posterior = softmax(joint, axis=0)
            is_extra = posterior[2][:, None] * _parts(by_class)
            if step < STEPS:
                shares = _believable(posterior.sum(axis=1), len(targets))
                surplus = is_extra.sum(axis=0) + EXTRA_BEFOREHAND * given / given.sum()
                surplus /= surplus.sum()
        is_missing = posterior[3][:, None] * _parts(missing)
        counts = np.maximum(1 - posterior[1], 1e-6)  # another image's label says nothing about this one
        believed = np.where(targets > 0, 1 - is_extra / counts[:, None], is_missing / counts[:, None])
    assert calibration is not None
    wrong = posterior[1][:, None] * np.where(targets > 0, 1 - known, known) + is_extra + is_missing
    return _evidence(logsumexp(joint[1:], axis=0) - joint[0], wrong, targets, 1 - shares[0], calibration)


def _explanations(
    targets: Targets, known: Float64[np.ndarray, "items classes"]
) -> tuple[Float64[np.ndarray, " items"], Float64[np.ndarray, "items classes"], Float64[np.ndarray, "items classes"]]:
    """How an explanation changes the likelihood of a label, against its being right, as logarithms.

    Returns:
        Of its being another image's; by class, of that class being one too many, where it is known which; and of that
        class missing. -inf where it cannot be.
    """
    shares, present = class_shares(targets), targets > 0
    number = present.sum(axis=1, keepdims=True)
    log_odds = np.log(known) - np.log1p(-known)
    of_any = np.where(present, np.log(shares), np.log1p(-shares))
    of_this = np.where(present, np.log(known), np.log1p(-known))
    # An only class is not one too many where every image has a class: without it nothing would be true.
    possible = present & ((number > 1) | bool((number == 0).any()))
    extra = np.where(possible, -log_odds, -np.inf)
    missing = np.where(present, -np.inf, log_odds - np.log1p(number))
    return (of_any - of_this).sum(axis=1), extra, missing


def _believable(counts: Float64[np.ndarray, " explanations"], images: int) -> Float64[np.ndarray, " explanations"]:
    """Shares of the explanations from their expected counts, some images counted beforehand; at most `MOST_NOISE`."""
    shares: Float64[np.ndarray, " explanations"] = counts + 1 + BEFOREHAND * images
    shares /= shares.sum()
    if shares[0] < 1 - MOST_NOISE:
        shares[1:] *= MOST_NOISE / shares[1:].sum()
        shares[0] = 1 - MOST_NOISE
    return shares


def _parts(logarithms: Float64[np.ndarray, "items classes"]) -> Float64[np.ndarray, "items classes"]:
    """Each class's part of an explanation; 0 throughout where no class can be it."""
    total = logsumexp(logarithms, axis=1, keepdims=True)
    parts: Float64[np.ndarray, "items classes"] = np.exp(logarithms - np.where(np.isfinite(total), total, 0))
    return parts


def _one_class(targets: Targets, sources: Sequence[Float32[np.ndarray, "_ _"]]) -> LabelEvidence:
    classes, given = targets.shape[1], targets.argmax(axis=1)
    shares = class_shares(targets)
    others = np.tile(shares, (classes, 1)) * (1 - np.eye(classes))
    others /= others.sum(axis=1, keepdims=True)
    moves = 0.8 * np.eye(classes) + 0.2 * others  # true × given: how a true class is written down
    believed = targets.astype(np.float64)
    calibration: Calibration | None = None
    for _ in range(ROUNDS_OF_ONE):
        calibration = calibrate(sources, targets, believed, np.ones(len(targets)), multi_label=False, start=calibration)
        known = np.clip(calibration.probabilities, FLOOR_OF_ONE, 1)
        for _ in range(STEPS):
            joint = known * moves[:, given].T
            believed = joint / joint.sum(axis=1, keepdims=True)
            moves = _believable_moves(believed.T @ targets, others, shares)
    joint = np.log(known) + np.log(moves[:, given].T)
    right = np.take_along_axis(joint, given[:, None], axis=1)[:, 0]
    log_odds = logsumexp(np.where(targets > 0, -np.inf, joint), axis=1) - right
    believed = softmax(joint, axis=1)
    wrong = np.where(targets > 0, 1 - believed, believed)
    assert calibration is not None
    return _evidence(log_odds, wrong, targets, float(expit(log_odds).mean()), calibration)


def _believable_moves(
    counts: Float64[np.ndarray, "true given"],
    others: Float64[np.ndarray, "true given"],
    shares: Float64[np.ndarray, " given"],
) -> Float64[np.ndarray, "true given"]:
    """How true classes are written down, from expected counts and some images counted beforehand."""
    right_before, wrong_before = (part * counts.sum() * shares for part in MOVES_BEFOREHAND)
    moves = counts + wrong_before[:, None] * others + np.diag(1 + right_before)
    moves /= moves.sum(axis=1, keepdims=True)
    right = np.maximum(np.diag(moves), 1 - MOST_NOISE)
    away = moves * (1 - np.eye(len(moves)))
    believable: Float64[np.ndarray, "true given"] = np.diag(right) + away * ((1 - right) / away.sum(axis=1))[:, None]
    return believable


def _evidence(
    log_odds: Float64[np.ndarray, " items"],
    wrong: Float64[np.ndarray, "items classes"],
    targets: Targets,
    noise: float,
    calibration: Calibration,
) -> LabelEvidence:
    likely = np.clip(wrong, 0, 1).astype(np.float32)
    corrected = targets * (1 - likely) + (1 - targets) * likely
    weights = tuple(float(weight) for weight in calibration.weights)
    return LabelEvidence(log_odds.astype(np.float32), likely, corrected, float(noise), weights)
