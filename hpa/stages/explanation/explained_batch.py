"""A handful of items with their questions, as methods of attribution take them: an image and a class per question."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from hpa.arrays import Bool, Int64, LabelMap, PixelBatch, Probabilities
from hpa.classification import ImageClassifier
from hpa.stages.explanation.explain_config import ExplainConfig
from hpa.stages.explanation.explained_items import Explainable
from hpa.stages.explanation.explained_questions import Question, Subject, ask
from hpa.stages.explanation.explained_regions import Regions


@dataclass(frozen=True, eq=False)
class QuestionBatch:
    """Items and what is asked of them.

    Attributes:
        subjects: the items.
        pixels: theirs.
        probabilities: of their classes.
        cell_maps: theirs; None where nothing is known.
        questions: of all items, one item after the other.
        owners: of each question, the place of its item.
        images: of each question, float in [0, 255], on the network's device.
        regions: by name, where each question's class is.
    """

    subjects: Sequence[Subject]
    pixels: PixelBatch
    probabilities: Probabilities
    cell_maps: Sequence[LabelMap | None]
    questions: Sequence[Question]
    owners: Int64[np.ndarray, " questions"]
    images: torch.Tensor
    regions: Mapping[str, Bool[np.ndarray, "questions height width"]]

    @property
    def classes(self) -> list[int]:
        """Class number of each question."""
        return [question.number for question in self.questions]

    @property
    def segments(self) -> list[np.ndarray] | None:
        """Label map of each question's item; None where one is missing."""
        known = [cell_map for cell_map in self.cell_maps if cell_map is not None]
        return [known[place] for place in self.owners] if len(known) == len(self.cell_maps) else None

    def of(self, place: int) -> Int64[np.ndarray, " own"]:
        """Numbers of an item's questions."""
        return np.flatnonzero(self.owners == place)


def ask_batch(
    config: ExplainConfig,
    found: Explainable,
    regions: Regions,
    network: ImageClassifier,
    subjects: Sequence[Subject],
    device: torch.device,
) -> QuestionBatch:
    """Read some items, predict them, and ask for their classes."""
    pixels = found.read(np.array([subject.row for subject in subjects], np.int64))
    tensor = torch.from_numpy(pixels).to(device)
    probabilities = found.predict(network, tensor)
    asked = [ask(config, found, subject, own) for subject, own in zip(subjects, probabilities, strict=True)]
    owners = np.repeat(np.arange(len(subjects)), [len(own) for own in asked])
    where = [
        regions.of_classes(subject, [question.name for question in own])
        for subject, own in zip(subjects, asked, strict=True)
    ]
    return QuestionBatch(
        subjects,
        pixels,
        probabilities,
        [regions.cell_map(subject) for subject in subjects],
        [question for own in asked for question in own],
        owners,
        tensor.float()[torch.from_numpy(owners).to(device)],
        {name: np.concatenate([own[name] for own in where]) for name in where[0]},
    )
