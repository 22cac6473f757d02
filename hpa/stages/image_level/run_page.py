"""What a run leaves for people: metrics.json, per_class.csv and report.html, from its out-of-fold predictions."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from hpa.arrays import Probabilities
from hpa.artifacts import make_record, write_json, write_text
from hpa.evaluation import Evaluation, confused_pairs, evaluate, pick_examples
from hpa.labels import ClassList
from hpa.memory import peak_memory_gb
from hpa.report import Example, make_example, run_report
from hpa.stages.data.dataset import Dataset
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig
from hpa.tables import class_values
from hpa.training import History

METRICS = "metrics.json"
PER_CLASS = "per_class.csv"
CONFUSION, CONFUSED = "confusion.csv", "confused_pairs.csv"
"""Of single-label tasks: counts, true x predicted, and the pairs of classes, the most confused first."""

REPORT = "report.html"
SIMULATED = "Trained and measured on simulated images: the figures say nothing about real cells."


def write_evaluation(
    folder: Path,
    config: TrainImageLevelConfig,
    data: Dataset,
    table: pd.DataFrame,
    initialisation: str,
    seconds: float,
) -> dict[str, Any]:
    """Evaluate out-of-fold predictions and write metrics, table and page.

    Args:
        folder: of the run, with `fold<k>/history.json`.
        config: of the run.
        data: what it was trained on.
        table: image_id, fold, one probability per class.
        initialisation: where the first weights came from.
        seconds: the whole run took.

    Returns:
        The content of metrics.json.
    """
    assert data.targets is not None
    rows = pd.Index(data.images["image_id"]).get_indexer(table["image_id"])
    targets, probabilities = data.targets[rows], class_values(table, data.classes)
    found = evaluate(targets, probabilities, data.classes, folds=table["fold"].to_numpy())
    metrics = found.metrics | {
        "images": len(data.images),
        "seconds": round(seconds, 1),
        "peak_memory_gb": round(peak_memory_gb(), 3),
        "initial_weights": initialisation,
    }
    write_page(
        folder,
        data,
        rows,
        probabilities,
        found,
        metrics,
        title=f"Image-level run {config.out.name}",
        subtitle=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        summary=_summary(config, data, table, seconds),
        config=config.model_dump(mode="json"),
        initial_weights=initialisation,
        random_weights=config.model.pretrained.kind == "none",
        history=_history(folder, config.chosen_folds),
        warnings=_warnings(config, data, found),
    )
    return metrics


def write_page(
    folder: Path,
    data: Dataset,
    rows: np.ndarray,
    probabilities: Probabilities,
    found: Evaluation,
    metrics: dict[str, Any],
    **page: Any,
) -> None:
    """Write metrics.json, per_class.csv and report.html; for single-label tasks the confusion as tables too.

    Args:
        folder: takes the three files.
        data: the images.
        rows: row of `data` that each probability belongs to.
        probabilities: what was evaluated.
        found: the evaluation.
        metrics: for metrics.json and the page.
        page: what else `run_report` shows, such as its title.
    """
    assert data.targets is not None
    write_json(folder / METRICS, metrics)
    write_text(folder / PER_CLASS, found.per_class.to_csv(index=False, lineterminator="\n"))
    confused = None
    if not data.classes.multi_label:
        confused = confused_pairs(found.confusion)
        write_text(folder / CONFUSION, found.confusion.to_csv(lineterminator="\n"))
        write_text(folder / CONFUSED, confused.to_csv(index=False, lineterminator="\n"))
    run_report(
        folder / REPORT,
        metrics=metrics,
        per_class=found.per_class,
        multi_label=data.classes.multi_label,
        rule=found.rule,
        confusion=found.confusion,
        confused=confused,
        reliability=found.reliability,
        channels=data.channels,
        precision_recall=found.precision_recall,
        examples=_examples(data, rows, data.targets[rows], probabilities, found),
        **page,
    )


def _examples(
    data: Dataset, rows: np.ndarray, targets: np.ndarray, probabilities: np.ndarray, found: Evaluation
) -> list[Example]:
    """Images decided right and wrong, read from the cache."""
    picked = pick_examples(targets, probabilities, found.decisions)
    return [
        make_example(
            str(data.images["image_id"].iloc[rows[row]]),
            np.asarray(data.cache.pixels[rows[row]]),
            data.channels,
            _names(data.classes, targets[row] > 0),
            _names(data.classes, found.decisions[row]),
            dict(zip(data.classes.names, map(float, probabilities[row]), strict=True)),
        )
        for row in picked["row"]
    ]


def _names(classes: ClassList, chosen: np.ndarray) -> tuple[str, ...]:
    return tuple(name for name, is_chosen in zip(classes.names, chosen, strict=True) if is_chosen)


def _history(folder: Path, folds: tuple[int, ...]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "fold": fold,
                "epoch": epoch.epoch,
                "train_loss": epoch.loss,
                "learning_rate": epoch.learning_rate,
                **{f"validation_{name}": value for name, value in epoch.metrics.items()},
            }
            for fold in folds
            for epoch in History.read(folder / f"fold{fold}").epochs
        ]
    )


def _summary(config: TrainImageLevelConfig, data: Dataset, table: pd.DataFrame, seconds: float) -> dict[str, str]:
    versions = make_record("", {}).made_by
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    return {
        "Network": f"{config.model.name}, images of {data.cache.size} x {data.cache.size} pixels",
        "Data": f"{config.data.source.kind}, {len(data.images)} images in {data.images['group'].nunique()} groups",
        "Folds held out": f"{', '.join(map(str, config.chosen_folds))} of {config.data.fold.folds} "
        f"({len(table)} images predicted by a network that did not see them)",
        "Views averaged per prediction": str(config.tta),
        "Time": f"{seconds:.0f} s",
        "Memory": f"{peak_memory_gb():.1f} GB at most",
        "Device": device,
        **{f"Version of {name}": value for name, value in versions.items()},
    }


def _warnings(config: TrainImageLevelConfig, data: Dataset, found: Evaluation) -> list[str]:
    warnings = []
    if config.data.source.kind == "simulated":
        warnings.append(SIMULATED)
    if len(config.chosen_folds) < config.data.fold.folds:
        warnings.append(
            f"Only {len(config.chosen_folds)} of {config.data.fold.folds} folds were held out, so most training "
            "images have no out-of-fold prediction; folds=all predicts every image."
        )
    left_out = data.folder / "index" / "problems.csv"
    if left_out.exists() and (problems := max(0, len(pd.read_csv(left_out)))):
        warnings.append(f"{problems} entries of the data set were left out; {left_out} says why.")
    return warnings
