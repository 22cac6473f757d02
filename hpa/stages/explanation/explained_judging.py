"""Maps of attribution judged by what is known: the network's own answers, its weights, the other maps, the cells."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch
from torch import nn

from hpa.arrays import Bool, Float
from hpa.classification import ImageClassifier
from hpa.explain.agreement import agreement
from hpa.explain.evidence import Planes
from hpa.explain.faithfulness import Curves, faithfulness
from hpa.explain.localization import localize
from hpa.explain.randomization import randomization
from hpa.stages.explanation.explain_config import JudgingConfig

RANDOM, PROTEIN = "random places", "bright protein"
"""Controls, judged like methods: places in random order, and the brightness of the protein's channel. Neither knows the
network, so a method that is no better explains nothing."""

Remake: TypeAlias = Callable[[nn.Module], Planes]
"""Makes a method's evidence again by another network."""


@dataclass(frozen=True, eq=False)
class Judgement:
    """What was found; `item` counts the questions.

    Attributes:
        scores: item, method, insertion, deletion, and per region energy_, area_ and hit_; controls too.
        agreement: item, first, second, rank_correlation, top_overlap; methods only.
        randomization: item, method, level, randomized, rank_correlation, structural_similarity; methods only.
        curves: by method and control.
    """

    scores: pd.DataFrame
    agreement: pd.DataFrame
    randomization: pd.DataFrame
    curves: Mapping[str, Curves]


def judge(
    network: ImageClassifier,
    images: Float[torch.Tensor, "questions channels height width"],
    classes: Sequence[int],
    planes: Mapping[str, Planes],
    remake: Mapping[str, Remake],
    regions: Mapping[str, Bool[np.ndarray, "questions height width"]],
    protein: int | None,
    config: JudgingConfig,
    batch_size: int,
) -> Judgement:
    """Judge the maps of some questions.

    Args:
        network: whose answers are explained.
        images: one per question.
        classes: one per question.
        planes: evidence, by method.
        remake: makes the same again, by method.
        regions: by name, where each question's class is.
        protein: number of the protein's channel; None where there is none, and so no control of that name.
        config: how.
        batch_size: images of one pass.
    """

    def answers(batch: torch.Tensor) -> torch.Tensor:
        return network.probabilities(network(batch))

    def follow(own: Planes) -> Curves:
        return faithfulness(answers, images, classes, own, config.faithfulness, batch_size)

    judged, curves = dict(planes), {name: follow(own) for name, own in planes.items()}
    if protein is not None:
        judged[PROTEIN] = images[:, protein].float().cpu().numpy()
        curves[PROTEIN] = follow(judged[PROTEIN])
    # No place is better than another; the order among equals is random.
    judged[RANDOM] = np.ones((len(images), *images.shape[2:]), np.float32)
    orders = [
        config.faithfulness.model_copy(update={"seed": config.seed + order}) for order in range(config.random_orders)
    ]
    curves[RANDOM] = _mean(
        [faithfulness(answers, images, classes, judged[RANDOM], order, batch_size) for order in orders]
    )
    tables = []
    for name, own in judged.items():
        table = {
            "item": np.arange(len(own)),
            "method": name,
            "insertion": curves[name].insertion_area,
            "deletion": curves[name].deletion_area,
        }
        for region, where in regions.items():
            found = localize(own, where, config.tolerance * max(own.shape[1:]))
            table |= {f"energy_{region}": found.energy, f"area_{region}": found.area, f"hit_{region}": found.hit}
        tables.append(pd.DataFrame(table))
    random = [
        randomization(network, images, again, config.levels, config.seed, config.square).assign(method=name)
        for name, again in remake.items()
        if config.levels
    ]
    return Judgement(
        pd.concat(tables, ignore_index=True),
        agreement(planes, config.square, config.top),
        pd.concat(random, ignore_index=True) if random else pd.DataFrame(),
        curves,
    )


def _mean(curves: Sequence[Curves]) -> Curves:
    return Curves(
        curves[0].parts,
        np.stack([one.deletion for one in curves]).mean(axis=0, dtype=np.float32),
        np.stack([one.insertion for one in curves]).mean(axis=0, dtype=np.float32),
    )
