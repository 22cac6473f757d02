"""Scores of cells by one network of whole images, part by part, so that a killed stage loses little."""

from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from torch import nn

from hpa.arrays import Float32, Int64, Integer, Probabilities
from hpa.classification import CamConfig, ImageClassifier, ImageDataset, predict_batch
from hpa.classification.cam import ActivationMap, cell_evidence, class_activation, enlarge
from hpa.classification.label_grid import square_label_map
from hpa.images import Fit
from hpa.parallel import map_images
from hpa.segmentation import read_label_map
from hpa.stages.cell_level.score_cells_config import ScoreCellsConfig
from hpa.stages.cells.cells_config import CELLS, label_map_path
from hpa.stages.data.dataset import Dataset
from hpa.tables import CELL_KEY, class_table, class_values, read_table, write_table
from hpa.training import Batch, infer

IMAGES_PER_PART = 512
"""A killed stage goes on after the last whole part: more images lose more work, fewer start the readers more often."""


def image_rows(table: pd.DataFrame, image_ids: "pd.Series[str]") -> Int64[np.ndarray, " images"]:
    """Row of each image in a table of images.

    Raises:
        ValueError: one is not there.
    """
    rows = pd.Index(table["image_id"]).get_indexer(pd.Index(image_ids))
    if (rows < 0).any():
        raise ValueError(f"the table of image probabilities lacks {image_ids[rows < 0].iloc[0]}; make it again")
    return np.asarray(rows, np.int64)


@dataclass(frozen=True)
class CellScorer:
    """Scores the cells of images by one network after the other.

    Attributes:
        config: of the stage.
        data: the images.
        cells: keys of the cells to score.
        fit: how the run's images became square.
        views: of an image that the run averages.
        parts: folder of the finished parts.
        accelerator: device, precision and processes.
        executor: for pooling in cells.
    """

    config: ScoreCellsConfig
    data: Dataset
    cells: pd.DataFrame
    fit: Fit
    views: int
    parts: Path
    accelerator: Accelerator
    executor: Executor | None

    def score(
        self,
        model: ImageClassifier,
        name: str,
        rows: Integer[np.ndarray, " images"],
        known: pd.DataFrame | None,
    ) -> pd.DataFrame:
        """Scores of all cells of some images: CELL_KEY and one column per class.

        Called on every process alike; only the main one gets rows.

        Args:
            model: the network.
            name: of its parts.
            rows: of the images in the data set; at least one.
            known: image probabilities by image_id; None to predict them with this network.
        """
        parts = np.array_split(rows, -(-len(rows) // IMAGES_PER_PART))
        paths = [self.parts / f"{name}-{number}.parquet" for number in range(len(parts))]
        todo = [(part, path) for part, path in zip(parts, paths, strict=True) if not path.is_file()]
        self.accelerator.wait_for_everyone()  # all have looked before the first part is written
        model.to(self.accelerator.device)
        for number, (part, path) in enumerate(todo):
            table = self._part(model, part, known, f"{name}, part {len(parts) - len(todo) + number + 1}/{len(parts)}")
            if self.accelerator.is_main_process:
                write_table(path, table)
        if not self.accelerator.is_main_process:
            return pd.DataFrame()
        return pd.concat([read_table(path) for path in paths], ignore_index=True)

    def _part(
        self, model: ImageClassifier, rows: Integer[np.ndarray, " images"], known: pd.DataFrame | None, label: str
    ) -> pd.DataFrame:
        method, views = self.config.method, self.config.tta or self.views

        def outputs(network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
            assert isinstance(network, ImageClassifier)
            found = {}
            if isinstance(method, CamConfig):
                images = enlarge(batch["images"], method.magnification)
                found["activation"] = class_activation(network, images, views)
            if known is None:
                found["probabilities"] = predict_batch(network, batch["images"], views)["probabilities"]
            return found

        images = ImageDataset(self.data.cache, rows)
        found = infer(
            model,
            outputs,
            images.sample,
            np.arange(len(rows)),
            self.accelerator,
            self.config.batch_size,
            machine=self.config.machine,
            label=label,
        )
        if not self.accelerator.is_main_process:
            return pd.DataFrame()
        image_ids = self.data.images["image_id"].iloc[rows].tolist()
        if known is None:
            probabilities = found["probabilities"]
        else:
            probabilities = class_values(known, self.data.classes)[image_rows(known, pd.Series(image_ids))]
        keys = self.cells[self.cells["image_id"].isin(image_ids)][list(CELL_KEY)]
        scores = probabilities[pd.Index(image_ids).get_indexer(pd.Index(keys["image_id"]))]
        if isinstance(method, CamConfig):
            scores = scores * self._evidence(
                method, model, dict(zip(image_ids, found["activation"], strict=True)), keys
            )
        return class_table(keys, scores, self.data.classes)

    def _evidence(
        self, method: CamConfig, model: ImageClassifier, activations: dict[str, ActivationMap], keys: pd.DataFrame
    ) -> Probabilities:
        """Evidence of cells in the order of their keys, the work per image done by the executor."""
        bias = np.zeros(len(self.data.classes), np.float32)
        if model.head.bias is not None:
            bias = model.head.bias.detach().float().cpu().numpy()
        job = _Evidence(self.config.cells, self.fit, method, bias, model.multi_label)
        numbers = {image_id: own.to_numpy(np.int64) for image_id, own in keys.groupby("image_id")["cell_id"]}
        jobs = [(image_id, activations[image_id], cell_ids) for image_id, cell_ids in numbers.items()]
        # total=0: the bar of the network's images is shown already.
        found = {key[0]: values for key, values in map_images(job, jobs, self.executor, "pooled images", total=0)}
        evidence = np.empty((len(keys), len(self.data.classes)), np.float32)
        for image_id, places in keys.reset_index(drop=True).groupby("image_id").indices.items():
            evidence[places] = found[image_id]
        return evidence


@dataclass(frozen=True)
class _Evidence:
    """Reads one image's label map and pools its activation; picklable for worker processes."""

    cells: Path
    fit: Fit
    method: CamConfig
    bias: Float32[np.ndarray, " classes"]
    multi_label: bool

    def __call__(self, item: tuple[str, ActivationMap, Int64[np.ndarray, " cells"]]) -> Probabilities:
        """(cells, classes), in the order of the cell numbers that come with the image."""
        cv2.setNumThreads(1)  # the processes share the cores already
        image_id, activation, cell_ids = item
        path = label_map_path(self.cells, CELLS, image_id)
        cell_map = read_label_map(path)
        present = np.flatnonzero(np.bincount(cell_map.ravel())[1:]) + 1
        if not np.array_equal(present, np.sort(cell_ids)):
            raise ValueError(
                f"{path}: holds {len(present)} cells that are not the {len(cell_ids)} of the cell table; the artifact "
                "is damaged, remove it and run `hpa segment_cells` again"
            )
        square = square_label_map(cell_map, self.fit)
        shown = np.bincount(square.ravel(), minlength=cell_map.max() + 1)[cell_ids] > 0
        # What a cropped image does not show has the evidence of the image as a whole.
        evidence = cell_evidence(activation, self.bias, square, self.method, self.multi_label)
        everything = np.ones((1, 1), np.uint16)
        whole = cell_evidence(activation, self.bias, everything, self.method, self.multi_label)
        values = np.repeat(whole, len(cell_ids), axis=0)
        values[shown] = evidence[np.argsort(np.argsort(cell_ids[shown]))]
        return values
