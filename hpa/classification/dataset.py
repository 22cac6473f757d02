"""Training samples: pixels from the cache with their labels, weights and augmentation."""

from typing import Any, Protocol, runtime_checkable

import numpy as np

from hpa.arrays import Float32, Integer, PixelBatch, Pixels, Targets
from hpa.classification.augmentation import Augmentation
from hpa.images import resize

AUGMENTATION_STREAM = 2
"""Keeps augmentation's random numbers apart from those of other parts with the same seed, epoch and index."""


@runtime_checkable
class PixelSource(Protocol):
    """Anything that holds images of one size, such as `hpa.cache.PixelCache`."""

    @property
    def pixels(self) -> PixelBatch:
        """All images, in memory or mapped from a file."""


class ImageDataset:
    """Images with what is known of them; a sample is a pure function of (seed, epoch, index).

    It can be pickled where the source can, and serves one thread per process.

    Args:
        source: where the pixels are.
        rows: which of its images, in the order of the dataset; None for all.
        targets: a row of labels for each image of the dataset, hard or soft; None where nothing is known.
        weights: how much each image counts in the loss; None for 1 each.
        augmentation: changes of training images; None for validation and prediction.
        size: side of the samples in pixels; None for that of the source.
        seed: of augmentation.

    Raises:
        ValueError: rows outside the source, or targets or weights of another length.
    """

    def __init__(
        self,
        source: PixelSource,
        rows: Integer[np.ndarray, " items"] | None = None,
        targets: Targets | None = None,
        weights: Float32[np.ndarray, " items"] | None = None,
        augmentation: Augmentation | None = None,
        size: int | None = None,
        seed: int = 0,
    ) -> None:
        count = len(source.pixels)
        self.rows = np.arange(count) if rows is None else np.asarray(rows)
        if len(self.rows) and not 0 <= self.rows.min() <= self.rows.max() < count:
            raise ValueError(f"expected rows from 0 to {count - 1}, but got {self.rows.min()} to {self.rows.max()}")
        for name, values in (("targets", targets), ("weights", weights)):
            if values is not None and len(values) != len(self.rows):
                raise ValueError(f"expected {name} for {len(self.rows)} images, but got {len(values)}")
        self.source = source
        self.targets = targets
        self.weights = weights
        self.augmentation = augmentation
        self.size = size
        self.seed = seed

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, index: int, epoch: int = 0) -> dict[str, Any]:
        """One sample.

        Args:
            index: of the image; index + k * len(self) is the same image in its k-th repetition (`sampling.order`),
                changed by other random numbers.
            epoch: counted from 0.

        Returns:
            `images` uint8 (channels, size, size); `index` of the image in the dataset; where known `targets` float32
            (classes,); `weights` float32.
        """
        image = int(index) % len(self)
        pixels = self.read(image, int(index), epoch)
        if self.size is not None and pixels.shape[1:] != (self.size, self.size):
            pixels = resize(pixels, self.size)
        if self.augmentation is None:
            pixels = np.array(pixels)  # a copy that may be written to, where the source is mapped read-only
        else:
            generator = np.random.default_rng([self.seed, epoch, int(index), AUGMENTATION_STREAM])
            pixels = self.augmentation(pixels, generator)
        return {"images": pixels, "index": image} | self.labels(image)

    def read(self, image: int, index: int, epoch: int) -> Pixels:
        """An image of the dataset before it is resized and augmented; `index` and `epoch` as in `sample`."""
        return np.asarray(self.source.pixels[self.rows[image]])

    def labels(self, image: int) -> dict[str, Any]:
        """What is known of an image: `targets` and `weights`, or nothing."""
        if self.targets is None:
            return {}
        weight = np.float32(1) if self.weights is None else self.weights[image]
        return {"targets": self.targets[image], "weights": weight}
