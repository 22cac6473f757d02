import csv
import json

import pytest

from hpa.training import Epoch, History


@pytest.fixture
def history():
    rows = [
        Epoch(epoch=1, loss=0.5, learning_rate=0.1, seconds=2.0, samples_per_second=10.0, metrics={"ap": None}),
        Epoch(
            epoch=2, loss=0.4, learning_rate=0.05, seconds=2.0, samples_per_second=11.0, metrics={"ap": 0.3, "f1": 0.1}
        ),
        Epoch(
            epoch=3,
            loss=0.3,
            learning_rate=0.01,
            seconds=2.0,
            samples_per_second=12.0,
            metrics={"ap": 0.2},
            is_best=False,
        ),
    ]
    return History(epochs=tuple(rows), step_losses=((0.6, 0.4), (0.4,), (0.3,)))


def test_it_comes_back(tmp_path, history):
    history.write(tmp_path)
    assert History.read(tmp_path) == history
    assert json.loads((tmp_path / "history.json").read_text())["epochs"][0]["metrics"] == {"ap": None}


def test_the_table_has_a_line_per_epoch_and_a_column_per_metric(tmp_path, history):
    history.write(tmp_path)
    with (tmp_path / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [row["validation_ap"] for row in rows] == ["", "0.3", "0.2"]
    assert [row["validation_f1"] for row in rows] == ["", "0.1", ""]


def test_the_best_is_the_last_gain(history):
    assert history.best.epoch == 2


def test_an_empty_history_has_no_best():
    with pytest.raises(ValueError, match="history is empty"):
        _ = History().best


@pytest.mark.parametrize("content", ['{"epochs": [{"epoch": 1}]}', '{"epoch": []}', "no json"])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "history.json").write_text(content)
    with pytest.raises(ValueError, match=r"history\.json"):
        History.read(tmp_path)
