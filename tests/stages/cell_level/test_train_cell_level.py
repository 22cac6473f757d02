"""Training on the cells of a small simulated atlas."""

import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from hpa.artifacts import ArtifactError, read_json, read_record
from hpa.cell_cache import CellCache
from hpa.config import ConfigError, load_config
from hpa.crops import CropShape
from hpa.evaluation import average_precision
from hpa.labels import HPA2021
from hpa.parallel import WorkersConfig
from hpa.segmentation import LabelMapsConfig
from hpa.simulation import SimulationConfig
from hpa.stages.cell_level import cell_task, predict_cells, train_cell_level
from hpa.stages.cell_level.cell_networks import open_cell_run
from hpa.stages.cell_level.train_cell_level import TrainCellLevelConfig
from hpa.stages.cells import cache_cells, segment_cells
from hpa.stages.cells.cache_cells import CacheCellsConfig
from hpa.stages.cells.cells_config import SegmentCellsConfig
from hpa.stages.data.dataset_config import DatasetConfig, FoldSettings, SimulatedSource
from hpa.stages.image_level import train_image_level
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig
from hpa.tables import align, class_values, read_embeddings, read_table, write_table

NAMES = list(HPA2021.names)
SMALL = (
    *("model.name=test_resnet", "model.pretrained.kind=none", "loop.epochs=2", "loop.batch_size=16"),
    *("machine.loaders=0", "tta=2"),
)
WEIGHTS = ("fold0/best.safetensors", "fold1/best.safetensors")


def atlas(folder, **simulation):
    settings = {"images": 16, "size": 128, "field": 60, **simulation}
    return DatasetConfig(
        out=folder / "work",
        source=SimulatedSource(simulation=SimulationConfig(**settings)),
        fold=FoldSettings(folds=2),
        workers=WorkersConfig(kind="none"),
    )


def config(folder, out, *overrides, labels="cell_labels.parquet", kind=TrainCellLevelConfig, **settings):
    return load_config(
        kind,
        overrides=[
            *SMALL,
            f"data={atlas(folder).model_dump_json()}",
            f"cells_cache={folder}/cache",
            f"labels={folder}/{labels}",
            f"out={out}",
            *overrides,
        ],
    )


