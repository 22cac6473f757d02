"""From a network's probability maps to numbered nuclei and cells: the label rules of hpacellseg, at any scale.

The rules and constants are those of the HPA Cell Segmentation toolbox (CellProfiling/HPA-Cell-Segmentation,
Apache-2.0, `label_cell`), written anew: watersheds run only where two nuclei share a region, the border between cells
is shared out by distance, and every size follows the pixel size.
"""

import math
from typing import Annotated, Literal, NamedTuple

import cv2
import numpy as np
import pydantic

from hpa.arrays import LabelMap, Mask, Plane, UInt8
from hpa.config import Config
from hpa.segmentation import regions
from hpa.segmentation.maps import BORDER, OBJECT, CellMaps, ProbabilityMaps

PIXEL_SIZE = 0.08
"""µm per pixel of the images that the sizes below are given for: 2048² fields of the Human Protein Atlas."""

_FLOOD_PIXEL = 0.32
"""µm: the networks see images at a quarter of 0.08 µm per pixel, so that floods on finer pixels gain nothing."""

Probability = Annotated[float, pydantic.Field(ge=0, le=1)]
Size = Annotated[float, pydantic.Field(ge=0)]


class PostprocessingConfig(Config):
    """How probability maps become cells. Sizes are pixels of 0.08 µm and scaled to the image's.

    Attributes:
        nucleus_threshold: nuclei are where the nucleus probability is above this.
        seed_threshold: a nucleus is seeded where its probability is above this and ...
        seed_border: ... the borders of nuclei and cells together are below this.
        min_seed_area: smaller seeds are dropped.
        min_nucleus_area: smaller nuclei are dropped.
        cell_threshold: cells are where the cell probability is above this or ...
        otsu_share: ... this part of Otsu's threshold, if that is higher, and ...
        border_threshold: ... the border probability is not above this; the border is shared out afterwards.
        min_cell_area: smaller cells are dropped.
        closing_radius: notches and gaps up to twice this width are closed.
        cells_without_nucleus: `drop`, or `keep` as cells with numbers and no nucleus.
        mode: `full` works at the image's size, `fast` at `fast_scale` times it.
        fast_scale: 0.25 is what the networks see.
    """

    nucleus_threshold: Probability = 0.4
    seed_threshold: Probability = 0.15
    seed_border: Probability = 0.95
    min_seed_area: Size = 500
    min_nucleus_area: Size = 2500
    cell_threshold: Probability = 0.22
    otsu_share: Probability = 0.5
    border_threshold: Probability = 0.05
    min_cell_area: Size = 5500
    closing_radius: Size = 6
    cells_without_nucleus: Literal["drop", "keep"] = "drop"
    mode: Literal["full", "fast"] = "full"
    fast_scale: Annotated[float, pydantic.Field(gt=0, le=1)] = 0.25


class _Planes(NamedTuple):
    """What the rules read of three probability planes, at the working size."""

    border: Plane
    object: Plane


def label_cells(
    maps: ProbabilityMaps, config: PostprocessingConfig | None = None, pixel_size: float = PIXEL_SIZE
) -> CellMaps:
    """Number the cells and nuclei of an image.

    Args:
        maps: of any resolution; without cells, every nucleus is its own cell.
        config: thresholds and sizes; None for hpacellseg's.
        pixel_size: µm per pixel of the image (not of the maps).

    Returns:
        Label maps of the image's size. Cells of a network that knows cells do not touch: two pixels between them are
        background, as in hpacellseg's.

    Raises:
        ValueError: the pixel size is not positive, or the maps hold more than 65535 cells.
    """
    if not pixel_size > 0:
        raise ValueError(f"expected a pixel size above 0 µm, but got {pixel_size}")
    config = config or PostprocessingConfig()
    scale = config.fast_scale if config.mode == "fast" else 1.0
    height, width = max(1, round(maps.height * scale)), max(1, round(maps.width * scale))
    # Pixels of the working size per pixel of PIXEL_SIZE, by the geometric mean of the two sides.
    zoom = float(np.sqrt(height * width / (maps.height * maps.width))) * PIXEL_SIZE / pixel_size
    nuclei_planes = _resize(maps.nuclei, height, width)
    cell_planes = None if maps.cells is None else _resize(maps.cells, height, width)
    nuclei = _label_nuclei(nuclei_planes, cell_planes, config, zoom)
    if cell_planes is None:
        labels = regions.enlarge(nuclei, maps.height, maps.width)
        return CellMaps(labels, labels)
    cells = _label_cells(cell_planes, nuclei, config, zoom)
    inside = regions.components((nuclei > 0) & (cells > 0), config.min_nucleus_area * zoom**2, connectivity=8) > 0
    if config.cells_without_nucleus == "drop":
        cells = regions.keep(cells, regions.present(cells, inside))
    return _at_full_size(cells, inside, maps)


