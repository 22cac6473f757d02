"""Classifiers of images: networks, losses, samplers, augmentation, prediction."""

from hpa.classification.augmentation import Augmentation, AugmentationConfig, build_augmentation
from hpa.classification.dataset import ImageDataset
from hpa.classification.losses import AutomaticLoss, Loss, LossConfig, build_loss
from hpa.classification.mixing import MixingConfig, mix
from hpa.classification.model import ImageClassifier, ModelConfig, build_model
from hpa.classification.sampling import PlainSampler, Sampler, order
from hpa.classification.tta import predict_batch

__all__ = [
    "Augmentation",
    "AugmentationConfig",
    "AutomaticLoss",
    "ImageClassifier",
    "ImageDataset",
    "Loss",
    "LossConfig",
    "MixingConfig",
    "ModelConfig",
    "PlainSampler",
    "Sampler",
    "build_augmentation",
    "build_loss",
    "build_model",
    "mix",
    "order",
    "predict_batch",
]
