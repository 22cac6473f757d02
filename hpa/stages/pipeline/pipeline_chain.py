"""The steps of a pipeline: each calls a stage with the folders that the steps before left."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hpa.artifacts import read_json, write_json
from hpa.classification import CamConfig
from hpa.fusion import Level, MemberConfig
from hpa.progress import say
from hpa.stages.cell_level import fuse, make_pseudo_labels, predict_cells, score_cells, train_bags, train_cell_level
from hpa.stages.cell_level.fuse import FuseConfig
from hpa.stages.cell_level.score_cells_config import Method
from hpa.stages.cells import cache_cells, segment_cells, true_labels
from hpa.stages.cells.cells_config import SegmentCellsConfig
from hpa.stages.data.dataset_config import DatasetConfig
from hpa.stages.image_level import predict, train_image_level
from hpa.stages.image_level.run_page import METRICS
from hpa.stages.pipeline.pipeline_config import PipelineConfig
from hpa.stages.submission import build_submission, write_truth

C = TypeVar("C")
STEPS = "steps.json"
QUALITY = "image_macro_ap"
"""What a round of pseudo-labels is judged by, of a training's metrics: macro AP of the images' labels by the highest
out-of-fold score among each image's cells, for which nobody needs to know the truth about cells."""
LEAST_GAIN = 0.002
"""Rise of that quality that a further round must bring."""


