"""Classical segmentation, which needs no weights: nuclei from their stain, cells grown from them over the others."""

from collections.abc import Sequence
from typing import Annotated, Literal

import cv2
import numpy as np
import pydantic

from hpa.arrays import Float32, FloatPlane, LabelMap, Pixels, Plane
from hpa.config import Config
from hpa.segmentation import regions
from hpa.segmentation.maps import CellMaps
from hpa.segmentation.nuclei import NucleiConfig, Share, as_bytes, blur, estimate_radius, label_nuclei, otsu_threshold

_WORKING_RADIUS = 24.0

Micrometres = Annotated[float, pydantic.Field(gt=0)]


class WatershedConfig(Config):
    """How cells are found without a network.

    Attributes:
        kind: `watershed`.
        pixel_size: µm per pixel, 0.08 in the 2021 competition's images of 2048 pixels; it only bounds the nuclei's
            size. None where it is unknown.
        least_radius: of a typical nucleus, µm; a bound where the pixel size is known.
        most_radius: the same from above.
        nucleus_channel: name of the nuclear stain; an image of a single channel is taken to show nuclei.
        cell_channels: stains that fill cells, those of them that an image has; without any, cells are their nuclei.
        nuclei: how nuclei are found.
        cell_threshold: a cell is brighter than the background by this part of what Otsu's threshold is brighter.
    """

    kind: Literal["watershed"] = "watershed"
    pixel_size: Micrometres | None = None
    least_radius: Micrometres = 4.0
    most_radius: Micrometres = 11.0
    nucleus_channel: str = "blue"
    cell_channels: tuple[str, ...] = ("red", "yellow")
    nuclei: NucleiConfig = NucleiConfig()
    cell_threshold: Share = 0.8

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> "WatershedConfig":
        if self.least_radius > self.most_radius:
            raise ValueError(f"expected least_radius <= most_radius, but got {self.least_radius} > {self.most_radius}")
        return self


def watershed(pixels: Pixels, channels: Sequence[str], config: WatershedConfig | None = None) -> CellMaps:
    """Number the cells and nuclei of an image.

    Args:
        pixels: bright on dark; any magnification, as long as nuclei have a radius of 3 pixels and more.
        channels: their names.
        config: None for the defaults.

    Returns:
        One cell for every nucleus; cells without one are not found.

    Raises:
        ValueError: no channel shows nuclei, or names and planes differ in number.
    """
    config = config or WatershedConfig()
    if len(pixels) != len(channels):
        raise ValueError(f"expected pixels of the channels {list(channels)}, but got {len(pixels)} planes")
    if len(channels) > 1 and config.nucleus_channel not in channels:
        raise ValueError(
            f"expected a channel {config.nucleus_channel!r} that shows nuclei, but there are {list(channels)}; name "
            "the one to take (`nucleus_channel`)"
        )
    stain = pixels[list(channels).index(config.nucleus_channel) if len(channels) > 1 else 0]
    bounds = None
    if config.pixel_size is not None:
        bounds = (config.least_radius / config.pixel_size, config.most_radius / config.pixel_size)
    radius = estimate_radius(stain, bounds)
    nuclei = label_nuclei(stain, radius, config.nuclei)
    bodies = [
        pixels[index] for index, name in enumerate(channels) if len(channels) > 1 and name in config.cell_channels
    ]
    if not bodies:
        return CellMaps(nuclei, nuclei)
    cells = _label_cells(bodies, nuclei, radius, config.cell_threshold)
    there = regions.present(cells, nuclei == cells)
    cells, nuclei = regions.keep(cells, there), regions.keep(np.where(nuclei == cells, nuclei, 0), there)
    return CellMaps(cells, nuclei)


def _label_cells(bodies: Sequence[Plane], nuclei: LabelMap, radius: float, threshold: float) -> LabelMap:
    """Grow the nuclei over what the stains fill, bright and near first; numbers are those of the nuclei."""
    zoom = min(1.0, _WORKING_RADIUS / radius)
    radius = radius * zoom
    height, width = (max(1, round(side * zoom)) for side in nuclei.shape)
    seeds: LabelMap = cv2.resize(nuclei, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    light: FloatPlane = np.stack([_normalised(plane, height, width) for plane in bodies]).mean(axis=0)
    smooth = blur(light, radius * 0.12)
    otsu = otsu_threshold(smooth)
    background = float(np.percentile(smooth[smooth <= otsu], 20))
    mask = regions.close((smooth > background + threshold * (otsu - background)) | (seeds > 0), radius * 0.2)
    mask = (blur(mask.astype(np.float32), radius * 0.15) > 0.5) | (seeds > 0)
    # Stains fade towards a cell's edge, so that borders are valleys; the distance decides where there is none.
    distance = cv2.distanceTransform((seeds == 0).view(np.uint8), cv2.DIST_L2, 5) if seeds.any() else 0 * light
    hills = blur(light, radius * 0.15) - 0.125 * np.percentile(light, 99) * distance / radius
    cells = regions.share_out(mask, seeds, as_bytes(hills))
    lake = regions.fill_holes(regions.shrink(cells) > 0) & (cells == 0)
    cells = np.where(lake, regions.nearest(cells), cells).astype(np.uint16)
    return regions.enlarge(cells, *nuclei.shape)


def _normalised(plane: Plane, height: int, width: int) -> Float32[np.ndarray, "new_height new_width"]:
    """Square root of the brightness, 1 at the 99th percentile, so that every stain has its say."""
    reduced: np.ndarray = cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    brightest = max(float(np.percentile(reduced, 99)), 1.0)
    return np.sqrt(np.minimum(reduced / brightest, 1.5)).astype(np.float32)
