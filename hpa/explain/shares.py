"""What part each channel has in an explanation: is it the protein that the network looks at?"""

from collections.abc import Sequence

import numpy as np

from hpa.arrays import Float, Float64


def channel_shares(
    maps: Float[np.ndarray, "items planes height width"], channels: Sequence[str]
) -> Float64[np.ndarray, "items channels"]:
    """Part of the map's total magnitude that lies in each channel; rows sum to one.

    Args:
        maps: attribution maps with one plane per channel, or, for cells of several scales, that many times as many.
        channels: their names; plane p shows channel p modulo their number.

    Returns:
        NaN where the map has a single plane for all channels, as class activation maps have, or is 0 everywhere.

    Raises:
        ValueError: another number of planes.

    >>> channel_shares(np.array([[[[3.0]], [[-1.0]]]]), ("red", "green")).tolist()
    [[0.75, 0.25]]
    """
    items, planes = maps.shape[:2]
    if planes == 1 and len(channels) > 1:
        return np.full((items, len(channels)), np.nan)
    totals = sum_by_channel(np.abs(maps).sum(axis=(2, 3), dtype=np.float64), channels)
    whole = totals.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(totals, whole, out=np.full(totals.shape, np.nan), where=whole > 0), np.float64)


def sum_by_channel(
    values: Float[np.ndarray, "items planes"], channels: Sequence[str]
) -> Float64[np.ndarray, "items channels"]:
    """Values of planes added up by channel, for cells of several scales.

    Raises:
        ValueError: the number of planes is no multiple of the number of channels.
    """
    items, planes = values.shape
    if planes % len(channels):
        raise ValueError(f"expected planes of the channels {list(channels)} in turn, but got {planes} planes")
    return np.asarray(values.reshape(items, planes // len(channels), len(channels)).sum(axis=1), np.float64)
