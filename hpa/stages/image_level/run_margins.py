"""`margins.parquet` of a run: how each image's classes fared in the trainings that learned from it."""

from pathlib import Path

import numpy as np

from hpa.classification.margins import mean_margins
from hpa.stages.data.dataset import Dataset
from hpa.stages.image_level.image_task import ImageTask
from hpa.tables import class_table, class_values, read_table, write_table

MARGINS = "margins.parquet"
READS = "reads"


def write_fold_margins(folder: Path, data: Dataset, task: ImageTask) -> None:
    """Write the margins of one training: image_id, `reads` (times that it was read) and one column per class."""
    found = task.margins()
    assert found is not None
    sums, counts = found
    keys = data.images.iloc[task.rows][["image_id"]].assign(**{READS: counts})
    write_table(folder / MARGINS, class_table(keys, mean_margins(sums, counts), data.classes))


def join_margins(folder: Path, data: Dataset, folds: tuple[int, ...]) -> None:
    """Write the margins of a run, over all readings in all its trainings.

    A row for every image of the data set, in its order: image_id and one float32 column per class; NaN for images that
    no training learned from.
    """
    sums = np.zeros((len(data.images), len(data.classes)))
    counts = np.zeros(len(data.images), np.int64)
    places = data.images.set_index("image_id").index
    for fold in folds:
        table = read_table(folder / f"fold{fold}" / MARGINS, ("image_id", READS))
        table = table[table[READS] > 0]
        rows, reads = places.get_indexer(table["image_id"]), table[READS].to_numpy()
        sums[rows] += class_values(table, data.classes).astype(np.float64) * reads[:, None]
        counts[rows] += reads
    write_table(folder / MARGINS, class_table(data.images[["image_id"]], mean_margins(sums, counts), data.classes))
