"""Small-loss selection: which labels of a batch a network is likely to be right about, for co-teaching.

Han et al., "Co-teaching: robust training of deep neural networks with extremely noisy labels" (2018): of two networks,
each learns from the samples to whose labels the other gives the smallest loss. Small is measured by the cross-entropy
of the given labels, whatever loss is minimised.
"""

from typing import Annotated, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from pydantic import Field

from hpa.arrays import Float, LogitTensor, TargetTensor
from hpa.classification.noise_losses import Smoothing as Share
from hpa.config import Config


class CoTeachingConfig(Config):
    """Two networks that choose each other's training samples; predictions are the mean of both.

    Attributes:
        forget: share of the labels that is left out in the end; the paper's choice is the share of wrong labels.
        ramp: part of the training over which that share grows from 0.
        unit: what is chosen. `image`: an image with all its labels, as in the paper, for labels that are wrong as a
            whole. `label`: where images may have several classes, single labels, for images of which one class is
            wrong or missing; of the given and of the absent classes the same number is left out, `forget` of the given
            ones, for absent classes are many and nearly all of them right.
        allowance: how much of the greater loss of rare classes is forgiven: this times the loss of a constant
            predictor is taken off. 0 is the paper's choice, and starves rare classes, whose labels have the greatest
            loss at first, right or wrong; where single labels are chosen that shows most, and 1 is the safer choice.
    """

    kind: Literal["co_teaching"] = "co_teaching"
    forget: Share = 0.2
    ramp: Annotated[float, Field(ge=0, le=1)] = 0.3
    unit: Literal["image", "label"] = "image"
    allowance: Annotated[float, Field(ge=0, le=1)] = 0.5

    def forget_at(self, progress: float) -> float:
        """Share of the labels that is left out at a part of the training, in [0, 1]."""
        return self.forget * (min(1.0, progress / self.ramp) if self.ramp else 1.0)


def label_losses(
    logits: LogitTensor,
    targets: TargetTensor,
    frequencies: Float[torch.Tensor, " classes"],
    allowance: float,
    multi_label: bool,
) -> LogitTensor:
    """Cross-entropy of each label, less the allowance times that of a constant predictor; float32, no gradient.

    Args:
        logits: answers.
        targets: given labels in [0, 1].
        frequencies: share of the training images that have each class; kept away from 0 and 1 by 1e-4.
        allowance: in [0, 1].
        multi_label: whether the classes an image does not have are labels too.
    """
    logits, targets = logits.detach().float(), targets.float()
    usual = frequencies.to(logits).clamp(1e-4, 1 - 1e-4)
    present = (F.logsigmoid(logits) if multi_label else F.log_softmax(logits, dim=1)) - allowance * usual.log()
    if not multi_label:
        return -targets * present
    absent = F.logsigmoid(-logits) - allowance * torch.log1p(-usual)
    return -targets * present - (1 - targets) * absent


def keep_images(losses: LogitTensor, forget: float) -> Float[torch.Tensor, " batch"]:
    """Factor on each image's loss: 0 for those with the greatest losses, the others share their weight.

    The mean over the batch is then the mean over the images kept. Of equal losses the earlier image is kept. At least
    one image is kept.

    >>> keep_images(torch.tensor([[1.0], [9.0], [2.0], [3.0]]), 0.25).tolist()
    [1.3333333730697632, 0.0, 1.3333333730697632, 1.3333333730697632]
    """
    count = len(losses)
    kept = max(1, count - round(forget * count))
    chosen = losses.sum(dim=1).argsort(stable=True)[:kept]
    factors = torch.zeros(count, device=losses.device)
    factors[chosen] = count / kept
    return factors


def keep_labels(losses: LogitTensor, targets: TargetTensor, forget: float) -> LogitTensor:
    """1 for the labels to learn from, 0 for those to leave out: given and absent ones with the greatest losses.

    Of both the same number, `forget` of the given ones, rounded. A label counts as given from 0.5 on.

    >>> losses = torch.tensor([[5.0, 0.1, 0.2], [0.3, 1.0, 4.0]])
    >>> keep_labels(losses, torch.tensor([[1.0, 0, 0], [1.0, 0, 0]]), 0.5).tolist()
    [[0.0, 1.0, 1.0], [1.0, 1.0, 0.0]]
    """
    is_given = targets.flatten() >= 0.5
    flat = losses.flatten()
    left_out = round(forget * int(is_given.sum()))
    kept = torch.ones_like(flat)
    for among in (is_given, ~is_given):
        ranked = flat.masked_fill(~among, -torch.inf).argsort(descending=True, stable=True)
        kept[ranked[: min(left_out, int(among.sum()))]] = 0
    return kept.view_as(losses)
