"""Images that are far brighter or darker than the others of their class."""

from typing import Literal

import numpy as np
import pandas as pd
import pydantic

from hpa.anomaly.findings import Finding, centre_and_sigma
from hpa.anomaly.references import References
from hpa.arrays import Float, Float64
from hpa.config import Config


class IntensityConfig(Config):
    """Mean intensity farther than k sigma from the class's mean.

    Attributes:
        name: of the columns.
        channels: which are looked at; None for green, the protein of interest, where there is such a channel, else all.
            The one that lies farthest out decides.
        k: sigmas from which an image is flagged, on either side.
        robust: median and 1.4826 · median absolute deviation in place of mean and standard deviation, which a few
            very bright images inflate.
        scale: `log` compares logarithms (of 1 + intensity), in which intensities are less skewed.
        least: members of a class without which its images are compared with all. With n images no mean plus three
            standard deviations is ever exceeded below n = 11, for (n - 1) / sqrt(n) is the farthest that one can lie.
    """

    kind: Literal["intensity"] = "intensity"
    name: str = "intensity"
    channels: tuple[str, ...] | None = None
    k: float = pydantic.Field(default=3.0, gt=0)
    robust: bool = False
    scale: Literal["linear", "log"] = "linear"
    least: int = pydantic.Field(default=20, ge=2)


def intensity(
    values: Float[np.ndarray, "items channels"],
    channels: tuple[str, ...],
    compared: References,
    config: IntensityConfig,
) -> Finding:
    """Sigmas between an image's mean intensity and that of its class.

    Images of several classes are judged by the class in which they fit best; those of small classes by all images.

    Args:
        values: mean intensities, 0 or more; NaN where unknown.
        channels: names of the columns of `values`.
        compared: the classes' members.
        config: the settings.

    Returns:
        Details: `<name>_sigma`, above 0 where too bright; `<name>_channel` and `<name>_reference`, the channel that
        decides and the class it was compared with.

    Raises:
        ValueError: a channel is not there; says which are.
    """
    used = chosen_channels(channels, config.channels)
    data = values[:, [channels.index(name) for name in used]].astype(np.float64)
    data = np.log1p(data) if config.scale == "log" else data
    # By channel, then by set: signed sigmas.
    signed = np.stack(
        [
            np.stack([_sigmas(column, members, config.robust) for members in compared.members.T], axis=1)
            for column in data.T
        ]
    )
    far = np.where(np.isnan(signed), -1, np.abs(signed))
    deciding = far.argmax(axis=0)
    worst = np.take_along_axis(signed, deciding[None], axis=0)[0]
    distances, sets = compared.best(np.abs(worst))
    rows = np.arange(len(values))
    scores = distances.astype(np.float32)
    known = ~np.isnan(scores)
    details = pd.DataFrame(
        {
            f"{config.name}_sigma": np.where(known, worst[rows, sets], np.nan).astype(np.float32),
            f"{config.name}_channel": np.where(known, np.asarray(used, object)[deciding[rows, sets]], ""),
            f"{config.name}_reference": np.where(known, np.asarray(compared.names, object)[sets], ""),
        }
    )
    return Finding(config.name, scores, known & (np.nan_to_num(distances) > config.k), details)


def chosen_channels(channels: tuple[str, ...], wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    """The channels that a detector looks at.

    Raises:
        ValueError: one is not there, or none is wanted.

    >>> chosen_channels(("red", "green"), None), chosen_channels(("grey",), None)
    (('green',), ('grey',))
    """
    if wanted is None:
        return ("green",) if "green" in channels else channels
    missing = [name for name in wanted if name not in channels]
    if missing or not wanted:
        raise ValueError(f"expected channels out of {list(channels)}, but got {list(wanted)}")
    return wanted


def _sigmas(values: Float64[np.ndarray, " items"], members: np.ndarray, robust: bool) -> Float64[np.ndarray, " items"]:
    """Signed sigmas of every value from a set's centre; NaN for a set of fewer than two, 0 where all are the same."""
    own = values[members & ~np.isnan(values)]
    if len(own) < 2:
        return np.full(len(values), np.nan)
    centre, sigma = centre_and_sigma(own, robust)
    if sigma == 0 and robust:  # more than half are the same: the median deviation says nothing about the others
        sigma = centre_and_sigma(own, robust=False)[1]
    if sigma == 0:
        return np.where(np.isnan(values), np.nan, np.where(values == centre, 0.0, np.nan))
    return (values - centre) / sigma
