"""Crops of cells: squares cut from an image, at the cell's own scale or at a fixed one."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, NamedTuple, TypeAlias

import numpy as np
import pydantic

from hpa.arrays import Bool, LabelMap, Pixels, UInt8, UInt16
from hpa.config import Config
from hpa.images import resize
from hpa.masks import cell_runs

Crop: TypeAlias = UInt8[np.ndarray, "planes size size"]
CropBatch: TypeAlias = UInt8[np.ndarray, "cells planes size size"]

# A map whose size is yet to be compared with that of the image.
_Map: TypeAlias = UInt16[np.ndarray, "map_height map_width"]
_NucleusMap: TypeAlias = UInt16[np.ndarray, "nucleus_map_height nucleus_map_width"]

Box: TypeAlias = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are exclusive."""


class CellScale(Config):
    """The whole cell fills the crop, whatever its size.

    Attributes:
        margin: added on every side of the cell's box, as a part of its longer side.
    """

    kind: Literal["cell"] = "cell"
    margin: float = pydantic.Field(default=0.1, ge=0, le=10)


class FixedScale(Config):
    """Every crop shows as much of the world as any other, so that sizes can be compared.

    Attributes:
        side: of the square that is cut out; 51.2 µm are 640 pixels of 0.08 µm.
        unit: of `side`; `um` needs the image's pixel size.
        centre: of the square: that of the box of the cell, or of its nucleus where it has one.
    """

    kind: Literal["fixed"] = "fixed"
    side: float = pydantic.Field(default=51.2, gt=0)
    unit: Literal["um", "pixels"] = "um"
    centre: Literal["cell", "nucleus"] = "cell"


Scale: TypeAlias = Annotated[CellScale | FixedScale, pydantic.Field(discriminator="kind")]


class CropShape(Config):
    """Which squares are cut out around a cell.

    Attributes:
        scales: one square per scale, stacked as channels. `TWO_SCALES` is the form with 8 channels.
        size: side of the crops, pixels.
    """

    scales: tuple[Scale, ...] = pydantic.Field(default=(CellScale(),), min_length=1)
    size: int = pydantic.Field(default=128, ge=1, le=4096)

    @property
    def needs_nuclei(self) -> bool:
        """Whether a square is centred on the nucleus."""
        return any(scale.kind == "fixed" and scale.centre == "nucleus" for scale in self.scales)

    @property
    def needs_pixel_size(self) -> bool:
        """Whether the side of a square is in µm."""
        return any(scale.kind == "fixed" and scale.unit == "um" for scale in self.scales)


class CropConfig(CropShape):
    """How cells are cut out.

    Attributes:
        neighbours: `kept`; `masked`: pixels outside the cell are 0; or `separate`: kept, and after the channels of each
            scale comes a mask, 255 in the cell and 0 elsewhere.
    """

    neighbours: Literal["kept", "masked", "separate"] = "masked"


TWO_SCALES: tuple[Scale, ...] = (FixedScale(centre="nucleus"), CellScale())
"""Around the nucleus at a fixed scale, then the whole cell: 4 + 4 channels (7th place of the 2021 competition)."""


class Square(NamedTuple):
    """A square of an image in pixels, which may reach beyond the image."""

    left: int
    top: int
    side: int


def crop_cell(
    pixels: Pixels,
    cell_map: _Map,
    cell_id: int,
    config: CropConfig,
    box: Box,
    nucleus_box: Box | None = None,
    pixel_size: float | None = None,
) -> Crop:
    """The crop of one cell.

    Args:
        pixels: of the image.
        cell_map: of the same size.
        cell_id: the cell's value in the map.
        config: how to cut.
        box: of the cell, as `hpa.masks.cell_runs` gives it.
        nucleus_box: of its nucleus; None where it has none.
        pixel_size: µm of one pixel.

    Returns:
        (scales × channels, size, size), with separate masks (scales × (channels + 1), size, size); 0 beyond the image.

    Raises:
        ValueError: image and map differ in size, the box is no box, or a scale in µm without a pixel size.
    """
    _check_sizes(pixels, cell_map)
    parts = []
    for scale in config.scales:
        square = place_square(box, scale, nucleus_box, pixel_size)
        part = _cut(pixels, square)
        match config.neighbours:
            case "kept":
                parts += [resize(part, config.size)]
            case "masked":
                parts += [resize(part * _inside(cell_map, square, cell_id), config.size)]
            case "separate":
                mask = _resize_mask(_inside(cell_map, square, cell_id), config.size)
                parts += [resize(part, config.size), mask]
    return np.concatenate(parts)


