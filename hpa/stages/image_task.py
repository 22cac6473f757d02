"""Image-level classification as the training loop sees it: samples, loss, validation."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import default_collate

from hpa.arrays import EmbeddingArray, Int64, Integer, Probabilities
from hpa.classification import ImageClassifier, ImageDataset, build_augmentation, build_loss, mix, order, predict_batch
from hpa.classification.augmentation import build_movement
from hpa.classification.consistency import ConsistencyConfig, consistency_loss, draw_groups, take_parts
from hpa.evaluation import average_precision
from hpa.stages.cell_codes import open_codes
from hpa.stages.dataset import Dataset
from hpa.stages.image_level_config import TrainImageLevelConfig
from hpa.training import Batch, MachineConfig, Sample, Step, infer


class ImageTask:
    """Trains on some rows of a data set and validates on others.

    Attributes:
        training: the images to learn from.
        validation: the images held out, neither augmented nor mixed.
    """

    def __init__(
        self,
        config: TrainImageLevelConfig,
        data: Dataset,
        training_rows: Int64[np.ndarray, " training"],
        validation_rows: Int64[np.ndarray, " validation"],
    ) -> None:
        assert data.targets is not None
        self._config = config
        self._targets = data.targets[training_rows]
        self._held_out = data.targets[validation_rows]
        self._loss = build_loss(config.loss, self._targets, data.classes)
        self.training = ImageDataset(
            data.cache,
            training_rows,
            self._targets,
            augmentation=build_augmentation(config.augmentation),
            seed=config.loop.seed,
        )
        self.validation = ImageDataset(data.cache, validation_rows, self._held_out)
        self._cells: ImageDataset | None = None
        if config.consistency is not None:
            # The same seed and indices give the same movements as the images have.
            self._cells = ImageDataset(
                open_codes(config.consistency.cells, config.data),
                training_rows,
                augmentation=build_movement(config.augmentation),
                seed=config.loop.seed,
            )

    def order(self, epoch: int) -> Integer[np.ndarray, " samples"]:
        """Numbers of the training images that an epoch reads."""
        return order(self._config.sampler, self._targets, self._config.loop.seed, epoch)

    def sample(self, index: int, epoch: int) -> Sample:
        """One augmented training image with its labels, and its label map where consistency needs it."""
        sample = self.training.sample(index, epoch)
        if self._cells is not None:
            sample["cells"] = self._cells.sample(index, epoch)["images"][0]
        return sample

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Stack samples."""
        batch: Batch = default_collate(list(samples))
        return batch

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> torch.Tensor:
        """The mean loss of a batch, mixed as the configuration says, or with what consistency adds."""
        if self._config.consistency is not None:
            return self._consistent_loss(model, batch, step, self._config.consistency)
        images, targets, weights = mix(
            self._config.mixing, batch["images"], batch["targets"], batch.get("weights"), step.generator
        )
        return self._loss(model(_in_format(images, self._config)), targets, weights)

    def _consistent_loss(self, model: nn.Module, batch: Batch, step: Step, config: ConsistencyConfig) -> torch.Tensor:
        images, targets, weights, codes = batch["images"], batch["targets"], batch.get("weights"), batch["cells"]
        count = len(images)
        assignment = draw_groups(codes, config.groups, step.generator)
        parts = take_parts(images, codes, assignment, config.groups)
        # One call for all, as several processes need it; batch norms then see in training what they average for later.
        everything = _in_format(torch.cat([images, parts.images]), self._config)
        logits, maps = model(everything, with_activation=True)
        bias = _classifier(model).head.bias
        more = consistency_loss(
            self._loss,
            maps[:count],
            maps[count:].unflatten(0, (config.groups, count)),
            parts.masks,
            0.0 if bias is None else bias,
            targets,
            weights,
            config,
            progress=(step.epoch + step.step / step.steps) / step.epochs,
        )
        return self._loss(logits[:count], targets, weights) + more

    def validate(self, model: nn.Module, accelerator: Accelerator) -> Mapping[str, float]:
        """Macro average precision and loss on the images held out."""
        logits = infer(
            model,
            lambda network, batch: {"logits": network(_in_format(batch["images"], self._config))},
            self.validation.sample,
            np.arange(len(self._held_out)),
            accelerator,
            batch_size=self._config.loop.batch_size,
            machine=self._config.machine,
            label="validating",
        )["logits"]
        values = torch.from_numpy(logits)
        loss = float(self._loss(values, torch.from_numpy(self._held_out), None))
        probabilities = _classifier(model).probabilities(values).numpy()
        precision = average_precision(self._held_out, probabilities)
        macro = float(np.nanmean(precision)) if np.isfinite(precision).any() else float("nan")
        return {"macro_ap": macro, "loss": loss}


def predict_images(
    model: ImageClassifier,
    images: ImageDataset,
    views: int,
    accelerator: Accelerator,
    batch_size: int,
    machine: MachineConfig,
    label: str,
) -> tuple[Probabilities, EmbeddingArray]:
    """Probabilities and pooled embeddings of images, each the mean over `views` dihedral views."""

    def outputs(network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        return predict_batch(_classifier(network), batch["images"], views)

    found = infer(
        model, outputs, images.sample, np.arange(len(images)), accelerator, batch_size, machine=machine, label=label
    )
    return found["probabilities"], found["embeddings"]


def _in_format(images: torch.Tensor, config: TrainImageLevelConfig) -> torch.Tensor:
    return images.contiguous(memory_format=torch.channels_last) if config.loop.channels_last else images


def _classifier(model: nn.Module) -> ImageClassifier:
    """The classifier itself, taken out of whatever the loop wrapped around it."""
    inner = getattr(model, "module", model)
    assert isinstance(inner, ImageClassifier)
    return inner
