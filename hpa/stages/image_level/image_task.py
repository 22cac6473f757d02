"""Image-level classification as the training loop sees it: samples, loss, validation."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import default_collate

from hpa.arrays import EmbeddingArray, Float64, Int64, Integer, Probabilities
from hpa.classification import ImageClassifier, ImageDataset, build_augmentation, build_loss, mix, order, predict_batch
from hpa.classification.augmentation import build_movement
from hpa.classification.consistency import ConsistencyConfig, consistency_loss, draw_groups, take_parts
from hpa.classification.margins import class_margins
from hpa.classification.sample_memory import SampleMemory, taken
from hpa.evaluation import average_precision
from hpa.stages.cells.cell_codes import open_codes
from hpa.stages.data.dataset import Dataset
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig
from hpa.stages.image_level.training_labels import TrainingLabels
from hpa.training import Batch, MachineConfig, Sample, Step, infer


class ImageTask:
    """Trains on some rows of a data set and validates on others.

    Args:
        config: how.
        data: the images.
        training_rows: those to learn from; of them, rows whose weight is 0 are left out.
        validation_rows: those held out, measured by the data set's own labels.
        labels: what to learn in the place of the data set's labels, and how much each image counts.

    Attributes:
        rows: of the images to learn from.
        training: the images to learn from.
        validation: the images held out, neither augmented nor mixed.
    """

    def __init__(
        self,
        config: TrainImageLevelConfig,
        data: Dataset,
        training_rows: Int64[np.ndarray, " training"],
        validation_rows: Int64[np.ndarray, " validation"],
        labels: TrainingLabels | None = None,
    ) -> None:
        assert data.targets is not None
        self._config = config
        self._multi_label = data.classes.multi_label
        self.rows = training_rows if labels is None else labels.learned(training_rows)
        self._targets = (data.targets if labels is None else labels.targets)[self.rows]
        self._held_out = data.targets[validation_rows]
        self._loss = build_loss(config.loss, self._targets, data.classes)
        self.training = ImageDataset(
            data.cache,
            self.rows,
            self._targets,
            None if labels is None else labels.weights[self.rows],
            augmentation=build_augmentation(config.augmentation),
            seed=config.loop.seed,
        )
        self.validation = ImageDataset(data.cache, validation_rows, self._held_out)
        self._cells: ImageDataset | None = None
        if config.consistency is not None:
            # The same seed and indices give the same movements as the images have.
            self._cells = ImageDataset(
                open_codes(config.consistency.cells, config.data),
                self.rows,
                augmentation=build_movement(config.augmentation),
                seed=config.loop.seed,
            )
        self._margins = SampleMemory(len(self.rows), len(data.classes)) if config.margins else None

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
        return self._minimised(model(in_format(images, self._config)), targets, weights, batch["index"], step)

    def _minimised(
        self,
        logits: torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor | None,
        index: torch.Tensor,
        step: Step,
    ) -> torch.Tensor:
        """The loss of whole images, whose logits are taken note of on the way."""
        self._note_margins(logits, index, step)
        return self._loss(logits, targets, weights)

    def _note_margins(self, logits: torch.Tensor, index: torch.Tensor, step: Step) -> None:
        if self._margins is not None and step.epoch >= self._config.margins_from:
            self._margins.add(index, class_margins(logits, self._multi_label))

    def _consistent_loss(self, model: nn.Module, batch: Batch, step: Step, config: ConsistencyConfig) -> torch.Tensor:
        images, targets, weights, codes = batch["images"], batch["targets"], batch.get("weights"), batch["cells"]
        count = len(images)
        assignment = draw_groups(codes, config.groups, step.generator)
        parts = take_parts(images, codes, assignment, config.groups)
        # One call for all, as several processes need it; batch norms then see in training what they average for later.
        everything = in_format(torch.cat([images, parts.images]), self._config)
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
        return self._minimised(logits[:count], targets, weights, batch["index"], step) + more

    def margins(self) -> tuple[Float64[np.ndarray, "items classes"], Int64[np.ndarray, " items"]] | None:
        """Sums of the classes' margins and number of readings of each image learned from; None where not asked for."""
        return None if self._margins is None else self._margins.sums()

    def state(self, accelerator: Accelerator) -> dict[str, torch.Tensor]:
        """What the training remembers of its images; nothing unless the configuration asks for it."""
        return {} if self._margins is None else {"margins": self._margins.exchange(accelerator)}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take up what `state` gave.

        Raises:
            ValueError: it is of other images or settings.
        """
        if self._margins is not None:
            self._margins.restore(taken(state, "margins"))

    def validate(self, model: nn.Module, accelerator: Accelerator) -> Mapping[str, float]:
        """Macro average precision and loss on the images held out."""
        logits = infer(
            model,
            lambda network, batch: {"logits": network(in_format(batch["images"], self._config))},
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


def in_format(images: torch.Tensor, config: TrainImageLevelConfig) -> torch.Tensor:
    """A batch in the memory layout of the loop."""
    return images.contiguous(memory_format=torch.channels_last) if config.loop.channels_last else images


def _classifier(model: nn.Module) -> ImageClassifier:
    """The classifier itself, taken out of whatever the loop wrapped around it."""
    inner = getattr(model, "module", model)
    assert isinstance(inner, ImageClassifier)
    return inner
