"""From findings to decisions: what a policy would do with every image, held back where a class would lose too much."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from hpa.anomaly.denoising_policy import (
    Action,
    DropPolicy,
    LimitsConfig,
    Policy,
    RelabelPolicy,
    Rule,
    RulesPolicy,
    WeightPolicy,
    needs_correction,
)
from hpa.anomaly.findings import ranks
from hpa.arrays import Bool, Float32, Float64, Targets
from hpa.labels import ClassList
from hpa.tables import IMAGE_KEY, class_table, class_values

ROUNDING = 1e-6
"""Of sums of labels, in images."""

UNCHANGED = 1e-3
"""Labels and weights that change by no more than this are kept as they are."""


@dataclass(frozen=True, eq=False)
class Proposal:
    """What a policy would do, before limits; rows as in the findings.

    Attributes:
        actions: (n,) of `Action`.
        weights: (n,) in [0, 1].
        labels: (n, classes) in [0, 1].
        severity: (n,), higher = worse: who goes first where a limit does not let all go.
        reasons: (n,) texts, empty where an image is kept.
    """

    actions: list[Action]
    weights: Float32[np.ndarray, " items"]
    labels: Targets
    severity: Float64[np.ndarray, " items"]
    reasons: list[str]


def propose(policy: Policy, findings: pd.DataFrame, targets: Targets, corrected: Targets | None) -> Proposal:
    """What the policy would do with every image.

    Args:
        policy: how findings become decisions.
        findings: `<name>_score` and `is_<name>` of every detector that the policy names, one row per image.
        targets: (n, classes), the given labels.
        corrected: (n, classes) in [0, 1], what takes their place where an image is relabelled.

    Raises:
        ValueError: a detector is not in the findings, shapes differ, or there are no corrected labels to take.
    """
    if len(findings) != len(targets) or (corrected is not None and corrected.shape != targets.shape):
        found = None if corrected is None else corrected.shape
        raise ValueError(
            f"expected as many findings and corrected labels as given labels, {targets.shape}, but got "
            f"{len(findings)} findings and corrected labels of shape {found}"
        )
    if needs_correction(policy) and corrected is None:
        raise ValueError("relabelling needs corrected labels; give `probabilities` (out of fold), `embedding` or both")
    match policy:
        case DropPolicy(detectors=detectors):
            rules = [Rule(detector=name, action="drop") for name in detectors]
        case RelabelPolicy(detectors=detectors):
            rules = [Rule(detector=name, action="relabel") for name in detectors]
        case RulesPolicy(rules=given):
            rules = list(given)
        case WeightPolicy():
            return _weigh(policy, findings, targets)
    believed = targets if corrected is None else corrected
    columns = {rule.detector: _detector(findings, rule.detector) for rule in rules}
    actions: list[Action] = ["keep"] * len(targets)
    weights, labels = np.ones(len(targets), np.float32), targets.astype(np.float32)
    severity, reasons = np.full(len(targets), -np.inf), [""] * len(targets)
    free = np.ones(len(targets), bool)
    for rule in rules:
        scores, flags = columns[rule.detector]
        severity = np.where(flags, np.fmax(severity, ranks(scores)), severity)
        hit = np.flatnonzero(flags & free)
        free[hit] = False
        weights[hit] = rule.counts
        if rule.action == "relabel":
            labels[hit] = _mixed(policy, targets[hit], believed[hit])
        for row in hit.tolist():
            actions[row], reasons[row] = rule.action, rule.detector
    if isinstance(policy, RelabelPolicy) and policy.everywhere:
        labels[free] = _mixed(policy, targets[free], believed[free])
        severity[free] = np.abs(labels - targets).max(axis=1)[free] - 1  # after the flagged ones
        for row in np.flatnonzero(free).tolist():
            actions[row], reasons[row] = "relabel", "corrected everywhere"
    same = (np.abs(labels - targets).max(axis=1) <= UNCHANGED) & (weights >= 1 - UNCHANGED)
    for row in np.flatnonzero(same).tolist():
        reasons[row] = f"{reasons[row]}; the evidence agrees with the label" if reasons[row] else ""
        actions[row] = "keep"
    labels[same], weights[same] = targets[same], 1
    return Proposal(actions, weights, labels, severity, reasons)


def _detector(findings: pd.DataFrame, name: str) -> tuple[Float64[np.ndarray, " items"], Bool[np.ndarray, " items"]]:
    """Scores and flags of a detector."""
    if not {f"{name}_score", f"is_{name}"} <= set(findings.columns):
        known = sorted(
            str(column).removesuffix("_score")
            for column in findings.columns
            if str(column).endswith("_score") and f"is_{str(column).removesuffix('_score')}" in findings.columns
        )
        raise ValueError(f"expected the findings of a detector called {name!r}, but there are those of {known}")
    return findings[f"{name}_score"].to_numpy(np.float64), findings[f"is_{name}"].to_numpy(bool)


def _mixed(policy: Policy, given: Targets, believed: Targets) -> Targets:
    """Corrected labels as the policy wants them."""
    if not isinstance(policy, RelabelPolicy):
        return believed.astype(np.float32)
    if policy.hard:
        sure = believed >= 0.5
        sure[~sure.any(axis=1)] = np.eye(believed.shape[1], dtype=bool)[believed[~sure.any(axis=1)].argmax(axis=1)]
        believed = sure.astype(np.float32)
    mixed: Targets = ((1 - policy.strength) * given + policy.strength * believed).astype(np.float32)
    return mixed


def _weigh(policy: WeightPolicy, findings: pd.DataFrame, targets: Targets) -> Proposal:
    scores, _ = _detector(findings, policy.detector)
    known = np.isfinite(scores)
    if policy.doubt == "log_odds":
        doubts = np.where(known, expit(np.where(known, scores, 0)), 0)
    else:
        worst = np.nan_to_num(ranks(scores)).astype(np.float64)
        doubts = np.clip((worst - (1 - policy.share)) / policy.share, 0, 1)
    weights = (1 - (1 - policy.least) * doubts).astype(np.float32)
    lighter = weights < 1 - UNCHANGED
    weights[~lighter] = 1
    weights[weights <= UNCHANGED] = 0
    actions: list[Action] = ["weight" if less else "keep" for less in lighter]
    reasons = [policy.detector if less else "" for less in lighter]
    return Proposal(actions, weights, targets.astype(np.float32), np.where(known, doubts, -np.inf), reasons)


def limit(proposal: Proposal, targets: Targets, limits: LimitsConfig, classes: ClassList) -> Proposal:
    """The proposal with as much of it as the limits let through, the worst images first.

    An image that would be dropped stays where one of its classes has lost enough; one that would be weighted or
    relabelled is changed as far as its classes can bear. The reason names the class.

    Args:
        proposal: of a policy.
        targets: (n, classes), the given labels.
        limits: what every class keeps.
        classes: the class list.
    """
    given = targets.sum(axis=0, dtype=np.float64)
    room = given - np.maximum((1 - limits.share) * given, np.minimum(limits.least, given))
    actions, reasons = list(proposal.actions), list(proposal.reasons)
    weights, labels = proposal.weights.copy(), proposal.labels.copy()
    changed = np.asarray([action != "keep" for action in actions], bool)
    for row in np.argsort(-proposal.severity, kind="stable").tolist():
        if not changed[row]:
            continue
        lost = _lost(targets[row], weights[row], labels[row])
        tight = lost > room + ROUNDING
        if not tight.any():
            room -= lost
            continue
        # A part of the change loses no more than that part of this sum.
        most = (1 - weights[row]) * targets[row] + np.maximum(targets[row] - labels[row], 0)
        parts = np.maximum(room[tight], 0) / most[tight]
        part = 0.0 if actions[row] == "drop" else float(parts.min())
        scarce = int(np.flatnonzero(tight)[parts.argmin()])
        part = part if part > UNCHANGED else 0.0
        weights[row] = 1 - part * (1 - weights[row])
        labels[row] = targets[row] + part * (labels[row] - targets[row])
        actions[row] = actions[row] if part else "keep"
        held = "changed less" if part else "kept"
        reasons[row] += f"; {held}, as {classes.names[scarce]} has lost enough"
        room -= _lost(targets[row], weights[row], labels[row])
    return Proposal(actions, weights, labels, proposal.severity, reasons)


def _lost(
    given: Float32[np.ndarray, " classes"], weight: np.float32, labels: Float32[np.ndarray, " classes"]
) -> Float64[np.ndarray, " classes"]:
    """What the classes of one image lose."""
    return np.asarray(np.maximum(given - weight * labels, 0), np.float64) * (given > 0)


def decisions_table(keys: pd.DataFrame, proposal: Proposal, classes: ClassList) -> pd.DataFrame:
    """The decision table that training reads: image_id, action (`drop` for any weight of 0), weight, classes, reason.

    Args:
        keys: with `image_id`, in the order of the proposal.
        proposal: after limits.
        classes: the class list.
    """
    actions = [
        "drop" if weight == 0 else action for action, weight in zip(proposal.actions, proposal.weights, strict=True)
    ]
    first = keys[list(IMAGE_KEY)].reset_index(drop=True).assign(action=actions, weight=proposal.weights)
    return class_table(first, proposal.labels, classes).assign(reason=proposal.reasons)


def moves_table(decisions: pd.DataFrame, targets: Targets, classes: ClassList) -> pd.DataFrame:
    """What became of the images given each class.

    Returns:
        One row per class: `class`; `given` images; of these `kept` as they were, `dropped`, `lighter` (weighted) and
        `relabelled`; labels `removed` from them and `added` to other images, in images times weight; `learned`, the sum
        of weight times label over all images; `limited`, images that a limit of any class held back.
    """
    labels, weights = class_values(decisions, classes), decisions["weight"].to_numpy(np.float64)[:, None]
    actions = decisions["action"].to_numpy(object)[:, None]
    held = decisions["reason"].str.contains("has lost enough", regex=False).to_numpy(bool)[:, None]
    present = targets > 0
    counts = {"given": present, "kept": present & (actions == "keep"), "dropped": present & (actions == "drop")}
    counts |= {"lighter": present & (actions == "weight"), "relabelled": present & (actions == "relabel")}
    sums = {name: where.sum(axis=0) for name, where in counts.items()}
    sums |= {
        "removed": (weights * np.maximum(targets - labels, 0)).sum(axis=0),
        "added": (weights * np.maximum(labels - targets, 0)).sum(axis=0),
        "learned": (weights * labels).sum(axis=0),
        "limited": (present & held).sum(axis=0),
    }
    return pd.DataFrame({"class": list(classes.names), **sums})
