"""Several detectors as one score: calibrated ranks, joined so that one alarming detector is enough."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
import pydantic

from hpa.anomaly.findings import Decision, Finding, decide, ranks
from hpa.arrays import Float64
from hpa.config import Config

NAME = "combined"


class CombinedConfig(Config):
    """How detectors are joined.

    Attributes:
        rule: `maximum` takes the detector that is most surprised, so that damage which only one detector sees counts in
            full; `fisher` adds up the surprise of all, which favours images that many detectors find a little odd;
            `mean` averages the ranks.
        weights: of detectors by name, of their surprise or rank; 1 where a name is not given, 0 to leave one out.
        unflagged: factor on the surprise of a detector that does not flag the image. Among good images, too, one is the
            worst by every detector; below 1 it does not alarm as much as one that is bad.
        decision: which are flagged; None for those that any detector with a weight flags.
    """

    rule: Literal["maximum", "fisher", "mean"] = "maximum"
    weights: Mapping[str, float] = {}
    unflagged: float = pydantic.Field(default=0.5, ge=0, le=1)
    decision: Decision | None = None

    @pydantic.field_validator("weights")
    @classmethod
    def _usable(cls, value: Mapping[str, float]) -> Mapping[str, float]:
        wrong = {name: weight for name, weight in value.items() if not 0 <= weight < float("inf")}
        if wrong:
            raise ValueError(f"expected weights of 0 or more, but got {wrong}")
        return value


def combined(findings: Sequence[Finding], config: CombinedConfig) -> Finding:
    """Join findings of the same rows.

    A detector's rank r, the share of the rows below, is 1 - p of a test against the bulk of the data set; its surprise
    is -ln(1 - r), so that 3 is 1 in 20 and 4.6 is 1 in 100 (Fisher adds these up; Tippett takes the largest).

    Returns:
        Scores: weighted surprise or rank; NaN where no detector with a weight judged the row. Details:
        `combined_because`, the detectors that flag the row, the most surprised first, separated by commas.

    Raises:
        ValueError: there is no finding with a weight, or a weight is given for a name that does not occur.
    """
    names = [finding.name for finding in findings]
    unknown = sorted(set(config.weights) - set(names))
    if unknown:
        raise ValueError(f"combined.weights: no detector is called {unknown}; there are {names}")
    used = [finding for finding in findings if config.weights.get(finding.name, 1) > 0]
    if not used:
        raise ValueError("combined: expected at least one detector with a weight above 0, but there is none")
    weights = np.array([config.weights.get(finding.name, 1) for finding in used], np.float64)
    flags = np.stack([finding.flags for finding in used], axis=1)
    shares = np.stack([ranks(finding.scores) for finding in used], axis=1).astype(np.float64)
    surprise = -np.log1p(-shares) * weights * np.where(flags, 1, config.unflagged)
    scores = _joined(shares, surprise, weights, config.rule).astype(np.float32)
    found = flags.any(axis=1) & ~np.isnan(scores) if config.decision is None else decide(scores, config.decision)
    order = np.argsort(-np.nan_to_num(surprise), axis=1, kind="stable")
    reasons = [
        ", ".join(used[column].name for column in columns if flags[row, column]) for row, columns in enumerate(order)
    ]
    return Finding(NAME, scores, found, pd.DataFrame({f"{NAME}_because": pd.Series(reasons, dtype="str")}))


def _joined(
    shares: Float64[np.ndarray, "items detectors"],
    surprise: Float64[np.ndarray, "items detectors"],
    weights: Float64[np.ndarray, " detectors"],
    rule: Literal["maximum", "fisher", "mean"],
) -> Float64[np.ndarray, " items"]:
    known = ~np.isnan(shares)
    match rule:
        case "maximum":
            joined = np.where(known, surprise, -np.inf).max(axis=1)
        case "fisher":
            joined = np.where(known, surprise, 0).sum(axis=1)
        case "mean":
            total = np.where(known, weights, 0).sum(axis=1)
            joined = np.divide(
                np.where(known, shares * weights, 0).sum(axis=1), total, out=np.zeros(len(shares)), where=total > 0
            )
    return np.where(known.any(axis=1), joined, np.nan)
