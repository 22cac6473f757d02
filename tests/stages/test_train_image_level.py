"""Whole runs through the command line, on a simulated atlas of a few small images."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import yaml

from hpa import cli
from hpa.tables import read_embeddings, read_table

SMALL = (
    *("data.source.simulation.images=32", "data.source.simulation.size=64", "data.source.simulation.field=60"),
    *("data.fold.folds=2", "data.cache.size=32", "data.workers.kind=none", "folds=all", "tta=2"),
    *("model.name=test_resnet", "model.pretrained.kind=none", "loop.epochs=2", "loop.batch_size=8"),
    "machine.loaders=0",
)


def run(*arguments):
    """Exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return ended.value.code


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder in which the small run was made, unbroken."""
    folder = tmp_path_factory.mktemp("finished")
    assert run("train_image_level", *SMALL, f"data.out={folder}/work", f"out={folder}/run") == 0
    return folder


def test_a_run_leaves_what_people_and_later_stages_need(finished):
    folder = finished / "run"
    assert not (finished / "run.partial").exists()
    metrics = json.loads((folder / "metrics.json").read_text())
    for name in ("macro_ap", "macro_ap_constant", "micro_f1", "macro_f1", "seconds", "peak_memory_gb"):
        assert isinstance(metrics[name], float), name
    predictions = read_table(folder / "out_of_fold.parquet")
    images = read_table(finished / "work" / "index" / "images.parquet")
    assert sorted(predictions["image_id"]) == sorted(images["image_id"])
    keys, embeddings = read_embeddings(folder / "embeddings")
    assert keys["image_id"].tolist() == predictions["image_id"].tolist()
    assert np.isfinite(embeddings).all()
    assert len(pd.read_csv(folder / "per_class.csv")) == 19
    page = (folder / "report.html").read_text()
    assert "random weights" in page
    assert "simulated images" in page


def test_every_image_is_predicted_by_a_network_that_did_not_see_it(finished):
    folds = read_table(finished / "work" / "fold" / "folds.parquet").set_index("image_id")["fold"]
    predictions = read_table(finished / "run" / "out_of_fold.parquet")
    assert (folds.loc[predictions["image_id"]].to_numpy() == predictions["fold"].to_numpy()).all()
    for fold in (0, 1):
        own = read_table(finished / "run" / f"fold{fold}" / "out_of_fold.parquet")
        assert (own["fold"] == fold).all()


def test_the_saved_configuration_makes_the_same_run(finished, capsys):
    saved = finished / "run" / "config.yaml"
    assert yaml.safe_load(saved.read_text())["loop"]["epochs"] == 2
    assert run("train_image_level", "--config", str(saved)) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == str(finished / "run")
    assert "stands already" in captured.err


def test_another_configuration_does_not_touch_a_run(finished, capsys):
    before = (finished / "run" / "metrics.json").read_bytes()
    status = run("train_image_level", *SMALL, f"data.out={finished}/work", f"out={finished}/run", "loop.epochs=3")
    assert status == 1
    assert "loop.epochs: there 2, now 3" in capsys.readouterr().err
    assert (finished / "run" / "metrics.json").read_bytes() == before


def test_the_same_command_gives_the_same_weights(finished, tmp_path):
    assert run("train_image_level", *SMALL, f"data.out={finished}/work", f"out={tmp_path}/run") == 0
    for name in ("fold0/best.safetensors", "fold1/best.safetensors", "out_of_fold.parquet", "embeddings/values.npy"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / "run" / name).read_bytes(), name


def test_a_killed_run_goes_on_and_ends_with_the_same_weights(finished, tmp_path):
    arguments = [*SMALL, f"data.out={finished}/work", f"out={tmp_path}/run", "machine.checkpoint_steps=1"]
    command = [sys.executable, "-m", "hpa.cli", "train_image_level", *arguments]
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "run.partial" / "fold0" / "last.safetensors"
    while not checkpoint.exists():
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "run").exists()
    assert run("train_image_level", *arguments) == 0
    for name in ("fold0/best.safetensors", "fold1/best.safetensors", "out_of_fold.parquet"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / "run" / name).read_bytes(), name


def test_prediction_of_new_images_by_the_networks_of_all_folds(finished, tmp_path):
    simulated = finished / "work" / "simulate"
    data = ["data.source.kind=kaggle2021", f"data.source.folder={simulated}/train", f"data.out={tmp_path}/work"]
    data += ["data.workers.kind=none", "machine.loaders=0"]
    assert run("predict", f"runs=[{finished}/run]", *data, f"out={tmp_path}/blind") == 0
    blind = read_table(tmp_path / "blind" / "probabilities.parquet")
    assert len(blind) == 32
    assert not (tmp_path / "blind" / "metrics.json").exists()
    labelled = [
        *data[:1],
        f"data.source.csv={simulated}/train.csv",
        *data[1:2],
        f"data.out={tmp_path}/labelled",
        *data[3:],
    ]
    assert run("predict", f"runs=[{finished}/run]", *labelled, f"out={tmp_path}/scored") == 0
    scored = read_table(tmp_path / "scored" / "probabilities.parquet")
    pd.testing.assert_frame_equal(blind, scored)
    assert json.loads((tmp_path / "scored" / "metrics.json").read_text())["macro_ap"] > 0
    assert (tmp_path / "scored" / "report.html").exists()
    assert not (tmp_path / "labelled" / "fold").exists()  # nothing is held out, so few images are enough


def test_prediction_averages_the_folds(finished, tmp_path):
    """Two networks that each predict one half out of fold: the mean lies between, and is not a fold's own."""
    simulated = finished / "work" / "simulate"
    data = ["data.source.kind=kaggle2021", f"data.source.folder={simulated}/train", f"data.out={tmp_path}/work"]
    data += ["data.workers.kind=none", "machine.loaders=0", "tta=2"]
    assert run("predict", f"runs=[{finished}/run]", *data, f"out={tmp_path}/both") == 0
    assert run("predict", f"runs=[{finished}/run,{finished}/run]", *data, f"out={tmp_path}/twice") == 0
    both, twice = (read_table(tmp_path / name / "probabilities.parquet") for name in ("both", "twice"))
    np.testing.assert_allclose(both.iloc[:, 1:].to_numpy(), twice.iloc[:, 1:].to_numpy(), rtol=1e-5)
    out_of_fold = read_table(finished / "run" / "out_of_fold.parquet").set_index("image_id").loc[both["image_id"]]
    assert not np.allclose(both.iloc[:, 1:].to_numpy(), out_of_fold.iloc[:, 1:].to_numpy(), rtol=1e-3)


