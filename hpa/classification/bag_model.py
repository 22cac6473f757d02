"""Multiple-instance classification: an image is a bag of cells, its label holds for at least one of them.

Every cell goes through one backbone. A cell head answers for each cell by itself; an image head answers for each cell
too, and its answers are pooled into the image's. The loss asks the pooled answer for the image's labels, and, with a
small weight, every cell for them (2nd place of the 2021 competition; the weight was 0.1).
"""

import copy
from typing import Annotated, NamedTuple, TypeAlias

import pydantic
import torch
from torch import nn

from hpa.arrays import EmbeddingTensor, Float, ImageTensor, LogitTensor, TargetTensor, UInt8
from hpa.classification.bag_pooling import (
    AttentionPooling,
    BagLogits,
    GatedAttention,
    LogSumExpPooling,
    Pooling,
    Present,
    pool,
    spread,
)
from hpa.classification.losses import Loss
from hpa.classification.model import ImageClassifier, ModelConfig, build_model
from hpa.classification.tta import VIEWS, view
from hpa.config import Config
from hpa.labels import ClassList

BagTensor: TypeAlias = UInt8[torch.Tensor, "bags cells channels height width"]


class BagModelConfig(Config):
    """Which network.

    Attributes:
        backbone: what every cell goes through, with the cell head.
        pooling: how the image head's answers to the cells become the image's answer.
        cell_weight: of the cell head's loss beside that of the image head.
        image_share: share of the image head in a single cell's score, the rest being the cell head's; see
            `BagModel.joint_head`.
    """

    backbone: ModelConfig = ModelConfig()
    pooling: Pooling = LogSumExpPooling()
    cell_weight: Annotated[float, pydantic.Field(ge=0)] = 0.1
    image_share: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.75

    @pydantic.model_validator(mode="after")
    def _trained(self) -> "BagModelConfig":
        if self.cell_weight == 0 and self.image_share < 1:
            raise ValueError(
                "cell_weight=0 leaves the cell head untrained; set image_share=1, or a cell_weight above 0"
            )
        if self.backbone.output != "usual":
            raise ValueError("backbone.output: bags pool logits, which only output=usual gives")
        return self


class BagAnswer(NamedTuple):
    """What the network says about bags.

    Attributes:
        image: logits of the images, (bags, classes).
        cells: logits of the cell head, (bags, cells, classes); 0 where there is no cell.
    """

    image: LogitTensor
    cells: BagLogits


class CellAnswer(NamedTuple):
    """What the network says about single cells.

    Attributes:
        image: logits of the image head, (cells, classes), which pooling joins.
        evidence: what attention weighs them by, before its softmax: (cells, 1 or classes); 0 without attention.
    """

    image: LogitTensor
    evidence: Float[torch.Tensor, "batch _"]


