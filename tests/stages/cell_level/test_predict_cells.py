"""Prediction of the cells of a small simulated atlas."""

import json

import numpy as np
import pytest
import torch

from hpa.artifacts import ArtifactError, read_json
from hpa.cell_cache import CellCache
from hpa.config import load_config
from hpa.crops import CropShape
from hpa.labels import HPA2021
from hpa.parallel import WorkersConfig
from hpa.segmentation import LabelMapsConfig
from hpa.simulation import SimulationConfig
from hpa.stages.cell_level import cell_task, predict_cells, train_cell_level
from hpa.stages.cell_level.cell_networks import open_cell_run
from hpa.stages.cell_level.predict_cells import PredictCellsConfig
from hpa.stages.cell_level.train_cell_level import TrainCellLevelConfig
from hpa.stages.cells import cache_cells, segment_cells
from hpa.stages.cells.cache_cells import CacheCellsConfig
from hpa.stages.cells.cells_config import SegmentCellsConfig
from hpa.stages.data.dataset_config import DatasetConfig, FoldSettings, SimulatedSource
from hpa.tables import class_values, read_table, write_table
from hpa.training import MachineConfig


def atlas(folder):
    return DatasetConfig(
        out=folder / "work",
        source=SimulatedSource(simulation=SimulationConfig(images=8, size=96, field=60)),
        fold=FoldSettings(folds=2),
        workers=WorkersConfig(kind="none"),
    )


def cut(folder, out, size=24):
    return cache_cells.run(
        CacheCellsConfig(data=atlas(folder), cells=folder / "cells", crops=CropShape(size=size), out=folder / out)
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of an atlas (`work`), its `cells`, `cache`, and a run of one epoch that learned the images' labels."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("atlas")
    truth = folder / "work" / "simulate" / "truth"
    maps = LabelMapsConfig(cells=truth / "cell_maps", nuclei=truth / "nucleus_maps")
    segment_cells.run(SegmentCellsConfig(data=atlas(folder), segmenter=maps, out=folder / "cells"))
    keys = CellCache.open(cut(folder, "cache")).keys
    labels = keys.merge(read_table(folder / "work" / "index" / "labels.parquet"), on="image_id")
    write_table(folder / "cell_labels.parquet", labels)
    settings = (
        *("model.name=test_resnet", "model.pretrained.kind=none", "loop.epochs=1", "loop.batch_size=16"),
        *("machine.loaders=0", "tta=2", f"data={atlas(folder).model_dump_json()}", f"cells_cache={folder}/cache"),
        *(f"labels={folder}", f"out={folder}/run"),
    )
    train_cell_level.run(load_config(TrainCellLevelConfig, overrides=settings))
    return folder


def predict(folder, out, runs=None, **settings):
    settings = {"machine": MachineConfig(loaders=0), "cells_cache": folder / "cache", **settings}
    return predict_cells.run(PredictCellsConfig(runs=runs or (folder / "run",), out=out, **settings))


def test_prediction_averages_the_networks(finished, tmp_path):
    found = read_table(predict(finished, tmp_path / "out") / "cell_scores.parquet")
    cache = CellCache.open(finished / "cache")
    assert found[["image_id", "cell_id"]].equals(cache.keys)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["cell_scores.parquet", "record.json"]
    cells = torch.from_numpy(cache.read(np.arange(len(cache))))
    images = cells[:, :4] * (cells[:, 4:] > 0)
    expected = []
    with torch.no_grad():
        for network in open_cell_run(finished / "run").networks():
            expected += [network.probabilities(network(view)).numpy() for view in (images, images.flip(3))]
    np.testing.assert_allclose(class_values(found, HPA2021), np.mean(expected, axis=0), atol=2e-5)
    # One view, and the same run twice.
    once = read_table(predict(finished, tmp_path / "once", tta=1) / "cell_scores.parquet")
    np.testing.assert_allclose(class_values(once, HPA2021), np.mean(expected[::2], axis=0), atol=2e-5)
    twice = read_table(predict(finished, tmp_path / "twice", (finished / "run",) * 2) / "cell_scores.parquet")
    np.testing.assert_allclose(class_values(twice, HPA2021), np.mean(expected, axis=0), atol=2e-5)


def test_a_prediction_stands_and_is_not_made_from_something_else(finished, tmp_path):
    out = predict(finished, tmp_path / "out")
    before = (out / "cell_scores.parquet").stat().st_mtime_ns
    predict(finished, out, batch_size=5)
    assert (out / "cell_scores.parquet").stat().st_mtime_ns == before
    with pytest.raises(ArtifactError, match="tta: there None, now 8"):
        predict(finished, out, tta=8)


def test_a_prediction_that_broke_off_goes_on_where_it_was(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(cell_task, "AT_ONCE", 20)
    monkeypatch.setattr(predict_cells, "AT_ONCE", 20)
    predict(finished, tmp_path / "unbroken")
    real, seen = cell_task.infer, []

    def counts(*arguments, **options):
        if len(seen) == limit:
            raise RuntimeError("power cut")
        seen.append(arguments[3].tolist())
        return real(*arguments, **options)

    monkeypatch.setattr(cell_task, "infer", counts)
    count = -(-len(CellCache.open(finished / "cache")) // 20)
    limit = count + 1  # in the second part of the second network
    with pytest.raises(RuntimeError, match="power cut"):
        predict(finished, tmp_path / "out")
    limit = None
    predict(finished, tmp_path / "out")
    assert len(seen) == 2 * count  # nothing twice
    ours, theirs = (tmp_path / name / "cell_scores.parquet" for name in ("out", "unbroken"))
    assert ours.read_bytes() == theirs.read_bytes()


def test_runs_that_do_not_fit_are_refused(finished, tmp_path):
    cut(finished, "larger", size=32)
    with pytest.raises(ValueError, match="make a cell cache with the run's settings"):
        predict(finished, tmp_path / "out", cells_cache=finished / "larger")
    with pytest.raises(ArtifactError, match="`hpa train_cell_level`"):
        predict(finished, tmp_path / "out", (tmp_path / "none",))
    content = read_json(finished / "run" / "run.json")
    other = tmp_path / "other"
    other.mkdir()
    content["classes"]["names"][0] = "Something else"
    (other / "run.json").write_text(json.dumps(content))
    (other / "record.json").write_bytes((finished / "run" / "record.json").read_bytes())
    with pytest.raises(ValueError, match="expected the same classes"):
        predict(finished, tmp_path / "out", (finished / "run", other))
