"""The whole chain through the command line, with settings so small that it shows nothing but that it works."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from hpa import cli
from hpa.config import ConfigError, load_config
from hpa.labels import HPA2021
from hpa.stages.pipeline.pipeline_config import PipelineConfig
from hpa.submission import check_submission, read_submission

CONFIGS = Path(__file__).parents[3] / "configs" / "pipeline"
NETWORKS = (
    *("image_level.model.name=test_resnet", "image_level.model.pretrained.kind=none", "image_level.loop.epochs=1"),
    *("bags.model.backbone.name=test_resnet", "bags.model.backbone.pretrained.kind=none", "bags.loop.epochs=1"),
    *("cell_level.model.name=test_resnet", "cell_level.model.pretrained.kind=none", "cell_level.loop.epochs=1"),
    *("data.cache.size=64", "crops.size=32", "data.workers.kind=none", "test.workers.kind=none", "examples=1"),
    *("image_level.machine.loaders=0", "bags.machine.loaders=0", "cell_level.machine.loaders=0"),
)
ATLAS = (
    *("data.source.simulation.images=12", "data.source.simulation.size=128"),
    *("test.source.simulation.images=3", "test.source.simulation.size=128"),
)


def run(*arguments):
    """Exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return ended.value.code


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A pipeline with every method, unbroken."""
    out = tmp_path_factory.mktemp("pipeline") / "out"
    assert run("run_pipeline", *ATLAS, *NETWORKS, f"out={out}", "rounds=2", "supervised=true", "fusion.tune=true") == 0
    return out


def test_every_method_is_scored_and_the_submission_is_valid(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    rounds = [name for name in metrics["map"] if name.startswith("pseudo")]
    assert rounds in (["pseudo 1"], ["pseudo 1", "pseudo 2"])  # a second round that brings nothing is the last
    assert list(metrics["map"]) == ["copy", "cam", "bag", *rounds, "supervised", "fused"]
    assert all(0 <= value <= 1 for value in metrics["map"].values())
    assert metrics["map_submission"] == pytest.approx(metrics["map"]["fused"], abs=1e-6)
    path = finished / "submission" / "submission.csv"
    assert not [problem for problem in check_submission(path, HPA2021) if problem.severity == "error"]
    assert len(read_submission(path).images) == 3
    page = (finished / "report.html").read_text()
    for words in ("pseudo 1", "What each step gained", "simulated cells", "Likeliest class right"):
        assert words in page, words
    assert len(pd.read_csv(finished / "per_class.csv")) == 19


def test_the_same_command_makes_nothing_anew(finished, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*.safetensors")}
    steps = (finished / "steps.json").read_bytes()
    arguments = (*ATLAS, *NETWORKS, f"out={finished}", "rounds=2", "supervised=true", "fusion.tune=true")
    assert run("run_pipeline", *arguments) == 0
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*.safetensors")} == before
    assert capsys.readouterr().out == f"{finished}\n"
    assert json.loads(steps).keys() == json.loads((finished / "steps.json").read_text()).keys()


KILLED = """
import os, signal, sys
import hpa.artifacts as artifacts
real, count, last = artifacts.os.fsync, [0], int(sys.argv[1])

def fsync(descriptor):
    real(descriptor)
    count[0] += 1
    if count[0] == last:
        os.kill(os.getpid(), signal.SIGKILL)

artifacts.os.fsync = fsync
from hpa.cli import main
main(sys.argv[2:])
"""


@pytest.mark.slow
def test_killed_three_times_it_ends_with_the_same_submission(tmp_path):
    few = ("run_pipeline", *ATLAS, *NETWORKS, "cam=null", "fusion.weights={image: 0.5, cell: 0.5}", "bags=null")
    for writes in (40, 60, 50):  # files written in that call: while images are drawn, in a training, near the end
        arguments = [sys.executable, "-c", KILLED, str(writes), *few, f"out={tmp_path}/killed"]
        killed = subprocess.run(arguments, check=False, capture_output=True)
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert run(*few, f"out={tmp_path}/killed") == 0
    assert run(*few, f"out={tmp_path}/unbroken") == 0
    paths = [tmp_path / name / "submission" / "submission.csv" for name in ("killed", "unbroken")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_the_real_competition_folder(sample_data, tmp_path):
    source = sample_data / "hpa2021"
    settings = (
        *(f"data.source.folder={source}/train", f"data.source.csv={source}/train.csv", "data.fold.folds=2"),
        *(f"test.source.folder={source}/train", f"out={tmp_path}/out", "segmenter.kind=watershed", "rounds=1"),
        *("image_level.loop.precision=no", "bags.loop.precision=no", "cell_level.loop.precision=no"),
    )
    assert run("run_pipeline", "--config", str(CONFIGS / "kaggle.yaml"), *NETWORKS, *settings) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["map"] == {}
    assert metrics["map_submission"] is None
    detections = read_submission(tmp_path / "out" / "submission" / "submission.csv").detections
    assert detections["image_id"].nunique() == 2
    assert "The truth of these cells is unknown" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("image_level.out=elsewhere", "image_level.out: is set by the pipeline"),
        ("cell_level.labels=labels.parquet", "cell_level.labels: is set by the pipeline"),
        ("bags.folds=[0]", "bags.folds: expected `all`"),
        ("fusion.weights={image: 0}", "expected a weight above 0"),
        ("fusion.weights={picture: 1}", "expected members named"),
        ("fusion.class_weights={cell: {Nucleus: 1}}", "expected names of classes"),
        ("cell_level.model.name=resnet18", "begin: .*cell_level.model is resnet18; .*set begin=pretrained"),
        ("bags.model.backbone.pooling=gem", "begin: .*bags.model.backbone is"),
        ("crops.scales=[{kind: cell}, {kind: fixed}]", "begin: .*scales has more"),
    ],
)
def test_settings_that_the_pipeline_would_not_follow_are_refused(override, expected):
    with pytest.raises(ConfigError, match=expected):
        load_config(PipelineConfig, None, [override])
