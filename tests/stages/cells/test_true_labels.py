import cv2
import numpy as np
import pandas as pd
import pytest

from hpa.artifacts import build, make_record
from hpa.labels import HPA2021, ClassList
from hpa.stages.cells import segment_cells
from hpa.stages.cells.true_labels import TrueLabelsConfig, label_by_match, run
from hpa.tables import read_table, write_table

CLASSES = ClassList(names=("x", "y"))


def test_a_cell_takes_the_labels_of_its_match():
    cells = pd.DataFrame({"image_id": ["a", "a", "b"], "cell_id": [1, 2, 1]})
    pairs = pd.DataFrame({"image_id": ["a", "b"], "cell_id": [2, 1], "true_id": [7, 9]})
    truth = pd.DataFrame({"image_id": ["a", "a"], "cell_id": [7, 8], "x": [1.0, 0.0], "y": [0.0, 1.0]})
    found = label_by_match(cells, pairs, truth, CLASSES)
    assert found[["image_id", "cell_id"]].equals(cells)
    # Cell 1 of a has no partner; cell 1 of b has one that the truth leaves out.
    assert found[["x", "y", "weight"]].to_numpy().tolist() == [[0, 0, 0], [1, 0, 1], [0, 0, 0]]
    assert (found.dtypes[["x", "y", "weight"]] == np.float32).all()


@pytest.fixture
def prepared(tmp_path):
    """One image with two found cells, of which one is shifted half out of its true cell."""
    true = np.zeros((20, 40), np.uint16)
    true[2:18, 2:18], true[2:18, 22:38] = 5, 6
    found = np.zeros_like(true)
    found[2:18, 3:18], found[2:18, 30:40] = 1, 2
    for folder, label_map in (("truth", true), ("cells.partial/cells", found)):
        (tmp_path / folder).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / folder / "a.png"), label_map)
    with build(tmp_path / "cells", make_record(segment_cells.STAGE, {})) as folder:
        write_table(folder / "cells.parquet", pd.DataFrame({"image_id": ["a", "a"], "cell_id": [1, 2]}))
    labels = pd.DataFrame({"image_id": ["a", "a"], "cell_id": [5, 6]})
    labels[list(HPA2021.names)] = np.eye(19, dtype=np.float32)[[3, 4]]
    write_table(tmp_path / "labels.parquet", labels)
    return TrueLabelsConfig(
        cells=tmp_path / "cells",
        label_maps=tmp_path / "truth",
        labels=tmp_path / "labels.parquet",
        out=tmp_path / "out",
        workers={"kind": "none"},
    )


def test_only_cells_that_show_a_true_cell_are_labelled(prepared, tmp_path):
    assert run(prepared) == tmp_path / "out"
    table = read_table(tmp_path / "out" / "cell_labels.parquet")
    assert table["weight"].tolist() == [1, 0]
    assert np.flatnonzero(table[list(HPA2021.names)].iloc[0]).tolist() == [3]
    run(prepared)  # stands already


def test_a_missing_label_map_is_named(prepared, tmp_path):
    (tmp_path / "truth" / "a.png").unlink()
    with pytest.raises(ValueError, match="expected its label map"):
        run(prepared)