def cut(folder, out, size=24):
    return cache_cells.run(
        CacheCellsConfig(data=atlas(folder), cells=folder / "cells", crops=CropShape(size=size), out=folder / out)
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of an atlas (`work`), `cells`, `cache`, `cell_labels.parquet` and the run made from them (`run`)."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("atlas")
    truth = folder / "work" / "simulate" / "truth"
    maps = LabelMapsConfig(cells=truth / "cell_maps", nuclei=truth / "nucleus_maps")
    segment_cells.run(SegmentCellsConfig(data=atlas(folder), segmenter=maps, out=folder / "cells"))
    cut(folder, "cache")
    write_table(folder / "cell_labels.parquet", some_labels(folder))
    assert train_cell_level.run(config(folder, folder / "run")) == folder / "run"
    return folder


def some_labels(folder):
    """The labels of the images, softened, in an order of their own, every fifth cell without weight."""
    keys = CellCache.open(folder / "cache").keys
    table = keys.merge(read_table(folder / "work" / "index" / "labels.parquet"), on="image_id")
    table[NAMES] *= 0.75
    table["weight"] = np.float32(1)
    table.loc[::5, "weight"] = 0
    return table.sample(frac=1, random_state=0).reset_index(drop=True)


def with_changes(folder, name, change):
    """A changed copy of the labels."""
    table = some_labels(folder)
    write_table(folder / name, change(table))
    return name


def test_every_cell_is_scored_by_a_network_that_did_not_see_its_image(finished):
    scores = read_table(finished / "run" / "cell_scores.parquet")
    keys = CellCache.open(finished / "cache").keys
    assert list(scores.columns) == ["image_id", "cell_id", "fold", *NAMES]
    align(keys, scores, ["image_id", "cell_id"])  # the same cells, those without weight among them
    folds = read_table(finished / "work" / "fold" / "folds.parquet").set_index("image_id")["fold"]
    assert (folds.loc[scores["image_id"]].to_numpy() == scores["fold"].to_numpy()).all()
    values = class_values(scores, HPA2021)
    assert ((values >= 0) & (values <= 1)).all()
    for fold, network in enumerate(open_cell_run(finished / "run").networks()):
        own = scores[scores["fold"] == fold]
        cache = CellCache.open(finished / "cache")
        cells = torch.from_numpy(cache.read(cache.rows(own)))
        images = cells[:, :4] * (cells[:, 4:] > 0)
        with torch.no_grad():
            one, other = (network.probabilities(network(view)) for view in (images, images.flip(3)))
        np.testing.assert_allclose(class_values(own, HPA2021), (one + other) / 2, atol=2e-5)


def test_embeddings_are_those_of_the_scores(finished):
    scores = read_table(finished / "run" / "cell_scores.parquet")
    keys, values = read_embeddings(finished / "run" / "embeddings")
    assert keys.equals(scores[["image_id", "cell_id", "fold"]])
    network = next(iter(open_cell_run(finished / "run").networks()))
    own = np.flatnonzero(scores["fold"] == 0)
    with torch.no_grad():
        logits = network.logits(torch.from_numpy(np.array(values[own])))
    # The head is linear and the sigmoid nearly so where logits are small, so the views' mean passes through.
    np.testing.assert_allclose(network.probabilities(logits), class_values(scores.iloc[own], HPA2021), atol=0.02)
    assert not (finished / "run" / "fold0" / "embeddings").exists()


def test_metrics_are_against_the_labels(finished):
    metrics = json.loads((finished / "run" / "metrics.json").read_text())
    scores = read_table(finished / "run" / "cell_scores.parquet")
    labels = align(scores, some_labels(finished), ["image_id", "cell_id"])
    labelled = (labels["weight"] > 0).to_numpy()
    truth = (class_values(labels, HPA2021) >= 0.5).astype(np.float32)
    values = class_values(scores, HPA2021)
    assert metrics["cells"] == len(scores)
    assert metrics["labelled_cells"] == metrics["items"] == labelled.sum()
    assert metrics["macro_ap"] == pytest.approx(np.nanmean(average_precision(truth[labelled], values[labelled])))
    images = read_table(finished / "work" / "index" / "labels.parquet")
    best = scores.groupby("image_id")[NAMES].max().loc[images["image_id"]]
    precision = average_precision(class_values(images, HPA2021), best.to_numpy(np.float32))
    assert metrics["image_macro_ap"] == pytest.approx(np.nanmean(precision))
    assert metrics["initial_weights"] == "random weights"
    assert len(pd.read_csv(finished / "run" / "per_class.csv")) == 19


def test_the_saved_configuration_makes_the_same_run(finished):
    saved = yaml.safe_load((finished / "run" / "config.yaml").read_text())
    before = (finished / "run" / "metrics.json").stat().st_mtime_ns
    train_cell_level.run(TrainCellLevelConfig.model_validate(saved))
    assert (finished / "run" / "metrics.json").stat().st_mtime_ns == before
    with pytest.raises(ArtifactError, match="masking.neighbours: there 'masked', now 'kept'"):
        train_cell_level.run(config(finished, finished / "run", "masking.neighbours=kept"))


def test_other_labels_are_another_run(finished):
    name = with_changes(finished, "other.parquet", lambda table: table.assign(weight=np.float32(1)))
    with pytest.raises(ArtifactError, match=r"inputs.labels"):
        train_cell_level.run(config(finished, finished / "run", labels=name))


KILLED = """
import os, signal, sys
from hpa.stages.cell_level import train_cell_level as stage
from hpa.config import load_config
real, seen = stage.write_table, []

def write(path, table):
    if path.parent.name == "fold1":
        os.kill(os.getpid(), signal.SIGKILL)
    real(path, table)

stage.write_table = write
stage.run(load_config(stage.TrainCellLevelConfig, overrides=sys.argv[1:]))
"""


def test_kill_9_and_the_same_command_ends_with_the_same_bytes(finished, tmp_path):
    settings = config(finished, tmp_path / "run")
    overrides = [f"{name}={json.dumps(value)}" for name, value in settings.model_dump(mode="json").items()]
    killed = subprocess.run([sys.executable, "-c", KILLED, *overrides], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (tmp_path / "run.partial" / "fold0" / "cell_scores.parquet").exists()
    first = (tmp_path / "run.partial" / "fold0" / "best.safetensors").stat().st_mtime_ns
    train_cell_level.run(settings)
    assert (tmp_path / "run" / "fold0" / "best.safetensors").stat().st_mtime_ns == first
    for name in (*WEIGHTS, "cell_scores.parquet", "embeddings/values.npy", "embeddings/keys.parquet", "run.json"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / "run" / name).read_bytes(), name


def test_cells_without_weight_teach_nothing(finished, tmp_path):
    """Other labels of the cells of weight 0 do not change the weights."""

    def change(table):
        table.loc[table["weight"] == 0, NAMES] = 1
        return table

    name = with_changes(finished, "changed.parquet", change)
    train_cell_level.run(config(finished, tmp_path / "run", "folds=[0]", labels=name))
    ours = (tmp_path / "run" / WEIGHTS[0]).read_bytes()
    assert ours == (finished / "run" / WEIGHTS[0]).read_bytes()
    name = with_changes(finished, "taught.parquet", lambda table: change(table).assign(weight=np.float32(1)))
    train_cell_level.run(config(finished, tmp_path / "other", "folds=[0]", labels=name))
    assert (tmp_path / "other" / WEIGHTS[0]).read_bytes() != ours


def test_a_table_without_weights_has_weight_one(finished, tmp_path):
    one = with_changes(finished, "one.parquet", lambda table: table.assign(weight=np.float32(1)))
    none = with_changes(finished, "none.parquet", lambda table: table.drop(columns="weight"))
    settings = ("folds=[0]", "loop.epochs=1")
    for out, labels in (("one", one), ("none", none)):
        train_cell_level.run(config(finished, tmp_path / out, *settings, labels=labels))
    one, none = ((tmp_path / name / WEIGHTS[0]).read_bytes() for name in ("one", "none"))
    assert one == none


def test_parts_of_the_prediction_do_not_change_it(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(cell_task, "AT_ONCE", 7)
    monkeypatch.setattr(train_cell_level, "AT_ONCE", 7)
    monkeypatch.setattr(predict_cells, "AT_ONCE", 7)
    train_cell_level.run(config(finished, tmp_path / "run"))
    whole, parts = (read_table(folder / "run" / "cell_scores.parquet") for folder in (finished, tmp_path))
    pd.testing.assert_frame_equal(whole, parts, atol=1e-5)
    embeddings = [read_embeddings(folder / "run" / "embeddings")[1] for folder in (finished, tmp_path)]
    np.testing.assert_allclose(*embeddings, atol=1e-4)


def test_beginning_with_another_run(finished, tmp_path):
    """A second training with no steps to speak of stays where the first ended, fold by fold."""
    still = ("loop.learning_rate=1e-12", "loop.epochs=1", "loop.ema_decay=null", "loop.batch_norm=frozen")
    train_cell_level.run(config(finished, tmp_path / "run", f"init={finished}/run", *still))
    pd.testing.assert_frame_equal(
        read_table(tmp_path / "run" / "cell_scores.parquet"),
        read_table(finished / "run" / "cell_scores.parquet"),
        atol=1e-4,
    )
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["inputs"]["init"] == read_record(finished / "run", "train_cell_level").fingerprint
    assert "of the same fold" in json.loads((tmp_path / "run" / "metrics.json").read_text())["initial_weights"]


def test_beginning_with_a_training_on_images(finished, tmp_path):
    settings = {
        "data": atlas(finished).model_copy(update={"cache": atlas(finished).cache.model_copy(update={"size": 24})}),
        "out": tmp_path / "images",
        "folds": (1,),
    }
    base = config(finished, tmp_path / "run")
    image_level = TrainImageLevelConfig(
        **settings, model=base.model, loop=base.loop.model_copy(update={"epochs": 1}), machine=base.machine
    )
    train_image_level.run(image_level)
    train_cell_level.run(config(finished, tmp_path / "run", f"init={tmp_path}/images", "loop.epochs=1", "folds=[1]"))
    assert (tmp_path / "run" / "fold1" / "best.safetensors").exists()


def test_weights_that_know_what_is_held_out_are_refused(finished, tmp_path):
    train_cell_level.run(config(finished, tmp_path / "half", "folds=[0]", "loop.epochs=1"))
    with pytest.raises(ValueError, match=r"no network for the folds \[1\]"):
        train_cell_level.run(config(finished, tmp_path / "run", f"init={tmp_path}/half"))
    other = tmp_path / "other"
    shutil.copytree(finished / "run", other)
    record = read_json(other / "record.json")
    record["inputs"]["fold"] = "another"
    (other / "record.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="trained on other folds, so its weights may know the cells"):
        train_cell_level.run(config(finished, tmp_path / "run", f"init={other}"))
    (other / "run.json").write_text(json.dumps(read_json(other / "run.json") | {"stage": "train_bags"}))
    with pytest.raises(ValueError, match="but train_bags made"):
        train_cell_level.run(config(finished, tmp_path / "run", f"init={other}"))
    with pytest.raises(ArtifactError, match="init: .*none is no finished run"):
        train_cell_level.run(config(finished, tmp_path / "run", f"init={tmp_path}/none"))


def test_neighbours_are_seen_or_not(finished, tmp_path):
    """The same training but for the masking gives other weights."""
    settings = ("folds=[0]", "loop.epochs=1")
    found = set()
    for neighbours in ("masked", "kept", "random"):
        out = tmp_path / neighbours
        train_cell_level.run(config(finished, out, *settings, f"masking.neighbours={neighbours}"))
        found.add((out / WEIGHTS[0]).read_bytes())
        assert open_cell_run(out).masking.neighbours == neighbours
    assert len(found) == 3


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda table: table.iloc[1:], "with weight 0 for cells that are not to be learned from: .* 1 are missing"),
        (lambda table: pd.concat([table, table.iloc[:1]]), "repeats"),
        (lambda table: table.drop(columns="Nucleoli"), "Nucleoli"),
        (lambda table: table.assign(Nucleoli=np.float32(1.5)), r"expected labels in \[0, 1\], but found 1.5"),
        (lambda table: table.assign(weight=np.float32(-1)), "expected weights of 0 and above, but found -1.0"),
        (lambda table: table.assign(weight=np.float32(np.nan)), "expected weights of 0 and above, but found nan"),
        (lambda table: table.assign(weight=np.float32(0)), "no cells with a weight above 0 to learn from"),
        (lambda table: table.drop(columns="cell_id"), "cell_id"),
    ],
)
def test_labels_that_cannot_be_used(finished, tmp_path, change, problem):
    name = with_changes(finished, "wrong.parquet", change)
    with pytest.raises(ValueError, match=problem):
        train_cell_level.run(config(finished, tmp_path / "run", labels=name))


def test_what_is_missing_names_its_command(finished, tmp_path):
    with pytest.raises(ArtifactError, match="`hpa make_pseudo_labels` makes them"):
        train_cell_level.run(config(finished, tmp_path / "run", labels="missing.parquet"))
    with pytest.raises(ArtifactError, match="`hpa cache_cells` makes it"):
        train_cell_level.run(config(finished, tmp_path / "run", f"cells_cache={tmp_path}/none"))


def test_cells_of_other_images_are_refused(finished, tmp_path):
    other = ("data.source.simulation.images=10", "data.source.simulation.size=64", f"data.out={tmp_path}/work")
    with pytest.raises(ArtifactError, match="was not made from the images in"):
        train_cell_level.run(config(finished, tmp_path / "run", *other))


def test_labels_of_other_label_maps_are_refused(finished, tmp_path):
    (tmp_path / "cell_labels.parquet").write_bytes((finished / "cell_labels.parquet").read_bytes())
    own = read_record(finished / "cells", "segment_cells").fingerprint
    for cells in (own, "another"):
        (tmp_path / "record.json").write_text(json.dumps({"inputs": {"cells": cells}}))
        settings = config(finished, tmp_path / "run", f"labels={tmp_path}", "folds=[0]", "loop.epochs=1")
        if cells == own:
            train_cell_level.run(settings)
        else:
            with pytest.raises(ArtifactError, match="was made for other label maps than the cells of"):
                train_cell_level.run(settings)


def test_held_out_cells_without_any_labels_are_still_scored(finished, tmp_path):
    folds = read_table(finished / "work" / "fold" / "folds.parquet").set_index("image_id")["fold"]

    def change(table):
        table.loc[table["image_id"].map(folds) == 0, "weight"] = 0
        return table

    name = with_changes(finished, "half.parquet", change)
    train_cell_level.run(config(finished, tmp_path / "run", "folds=[0]", "loop.epochs=1", labels=name))
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["labelled_cells"] == 0
    assert metrics["cells"] > 0
    assert "macro_ap" not in metrics
    assert metrics["image_macro_ap"] > 0


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("folds=[7]", r"folds: expected numbers from 0 to 1, but got \[7\]"),
        ("masking.neighbours=hidden", "masking.neighbours"),
        ("label=x.parquet", "did you mean 'labels'"),
    ],
)
def test_a_wrong_configuration_is_told_at_once(finished, tmp_path, override, expected):
    with pytest.raises(ConfigError, match=expected):
        config(finished, tmp_path / "run", override)


def test_a_folder_of_labels(finished):
    settings = config(finished, finished / "run", f"labels={finished}")
    assert settings.labels_file == finished / "cell_labels.parquet"
