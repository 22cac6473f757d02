"""The folds that tables of scores are out of: scores of different folds must not meet."""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def folds_of_images(tables: Sequence[pd.DataFrame]) -> pd.Series | None:
    """The fold of every image, as far as tables of scores say it.

    Args:
        tables: of images or cells: image_id, and `fold` (the one that was held out) where the scores are out of fold.

    Returns:
        int64, indexed by image_id; None where no table has folds.

    Raises:
        ValueError: two rows put an image into different folds: the networks behind one have learned from the images
            that those behind the other have not.
    """
    given = [table[["image_id", "fold"]] for table in tables if "fold" in table.columns]
    if not given:
        return None
    table = pd.concat(given, ignore_index=True).drop_duplicates()
    twice = table["image_id"].duplicated(keep=False)
    if twice.any():
        name = table["image_id"][twice].iloc[0]
        found = sorted(table["fold"][table["image_id"] == name].tolist())
        raise ValueError(
            f"expected scores out of the same folds, but image {name} is in the folds {found}; train all runs with one "
            "set of folds"
        )
    return table.set_index("image_id")["fold"].astype(np.int64)


def require_folds(tables: Sequence[pd.DataFrame], folds: pd.Series) -> None:
    """Refuse scores that are out of other folds than these, as far as they say it.

    Args:
        tables: as for `folds_of_images`.
        folds: indexed by image_id.

    Raises:
        ValueError: names an image.
    """
    found = folds_of_images(tables)
    if found is None:
        return
    both = found.index.intersection(folds.index)
    wrong = both[found.loc[both].to_numpy() != folds.loc[both].to_numpy()]
    if len(wrong):
        raise ValueError(
            f"expected scores out of the data set's folds, but image {wrong[0]} is in fold {folds.loc[wrong[0]]} there "
            f"and {found.loc[wrong[0]]} in the scores; train again with these folds"
        )
