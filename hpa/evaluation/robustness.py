"""What is left of a predictor's average precision when its images are made worse."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from hpa.arrays import Probabilities, Targets
from hpa.evaluation.decisions import mean_of_defined
from hpa.evaluation.ranking import average_precision

CLEAN = "as they are"
"""The row of unchanged images."""


def robustness_table(targets: Targets, clean: Probabilities, corrupted: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Macro average precision of the same items with and without each corruption.

    Args:
        targets: 0 or 1.
        clean: probabilities of the items as they are.
        corrupted: by name of the corruption, float32 probabilities of the same items in the same order.

    Returns:
        Columns corruption, macro_ap, drop (clean - corrupted), constant (macro average precision of a constant
        predictor, the classes' mean prevalence: what is reached without looking). The first row is `CLEAN`.

    Raises:
        ValueError: probabilities of another shape.
    """
    for name, values in {CLEAN: clean, **corrupted}.items():
        if values.shape != targets.shape:
            raise ValueError(f"{name}: expected probabilities of shape {targets.shape}, but got {values.shape}")
    present = targets.any(axis=0)
    constant = float(targets[:, present].mean()) if present.any() else float("nan")
    base = mean_of_defined(average_precision(targets, clean))
    rows = [{"corruption": CLEAN, "macro_ap": base, "drop": 0.0, "constant": constant}]
    for name, values in corrupted.items():
        found = mean_of_defined(average_precision(targets, values))
        rows.append({"corruption": name, "macro_ap": found, "drop": base - found, "constant": constant})
    return pd.DataFrame(rows)
