"""The image classifier: a timm backbone on uint8 images of any number of channels, and a linear head."""

from typing import Annotated, Any, Literal, TypeAlias

import pydantic
import timm
import torch
from pydantic import Field
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hpa.arrays import EmbeddingTensor, Float, ImageTensor, LogitTensor
from hpa.backbones import (
    Pretrained,
    RandomWeights,
    backbone_facts,
    begin_classifier,
    build_initialised,
    check_backbone,
    check_size,
    normalization,
    take_classifier,
)
from hpa.classification.activation import Layout, LogitsAndActivation, Maps, activation_maps, find_layout
from hpa.classification.output import Output, as_logits
from hpa.classification.pooling import use_generalized_mean
from hpa.config import Config
from hpa.labels import ClassList

Fraction = Annotated[float, Field(ge=0, lt=1)]
Images: TypeAlias = ImageTensor | Float[torch.Tensor, "batch channels height width"]
"""uint8 images, or float ones in [0, 255] where a gradient on the pixels is wanted."""


class ModelConfig(Config):
    """Which network.

    Attributes:
        name: timm's name of the backbone, with a tag where several weights exist (`tf_efficientnet_b7.ns_jft_in1k`).
        pretrained: where its first weights come from.
        pooling: how the last feature map becomes one vector; `default` is the backbone's own way, `gem` the
            generalised mean.
        dropout: part of the pooled features that training drops before the head.
        drop_path: part of the residual branches that training drops (stochastic depth), rising with depth to this.
        gradient_checkpointing: compute activations twice instead of keeping them, for less memory.
        freeze: what does not learn. `backbone`: all but the head; `batch_norm`: statistics and factors of the batch
            norms, for small batches.
        output: activation of the head; `relu` and `tanh` are there to be compared with, see `output.as_logits`.
    """

    name: str = "tf_efficientnet_lite0"
    pretrained: Pretrained = RandomWeights()
    pooling: Literal["default", "avg", "max", "avgmax", "catavgmax", "gem"] = "default"
    dropout: Fraction = 0.2
    drop_path: Fraction = 0.0
    gradient_checkpointing: bool = False
    freeze: Literal["none", "backbone", "batch_norm"] = "none"
    output: Output = "usual"

    @pydantic.field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        check_backbone(name)
        return name


