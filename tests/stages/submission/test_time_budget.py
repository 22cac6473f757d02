"""The time budget through the command line: figures are measured, so only their relations are tested."""

import csv
import json

import pandas as pd
import pytest

from hpa import cli

ATLAS = (
    *("cells.data.source.simulation.images=3", "cells.data.source.simulation.size=64"),
    *("cells.data.source.simulation.field=60", "cells.data.workers.kind=none", "per_size=1"),
)
TRAINING = (
    *("data.source.simulation.images=20", "data.source.simulation.size=64", "data.source.simulation.field=60"),
    *("data.fold.folds=2", "data.cache.size=32", "data.workers.kind=none", "folds=all", "tta=2"),
    *("model.name=test_resnet", "model.pretrained.kind=none", "loop.epochs=1", "loop.batch_size=8"),
    "machine.loaders=0",
)


def run(*arguments):
    """Exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return ended.value.code


def budget(folder, *more):
    """Costs, plans and summary of a measurement."""
    assert run("time_budget", *ATLAS, f"cells.data.out={folder}/work", f"out={folder}/budget", *more) == 0
    tables = [pd.read_csv(folder / "budget" / name) for name in ("costs.csv", "plans.csv")]
    return *tables, json.loads((folder / "budget" / "time_budget.json").read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of two folds that averages two views."""
    folder = tmp_path_factory.mktemp("trained")
    assert run("train_image_level", *TRAINING, f"data.out={folder}/work", f"out={folder}/run") == 0
    return folder / "run"


def test_hours_are_those_of_the_steps_of_all_images(trained, tmp_path):
    costs, plans, summary = budget(tmp_path, f"runs=[{trained}]", "images=1000")
    assert costs["images"].tolist() == [1000]
    row = costs.iloc[0]
    assert (row[["segment", "shrink", "forward", "write"]] > 0).all()
    assert pd.isna(row["segment_fast"])  # the watershed has no probability maps to process
    # Two folds with two views each.
    expected = 1000 * (row["segment"] + row["shrink"] + row["write"] + 4 * row["forward"]) / 3600
    assert plans["hours"][0] == pytest.approx(expected)
    assert summary["hours"] == pytest.approx(expected)
    assert plans["dropped"].fillna("").tolist() == [
        "",
        "views: 1 instead of 2",
        "views: 1 instead of 2; folds: one network of each run instead of 2 networks",
    ]


def test_what_does_not_fit_is_said(tmp_path, capsys):
    _, plans, summary = budget(tmp_path, "hours=0.000001")
    assert not plans["fits"].any()
    assert summary["advice"].startswith("Nothing fits")
    assert summary["advice"] in capsys.readouterr().err


def test_the_sizes_of_a_sample_are_counted(tmp_path, capsys):
    rows = [["a", 64, 64, ""], ["b", 64, 64, ""], ["c", 70, 70, ""]]
    with (tmp_path / "sample.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["ID", "ImageWidth", "ImageHeight", "PredictionString"], *rows])
    costs, _, summary = budget(tmp_path, f"sample={tmp_path}/sample.csv")
    assert costs["images"].tolist() == [3]
    assert "no image of 70 x 70 pixels to measure" in capsys.readouterr().err
    assert "fits" in summary["advice"]
