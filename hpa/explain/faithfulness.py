"""Does the answer follow the map? Insertion and deletion curves.

Petsiuk, Das and Saenko, "RISE: Randomized input sampling for explanation of black-box models", BMVC 2018
(arXiv:1806.07421), section 4.1: pixels are removed in falling order of a map (deletion: a good map makes the
probability fall at once, a small area under the curve), or put back into an image without structure (insertion: a good
map makes it rise at once, a large area).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import numpy as np
import pydantic
import torch

from hpa.arrays import Bool, Float32, Float64, Int64
from hpa.config import Config
from hpa.explain.evidence import OtherPlanes, coarsen, descending_ranks
from hpa.explain.replacement import Images, Replacement, replaced

Answers: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""Maps float images (batch, channels, height, width) in [0, 255] to probabilities (batch, classes)."""


class FaithfulnessConfig(Config):
    """Insertion and deletion.

    Attributes:
        steps: points of a curve beside its start; each removes the same number of pixels.
        square: pixels are removed in squares of this side. 1 is the paper's; larger ones keep a network from answering
            to the noise of scattered single pixels, and compare maps of different resolution fairly.
        deletion: what stands where pixels are removed; black in the paper.
        insertion: what an image is before its pixels are put back; blurred in the paper.
        blur: standard deviation of the blur, as a part of the image's longer side.
        seed: of the order of places that a map holds for equal.
    """

    steps: Annotated[int, pydantic.Field(ge=2, le=500)] = 20
    square: Annotated[int, pydantic.Field(ge=1, le=256)] = 8
    deletion: Replacement = "black"
    insertion: Replacement = "blurred"
    blur: Annotated[float, pydantic.Field(gt=0, le=0.5)] = 0.05
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Curves:
    """Probability of the explained class while pixels are removed, or put back.

    Attributes:
        parts: of the pixels, 0 to 1.
        deletion: probability with this part removed.
        insertion: probability with this part put back.
    """

    parts: Float64[np.ndarray, " points"]
    deletion: Float32[np.ndarray, "items points"]
    insertion: Float32[np.ndarray, "items points"]

    @property
    def deletion_area(self) -> Float64[np.ndarray, " items"]:
        """Area under each deletion curve, 0 to 1; smaller is better."""
        return np.asarray(np.trapezoid(self.deletion.astype(np.float64), self.parts, axis=1))

    @property
    def insertion_area(self) -> Float64[np.ndarray, " items"]:
        """Area under each insertion curve, 0 to 1; larger is better."""
        return np.asarray(np.trapezoid(self.insertion.astype(np.float64), self.parts, axis=1))


@torch.no_grad()
def faithfulness(
    answers: Answers,
    images: Images,
    classes: Sequence[int],
    planes: OtherPlanes,
    config: FaithfulnessConfig,
    batch_size: int = 32,
) -> Curves:
    """Insertion and deletion curves of each image by its map.

    Args:
        answers: gives the probabilities.
        images: in [0, 255].
        classes: the explained class of each image.
        planes: evidence at each pixel (`hpa.explain.evidence`).
        config: how.
        batch_size: images of one call of `answers`.

    Raises:
        ValueError: images, classes and planes differ in number or size, or a plane is not finite.
    """
    if len(classes) != len(images) or planes.shape != (len(images), *images.shape[2:]):
        raise ValueError(
            f"expected one class and one map of the image's size for each of {tuple(images.shape)}, but got "
            f"{len(classes)} classes and maps {planes.shape}"
        )
    if not np.isfinite(planes).all():
        raise ValueError("expected finite maps, but one holds a value that is not; look at the method that made it")
    ranks = descending_ranks(coarsen(planes, config.square), config.seed)
    squares = ranks[0].size if len(ranks) else 0
    removed = np.round(np.linspace(0, squares, config.steps + 1)).astype(np.int64)
    deletion = np.empty((len(images), len(removed)), np.float32)
    insertion = np.empty_like(deletion)
    for item, (number, own) in enumerate(zip(classes, ranks, strict=True)):
        masks = torch.from_numpy(_masks(own, removed, config.square, planes.shape[1:])).to(images.device)[:, None]
        image = images[item : item + 1]
        black, blurred = (replaced(image, kind, config.blur) for kind in (config.deletion, config.insertion))
        for curve, inside, outside in ((deletion, black, image), (insertion, image, blurred)):
            for start in range(0, len(removed), batch_size):
                part = masks[start : start + batch_size]
                found = answers(torch.where(part, inside, outside))[:, number]
                curve[item, start : start + batch_size] = found.float().cpu().numpy()
    return Curves(np.linspace(0, 1, config.steps + 1), deletion, insertion)


def _masks(
    ranks: Int64[np.ndarray, "rows columns"],
    removed: Int64[np.ndarray, " points"],
    side: int,
    shape: tuple[int, ...],
) -> Bool[np.ndarray, "points height width"]:
    """Which pixels each point of a curve has removed."""
    fine = ranks.repeat(side, axis=0).repeat(side, axis=1)[: shape[0], : shape[1]]
    return fine[None] < removed[:, None, None]
