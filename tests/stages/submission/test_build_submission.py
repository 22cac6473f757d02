"""From a simulated atlas to a checked and scored submission through the command line."""

import csv
import json
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from hpa import cli
from hpa.labels import HPA2021
from hpa.submission import check_submission, read_submission
from hpa.tables import class_table, read_table, write_table

ATLAS = (
    *("data.source.simulation.images=4", "data.source.simulation.size=128", "data.source.simulation.field=81.92"),
    "data.workers.kind=none",
)


def run(*arguments):
    """Exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return ended.value.code


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """An atlas in `work`, its true cells as `cells`, perfect probabilities in `perfect.parquet`, and `truth.csv`."""
    folder = tmp_path_factory.mktemp("prepared")
    truth = folder / "work" / "simulate" / "truth"
    settings = (
        *("segmenter.kind=labels", f"segmenter.cells={truth}/cell_maps", f"segmenter.nuclei={truth}/nucleus_maps"),
        *(f"data.out={folder}/work", f"out={folder}/cells", "examples=0"),
    )
    assert run("simulate", f"out={truth.parent}", *(part.removeprefix("data.source.") for part in ATLAS[:3])) == 0
    assert run("segment_cells", *ATLAS, *settings) == 0
    cells = read_table(truth / "cells.parquet")
    write_table(folder / "perfect.parquet", cells[["image_id", "cell_id", *HPA2021.names]])
    settings = (f"label_maps={truth}/cell_maps", f"labels={truth}/cells.parquet", f"out={folder}/truth.csv")
    assert run("write_truth", *settings) == 0
    return folder


def settings(folder, out, *more):
    return (
        *(f"cells={folder}/cells", f"probabilities={folder}/perfect.parquet", f"folder={out}", "name=first"),
        *("workers.kind=none", *more),
    )


def test_perfect_cells_score_one(prepared, tmp_path):
    assert run("build_submission", *settings(prepared, tmp_path), f"truth={prepared}/truth.csv") == 0
    out = tmp_path / "first"
    score = json.loads((out / "score.json").read_text())
    assert score["mAP"] == 1
    assert score["interval"]["low"] <= 1
    assert json.loads((out / "check.json").read_text()) == []
    assert check_submission(out / "submission.csv", HPA2021) == []
    submission = read_submission(out / "submission.csv")
    cells = read_table(prepared / "cells" / "cells.parquet")
    assert len(submission.detections) == 19 * len(cells)  # every class of every cell
    assert (
        submission.images["image_id"].tolist() == read_table(prepared / "cells" / "images.parquet")["image_id"].tolist()
    )
    assert sorted(path.name for path in out.iterdir()) == ["check.json", "record.json", "score.json", "submission.csv"]


def test_probabilities_of_images_are_given_to_their_cells(prepared, tmp_path, capsys):
    images = read_table(prepared / "cells" / "images.parquet")
    random = np.random.default_rng(0).random((len(images), 19), np.float32)
    table = class_table(images[["image_id"]], random, HPA2021)
    (tmp_path / "run").mkdir()
    write_table(tmp_path / "run" / "probabilities.parquet", table)
    assert run("build_submission", *settings(prepared, tmp_path, f"probabilities={tmp_path}/run")) == 0
    assert "each is given to all cells" in capsys.readouterr().err
    detections = read_submission(tmp_path / "first" / "submission.csv").detections
    joined = detections.merge(table, on="image_id")
    expected = joined[list(HPA2021.names)].to_numpy()[np.arange(len(joined)), joined["class_number"]]
    assert np.allclose(joined["confidence"], expected, rtol=1e-6)


@pytest.fixture
def sample(prepared, tmp_path):
    """A sample submission: another order, an image more that nobody segmented, placeholders as Kaggle's."""
    images = read_table(prepared / "cells" / "images.parquet")
    rows = [[row.image_id, row.width, row.height, "0 1 eNoLCAgIMAEABJkBdQ=="] for row in images.itertuples()][::-1]
    rows.insert(1, ["unknown", 2048, 1728, "0 1 eNoLCAgIMAEABJkBdQ=="])
    with (tmp_path / "sample.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["ID", "ImageWidth", "ImageHeight", "PredictionString"], *rows])
    return tmp_path / "sample.csv"


def test_rows_are_those_of_the_sample(prepared, sample, tmp_path, capsys):
    assert run("build_submission", *settings(prepared, tmp_path, f"sample={sample}")) == 0
    assert "1 of 5 images of the sample are not segmented (unknown, ...)" in capsys.readouterr().err
    wanted, found = (pd.read_csv(path) for path in (sample, tmp_path / "first" / "submission.csv"))
    columns = ["ID", "ImageWidth", "ImageHeight"]
    assert found[columns].equals(wanted[columns])
    assert found["PredictionString"].isna().tolist() == [name == "unknown" for name in wanted["ID"]]
    assert [remark["kind"] for remark in json.loads((tmp_path / "first" / "check.json").read_text())] == [
        "no_detections"
    ]


def test_a_sample_of_other_sizes_is_refused(prepared, sample, tmp_path, capsys):
    sample.write_text(sample.read_text().replace(",128,128,", ",128,256,"))
    assert run("build_submission", *settings(prepared, tmp_path, f"sample={sample}")) == 1
    assert "segment the original files" in capsys.readouterr().err


def test_cells_without_probabilities_are_refused(prepared, tmp_path, capsys):
    table = read_table(prepared / "perfect.parquet")
    write_table(tmp_path / "less.parquet", table.iloc[1:])
    assert run("build_submission", *settings(prepared, tmp_path, f"probabilities={tmp_path}/less.parquet")) == 1
    assert "expected a row for every cell" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [tmp_path / "less.parquet"]


def test_images_without_probabilities_are_refused(prepared, tmp_path, capsys):
    images = read_table(prepared / "cells" / "images.parquet")[["image_id"]]
    write_table(tmp_path / "less.parquet", class_table(images.iloc[1:], np.zeros((3, 19), np.float32), HPA2021))
    assert run("build_submission", *settings(prepared, tmp_path, f"probabilities={tmp_path}/less.parquet")) == 1
    assert images["image_id"].iloc[0] in capsys.readouterr().err


KILLED = """
import os, signal, sys
from hpa.submission import SubmissionWriter
real, seen = SubmissionWriter.add, []

def add(self, *arguments):
    real(self, *arguments)
    seen.append(1)
    if len(seen) == 2:
        os.kill(os.getpid(), signal.SIGKILL)

SubmissionWriter.add = add
from hpa.cli import main
main(sys.argv[1:])
"""


def test_a_valid_csv_is_there_after_a_kill_and_the_rest_is_made_later(prepared, sample, tmp_path):
    published = tmp_path / "kaggle" / "submission.csv"
    arguments = (*settings(prepared, tmp_path, f"sample={sample}"), f"publish={published}", "seconds_between=0")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, "build_submission", *arguments], check=False, capture_output=True
    )
    assert killed.returncode == -signal.SIGKILL
    for path in (tmp_path / "first.partial" / "submission.csv", published):
        problems = check_submission(path, HPA2021, sample)
        assert {problem.kind for problem in problems} == {"no_detections"}
        assert len(read_submission(path).images) == 5

    assert run("build_submission", *arguments) == 0
    assert run("build_submission", *settings(prepared, tmp_path / "unbroken", f"sample={sample}")) == 0
    expected = (tmp_path / "unbroken" / "first" / "submission.csv").read_bytes()
    assert (tmp_path / "first" / "submission.csv").read_bytes() == published.read_bytes() == expected


