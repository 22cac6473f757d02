"""How well scores find what was planted: ranking figures beside what chance gives."""

from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from hpa.arrays import Bool, Float


@dataclass(frozen=True)
class Detection:
    """How well a score tells planted rows from sound ones.

    Attributes:
        planted: rows with a defect.
        sound: rows without.
        auroc: area under the ROC curve; 0.5 by chance.
        ap: average precision; by chance the part that is planted.
        recall: part of the planted rows among as many of the highest scores as there are planted rows.
    """

    planted: int
    sound: int
    auroc: float
    ap: float
    recall: float


def detection(scores: Float[np.ndarray, " items"], planted: Bool[np.ndarray, " items"]) -> Detection | None:
    """Compare scores with the truth.

    Rows of equal scores count as if they stood in random order; those without a score (NaN) below all others.

    Returns:
        None where nothing is planted, or nothing is sound.

    >>> detection(np.array([0.9, 0.2, 0.8, 0.1]), np.array([True, False, False, True])).recall
    0.5
    """
    number = int(planted.sum())
    if number == 0 or number == len(planted):
        return None
    known = scores[~np.isnan(scores)]
    lowest = known.min() - 1 if len(known) else 0.0
    values = np.where(np.isnan(scores), lowest, scores).astype(np.float64)
    limit = np.sort(values)[-number]
    above, tied = values > limit, values == limit
    among_tied = planted[tied].sum() * (number - above.sum()) / tied.sum()
    return Detection(
        planted=number,
        sound=len(planted) - number,
        auroc=float(roc_auc_score(planted, values)),
        ap=float(average_precision_score(planted, values)),
        recall=float((planted[above].sum() + among_tied) / number),
    )
