"""Explanations of a handful of items at once: maps, the worth of channels, judgement, and the files that keep them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hpa.arrays import Float64
from hpa.artifacts import write_json
from hpa.classification import ImageClassifier
from hpa.explain.attribution import Attribution, MethodConfig, attribute
from hpa.explain.evidence import Planes, evidence, meaning_of
from hpa.explain.gradient_config import IntegratedGradients
from hpa.explain.perturbation_config import BlackBaseline, KernelShap, WholeImageSegment
from hpa.explain.saved_maps import SavedMaps, write_maps
from hpa.explain.shares import sum_by_channel
from hpa.report.gallery import protein_channel
from hpa.stages.explanation.explain_config import ExplainConfig
from hpa.stages.explanation.explained_batch import QuestionBatch, ask_batch
from hpa.stages.explanation.explained_items import Explainable
from hpa.stages.explanation.explained_judging import Judgement, Remake, judge
from hpa.stages.explanation.explained_questions import Subject
from hpa.stages.explanation.explained_regions import Regions
from hpa.stages.explanation.explained_rows import item_rows

MAPS, ROWS = "maps", ".rows"
"""Folders of the maps, and of the figures of single items while the stage runs."""

MOST_EVALUATIONS = 1024
"""Of the network, for what each channel brings; exact up to ten planes."""


def is_done(folder: Path, subject: Subject) -> bool:
    """Whether an earlier call has finished an item."""
    return (folder / ROWS / f"{subject.file}.json").is_file()


@dataclass(frozen=True)
class Explainer:
    """Explains items by one network after the other.

    Attributes:
        config: of the stage.
        found: the items.
        regions: where cells are.
        folder: takes the files.
        device: of the networks.
    """

    config: ExplainConfig
    found: Explainable
    regions: Regions
    folder: Path
    device: torch.device

    def explain(self, network: ImageClassifier, subjects: Sequence[Subject], background: torch.Tensor) -> None:
        """Explain some items and write their files; an item's rows come last and say that it is finished.

        Args:
            network: in evaluation mode, on the device.
            subjects: the items.
            background: images for methods that compare with others.
        """
        batch = ask_batch(self.config, self.found, self.regions, network, subjects, self.device)
        methods = dict(zip(self.config.method_names, self.config.methods, strict=True))
        made = {name: self._apply(network, batch, method, background) for name, method in methods.items()}
        judged = self._judge(network, batch, methods, made, background) if self.config.judge else None
        brought = self._channels(network, batch, background)
        for place, subject in enumerate(subjects):
            self._write_maps(batch, place, made, judged)
            rows = item_rows(batch, place, self.found, made, judged, brought)
            write_json(self.folder / ROWS / f"{subject.file}.json", rows)

    def _apply(
        self, model: nn.Module, batch: QuestionBatch, method: MethodConfig, background: torch.Tensor
    ) -> Attribution:
        classes = torch.tensor(batch.classes)
        return attribute(model, batch.images, classes, method, batch.segments, background, self.config.batch_size)

    def _judge(
        self,
        network: ImageClassifier,
        batch: QuestionBatch,
        methods: Mapping[str, MethodConfig],
        made: Mapping[str, Attribution],
        background: torch.Tensor,
    ) -> Judgement:
        def remake(method: MethodConfig) -> Remake:
            if isinstance(method, IntegratedGradients):
                # A random network's logits hardly differ, and no number of steps would satisfy the tolerance.
                method = method.model_copy(update={"max_steps": method.steps})
            return lambda model: _evidence(self._apply(model, batch, method, background))

        return judge(
            network,
            batch.images,
            batch.classes,
            {name: _evidence(found) for name, found in made.items()},
            {name: remake(method) for name, method in methods.items()},
            batch.regions,
            protein_channel(self.found.items.channels),
            self.config.judging,
            self.config.batch_size,
        )

    def _channels(
        self, network: ImageClassifier, batch: QuestionBatch, background: torch.Tensor
    ) -> Float64[np.ndarray, "questions channels"]:
        """How much of the probability each channel brings: its Shapley value, beside images in which it is black."""
        planes = self.found.items.planes
        method = KernelShap(
            segments=WholeImageSegment(),
            per_channel=planes > 1,
            baseline=BlackBaseline(),
            output="probability",
            evaluations=max(4, min(2**planes, MOST_EVALUATIONS)),
        )
        maps = self._apply(network, batch, method, background).maps
        return sum_by_channel(maps.sum(axis=(2, 3), dtype=np.float64), self.found.items.channels)

    def _write_maps(
        self, batch: QuestionBatch, place: int, made: Mapping[str, Attribution], judged: Judgement | None
    ) -> None:
        own, curves = batch.of(place), judged.curves if judged else {}
        saved = SavedMaps(
            batch.pixels[place],
            {name: found.maps[own] for name, found in made.items()},
            batch.cell_maps[place],
            {name: where[own] for name, where in batch.regions.items()},
            next(iter(curves.values())).parts if curves else np.empty(0),
            {name: found.deletion[own] for name, found in curves.items()},
            {name: found.insertion[own] for name, found in curves.items()},
        )
        write_maps(self.folder / MAPS / f"{batch.subjects[place].file}.npz", saved)


def _evidence(found: Attribution) -> Planes:
    return evidence(found.maps, meaning_of(found.method))
