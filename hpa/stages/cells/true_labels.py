"""`true_labels`: the true labels of cells that a segmenter found, where the truth about them is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pydantic

from hpa.artifacts import build, file_digest, is_finished, make_record, read_record
from hpa.config import Config
from hpa.evaluation import match_instances
from hpa.labels import HPA2021, ClassList
from hpa.parallel import WorkersConfig, map_images, open_executor
from hpa.progress import say
from hpa.segmentation import find_label_map, read_label_map
from hpa.stages.cells import segment_cells
from hpa.stages.cells.cells_config import CELL_TABLE, CELLS, label_map_path
from hpa.tables import CELL_KEY, read_table, write_table

STAGE = "true_labels"
LABELS = "cell_labels.parquet"


class TrueLabelsConfig(Config):
    """Labels of found cells from true ones.

    Attributes:
        cells: artifact of `segment_cells`.
        label_maps: folder of the true label maps, named by image.
        pattern: file name of an image's true label map.
        labels: parquet table of the true cells: image_id, cell_id, one column per class.
        iou: least IoU of a found cell with the true cell whose labels it takes; others get no label and weight 0.
        out: folder of the labels.
        workers: where label maps are compared; decides speed only.
    """

    cells: Path = Path("work/demo/segment_cells")
    label_maps: Path = Path("work/demo/simulate/truth/cell_maps")
    pattern: str = "{image_id}"
    labels: Path = Path("work/demo/simulate/truth/cells.parquet")
    iou: float = pydantic.Field(default=0.5, gt=0, le=1)
    out: Path = Path("work/demo/true_labels")
    workers: WorkersConfig = WorkersConfig()


def run(config: TrueLabelsConfig) -> Path:
    """Give every found cell the labels of the true cell that it shows.

    Returns:
        `config.out`: `cell_labels.parquet` (image_id, cell_id, one float32 column per class, weight: 1, or 0 where no
        true cell is matched).

    Raises:
        ArtifactError: the cells are missing, or something else stands there.
        ValueError: a true label map or label is missing.
    """
    inputs = {"cells": read_record(config.cells, segment_cells.STAGE).fingerprint, "labels": file_digest(config.labels)}
    record = make_record(STAGE, {"iou": config.iou}, inputs)
    if is_finished(config.out, record):
        say(f"{config.out}: made before, nothing to do")
        return config.out
    cells = read_table(config.cells / CELL_TABLE, CELL_KEY)[list(CELL_KEY)]
    truth = read_table(config.labels, [*CELL_KEY, *HPA2021.names])
    with build(config.out, record) as folder, open_executor(config.workers) as executor:
        match = _Match(config.cells, config.label_maps, config.pattern, config.iou)
        images = list(dict.fromkeys(cells["image_id"]))
        pairs = [found for _, found in map_images(match, images, executor, "matched images")]
        table = label_by_match(cells, pd.concat(pairs, ignore_index=True), truth, HPA2021)
        write_table(folder / LABELS, table)
    say(f"{config.out}: {int((table['weight'] > 0).sum())} of {len(table)} cells have a true cell")
    return config.out


def label_by_match(cells: pd.DataFrame, pairs: pd.DataFrame, truth: pd.DataFrame, classes: ClassList) -> pd.DataFrame:
    """Labels of found cells from those of the true cells that they are matched with.

    Args:
        cells: image_id, cell_id of the found cells.
        pairs: image_id, cell_id, true_id.
        truth: image_id, cell_id (the true ones), one column per class.
        classes: names of the columns.

    Returns:
        The rows of `cells`, one float32 column per class and `weight`. A true cell that the table lacks (one that
        annotators leave out) labels nothing.
    """
    names: Sequence[str] = classes.names
    known = truth[[*CELL_KEY, *names]].rename(columns={"cell_id": "true_id"})
    labelled = pairs.merge(known, on=["image_id", "true_id"], how="inner").drop(columns="true_id")
    table = cells.merge(labelled, on=list(CELL_KEY), how="left", validate="one_to_one")
    table["weight"] = table[names[0]].notna().astype(np.float32)
    table[list(names)] = table[list(names)].fillna(0).astype(np.float32)
    return table


@dataclass(frozen=True)
class _Match:
    """Pairs of found and true cells of one image; picklable for worker processes."""

    cells: Path
    label_maps: Path
    pattern: str
    iou: float

    def __call__(self, image_id: str) -> pd.DataFrame:
        true = read_label_map(find_label_map(self.label_maps, self.pattern, image_id))
        found = match_instances(true, read_label_map(label_map_path(self.cells, CELLS, image_id)), self.iou)
        return pd.DataFrame(
            {
                "image_id": pd.Series([image_id] * len(found.ious), dtype="str"),
                "cell_id": found.predicted_ids,
                "true_id": found.true_ids,
            }
        )
