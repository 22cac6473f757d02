"""The protein channel of one cell: the pattern of each class, added up."""

import numpy as np

from hpa.arrays import FloatPlane
from hpa.labels import HPA2021
from hpa.simulation import cytoplasmic_patterns, nuclear_patterns, thread_patterns
from hpa.simulation.cell import Cell
from hpa.simulation.labelling import DISPERSED_IN_MITOSIS
from hpa.simulation.stains import draw_spindle
from hpa.simulation.style import Style


def draw_pattern(
    label: int, cell: Cell, style: Style, tubules: FloatPlane, er: FloatPlane, rng: np.random.Generator
) -> FloatPlane:
    """The pattern of one class in one cell.

    Args:
        label: number of the class in HPA2021.
        cell: geometry.
        style: of the antibody.
        tubules: this cell's microtubules, as `draw_microtubules` gives them.
        er: this cell's endoplasmic reticulum, as `draw_er` gives it.
        rng: of this cell.

    Returns:
        Relative brightness over the crop, about 1 where the structures are, 0 outside the cell.

    Raises:
        ValueError: no such class.
    """
    if cell.mitotic and label in DISPERSED_IN_MITOSIS:
        return cytoplasmic_patterns.cytosol(cell, style, rng)
    match HPA2021.names[label] if 0 <= label < len(HPA2021) else label:
        case "Nucleoplasm":
            return nuclear_patterns.nucleoplasm(cell, style, rng)
        case "Nuclear membrane":
            return nuclear_patterns.nuclear_membrane(cell, style, rng)
        case "Nucleoli":
            return nuclear_patterns.nucleoli(cell, style, rng)
        case "Nucleoli fibrillar center":
            return nuclear_patterns.fibrillar_center(cell, style, rng)
        case "Nuclear speckles":
            return nuclear_patterns.nuclear_speckles(cell, style, rng)
        case "Nuclear bodies":
            return nuclear_patterns.nuclear_bodies(cell, style, rng)
        case "Endoplasmic reticulum":
            return cytoplasmic_patterns.endoplasmic_reticulum(cell, style, er, rng)
        case "Golgi apparatus":
            return cytoplasmic_patterns.golgi(cell, style, rng)
        case "Intermediate filaments":
            return thread_patterns.intermediate_filaments(cell, style, rng)
        case "Actin filaments":
            return thread_patterns.actin_filaments(cell, style, rng)
        case "Microtubules":
            return thread_patterns.microtubules(cell, style, tubules, rng)
        case "Mitotic spindle":
            spindle = draw_spindle(cell, rng) if cell.mitotic else np.zeros(cell.shape, np.float32)
            return thread_patterns.mitotic_spindle(cell, style, spindle, rng)
        case "Centrosome":
            return cytoplasmic_patterns.centrosome(cell, style, rng)
        case "Plasma membrane":
            return cytoplasmic_patterns.plasma_membrane(cell, style, rng)
        case "Mitochondria":
            return thread_patterns.mitochondria(cell, style, rng)
        case "Aggresome":
            return cytoplasmic_patterns.aggresome(cell, style, rng)
        case "Cytosol":
            return cytoplasmic_patterns.cytosol(cell, style, rng)
        case "Vesicles and punctate cytosolic patterns":
            return cytoplasmic_patterns.vesicles(cell, style, rng)
        case "Negative":
            return np.zeros(cell.shape, np.float32)
        case _:
            raise ValueError(f"expected a class number from 0 to {len(HPA2021) - 1}, but got {label}")
