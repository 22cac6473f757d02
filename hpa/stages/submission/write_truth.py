"""`write_truth`: true label maps and labels as a CSV in the submission's form, to score submissions against."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from hpa.arrays import LabelMap
from hpa.config import Config
from hpa.labels import HPA2021
from hpa.masks import encode_cells
from hpa.progress import say, tracked
from hpa.segmentation import find_label_map, read_label_map
from hpa.submission import Detection, ImageSize, SubmissionWriter
from hpa.tables import CELL_KEY, IMAGE_KEY, read_table


class WriteTruthConfig(Config):
    """A truth file.

    Attributes:
        label_maps: folder of true label maps, named by image; those of the simulated atlas by default.
        pattern: file name of an image's label map; without an ending, any ending of label maps is found.
        labels: parquet table with image_id, cell_id and one column per class; or with image_id alone, whose classes all
            cells of the image get (what is known of real images: an upper bound of each cell's classes). A class counts
            from 0.5 on.
        out: the CSV.
    """

    label_maps: Path = Path("work/demo/simulate/truth/cell_maps")
    pattern: str = "{image_id}"
    labels: Path = Path("work/demo/simulate/truth/cells.parquet")
    out: Path = Path("work/demo/truth.csv")


def run(config: WriteTruthConfig) -> Path:
    """Write the truth of every image of the label table, in its order.

    Returns:
        `config.out`.

    Raises:
        ValueError: a label map is missing or malformed, or does not have the cells of the table.
    """
    table = read_table(config.labels, [*IMAGE_KEY, *HPA2021.names])
    has_cells = "cell_id" in table.columns
    groups = dict(iter(table.groupby("image_id", sort=False)))
    sizes = []
    for image_id in tracked(groups, "sizes of label maps", len(groups)):
        height, width = _read(config, image_id).shape
        sizes.append(ImageSize(image_id, height, width))
    unfinished = config.out.with_name(f".{config.out.name}.partial")
    for leftover in config.out.parent.glob(f"{unfinished.name}*"):  # of a call that was killed, perhaps another one
        leftover.unlink()
    objects = 0
    with SubmissionWriter(unfinished, sizes) as writer:
        for image_id in tracked(writer.remaining, "true masks", len(groups)):
            detections = list(_objects(_read(config, image_id), groups[image_id], has_cells, image_id))
            writer.add(image_id, detections)
            objects += len(detections)
    writer.remove_rows()
    unfinished.replace(config.out)
    say(f"{config.out}: {objects} objects in {len(sizes)} images")
    return config.out


def _read(config: WriteTruthConfig, image_id: str) -> LabelMap:
    return read_label_map(find_label_map(config.label_maps, config.pattern, image_id))


def _objects(label_map: LabelMap, rows: pd.DataFrame, has_cells: bool, image_id: str) -> Iterator[Detection]:
    """One per true class of every cell."""
    masks = encode_cells(label_map)
    if has_cells:
        table = rows.set_index(CELL_KEY[1])
        if set(table.index) != set(masks):
            differing = sorted(set(table.index) ^ set(masks))
            raise ValueError(
                f"{image_id}: expected the same cells in the label map and in the table, but they differ in "
                f"{differing[:5]}"
            )
    for cell_id, mask in masks.items():
        row = table.loc[cell_id] if has_cells else rows.iloc[0]
        present = np.asarray(row[list(HPA2021.names)], dtype=np.float64) >= 0.5
        for class_number in np.flatnonzero(present).tolist():
            yield Detection(class_number, 1.0, mask)
