"""Whether predictors err on the same items: an ensemble gains where they do not."""

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from hpa.arrays import Bool

OVERLAP_COLUMNS = ("first", "second", "correlation", "both_wrong", "expected", "first_only", "second_only")
"""Columns of `error_overlap`."""


def error_overlap(names: Sequence[str], wrong: Sequence[Bool[np.ndarray, "..."]]) -> pd.DataFrame:
    """The errors of every pair of predictors, compared decision by decision.

    Kuncheva and Whitaker, "Measures of diversity in classifier ensembles", Machine Learning 51 (2003): the correlation
    is their rho (of two 0/1 variables), `both_wrong` their double fault.

    Args:
        names: of the predictors.
        wrong: of each, whether each decision is wrong: (items,) where an item has one class, else (items, classes).

    Returns:
        OVERLAP_COLUMNS, one row per pair: correlation in [-1, 1], NaN where a predictor has no error or only errors;
        then shares of all decisions: both wrong, both wrong were errors independent, and only the one or the other.

    Raises:
        ValueError: decisions about different items, or none.

    >>> found = error_overlap(["a", "b"], [np.array([True, True, False, False]), np.array([True, False, False, True])])
    >>> found.loc[0, ["correlation", "both_wrong", "first_only"]].tolist()
    [0.0, 0.25, 0.25]
    """
    shapes = {one.shape for one in wrong}
    if len(wrong) != len(names) or len(shapes) > 1 or not wrong or not wrong[0].size:
        raise ValueError(
            f"expected decisions of {len(names)} predictors about the same items, but got the shapes {sorted(shapes)}"
        )
    flat = np.stack([one.ravel() for one in wrong]).astype(np.float64)
    rates = flat.mean(axis=1)
    both = flat @ flat.T / flat.shape[1]
    rows = []
    for first, second in itertools.combinations(range(len(names)), 2):
        a, b, joint = rates[first], rates[second], both[first, second]
        spread = np.sqrt(a * (1 - a) * b * (1 - b))
        correlation = (joint - a * b) / spread if spread > 0 else np.nan
        rows.append((names[first], names[second], correlation, joint, a * b, a - joint, b - joint))
    return pd.DataFrame(rows, columns=list(OVERLAP_COLUMNS))
