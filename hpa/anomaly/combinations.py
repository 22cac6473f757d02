"""Sets of classes that hardly any other image has: an unusual protein, or a slip of the pen."""

from typing import Literal

import numpy as np
import pandas as pd
import pydantic

from hpa.anomaly.findings import Finding
from hpa.arrays import Targets
from hpa.config import Config
from hpa.labels import ClassList


class RareCombinationConfig(Config):
    """Images whose classes, taken together, are rare.

    Attributes:
        most: a combination that so many images have, or fewer, is flagged.
    """

    kind: Literal["rare_combination"] = "rare_combination"
    most: int = pydantic.Field(default=1, ge=1)


def rare_combinations(targets: Targets, classes: ClassList, config: RareCombinationConfig) -> Finding:
    """How rarely an image's classes occur together.

    The score is the pointwise mutual information turned round: the logarithm of how often the combination would occur
    among these images were the classes independent, over how often it does, so that a combination of frequent classes
    that never meet stands above one that is rare because its classes are. Images without a class have no score.

    Args:
        targets: 0 or 1, a row per image.
        classes: names the columns.
        config: which are flagged.

    Returns:
        Details: `rare_combination_images`, how many images have the combination, and `rare_combination_of`, its names.

    >>> classes, targets = ClassList(names=("a", "b")), np.float32([[1, 0], [1, 0], [1, 1]])
    >>> found = rare_combinations(targets, classes, RareCombinationConfig())
    >>> found.flags.tolist(), found.details["rare_combination_of"].iloc[2]
    ([False, False, True], 'a|b')
    """
    chosen = targets >= 0.5
    _, row, counts = np.unique(chosen, axis=0, return_inverse=True, return_counts=True)
    own = counts[row.ravel()]
    half = 0.5 / max(len(chosen), 1)  # as if half an image more had, or lacked, a class that none or all have
    shares = (chosen.sum(axis=0) * 2 * half).clip(half, 1 - half)
    expected = (chosen * np.log(shares) + ~chosen * np.log(1 - shares)).sum(axis=1)
    labelled = chosen.any(axis=1)
    scores = np.where(labelled, expected - np.log(own * 2 * half), np.nan).astype(np.float32)
    names = np.asarray(classes.names, object)
    details = pd.DataFrame(
        {
            "rare_combination_images": own.astype(np.int64),
            "rare_combination_of": pd.Series(["|".join(names[one]) for one in chosen], dtype="str"),
        }
    )
    return Finding("rare_combination", scores, labelled & (own <= config.most), details)
