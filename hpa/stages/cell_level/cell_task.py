"""Single cells with labels as the training loop sees them: the data, samples, loss, validation, prediction."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import default_collate

from hpa.arrays import EmbeddingArray, Float32, Int64, Integer, Probabilities, Targets
from hpa.artifacts import RECORD, ArtifactError, Record, file_digest, read_json, read_record
from hpa.cell_cache import CellCache
from hpa.classification import ImageClassifier, build_augmentation, build_loss, mix, order, predict_batch
from hpa.classification.cell_dataset import CellDataset
from hpa.evaluation import average_precision
from hpa.labels import ClassList
from hpa.stages.cell_level.cell_level_config import TrainCellLevelConfig
from hpa.stages.cells import cache_cells
from hpa.stages.data import fold, index
from hpa.stages.data.indexed_images import open_index
from hpa.tables import CELL_KEY, align, class_values, read_table
from hpa.training import Batch, MachineConfig, Sample, Step, infer

AT_ONCE = 16384
"""Cells between two looks at what was found, so that memory does not grow with the number of cells."""


@dataclass(frozen=True, eq=False)
class LabelledCells:
    """Cells to learn from and to predict; row i of every array is row i of the cache.

    Attributes:
        cache: the crops.
        folds: of the cells' images.
        targets: soft or hard labels in [0, 1].
        weights: how much each cell counts, 0 and above.
        image_targets: labels of each cell's image.
        classes: the class list.
        crops: how the cells were cut out: a section of the cache's record.
        fingerprints: of the folds, the cache and the labels.
    """

    cache: CellCache
    folds: Int64[np.ndarray, " cells"]
    targets: Targets
    weights: Float32[np.ndarray, " cells"]
    image_targets: Targets
    classes: ClassList
    crops: dict[str, object]
    fingerprints: dict[str, str]


def open_labelled_cells(config: TrainCellLevelConfig) -> LabelledCells:
    """Join crops, folds and labels by key.

    Raises:
        ArtifactError: something is missing, which the error names with its command, or belongs to other images.
        ValueError: the labels are not those of the cells, or not in their range.
    """
    data = config.data
    indexed = open_index(data.index_folder)
    dealt = read_record(data.fold_folder, fold.STAGE)
    cut = read_record(config.cells_cache, cache_cells.STAGE)
    for folder, record in ((data.fold_folder, dealt), (config.cells_cache, cut)):
        if record.inputs.get("index") != indexed.fingerprint:
            raise ArtifactError(f"{folder}: was not made from the images in {data.index_folder}; make it again")
    cache = CellCache.open(config.cells_cache)
    _require_same_cells(config, cut)
    targets, weights = _read_labels(config.labels_file, cache, indexed.classes)
    folds = read_table(data.fold_folder / fold.FOLDS, ["image_id", "fold"]).set_index("image_id")["fold"]
    images = indexed.table[["image_id"]]
    of_images = class_values(align(images, read_table(data.index_folder / index.LABELS)), indexed.classes)
    image_ids = cache.keys["image_id"]
    return LabelledCells(
        cache=cache,
        folds=image_ids.map(folds).to_numpy(np.int64),
        targets=targets,
        weights=weights,
        image_targets=of_images[images.set_index("image_id").index.get_indexer(image_ids)],
        classes=indexed.classes,
        crops=dict(cut.config["crops"]),
        fingerprints={
            "fold": dealt.fingerprint,
            "cells_cache": cut.fingerprint,
            "labels": file_digest(config.labels_file),
        },
    )


def _require_same_cells(config: TrainCellLevelConfig, cut: Record) -> None:
    """Refuse labels that tell that they were made for other label maps, whose cells may have the same numbers."""
    record = config.labels_file.with_name(RECORD)
    made_for = read_json(record).get("inputs", {}).get("cells") if record.is_file() else None
    if made_for not in (None, cut.inputs.get("cells")):
        raise ArtifactError(
            f"{config.labels_file}: was made for other label maps than the cells of {config.cells_cache}; make both "
            "from the same artifact of `hpa segment_cells`"
        )


def _read_labels(path: Path, cache: CellCache, classes: ClassList) -> tuple[Targets, Float32[np.ndarray, " cells"]]:
    if not path.is_file():
        raise ArtifactError(f"{path}: there are no cell labels; `hpa make_pseudo_labels` makes them, or give a table")
    table = read_table(path, CELL_KEY)
    try:
        table = align(cache.keys, table, CELL_KEY)
        targets = class_values(table, classes)
    except ValueError as error:
        raise ValueError(
            f"{path}: expected a row of labels for every cell of {cache.folder}, with weight 0 for cells that are "
            f"not to be learned from: {error}"
        ) from None
    weights = np.ones(len(table), np.float32)
    if "weight" in table.columns:
        weights = table["weight"].to_numpy(np.float32)
    for name, values, most in (("labels in [0, 1]", targets, 1.0), ("weights of 0 and above", weights, np.inf)):
        wrong = ~((values >= 0) & (values <= most) & np.isfinite(values))
        if wrong.any():
            raise ValueError(f"{path}: expected {name}, but found {values[wrong][0]} ({int(wrong.sum())} such values)")
    return targets, weights


class CellTask:
    """Trains on some cells and validates on others.

    Attributes:
        training: the cells to learn from, those of weight 0 left out.
        validation: the labelled cells among those held out, neither augmented nor mixed.
    """

    def __init__(
        self,
        config: TrainCellLevelConfig,
        data: LabelledCells,
        training_rows: Int64[np.ndarray, " training"],
        validation_rows: Int64[np.ndarray, " validation"],
    ) -> None:
        self._config = config
        self._targets = data.targets[training_rows]
        self._held_out = data.targets[validation_rows]
        self._weights = data.weights[validation_rows]
        self._loss = build_loss(config.loss, self._targets, data.classes)
        self.training = CellDataset(
            data.cache,
            training_rows,
            self._targets,
            data.weights[training_rows],
            build_augmentation(config.augmentation),
            config.masking,
            seed=config.loop.seed,
        )
        self.validation = CellDataset(data.cache, validation_rows, masking=config.masking)

    def order(self, epoch: int) -> Integer[np.ndarray, " samples"]:
        """Numbers of the training cells that an epoch reads."""
        return order(self._config.sampler, self._targets, self._config.loop.seed, epoch)

    def sample(self, index: int, epoch: int) -> Sample:
        """One augmented training cell with its labels."""
        return self.training.sample(index, epoch)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Stack samples."""
        batch: Batch = default_collate(list(samples))
        return batch

    def loss(self, model: nn.Module, batch: Batch, step: Step) -> torch.Tensor:
        """The mean loss of a batch, mixed as the configuration says."""
        images, targets, weights = mix(
            self._config.mixing, batch["images"], batch["targets"], batch.get("weights"), step.generator
        )
        return self._loss(model(in_format(images, self._config.loop.channels_last)), targets, weights)

    def validate(self, model: nn.Module, accelerator: Accelerator) -> Mapping[str, float]:
        """Macro average precision and loss on the labelled cells held out; NaN where there are none.

        A class counts from 0.5 on.
        """
        if not len(self.validation):
            return {"macro_ap": float("nan"), "loss": float("nan")}
        logits = infer(
            model,
            lambda network, batch: {"logits": network(in_format(batch["images"], self._config.loop.channels_last))},
            self.validation.key,
            np.arange(len(self.validation)),
            accelerator,
            batch_size=self._config.loop.batch_size,
            collate=self.validation.collate,
            machine=self._config.machine,
            label="validating",
        )["logits"]
        values = torch.from_numpy(logits)
        loss = float(self._loss(values, torch.from_numpy(self._held_out), torch.from_numpy(self._weights)))
        found = classifier(model).probabilities(values).numpy()
        precision = average_precision((self._held_out >= 0.5).astype(np.float32), found)
        return {
            "macro_ap": float(np.nanmean(precision)) if np.isfinite(precision).any() else float("nan"),
            "loss": loss,
        }


