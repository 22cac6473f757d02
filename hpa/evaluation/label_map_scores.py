"""The competition's score straight from label maps and tables of cells, without writing a submission."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from hpa.arrays import Bool, Int64, LabelMap
from hpa.evaluation.competition import CompetitionScore, Verified, score
from hpa.evaluation.detection_inputs import PREDICTION_COLUMNS, TRUTH_COLUMNS
from hpa.labels import ClassList
from hpa.masks import cell_runs
from hpa.tables import CELL_KEY


def score_label_maps(
    truth_maps: Mapping[str, np.ndarray],
    truth_labels: pd.DataFrame,
    predicted_maps: Mapping[str, np.ndarray],
    confidences: pd.DataFrame,
    classes: ClassList,
    verified: Verified = "all",
) -> CompetitionScore:
    """Score predicted cells and confidences against true cells and labels, as `score` does with a submission.

    Maps are asked for one at a time, so that a mapping may load each from its file. A cell that its table does not
    hold is left out: it is neither an object of the truth nor a detection, as under the annotators' rule for cells of
    which more than half is missing. Rows of images that have no true map are ignored.

    Args:
        truth_maps: by image_id, uint16 (height, width), 0 is background; these are the images that are scored.
        truth_labels: image_id, cell_id and one column per class: 1 where the cell shows it, else 0.
        predicted_maps: by image_id; an image that it lacks has no detections.
        confidences: image_id, cell_id and one column per class; every cell is a detection of every class.
        classes: gives the names of the columns.
        verified: as in `score`.

    Raises:
        ValueError: a table lacks a column, repeats a cell, or holds one that the image's map does not; a label is not
            0 or 1; a predicted map's size differs from the true one's; whatever `score` refuses.
    """
    true = _CellTable("truth_labels", truth_labels, classes)
    wrong = ~np.isin(true.scores, (0, 1)).all(axis=1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(f"expected labels of 0 and 1, but row {row} of `truth_labels` is {true.scores[row].tolist()}")
    predicted = _CellTable("confidences", confidences, classes)
    shown, every = true.scores > 0, np.ones(predicted.scores.shape, bool)
    objects, detections, sizes = [true.nothing()], [predicted.nothing()], []
    for image_id, label_map in truth_maps.items():
        sizes.append((image_id, *label_map.shape))
        objects.append(true.rows_of(image_id, label_map, shown))
        if image_id in predicted_maps:
            detections.append(predicted.rows_of(image_id, predicted_maps[image_id], every))
        elif image_id in predicted.rows:
            raise ValueError(f"expected a predicted map of every image in `confidences`, but {image_id!r} has none")
    return score(
        pd.concat(objects, ignore_index=True)[list(TRUTH_COLUMNS)],
        pd.concat(detections, ignore_index=True)[list(PREDICTION_COLUMNS)],
        classes,
        verified,
        images=pd.DataFrame(sizes, columns=["image_id", "height", "width"]),
    )


class _CellTable:
    """A table of cells with one value per class."""

    def __init__(self, name: str, table: pd.DataFrame, classes: ClassList) -> None:
        columns = [*CELL_KEY, *classes.names]
        missing = [column for column in columns if column not in table.columns]
        if missing:
            raise ValueError(f"expected the columns {columns} in `{name}`, but {missing} are missing")
        twice = table.duplicated(list(CELL_KEY)).to_numpy()
        if twice.any():
            key = tuple(table[column].iloc[int(np.flatnonzero(twice)[0])] for column in CELL_KEY)
            raise ValueError(f"expected every cell once in `{name}`, but {key} repeats")
        self.name = name
        self.cell_ids = table["cell_id"].to_numpy(np.int64)
        self.scores = table[list(classes.names)].to_numpy(np.float64)
        codes, images = pd.factorize(table["image_id"])
        order = np.argsort(codes, kind="stable")
        parts = np.split(order, np.searchsorted(codes[order], np.arange(1, len(images))))
        self.rows = dict(zip(images.tolist(), parts, strict=False))  # of each image, in the table's order

    def rows_of(self, image_id: str, label_map: LabelMap, chosen: Bool[np.ndarray, "cells classes"]) -> pd.DataFrame:
        """One row per chosen pair of an image's cell and a class, with the cell's mask and the pair's value."""
        rows = self.rows.get(image_id, np.zeros(0, np.int64))
        runs = cell_runs(label_map)
        cells = pd.Index(runs.cell_ids).get_indexer(self.cell_ids[rows])
        if (cells < 0).any():
            raise ValueError(
                f"expected the cells of `{self.name}` in the image's label map, but that of {image_id!r} has no cell "
                f"{self.cell_ids[rows][cells < 0][0]}"
            )
        return self._table(image_id, label_map.shape, rows, np.array([*runs.counts, b""], object)[:-1][cells], chosen)

    def nothing(self) -> pd.DataFrame:
        """A table of no rows that has the columns and their types."""
        none = np.zeros(0, np.int64)
        return self._table("", (0, 0), none, np.zeros(0, object), self.scores > 0)

    def _table(
        self,
        image_id: str,
        shape: tuple[int, ...],
        rows: Int64[np.ndarray, " rows"],
        counts: np.ndarray,
        chosen: Bool[np.ndarray, "cells classes"],
    ) -> pd.DataFrame:
        cell, number = np.nonzero(chosen[rows])
        return pd.DataFrame(
            {
                "image_id": pd.Series([image_id] * len(cell), dtype=str),
                "height": np.full(len(cell), shape[0]),
                "width": np.full(len(cell), shape[1]),
                "class_number": number,
                "counts": counts[cell],
                "confidence": self.scores[rows][cell, number],
            }
        )
