"""How bright the channels of an image are, and how much that varies from cell to cell."""

from dataclasses import dataclass

import numpy as np

from hpa.arrays import Float64
from hpa.labels import HPA2021
from hpa.simulation.config import SimulationConfig
from hpa.simulation.labelling import NEGATIVE, Antibody
from hpa.simulation.streams import Stream, stream

DIFFUSE = frozenset(
    HPA2021.names.index(name)
    for name in ("Nucleoplasm", "Endoplasmic reticulum", "Plasma membrane", "Cytosol", "Microtubules")
)
"""Classes that spread over much of the cell: their staining is weaker per pixel than that of compact structures."""


@dataclass(frozen=True)
class Brightness:
    """Brightness of one image.

    Attributes:
        channels: grey levels of relative brightness 1 in red, green, blue and yellow.
        classes: relative brightness of each class of the antibody.
        unspecific: relative brightness of the staining that every cell has, Negative ones too.
        unspecific_nucleus: that in the nucleus, relative to the cytoplasm.
        variation: standard deviation over cells of the logarithm of the brightness, per channel.
        grey_per_photon: per channel.
    """

    channels: tuple[float, float, float, float]
    classes: tuple[float, ...]
    unspecific: float
    unspecific_nucleus: float
    variation: tuple[float, float, float, float]
    grey_per_photon: tuple[float, float, float, float]

    def cell_factors(self, rng: np.random.Generator) -> Float64[np.ndarray, "4"]:
        """Brightness of one cell relative to the image's, per channel."""
        return np.exp(np.array(self.variation) * rng.standard_normal(4))


def draw_brightness(config: SimulationConfig, index: int, antibody: Antibody) -> Brightness:
    """Brightness of an image.

    Medians and spreads follow the 50 images of the 2018 competition's sample: in nuclei, blue 105 +- 36; in
    cytoplasm, red 49 +- 21, yellow 45 +- 22; 99th percentile of green 15 to 255, median 90; one image in twelve
    with less than a quarter of the usual light in all channels.
    """
    rng = stream(config.seed, Stream.ANTIBODY, antibody.number)
    peak = 95 * np.exp(0.65 * rng.standard_normal())
    classes = [
        weight * (0.6 if label in DIFFUSE else 1.3)
        for label, weight in zip(antibody.classes, antibody.weights, strict=True)
    ]
    unspecific = 0.06 * np.exp(0.7 * rng.standard_normal())
    if antibody.classes == (NEGATIVE,):
        peak, unspecific = 6 * np.exp(0.7 * rng.standard_normal()), 1.0
    unspecific_nucleus = rng.uniform(0.3, 1.3)
    cell_to_cell = rng.uniform(0.15, 0.5)
    # The weaker the staining, the more the detector was turned up.
    noisy = 3.5 * np.sqrt(60 / max(peak, 10)) * np.exp(0.4 * rng.standard_normal())

    rng = stream(config.seed, Stream.ANTIBODY, antibody.number, index)
    dim = rng.uniform(0.06, 0.3) if rng.random() < 0.08 else 1.0
    own = np.exp(rng.standard_normal(4) * [0.35, 0.25, 0.28, 0.35]) * dim
    red, green, blue, yellow = (np.array([76, peak, 126, 145]) * own).tolist()
    photon = config.optics.grey_per_photon
    return Brightness(
        channels=(red, green, blue, yellow),
        classes=tuple(classes),
        unspecific=float(unspecific),
        unspecific_nucleus=float(unspecific_nucleus),
        variation=(0.25, float(cell_to_cell), 0.2, 0.25),
        grey_per_photon=(1.5 * photon, float(np.clip(noisy, 0.5, 8) * photon), 0.6 * photon, 1.2 * photon),
    )