class ImageClassifier(nn.Module):
    """A timm backbone that normalises uint8 images itself, and a linear head.

    Attributes:
        backbone: timm's model without its classifier.
        head: from the pooled features to one logit per class.
        embedding_size: number of pooled features.
        multi_label: whether probabilities are independent (sigmoid) or sum to one (softmax).
        fixed_size: side of the images in pixels where the backbone takes no other, else None.
        initialisation: a sentence that says which weights the backbone began with.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Linear,
        mean: Float[torch.Tensor, " channels"],
        std: Float[torch.Tensor, " channels"],
        config: ModelConfig,
        multi_label: bool,
        fixed_size: int | None,
        initialisation: str,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(config.dropout)
        self.head = head
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.config = config
        self.multi_label = multi_label
        self.fixed_size = fixed_size
        self.embedding_size = head.in_features
        self.initialisation = initialisation
        self._layout: Layout | None = None
        if config.freeze == "backbone":
            self.backbone.requires_grad_(False)
        elif config.freeze == "batch_norm":
            for module in self._batch_norms():
                module.requires_grad_(False)
        self.train(self.training)

    def normalize(self, images: Images) -> Float[torch.Tensor, "batch channels height width"]:
        """Images as the backbone expects them, float32.

        Raises:
            ValueError: another number of channels, or a size that the backbone cannot take.
        """
        if images.shape[1] != len(self.mean):
            raise ValueError(f"expected images with {len(self.mean)} channels, but got {tuple(images.shape)}")
        if self.fixed_size is not None and images.shape[2:] != (self.fixed_size, self.fixed_size):
            raise ValueError(
                f"{self.config.name} takes images of {self.fixed_size} × {self.fixed_size} pixels only, but got "
                f"{tuple(images.shape)}; set the image size to that, or choose a convolutional backbone"
            )
        scale, shift = 1 / self.std[:, None, None], -(self.mean / self.std)[:, None, None]
        if images.dtype == torch.uint8:
            return images.to(self.mean.dtype).mul_(scale).add_(shift)
        return images * scale + shift

    def forward_features(self, images: Images) -> torch.Tensor:
        """The backbone's last features, before pooling: (batch, features, height, width) for convolutional ones."""
        features: torch.Tensor = self.backbone.forward_features(self.normalize(images))  # type: ignore[operator]
        return features

    def pool(self, features: torch.Tensor) -> EmbeddingTensor:
        """Pooled features of what `forward_features` gave."""
        pooled: torch.Tensor = self.backbone.forward_head(features, pre_logits=True)  # type: ignore[operator]
        return pooled.flatten(1)

    def embeddings(self, images: Images) -> EmbeddingTensor:
        """Pooled features: one row per image, what the head reads."""
        return self.pool(self.forward_features(images))

    def logits(self, embeddings: EmbeddingTensor) -> LogitTensor:
        """The head's answer to pooled features."""
        logits: torch.Tensor = self.head(self.dropout(embeddings))
        return as_logits(logits, self.config.output, self.multi_label)

    def activation(self, features: torch.Tensor) -> Maps:
        """Class activation maps of what `forward_features` gave: mean of a map + the head's bias = logit, undropped.

        Raises:
            ValueError: the backbone does not average a feature map just before the head; see `find_layout`. Or the
                output is not the usual one.
        """
        if self.config.output != "usual":
            raise ValueError(
                f"class activation maps add up to logits only with model.output=usual, not {self.config.output}"
            )
        if self._layout is None:
            self._layout = find_layout(self.backbone, self.embedding_size, self.config.name)
        return activation_maps(self.backbone, self.head, features, self._layout)

    def forward(self, images: Images, with_activation: bool = False) -> LogitTensor | LogitsAndActivation:
        """One logit per image and class; on demand with the class activation maps of the same pass.

        Raises:
            ValueError: maps are wanted, and the backbone has none; see `activation`.
        """
        if not with_activation:
            return self.logits(self.embeddings(images))
        features = self.forward_features(images)
        return LogitsAndActivation(self.logits(self.pool(features)), self.activation(features))

    def probabilities(self, logits: LogitTensor) -> LogitTensor:
        """Probabilities in [0, 1], float32: one per class, or summing to one where an image has one class."""
        logits = logits.float()
        return logits.sigmoid() if self.multi_label else logits.softmax(dim=1)

    def train(self, mode: bool = True) -> "ImageClassifier":
        """Set the training mode; what is frozen stays in evaluation mode."""
        super().train(mode)
        if self.config.freeze == "backbone":
            self.backbone.eval()
        elif self.config.freeze == "batch_norm":
            for module in self._batch_norms():
                module.eval()
        return self

    def _batch_norms(self) -> list[nn.Module]:
        return [module for module in self.backbone.modules() if isinstance(module, _BatchNorm)]


def build_model(
    config: ModelConfig, channels: int, classes: ClassList, image_size: int | None = None
) -> ImageClassifier:
    """Build the classifier.

    Args:
        config: which network.
        channels: input channels; four are red, green, blue and yellow.
        classes: one logit for each, softmax or sigmoid by `multi_label`.
        image_size: side in pixels, for backbones that are built for one size (most transformers).

    Raises:
        ValueError: the backbone has no such feature, or its weights are not to be had.
    """
    settings: dict[str, Any] = {"num_classes": len(classes), "in_chans": channels, "drop_rate": 0.0}
    if config.pooling not in ("default", "gem"):
        settings["global_pool"] = config.pooling
    if config.drop_path:
        settings["drop_path_rate"] = config.drop_path
    facts = backbone_facts(config.name)
    size = image_size or facts.input_size[1]
    if facts.fixed_input_size and size != facts.input_size[1]:
        settings["img_size"] = size

    def create(pretrained: bool) -> nn.Module:
        try:
            model: nn.Module = timm.create_model(config.name, pretrained=pretrained, **settings)
        except (AssertionError, TypeError) as error:  # what timm raises for an option that a model does not have
            raise ValueError(f"{config.name} cannot be built with {settings}: {error}") from None
        if not pretrained or len(classes) != facts.num_classes:
            begin_classifier(model)
        return model

    backbone, initialisation = build_initialised(config.pretrained, create, config.name, channels)
    head = take_classifier(backbone, config.name)
    if config.pooling == "gem":
        use_generalized_mean(backbone)
    if config.gradient_checkpointing:
        try:
            backbone.set_grad_checkpointing(True)  # type: ignore[operator]
        except (AssertionError, AttributeError):
            raise ValueError(f"{config.name} has no gradient checkpointing; set gradient_checkpointing=false") from None
    mean, std = normalization(config.name, channels)
    fixed_size = size if facts.fixed_input_size else None
    if "img_size" in settings:
        check_size(backbone, config.name, channels, size)
    return ImageClassifier(backbone, head, mean, std, config, classes.multi_label, fixed_size, initialisation)