class Chain:
    """The steps of one pipeline, in the order in which they are called.

    Attributes:
        steps: seconds of each step that was made, those of earlier calls too.
    """

    def __init__(self, config: PipelineConfig) -> None:
        self.config, self.out = config, config.out
        self.steps: dict[str, float] = read_json(self.out / STEPS) if (self.out / STEPS).is_file() else {}

    @property
    def _init(self) -> Path | None:
        return self.out / "image_level" if self.config.begin == "image_level" else None

    def cells(self, part: str) -> Path:
        """Label maps of the images to learn from (`train`) or to predict (`test`)."""
        return self.out / f"{part}_cells"

    def data(self, part: str) -> DatasetConfig:
        """The images of a part."""
        return self.config.training_data if part == "train" else self.config.test_data

    def prepare(self) -> None:
        """Train on whole images; find and cut out the cells of both parts; predict the test images."""
        config = self.config
        for part in ("train", "test"):
            cells = SegmentCellsConfig(
                data=self.data(part),
                out=self.cells(part),
                segmenter=config.segmenter,
                postprocessing=config.postprocessing,
                quality=config.quality,
            )
            self._step(f"segment_cells, {part}", segment_cells.run, cells)
        consistency = config.image_level.consistency
        if consistency is not None:
            consistency = consistency.model_copy(update={"cells": self.cells("train")})
        image_level = config.image_level.model_copy(
            update={"data": config.training_data, "out": self.out / "image_level", "consistency": consistency}
        )
        self._step("train_image_level", train_image_level.run, image_level)
        new = predict.PredictConfig(
            runs=(self.out / "image_level",), data=self.config.test_data, out=self.out / "image_test"
        )
        self._step("predict", predict.run, new)
        if config.bags is None and not config.rounds and not config.supervised:
            return
        for part in ("train", "test"):
            cut = cache_cells.CacheCellsConfig(
                data=self.data(part),
                cells=self.cells(part),
                crops=config.crops,
                pixel_size=config.pixel_size,
                out=self.out / f"{part}_crops",
            )
            self._step(f"cache_cells, {part}", cache_cells.run, cut)

    def score_images(self, name: str, method: Method | CamConfig) -> dict[str, Path]:
        """Scores of cells by the image-level networks, out of fold for the images to learn from."""
        folders = {}
        for part in ("train", "test"):
            folders[part] = self.out / f"{name}_{part}"
            settings = score_cells.ScoreCellsConfig(
                run=self.out / "image_level",
                data=self.data(part),
                cells=self.cells(part),
                out=folders[part],
                method=method,
                out_of_fold=part == "train",
            )
            self._step(f"score_cells, {name}, {part}", score_cells.run, settings)
        return folders

    def train_bags(self) -> dict[str, Path]:
        """Train on bags of cells, and score the test cells."""
        assert self.config.bags is not None
        out = self.out / "bag"
        settings = self.config.bags.model_copy(
            update={
                "data": self.config.training_data,
                "cells_cache": self.out / "train_crops",
                "init": self._init,
                "out": out,
            }
        )
        self._step("train_bags", train_bags.run, settings)
        return {"train": out, "test": self._predict_cells("bag", out)}

    def pseudo_rounds(self, methods: dict[str, dict[str, Path]]) -> list[str]:
        """Rounds of pseudo-labels and trainings on them, as long as the out-of-fold quality rises; their names.

        The evidence of the first round is what the methods so far say of the training cells, that of a later one what
        the round before says. Quality is QUALITY.
        """
        evidence = [methods[name]["train"] for name in ("cam", "bag") if name in methods] or [methods["copy"]["train"]]
        gained: list[str] = []
        best = -math.inf
        for number in range(1, self.config.rounds + 1):
            name = f"pseudo {number}"
            labels, out = self.out / f"pseudo{number}_labels", self.out / f"pseudo{number}"
            settings = make_pseudo_labels.MakePseudoLabelsConfig(
                data=self.config.training_data,
                cells=self.cells("train"),
                image_scores=self.out / "image_level",
                cell_scores=tuple(make_pseudo_labels.EvidenceConfig(path=path) for path in evidence),
                rule=self.config.rule,
                weights=self.config.weights,
                ratings=self.config.ratings,
                truth=self._true_labels(),
                out=labels,
            )
            self._step(f"make_pseudo_labels, round {number}", make_pseudo_labels.run, settings)
            methods[name] = self._train_cells(name, labels, out)
            quality = float(read_json(out / METRICS)[QUALITY])
            say(f"round {number}: macro AP of the images' labels by their cells, out of fold: {quality:.4f}")
            if quality < best + LEAST_GAIN:
                say(f"round {number} brings no gain over the round before, which stands; no further round")
                break
            gained.append(name)
            best, evidence = quality, [out]
        return gained

    def train_supervised(self, methods: dict[str, dict[str, Path]]) -> None:
        """Train on true labels of cells, where they are known: what the weak methods are measured by."""
        labels = self._true_labels()
        if labels is None:
            raise ValueError("supervised: the true labels of the training cells are unknown; set it to false")
        methods["supervised"] = self._train_cells("supervised", labels, self.out / "supervised")

    def fuse(self, methods: dict[str, dict[str, Path]], rounds: list[str]) -> dict[str, Path]:
        """Join the scores of the methods into one table for each part."""
        settings, truth = self.config.fusion, self.config.truth_of(self.config.training_data)
        if settings.tune and truth is None:
            raise ValueError("fusion.tune: the truth about the training images' cells is unknown; set it to false")
        folders = {}
        for part in ("train", "test"):
            folders[part] = self.out / f"fused_{part}"
            config = FuseConfig(
                members=tuple(self._members(methods, rounds, part)),
                how=settings.how,
                cells=self.cells(part),
                out=folders[part],
                tune=fuse.TuneConfig(label_maps=truth.label_maps, labels=truth.labels)
                if settings.tune and truth is not None and part == "train"
                else None,
                weights_from=folders["train"] if settings.tune and part == "test" else None,
                workers=self.config.data.workers,
            )
            self._step(f"fuse, {part}", fuse.run, config)
        return folders

    def submit(self, fused: dict[str, Path]) -> Path:
        """Write the submission, check it, and score it where the truth is known."""
        truth = self.config.truth_of(self.config.test_data)
        file = None
        if truth is not None:
            file = self.out / "truth.csv"
            settings = write_truth.WriteTruthConfig(label_maps=truth.label_maps, labels=truth.labels, out=file)
            if not file.is_file():
                self._step("write_truth", write_truth.run, settings)
        config = build_submission.BuildSubmissionConfig(
            name="submission",
            folder=self.out,
            cells=self.cells("test"),
            probabilities=fused["test"],
            sample=self.config.sample,
            confidence=self.config.confidence,
            truth=file,
            workers=self.config.test.workers,
        )
        return self._step("build_submission", build_submission.run, config)

    def _train_cells(self, name: str, labels: Path, out: Path) -> dict[str, Path]:
        settings = self.config.cell_level.model_copy(
            update={
                "data": self.config.training_data,
                "cells_cache": self.out / "train_crops",
                "labels": labels,
                "init": self._init,
                "out": out,
            }
        )
        self._step(f"train_cell_level, {name}", train_cell_level.run, settings)
        return {"train": out, "test": self._predict_cells(name, out)}

    def _predict_cells(self, name: str, run_folder: Path) -> Path:
        config = predict_cells.PredictCellsConfig(
            runs=(run_folder,),
            cells_cache=self.out / "test_crops",
            out=run_folder.with_name(f"{run_folder.name}_test"),
        )
        return self._step(f"predict_cells, {name}", predict_cells.run, config)

    def _members(self, methods: dict[str, dict[str, Path]], rounds: list[str], part: str) -> list[MemberConfig]:
        settings = self.config.fusion
        found: dict[str, tuple[Level, tuple[Path, ...]]] = {
            "image": ("image", (self.out / ("image_level" if part == "train" else "image_test"),))
        }
        level: Level
        for member, level, names in (("cam", "cam", ["cam"]), ("bag", "cell", ["bag"]), ("cell", "cell", rounds)):
            paths = tuple(methods[name][part] for name in names if name in methods)
            if paths:
                found[member] = (level, paths)
        members = [
            MemberConfig(
                name=member,
                level=level,
                paths=paths,
                weight=settings.weights.get(member, 0.0),
                class_weights=settings.class_weights.get(member, {}),
            )
            for member, (level, paths) in found.items()
            if settings.weights.get(member, 0.0) > 0
        ]
        if not members:
            raise ValueError("fusion.weights: none of the members of a weight above 0 was made; change the weights")
        return members

    def _true_labels(self) -> Path | None:
        """True labels of the training cells, to compare with and for the supervised training alone."""
        truth = self.config.truth_of(self.config.training_data)
        if truth is None:
            return None
        config = true_labels.TrueLabelsConfig(
            cells=self.cells("train"),
            label_maps=truth.label_maps,
            labels=truth.labels,
            out=self.out / "true_labels",
            workers=self.config.data.workers,
        )
        return self._step("true_labels", true_labels.run, config)

    def _step(self, name: str, stage: Callable[[C], Path], config: C) -> Path:
        """Do a step and note its seconds; a step that stands keeps those of the call that made it."""
        say(f"-- {name}")
        start = time.perf_counter()
        folder = stage(config)
        seconds = round(time.perf_counter() - start, 1)
        if seconds > self.steps.get(name, 0):
            self.steps[name] = seconds
            write_json(self.out / STEPS, self.steps)
        return folder
