"""One image of the simulated atlas with its truth: a pure function of the configuration and the image's index."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hpa.arrays import LabelMap, Pixels
from hpa.labels import HPA2021
from hpa.simulation.config import SimulationConfig
from hpa.simulation.defects import Defect, defocus, exposure_factors, plan_defect, swap_channels, wrong_classes
from hpa.simulation.labelling import make_antibody
from hpa.simulation.optics import Exposure, record
from hpa.simulation.scene import Scene, make_scene
from hpa.simulation.streams import Stream, stream

CELL_COLUMNS = ("image_id", "cell_id", "area", "nucleus_area", "touches_border", "is_mitotic", "line")
"""Columns of `SimulatedImage.cells` before one float32 column per class of HPA2021."""


@dataclass(frozen=True)
class SimulatedImage:
    """An image and everything that is known about it.

    Attributes:
        image_id: unique within a seed.
        pixels: red, green, blue, yellow.
        cell_map: cell numbers from 1.
        nucleus_map: same numbers, in the nuclei only.
        cells: CELL_COLUMNS (areas in pixels), then one float32 column per class, 1 where the cell shows it.
        labels: sorted class numbers as written in `train.csv`, wrong where that defect is planted.
        true_labels: the antibody's classes.
        group: images of one antibody have the same; a duplicate keeps the group of its own place in the set.
        cell_line: its name.
        defect: planted defect, if any.
        duplicate_of: the image_id whose scene a duplicate shows.
    """

    image_id: str
    pixels: Pixels
    cell_map: LabelMap
    nucleus_map: LabelMap
    cells: pd.DataFrame
    labels: tuple[int, ...]
    true_labels: tuple[int, ...]
    group: str
    cell_line: str
    defect: Defect | None
    duplicate_of: str | None


def image_id(config: SimulationConfig, index: int) -> str:
    """Name of an image.

    >>> image_id(SimulationConfig(seed=7), 12)
    'sim7-000012'
    """
    return f"sim{config.seed}-{index:06d}"


def simulate_image(config: SimulationConfig, index: int) -> SimulatedImage:
    """Draw one image.

    Args:
        config: of the atlas; the number of images in it does not matter here.
        index: from 0.

    Returns:
        The same for the same arguments, whichever other images are drawn, in whichever order or process.

    Raises:
        ValueError: the index is negative.
    """
    if index < 0:
        raise ValueError(f"expected an index of 0 or more, but got {index}")
    planned = plan_defect(config, index)
    kind = planned.kind if planned else None
    shown = planned.source if planned and planned.source is not None else index
    antibody = make_antibody(config, shown // config.images_per_antibody)
    scene = make_scene(config, shown, antibody, nearly_empty=kind == "nearly_empty")
    exposure = Exposure(
        gains=exposure_factors(config, index, kind),
        grey_per_photon=scene.brightness.grey_per_photon,
        defocus=defocus(config, index, kind),
    )
    noise = stream(config.seed, Stream.NOISE, index)
    pixels = record(scene.light, config.pixel, config.optics, exposure, noise)
    if kind == "swapped_channels":
        pixels = swap_channels(config, index, pixels)
    name = image_id(config, index)
    return SimulatedImage(
        image_id=name,
        pixels=pixels,
        cell_map=scene.cell_map,
        nucleus_map=scene.nucleus_map,
        cells=_cell_table(name, scene),
        labels=wrong_classes(config, index, antibody.classes) if kind == "wrong_label" else antibody.classes,
        true_labels=antibody.classes,
        group=f"antibody{index // config.images_per_antibody:05d}",
        cell_line=scene.line,
        defect=kind,
        duplicate_of=image_id(config, shown) if kind == "duplicate" else None,
    )


def _cell_table(name: str, scene: Scene) -> pd.DataFrame:
    number = len(scene.truth)
    cells = scene.cell_map
    border = np.unique(np.concatenate([cells[0], cells[-1], cells[:, 0], cells[:, -1]]))
    numbers = np.arange(1, number + 1)
    keys = {
        "image_id": pd.Series([name] * number, dtype="str"),
        "cell_id": numbers,
        "area": np.bincount(cells.ravel(), minlength=number + 1)[1:],
        "nucleus_area": np.bincount(scene.nucleus_map.ravel(), minlength=number + 1)[1:],
        "touches_border": np.isin(numbers, border),
        "is_mitotic": scene.mitotic,
        "line": pd.Series([scene.line] * number, dtype="str"),
    }
    truth = {label: scene.truth[:, column].astype(np.float32) for column, label in enumerate(HPA2021.names)}
    return pd.DataFrame({**keys, **truth})
