"""Two classifiers that are trained side by side and answer as one."""

import math

import torch
from torch import nn

from hpa.arrays import EmbeddingTensor, Float, LogitTensor
from hpa.classification.activation import LogitsAndActivation, Maps
from hpa.classification.model import ImageClassifier, Images, ModelConfig, build_model
from hpa.labels import ClassList

MEMBERS = ("first", "second")


class TwinClassifier(ImageClassifier):
    """Two classifiers of one kind, used as one whose probabilities are the mean of theirs.

    Its embeddings are those of both, one after the other, and its class activation maps the mean of theirs.

    Attributes:
        first: one of them.
        second: the other.
    """

    def __init__(self, first: ImageClassifier, second: ImageClassifier) -> None:
        nn.Module.__init__(self)  # it has no backbone of its own
        self.first, self.second = first, second
        self.config = first.config
        self.multi_label = first.multi_label
        self.fixed_size = first.fixed_size
        self.embedding_size = first.embedding_size + second.embedding_size
        self.initialisation = f"two networks, {first.initialisation}"

    @property
    def head(self) -> nn.Linear:  # type: ignore[override]
        """A head on the embeddings of both that gives the mean of their logits; a copy, to read from."""
        weight = torch.cat([self.first.head.weight, self.second.head.weight], dim=1) / 2
        has_bias = self.first.head.bias is not None
        head = nn.Linear(weight.shape[1], weight.shape[0], bias=has_bias, device=weight.device, dtype=weight.dtype)
        with torch.no_grad():
            head.weight.copy_(weight)
            if has_bias:
                head.bias.copy_((self.first.head.bias + self.second.head.bias) / 2)
        return head

    def normalize(self, images: Images) -> Float[torch.Tensor, "batch channels height width"]:
        """Images as the backbones expect them; see `ImageClassifier.normalize`."""
        return self.first.normalize(images)

    def forward_features(self, images: Images) -> torch.Tensor:
        """The two backbones' last features, stacked along a new first axis."""
        return torch.stack([self.first.forward_features(images), self.second.forward_features(images)])

    def pool(self, features: torch.Tensor) -> EmbeddingTensor:
        """Pooled features of both."""
        return torch.cat([self.first.pool(features[0]), self.second.pool(features[1])], dim=1)

    def logits(self, embeddings: EmbeddingTensor) -> LogitTensor:
        """Logits whose probabilities are the mean of the two classifiers'."""
        ours, theirs = embeddings.tensor_split([self.first.embedding_size], dim=1)
        return joint_logits(self.first.logits(ours), self.second.logits(theirs), self.multi_label)

    def activation(self, features: torch.Tensor) -> Maps:
        """The mean of both class activation maps; its mean plus the bias of `head` is the mean of their logits.

        Raises:
            ValueError: see `ImageClassifier.activation`.
        """
        return (self.first.activation(features[0]) + self.second.activation(features[1])) / 2

    def forward(
        self, images: Images, with_activation: bool = False, apart: bool = False
    ) -> LogitTensor | LogitsAndActivation | Float[torch.Tensor, "2 batch classes"]:
        """One logit per image and class; with `apart` those of both classifiers, along a new first axis.

        Raises:
            ValueError: maps are wanted, and the backbone has none.
        """
        if apart:
            both: torch.Tensor = torch.stack([self.first(images), self.second(images)])
            return both
        return super().forward(images, with_activation)

    def train(self, mode: bool = True) -> "TwinClassifier":
        """Set the training mode; what is frozen stays in evaluation mode."""
        nn.Module.train(self, mode)
        return self


def joint_logits(first: LogitTensor, second: LogitTensor, multi_label: bool) -> LogitTensor:
    """Logits whose probabilities are the mean of two classifiers', float32.

    >>> joint_logits(torch.tensor([[2.0]]), torch.tensor([[-2.0]]), multi_label=True).tolist()
    [[0.0]]
    """
    first, second = first.float(), second.float()
    if not multi_label:
        return torch.logaddexp(first.log_softmax(dim=1), second.log_softmax(dim=1)) - math.log(2)
    yes = torch.logaddexp(nn.functional.logsigmoid(first), nn.functional.logsigmoid(second))
    no = torch.logaddexp(nn.functional.logsigmoid(-first), nn.functional.logsigmoid(-second))
    return yes - no


def build_twins(
    config: ModelConfig, channels: int, classes: ClassList, image_size: int | None = None
) -> TwinClassifier:
    """Build two classifiers that differ in their random first weights, at least those of the heads.

    Raises:
        ValueError: see `build_model`.
    """
    first = build_model(config, channels, classes, image_size)
    return TwinClassifier(first, build_model(config, channels, classes, image_size))
