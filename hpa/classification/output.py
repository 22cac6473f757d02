"""Output activations other than sigmoid and softmax, which people have tried: ReLU and hyperbolic tangent.

They are kept to be compared with, not to be used: see `as_logits` for why they fail.
"""

from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name

from hpa.arrays import LogitTensor

Output: TypeAlias = Literal["usual", "relu", "tanh"]
"""What turns the head's numbers into probabilities; `usual` is sigmoid, or softmax where an image has one class."""

LEAST = 1e-7
"""How near a probability may come to 0 and 1: Keras' `backend.epsilon()`, at which its cross-entropies clip."""


def as_logits(raw: LogitTensor, output: Output, multi_label: bool) -> LogitTensor:
    """Logits whose sigmoid (or softmax) is the activation of the head's numbers, clipped to [1e-7, 1 - 1e-7].

    Losses and everything else that reads logits or probabilities then need not know of the activation. Cross-entropy
    of these logits is Keras' cross-entropy of a layer with `activation="relu"` (or tanh) and `from_logits=False`
    (keras/src/backend/torch/nn.py: `binary_crossentropy` clips; `categorical_crossentropy` divides by the sum over the
    classes, too, which the softmax does here). So is its gradient: none where the activation is clipped. A class whose
    number is below 0 for every image (or above 1, for ReLU) therefore never learns again, which is how these
    activations fail.

    Args:
        raw: what the head gives.
        output: `usual` gives the same tensor back.
        multi_label: whether probabilities are independent.

    >>> as_logits(torch.tensor([[0.25, -3.0]]), "relu", multi_label=True).sigmoid().round(decimals=3).tolist()
    [[0.25, 0.0]]
    >>> as_logits(torch.tensor([[0.5, 1.5]]), "relu", multi_label=False).softmax(dim=1).round(decimals=3).tolist()
    [[0.25, 0.75]]
    """
    if output == "usual":
        return raw
    values = raw if raw.dtype == torch.float64 else raw.float()
    values = F.relu(values) if output == "relu" else torch.tanh(values)
    if multi_label:
        return torch.logit(values.clamp(LEAST, 1 - LEAST))
    return values.clamp(min=LEAST).log()
