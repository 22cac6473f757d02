"""Fused scores: image and cell scores of the same cells, weighed per class."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from hpa.arrays import Float64, Probabilities
from hpa.fusion.config import FusionConfig, FusionRule, MemberConfig
from hpa.fusion.ensembles import ensemble
from hpa.fusion.weights import Weights, member_weights, require_weights
from hpa.labels import ClassList
from hpa.tables import CELL_KEY, IMAGE_KEY, align, class_table, class_values

SMALLEST = 1e-7
"""Scores below this count as this much in geometric and product: one 0 would hide what all other members say."""


def fuse(
    tables: Mapping[str, Sequence[pd.DataFrame]],
    keys: pd.DataFrame,
    classes: ClassList,
    config: FusionConfig,
    weights: Weights | None = None,
) -> pd.DataFrame:
    """One table of scores from those of all members.

    Args:
        tables: of every member by its name, one per run: image_id (and cell_id for cells) and one column per class.
        keys: image_id and cell_id of the cells, or image_id alone to fuse scores of images.
        classes: the columns.
        config: the members and the rule.
        weights: in place of the configured ones.

    Returns:
        `keys` in their order, then one float32 column per class in [0, 1].

    Raises:
        ValueError: a member has no table, a table has other keys, a class is missing, a score outside [0, 1], or
            weights without any member for a class.
    """
    missing = [member.name for member in config.members if not tables.get(member.name)]
    if missing:
        raise ValueError(f"expected a table of every member, but {missing} have none")
    values = [member_values(tables[member.name], keys, classes, member) for member in config.members]
    weights = member_weights(config, classes) if weights is None else weights
    require_weights(weights, classes)
    key = [name for name in CELL_KEY if name in keys.columns]
    return class_table(keys[key], fuse_values(values, weights, config.how), classes)


def member_values(
    tables: Sequence[pd.DataFrame], keys: pd.DataFrame, classes: ClassList, member: MemberConfig
) -> Probabilities:
    """The scores of one member for every key, its runs made into one.

    Raises:
        ValueError: as `fuse`.
    """
    values = []
    for table in tables:
        found = class_values(_in_order(table, keys, member), classes)
        if ((found < 0) | (found > 1)).any():
            row = int(np.flatnonzero(((found < 0) | (found > 1)).any(axis=1))[0])
            raise ValueError(f"{member.name}: expected scores from 0 to 1, but got {found[row].tolist()}")
        values.append(found)
    return ensemble(values, member.ensemble)


def _in_order(table: pd.DataFrame, keys: pd.DataFrame, member: MemberConfig) -> pd.DataFrame:
    """The rows of a member's table for every key: a cell's own, or its image's."""
    (image,) = IMAGE_KEY
    is_of_cells = "cell_id" in table.columns
    if is_of_cells != (member.level != "image"):
        raise ValueError(
            f"{member.name}: expected scores of {'images' if member.level == 'image' else 'cells'}, as its level "
            f"{member.level!r} says, but the table {'has' if is_of_cells else 'lacks'} the column cell_id"
        )
    if is_of_cells:
        if "cell_id" not in keys.columns:
            raise ValueError(f"{member.name}: scores of cells cannot be fused into scores of images; give the cells")
        try:
            return align(keys, table, CELL_KEY)
        except ValueError as error:
            raise ValueError(
                f"{member.name}: expected a row for every cell and no others (scores out of fold need all folds): "
                f"{error}"
            ) from None
    if table[image].duplicated().any():
        raise ValueError(
            f"{member.name}: expected every image once, but {table[image][table[image].duplicated()].iloc[0]} repeats"
        )
    positions = pd.Index(table[image]).get_indexer(keys[image])
    if (positions < 0).any():
        lacking = keys[image][positions < 0].unique()
        raise ValueError(
            f"{member.name}: expected a row for every image, but {len(lacking)} are missing ({list(lacking[:3])}); "
            "scores out of fold need all folds"
        )
    return table.iloc[positions]


def fuse_values(values: Sequence[Probabilities], weights: Weights, how: FusionRule) -> Probabilities:
    """Members' scores of the same items as one, in [0, 1]; see `FusionConfig.how`.

    Args:
        values: of every member, float32 (items, classes) in [0, 1].
        weights: one per member and class; their size matters to `product` alone.
        how: the rule.

    >>> pair = [np.float32([[0.9]]), np.float32([[0.4]])]
    >>> rules: tuple[FusionRule, ...] = ("arithmetic", "geometric", "product")
    >>> [f"{fuse_values(pair, np.ones((2, 1)), how)[0, 0]:.2f}" for how in rules]
    ['0.65', '0.60', '0.36']
    """
    shares = weights if how == "product" else weights / weights.sum(axis=0)
    total: Float64[np.ndarray, "items classes"] = np.zeros(values[0].shape)
    for found, share in zip(values, shares, strict=True):
        total += share * linear_scores(found, how)
    fused: Probabilities = np.clip(total if how == "arithmetic" else np.exp(total), 0, 1).astype(np.float32)
    return fused


def linear_scores(values: Probabilities, how: FusionRule) -> Float64[np.ndarray, "items classes"]:
    """What a rule adds up: the scores, or their logarithms. Sums of equal weights rank as the fused scores do."""
    scores = values.astype(np.float64)
    return scores if how == "arithmetic" else np.log(np.maximum(scores, SMALLEST))
