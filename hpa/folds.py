"""K folds that keep groups whole and every class in its share, and how near they come to it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

from hpa.arrays import Int64, Targets
from hpa.labels import ClassList

ALL_IMAGES = "(all images)"
"""Name of the report's rows that count images instead of a class."""

FoldNumbers = Int64[np.ndarray, " items"]


def make_folds(targets: Targets, groups: Sequence[str], folds: int, seed: int) -> FoldNumbers:
    """Assign every image to a fold, images of one group to the same.

    Without groups of several images this is iterative stratification (Sechidis, Tsoumakas, Vlahavas, "On the
    stratification of multi-label data", 2011) by the package iterative-stratification. With groups, the same algorithm
    runs over groups that weigh as many positives of each class as their images have: rarest class first, its largest
    groups first, each to the fold that misses most of that class. Groups are then moved between folds while that
    brings the classes nearer to their shares.

    Args:
        targets: 1 where an image has the class; a row may be empty.
        groups: name of each image's group.
        folds: how many, at least 2.
        seed: the same seed gives the same folds.

    Returns:
        int64, the fold of each image, from 0.

    Raises:
        ValueError: fewer groups than folds.
    """
    if folds < 2:
        raise ValueError(f"expected at least 2 folds, but got {folds}")
    if len(groups) != len(targets):
        raise ValueError(f"expected a group for each of {len(targets)} images, but got {len(groups)}")
    names, members = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    if len(names) < folds:
        raise ValueError(
            f"expected at least {folds} groups for {folds} folds, but the {len(targets)} images are in {len(names)} "
            f"({', '.join(names[:5])}); set fold.folds to at most {max(len(names), 2)}, or group by something finer"
        )
    if len(names) == len(targets):
        return _stratify(targets, folds, seed)
    # The last column counts images, so that folds come out equally large too.
    counts = np.zeros((len(names), targets.shape[1] + 1))
    np.add.at(counts, members, np.column_stack([targets > 0, np.ones(len(targets))]))
    assignment = _stratify_groups(counts, folds, np.random.default_rng(seed))
    return _improve(counts, assignment, folds)[members]


def fold_report(
    targets: Targets, groups: Sequence[str], assignment: FoldNumbers, classes: ClassList, seed: int
) -> pd.DataFrame:
    """How far each fold is from its share of each class, beside stratification that ignores groups.

    Args:
        targets: as given to `make_folds`.
        groups: as given to `make_folds`.
        assignment: its result.
        classes: names of the target columns.
        seed: for the ungrouped stratification.

    Returns:
        One row per class and fold, and per fold of all images (ALL_IMAGES): class, fold, groups (of the class, in this
        fold), count (images), expected (the class's images divided by the folds), deviation (count / expected - 1; 0
        for a class without images), ungrouped_count, ungrouped_deviation.
    """
    folds = int(assignment.max()) + 1
    ungrouped = _stratify(targets, folds, seed)
    counted = np.column_stack([targets > 0, np.ones(len(targets), bool)])
    names = np.asarray(groups, dtype=object)
    rows = []
    for name, has in zip((*classes.names, ALL_IMAGES), counted.T, strict=True):
        expected = has.sum() / folds
        for fold in range(folds):
            here, there = has & (assignment == fold), has & (ungrouped == fold)
            rows.append(
                {
                    "class": name,
                    "fold": fold,
                    "groups": len(set(names[here])),
                    "count": int(here.sum()),
                    "expected": float(expected),
                    "deviation": float(here.sum() / expected - 1) if expected else 0.0,
                    "ungrouped_count": int(there.sum()),
                    "ungrouped_deviation": float(there.sum() / expected - 1) if expected else 0.0,
                }
            )
    return pd.DataFrame(rows)


def fold_gaps(targets: Targets, assignment: FoldNumbers) -> tuple[np.ndarray, np.ndarray]:
    """Which classes are missing where.

    Returns:
        Two bool arrays (folds, classes): the class has images, but none in this fold to validate on; none outside this
        fold to train on.
    """
    has = targets > 0
    inside = np.stack([has[assignment == fold].any(axis=0) for fold in range(int(assignment.max()) + 1)])
    outside = np.stack([has[assignment != fold].any(axis=0) for fold in range(len(inside))])
    return has.any(axis=0) & ~inside, has.any(axis=0) & ~outside


def _stratify(targets: Targets, folds: int, seed: int) -> FoldNumbers:
    splitter = MultilabelStratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    assignment = np.zeros(len(targets), np.int64)
    for fold, (_, held_out) in enumerate(splitter.split(np.zeros(len(targets)), (targets > 0).astype(np.int64))):
        assignment[held_out] = fold
    return assignment


def _stratify_groups(counts: np.ndarray, folds: int, rng: np.random.Generator) -> FoldNumbers:
    """Iterative stratification of weighted items; the last column of `counts` is their size."""
    missing = np.tile(counts.sum(axis=0) / folds, (folds, 1))
    shuffled = rng.permutation(len(counts))
    assignment = np.full(len(counts), -1, np.int64)
    while (assignment < 0).any():
        free = shuffled[assignment[shuffled] < 0]
        left = counts[free].sum(axis=0)
        left[left == 0] = np.inf
        # The size, never rarer than a class, comes last and places the groups without any class.
        column = int(np.argmin(left))
        having = free[counts[free, column] > 0]
        for group in having[np.argsort(-counts[having, column], kind="stable")]:
            order = np.lexsort((rng.random(folds), -missing[:, -1], -missing[:, column]))
            assignment[group] = order[0]
            missing[order[0]] -= counts[group]
    return assignment


def _improve(counts: np.ndarray, assignment: FoldNumbers, folds: int, rounds: int = 3) -> FoldNumbers:
    """Move groups to other folds while that lowers the sum of squared deviations from the shares, relative to them."""
    ideal = counts.sum(axis=0) / folds
    weighted = counts / np.where(ideal > 0, ideal, 1)
    excess = np.zeros((folds, counts.shape[1]))
    np.add.at(excess, assignment, weighted)
    excess -= ideal > 0
    assignment = assignment.copy()
    sizes = np.bincount(assignment, minlength=folds)
    for _ in range(rounds):
        moved = False
        for group, weight in enumerate(weighted):
            here = assignment[group]
            if sizes[here] == 1:
                continue
            # |e - w|^2 - |e|^2 where it leaves, |e + w|^2 - |e|^2 where it comes.
            leaving = weight @ weight - 2 * excess[here] @ weight
            coming = weight @ weight + 2 * excess @ weight
            coming[here] = -leaving
            there = int(np.argmin(coming))
            if coming[there] + leaving < -1e-9:
                excess[here] -= weight
                excess[there] += weight
                sizes[here] -= 1
                sizes[there] += 1
                assignment[group] = there
                moved = True
        if not moved:
            break
    return assignment
