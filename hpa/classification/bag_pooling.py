"""From the cells' logits to their image's: mean, soft maximum, or attention."""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

import pydantic
import torch
from torch import nn

from hpa.arrays import Bool, EmbeddingTensor, Float, LogitTensor
from hpa.config import Config

Present: TypeAlias = Bool[torch.Tensor, "bags cells"]
BagLogits: TypeAlias = Float[torch.Tensor, "bags cells classes"]
BagEvidence: TypeAlias = Float[torch.Tensor, "bags cells _"]  # one column for all classes, or one each

IMAGES_AT_ONCE = 256
"""Images whose cells' answers are pooled together; they are padded to the one with most cells."""


class MeanPooling(Config):
    """The image's logit is the mean of its cells': every cell has a say, also where few cells show the class."""

    kind: Literal["mean"] = "mean"


class LogSumExpPooling(Config):
    """A soft maximum: a few cells are enough. Pinheiro and Collobert (2015), equation 2, on logits.

    Attributes:
        sharpness: r of log(mean(exp(r × logit))) / r; near 0 it is the mean, large it is the maximum.
    """

    kind: Literal["lse"] = "lse"
    sharpness: Annotated[float, pydantic.Field(gt=0, le=100)] = 1.0


class AttentionPooling(Config):
    """A weighted mean whose weights are learned from the cells. Ilse, Tomczak and Welling (2018), equation 9 (gated).

    Attributes:
        hidden: size of the layer between; L in the paper.
        per_class: whether each class has its own weights, since the classes of an image may be in different cells.
    """

    kind: Literal["attention"] = "attention"
    hidden: Annotated[int, pydantic.Field(ge=1)] = 128
    per_class: bool = True


Pooling: TypeAlias = Annotated[MeanPooling | LogSumExpPooling | AttentionPooling, pydantic.Field(discriminator="kind")]


class GatedAttention(nn.Module):
    """Scores of cells, before the softmax over a bag: w · (tanh(V h) × sigmoid(U h)).

    Args:
        features: size of a cell's embedding h.
        hidden: rows of V and U.
        outputs: rows of w.
    """

    def __init__(self, features: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.value = nn.Linear(features, hidden)
        self.gate = nn.Linear(features, hidden)
        self.score = nn.Linear(hidden, outputs, bias=False)  # the softmax would take a bias away

    def forward(self, embeddings: EmbeddingTensor) -> LogitTensor:
        """(cells, features) to (cells, outputs)."""
        scores: torch.Tensor = self.score(self.value(embeddings).tanh() * self.gate(embeddings).sigmoid())
        return scores


def spread(
    values: Float[torch.Tensor, "present columns"], present: Present
) -> Float[torch.Tensor, "bags cells columns"]:
    """Rows of the cells that are there in their places of the bags, 0 elsewhere."""
    places = values.new_zeros((*present.shape, values.shape[1]))
    places[present] = values
    return places


def pool(logits: BagLogits, evidence: BagEvidence, present: Present, pooling: Pooling) -> LogitTensor:
    """The images' logits from their cells', in float32; each bag has at least one cell.

    Args:
        logits: of the image head.
        evidence: scores for attention, one column for all classes or one each; not looked at by other poolings.
        present: where cells are.
        pooling: how.

    >>> logits = torch.tensor([[[0.0], [2.0], [9.0]]])
    >>> present = torch.tensor([[True, True, False]])
    >>> pool(logits, logits, present, MeanPooling())
    tensor([[1.]])
    """
    there = present[..., None]
    logits = logits.float().masked_fill(~there, 0)
    match pooling:
        case MeanPooling():
            return logits.sum(dim=1) / there.sum(dim=1)
        case LogSumExpPooling(sharpness=sharpness):
            sums = (logits * sharpness).masked_fill(~there, -torch.inf).logsumexp(dim=1)
            return (sums - there.sum(dim=1).log()) / sharpness
        case AttentionPooling():
            weights = evidence.float().masked_fill(~there, -torch.inf).softmax(dim=1)
            return (weights * logits).sum(dim=1)


def pool_images(
    logits: LogitTensor, evidence: Float[torch.Tensor, "batch _"], counts: Sequence[int], pooling: Pooling
) -> Float[torch.Tensor, "images classes"]:
    """`pool` for images of any number of cells: (images, classes).

    Args:
        logits: of the image head for every cell, those of one image after the other.
        evidence: the same cells' scores for attention.
        counts: cells of each image, at least one.
        pooling: how.
    """
    pooled, start = [], 0
    for first in range(0, len(counts), IMAGES_AT_ONCE):
        some = torch.tensor(counts[first : first + IMAGES_AT_ONCE])
        present = torch.arange(int(some.max())) < some[:, None]
        end = start + int(some.sum())
        pooled.append(pool(spread(logits[start:end], present), spread(evidence[start:end], present), present, pooling))
        start = end
    assert start == len(logits)
    return torch.cat(pooled)