def test_a_missing_run_names_the_command(tmp_path, capsys):
    assert run("predict", f"runs=[{tmp_path}/none]", f"out={tmp_path}/p", f"data.out={tmp_path}/w") == 1
    assert "`hpa train_image_level` makes it" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_stops_the_run(finished, tmp_path, capsys):
    arguments = [
        *SMALL,
        f"data.out={finished}/work",
        f"out={tmp_path}/run",
        "loop.learning_rate=1e30",
        "loop.clip=null",
    ]
    assert run("train_image_level", *arguments, "loop.optimizer=sgd", "loop.warmup=0") == 1
    error = capsys.readouterr().err
    assert "finite" in error or "the loss is" in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("folds=[7]", "folds: expected numbers from 0 to 1, but got [7]"),
        ("model.name=efficientnet_b77", "did you mean"),
        ("loop.epoch=3", "loop.epoch: unknown key; did you mean 'epochs'?"),
        ("data.source.kind=kaggle", "data.source.kind: expected one of"),
        ("loss.kind=bcee", "did you mean 'bce'?"),
    ],
)
def test_a_wrong_configuration_is_told_at_once(override, expected, tmp_path, capsys):
    assert run("train_image_level", *SMALL, f"out={tmp_path}/run", f"data.out={tmp_path}/work", override) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_images_without_labels_cannot_be_trained_on(finished, tmp_path, capsys):
    source = ["data.source.kind=kaggle2021", f"data.source.folder={finished}/work/simulate/train"]
    kept = [item for item in SMALL if "simulation" not in item]
    assert run("train_image_level", *kept, *source, f"out={tmp_path}/run", f"data.out={tmp_path}/work") == 1
    assert "no labels to learn from" in capsys.readouterr().err


def test_a_missing_folder(tmp_path, capsys):
    kept = [item for item in SMALL if "simulation" not in item]
    source = ["data.source.kind=kaggle2021", f"data.source.folder={tmp_path}/none", "data.source.csv=none.csv"]
    assert run("train_image_level", *kept, *source, f"out={tmp_path}/run", f"data.out={tmp_path}/work") == 1
    error = capsys.readouterr().err
    assert "none" in error
    assert "Traceback" not in error
