"""LIME on segments: a weighted linear model of the network's answers to images with segments hidden."""

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import Ridge

from hpa.arrays import Bool, Float64
from hpa.explain.perturbation_config import Lime
from hpa.explain.segment_shap import Game
from hpa.extras import require


@dataclass(frozen=True)
class LinearModels:
    """One linear model per class of how an output depends on which players are seen.

    Attributes:
        coefficients: of each player; 0 for those that were left out.
        intercepts: the models' answers when nobody is seen.
        output: the network's answer to the image itself.
        fit: R² of each model on the perturbed images, weighted as in the fit.
    """

    coefficients: Float64[np.ndarray, "classes players"]
    intercepts: Float64[np.ndarray, " classes"]
    output: Float64[np.ndarray, " classes"]
    fit: Float64[np.ndarray, " classes"]


def segment_lime(game: Game, players: int, config: Lime) -> LinearModels:
    """Fit LIME's linear models (Ribeiro et al. 2016, arXiv:1602.04938), by the regression of their package.

    Of the package only `LimeBase` is used: its image part takes RGB alone. Draws, distances (cosine) and weights
    (square root of exp(-distance² / width²)) are as there.

    Args:
        game: outcome of each coalition.
        players: how many.
        config: how many images are drawn, and how the model is fitted.
    """
    coalitions = draw_coalitions(players, config.samples, config.seed)
    outcomes = game(coalitions)
    # The cosine of two sets of which one is all: the square root of the part that is seen.
    distances = 1 - np.sqrt(coalitions.mean(axis=1))
    base = require("lime.lime_base", "explain").LimeBase(
        lambda distance: np.sqrt(np.exp(-(distance**2) / config.kernel_width**2)), random_state=config.seed
    )
    data = coalitions.astype(np.float64)
    coefficients = np.zeros((outcomes.shape[1], players))
    intercepts, fit = np.zeros(outcomes.shape[1]), np.zeros(outcomes.shape[1])
    for number in range(outcomes.shape[1]):
        intercepts[number], pairs, fit[number], _ = base.explain_instance_with_data(
            data,
            outcomes,
            distances,
            number,
            config.features or players,
            feature_selection="highest_weights" if config.features else "none",
            model_regressor=Ridge(alpha=config.penalty),
        )
        for player, coefficient in pairs:
            coefficients[number, player] = coefficient
    return LinearModels(coefficients, intercepts, outcomes[0], fit)


def draw_coalitions(players: int, count: int, seed: int) -> Bool[np.ndarray, "coalitions players"]:
    """Coalitions that each player joins with probability one half; the first is that of all."""
    coalitions = np.random.default_rng(seed).random((count, players)) < 0.5
    coalitions[0] = True
    return coalitions
