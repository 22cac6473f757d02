"""Scores of cells from several sources made into one: runs into an ensemble, image and cell scores into a fusion."""

from hpa.fusion.config import EnsembleRule, FusionConfig, FusionRule, Level, MemberConfig
from hpa.fusion.ensembles import ensemble
from hpa.fusion.folds import folds_of_images, require_folds
from hpa.fusion.scores import fuse, fuse_values, member_values
from hpa.fusion.search import SearchConfig
from hpa.fusion.tuning import AveragePrecision, Matches, Tuning, tune_weights
from hpa.fusion.weights import Weights, member_weights, weights_from_json, weights_to_json

__all__ = [
    "AveragePrecision",
    "EnsembleRule",
    "FusionConfig",
    "FusionRule",
    "Level",
    "Matches",
    "MemberConfig",
    "SearchConfig",
    "Tuning",
    "Weights",
    "ensemble",
    "folds_of_images",
    "fuse",
    "fuse_values",
    "member_values",
    "member_weights",
    "require_folds",
    "tune_weights",
    "weights_from_json",
    "weights_to_json",
]
