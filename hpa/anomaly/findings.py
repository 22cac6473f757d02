"""What a detector found: a continuous score and a decision for every row, and several of them as one table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import numpy as np
import pandas as pd
import pydantic
from scipy.stats import rankdata

from hpa.arrays import Bool, Float, Float32
from hpa.config import Config

ROBUST_SIGMA = 1.4826
"""The median absolute deviation times this is the standard deviation of normal values (1 / Φ⁻¹(3/4))."""


@dataclass(frozen=True)
class Finding:
    """What one detector found, row by row in the order of its input.

    Attributes:
        name: lower-case word of letters, digits and underscores; begins the names of the columns.
        scores: (n,), higher = worse; NaN = could not be judged.
        flags: (n,), the decision; never where the score is NaN.
        details: columns that say why, such as `duplicate_of` of `duplicate`; their names begin with `<name>_`. None
            where there is nothing to say.

    Raises:
        ValueError: lengths differ, a score is infinite, a row without a score is flagged, or a name does not fit.
    """

    name: str
    scores: Float32[np.ndarray, " items"]
    flags: Bool[np.ndarray, " items"]
    details: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        if not (self.name.isidentifier() and self.name == self.name.lower() and self.name.isascii()):
            raise ValueError(f"expected a name of lower-case letters, digits and underscores, but got {self.name!r}")
        rows = {"scores": len(self.scores), "flags": len(self.flags)}
        if self.details is not None:
            rows["details"] = len(self.details)
            taken = {f"{self.name}_score", f"is_{self.name}"}
            wrong = [name for name in self.details if not str(name).startswith(f"{self.name}_") or name in taken]
            if wrong:
                raise ValueError(
                    f"{self.name}: expected columns of details that begin with '{self.name}_', got {wrong}"
                )
        if len(set(rows.values())) > 1:
            raise ValueError(f"{self.name}: expected as many scores as flags and details, but got {rows}")
        if np.isinf(self.scores).any():
            raise ValueError(
                f"{self.name}: expected finite scores or NaN, but row {_first(np.isinf(self.scores))} is not"
            )
        if (self.flags & np.isnan(self.scores)).any():
            row = _first(self.flags & np.isnan(self.scores))
            raise ValueError(f"{self.name}: row {row} is flagged, but has no score")


def _first(mask: Bool[np.ndarray, " items"]) -> int:
    return int(np.flatnonzero(mask)[0])


def findings_table(keys: pd.DataFrame, findings: Sequence[Finding]) -> pd.DataFrame:
    """Keys, then per finding `<name>_score` (float32), `is_<name>` (bool) and its details.

    Args:
        keys: the key columns, one row per image or cell; every row is kept.
        findings: in the order of the columns.

    Raises:
        ValueError: a finding has another number of rows than the keys, or two would write the same column.

    >>> keys = pd.DataFrame({"image_id": ["a", "b"]})
    >>> found = Finding("blur", np.array([0.5, 2], np.float32), np.array([False, True]))
    >>> findings_table(keys, [found]).to_dict("list")
    {'image_id': ['a', 'b'], 'blur_score': [0.5, 2.0], 'is_blur': [False, True]}
    """
    parts = [keys.reset_index(drop=True)]
    for finding in findings:
        if len(finding.scores) != len(keys):
            raise ValueError(f"{finding.name}: expected {len(keys)} rows, one per key, but got {len(finding.scores)}")
        own = {f"{finding.name}_score": finding.scores, f"is_{finding.name}": finding.flags}
        parts.append(pd.DataFrame(own))
        if finding.details is not None:
            parts.append(finding.details.reset_index(drop=True))
    table = pd.concat(parts, axis=1)
    repeated = table.columns[table.columns.duplicated()].tolist()
    if repeated:
        raise ValueError(f"expected every column once, but {repeated} repeat; give the detectors different names")
    return table


class ShareDecision(Config):
    """The worst part of the scores is flagged.

    Attributes:
        share: at most this part of the rows that have a score, rounded down. Rows tied with the first one that is left
            out are left out too, so constant scores flag nothing.
    """

    kind: Literal["share"] = "share"
    share: float = pydantic.Field(default=0.05, gt=0, lt=1)


class SigmaDecision(Config):
    """Scores far above the others are flagged.

    Attributes:
        k: how many sigmas above the centre; strictly more is flagged.
        robust: median and 1.4826 · median absolute deviation, else mean and standard deviation (of the whole, n).
            Where the sigma is 0, everything above the centre is flagged; with constant scores that is nothing.
    """

    kind: Literal["sigma"] = "sigma"
    k: float = pydantic.Field(default=3.0, gt=0)
    robust: bool = True


class ValueDecision(Config):
    """Scores of at least a value are flagged.

    Attributes:
        threshold: on the detector's own scale.
    """

    kind: Literal["value"] = "value"
    threshold: float


Decision: TypeAlias = Annotated[ShareDecision | SigmaDecision | ValueDecision, pydantic.Field(discriminator="kind")]


def decide(
    scores: Float[np.ndarray, " items"], decision: ShareDecision | SigmaDecision | ValueDecision
) -> Bool[np.ndarray, " items"]:
    """Which rows are flagged; never one without a score (NaN).

    >>> decide(np.array([1, 5, 2, np.nan, 3]), ShareDecision(share=0.5)).tolist()
    [False, True, False, False, True]
    >>> decide(np.array([1.0, 1, 1, 1]), ShareDecision(share=0.5)).any()
    np.False_
    """
    known = ~np.isnan(scores)
    judged = scores[known].astype(np.float64)
    flags = np.zeros(len(scores), bool)
    if not len(judged):
        return flags
    match decision:
        case ShareDecision(share=share):
            # The small addition keeps 0.05 * 40 from becoming 1.9999999 and so 1.
            most = int(share * len(judged) + 1e-9)
            flags[known] = judged > np.sort(judged)[len(judged) - most - 1]
        case SigmaDecision(k=k, robust=robust):
            centre, sigma = centre_and_sigma(judged, robust)
            flags[known] = judged > centre + k * sigma
        case ValueDecision(threshold=threshold):
            flags[known] = judged >= threshold
    return flags


def centre_and_sigma(values: Float[np.ndarray, " items"], robust: bool) -> tuple[float, float]:
    """Mean and standard deviation (divided by n), or median and 1.4826 · median absolute deviation.

    Args:
        values: (n,), n of 1 or more, finite.
        robust: which of the two.

    >>> centre_and_sigma(np.array([1.0, 2, 3, 4, 100]), robust=True)
    (3.0, 1.4826)
    """
    if robust:
        centre = float(np.median(values))
        return centre, ROBUST_SIGMA * float(np.median(np.abs(values - centre)))
    # Rounding must not make a sigma, and so outliers, out of equal values.
    if (values == values[0]).all():
        return float(values[0]), 0.0
    return float(values.mean()), float(values.std())


def ranks(scores: Float[np.ndarray, " items"]) -> Float32[np.ndarray, " items"]:
    """Scores on a common scale: the share of the scored rows below each, ties in the middle; NaN stays NaN.

    Uniform over (0, 1) for any scores without ties, so that different detectors can be compared and joined.

    >>> ranks(np.array([3.0, 1, 1, 9])).tolist()
    [0.625, 0.25, 0.25, 0.875]
    """
    known = ~np.isnan(scores)
    shares = np.full(len(scores), np.nan, np.float32)
    if known.any():
        shares[known] = (rankdata(scores[known]) - 0.5) / known.sum()
    return shares
