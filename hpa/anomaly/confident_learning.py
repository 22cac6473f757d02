"""cleanlab's own answer on which labels are wrong (extra `anomaly`).

Confident learning (Northcutt, Jiang, Chuang 2021, doi:10.1613/jair.1.12125); several classes per image by Thyagarajan,
Snorrason, Northcutt, Mueller 2022 (arXiv:2211.13895).
"""

import warnings
from typing import Literal, TypeAlias

import numpy as np

from hpa.arrays import Bool, Float32, Probabilities, Targets
from hpa.extras import require

QualityMethod: TypeAlias = Literal["self_confidence", "normalized_margin", "confidence_weighted_entropy"]
"""cleanlab's names of its scores; the first is its default."""


def confident_issues(
    targets: Targets, probabilities: Probabilities, multi_label: bool, quality: QualityMethod = "self_confidence"
) -> tuple[Float32[np.ndarray, " items"], Bool[np.ndarray, " items"]]:
    """cleanlab's scores and what its filter finds, both with its defaults.

    Args:
        targets: (n, classes), 0 or 1; a single-label image has exactly one.
        probabilities: (n, classes), out of fold.
        multi_label: whether an image may have several classes.
        quality: which score.

    Returns:
        One minus the label quality, in [0, 1]; and whether the filter (`prune_by_noise_rate`) holds the label wrong.

    Raises:
        ValueError: cleanlab is not installed, or cannot use the labels; says why.
    """
    module = "cleanlab.multilabel_classification" if multi_label else "cleanlab"
    filters, scores = require(f"{module}.filter", "anomaly"), require(f"{module}.rank", "anomaly")
    values = probabilities.astype(np.float64)
    try:
        if multi_label:
            labels = [np.flatnonzero(row).tolist() for row in targets]
            found = scores.get_label_quality_scores(labels, values, method=quality)
        else:
            labels = targets.argmax(axis=1)
            found = scores.get_label_quality_scores(labels, values, method=quality)
        with warnings.catch_warnings():
            # Of classes with so few images that the filter flags fewer of them; the score is not touched by it.
            warnings.filterwarnings("ignore", message="May not flag all label issues in class")
            issues = filters.find_label_issues(labels, values, n_jobs=1)
    except (ValueError, AssertionError, IndexError) as error:
        raise ValueError(f"cleanlab cannot judge these labels: {' '.join(str(error).split())}") from None
    return (1 - found).astype(np.float32), np.asarray(issues, bool)
