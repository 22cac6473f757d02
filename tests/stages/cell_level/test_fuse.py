"""Fusion of scores on a simulated atlas whose cells were found with errors, up to the competition's metric."""

import json

import numpy as np
import pandas as pd
import pytest

from hpa import progress
from hpa.artifacts import ArtifactError
from hpa.config import ConfigError, validate
from hpa.evaluation import score_label_maps
from hpa.images import write_png
from hpa.labels import HPA2021, ClassList
from hpa.parallel import WorkersConfig
from hpa.segmentation import LabelMapsConfig, QualityConfig, read_label_map
from hpa.simulation import SimulationConfig
from hpa.stages.cell_level import fuse
from hpa.stages.cells import segment_cells
from hpa.stages.cells.cells_config import CELLS, label_map_path
from hpa.stages.data import simulate
from hpa.stages.data.dataset_config import DatasetConfig, SimulatedSource
from hpa.tables import CELL_KEY, align, class_table, class_values, read_table, write_table

NONE = WorkersConfig(kind="none")
SIMULATION = SimulationConfig(images=8, size=96, field=81.92)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    """`simulate`; `cells`: the true cells, some cut to a half or left out; scores of images and cells, out of fold."""
    folder = tmp_path_factory.mktemp("atlas")
    simulate.run(simulate.SimulateConfig(out=folder / "simulate", simulation=SIMULATION, workers=NONE))
    truth = folder / "simulate" / "truth"
    (folder / "maps").mkdir()
    rng = np.random.default_rng(0)
    for path in sorted((truth / "cell_maps").iterdir()):
        cell_map = read_label_map(path)
        for number in np.unique(cell_map)[1:]:
            place = np.argwhere(cell_map == number)
            drawn = rng.random()
            wrong = place if drawn < 0.1 else place[: len(place) // 2] if drawn < 0.25 else place[:0]
            cell_map[tuple(wrong.T)] = 0
        write_png(folder / "maps" / path.name, cell_map)
    data = DatasetConfig(out=folder, source=SimulatedSource(simulation=SIMULATION), workers=NONE)
    segment_cells.run(
        segment_cells.SegmentCellsConfig(
            data=data,
            out=folder / "cells",
            segmenter=LabelMapsConfig(cells=folder / "maps"),
            quality=QualityConfig(),
            examples=0,
        )
    )
    keys = read_table(folder / "cells" / "cells.parquet")[list(CELL_KEY)]
    names = read_table(folder / "cells" / "images.parquet")["image_id"]
    folds = pd.Series(np.arange(len(names)) % 2, index=names)
    for name in ("run", "other"):
        (folder / name).mkdir()
        scores = class_table(keys, rng.random((len(keys), 19), np.float32), HPA2021)
        scores.insert(2, "fold", folds[keys["image_id"]].to_numpy())
        write_table(folder / name / "cell_scores.parquet", scores)
    images = class_table(pd.DataFrame({"image_id": names}), rng.random((len(names), 19), np.float32), HPA2021)
    images.insert(1, "fold", folds.to_numpy())
    write_table(folder / "run" / "out_of_fold.parquet", images)
    return folder


def config(folder, out, **more):
    members = [
        {"name": "image", "level": "image", "paths": [folder / "run"], "weight": 0.3, "class_weights": {"Negative": 0}},
        {"name": "cell", "paths": [folder / "run", folder / "other"], "weight": 0.7},
    ]
    data = {"members": members, "cells": folder / "cells", "out": out, "workers": {"kind": "none"}}
    return validate(fuse.FuseConfig, data | more)


def tune(folder, **search):
    truth = folder / "simulate" / "truth"
    settings = {"least_objects": 5} | search
    return {"label_maps": truth / "cell_maps", "labels": truth / "cells.parquet", "search": settings}


def score(folder, table):
    """The competition's metric of fused scores, by masks."""
    truth = folder / "simulate" / "truth"
    names = read_table(folder / "cells" / "images.parquet")["image_id"]
    true = {name: read_label_map(truth / "cell_maps" / f"{name}.png") for name in names}
    found = {name: read_label_map(label_map_path(folder / "cells", CELLS, name)) for name in names}
    return score_label_maps(true, read_table(truth / "cells.parquet"), found, table, HPA2021)


class Heard(progress.Silent):
    def __init__(self):
        self.texts = []

    def say(self, text):
        self.texts.append(text)


@pytest.fixture
def heard(monkeypatch):
    reporter = Heard()
    monkeypatch.setattr(progress, "_reporter", reporter)
    return reporter.texts


def test_scores_are_weighed_as_configured(atlas, tmp_path):
    out = fuse.run(config(atlas, tmp_path / "fuse"))
    found = read_table(out / "probabilities.parquet")
    assert found.columns.tolist() == ["image_id", "cell_id", "fold", *HPA2021.names]
    runs = [read_table(atlas / name / "cell_scores.parquet") for name in ("run", "other")]
    of_cells = np.mean([class_values(run, HPA2021) for run in runs], axis=0)
    images = read_table(atlas / "run" / "out_of_fold.parquet").set_index("image_id")
    of_images = images.loc[found["image_id"], list(HPA2021.names)].to_numpy()
    expected = 0.3 * of_images + 0.7 * of_cells
    expected[:, 18] = of_cells[:, 18]
    np.testing.assert_allclose(class_values(found, HPA2021), expected, rtol=1e-5)
    assert found["fold"].tolist() == images.loc[found["image_id"], "fold"].tolist()
    weights = json.loads((out / "weights.json").read_text())
    assert weights["weights"]["image"]["Negative"] == 0
    assert weights["weights"]["cell"]["Negative"] == 0.7


def test_the_same_again_is_nothing_and_something_else_an_error(atlas, tmp_path, heard):
    out = fuse.run(config(atlas, tmp_path / "fuse"))
    before = (out / "probabilities.parquet").stat().st_mtime_ns
    fuse.run(config(atlas, tmp_path / "fuse"))
    assert heard[-1].endswith("made before, nothing to do")
    assert (out / "probabilities.parquet").stat().st_mtime_ns == before
    with pytest.raises(ArtifactError, match="how: there 'arithmetic', now 'product'"):
        fuse.run(config(atlas, tmp_path / "fuse", how="product"))


def test_tuned_weights_give_the_metric_that_is_reported(atlas, tmp_path, heard):
    settings = tune(atlas)
    out = fuse.run(config(atlas, tmp_path / "tuned", tune=settings))
    metrics = json.loads((out / "metrics.json").read_text())
    fixed = fuse.run(config(atlas, tmp_path / "fixed"))
    for folder, key in ((fixed, "map_start"), (out, "map_tuned")):
        found = score(atlas, read_table(folder / "probabilities.parquet"))
        assert metrics[key] == pytest.approx(found.map, abs=1e-6)
    by_class = {row["class"]: row["ap_tuned"] for row in metrics["per_class"]}
    assert by_class == pytest.approx(
        {HPA2021.names[number]: value for number, value in found.average_precision.items()}, abs=1e-6
    )
    assert metrics["map_tuned"] > metrics["map_start"]
    assert metrics["cross_fit_gain"] < metrics["map_tuned"] - metrics["map_start"]  # the scores are noise
    assert any("within other folds" in text for text in heard)
    # The record keeps the weights, and still knows the artifact as the one asked for.
    record = json.loads((out / "record.json").read_text())
    assert json.loads(record["made_by"]["weights"]) == json.loads((out / "weights.json").read_text())
    fuse.run(config(atlas, tmp_path / "tuned", tune=settings))
    assert heard[-1].endswith("made before, nothing to do")


def test_perfect_scores_win_all_the_weight(atlas, tmp_path):
    truth = read_table(atlas / "simulate" / "truth" / "cells.parquet")
    keys = read_table(atlas / "cells" / "cells.parquet")[list(CELL_KEY)]
    # Found cells have the true ones' numbers, less the gaps of those left out.
    matched = fuse.run(config(atlas, tmp_path / "first", tune=tune(atlas))) / "true_labels" / "cell_labels.parquet"
    perfect = class_table(keys, class_values(align(keys, read_table(matched), CELL_KEY), HPA2021), HPA2021)
    write_table(tmp_path / "perfect.parquet", perfect)
    members = [
        {"name": "perfect", "paths": [tmp_path / "perfect.parquet"]},
        {"name": "noise", "paths": [atlas / "run"]},
    ]
    out = fuse.run(config(atlas, tmp_path / "fuse", members=members, tune=tune(atlas, step=0.25)))
    metrics = json.loads((out / "metrics.json").read_text())
    for row in metrics["per_class"]:
        assert row["objects"] == truth[row["class"]].sum()
        if row["found"] >= 5:
            assert row["ap_tuned"] == pytest.approx(row["found"] / row["objects"])


def test_tuned_weights_serve_other_images(atlas, tmp_path):
    tuned = fuse.run(config(atlas, tmp_path / "tuned", tune=tune(atlas)))
    again = fuse.run(config(atlas, tmp_path / "again", weights_from=tuned))
    assert (again / "weights.json").read_bytes() == (tuned / "weights.json").read_bytes()
    assert (again / "probabilities.parquet").read_bytes() == (tuned / "probabilities.parquet").read_bytes()
    with pytest.raises(
        ValueError, match=r"weights_from: .*tuned: expected weights of the members \['image', 'cell'\] for"
    ):
        fuse.run(config(atlas, tmp_path / "other", weights_from=tuned, how="geometric"))
    with pytest.raises(ArtifactError, match="`hpa fuse` makes it"):
        fuse.run(config(atlas, tmp_path / "other", weights_from=tmp_path / "nothing"))


def test_a_killed_run_ends_with_the_same_bytes(atlas, tmp_path, monkeypatch):
    whole = fuse.run(config(atlas, tmp_path / "whole", tune=tune(atlas)))

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(fuse, "fuse_values", killed)
    with pytest.raises(KeyboardInterrupt):
        fuse.run(config(atlas, tmp_path / "killed", tune=tune(atlas)))
    monkeypatch.undo()
    assert (tmp_path / "killed.partial" / "true_labels").is_dir()
    resumed = fuse.run(config(atlas, tmp_path / "killed", tune=tune(atlas)))
    for name in ("probabilities.parquet", "weights.json", "metrics.json", "record.json"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()


def test_folds_are_taken_from_the_order_of_images_where_no_table_says_them(atlas, tmp_path, heard):
    scores = read_table(atlas / "run" / "cell_scores.parquet").drop(columns="fold")
    write_table(tmp_path / "scores.parquet", scores)
    members = [{"name": "a", "paths": [tmp_path / "scores.parquet"]}]
    out = fuse.run(config(atlas, tmp_path / "fuse", members=members, tune=tune(atlas)))
    assert "fold" not in read_table(out / "probabilities.parquet").columns
    assert json.loads((out / "metrics.json").read_text())["cross_fit_start"] > 0
    assert any("make sure that all of them are out of fold" in text for text in heard)


def test_scores_of_images_alone(atlas, tmp_path):
    classes = ClassList(names=("normal", "ill"), multi_label=False)
    keys = pd.DataFrame({"image_id": ["a", "b"]})
    for name, values in (("one", [[0.9, 0.1], [0.4, 0.6]]), ("two", [[0.5, 0.5], [0.0, 1.0]])):
        write_table(tmp_path / f"{name}.parquet", class_table(keys, np.float32(values), classes))
    paths = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    member = {"name": "runs", "level": "image", "paths": paths, "ensemble": "confidence_weighted"}
    settings = {"members": [member], "cells": None, "classes": classes.model_dump(), "out": tmp_path / "fuse"}
    table = read_table(fuse.run(validate(fuse.FuseConfig, settings)) / "probabilities.parquet")
    assert table.columns.tolist() == ["image_id", "normal", "ill"]
    expected = [[(0.81 + 0.25) / 1.4, (0.09 + 0.25) / 1.4], [0.24 / 1.6, 1.36 / 1.6]]
    np.testing.assert_allclose(table[["normal", "ill"]], expected, rtol=1e-5)


def test_mistakes_are_named(atlas, tmp_path):
    with pytest.raises(ConfigError, match="`tune` or `weights_from`"):
        config(atlas, tmp_path, tune=tune(atlas), weights_from=tmp_path)
    with pytest.raises(ConfigError, match="`tune` compares cells with true ones; give `cells`"):
        config(atlas, tmp_path, tune=tune(atlas), cells=None)
    with pytest.raises(ArtifactError, match="folder with cell_scores.parquet or probabilities.parquet"):
        fuse.run(config(atlas, tmp_path / "x", members=[{"name": "a", "paths": [atlas / "maps"]}]))
    with pytest.raises(ArtifactError, match="`hpa segment_cells` makes it"):
        fuse.run(config(atlas, tmp_path / "x", cells=tmp_path / "none"))
    scores = read_table(atlas / "run" / "cell_scores.parquet")
    write_table(tmp_path / "few.parquet", scores[scores["fold"] == 0])
    with pytest.raises(ValueError, match="a: expected a row for every cell and no others"):
        fuse.run(config(atlas, tmp_path / "x", members=[{"name": "a", "paths": [tmp_path / "few.parquet"]}]))
    write_table(tmp_path / "folds.parquet", scores.assign(fold=1 - scores["fold"]))
    with pytest.raises(ValueError, match="out of the same folds"):
        fuse.run(
            config(atlas, tmp_path / "x", members=[{"name": "a", "paths": [atlas / "run", tmp_path / "folds.parquet"]}])
        )
    assert not (tmp_path / "x").exists()
