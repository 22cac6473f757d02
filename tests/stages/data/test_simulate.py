import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from hpa.artifacts import ArtifactError
from hpa.labels import HPA2021
from hpa.parallel import WorkersConfig
from hpa.simulation import DefectsConfig, SimulationConfig, simulate_image
from hpa.stages.data import simulate
from hpa.stages.data.simulate import SimulateConfig

NONE = WorkersConfig(kind="none")
SIMULATION = SimulationConfig(images=10, size=64, seed=1, defects=DefectsConfig(wrong_label=0.3, duplicate=0.3))


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def atlas(tmp_path_factory) -> Path:
    return simulate.run(SimulateConfig(out=tmp_path_factory.mktemp("atlas") / "a", simulation=SIMULATION, workers=NONE))


def test_the_folder_has_the_competition_layout_and_the_truth(atlas: Path) -> None:
    train = pd.read_csv(atlas / "train.csv", dtype=str)
    assert list(train.columns) == ["ID", "Label"]
    cells = pd.read_parquet(atlas / "truth" / "cells.parquet")
    images = pd.read_parquet(atlas / "truth" / "images.parquet").set_index("image_id")
    assert train["ID"].tolist() == images.index.tolist()
    assert len(train) == 10
    for index, (name, label) in enumerate(zip(train["ID"], train["Label"], strict=True)):
        image = simulate_image(SIMULATION, index)
        assert image.image_id == name
        assert HPA2021.parse(label) == image.labels
        for channel, plane in zip(("red", "green", "blue", "yellow"), image.pixels, strict=True):
            read = cv2.imread(str(atlas / "train" / f"{name}_{channel}.png"), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(read, plane)
        for kind, truth in (("cell", image.cell_map), ("nucleus", image.nucleus_map)):
            read = cv2.imread(str(atlas / "truth" / f"{kind}_maps" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
            assert read.dtype == np.uint16
            np.testing.assert_array_equal(read, truth)
        own = cells[cells["image_id"] == name].reset_index(drop=True)
        pd.testing.assert_frame_equal(own, image.cells, check_dtype=False)
        row = images.loc[name]
        assert HPA2021.parse(row["true_label"]) == image.true_labels
        assert row["group"] == image.group
        assert row["cell_line"] == image.cell_line
        assert row["defect"] == (image.defect or "")
        assert row["duplicate_of"] == (image.duplicate_of or "")
    assert {"", "wrong_label", "duplicate"} == set(images["defect"])
    assert not list(atlas.rglob(".*"))
    assert json.loads((atlas / "record.json").read_text())["stage"] == "simulate"


def test_a_second_run_does_nothing(atlas: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in atlas.rglob("*")}
    simulate.run(SimulateConfig(out=atlas, simulation=SIMULATION))
    assert {path: path.stat().st_mtime_ns for path in atlas.rglob("*")} == before


def test_another_configuration_does_not_overwrite(atlas: Path) -> None:
    with pytest.raises(ArtifactError, match="seed"):
        simulate.run(SimulateConfig(out=atlas, simulation=SIMULATION.model_copy(update={"seed": 2}), workers=NONE))


KILLED = """
from pathlib import Path
import sys
from hpa.parallel import WorkersConfig
from hpa.simulation import SimulationConfig
from hpa.stages.data.simulate import SimulateConfig, run
simulation = SimulationConfig.model_validate_json(sys.argv[2])
run(SimulateConfig(out=Path(sys.argv[1]), simulation=simulation, workers=WorkersConfig(kind="none")))
"""


def test_a_killed_run_goes_on_and_gives_the_same_bytes(tmp_path: Path) -> None:
    simulation = SIMULATION.model_copy(update={"images": 24})
    whole = simulate.run(SimulateConfig(out=tmp_path / "whole", simulation=simulation, workers=NONE))
    out = tmp_path / "killed"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(out), simulation.model_dump_json()],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    rows = tmp_path / "killed.partial" / ".rows"
    deadline = time.monotonic() + 60
    while len(list(rows.glob("*.cells.parquet"))) < 3:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    finished = {path: path.stat().st_mtime_ns for path in rows.glob("sim1-00000[01].cells.parquet")}
    assert len(finished) == 2
    kept = tmp_path / "killed.partial" / "train" / "sim1-000000_red.png"
    written = kept.stat().st_mtime_ns
    simulate.run(SimulateConfig(out=out, simulation=simulation, workers=NONE))
    assert (out / "train" / kept.name).stat().st_mtime_ns == written
    assert digests(out) == digests(whole)


def test_a_run_killed_while_tidying_up_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = SimulateConfig(out=tmp_path / "a", simulation=SIMULATION, workers=NONE)

    def fail(*args: object, **kwargs: object) -> None:
        next((tmp_path / "a.partial" / ".rows").iterdir()).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(simulate.shutil, "rmtree", fail)
        with pytest.raises(KeyboardInterrupt):
            simulate.run(config)
    monkeypatch.setattr(simulate, "simulate_image", lambda *_: pytest.fail("all images were drawn before"))
    out = simulate.run(config)
    assert len(pd.read_csv(out / "train.csv")) == 10
    assert not (out / ".rows").exists()


def test_processes_write_the_same_bytes(atlas: Path, tmp_path: Path) -> None:
    out = simulate.run(
        SimulateConfig(out=tmp_path / "b", simulation=SIMULATION, workers=WorkersConfig(kind="processes", count=2))
    )
    assert digests(out) == digests(atlas)


def test_images_without_cells_are_written_too(tmp_path: Path) -> None:
    simulation = SimulationConfig(images=12, size=48, defects=DefectsConfig(nearly_empty=1.0))
    out = simulate.run(SimulateConfig(out=tmp_path / "a", simulation=simulation, workers=NONE))
    cells = pd.read_parquet(out / "truth" / "cells.parquet")
    assert 0 < len(cells) < 12
    assert (cells[list(HPA2021.names)].dtypes == np.float32).all()
    assert cells["is_mitotic"].dtype == bool


def test_an_unwritable_folder_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        simulate.run(SimulateConfig(out=tmp_path / "file" / "a", simulation=SIMULATION, workers=NONE))
