"""What is measured of one finished training beside its predictions: robustness of every fold's network, and costs."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from torch import nn

from hpa.arrays import Probabilities
from hpa.artifacts import build, is_finished, make_record, write_json
from hpa.classification import ImageClassifier, ImageDataset, predict_batch
from hpa.classification.corruptions import Corruption, corrupt, describe, usual_corruptions
from hpa.evaluation.robustness import robustness_table
from hpa.stages.comparison.compare_config import CostConfig, RobustnessConfig
from hpa.stages.comparison.network_costs import measure_costs
from hpa.stages.data.dataset import Dataset
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig
from hpa.stages.image_level.trained_run import TrainedRun
from hpa.tables import write_table
from hpa.training import Batch, infer

STAGE = "compare"
ROBUSTNESS, COSTS = "robustness.parquet", "costs.json"


def measure_variant(
    out: Path,
    training: TrainImageLevelConfig,
    run: TrainedRun,
    data: Dataset,
    robustness: RobustnessConfig | None,
    costs: CostConfig,
    accelerator: Accelerator,
) -> Path:
    """Measure a finished run, unless its measurements stand.

    Returns:
        `out`: `robustness.parquet` (fold, corruption, macro_ap, drop, constant; empty where it is left out) and
        `costs.json` (`Costs`; null for what is unknown).

    Raises:
        ArtifactError: other measurements stand there.
        ValueError: a corruption that the images do not allow.
    """
    sections = {"robustness": None if robustness is None else robustness.model_dump(mode="json"), "costs": costs}
    record = make_record(STAGE, sections, {"run": run.fingerprint})
    if is_finished(out, record):
        return out
    with build(out, record) as folder:
        table = pd.DataFrame(columns=["fold", "corruption", "macro_ap", "drop", "constant"])
        if robustness is not None:
            table = measure_robustness(training, run, data, robustness, accelerator)
        write_table(folder / ROBUSTNESS, table)
        found = dataclasses.asdict(measure_costs(training, data, costs, accelerator))
        write_json(folder / COSTS, {name: None if math.isnan(value) else value for name, value in found.items()})
    return out


def measure_robustness(
    training: TrainImageLevelConfig, run: TrainedRun, data: Dataset, config: RobustnessConfig, accelerator: Accelerator
) -> pd.DataFrame:
    """Macro average precision of each fold's network on the images that it did not see, as they are and made worse.

    Returns:
        Columns fold, corruption, macro_ap, drop, constant; see `hpa.evaluation.robustness`.
    """
    assert data.targets is not None
    corruptions = usual_corruptions(data.channels) if config.corruptions is None else config.corruptions
    tables = []
    for fold, network in zip(run.content.folds, run.networks(), strict=True):
        rows = np.flatnonzero(data.images["fold"].to_numpy() == fold)
        if config.images is not None and len(rows) > config.images:
            rows = np.sort(np.random.default_rng(fold).choice(rows, config.images, replace=False))
        images = ImageDataset(data.cache, rows)
        network.to(accelerator.device)

        def predicted(
            corruption: Corruption | None,
            network: ImageClassifier = network,
            images: ImageDataset = images,
            fold: int = fold,
        ) -> Probabilities:
            def outputs(model: nn.Module, batch: Batch) -> Mapping[str, torch.Tensor]:
                assert isinstance(model, ImageClassifier)
                pixels = batch["images"]
                if corruption is not None:
                    pixels = corrupt(pixels, corruption, data.channels, batch["index"])
                return {"probabilities": predict_batch(model, pixels)["probabilities"]}

            name = "as they are" if corruption is None else describe(corruption)
            return infer(
                network,
                outputs,
                images.sample,
                np.arange(len(images)),
                accelerator,
                training.loop.batch_size,
                machine=training.machine,
                label=f"fold {fold}, images {name}",
            )["probabilities"]

        worse = {describe(corruption): predicted(corruption) for corruption in corruptions}
        table = robustness_table(data.targets[rows], predicted(None), worse)
        tables.append(table.assign(fold=fold)[["fold", *table.columns]])
    return pd.concat(tables, ignore_index=True)
