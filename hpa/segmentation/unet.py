"""The trainable U-Net: segmentation-models-pytorch's decoder on a timm encoder."""

from collections.abc import Sequence
from typing import TypeAlias

import segmentation_models_pytorch as smp
import timm
import torch
from torch import nn

from hpa.arrays import Float, ImageTensor
from hpa.backbones import build_initialised, normalization
from hpa.segmentation.unet_config import STRIDE, TARGETS, Target, UnetModelConfig

PLANES = 3
"""Planes of each target: background, border and object."""

Logits: TypeAlias = Float[torch.Tensor, "batch targets planes height width"]


class Unet(nn.Module):
    """A U-Net on uint8 images that were prepared by `prepare_pixels`; it normalises them for its encoder itself.

    Attributes:
        network: segmentation-models-pytorch's U-Net.
        targets: what it segments, in the order of its outputs.
        initialisation: a sentence that says which weights the encoder began with.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: Float[torch.Tensor, " channels"],
        std: Float[torch.Tensor, " channels"],
        targets: tuple[Target, ...],
        initialisation: str,
    ) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.targets = targets
        self.initialisation = initialisation

    def forward(self, images: ImageTensor) -> Logits:
        """Logits of background, border and object for each target.

        Raises:
            ValueError: another number of channels, or sides that are not multiples of 32.
        """
        if images.shape[1] != len(self.mean) or images.shape[2] % STRIDE or images.shape[3] % STRIDE:
            raise ValueError(
                f"expected images of {len(self.mean)} channels with sides that are multiples of {STRIDE} pixels, but "
                f"got {tuple(images.shape)}; `predict_unet` takes any size"
            )
        scale, shift = 1 / self.std[:, None, None], -(self.mean / self.std)[:, None, None]
        found: torch.Tensor = self.network(images.to(self.mean.dtype) * scale + shift)
        return found.reshape(len(images), len(self.targets), PLANES, *images.shape[2:])


def build_unet(config: UnetModelConfig, channels: int, targets: Sequence[Target] = TARGETS) -> Unet:
    """Build the network.

    Args:
        config: encoder, its first weights, and the decoder.
        channels: input channels.
        targets: what to segment: nuclei, from which cells are grown, and perhaps cells.

    Raises:
        ValueError: the encoder's features cannot feed a U-Net, or its weights are not to be had; targets without
            nuclei, or one twice.
    """
    if "nuclei" not in targets or len(set(targets)) != len(targets):
        raise ValueError(f"targets: expected nuclei, or nuclei and cells, but got {list(targets)}")

    def create(pretrained: bool) -> nn.Module:
        model: nn.Module = timm.create_model(config.encoder, pretrained=pretrained, in_chans=channels)
        return model

    try:
        network = smp.Unet(
            f"tu-{config.encoder}",
            encoder_depth=config.depth,
            encoder_weights=None,
            decoder_channels=config.decoder_channels,
            in_channels=channels,
            classes=PLANES * len(targets),
        ).eval()
        with torch.no_grad():  # an encoder of one fixed size says so only here
            network(torch.zeros(1, channels, 2 * STRIDE, 3 * STRIDE))
    except (AssertionError, AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"encoder: {config.encoder} cannot be the encoder of a U-Net of depth {config.depth} "
            f"({' '.join(str(error).split())[:200]}); choose a convolutional backbone whose features halve in size, "
            "such as tf_efficientnet_lite0 or resnet18"
        ) from None
    classifier, initialisation = build_initialised(config.pretrained, create, config.encoder, channels)
    _fill_encoder(network.encoder.model, classifier, config.encoder)
    mean, std = normalization(config.encoder, channels)
    return Unet(network.train(), mean, std, tuple(targets), initialisation)


def _fill_encoder(encoder: nn.Module, classifier: nn.Module, name: str) -> None:
    """Copy the weights of timm's whole model into its feature extractor, which writes dots of some names as `_`."""
    found = {key.replace(".", "_"): tensor for key, tensor in classifier.state_dict().items()}
    chosen = {}
    for key, wanted in encoder.state_dict().items():
        tensor = found.get(key.replace(".", "_"))
        if tensor is None or tensor.shape != wanted.shape:
            raise ValueError(
                f"encoder: the features of {name} do not name their weights as the whole model does ({key}); choose "
                "another backbone"
            )
        chosen[key] = tensor
    encoder.load_state_dict(chosen)
