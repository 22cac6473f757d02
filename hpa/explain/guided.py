"""Guided backpropagation, for every activation whose output is positive exactly where its input is.

Springenberg, Dosovitskiy, Brox and Riedmiller, "Striving for simplicity: the all convolutional net" (2014), arXiv
1412.6806, define it for ReLU: on the way back through y = max(x, 0), a gradient g passes as g · 1[x > 0] · 1[g > 0],
that is through units that are active and by gradients that speak for the class.

For activations that are not piecewise linear the paper says nothing. The definition here is the same sentence: through
y = f(x), a gradient passes as

    f'(x) · g · 1[x > 0] · 1[g > 0].

It is the paper's for ReLU, where f' = 1 on active units. For the others, active means a positive output, which they
have exactly where x > 0; the negative lobes of SiLU, GELU, Hardswish and Mish and the negative sides of ELU and
LeakyReLU count as inactive, as ReLU's zeros do. Where x > 0 none of them has f' < 0, so no gate turns a sign. What
multiplies (sigmoids of squeeze-and-excitation, the softmax of attention) is no activation and stays as it is.

The rule is applied at the nodes of autograd's graph, not at modules. So it holds for activations called as functions,
in place or inside of fused normalisation layers, and the network itself is not touched.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from hpa.explain.gradients import scores_and_gradients
from hpa.explain.items import ClassNumbers, Images, PixelMaps

SIGN_OF = {
    "ReluBackward0": "_saved_result",
    "HardtanhBackward0": "_saved_self",
    "HardtanhBackward1": "_saved_result",
    "SiluBackward0": "_saved_self",
    "GeluBackward0": "_saved_self",
    "HardswishBackward0": "_saved_self",
    "MishBackward0": "_saved_self",
    "LeakyReluBackward0": "_saved_self",
    "LeakyReluBackward1": "_saved_result",
    "EluBackward0": "_saved_self",
    "EluBackward1": "_saved_result",
    "CeluBackward0": "_saved_self",
    "CeluBackward1": "_saved_result",
}
"""Autograd's nodes of the supported activations, and which saved tensor is positive where the unit is active."""

SUPPORTED = "ReLU, ReLU6, SiLU, GELU, Hardswish, Mish, LeakyReLU, ELU, CELU and SELU"
MULTIPLIERS = ("SigmoidBackward0", "HardsigmoidBackward0")
"""x · sigmoid(x) is SiLU written out, x · hardsigmoid(x) is Hardswish."""

OPAQUE = ("DifferentiableGraphBackward", "CppNode", "CompiledFunctionBackward")
"""Nodes of compiled pieces and custom operators: what is inside does not show."""


def guided_backpropagation(model: nn.Module, images: Images, classes: ClassNumbers) -> PixelMaps:
    """Guided gradients of each logit on the pixels; see the module's text for what that means for each activation.

    Raises:
        ValueError: no supported activation lies between the pixels and the logits, so that the result would be a
            plain gradient; or a compiled or custom operation hides whether there is one.
    """
    return scores_and_gradients(model, images, classes, guided).gradients


@contextmanager
def guided(scores: torch.Tensor, images: torch.Tensor) -> Iterator[list[str]]:
    """Apply the rule to gradients of `scores` on `images` that are taken inside this context.

    Yields:
        names of the nodes whose gate was used, one entry each time.

    Raises:
        ValueError: see `guided_backpropagation`.
    """
    assert scores.grad_fn is not None
    nodes = _nodes_between(scores.grad_fn, images)
    _check_open(nodes)
    gates = [(node, name) for node in nodes if (name := _sign_name(node)) is not None]
    if not gates:
        raise ValueError(
            f"guided backpropagation needs an activation of {SUPPORTED} between pixels and logits, but this network "
            "has none: the result would be a plain gradient; choose another method, such as integrated gradients"
        )
    used: list[str] = []
    handles = [node.register_prehook(_gate(node, name, used)) for node, name in gates]
    try:
        yield used
    finally:
        for handle in handles:
            handle.remove()
    assert used, "no gate was used"


def _gate(node: Any, name: str, used: list[str]) -> Any:
    def pass_positive(gradients: tuple[torch.Tensor | None, ...]) -> tuple[torch.Tensor | None, ...] | None:
        (gradient,) = gradients
        if gradient is None:
            return None
        used.append(node.name())
        return (gradient.clamp(min=0) * (getattr(node, name) > 0),)

    return pass_positive


def _sign_name(node: Any) -> str | None:
    """Name of the saved tensor that is positive where an activation is active; None for other nodes."""
    kind = node.name()
    if kind.startswith("Hardtanh") and node._saved_min_val != 0:
        return None  # not ReLU6: it is active on both sides
    if kind == "MulBackward0" and len(node.next_functions) == 2:
        first, second = node.next_functions
        if _multiplies(first, second):
            return "_saved_other"
        if _multiplies(second, first):
            return "_saved_self"
        return None
    return SIGN_OF.get(kind)


def _multiplies(gate: tuple[Any, int], value: tuple[Any, int]) -> bool:
    """Whether one factor of a product is the sigmoid, or hard sigmoid, of the other."""
    node = gate[0]
    return node is not None and node.name() in MULTIPLIERS and node.next_functions[0] == value


def _check_open(nodes: Iterable[Any]) -> None:
    for node in nodes:
        if isinstance(node, torch.autograd.function.BackwardCFunction) or any(part in node.name() for part in OPAQUE):
            raise ValueError(
                f"guided backpropagation cannot see into {node.name()}, a compiled or custom operation of this "
                "network, which may hold activations; use the network uncompiled, or choose another method"
            )


def _nodes_between(last: Any, images: torch.Tensor) -> Sequence[Any]:
    """Autograd's nodes that lead from the images to the scores; parameters' own nodes are left out."""
    users: dict[Any, list[Any]] = {}
    seen, waiting, sources = {last}, [last], []
    while waiting:
        node = waiting.pop()
        if getattr(node, "variable", None) is images:
            sources.append(node)
        for following, _ in node.next_functions:
            if following is None:
                continue
            users.setdefault(following, []).append(node)
            if following not in seen:
                seen.add(following)
                waiting.append(following)
    between, waiting = set(sources), list(sources)
    while waiting:
        for user in users.get(waiting.pop(), []):
            if user not in between:
                between.add(user)
                waiting.append(user)
    return [node for node in seen if node in between]
