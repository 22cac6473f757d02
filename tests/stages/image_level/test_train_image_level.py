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


def simulated(finished, tmp_path):
    """Arguments that give the simulated images to `predict`, as new ones."""
    data = ["data.source.kind=kaggle2021", f"data.source.folder={finished}/work/simulate/train"]
    return [*data, f"data.out={tmp_path}/new", "data.workers.kind=none", "machine.loaders=0", "tta=2"]


def train_in(finished, out, *more):
    return run("train_image_level", *SMALL, f"data.out={finished}/work", f"out={out}", *more)


def test_what_resists_noise_is_off_and_in_no_record_unless_it_is_asked_for(finished):
    record = json.loads((finished / "run" / "record.json").read_text())
    sections = ["augmentation", "folds", "loop", "loss", "mixing", "model", "sampler", "tta"]
    assert sorted(record["config"]) == sections
    assert sorted(record["inputs"]) == ["cache", "fold", "index"]
    content = json.loads((finished / "run" / "run.json").read_text())
    assert (content["twins"], content["clahe"]) == (False, None)
    assert not list((finished / "run").glob("**/margins.parquet"))
    assert not list((finished / "run").glob("**/history.parquet"))


def test_margins_are_told_and_change_nothing_else(finished, tmp_path):
    assert train_in(finished, tmp_path / "run", "margins=true") == 0
    for name in ("fold0/best.safetensors", "out_of_fold.parquet", "embeddings/values.npy"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / "run" / name).read_bytes(), name
    table = read_table(tmp_path / "run" / "margins.parquet")
    images = read_table(finished / "work" / "index" / "images.parquet")
    assert table["image_id"].tolist() == images["image_id"].tolist()
    assert table.shape == (32, 20)
    assert np.isfinite(table.iloc[:, 1:].to_numpy()).all()  # all folds: every image is learned from in one
    reads = pd.concat([read_table(tmp_path / "run" / f"fold{fold}" / "margins.parquet") for fold in (0, 1)])["reads"]
    assert (reads == 2).all()
    assert json.loads((tmp_path / "run" / "record.json").read_text())["config"]["margins"] == {"from": 0}


def test_two_networks_that_taught_each_other_predict_as_one_run(finished, tmp_path):
    assert train_in(finished, tmp_path / "run", "noise.kind=co_teaching", "folds=[0]") == 0
    assert json.loads((tmp_path / "run" / "record.json").read_text())["config"]["noise"]["forget"] == 0.2
    assert json.loads((tmp_path / "run" / "run.json").read_text())["twins"] is True
    arguments = simulated(finished, tmp_path)
    assert run("predict", f"runs=[{tmp_path}/run]", *arguments, f"out={tmp_path}/found") == 0
    known = read_table(tmp_path / "run" / "out_of_fold.parquet")
    found = read_table(tmp_path / "found" / "probabilities.parquet").set_index("image_id").loc[known["image_id"]]
    np.testing.assert_allclose(found.to_numpy(), known.iloc[:, 2:].to_numpy(), rtol=1e-4, atol=1e-6)


def test_a_killed_two_phase_run_goes_on_and_ends_the_same(finished, tmp_path, monkeypatch):
    more = ["noise.kind=two_phase", "folds=[0]", "margins=true", "loss.kind=generalized_cross_entropy"]
    assert train_in(finished, tmp_path / "whole", *more) == 0
    from hpa.stages.image_level import noise_tasks, train_image_level

    for target in ("judge", "second"):
        with monkeypatch.context() as patch:

            def killed(*arguments):
                raise OSError("killed")

            if target == "judge":
                patch.setattr(noise_tasks.HistoryTask, "history", killed)
            else:
                patch.setattr(train_image_level, "predict_images", killed)
            assert train_in(finished, tmp_path / "broken", *more) == 1
        assert not (tmp_path / "broken").exists()
    assert train_in(finished, tmp_path / "broken", *more) == 0
    for name in ("fold0/best.safetensors", "out_of_fold.parquet", "margins.parquet", "history.parquet"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert read_table(tmp_path / "whole" / "history.parquet")["category"].isin(["easy", "hard", "noisy"]).all()


def test_decisions_that_keep_everything_change_nothing_and_others_are_another_run(finished, tmp_path, capsys):
    labels = read_table(finished / "work" / "index" / "labels.parquet")
    keep = labels.assign(action="keep", weight=np.float32(1), reason="")
    keep.iloc[::-1].to_parquet(tmp_path / "decisions.parquet", index=False)
    arguments = [f"decisions={tmp_path}/decisions.parquet", "folds=[0]"]
    assert train_in(finished, tmp_path / "run", *arguments) == 0
    for name in ("fold0/best.safetensors", "fold0/out_of_fold.parquet"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / "run" / name).read_bytes(), name
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert sorted(record["inputs"]) == ["cache", "decisions", "fold", "index"]
    keep.assign(weight=np.float32(0.5)).to_parquet(tmp_path / "decisions.parquet", index=False)
    assert train_in(finished, tmp_path / "run", *arguments) == 1
    assert "inputs.decisions" in capsys.readouterr().err


def test_missing_decisions_name_the_command(finished, tmp_path, capsys):
    assert train_in(finished, tmp_path / "run", f"decisions={tmp_path}/none") == 1
    assert "`hpa denoise` makes it" in capsys.readouterr().err


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
        ("noise.kind=co_teachin", "did you mean 'co_teaching'?"),
    ],
)
def test_a_wrong_configuration_is_told_at_once(override, expected, tmp_path, capsys):
    assert run("train_image_level", *SMALL, f"out={tmp_path}/run", f"data.out={tmp_path}/work", override) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["noise.kind=early_learning", "mixing.mixup=0.2"], "noise: looks at single images"),
        (["margins=true", "mixing.cutmix=0.2"], "set mixing.mixup=0 mixing.cutmix=0"),
        (["noise.kind=co_teaching", "consistency.cells=cells"], "co_teaching trains on whole images alone"),
        (["margins=true", "margins_from=2"], "margins_from: expected less than loop.epochs=2"),
        (["noise.kind=two_phase", "noise.epochs=1"], "noise.from_epoch: expected less than the first training's"),
    ],
)
def test_settings_that_contradict_each_other_are_told_at_once(overrides, expected, tmp_path, capsys):
    assert run("train_image_level", *SMALL, f"out={tmp_path}/run", f"data.out={tmp_path}/work", *overrides) == 2
    assert expected in capsys.readouterr().err


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
