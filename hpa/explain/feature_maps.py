"""A layer's output as feature maps, and the gradients of logits on them; the way back ends at the layer."""

import difflib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from torch import nn

from hpa.arrays import Float
from hpa.explain.items import ClassNumbers, Images, chosen, prepare
from hpa.explain.layouts import Layout, find_layout, prefix_tokens
from hpa.explain.unchanged import unchanged

T = TypeVar("T")


@runtime_checkable
class FeatureNetwork(Protocol):
    """A network that shows its last features: its logits are `logits(pool(forward_features(images)))`."""

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """The last features before pooling."""

    def pool(self, features: torch.Tensor) -> torch.Tensor:
        """One vector per image."""

    def logits(self, embeddings: torch.Tensor) -> torch.Tensor:
        """One logit per class."""


class Features(NamedTuple):
    """Feature maps of one layer and their gradients, for one class of each image.

    Attributes:
        maps: what the layer gave.
        gradients: of the class's logit on them.
    """

    maps: Float[torch.Tensor, "batch features map_height map_width"]
    gradients: Float[torch.Tensor, "batch features map_height map_width"]


class _Output(NamedTuple):
    output: torch.Tensor
    """Of the layer, where the gradient's way ends."""
    logits: torch.Tensor


def feature_maps(
    model: nn.Module,
    images: Images,
    classes: ClassNumbers,
    use: Callable[[Features], T],
    layer: str | None = None,
) -> list[T]:
    """What is made of feature maps and gradients, for one class of each image after the other; one pass forth for all.

    Nothing is kept for the layers before, whatever the network learns: without a layer's name, only pooling and head
    are passed on the way back. Gradients of one class are held at a time.

    Args:
        model: gives logits.
        images: to explain.
        classes: of each.
        use: makes something of the features of one class of each image.
        layer: dotted name of a module of the network. None for the last feature map: that of `forward_features` where
            the network is a `FeatureNetwork`, else the output of the last module that gives a map.

    Returns:
        What `use` gave, in the order of the classes' columns.

    Raises:
        ValueError: no such layer; its output is no map, or is not used, or is used more than once; or the map has no
            part in the logits, as the patches of a transformer that reads its class token alone.
    """
    floats, numbers = prepare(model, images, classes)
    size = (floats.shape[2], floats.shape[3])
    prefix = prefix_tokens(model)
    with unchanged(model):
        if layer is None and isinstance(model, FeatureNetwork):
            output, logits = _through_features(model, floats)
        else:
            name = last_map_layer(model, floats, prefix) if layer is None else layer
            output, logits = _through_layer(model, floats, name)
        columns = chosen(logits, numbers).unbind(1)
        # Networks trained as one, stacked along a new first axis, have their features side by side.
        arranged = _side_by_side if layer is None and output.ndim == 5 else _as_it_is
        maps = arranged(output.detach())
        layout = find_layout(maps.shape, size, prefix)
        if layout is None:
            raise ValueError(
                f"expected a feature map from {layer or 'the last layer'} for images of {size[0]} × {size[1]} pixels, "
                f"but got an output of shape {tuple(maps.shape)}; name another layer, a convolutional one"
            )
        found = []
        for number, column in enumerate(columns):
            gradient = arranged(_gradient(column, output, keep=number < len(columns) - 1))
            _check_read(layout, gradient, model, layer)
            found.append(use(Features(layout.to_map(maps).float(), layout.to_map(gradient).float())))
    return found


def _through_features(model: Any, images: torch.Tensor) -> _Output:
    with torch.no_grad():
        output = model.forward_features(images)
    output = output.detach().requires_grad_()
    return _Output(output, model.logits(model.pool(output)))


def _through_layer(model: nn.Module, images: torch.Tensor, layer: str) -> _Output:
    modules = dict(model.named_modules())
    if layer not in modules:
        close = difflib.get_close_matches(layer, modules, n=3)
        hint = f"did you mean {', '.join(map(repr, close))}?" if close else "named_modules() lists them"
        raise ValueError(f"expected the name of one of the network's modules, but got {layer!r}; {hint}")
    seen: list[torch.Tensor] = []

    def cut(module: nn.Module, inputs: Any, output: Any) -> torch.Tensor:
        if not isinstance(output, torch.Tensor):
            raise ValueError(f"expected a tensor from the layer {layer}, but got {type(output).__name__}; name another")
        seen.append(output.detach().requires_grad_())
        torch.set_grad_enabled(True)  # until the end of the pass: what comes after the layer is needed for the way back
        return seen[-1].clone()  # layers that work in place leave the original as it is

    handle = modules[layer].register_forward_hook(cut)
    try:
        with torch.no_grad():
            logits = model(images)
    finally:
        handle.remove()
    if len(seen) != 1:
        raise ValueError(
            f"expected the layer {layer} to work once on an image, but it worked {len(seen)} times; name another layer"
        )
    return _Output(seen[0], logits)


def _gradient(scores: torch.Tensor, output: torch.Tensor, keep: bool) -> torch.Tensor:
    found = torch.autograd.grad(scores.sum(), output, retain_graph=keep, allow_unused=True)[0]
    if found is None:
        raise ValueError("expected logits that depend on the layer's output, but they do not; name another layer")
    return found


def _as_it_is(output: torch.Tensor) -> torch.Tensor:
    return output


def _side_by_side(stacked: torch.Tensor) -> torch.Tensor:
    """(networks, batch, a, b, c) as (batch, networks x a, b, c): each network's features beside the others'."""
    return stacked.transpose(0, 1).flatten(1, 2)


def _check_read(layout: Layout, gradient: torch.Tensor, model: nn.Module, layer: str | None) -> None:
    if layout.prefix and not bool(gradient[:, layout.prefix :].any()):
        norms = [name for name, _ in model.named_modules() if name.rpartition(".")[2] == "norm1"]
        raise ValueError(
            f"the patches' tokens of {layer or 'the last layer'} have no part in the logits: the head reads another "
            "token alone, so a map would be empty; name a layer before the last attention"
            + (f", layer={norms[-1]}" if norms else "")
        )


@torch.no_grad()
def last_map_layer(model: nn.Module, images: Float[torch.Tensor, "batch channels height width"], prefix: int) -> str:
    """Name of the module that is the last to give a map of more than one place.

    Args:
        model: in evaluation mode.
        images: the first one is passed through the network.
        prefix: tokens that belong to no patch.

    Raises:
        ValueError: no module does.
    """
    found: list[str] = []
    size = (images.shape[2], images.shape[3])

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                layout = find_layout(output.shape, size, prefix)
                if layout is not None and layout.height * layout.width > 1:
                    found.append(name)

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if name]
    try:
        model(images[:1])
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise ValueError("found no layer whose output is a feature map; name one, a convolutional one")
    return found[-1]
