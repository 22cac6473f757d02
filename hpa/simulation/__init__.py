"""A simulated atlas: four-channel images of cells whose localization, outline and defects are known."""

from hpa.simulation.config import (
    BetaFraction,
    BetaShape,
    DefectsConfig,
    FixedFraction,
    OpticsConfig,
    PositiveFraction,
    SimulationConfig,
)
from hpa.simulation.defects import DEFECTS, Defect
from hpa.simulation.image import CELL_COLUMNS, SimulatedImage, image_id, simulate_image
from hpa.simulation.likeness import compare, image_figures

__all__ = [
    "CELL_COLUMNS",
    "DEFECTS",
    "BetaFraction",
    "BetaShape",
    "Defect",
    "DefectsConfig",
    "FixedFraction",
    "OpticsConfig",
    "PositiveFraction",
    "SimulatedImage",
    "SimulationConfig",
    "compare",
    "image_figures",
    "image_id",
    "simulate_image",
]
