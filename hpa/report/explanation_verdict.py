"""What the comparison of methods of attribution says about them, in words."""

import numpy as np
import pandas as pd

from hpa.report.explanation_wording import BRIGHT, CONTROLS, method_name

_ENOUGH = 2.0
"""Standard errors by which a method must be better than random places to count as better: about 95 %."""

_ALIKE = 0.5
"""Rank correlation from which on two maps say much the same."""


def verdict(comparison: pd.DataFrame) -> str:
    """Which methods are no better than chance or than the protein's brightness, and which ignore the network's weights.

    Args:
        comparison: one row per method and control, as `methods_page` takes it, of judged maps.
    """
    methods = comparison[~comparison["method"].isin(list(CONTROLS))]
    told, weak = [], []
    for row in methods.to_dict("records"):
        gains = [
            row.get(f"{curve}_gain", np.nan) - _ENOUGH * np.nan_to_num(row.get(f"{curve}_gain_error", np.nan))
            for curve in ("insertion", "deletion")
        ]
        if not any(gain > 0 for gain in gains):
            weak.append(method_name(row["method"]))
    if weak:
        told.append(f"Not clearly better than random places, neither put back nor removed: {'; '.join(weak)}.")
    bright = comparison[comparison["method"] == BRIGHT]
    if len(bright):
        control = bright.iloc[0]
        behind = methods[
            ~(methods["insertion_gain"] > control["insertion_gain"])
            & ~(methods["deletion_gain"] > control["deletion_gain"])
        ]
        names = [name for name in behind["method"].map(method_name) if name not in weak]
        if names:
            told.append(
                f"Better than random places, but not than showing or hiding the brightest protein: {'; '.join(names)}."
            )
    last = last_level(comparison)
    if last is not None:
        stays = methods[methods[last] > _ALIKE]["method"].map(method_name).tolist()
        random = "the head" if last == "randomized_1" else "the whole network"
        if stays:
            told.append(
                f"Hardly change when {random} is made random, so they show the image rather than what was "
                f"learned: {'; '.join(stays)}."
            )
    return " ".join(told) or "All methods are better than random places, and change when the network is made random."


def last_level(comparison: pd.DataFrame) -> str | None:
    """The column that tells likeness to the maps of the most random network; None where that was not looked at."""
    levels = [name for name in comparison if name.startswith("randomized_") and not name.endswith("_error")]
    return levels[-1] if levels else None
