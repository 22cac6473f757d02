"""Classifiers of images: networks, losses, samplers, augmentation, prediction."""

from hpa.classification.augmentation import Augmentation, AugmentationConfig, build_augmentation
from hpa.classification.bag_dataset import BagDataset
from hpa.classification.bag_model import BagModel, BagModelConfig, bag_loss, build_bag_model, predict_bag_cells
from hpa.classification.bag_pooling import pool_images
from hpa.classification.cam import CamConfig, cell_evidence, class_activation
from hpa.classification.consistency import ConsistencyConfig
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
    "BagDataset",
    "BagModel",
    "BagModelConfig",
    "CamConfig",
    "ConsistencyConfig",
    "ImageClassifier",
    "ImageDataset",
    "Loss",
    "LossConfig",
    "MixingConfig",
    "ModelConfig",
    "PlainSampler",
    "Sampler",
    "bag_loss",
    "build_augmentation",
    "build_bag_model",
    "build_loss",
    "build_model",
    "cell_evidence",
    "class_activation",
    "mix",
    "order",
    "pool_images",
    "predict_bag_cells",
    "predict_batch",
]
