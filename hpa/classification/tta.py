"""Test-time augmentation: the same image in several orientations, the answers averaged."""

import torch

from hpa.arrays import ImageTensor
from hpa.classification.model import ImageClassifier

VIEWS = (1, 2, 4, 8)
"""How many orientations an answer may average: the image; its mirror image; both upside down; all four transposed."""


def view(images: ImageTensor, number: int) -> ImageTensor:
    """Images in one of their eight orientations; 0 is as they are, 1 to 3 flip, 4 to 7 transpose before they flip.

    Raises:
        ValueError: no such orientation.
    """
    if not 0 <= number < 8:
        raise ValueError(f"expected an orientation from 0 to 7, but got {number}")
    if number >= 4:
        images = images.transpose(2, 3)
    axes = ((), (3,), (2,), (2, 3))[number % 4]
    return images.flip(axes) if axes else images


def predict_batch(model: ImageClassifier, images: ImageTensor, views: int = 1) -> dict[str, torch.Tensor]:
    """`probabilities` (batch, classes) and `embeddings` (batch, features), float32, averaged over orientations.

    The model is used as it is: call it in evaluation mode, without gradients, and in the precision that is wanted.

    Args:
        model: the classifier.
        images: uint8 batch.
        views: 1, 2, 4 or 8 orientations.

    Raises:
        ValueError: another number of views.
    """
    if views not in VIEWS:
        raise ValueError(f"expected {', '.join(map(str, VIEWS))} views, but got {views}")
    probabilities, embeddings = [], []
    for number in range(views):
        pooled = model.embeddings(view(images, number))
        probabilities.append(model.probabilities(model.logits(pooled)))
        embeddings.append(pooled.float())
    return {
        "probabilities": torch.stack(probabilities).mean(dim=0),
        "embeddings": torch.stack(embeddings).mean(dim=0),
    }
