"""Image-level training that resists wrong labels, as the training loop sees it."""

from collections.abc import Mapping

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from hpa.arrays import Float64, Int64
from hpa.classification import ImageClassifier, build_model
from hpa.classification.early_learning import (
    AnswerMemory,
    EarlyLearningConfig,
    early_answers,
    early_learning_penalty,
)
from hpa.classification.sample_memory import SampleMemory, taken
from hpa.classification.selection import CoTeachingConfig, keep_images, keep_labels, label_losses
from hpa.classification.twin_model import MEMBERS, build_twins, joint_logits
from hpa.stages.data.dataset import Dataset
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig
from hpa.stages.image_level.image_task import ImageTask, in_format
from hpa.stages.image_level.training_labels import TrainingLabels
from hpa.training import Batch, LoopConfig, Step


class EarlyLearningTask(ImageTask):
    """Adds the penalty of early-learning regularisation; remembers the answers to each image."""

    def __init__(
        self,
        config: TrainImageLevelConfig,
        data: Dataset,
        training_rows: Int64[np.ndarray, " training"],
        validation_rows: Int64[np.ndarray, " validation"],
        labels: TrainingLabels | None = None,
    ) -> None:
        super().__init__(config, data, training_rows, validation_rows, labels)
        assert isinstance(config.noise, EarlyLearningConfig)
        self._early = config.noise
        self._answers = AnswerMemory(len(self.rows), len(data.classes), config.noise.decay)

    def _minimised(
        self,
        logits: torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor | None,
        index: torch.Tensor,
        step: Step,
    ) -> torch.Tensor:
        loss = super()._minimised(logits, targets, weights, index, step)
        answers = early_answers(logits, self._multi_label)
        remembered, mass = self._answers.read(index, answers, step.epoch)
        if step.epoch < self._early.from_epoch:
            return loss
        penalty = early_learning_penalty(answers, remembered, mass, self._multi_label)
        if weights is not None:
            penalty = penalty * weights.to(penalty)
        return loss + self._early.factor(self._multi_label) * penalty.mean()

    def state(self, accelerator: Accelerator) -> dict[str, torch.Tensor]:
        """Remembered answers and margins."""
        return super().state(accelerator) | self._answers.state(accelerator)

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take up what `state` gave; raises as `ImageTask.load_state` does."""
        super().load_state(state)
        self._answers.load_state(state)


class CoTeachingTask(ImageTask):
    """Trains two classifiers, each on what the other finds easy.

    Raises:
        ValueError: single labels are to be chosen where an image has but one.
    """

    def __init__(
        self,
        config: TrainImageLevelConfig,
        data: Dataset,
        training_rows: Int64[np.ndarray, " training"],
        validation_rows: Int64[np.ndarray, " validation"],
        labels: TrainingLabels | None = None,
    ) -> None:
        super().__init__(config, data, training_rows, validation_rows, labels)
        assert isinstance(config.noise, CoTeachingConfig)
        if config.noise.unit == "label" and not self._multi_label:
            raise ValueError("noise.unit=label needs images that may have several classes; set noise.unit=image")
        self._teaching = config.noise
        self._frequencies = torch.from_numpy(self._targets.mean(axis=0))

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> torch.Tensor:
        """The mean of both classifiers' losses on the labels that the other one chose."""
        targets, weights = batch["targets"], batch["weights"]
        both = model(in_format(batch["images"], self._config), apart=True)
        first, second = both[0], both[1]
        self._note_margins(joint_logits(first.detach(), second.detach(), self._multi_label), batch["index"], step)
        total = self._taught(first, second, targets, weights, step) + self._taught(
            second, first, targets, weights, step
        )
        # The value is the mean, to be compared with other trainings'; the gradient is that of the sum, as each
        # classifier learns at the rate at which one alone would.
        return total - total.detach() / 2

    def _taught(
        self, pupil: torch.Tensor, teacher: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, step: Step
    ) -> torch.Tensor:
        config = self._teaching
        losses = label_losses(teacher, targets, self._frequencies, config.allowance, self._multi_label)
        forget = config.forget_at((step.epoch + step.step / step.steps) / step.epochs)
        if config.unit == "label":
            return self._loss(pupil, targets, weights, kept=keep_labels(losses, targets, forget))
        return self._loss(pupil, targets, weights * keep_images(losses, forget).to(weights))


class HistoryTask(ImageTask):
    """Remembers the probabilities of each image's classes: their sums and those of their squares.

    The task of the first of two trainings.
    """

    def __init__(
        self,
        config: TrainImageLevelConfig,
        data: Dataset,
        training_rows: Int64[np.ndarray, " training"],
        validation_rows: Int64[np.ndarray, " validation"],
        labels: TrainingLabels | None = None,
        from_epoch: int = 0,
    ) -> None:
        super().__init__(config, data, training_rows, validation_rows, labels)
        self._from_epoch = from_epoch
        self._history = SampleMemory(len(self.rows), 2 * len(data.classes))

    def _minimised(
        self,
        logits: torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor | None,
        index: torch.Tensor,
        step: Step,
    ) -> torch.Tensor:
        if step.epoch >= self._from_epoch:
            values = logits.detach().float()
            values = values.sigmoid() if self._multi_label else values.softmax(dim=1)
            self._history.add(index, torch.cat([values, values**2], dim=1))
        return super()._minimised(logits, targets, weights, index, step)

    def history(self) -> tuple[Float64[np.ndarray, "items classes"], Float64[np.ndarray, "items classes"]]:
        """Mean probabilities of the images learned from, and mean squared probabilities; 0 for images never read."""
        sums, counts = self._history.sums()
        means = sums / np.maximum(counts, 1)[:, None]
        half = means.shape[1] // 2
        return means[:, :half], means[:, half:]

    def state(self, accelerator: Accelerator) -> dict[str, torch.Tensor]:
        """The history and margins."""
        return super().state(accelerator) | {"history": self._history.exchange(accelerator)}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take up what `state` gave; raises as `ImageTask.load_state` does."""
        super().load_state(state)
        self._history.restore(taken(state, "history"))


def build_task(
    config: TrainImageLevelConfig,
    data: Dataset,
    training_rows: Int64[np.ndarray, " training"],
    validation_rows: Int64[np.ndarray, " validation"],
    labels: TrainingLabels | None = None,
) -> ImageTask:
    """The task of a configuration; of two trainings the second's.

    Raises:
        ValueError: see the tasks.
    """
    match config.noise:
        case EarlyLearningConfig():
            return EarlyLearningTask(config, data, training_rows, validation_rows, labels)
        case CoTeachingConfig():
            return CoTeachingTask(config, data, training_rows, validation_rows, labels)
        case _:
            return ImageTask(config, data, training_rows, validation_rows, labels)


def build_network(config: TrainImageLevelConfig, data: Dataset) -> ImageClassifier:
    """The network of a configuration, two in one for co-teaching; the seed decides the heads' first weights.

    Raises:
        ValueError: see `build_model`.
    """
    torch.manual_seed(config.loop.seed)
    build = build_twins if isinstance(config.noise, CoTeachingConfig) else build_model
    return build(config.model, len(data.channels), data.classes, data.cache.size)


def loop_settings(config: TrainImageLevelConfig) -> LoopConfig:
    """The loop's settings for the network that is trained: of two in one, both learn at the rates asked for."""
    loop = config.loop
    if not isinstance(config.noise, CoTeachingConfig) or not loop.learning_rate_factors:
        return loop
    factors = {f"{one}.{name}": factor for one in MEMBERS for name, factor in loop.learning_rate_factors.items()}
    return loop.model_copy(update={"learning_rate_factors": factors})