class BagModel(nn.Module):
    """A backbone on cells with a cell head and an image head; a bag is an image.

    Attributes:
        cells: backbone and cell head; the start of its parameters' names is `cells.`, the image head's `head.`.
        head: from a cell's embedding to the image head's logits.
        attention: scores of the cells, for pooling by attention.
        config: which network.
    """

    def __init__(self, cells: ImageClassifier, config: BagModelConfig) -> None:
        super().__init__()
        self.cells = cells
        self.config = config
        classes = cells.head.out_features
        self.head = nn.Linear(cells.embedding_size, classes)
        self.attention: GatedAttention | None = None
        if isinstance(config.pooling, AttentionPooling):
            outputs = classes if config.pooling.per_class else 1
            self.attention = GatedAttention(cells.embedding_size, config.pooling.hidden, outputs)

    @property
    def initialisation(self) -> str:
        """A sentence that says which weights the backbone began with."""
        return self.cells.initialisation

    def forward(self, images: BagTensor, present: Present) -> BagAnswer:
        """Answers for bags.

        Args:
            images: uint8 cells.
            present: False where a bag has fewer cells than the tensor has places; what is there is not looked at.

        Raises:
            ValueError: a bag without any cell.
        """
        if not present.any(dim=1).all():
            raise ValueError("expected at least one cell in every bag, but a bag has none; leave such images out")
        # The network sees the cells that are there and no padding, which would go into batch norms' statistics.
        embeddings = self.cells.embeddings(images[present])
        cells, answer = self.cells.logits(embeddings), self.answer(embeddings)
        pooled = pool(spread(answer.image, present), spread(answer.evidence, present), present, self.config.pooling)
        return BagAnswer(pooled, spread(cells, present))

    def answer(self, embeddings: EmbeddingTensor) -> CellAnswer:
        """The image head's answers to single cells, and the evidence by which `pool` joins those of an image."""
        logits = self.head(self.cells.dropout(embeddings))
        evidence = torch.zeros_like(logits[:, :1]) if self.attention is None else self.attention(embeddings)
        return CellAnswer(logits, evidence)

    def probabilities(self, logits: LogitTensor) -> LogitTensor:
        """Probabilities in [0, 1], float32, of either head's logits."""
        return self.cells.probabilities(logits)

    def joint_head(self, image_share: float | None = None) -> nn.Linear:
        """The head for single cells: the weighted mean of both heads' logits.

        A bag of one cell has the image head's logit of that cell whatever the pooling: a mean over one, a soft maximum
        over one, an attention of 1. Both heads are linear in the cell's embedding, so the weighted mean of their logits
        is one linear head again. What the shares mean:

        - 0, the cell head: trained on single cells, but told that every cell of an image has all of its labels. It
          gives the probability of the image's label given one cell, which ranks cells rightly as long as cells without
          the class look the same whichever image they are in.
        - 1, the image head: sound with `lse`, whose image answer is a soft maximum of its cells', and with `mean`,
          where a cell's logit is its part in the image's; single cells then spread wider than the means it was trained
          on. With `attention` it was not trained on cells whose attention is low: a single cell's attention is 1.
        - between: the geometric mean of the two odds. As classes are ranked each by itself, their scales matter only
          between the heads.

        Args:
            image_share: of the image head; None takes that of the configuration.
        """
        share = self.config.image_share if image_share is None else image_share
        ours, theirs = self.head, self.cells.head
        joint = nn.Linear(ours.in_features, ours.out_features, device=ours.weight.device, dtype=ours.weight.dtype)
        with torch.no_grad():
            bias = torch.zeros_like(ours.bias) if theirs.bias is None else theirs.bias
            joint.weight.copy_(theirs.weight.lerp(ours.weight, share))
            joint.bias.copy_(bias.lerp(ours.bias, share))
        return joint.requires_grad_(False)

    def cell_classifier(self, image_share: float | None = None) -> ImageClassifier:
        """A classifier of single cells: a copy of the backbone with `joint_head`."""
        classifier = copy.deepcopy(self.cells)
        classifier.head = self.joint_head(image_share)
        return classifier.train(self.training)


@torch.no_grad()
def predict_bag_cells(model: BagModel, images: ImageTensor, views: int = 1) -> dict[str, torch.Tensor]:
    """Answers to single cells, float32, averaged over orientations.

    The model is used as it is: call it in evaluation mode and in the precision that is wanted.

    Args:
        model: the network.
        images: uint8 cells.
        views: 1, 2, 4 or 8 orientations.

    Returns:
        `probabilities` (cells, classes), as `predict_batch` gives for `cell_classifier()`; `image_logits` and
        `evidence`, which `pool_images` makes the images' logits of.

    Raises:
        ValueError: another number of views.
    """
    if views not in VIEWS:
        raise ValueError(f"expected {', '.join(map(str, VIEWS))} views, but got {views}")
    head = model.joint_head()
    found: dict[str, list[torch.Tensor]] = {}
    for number in range(views):
        embeddings = model.cells.embeddings(view(images, number))
        answer = model.answer(embeddings)
        outputs = {
            "probabilities": model.probabilities(head(embeddings)),
            "image_logits": answer.image,
            "evidence": answer.evidence,
        }
        for name, output in outputs.items():
            found.setdefault(name, []).append(output.float())
    return {name: torch.stack(seen).mean(dim=0) for name, seen in found.items()}


def bag_loss(
    loss: Loss,
    answer: BagAnswer,
    targets: TargetTensor,
    weights: Float[torch.Tensor, " bags"] | None,
    present: Present,
    cell_weight: float,
) -> Float[torch.Tensor, ""]:
    """Loss of the image head, and of the cell head against the image's labels times `cell_weight`.

    A bag's cell loss is the mean over its cells, so that an image weighs the same however many cells it has, and a
    batch split over processes keeps its loss.
    """
    image = loss(answer.image, targets, weights)
    # Also with a weight of 0, since several processes need a gradient, be it 0, for every parameter.
    bags = torch.arange(len(present), device=present.device)[:, None].expand_as(present)[present]
    each = loss(answer.cells[present], targets[bags], None if weights is None else weights[bags], reduction="none")
    per_cell = each / present.sum(dim=1)[bags]
    return image + cell_weight * per_cell.sum() / len(present)


def build_bag_model(config: BagModelConfig, channels: int, classes: ClassList, size: int | None = None) -> BagModel:
    """Build the network.

    Args:
        config: which one.
        channels: planes of a cell, over all scales.
        classes: one logit for each, softmax or sigmoid by `multi_label`.
        size: side of the cells in pixels, for backbones that are built for one size.

    Raises:
        ValueError: see `build_model`.
    """
    return BagModel(build_model(config.backbone, channels, classes, size), config)
