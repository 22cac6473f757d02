"""`train_segmentation`: from images with label maps to a U-Net that finds cells and nuclei, and a report."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from hpa.artifacts import fingerprint, is_finished, make_record, write_json, write_text
from hpa.evaluation import f1_at_iou
from hpa.images import CHANNELS
from hpa.memory import peak_memory_gb
from hpa.parallel import open_executor
from hpa.progress import say, tracked
from hpa.report import TrueAndFound, segmentation_training_report
from hpa.segmentation import (
    CONTENT,
    TARGETS,
    TRAIN_SEGMENTATION,
    FolderPairs,
    FolderPairsConfig,
    Pair,
    Pairs,
    SegmentationDataset,
    SegmentationTask,
    StoredPairs,
    Target,
    Unet,
    UnetContent,
    build_unet,
    label_cells,
    predict_unet,
    store_pairs,
)
from hpa.simulation import SimulationConfig, simulate_image
from hpa.stages.cells.segmentation_config import SimulatedPairsConfig, TrainSegmentationConfig
from hpa.stages.data.building import build_together
from hpa.tables import json_value
from hpa.training import BEST, History, load_weights, make_accelerator, train

STAGE = TRAIN_SEGMENTATION
CONFIG, METRICS, PER_IMAGE, REPORT = "config.yaml", "metrics.json", "per_image.csv", "report.html"
PREPARED = ".prepared"
"""Folder of the images at the network's resolution while the stage runs."""

MATCH_IOU = 0.6
"""At which an object counts as found: that of the competition's metric."""

SIMULATED = "Trained and measured on simulated cells: the figures say nothing about real ones."

__all__ = ["TrainSegmentationConfig", "run"]


def run(config: TrainSegmentationConfig) -> Path:
    """Train, judge on the images held out, and report; a killed run is gone on with.

    Returns:
        `config.out`: `best.safetensors` and `run.json` (what `segmenter.kind=unet` opens), `history.json`,
        `metrics.json` (`cells_f1`, `nuclei_f1`: mean over images held out, at IoU 0.6, after post-processing; and what
        validation measured at the best epoch), `per_image.csv`, `report.html`.

    Raises:
        ArtifactError: another run stands in the folder.
        ValueError: images or label maps are missing or do not fit.
    """
    accelerator = make_accelerator(config.loop.precision)
    pairs, inputs = _open_source(config)
    targets = config.targets or pairs.targets
    record = make_record(STAGE, _content(config), inputs)
    if is_finished(config.out, record):
        say(f"{config.out} stands already, made from the same configuration")
        return config.out
    training_rows, held_out = _split(len(pairs), config.validation, config.loop.seed)
    with build_together(config.out, record, accelerator) as folder:
        if accelerator.is_main_process:
            with open_executor(config.workers) as executor:
                store_pairs(pairs, config.samples, folder / PREPARED, executor)
        accelerator.wait_for_everyone()
        prepared = StoredPairs(folder / PREPARED)
        datasets = [
            SegmentationDataset(Subset(prepared, rows), config.samples, targets, config.loop.seed)
            for rows in (training_rows, held_out)
        ]
        torch.manual_seed(config.loop.seed)  # the decoder's first weights
        model = build_unet(config.model, len(config.samples.channels), targets)
        say(
            f"{len(training_rows)} images to learn from, {len(held_out)} held out; {config.model.encoder}, "
            f"{model.initialisation}"
        )
        task = SegmentationTask(datasets[0], datasets[1], config.loss, config.loop, config.machine, config.parts)
        history = train(model, task, config.loop, folder, config.machine, accelerator)
        if accelerator.is_main_process:
            load_weights(folder / BEST, model)
            _finish(config, folder, model.to(accelerator.device), Subset(prepared, held_out), history)
            shutil.rmtree(folder / PREPARED)
    return config.out


@dataclass(frozen=True)
class SimulatedPairs:
    """Simulated images as training reads them; picklable.

    Attributes:
        simulation: what is drawn.
        channels: their names.
        targets: both are known.
    """

    simulation: SimulationConfig
    channels: tuple[str, ...] = CHANNELS
    targets: tuple[Target, ...] = TARGETS

    @property
    def pixel_size(self) -> float:
        """µm."""
        return self.simulation.field / self.simulation.size

    def __len__(self) -> int:
        return self.simulation.images

    def read(self, index: int) -> Pair:
        """Draw one image."""
        image = simulate_image(self.simulation, index)
        return Pair(image.pixels, image.cell_map, image.nucleus_map)