def _label_nuclei(nuclei: _Planes, cells: _Planes | None, config: PostprocessingConfig, zoom: float) -> LabelMap:
    """Nuclei, numbered from 1: the mask of nuclei shared out to seeds, which lie where borders are improbable."""
    borders = nuclei.border if cells is None else cv2.add(nuclei.border, cells.border)
    # Probabilities are whole numbers up to 255, so comparing with a rounded threshold is exact, and quick.
    is_seed = (nuclei.object > int(config.seed_threshold * 255)) & (borders < math.ceil(config.seed_border * 255))
    seeds = regions.components(is_seed, config.min_seed_area * zoom**2)
    mask = nuclei.object > int(config.nucleus_threshold * 255)
    shared = regions.share_out(mask, seeds, np.zeros_like(nuclei.object))
    return regions.keep(shared, regions.region_areas(shared) >= config.min_nucleus_area * zoom**2)


def _label_cells(planes: _Planes, nuclei: LabelMap, config: PostprocessingConfig, zoom: float) -> LabelMap:
    """Cells, numbered from 1, none touching another."""
    otsu, _ = cv2.threshold(planes.object, 0, 255, cv2.THRESH_OTSU)
    threshold = int(max(config.cell_threshold * 255, config.otsu_share * otsu))
    is_border = planes.border > int(config.border_threshold * 255)
    mask = (planes.object > threshold) & ~is_border
    min_area = config.min_cell_area * zoom**2
    step = max(1, round(_FLOOD_PIXEL / PIXEL_SIZE * zoom))
    cells = regions.share_out(mask, nuclei, np.maximum(planes.object, np.uint8(threshold)), step)
    if config.cells_without_nucleus == "keep":
        without = regions.components(mask & (cells == 0), min_area).astype(np.int32)
        cells = np.where(without > 0, without + int(cells.max()), cells)
    cells = regions.keep(cells, regions.region_areas(cells) >= min_area)
    covered = regions.close(cells > 0, config.closing_radius * zoom) | is_border
    parts = regions.connected(covered)
    covered = np.take(regions.present(parts, cells > 0), parts)  # border that no cell touches belongs to none
    owners = regions.nearest(regions.shrink(cells), apart=True)
    extended = regions.shrink(np.where(covered, owners, 0).astype(np.uint16))
    return regions.components(regions.fill_holes(extended > 0), min_area)


def _at_full_size(cells: LabelMap, nuclei: Mask, maps: ProbabilityMaps) -> CellMaps:
    """Label maps of the image's size from labels of the working size."""
    if cells.shape != (maps.height, maps.width):
        # Back over the gaps, which would be many pixels wide; they are made anew at full size.
        grown = cv2.dilate(cells, np.ones((3, 3), np.uint8))
        cells = np.where(cells > 0, cells, grown)
        cells = regions.shrink(regions.enlarge(cells, maps.height, maps.width))
        nuclei = _scale(nuclei * np.uint8(255), maps.height, maps.width) > 127
    return CellMaps(cells, np.where(nuclei, cells, 0).astype(np.uint16))


def _resize(planes: UInt8[np.ndarray, "3 map_height map_width"], height: int, width: int) -> _Planes:
    return _Planes(_scale(planes[BORDER], height, width), _scale(planes[OBJECT], height, width))


def _scale(plane: Plane, height: int, width: int) -> UInt8[np.ndarray, "new_height new_width"]:
    """Average over areas where it shrinks, interpolate where it grows."""
    if plane.shape == (height, width):
        return np.ascontiguousarray(plane)
    shrinks = height * width < plane.size
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    resized: np.ndarray = cv2.resize(np.ascontiguousarray(plane), (width, height), interpolation=method)
    return resized
