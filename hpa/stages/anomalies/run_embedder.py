"""Embeddings by the networks of a finished training: out of fold in one space, or the mean over them."""

from collections.abc import Sequence

import numpy as np
from accelerate import Accelerator

from hpa.anomaly.alignment import Rotation, fit_rotation
from hpa.anomaly.nearest_approximate import sampled
from hpa.arrays import EmbeddingArray, Int64
from hpa.artifacts import read_record
from hpa.cell_cache import CellCache
from hpa.progress import say
from hpa.stages.anomalies.embed_config import EmbedConfig, RunMethod
from hpa.stages.anomalies.embedded_items import Items, open_cells, open_images
from hpa.stages.anomalies.embedders import Embedder, pooled_features
from hpa.stages.cell_level.cell_networks import CellRun, open_cell_run
from hpa.stages.image_level.trained_run import TrainedRun, open_run

IMAGE_LEVEL = "train_image_level"


def open_items_of_run(
    config: EmbedConfig, method: RunMethod, accelerator: Accelerator
) -> tuple[Items, TrainedRun | CellRun]:
    """A run, and the images or cells as its networks expect them.

    Raises:
        ArtifactError: the run is missing or not finished, or as `open_images` and `open_cells` do.
        ValueError: the items have other channels or are cut out otherwise; out of fold, they are not those that the run
            held out; and else, they are those that it learned from.
    """
    if config.level == "cell":
        cell_run = open_cell_run(method.run)
        items = open_cells(config.data, config.cells_cache, method.out_of_fold, cell_run.masking, accelerator)
        assert isinstance(items.source, CellCache)
        cell_run.require_alike(items.source)
        _require_fitting(config, method, cell_run, items, ("cells_cache", "fold"))
        return items, cell_run
    run = open_run(method.run, IMAGE_LEVEL)
    items = open_images(config.data, method.out_of_fold, run.content.cache, accelerator)
    if items.channels != run.content.channels:
        raise ValueError(
            f"data: {method.run} was trained on the channels {', '.join(run.content.channels)}, but the images have "
            f"{', '.join(items.channels)}"
        )
    _require_fitting(config, method, run, items, ("index", "fold"))
    return items, run


def _require_fitting(
    config: EmbedConfig, method: RunMethod, run: TrainedRun | CellRun, items: Items, names: Sequence[str]
) -> None:
    learned = read_record(method.run, run.content.stage).inputs
    if not method.out_of_fold:
        if learned.get(names[0]) == items.fingerprints[names[0]]:
            raise ValueError(
                f"out_of_fold: {method.run} was trained on these {config.level}s, which its networks know by heart; "
                "out_of_fold=true embeds each by the network that held it out"
            )
        return
    differing = [name for name in names if learned.get(name) != items.fingerprints.get(name)]
    if differing:
        raise ValueError(
            f"out_of_fold: {method.run} was trained on another {' and another '.join(differing)}, so that nobody knows "
            f"which network held one of these {config.level}s out; give `data` as in the run's config.yaml, or "
            "out_of_fold=false for what the run has never seen"
        )
    assert items.folds is not None
    missing = sorted(set(items.folds.tolist()) - set(run.content.folds))
    if missing:
        raise ValueError(
            f"{method.run}: no network held out the folds {missing}, whose {config.level}s would have no embedding; "
            "train with folds=all"
        )


def embed_by_run(
    config: EmbedConfig, method: RunMethod, run: TrainedRun | CellRun, items: Items, accelerator: Accelerator
) -> Embedder:
    """Embeddings of items by the run's networks.

    Raises:
        CheckpointError: a network's weights are damaged.
    """
    views = method.views or run.content.tta
    networks: list[Embedder] = [
        pooled_features(network, items, None, views, config, accelerator) for network in run.networks()
    ]
    if items.folds is None:
        return lambda rows: _mean(networks, rows)
    folds, present = items.folds, run.content.folds
    rotations: list[Rotation | None] = [None] * len(networks)
    if method.align and len(networks) > 1:
        say(f"fitting {len(networks) - 1} rotations onto the space of fold {present[0]}")
        rotations[1:] = [
            _rotation(method, networks[0], network, ~np.isin(folds, (present[0], fold)))
            for fold, network in zip(present[1:], networks[1:], strict=True)
        ]

    def embed(rows: Int64[np.ndarray, " rows"]) -> EmbeddingArray:
        found: EmbeddingArray = np.zeros((len(rows), 0), np.float32)
        for fold, network, rotation in zip(present, networks, rotations, strict=True):
            own = np.flatnonzero(folds[rows] == fold)
            if len(own):
                values = network(rows[own])
                found = found if found.shape[1] else np.empty((len(rows), values.shape[1]), np.float32)
                found[own] = values if rotation is None else rotation(values)
        return found

    return embed


def _rotation(method: RunMethod, first: Embedder, network: Embedder, known: np.ndarray) -> Rotation:
    """From a network's space to the first's, by items that both learned from; by any where there are none."""
    rows = np.flatnonzero(known if known.any() else np.ones_like(known))
    anchors = rows[sampled(len(rows), method.anchors, 0)]
    return fit_rotation(network(anchors), first(anchors))


def _mean(networks: Sequence[Embedder], rows: Int64[np.ndarray, " rows"]) -> EmbeddingArray:
    total = networks[0](rows) / np.float32(len(networks))
    for network in networks[1:]:
        total += network(rows) / np.float32(len(networks))
    return np.asarray(total, np.float32)
