"""What the comparison says in words."""

import numpy as np
import pandas as pd
import pytest

from hpa.report.explanation_verdict import last_level, verdict


def comparison(**changes: list[float]) -> pd.DataFrame:
    """Two methods and both controls; both methods are good unless changed."""
    columns = {
        "insertion_gain": [0.4, 0.4, 0.1, 0.0],
        "insertion_gain_error": [0.05, 0.05, 0.05, 0.0],
        "deletion_gain": [0.3, 0.3, 0.1, 0.0],
        "deletion_gain_error": [0.05, 0.05, 0.05, 0.0],
        "randomized_1": [0.9, 0.9, np.nan, np.nan],
        "randomized_1_error": [0.9, 0.9, np.nan, np.nan],
        "randomized_2": [0.1, 0.1, np.nan, np.nan],
        "randomized_2_error": [0.9, 0.9, np.nan, np.nan],
    }
    return pd.DataFrame({"method": ["grad_cam", "lime", "bright protein", "random places"], **columns, **changes})


def test_good_methods() -> None:
    assert verdict(comparison()).startswith("All methods are better than random places")
    assert last_level(comparison()) == "randomized_2"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"insertion_gain": [0.09, 0.4, 0.1, 0], "deletion_gain": [-0.1, 0.3, 0.1, 0]},
            "Not clearly better than random places, neither put back nor removed: Grad-CAM.",
        ),
        (
            {"insertion_gain": [0.4, 0.4, 0.5, 0], "deletion_gain": [0.3, 0.6, 0.5, 0]},
            "Better than random places, but not than showing or hiding the brightest protein: Grad-CAM.",
        ),
        ({"randomized_2": [0.2, 0.8, np.nan, np.nan]}, "rather than what was learned: LIME."),
    ],
)
def test_what_is_not_to_be_trusted(changes: dict[str, list[float]], expected: str) -> None:
    said = verdict(comparison(**changes))
    assert expected in said
    assert said.count(":") == 1


def test_without_random_weights_and_protein() -> None:
    table = comparison().iloc[[0, 1, 3]][["method", "insertion_gain", "deletion_gain"]]
    assert last_level(table) is None
    assert verdict(table)
