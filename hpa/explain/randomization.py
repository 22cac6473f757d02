"""Does a map depend on what the network learned? Its layers are randomised one after the other, and maps compared.

Adebayo, Gilmer, Muelly, Goodfellow, Hardt and Kim, "Sanity checks for saliency maps", NeurIPS 2018 (arXiv:1810.03292),
section 3, cascading randomisation: from the head downwards, more and more layers get random weights. A map that stays
as it was shows the image, not the network.
"""

import copy
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hpa.arrays import Float
from hpa.explain.agreement import rank_correlation, structural_similarity
from hpa.explain.evidence import Planes, coarsen

COLUMNS = ("level", "randomized", "item", "rank_correlation", "structural_similarity")


def randomization(
    model: nn.Module,
    images: Float[torch.Tensor, "batch channels height width"],
    explain: Callable[[nn.Module], Planes],
    levels: int = 3,
    seed: int = 0,
    square: int = 8,
) -> pd.DataFrame:
    """How like its map of the trained network is the map of ever more random ones.

    Args:
        model: the network; left as it is.
        images: the explained ones.
        explain: maps of the images by a network.
        levels: 1 randomises the head alone; the last level randomises everything, those between equal parts of the
            layers below the head.
        seed: of the weights.
        square: maps are compared by their means over squares of this side.

    Returns:
        One row per level and item: level from 1, `randomized` (part of the layers, 0 to 1), item, rank_correlation (of
        the maps, -1 to 1), structural_similarity.
    """
    trained = coarsen(explain(model), square)
    tables = []
    for level, (part, random) in enumerate(cascade(model, images, levels, seed), start=1):
        found = coarsen(explain(random), square)
        tables.append(
            pd.DataFrame(
                {
                    "level": level,
                    "randomized": part,
                    "item": np.arange(len(found)),
                    "rank_correlation": rank_correlation(trained, found),
                    "structural_similarity": structural_similarity(trained, found),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def cascade(
    model: nn.Module, images: Float[torch.Tensor, "batch channels height width"], levels: int, seed: int = 0
) -> Iterator[tuple[float, nn.Module]]:
    """Copies of a network, ever more of it random, from the last layer that it runs down to the first.

    A layer gets its own kind's first weights (`reset_parameters`), or, where it has none, its values in random order.
    Batch norms that were randomised take the statistics of the images that they now see, as those of a network never
    trained would; otherwise a random network's signal dies or explodes, and its maps are trivially different.

    Args:
        model: a network in evaluation mode; left as it is.
        images: that it takes; they tell the order of the layers, and the statistics.
        levels: as in `randomization`.
        seed: of the weights. The random numbers of the process are as before afterwards.

    Yields:
        The part of the layers that are random, and a network in evaluation mode, the same object each time.

    Raises:
        ValueError: no levels, or a network without layers.
    """
    if levels < 1:
        raise ValueError(f"expected at least one level of randomisation, but got {levels}")
    random = copy.deepcopy(model).eval()
    layers = _layers(random, images)
    if not layers:
        raise ValueError("expected a network with weights to randomise, but this one has none")
    ends = np.unique(np.round(np.linspace(1, len(layers), levels)).astype(int)).tolist()
    done = 0
    for level, end in enumerate(ends):
        with torch.random.fork_rng(devices=_devices(images)):
            torch.manual_seed(seed + level)
            _randomize(layers[done:end])
        _recalibrate(random, layers[done:end], images)
        done = end
        yield end / len(layers), random


def _layers(model: nn.Module, images: torch.Tensor) -> list[nn.Module]:
    """Modules that hold parameters of their own, the last to run first, and those never called at the end."""
    owners = [module for module in model.modules() if any(True for _ in module.parameters(recurse=False))]
    called: list[nn.Module] = []
    hooks = [module.register_forward_pre_hook(lambda module, _: called.append(module)) for module in owners]
    try:
        with torch.no_grad():
            model(images[:1])
    finally:
        for hook in hooks:
            hook.remove()
    last = {id(module): place for place, module in enumerate(called)}
    return sorted(owners, key=lambda module: -last.get(id(module), -1))


@torch.no_grad()
def _randomize(layers: Sequence[nn.Module]) -> None:
    for layer in layers:
        reset = getattr(layer, "reset_parameters", None)
        if callable(reset):
            reset()
            continue
        for values in layer.parameters(recurse=False):
            order = torch.randperm(values.numel()).to(values.device)
            values.copy_(values.flatten()[order].reshape(values.shape))


@torch.no_grad()
def _recalibrate(model: nn.Module, layers: Sequence[nn.Module], images: torch.Tensor) -> None:
    norms = [layer for layer in layers if isinstance(layer, _BatchNorm) and layer.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches, of which there is one
        norm.training = True
    try:
        model(images)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.training = False


def _devices(images: torch.Tensor) -> list[torch.device]:
    return [] if images.device.type == "cpu" else [images.device]
