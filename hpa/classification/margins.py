"""How far a classifier stands on a class's side: the margins that label noise is told by."""

import numpy as np
import torch

from hpa.arrays import Float, Float64, Int64, LogitTensor


def class_margins(logits: LogitTensor, multi_label: bool) -> LogitTensor:
    """Margin of each class: its logit, or of a softmax its logit less the greatest of the others, in float32.

    Pleiss et al., "Identifying mislabeled data using the area under the margin ranking" (2020): the margin of an
    image's label, averaged over a training's epochs, is low or negative where the other images speak against it.

    >>> class_margins(torch.tensor([[3.0, 1.0, 0.5]]), multi_label=False).tolist()
    [[2.0, -2.0, -2.5]]
    """
    logits = logits.float()
    if multi_label:
        return logits
    highest, place = logits.topk(2, dim=1)
    is_first = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, place[:, :1], True)
    return logits - torch.where(is_first, highest[:, 1:], highest[:, :1])


def mean_margins(
    sums: Float64[np.ndarray, "items classes"], counts: Int64[np.ndarray, " items"]
) -> Float[np.ndarray, "items classes"]:
    """Mean margins, float32; NaN for images that no training read.

    Args:
        sums: of the margins, over all readings.
        counts: how many readings.
    """
    known = np.maximum(counts, 1)[:, None]
    return np.where(counts[:, None] > 0, sums / known, np.nan).astype(np.float32)
