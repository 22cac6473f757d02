"""A network as perturbation methods see it: images of one field in, a number for each explained class out."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import nn

from hpa.arrays import Int64, Integer
from hpa.explain.perturbation_config import Output

Score: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""From images (batch, channels, height, width) in [0, 255] to what is explained: (batch, classes)."""


def chosen_classes(classes: Integer[torch.Tensor, "..."], images: int) -> Integer[torch.Tensor, "images chosen"]:
    """Class numbers as a table, one row per image.

    Args:
        classes: one per image, or as many for each as are to be explained.
        images: how many there are.

    Raises:
        ValueError: another shape.
    """
    table = classes[:, None] if classes.ndim == 1 else classes
    if table.ndim != 2 or len(table) != images:
        raise ValueError(
            f"expected class numbers (images,) or (images, classes) for {images} images, but got {tuple(classes.shape)}"
        )
    return table


def check_classes(numbers: Integer[torch.Tensor, "..."], outputs: int) -> None:
    """Refuse classes that the network does not have.

    Raises:
        ValueError: a number outside [0, outputs).
    """
    wrong = [number for number in numbers.flatten().tolist() if not 0 <= number < outputs]
    if wrong:
        raise ValueError(f"expected class numbers from 0 to {outputs - 1}, as the network has, but got {wrong}")


def build_score(model: nn.Module, output: Output, classes: Int64[torch.Tensor, " classes"]) -> Score:
    """The network's answers for some classes, in their order.

    Args:
        model: gives logits.
        output: logits, or the probabilities that the network makes of them by its `probabilities`.
        classes: class numbers.

    Raises:
        ValueError: probabilities are wanted of a network that does not say how its logits become such; when called,
            a class that the network does not have.
    """
    probabilities = getattr(model, "probabilities", None)
    if output == "probability" and not callable(probabilities):
        raise ValueError(
            f"{type(model).__name__} has no `probabilities`, which would turn its logits into them by a sigmoid or a "
            "softmax; explain its logits (output=logit), or give an image classifier"
        )

    def score(images: torch.Tensor) -> torch.Tensor:
        answers: torch.Tensor = model(images)
        if output == "probability" and callable(probabilities):
            answers = probabilities(answers)
        check_classes(classes, answers.shape[1])
        return answers[:, classes]

    return score
