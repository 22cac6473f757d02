"""Early-learning regularisation: a network is held to what it answered before it began to learn wrong labels by heart.

Liu et al., "Early-learning regularization prevents memorization of noisy labels" (2020). Where images may have several
classes, each class is a question of two answers, and the penalty is the mean over classes.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from accelerate import Accelerator
from pydantic import Field

from hpa.arrays import Float, Int64, LogitTensor
from hpa.classification.sample_memory import SampleMemory, taken
from hpa.config import Config

CLIP = 1e-4
"""Probabilities are kept this far from 0 and 1, as in the authors' code, and so the penalty finite."""


class EarlyLearningConfig(Config):
    """Early-learning regularisation.

    Attributes:
        strength: factor on the penalty; None is the paper's 3 where an image has one class, and 1 where it may have
            several: the penalty pulls a class that an image hardly shows towards "no" with up to half its strength, and
            a label pulls towards "yes" with 1, so from 2 on rare classes would never be learned.
        decay: share of the earlier answers in the remembered one, per epoch.
        from_epoch: epochs, from 0, before the penalty begins; answers are remembered from the first epoch on.
    """

    kind: Literal["early_learning"] = "early_learning"
    strength: Annotated[float, Field(ge=0)] | None = None
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.7
    from_epoch: Annotated[int, Field(ge=0)] = 0

    def factor(self, multi_label: bool) -> float:
        """The factor on the penalty."""
        return self.strength if self.strength is not None else (1.0 if multi_label else 3.0)


def early_answers(logits: LogitTensor, multi_label: bool) -> LogitTensor:
    """Probabilities, float32, away from 0 and 1; of a softmax they sum to one."""
    logits = logits.float()
    probabilities = logits.sigmoid() if multi_label else logits.softmax(dim=1)
    probabilities = probabilities.clamp(CLIP, 1 - CLIP)
    return probabilities if multi_label else probabilities / probabilities.sum(dim=1, keepdim=True)


def early_learning_penalty(
    answers: LogitTensor,
    remembered: LogitTensor,
    mass: Float[torch.Tensor, " batch"],
    multi_label: bool,
) -> Float[torch.Tensor, " batch"]:
    """log(1 - agreement with the remembered answer) of each image; falls without a bound but CLIP's as they agree.

    Args:
        answers: of the network, from `early_answers`.
        remembered: weighted sums of earlier answers, without a gradient.
        mass: sum of those weights, in [0, 1]: the memory begins with 0, so that the penalty begins weak.
        multi_label: whether each class has its own yes or no.
    """
    if multi_label:
        agreement = answers * remembered + (1 - answers) * (mass[:, None] - remembered)
        return torch.log1p(-agreement.clamp(max=1 - CLIP)).mean(dim=1)
    return torch.log1p(-(answers * remembered).sum(dim=1).clamp(max=1 - CLIP))


class AnswerMemory:
    """A moving average of the network's answers to each sample, one step per epoch.

    Of a sample that an epoch reads several times, or on several processes, the mean answer is taken in when the epoch
    is over, whatever the order; while it lasts, each reading sees the average moved by its own answer alone.

    Args:
        samples: how many.
        classes: answers of each.
        decay: share of the earlier answers.
    """

    def __init__(self, samples: int, classes: int, decay: float) -> None:
        self._decay = decay
        self._average = torch.zeros(samples, classes)
        self._mass = torch.zeros(samples)
        self._epoch = 0
        self._reading = SampleMemory(samples, classes)

    def read(
        self, index: Int64[torch.Tensor, " batch"], answers: LogitTensor, epoch: int
    ) -> tuple[LogitTensor, Float[torch.Tensor, " batch"]]:
        """Remember answers to some samples.

        Returns:
            What `early_learning_penalty` takes: the remembered answers with these ones taken in, and their mass.
        """
        if epoch != self._epoch:
            self._close(epoch)
        answers = answers.detach()
        index = index.to(answers.device)
        self._reading.add(index, answers)
        self._average, self._mass = self._average.to(answers.device), self._mass.to(answers.device)
        new = 1 - self._decay
        return self._decay * self._average[index] + new * answers, self._decay * self._mass[index] + new

    def _close(self, epoch: int) -> None:
        """Take in the epoch that is over; its end was a checkpoint, where the processes exchanged what they read."""
        was_read = self._reading.counts.to(self._average.device) > 0
        means = self._reading.means.to(self._average.device)
        new = 1 - self._decay
        self._average = torch.where(was_read[:, None], self._decay * self._average + new * means, self._average)
        self._mass = torch.where(was_read, self._decay * self._mass + new, self._mass)
        self._reading.forget()
        self._epoch = epoch

    def state(self, accelerator: Accelerator) -> dict[str, torch.Tensor]:
        """All processes' memory together; called on every process."""
        return {
            "answers": self._average.clone(),
            "answers_mass": self._mass.clone(),
            "answers_epoch": torch.tensor(self._epoch),
            "answers_reading": self._reading.exchange(accelerator),
        }

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take up what `state` gave.

        Raises:
            ValueError: it is not there, or of other samples.
        """
        average = taken(state, "answers")
        if average.shape != self._average.shape:
            raise ValueError(
                f"expected remembered answers of shape {tuple(self._average.shape)}, but the checkpoint has "
                f"{tuple(average.shape)}; it is of a run with other images, remove it to start again"
            )
        self._average, self._mass = average.clone(), taken(state, "answers_mass").clone()
        self._epoch = int(taken(state, "answers_epoch"))
        self._reading.restore(taken(state, "answers_reading"))
