"""timm's backbones: what is known of each, and the first weights of any network built on one."""

from hpa.backbones.timm_models import (
    backbone_facts,
    begin_classifier,
    check_backbone,
    check_size,
    normalization,
    take_classifier,
)
from hpa.backbones.weight_files import read_tensors
from hpa.backbones.weights import RANDOM_WEIGHTS, PipWeights, Pretrained, RandomWeights, build_initialised

__all__ = [
    "RANDOM_WEIGHTS",
    "PipWeights",
    "Pretrained",
    "RandomWeights",
    "backbone_facts",
    "begin_classifier",
    "build_initialised",
    "check_backbone",
    "check_size",
    "normalization",
    "read_tensors",
    "take_classifier",
]
