import errno
import subprocess
import sys
from pathlib import Path

import pytest

from hpa import cli
from hpa.config import load_config

REPOSITORY = Path(__file__).parents[1]
STAGES = (
    *("simulate", "index", "fold", "cache", "describe", "train_image_level", "predict", "train_segmentation"),
    *("segment_cells", "convert_hpacellseg", "build_submission", "check_submission", "score_submission", "write_truth"),
    *("time_budget", "run_pipeline", "train_bags", "train_cell_level", "cache_cells", "score_cells", "predict_cells"),
    *("make_pseudo_labels", "true_labels", "fuse"),
    *("embed", "detect_anomalies", "project", "denoise"),
    *("explain", "compare", "search", "ensemble", "annotators"),
)


def run(*arguments):
    """Exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return ended.value.code


@pytest.mark.parametrize("stage", STAGES)
def test_help_tells_what_goes_in_what_comes_out_and_an_example(stage, capsys):
    assert run(stage, "--help") == 0
    text = capsys.readouterr().out
    for word in ("In:", "Out:", "Example:"):
        assert word in text


def test_every_stage_has_its_script():
    assert sorted(path.stem for path in (REPOSITORY / "scripts").glob("*.py")) == sorted(STAGES)


def test_a_script_is_its_command():
    script = subprocess.run(
        [sys.executable, REPOSITORY / "scripts" / "predict.py", "run=[a]"], capture_output=True, text=True, check=False
    )
    assert script.returncode == 2
    assert "run: unknown key; did you mean 'runs'?" in script.stderr
    assert "runs: a value is needed" in script.stderr


def test_dashes_are_taken_for_underscores(capsys):
    assert run("train-image-level", "--help") == 0
    assert "Train a classifier" in capsys.readouterr().out


def test_the_folder_is_the_last_line(tmp_path, capsys):
    settings = ["simulation.images=2", "simulation.size=64", "workers.kind=none"]
    assert run("simulate", *settings, f"out={tmp_path}/atlas") == 0
    assert capsys.readouterr().out == f"{tmp_path}/atlas\n"


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x"), 1, "the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 1, "x: cannot be written or read"),
        (ValueError("what to do"), 1, "what to do"),
        (KeyboardInterrupt(), 130, "the same command goes on"),
    ],
)
def test_expected_errors_are_messages(error, status, expected, monkeypatch, capsys):
    from hpa.stages.data import simulate

    def fail(config):
        raise error

    monkeypatch.setattr(simulate, "run", fail)
    assert run("simulate") == status
    captured = capsys.readouterr()
    assert expected in captured.err
    assert captured.out == ""


def test_tracebacks_for_those_who_ask(monkeypatch):
    from hpa.stages.data import simulate

    def fail(config):
        raise ValueError("inside")

    monkeypatch.setattr(simulate, "run", fail)
    monkeypatch.setenv("HPA_DEBUG", "1")
    with pytest.raises(ValueError, match="inside"):
        cli.main(["simulate"])


def test_an_output_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").write_text("not a folder")
    assert run("simulate", f"out={tmp_path}/file/atlas", "simulation.images=1", "workers.kind=none") == 1
    assert "Traceback" not in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "not a folder"


@pytest.mark.parametrize("path", sorted((REPOSITORY / "configs").rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_configuration_loads_and_says_its_command(path):
    from hpa.stages.anomalies.annotators_config import AnnotatorsConfig
    from hpa.stages.anomalies.denoise_config import DenoiseConfig
    from hpa.stages.anomalies.detect_anomalies_config import DetectAnomaliesConfig
    from hpa.stages.anomalies.project_config import ProjectConfig
    from hpa.stages.cell_level.fuse import FuseConfig
    from hpa.stages.cells.cells_config import SegmentCellsConfig
    from hpa.stages.cells.segmentation_config import TrainSegmentationConfig
    from hpa.stages.comparison.compare_config import CompareConfig
    from hpa.stages.comparison.ensemble_config import EnsembleConfig
    from hpa.stages.comparison.search_config import SearchConfig
    from hpa.stages.data.dataset_config import DatasetConfig
    from hpa.stages.explanation.explain_config import ExplainConfig
    from hpa.stages.image_level.train_image_level import TrainImageLevelConfig
    from hpa.stages.pipeline.pipeline_config import PipelineConfig
    from hpa.stages.submission.build_submission import BuildSubmissionConfig
    from hpa.stages.submission.time_budget import TimeBudgetConfig

    model = {
        "data": DatasetConfig,
        "image_level": TrainImageLevelConfig,
        "segmentation": TrainSegmentationConfig,
        "cells": SegmentCellsConfig,
        "submission": BuildSubmissionConfig,
        "time_budget": TimeBudgetConfig,
        "pipeline": PipelineConfig,
        "fusion": FuseConfig,
        "anomalies": DetectAnomaliesConfig,
        "denoise": DenoiseConfig,
        "project": ProjectConfig,
        "explain": ExplainConfig,
        "compare": CompareConfig,
        "search": SearchConfig,
        "ensemble": EnsembleConfig,
        "annotators": AnnotatorsConfig,
    }[path.parent.name]
    load_config(model, path)
    head = path.read_text().split("\nout:")[0].split("\nname:")[0]
    assert head.startswith("#")
    assert f"configs/{path.parent.name}/{path.name}" in head


def test_the_demo_configuration_is_what_happens_without_one():
    from hpa.stages.image_level.train_image_level import TrainImageLevelConfig
    from hpa.stages.pipeline.pipeline_config import PipelineConfig

    assert load_config(PipelineConfig, REPOSITORY / "configs" / "pipeline" / "demo.yaml") == PipelineConfig()

    written = load_config(TrainImageLevelConfig, REPOSITORY / "configs" / "image_level" / "demo.yaml")
    assert written == TrainImageLevelConfig()