def predict_cells(
    model: ImageClassifier,
    cells: CellDataset,
    views: int,
    accelerator: Accelerator,
    batch_size: int,
    machine: MachineConfig,
    label: str,
    channels_last: bool = True,
    with_embeddings: bool = False,
    skip: int = 0,
) -> Iterator[tuple[Probabilities, EmbeddingArray | None]]:
    """Probabilities and, where asked for, pooled embeddings of cells, each the mean over `views` dihedral views.

    Gives them for `AT_ONCE` cells at a time, in the order of the data set; called on every process alike.

    Args:
        model: on the accelerator's device.
        cells: as validation sees them.
        views: 1, 2, 4 or 8.
        accelerator: the processes and the precision.
        batch_size: cells of one forward pass.
        machine: worker processes.
        label: what the progress bar says.
        channels_last: memory layout of the batches.
        with_embeddings: None is given in their place otherwise.
        skip: parts of `AT_ONCE` cells at the beginning that are left out.
    """
    names = ("probabilities", "embeddings") if with_embeddings else ("probabilities",)

    def outputs(network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        found = predict_batch(classifier(network), in_format(batch["images"], channels_last), views)
        return {name: found[name] for name in names}

    starts = range(0, len(cells), AT_ONCE)
    for number, start in list(enumerate(starts))[skip:]:
        part = f"{label} (part {number + 1} of {len(starts)})" if len(starts) > 1 else label
        indices = np.arange(start, min(start + AT_ONCE, len(cells)))
        found = infer(model, outputs, cells.key, indices, accelerator, batch_size, cells.collate, machine, part)
        yield found["probabilities"], found.get("embeddings")


def in_format(images: torch.Tensor, channels_last: bool) -> torch.Tensor:
    """A batch in the memory layout that is wanted."""
    return images.contiguous(memory_format=torch.channels_last) if channels_last else images


def classifier(model: nn.Module) -> ImageClassifier:
    """The classifier itself, taken out of whatever the loop wrapped around it."""
    inner = getattr(model, "module", model)
    assert isinstance(inner, ImageClassifier)
    return inner
