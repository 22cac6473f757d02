"""What timm knows about its models, and how their parts are reached."""

import difflib

import timm
import torch
from timm.models import PretrainedCfg
from torch import nn

from hpa.backbones.stem import channel_mixing

CLASSIFIER_SPREAD = 0.01
"""Standard deviation of a new classifier's weights."""


def check_backbone(name: str) -> None:
    """Raise ValueError, with the closest names, unless timm has the backbone."""
    if ":" not in name and "/" not in name and timm.is_model(name):
        architecture, _, tag = name.partition(".")
        tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")] if tag else []
        if tag and tag not in tags:
            raise ValueError(f"expected one of the tags that timm knows for {architecture}: {', '.join(tags)}")
        return
    close = difflib.get_close_matches(name.partition(".")[0], timm.list_models(), n=3)
    hint = f"; did you mean {', '.join(map(repr, close))}?" if close else ""
    raise ValueError(f"expected one of timm's models (timm.list_models() names them){hint}")


def check_size(backbone: nn.Module, name: str, channels: int, size: int) -> None:
    """Raise ValueError where a network was built for a size that it cannot take; not all say so when they are built."""
    backbone.eval()
    try:
        with torch.no_grad():
            backbone(torch.zeros(1, channels, size, size))
    except (AssertionError, RuntimeError) as error:
        raise ValueError(
            f"{name} cannot take images of {size} × {size} pixels ({error}); choose a multiple of its patch and window "
            "sizes, or a convolutional backbone"
        ) from None
    backbone.train()


def take_classifier(backbone: nn.Module, name: str) -> nn.Linear:
    """Take timm's classifier out of the model, as a linear layer; the model gives pooled features from then on.

    Raises:
        ValueError: the classifier is no linear layer.
    """
    classifier = backbone.get_classifier()  # type: ignore[operator]
    if isinstance(classifier, nn.Conv2d) and classifier.kernel_size == (1, 1):
        head = nn.Linear(classifier.in_channels, classifier.out_channels, bias=classifier.bias is not None)
        with torch.no_grad():
            head.weight.copy_(classifier.weight.flatten(1))
            if classifier.bias is not None:
                head.bias.copy_(classifier.bias)
    elif isinstance(classifier, nn.Linear):
        head = classifier
    else:
        raise ValueError(f"{name} has a classifier that is not linear ({type(classifier).__name__}); choose another")
    backbone.reset_classifier(0)  # type: ignore[operator]
    return head


def begin_classifier(backbone: nn.Module) -> None:
    """Give timm's classifier small random weights (standard deviation 0.01, as torchvision's) and no bias.

    timm draws the classifier of EfficientNets and their kin uniformly up to 1 / √classes, whatever the number of
    features: with two classes, logits begin at ± 10, and training spends its first epochs on undoing that.
    """
    classifier = backbone.get_classifier()  # type: ignore[operator]
    if isinstance(classifier, nn.Linear | nn.Conv2d):
        nn.init.trunc_normal_(classifier.weight, std=CLASSIFIER_SPREAD)
        if classifier.bias is not None:
            nn.init.zeros_(classifier.bias)


def backbone_facts(name: str) -> PretrainedCfg:
    """What timm knows about a backbone and its weights; timm's defaults for one without weights."""
    return timm.get_pretrained_cfg(name) or PretrainedCfg(num_classes=1000, input_size=(3, 224, 224))


def normalization(name: str, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation per channel, in units of uint8 images."""
    mixing = channel_mixing(channels)
    if name.startswith("tf_efficientnet_lite"):
        # Of the network's origin: tensorflow/tpu, efficientnet/lite, MEAN_RGB and STDDEV_RGB.
        mean, std = torch.full((3,), 127.0), torch.full((3,), 128.0)
    else:
        facts = backbone_facts(name)
        mean, std = torch.tensor(facts.mean) * 255, torch.tensor(facts.std) * 255
    return mixing @ mean, mixing @ std
