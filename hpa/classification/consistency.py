"""Consistency of class activation maps: what an image's cells show together, groups of them must show too.

Puzzle-CAM (Jo and Yu 2021, arXiv:2101.11253) with cells in place of tiles: a network that sees only some of an image's
cells must activate in them as it does when it sees all, so that it cannot point at one cell for what its neighbours
show.
"""

from pathlib import Path
from typing import Annotated, NamedTuple, TypeAlias

import numpy as np
import pydantic
import torch
from torch.nn import functional

from hpa.arrays import Float, ImageTensor, Int64, LabelMap, TargetTensor, UInt8
from hpa.classification.activation import Maps
from hpa.classification.losses import Loss
from hpa.config import Config

CODES = 255
"""Cells have numbers from 1 to this in uint8; more cells share numbers, which only puts them into one group."""

CodeMaps: TypeAlias = UInt8[torch.Tensor, "batch height width"]
Groups: TypeAlias = Int64[torch.Tensor, "batch codes"]
Shares: TypeAlias = Float[torch.Tensor, "groups batch height width"]
GroupMaps: TypeAlias = Float[torch.Tensor, "groups batch classes map_height map_width"]


class ConsistencyConfig(Config):
    """Consistency training of an image-level network; a step takes 1 + groups forward passes of a batch.

    Attributes:
        cells: artifact of `segment_cells` for the same images.
        groups: an image's cells are dealt into so many groups at random, newly at each step.
        alpha: factor on the mean absolute difference between the maps of the image and of its groups; 4 in Puzzle-CAM.
        ramp: part of the training during which it rises linearly from 0; half in Puzzle-CAM.
        merged: factor on the classification loss of the groups' merged maps; 1 in Puzzle-CAM.
    """

    cells: Path
    groups: Annotated[int, pydantic.Field(ge=2, le=8)] = 2
    alpha: Annotated[float, pydantic.Field(ge=0)] = 4.0
    ramp: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.5
    merged: Annotated[float, pydantic.Field(ge=0)] = 1.0

    def alpha_at(self, progress: float) -> float:
        """The factor at a part of the training, in [0, 1]."""
        return self.alpha * (min(1.0, progress / self.ramp) if self.ramp else 1.0)


class PartsOfImages(NamedTuple):
    """Images of which only some cells are shown.

    Attributes:
        images: all images with the first group of cells, then all with the second, and so on; elsewhere 0.
        masks: 1 where a group's cells are.
    """

    images: UInt8[torch.Tensor, "parts channels height width"]
    masks: Shares


def cell_codes(cell_map: LabelMap) -> UInt8[np.ndarray, "height width"]:
    """A label map in uint8: cells numbered 1 to 255 in rising order, beginning again after 255.

    >>> cell_codes(np.array([[0, 7], [300, 7]], np.uint16)).tolist()
    [[0, 1], [2, 1]]
    """
    present = np.bincount(cell_map.ravel()) > 0
    present[0] = False
    codes = np.where(present, (np.cumsum(present) - 1) % CODES + 1, 0).astype(np.uint8)
    coded: UInt8[np.ndarray, "height width"] = codes[cell_map]
    return coded


def draw_groups(codes: CodeMaps, groups: int, generator: torch.Generator) -> Groups:
    """Deal each image's cells into groups whose sizes differ by one at most.

    Args:
        codes: on any device.
        groups: how many.
        generator: on the CPU.

    Returns:
        Group of each code from 0 to 255, on the device of the codes; -1 for the background and for codes that an image
        does not have.
    """
    batch = len(codes)
    present = torch.zeros(batch, CODES + 1, dtype=torch.bool, device=codes.device)
    present.scatter_(1, codes.flatten(1).long(), True)
    present[:, 0] = False
    draws = torch.rand(batch, CODES + 1, generator=generator).to(codes.device)
    places = draws.masked_fill(~present, 2.0).argsort(dim=1).argsort(dim=1)
    # A random first group, so that no group is the larger one more often.
    first = torch.randint(groups, (batch, 1), generator=generator).to(codes.device)
    return ((places + first) % groups).masked_fill(~present, -1)


def take_parts(images: ImageTensor, codes: CodeMaps, assignment: Groups, groups: int) -> PartsOfImages:
    """The images once per group, with the pixels of that group's cells alone."""
    group_of_pixel = assignment.gather(1, codes.flatten(1).long()).view(codes.shape)
    masks = torch.stack([group_of_pixel == group for group in range(groups)])
    return PartsOfImages((images * masks[:, :, None]).flatten(0, 1), masks.float())


def merge_maps(maps: GroupMaps, masks: Shares) -> Maps:
    """One map from those of the groups: each place takes the map of the group whose cells are there.

    A place that several groups share, as places of coarse maps do, takes their mean by area; the background takes the
    mean of all.

    Args:
        maps: of the groups.
        masks: of the groups, at any resolution.
    """
    shares = functional.interpolate(masks, maps.shape[3:], mode="area") + 1e-3
    return (maps * (shares / shares.sum(dim=0))[:, :, None]).sum(dim=0)


def consistency_loss(
    loss: Loss,
    whole: Maps,
    parts: GroupMaps,
    masks: Shares,
    bias: Float[torch.Tensor, " classes"] | float,
    targets: TargetTensor,
    weights: Float[torch.Tensor, " batch"] | None,
    config: ConsistencyConfig,
    progress: float,
) -> Float[torch.Tensor, ""]:
    """What consistency adds to the classification loss of the whole images.

    Args:
        loss: of logits.
        whole: class activation maps of the images.
        parts: of their groups of cells.
        masks: of the groups.
        bias: of the classifier's head.
        targets: image labels in [0, 1]; the maps are compared for the classes that an image has.
        weights: of the images; images without cells count 0.
        config: factors.
        progress: part of the training that is done, in [0, 1].
    """
    merged = merge_maps(parts.float(), masks)
    has_cells = masks.flatten(2).any(dim=2).any(dim=0).float()
    counts = has_cells if weights is None else has_cells * weights.to(has_cells)
    of_merged = loss(merged.mean(dim=(2, 3)) + bias, targets, counts)
    difference = (whole.float() - merged).abs().mean(dim=(2, 3)) * targets.to(merged)
    apart = (difference.mean(dim=1) * counts).mean()
    return config.merged * of_merged + config.alpha_at(progress) * apart