def test_the_same_command_finds_it_standing_and_other_inputs_are_told(prepared, tmp_path, capsys):
    assert run("build_submission", *settings(prepared, tmp_path)) == 0
    assert run("build_submission", *settings(prepared, tmp_path)) == 0
    assert "nothing to do" in capsys.readouterr().err
    table = read_table(prepared / "perfect.parquet")
    table[list(HPA2021.names)] *= 0.5
    write_table(tmp_path / "other.parquet", table)
    assert run("build_submission", *settings(prepared, tmp_path, f"probabilities={tmp_path}/other.parquet")) == 1
    assert "probabilities" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../evil", "a/b", ""])
def test_a_name_that_leaves_the_folder_is_refused(prepared, tmp_path, name):
    assert run("build_submission", *settings(prepared, tmp_path, f"name={name}")) == 2
    assert not list(tmp_path.iterdir())


def test_truth_of_images_gives_every_cell_the_image_s_classes(prepared, tmp_path):
    labels = class_table(
        read_table(prepared / "cells" / "images.parquet")[["image_id"]],
        np.eye(19, dtype=np.float32)[[3, 5, 7, 18]],
        HPA2021,
    )
    write_table(tmp_path / "labels.parquet", labels)
    arguments = (f"label_maps={prepared}/work/simulate/truth/cell_maps", f"labels={tmp_path}/labels.parquet")
    assert run("write_truth", *arguments, f"out={tmp_path}/truth.csv") == 0
    found = read_submission(tmp_path / "truth.csv").detections
    assert len(found) == len(read_table(prepared / "cells" / "cells.parquet"))
    expected = dict(zip(labels["image_id"], [3, 5, 7, 18], strict=True))
    assert (found["class_number"] == found["image_id"].map(expected)).all()


def test_truth_whose_tables_and_maps_differ_is_refused(prepared, tmp_path, capsys):
    cells = read_table(prepared / "work" / "simulate" / "truth" / "cells.parquet")
    write_table(tmp_path / "cells.parquet", cells.iloc[1:])
    arguments = (f"label_maps={prepared}/work/simulate/truth/cell_maps", f"labels={tmp_path}/cells.parquet")
    assert run("write_truth", *arguments, f"out={tmp_path}/truth.csv") == 1
    assert "expected the same cells" in capsys.readouterr().err
