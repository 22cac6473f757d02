"""Bags of cells: some of an image's cells, drawn anew whenever the image is read."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from hpa.arrays import Float32, Int64, Integer, Targets

BAG_STREAM = 4
"""Keeps the choice of cells apart from other random numbers with the same seed, epoch and index."""


@runtime_checkable
class CellSource(Protocol):
    """Samples of single cells, such as `hpa.classification.CellDataset`."""

    def __len__(self) -> int: ...

    def sample(self, index: int, epoch: int = 0) -> dict[str, Any]:
        """`images` uint8 (channels, size, size) of a cell; index + k × len(self) is its k-th repetition."""


class BagDataset:
    """Images as bags of their cells, with the images' labels; a sample is a pure function of (seed, epoch, index).

    It can be pickled where the source can.

    Args:
        cells: single cells, augmented or not.
        bags: for each image the numbers of its cells in `cells`; at least one.
        targets: a row of labels for each image.
        places: most cells of a bag.
        weights: how much each image counts in the loss; None for 1 each.
        seed: of the choice of cells, for training; None takes cells evenly spread over each image's, always the same,
            for validation.

    Raises:
        ValueError: a bag without cells or with cells that the source does not have, or targets or weights of another
            length.
    """

    def __init__(
        self,
        cells: CellSource,
        bags: Sequence[Integer[np.ndarray, " _"]],
        targets: Targets,
        places: int,
        weights: Float32[np.ndarray, " weighed"] | None = None,
        seed: int | None = None,
    ) -> None:
        for name, values in (("targets", targets), ("weights", weights)):
            if values is not None and len(values) != len(bags):
                raise ValueError(f"expected {name} for {len(bags)} bags, but got {len(values)}")
        if places < 1:
            raise ValueError(f"expected at least one cell in a bag, but got {places}")
        counts = np.array([len(bag) for bag in bags], np.int64)
        if (counts == 0).any():
            raise ValueError(
                f"expected at least one cell in every bag, but bag {int(counts.argmin())} has none; leave such images "
                "out"
            )
        # One array instead of one per image: cheap to send to workers.
        self._numbers = np.concatenate([np.zeros(0, np.int64), *(np.asarray(bag, np.int64) for bag in bags)])
        self._starts = np.concatenate([[0], counts.cumsum()])
        if len(self._numbers) and not 0 <= self._numbers.min() <= self._numbers.max() < len(cells):
            raise ValueError(
                f"expected cells from 0 to {len(cells) - 1}, but got {self._numbers.min()} to {self._numbers.max()}"
            )
        self.cells = cells
        self.targets = targets
        self.places = places
        self.weights = weights
        self.seed = seed

    def __len__(self) -> int:
        return len(self.targets)

    def chosen(self, index: int, epoch: int = 0) -> Int64[np.ndarray, " chosen"]:
        """Numbers of the cells that a sample holds, rising: all of an image's, or `places` of them."""
        bag = int(index) % len(self)
        numbers = self._numbers[self._starts[bag] : self._starts[bag + 1]]
        if len(numbers) <= self.places:
            return numbers
        if self.seed is None:
            return numbers[(np.arange(self.places) * len(numbers)) // self.places]
        generator = np.random.default_rng([self.seed, epoch, int(index), BAG_STREAM])
        picked = generator.choice(len(numbers), self.places, replace=False, shuffle=False)
        return numbers[np.sort(picked)]

    def sample(self, index: int, epoch: int = 0) -> dict[str, Any]:
        """One bag.

        Args:
            index: of the image; index + k * len(self) is its k-th repetition (`sampling.order`): other cells, changed
                by other random numbers.
            epoch: counted from 0.

        Returns:
            `images` uint8 (places, channels, size, size), 0 where there is no cell; `present` bool (places,);
            `index` of the image in the dataset; `targets` float32 (classes,); `weights` float32.
        """
        repetition, bag = divmod(int(index), len(self))
        numbers = self.chosen(index, epoch)
        images: np.ndarray | None = None
        for place, number in enumerate(numbers.tolist()):
            pixels = self.cells.sample(number + repetition * len(self.cells), epoch)["images"]
            if images is None:
                images = np.zeros((self.places, *pixels.shape), np.uint8)
            images[place] = pixels
        assert images is not None
        return {
            "images": images,
            "present": np.arange(self.places) < len(numbers),
            "index": bag,
            "targets": self.targets[bag],
            "weights": np.float32(1) if self.weights is None else self.weights[bag],
        }
