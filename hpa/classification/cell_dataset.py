"""Samples of single cells from a cache of crops, with the neighbours of a cell shown or hidden."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field

from hpa.arrays import Float32, Integer, PixelBatch, Pixels, Targets
from hpa.cell_cache import CellCache, split_masks
from hpa.classification.augmentation import Augmentation
from hpa.classification.dataset import ImageDataset
from hpa.config import Config
from hpa.images import resize

MASKING_STREAM = 5
"""Keeps the choice of masking apart from other random numbers with the same seed, epoch and index."""


class MaskingConfig(Config):
    """Whether a cell's crop shows its neighbours.

    Attributes:
        neighbours: `masked`: pixels outside the cell are 0; `kept`; or `random`: either while training, masked in
            validation and prediction.
        probability: with `random`, part of the training samples that are masked.
    """

    neighbours: Literal["masked", "kept", "random"] = "masked"
    probability: Annotated[float, Field(ge=0, le=1)] = 0.5

    def is_masked(self, is_training: bool, seed: int, epoch: int, index: int) -> bool:
        """Whether a sample is masked, a pure function of its arguments."""
        if self.neighbours == "random" and is_training:
            return bool(np.random.default_rng([seed, epoch, index, MASKING_STREAM]).random() < self.probability)
        return self.neighbours != "kept"


class CellDataset(ImageDataset):
    """Cells with what is known of them; a sample is a pure function of (seed, epoch, index).

    Args:
        source: the crops.
        rows: which of its cells, in the order of the dataset; None for all.
        targets: a row of labels for each cell of the dataset, hard or soft; None where nothing is known.
        weights: how much each cell counts in the loss; None for 1 each.
        augmentation: changes of training samples, after masking; None for validation and prediction.
        masking: whether neighbours are shown.
        size: side of the samples in pixels; None for that of the cache.
        seed: of masking and augmentation.

    Raises:
        ValueError: rows outside the cache, or targets or weights of another length.
    """

    source: CellCache

    def __init__(
        self,
        source: CellCache,
        rows: Integer[np.ndarray, " items"] | None = None,
        targets: Targets | None = None,
        weights: Float32[np.ndarray, " items"] | None = None,
        augmentation: Augmentation | None = None,
        masking: MaskingConfig | None = None,
        size: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(source, rows, targets, weights, augmentation, size, seed)
        self.masking = masking or MaskingConfig()

    def read(self, image: int, index: int, epoch: int) -> Pixels:
        """A crop without its masks: uint8 (scales × channels, side, side), before it is resized and augmented."""
        masked = self.masking.is_masked(self.augmentation is not None, self.seed, epoch, index)
        pixels: Pixels = split_masks(self.source.read(self.rows[image : image + 1]), self.source.scales, masked)[0]
        return pixels

    def read_batch(self, indices: Integer[np.ndarray, " cells"]) -> PixelBatch:
        """Many cells at once as validation sees them, uint8 (cells, scales × channels, size, size).

        Much faster than one after the other where their rows follow one another.
        """
        masked = self.masking.is_masked(False, self.seed, 0, 0)
        crops = split_masks(self.source.read(self.rows[indices]), self.source.scales, masked)
        if self.size is None or crops.shape[-1] == self.size:
            return crops
        return np.stack([resize(crop, self.size) for crop in crops])

    def key(self, index: int, epoch: int) -> dict[str, Any]:
        """A sample that `collate` turns into a whole batch; for `hpa.training.infer`."""
        return {"index": int(index) % len(self)}

    def collate(self, keys: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The batch of some keys: `images` uint8 (cells, planes, size, size) as in validation, and `index`."""
        indices = np.array([key["index"] for key in keys], np.int64)
        return {"images": torch.from_numpy(self.read_batch(indices)), "index": torch.from_numpy(indices)}
