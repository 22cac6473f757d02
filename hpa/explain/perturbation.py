"""Explanations by perturbing the image: SHAP and LIME maps of a batch, each image on its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import nn

from hpa.arrays import Float32, Int64
from hpa.explain.baselines import Background, build_baseline
from hpa.explain.gradient_shap import expected_gradients
from hpa.explain.items import ClassNumbers, Images, prepare
from hpa.explain.perturbation_config import (
    GradientShap,
    KernelShap,
    Lime,
    PartitionShap,
    PerturbationConfig,
)
from hpa.explain.scoring import Score, build_score
from hpa.explain.segment_game import Players, SegmentGame, build_players
from hpa.explain.segment_lime import segment_lime
from hpa.explain.segment_shap import kernel_shap, partition_shap
from hpa.explain.segments import Segments, build_segments, that_change
from hpa.explain.unchanged import unchanged


@dataclass(frozen=True)
class PerturbationMaps:
    """What perturbation methods say of a batch.

    Attributes:
        maps: positive where the image speaks for the class. Planes are the image's channels for gradient_shap and with
            `per_channel`, else one. SHAP maps sum to output - base, unless they are painted by `value`.
        summary: one row per image and class: image (its place in the batch), class_number, base (the output when
            everything is hidden; of LIME the linear model's), output (for the image), error (output - base - sum of
            the values; for SHAP the distance from completeness), fit (R² of LIME's model; 1 for the others),
            segments (0 for gradient_shap), evaluations (images that the network saw, for all classes together).
        segments: one row per image, class and segment (and channel): image, class_number, segment, cell_id (0 for
            what is no cell), channel (-1 for all), pixels, value. Empty for gradient_shap.
        numbers: per image, the number of each pixel's segment, -1 for none, and for those that look the same hidden and
            shown, such as the black around a cell; empty for gradient_shap.
    """

    maps: Float32[np.ndarray, "images classes planes height width"]
    summary: pd.DataFrame
    segments: pd.DataFrame
    numbers: list[Int64[np.ndarray, "height width"]]


def explain_by_perturbation(
    model: nn.Module,
    images: Images,
    classes: ClassNumbers,
    config: PerturbationConfig,
    cell_maps: Sequence[np.ndarray] | None = None,
    background: Background | None = None,
    batch_size: int = 32,
) -> PerturbationMaps:
    """Explain some classes of some images. The network is unchanged afterwards, in its mode and its gradients too.

    An image's result does not depend on the others, nor (but for rounding) on the batch size.

    Args:
        model: gives logits for float images in [0, 255].
        images: pixels in [0, 255].
        classes: class numbers, one per image or as many for each as are to be explained; they share all evaluations.
        config: which method.
        cell_maps: for segments that are cells, the images' label maps, of any size.
        background: other images of the same size, for baselines that are made of such.
        batch_size: images that the network is given at once; decides speed and memory.

    Raises:
        ValueError: shapes or classes that do not fit; label maps or background missing; probabilities of a network that
            has none; an extra that is not installed.
    """
    if batch_size < 1:
        raise ValueError(f"expected a batch of at least one image, but got batch_size={batch_size}")
    if cell_maps is not None and len(cell_maps) != len(images):
        raise ValueError(f"expected a label map for each of {len(images)} images, but got {len(cell_maps)}")
    found = []
    with unchanged(model):
        floats, numbers = prepare(model, images, classes)
        for place, (image, chosen) in enumerate(zip(floats, numbers, strict=True)):
            score = build_score(model, config.output, chosen)
            cell_map = None if cell_maps is None else np.asarray(cell_maps[place])
            if isinstance(config, GradientShap):
                found.append(_explain_pixels(score, image, config, background, batch_size))
            else:
                found.append(_explain_segments(score, image, config, cell_map, background, batch_size))
    return _collect(found, numbers.cpu().numpy())


@dataclass(frozen=True)
class _Explained:
    """One image's result: map, a row per class, a row per class and segment, and where the segments are."""

    maps: Float32[np.ndarray, "classes planes height width"]
    summary: pd.DataFrame
    segments: pd.DataFrame
    numbers: np.ndarray | None = None


def _explain_pixels(
    score: Score, image: torch.Tensor, config: GradientShap, background: Background | None, batch_size: int
) -> _Explained:
    baselines = build_baseline(config.baseline, image, background)
    found = expected_gradients(score, image, baselines, config.samples, config.seed, batch_size)
    maps = found.maps.numpy()
    summary = _summary(found.base, found.output, maps.sum(axis=(1, 2, 3), dtype=np.float64), 0, found.evaluations)
    return _Explained(maps, summary, pd.DataFrame({name: np.zeros(0, dtype) for name, dtype in _SEGMENT_COLUMNS}))


def _explain_segments(
    score: Score,
    image: torch.Tensor,
    config: PartitionShap | KernelShap | Lime,
    cell_map: np.ndarray | None,
    background: Background | None,
    batch_size: int,
) -> _Explained:
    segments = build_segments(config.segments, image.cpu().numpy(), cell_map)
    numbers = torch.from_numpy(segments.numbers).to(image.device)
    baselines = build_baseline(config.baseline, image, background, numbers)
    segments = that_change(segments, (baselines != image).any(dim=0).any(dim=0).cpu().numpy())
    players = build_players(segments, len(image), config.per_channel)
    game = SegmentGame(score, image, baselines, players, batch_size)
    fit: np.ndarray | int = 1
    match config:
        case PartitionShap():
            shared = partition_shap(game, players, config)
            values, base, output = shared.contributions, shared.base, shared.output
        case KernelShap():
            shared = kernel_shap(game, players, config)
            values, base, output = shared.contributions, shared.base, shared.output
        case Lime():
            fitted = segment_lime(game, len(players), config)
            values, base, output, fit = fitted.coefficients, fitted.intercepts, fitted.output, fitted.fit
    summary = _summary(base, output, values.sum(axis=1), len(segments), game.evaluations, fit)
    maps = players.paint(values, density=config.paint == "density")
    return _Explained(maps, summary, _segment_columns(values, players, segments), segments.numbers)


def _summary(
    base: np.ndarray, output: np.ndarray, sums: np.ndarray, segments: int, evaluations: int, fit: np.ndarray | int = 1
) -> pd.DataFrame:
    columns = {"base": base, "output": output, "error": output - base - sums, "fit": np.ones(len(base)) * fit}
    return pd.DataFrame(columns).assign(segments=segments, evaluations=evaluations)


_SEGMENT_COLUMNS = (
    ("place", np.int64),
    ("segment", np.int64),
    ("cell_id", np.int64),
    ("channel", np.int64),
    ("pixels", np.int64),
    ("value", np.float64),
)


def _segment_columns(values: np.ndarray, players: Players, segments: Segments) -> pd.DataFrame:
    """A row per class and player; `place` is the class's column."""
    classes = len(values)
    return pd.DataFrame(
        {
            "place": np.repeat(np.arange(classes), len(players)),
            "segment": np.tile(players.segments, classes),
            "cell_id": np.tile(segments.cell_ids[players.segments], classes),
            "channel": np.tile(players.channels, classes),
            "pixels": np.tile(players.sizes, classes),
            "value": values.ravel(),
        }
    )


def _collect(found: Sequence[_Explained], classes: np.ndarray) -> PerturbationMaps:
    summaries, tables = [], []
    for image, explained in enumerate(found):
        summary, segments = explained.summary, explained.segments
        summary.insert(0, "image", image)
        summary.insert(1, "class_number", classes[image])
        summaries.append(summary)
        segments.insert(0, "image", image)
        segments.insert(1, "class_number", classes[image][segments.pop("place").to_numpy()])
        tables.append(segments)
    return PerturbationMaps(
        np.stack([explained.maps for explained in found]),
        pd.concat(summaries, ignore_index=True),
        pd.concat(tables, ignore_index=True),
        [explained.numbers for explained in found if explained.numbers is not None],
    )
