"""`predict`: classes of new images by one or more finished runs, the networks of all folds averaged."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pydantic

from hpa.arrays import Probabilities
from hpa.artifacts import build, is_finished, make_record
from hpa.backbones import RANDOM_WEIGHTS
from hpa.classification import ImageDataset
from hpa.config import Config
from hpa.evaluation import evaluate
from hpa.memory import peak_memory_gb
from hpa.progress import say
from hpa.stages.data.dataset import Dataset, DatasetConfig, open_dataset, prepare
from hpa.stages.image_level import run_page
from hpa.stages.image_level.image_task import predict_images
from hpa.stages.image_level.trained_run import TrainedRun, open_run
from hpa.tables import class_table, write_embeddings, write_table
from hpa.training import MachineConfig, Precision, make_accelerator

STAGE = "predict"
PROBABILITIES = "probabilities.parquet"


class PredictConfig(Config):
    """Prediction of new images.

    Attributes:
        runs: folders of finished image-level runs with the same classes and channels; all networks count the same.
        data: the images; `data.cache` is taken from the runs.
        out: folder of the predictions.
        tta: views of an image that are averaged; None takes each run's own.
        batch_size: images of one forward pass.
        precision: None takes each run's own where this machine has it.
        machine: workers; decides speed only.
    """

    runs: Annotated[tuple[Path, ...], pydantic.Field(min_length=1)]
    data: DatasetConfig = DatasetConfig(out=Path("work/predict"))
    out: Path = Path("runs/predict")
    tta: Literal[1, 2, 4, 8] | None = None
    batch_size: Annotated[int, pydantic.Field(ge=1)] = 32
    precision: Precision = "no"
    machine: MachineConfig = MachineConfig()


def run(config: PredictConfig) -> Path:
    """Predict every image of a data set.

    Returns:
        `config.out`: `probabilities.parquet` (image_id, one probability per class), `embeddings/` (those of the first
        run), and, where the data set has labels, `metrics.json`, `per_class.csv` and `report.html`.

    Raises:
        ArtifactError: a run is missing or not finished, or other predictions stand in the folder.
        ValueError: the runs' classes or channels differ, or the images have other channels.
    """
    start = time.perf_counter()
    runs = [open_run(folder, "train_image_level") for folder in config.runs]
    _require_same(runs)
    accelerator = make_accelerator(config.precision)
    data = [_open(config, run, accelerator.is_main_process) for run in runs]
    accelerator.wait_for_everyone()
    inputs = {f"run {number}": run.fingerprint for number, run in enumerate(runs)}
    for number, one in enumerate(data):
        inputs |= {f"data {number} {name}": value for name, value in one.fingerprints.items()}
    record = make_record(STAGE, {"tta": config.tta, "precision": config.precision}, inputs)
    if is_finished(config.out, record):
        say(f"{config.out} stands already, made from the same configuration")
        return config.out
    networks = sum(len(run.content.folds) for run in runs)
    total: Probabilities | None = None
    embeddings = None
    for member, one in zip(runs, data, strict=True):
        images, views = ImageDataset(one.cache), config.tta or member.content.tta
        label = f"predicting by {member.folder}"
        for model in member.networks():
            model.to(accelerator.device)
            found, pooled = predict_images(model, images, views, accelerator, config.batch_size, config.machine, label)
            total = found / networks if total is None else total + found / networks
            embeddings = pooled if embeddings is None else embeddings
    assert total is not None
    assert embeddings is not None
    total = np.clip(total, 0, 1)
    if accelerator.is_main_process:
        with build(config.out, record) as folder:
            keys = data[0].images[["image_id"]]
            write_table(folder / PROBABILITIES, class_table(keys, total, data[0].classes))
            write_embeddings(folder / "embeddings", keys, embeddings)
            if data[0].targets is not None:
                random = [str(one.folder) for one in runs if one.is_from_random_weights]
                _write_evaluation(folder, config, data[0], total, random, time.perf_counter() - start)
    accelerator.wait_for_everyone()
    return config.out


def _require_same(runs: list[TrainedRun]) -> None:
    first = runs[0]
    for other in runs[1:]:
        for name in ("classes", "channels"):
            ours, theirs = getattr(first.content, name), getattr(other.content, name)
            if ours != theirs:
                raise ValueError(
                    f"runs: expected the same {name}, but {first.folder} has {ours} and {other.folder} {theirs}"
                )


def _open(config: PredictConfig, run: TrainedRun, is_main: bool) -> Dataset:
    """The images at the size that a run expects, its class list put in the place of an unlabelled source's."""
    settings = config.data.model_copy(update={"cache": run.content.cache})
    if is_main:
        prepare(settings, needs_folds=False)
    data = open_dataset(settings, needs_folds=False)
    if data.channels != run.content.channels:
        raise ValueError(
            f"data: {run.folder} was trained on the channels {', '.join(run.content.channels)}, "
            f"but the images have {', '.join(data.channels)}"
        )
    if data.targets is not None and data.classes != run.content.classes:
        raise ValueError(
            f"data: {run.folder} predicts {len(run.content.classes)} classes that are not those of the labels; "
            "give the source the run's class list"
        )
    return dataclasses.replace(data, classes=run.content.classes)


def _write_evaluation(
    folder: Path,
    config: PredictConfig,
    data: Dataset,
    probabilities: Probabilities,
    random: Sequence[str],
    seconds: float,
) -> None:
    assert data.targets is not None
    found = evaluate(data.targets, probabilities, data.classes)
    told = f"{RANDOM_WEIGHTS} ({', '.join(random)})" if random else "trained before"
    metrics = found.metrics | {
        "seconds": round(seconds, 1),
        "peak_memory_gb": round(peak_memory_gb(), 3),
        "initial_weights": told,
    }
    run_page.write_page(
        folder,
        data,
        np.arange(len(data.images)),
        probabilities,
        found,
        metrics,
        title=f"Predictions {config.out.name}",
        subtitle=f"by {', '.join(str(path) for path in config.runs)}",
        summary={"Images": str(len(data.images)), "Source": config.data.source.kind},
        config=config.model_dump(mode="json"),
        warnings=[f"Networks that started from {told}, not from weights trained on other images."] if random else [],
    )
    say(f"macro AP {metrics['macro_ap']:.3f} (constant predictor {metrics['macro_ap_constant']:.3f})")
