"""Decision tables, and the labels and weights that a training takes from them."""

import numpy as np
import pandas as pd
import pytest

from hpa.artifacts import ArtifactError, build, make_record
from hpa.cache import PixelCache, write_cache
from hpa.labels import ClassList
from hpa.stages.data.dataset import Dataset
from hpa.stages.image_level.training_labels import TrainingLabels, decisions_fingerprint, open_decisions
from hpa.tables import class_table, write_table

IDS = ["a", "b", "c", "d"]


@pytest.fixture
def make_data(tmp_path):
    def make(multi_label=True):
        (tmp_path / "cache").mkdir(exist_ok=True)
        write_cache(tmp_path / "cache", IDS, range(4), lambda row: np.zeros((1, 8, 8), np.uint8), ("green",), 8)
        return Dataset(
            images=pd.DataFrame({"image_id": IDS, "fold": [0, 0, 1, 1]}),
            targets=np.eye(4, 3, dtype=np.float32),
            classes=ClassList(names=("x", "y", "z"), multi_label=multi_label),
            channels=("green",),
            cache=PixelCache.open(tmp_path / "cache"),
            fingerprints={"index": "of this data set"},
            folder=tmp_path,
        )

    return make


def write_decisions(path, targets, weights, ids=IDS, order=(3, 1, 0, 2)):
    keys = pd.DataFrame({"image_id": ids, "action": "keep", "weight": np.float32(weights)})
    table = class_table(keys, np.asarray(targets, np.float32), ClassList(names=("x", "y", "z")))
    table.assign(reason="").iloc[list(order)].to_parquet(path, index=False)


def test_labels_and_weights_come_by_key(tmp_path, make_data):
    targets = np.array([[1, 0, 0], [0, 0.5, 0.5], [0, 0, 1], [1, 1, 0]])
    write_decisions(tmp_path / "decisions.parquet", targets, [1, 0.5, 0, 2])
    found = open_decisions(tmp_path / "decisions.parquet", make_data())
    assert found.targets.tolist() == targets.tolist()
    assert found.weights.tolist() == [1, 0.5, 0, 2]
    assert found.learned(np.array([0, 2, 3])).tolist() == [0, 3]
    with pytest.raises(ValueError, match="all 1 of a training have weight 0"):
        found.learned(np.array([2]))


def write_artifact(folder, weights, index="of this data set"):
    with build(folder, make_record("denoise", {"policy": weights}, {"index": index})) as partial:
        write_decisions(partial / "decisions.parquet", np.eye(4, 3), weights)


def test_an_artifact_is_known_by_its_record_and_a_table_by_its_bytes(tmp_path, make_data):
    for name, weights in (("one", [1, 1, 1, 1]), ("same", [1, 1, 1, 1]), ("other", [1, 1, 1, 0])):
        write_artifact(tmp_path / name, weights)
    prints = {name: decisions_fingerprint(tmp_path / name) for name in ("one", "same", "other")}
    assert prints["one"] == prints["same"] != prints["other"]
    table = tmp_path / "other" / "decisions.parquet"
    assert decisions_fingerprint(table) not in prints.values()
    assert open_decisions(tmp_path / "other", make_data()).weights.tolist() == [1, 1, 1, 0]


def test_decisions_for_another_data_set_are_refused(tmp_path, make_data):
    write_artifact(tmp_path / "decided", [1, 1, 1, 1], index="of another one")
    with pytest.raises(ArtifactError, match="made for another data set"):
        open_decisions(tmp_path / "decided", make_data())


def test_missing_decisions_name_the_command(tmp_path, make_data):
    for path in (tmp_path / "none", tmp_path / "none.parquet"):
        with pytest.raises(ArtifactError, match="`hpa denoise` makes it"):
            open_decisions(path, make_data())


@pytest.mark.parametrize(
    ("targets", "weights", "ids", "expected"),
    [
        (np.eye(4, 3), [1, 1, 1, 1], ["a", "b", "c", "e"], "does not belong to the images"),
        (np.eye(4, 3), [1, 1, 1, 1], ["a", "b", "c", "c"], "repeats"),
        (np.eye(4, 3) * 1.5, [1, 1, 1, 1], IDS, r"labels in \[0, 1\], but image a has 1.5 \(3 such"),
        (np.eye(4, 3), [1, -1, 1, 1], IDS, "weights of 0 and above, but image b has -1"),
        (np.eye(4, 3), [1, 1, np.nan, 1], IDS, "weights of 0 and above, but image c has nan"),
        (np.eye(4, 3) * np.nan, [1, 1, 1, 1], IDS, "finite"),
    ],
)
def test_tables_that_cannot_be_used_say_why(targets, weights, ids, expected, tmp_path, make_data):
    write_decisions(tmp_path / "t.parquet", targets, weights, ids)
    with pytest.raises(ValueError, match=expected):
        open_decisions(tmp_path / "t.parquet", make_data())


def test_a_table_without_a_class_or_without_weights_is_refused(tmp_path, make_data):
    keys = pd.DataFrame({"image_id": IDS, "x": 0.0, "y": 0.0})
    write_table(tmp_path / "t.parquet", keys)
    with pytest.raises(ValueError, match="'weight'"):
        open_decisions(tmp_path / "t.parquet", make_data())
    write_table(tmp_path / "t.parquet", keys.assign(weight=1.0))
    with pytest.raises(ValueError, match="'z'"):
        open_decisions(tmp_path / "t.parquet", make_data())


def test_where_an_image_has_one_class_its_labels_sum_to_one(tmp_path, make_data):
    targets = np.array([[0.5, 0.5, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]])
    write_decisions(tmp_path / "t.parquet", targets, [1, 1, 1, 0])  # of a dropped image they do not matter
    assert open_decisions(tmp_path / "t.parquet", make_data(multi_label=False)).weights[3] == 0
    write_decisions(tmp_path / "t.parquet", targets, [1, 1, 1, 1])
    with pytest.raises(ValueError, match="those of image d sum to 0"):
        open_decisions(tmp_path / "t.parquet", make_data(multi_label=False))


def test_labels_of_all_images_are_learned_from_unless_dropped():
    labels = TrainingLabels(np.zeros((3, 2), np.float32), np.ones(3, np.float32))
    assert labels.learned(np.array([2, 0])).tolist() == [2, 0]
