"""Multiple-instance training as the loop sees it: bags, loss, validation; and the prediction of cells and images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import default_collate

from hpa.arrays import Float32, Int64, Integer, Targets
from hpa.cell_cache import CellCache
from hpa.classification import (
    BagDataset,
    BagModel,
    bag_loss,
    build_augmentation,
    build_loss,
    order,
    pool_images,
    predict_bag_cells,
)
from hpa.classification.cell_dataset import CellDataset
from hpa.evaluation import average_precision
from hpa.labels import ClassList
from hpa.stages.cell_level.bag_config import TrainBagsConfig
from hpa.training import Batch, Sample, Step, infer


@dataclass(frozen=True)
class Images:
    """Images as bags: their cells' rows in the cache, and their labels.

    Attributes:
        rows: of each image's cells, at least one.
        targets: labels of the images.
    """

    rows: Sequence[Int64[np.ndarray, " _"]]
    targets: Targets

    @property
    def counts(self) -> list[int]:
        """Cells of each image."""
        return [len(rows) for rows in self.rows]

    @property
    def cells(self) -> Int64[np.ndarray, " cells"]:
        """Rows of all cells, image after image."""
        return np.concatenate(self.rows)

    @property
    def bags(self) -> list[Int64[np.ndarray, " _"]]:
        """Places in `cells` of each image's cells."""
        return np.split(np.arange(sum(self.counts)), np.cumsum(self.counts)[:-1])


class BagTask:
    """Trains on the bags of some images and validates on those of others.

    Attributes:
        training: bags to learn from, their cells drawn anew in every epoch.
        validation: bags of the images held out, always the same and not augmented.
    """

    def __init__(
        self, config: TrainBagsConfig, cache: CellCache, classes: ClassList, training: Images, held_out: Images
    ) -> None:
        self._config = config
        self._loss = build_loss(config.loss, training.targets, classes)
        places, seed = config.cells_per_bag, config.loop.seed
        cells = CellDataset(
            cache,
            training.cells,
            augmentation=build_augmentation(config.augmentation),
            masking=config.masking,
            seed=seed,
        )
        self.training = BagDataset(cells, training.bags, training.targets, places, seed=seed)
        whole = CellDataset(cache, held_out.cells, masking=config.masking)
        self.validation = BagDataset(whole, held_out.bags, held_out.targets, places)

    def order(self, epoch: int) -> Integer[np.ndarray, " samples"]:
        """Numbers of the training images that an epoch reads."""
        return order(self._config.sampler, self.training.targets, self._config.loop.seed, epoch)

    def sample(self, index: int, epoch: int) -> Sample:
        """A bag of augmented cells with the labels of its image."""
        return self.training.sample(index, epoch)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Stack samples."""
        batch: Batch = default_collate(list(samples))
        return batch

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> torch.Tensor:
        """The mean loss of a batch's images, with that of their cells."""
        answer = model(batch["images"], batch["present"])
        cell_weight = self._config.model.cell_weight
        return bag_loss(self._loss, answer, batch["targets"], batch["weights"], batch["present"], cell_weight)

    def validate(self, model: nn.Module, accelerator: Accelerator) -> Mapping[str, float]:
        """Macro average precision of the images held out and the image head's loss, from bags of training's size."""
        logits = infer(
            model,
            lambda network, batch: {"logits": network(batch["images"], batch["present"]).image},
            self.validation.sample,
            np.arange(len(self.validation)),
            accelerator,
            batch_size=self._config.loop.batch_size,
            machine=self._config.machine,
            label="validating",
        )["logits"]
        values, targets = torch.from_numpy(logits), self.validation.targets
        precision = average_precision(targets, bag_model(model).probabilities(values).numpy())
        macro = float(np.nanmean(precision)) if np.isfinite(precision).any() else float("nan")
        return {"macro_ap": macro, "loss": float(self._loss(values, torch.from_numpy(targets), None))}


@dataclass(frozen=True)
class BagPredictions:
    """What a network says about images and all of their cells.

    Attributes:
        cells: probabilities of the cells, image after image.
        images: probabilities of the images, from all of their cells.
    """

    cells: Float32[np.ndarray, "cells classes"]
    images: Float32[np.ndarray, "images classes"]


def predict_bags(
    model: BagModel, cache: CellCache, images: Images, config: TrainBagsConfig, accelerator: Accelerator, label: str
) -> BagPredictions:
    """Predict every cell of some images, in batches of cells, and the images from all of their cells.

    An image's logits are pooled from its cells' logits and attention, each the mean over the views; its probability is
    thus that of one bag with all cells, however many they are.
    """
    cells = CellDataset(cache, images.cells, masking=config.masking)
    found = infer(
        model,
        lambda network, batch: predict_bag_cells(bag_model(network), batch["images"], config.tta),
        cells.key,
        np.arange(len(cells)),
        accelerator,
        batch_size=config.loop.batch_size * config.cells_per_bag,  # as many cells as a training step
        collate=cells.collate,
        machine=config.machine,
        label=label,
    )
    logits, evidence = torch.from_numpy(found["image_logits"]), torch.from_numpy(found["evidence"])
    pooled = pool_images(logits, evidence, images.counts, config.model.pooling)
    return BagPredictions(found["probabilities"], model.probabilities(pooled).numpy())


def bag_model(model: nn.Module) -> BagModel:
    """The network itself, taken out of whatever the loop wrapped around it."""
    inner = getattr(model, "module", model)
    assert isinstance(inner, BagModel)
    return inner
