"""What models say about images: probabilities and pooled features by image, of one model or of several."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hpa.arrays import EmbeddingArray, Float, Probabilities


@dataclass(frozen=True)
class Predictions:
    """Answers for images, one row each.

    Attributes:
        image_ids: key of each row, without repetition.
        probabilities: in [0, 1].
        embeddings: pooled features; those of different models have nothing in common.

    Raises:
        ValueError: a key repeats.
    """

    image_ids: tuple[str, ...]
    probabilities: Probabilities
    embeddings: EmbeddingArray

    def __post_init__(self) -> None:
        assert len(self.image_ids) == len(self.probabilities) == len(self.embeddings)
        if len(set(self.image_ids)) < len(self.image_ids):
            raise ValueError("expected every image once, but some repeat")

    def __len__(self) -> int:
        return len(self.image_ids)

    def take(self, image_ids: Sequence[str]) -> "Predictions":
        """The rows of some images, in their order.

        Raises:
            ValueError: there is no prediction for an image.
        """
        rows = {image_id: row for row, image_id in enumerate(self.image_ids)}
        missing = [image_id for image_id in image_ids if image_id not in rows]
        if missing:
            raise ValueError(f"no predictions for {len(missing)} of {len(image_ids)} images, such as {missing[:3]}")
        chosen = np.array([rows[image_id] for image_id in image_ids], np.intp)
        return Predictions(tuple(image_ids), self.probabilities[chosen], self.embeddings[chosen])


def average(members: Sequence[Predictions], weights: Float[np.ndarray, " members"] | None = None) -> Predictions:
    """Mean probabilities of several models on the same images, matched by key.

    The embeddings are those of all models side by side, since the features of different models cannot be averaged.

    Args:
        members: at least one; the first decides the order.
        weights: how much each model counts; None for all alike.

    Raises:
        ValueError: no members, or members on different images or with different classes, or weights that do not fit.
    """
    if not members:
        raise ValueError("expected predictions of at least one model, but got none")
    first = members[0]
    for number, member in enumerate(members):
        if set(member.image_ids) != set(first.image_ids):
            raise ValueError(f"expected the same images from every model, but model {number} has others than model 0")
        if member.probabilities.shape != first.probabilities.shape:
            raise ValueError(
                f"expected {first.probabilities.shape[1]} classes from every model, but model {number} has "
                f"{member.probabilities.shape[1]}"
            )
    if weights is not None and (len(weights) != len(members) or (weights < 0).any() or not weights.sum() > 0):
        raise ValueError(f"expected {len(members)} weights, none negative and not all 0, but got {weights}")
    aligned = [member.take(first.image_ids) for member in members]
    probabilities = np.average([member.probabilities for member in aligned], axis=0, weights=weights)
    embeddings = np.concatenate([member.embeddings for member in aligned], axis=1)
    return Predictions(first.image_ids, probabilities.astype(np.float32), embeddings)


def join(parts: Sequence[Predictions]) -> Predictions:
    """Predictions for different images put together, such as those of the folds on the images that each left out.

    Raises:
        ValueError: no parts, an image in two of them, or different numbers of classes or features.
    """
    if not parts:
        raise ValueError("expected at least one part, but got none")
    widths = {(part.probabilities.shape[1], part.embeddings.shape[1]) for part in parts}
    if len(widths) > 1:
        raise ValueError(f"expected the same numbers of classes and features in all parts, but got {sorted(widths)}")
    return Predictions(
        tuple(image_id for part in parts for image_id in part.image_ids),
        np.concatenate([part.probabilities for part in parts]),
        np.concatenate([part.embeddings for part in parts]),
    )
