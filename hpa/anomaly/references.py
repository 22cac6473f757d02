"""What an image is compared with: the other images of its classes, or all where a class has too few."""

from dataclasses import dataclass

import numpy as np

from hpa.arrays import Bool, Float, Int64, Targets

ALL = "all"
"""Name of the reference that holds every image."""


@dataclass(frozen=True)
class References:
    """Sets of images to compare with: one per class, and all of them last.

    Attributes:
        names: of the sets.
        members: (images, sets), which images make up each set.
        applies: (images, sets), with which sets an image is compared: those of its classes that have enough members,
            or all images where none has. At least one for every image.
    """

    names: tuple[str, ...]
    members: Bool[np.ndarray, "images sets"]
    applies: Bool[np.ndarray, "images sets"]

    def best(
        self, distances: Float[np.ndarray, "images sets"]
    ) -> tuple[Float[np.ndarray, " images"], Int64[np.ndarray, " images"]]:
        """The least distance of every image to a set that applies to it, and the set; NaN, and the first set, if none.

        An image of several classes is so judged by the one that it fits best.

        Args:
            distances: of every image to every set, NaN where unknown.
        """
        allowed = np.where(self.applies & ~np.isnan(distances), distances, np.inf)
        chosen = allowed.argmin(axis=1)
        least = allowed[np.arange(len(allowed)), chosen]
        return np.where(np.isinf(least), np.nan, least), chosen.astype(np.int64)


def references(targets: Targets | None, names: tuple[str, ...], images: int, least: int) -> References:
    """Sort images into the sets of their classes.

    Args:
        targets: (images, classes), at least 0.5 where an image has the class; None where there are no labels.
        names: of the classes.
        images: how many.
        least: members that a class needs to be compared with.

    Raises:
        ValueError: the targets have another shape.

    >>> found = references(np.array([[1, 0], [1, 0], [0, 1]], np.float32), ("a", "b"), 3, least=2)
    >>> found.names, found.applies.astype(int).tolist()
    (('a', 'b', 'all'), [[1, 0, 0], [1, 0, 0], [0, 0, 1]])
    """
    if targets is None:
        everything = np.ones((images, 1), bool)
        return References((ALL,), everything, everything)
    if targets.shape != (images, len(names)):
        raise ValueError(f"expected targets of shape {(images, len(names))}, but got {targets.shape}")
    has = targets >= 0.5
    is_large = has.sum(axis=0) >= least
    members = np.concatenate([has, np.ones((images, 1), bool)], axis=1)
    fallback = ~(has & is_large).any(axis=1)
    applies = np.concatenate([has & is_large, fallback[:, None]], axis=1)
    return References((*names, ALL), members, applies)