def crop_cells(
    pixels: Pixels,
    cell_map: _Map,
    config: CropConfig,
    cell_ids: Sequence[int] | None = None,
    nucleus_map: _NucleusMap | None = None,
    pixel_size: float | None = None,
) -> CropBatch:
    """The crops of one image's cells.

    Args:
        pixels: of the image.
        cell_map: of the same size.
        config: how to cut.
        cell_ids: which cells, in which order; None for all in rising order.
        nucleus_map: with the same numbers; needed where a scale is centred on the nucleus.
        pixel_size: µm of one pixel; needed where a scale is in µm.

    Returns:
        (cells, planes, size, size), in the order of `cell_ids`, each as `crop_cell` cuts it.

    Raises:
        ValueError: a cell is not in the map, something needed is missing, or sizes differ.
    """
    _check_sizes(pixels, cell_map)
    boxes = _boxes(cell_map)
    nuclei: Mapping[int, Box] = {}
    if config.needs_nuclei:
        if nucleus_map is None:
            raise ValueError("crops centred on the nucleus need the label map of the nuclei, but got none")
        _check_sizes(pixels, nucleus_map)
        nuclei = _boxes(nucleus_map)
    wanted = list(boxes) if cell_ids is None else [int(cell_id) for cell_id in cell_ids]
    missing = [cell_id for cell_id in wanted if cell_id not in boxes]
    if missing:
        raise ValueError(f"expected cells of the label map, but it has no {missing[:5]}")
    planes = len(pixels) + (config.neighbours == "separate")
    crops = np.empty((len(wanted), len(config.scales) * planes, config.size, config.size), np.uint8)
    for row, cell_id in enumerate(wanted):
        crops[row] = crop_cell(pixels, cell_map, cell_id, config, boxes[cell_id], nuclei.get(cell_id), pixel_size)
    return crops


def place_square(box: Box, scale: Scale, nucleus_box: Box | None = None, pixel_size: float | None = None) -> Square:
    """Which square of the image a crop shows.

    Raises:
        ValueError: the box is no box, or a scale in µm without a pixel size.

    >>> place_square((10, 20, 30, 60), CellScale(margin=0.25))
    Square(left=-10, top=10, side=60)
    """
    for name, (left, top, right, bottom) in (("cell", box), ("nucleus", nucleus_box or box)):
        if not (0 <= left < right and 0 <= top < bottom):
            raise ValueError(
                f"expected the {name}'s box as left, top, right, bottom, but got {(left, top, right, bottom)}"
            )
    match scale:
        case CellScale():
            centre = box
            longer = max(box[2] - box[0], box[3] - box[1])
            side = round(longer * (1 + 2 * scale.margin))
        case FixedScale():
            centre = nucleus_box if nucleus_box and scale.centre == "nucleus" else box
            if scale.unit == "um" and (pixel_size is None or pixel_size <= 0):
                raise ValueError(f"a crop of {scale.side} µm needs the image's pixel size in µm, but got {pixel_size}")
            side = max(1, round(scale.side / pixel_size if scale.unit == "um" and pixel_size else scale.side))
    left, top, right, bottom = centre
    return Square((left + right - side) // 2, (top + bottom - side) // 2, side)


def _boxes(label_map: LabelMap) -> dict[int, Box]:
    runs = cell_runs(label_map)
    return {
        cell_id: (left, top, right, bottom)
        for cell_id, (left, top, right, bottom) in zip(runs.cell_ids.tolist(), runs.boxes.tolist(), strict=True)
    }


def _inside(label_map: _Map, square: Square, cell_id: int) -> Bool[np.ndarray, "1 side side"]:
    return np.asarray(_cut(label_map[None], square) == cell_id)


def _resize_mask(inside: Bool[np.ndarray, "1 side side"], size: int) -> UInt8[np.ndarray, "1 size size"]:
    """A mask of another size: what is at least half in the cell, or of a cell too small for that what is most."""
    shares = resize(inside.astype(np.uint8) * 255, size)
    return np.where(shares >= np.clip(shares.max(), 1, 128), 255, 0).astype(np.uint8)


def _cut(planes: np.ndarray, square: Square) -> np.ndarray:
    """A square of (planes, height, width), 0 beyond the image."""
    height, width = planes.shape[1:]
    left, top, side = square
    result = np.zeros((len(planes), side, side), planes.dtype)
    row, column = max(top, 0), max(left, 0)
    bottom, right = min(top + side, height), min(left + side, width)
    if row < bottom and column < right:
        result[:, row - top : bottom - top, column - left : right - left] = planes[:, row:bottom, column:right]
    return result


def _check_sizes(pixels: Pixels, label_map: _Map) -> None:
    if pixels.shape[1:] != label_map.shape:
        raise ValueError(
            f"expected a label map of the image's height and width {pixels.shape[1:]}, but it has {label_map.shape}"
        )