@dataclass(frozen=True)
class Subset:
    """Some of the prepared images.

    Attributes:
        pairs: all of them.
        rows: the chosen ones.
    """

    pairs: StoredPairs
    rows: Sequence[int]

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return self.pairs.channels

    @property
    def pixel_size(self) -> float:
        """µm."""
        return self.pairs.pixel_size

    @property
    def targets(self) -> tuple[Target, ...]:
        """What is known of the images."""
        return self.pairs.targets

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> Pair:
        """One image."""
        return self.pairs.read(self.rows[index])


def _open_source(config: TrainSegmentationConfig) -> tuple[Pairs, dict[str, str]]:
    match config.source:
        case SimulatedPairsConfig(simulation=simulation):
            return SimulatedPairs(simulation), {}
        case FolderPairsConfig() as settings:
            pairs = FolderPairs(settings)
            if pairs.unlabelled:
                say(f"{len(pairs.unlabelled)} images without a label map are left out ({pairs.unlabelled[0]}, ...)")
            return pairs, {"images": fingerprint(pairs.image_ids)}


def _content(config: TrainSegmentationConfig) -> dict[str, object]:
    names = ("source", "targets", "validation", "samples", "model", "loss", "parts", "loop", "postprocessing")
    return {name: getattr(config, name) for name in names}


def _split(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Rows to learn from and rows held out."""
    if count < 2:
        raise ValueError(f"expected at least two images with label maps, one to hold out, but got {count}")
    order = np.random.default_rng(seed).permutation(count).tolist()
    kept = min(count - 1, max(1, round(share * count)))
    return sorted(order[kept:]), sorted(order[:kept])


def _finish(config: TrainSegmentationConfig, folder: Path, model: Unet, held_out: Subset, history: History) -> None:
    """Judge the best network as it will be used, and write everything about it."""
    start = time.perf_counter()
    content = UnetContent(
        channels=config.samples.channels,
        pixel_size=config.samples.pixel_size,
        targets=model.targets,
        model=config.model,
    )
    write_json(folder / CONTENT, content.model_dump(mode="json"))
    write_text(folder / CONFIG, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
    rows, examples = [], []
    shown = set(np.linspace(0, len(held_out) - 1, min(config.examples, len(held_out))).round().astype(int).tolist())
    for number in tracked(range(len(held_out)), "judging", len(held_out)):
        pair = held_out.read(number)
        maps = predict_unet(model, [pair.pixels], 1.0)[0]
        found = label_cells(maps, config.postprocessing, config.samples.pixel_size)
        row: dict[str, float] = {"image": held_out.rows[number]}
        for name, truth, ours in (("cells", pair.cells, found.cells), ("nuclei", pair.nuclei, found.nuclei)):
            if truth is not None and name in model.targets:
                row[f"{name}_f1"] = f1_at_iou(truth, ours, MATCH_IOU)
        rows.append(row)
        if number in shown:
            figures = {name.removesuffix("_f1"): value for name, value in row.items() if name.endswith("_f1")}
            truth, ours = (pair.cells, found.cells) if "cells" in model.targets else (pair.nuclei, found.nuclei)
            name = f"image {row['image']:.0f}"
            examples.append(TrueAndFound(name, pair.pixels, held_out.channels, truth, ours, figures))
    table = pd.DataFrame(rows)
    write_text(folder / PER_IMAGE, table.to_csv(index=False))
    best = history.best
    metrics: dict[str, object] = {
        name: json_value(float(table[name].mean())) for name in table.columns if name.endswith("_f1")
    }
    metrics |= {f"validation_{name}": value for name, value in best.metrics.items()}
    metrics |= {
        "epoch": best.epoch,
        "seconds": round(sum(epoch.seconds for epoch in history.epochs) + time.perf_counter() - start, 1),
        "peak_memory_gb": round(peak_memory_gb(), 3),
    }
    write_json(folder / METRICS, metrics)
    segmentation_training_report(
        folder / REPORT,
        metrics=metrics,
        history=pd.DataFrame(
            [{"epoch": epoch.epoch, "train_loss": epoch.loss, **epoch.metrics} for epoch in history.epochs]
        ),
        examples=examples,
        config=config.model_dump(mode="json"),
        initial_weights=model.initialisation,
        match_iou=MATCH_IOU,
        warnings=[SIMULATED] if isinstance(config.source, SimulatedPairsConfig) else [],
    )
    say(
        f"held-out F1 at IoU {MATCH_IOU}: "
        + ", ".join(f"{name} {table[f'{name}_f1'].mean():.3f}" for name in TARGETS if f"{name}_f1" in table)
    )
