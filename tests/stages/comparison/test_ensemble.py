"""Ensembles of made-up members on a made-up index: alignment, honest gains, application to new images."""

import json

import numpy as np
import pandas as pd
import pytest

from hpa.artifacts import ArtifactError
from hpa.config import ConfigError, validate
from hpa.fusion.combination import Combination, combine
from hpa.labels import ClassList
from hpa.stages.comparison import ensemble
from hpa.stages.comparison.ensemble_config import EnsembleConfig
from hpa.stages.data import index
from hpa.stages.data.dataset_config import DatasetConfig
from hpa.tables import class_table, class_values, read_table, write_table

CLASSES = ("a", "b", "c")
COUNT = 120
EVERY = [
    *({"kind": "mean"}, {"kind": "confidence_weighted"}, {"kind": "confidence_weighted", "confidence": "entropy"}),
    *({"kind": "rank"}, {"kind": "weights"}, {"kind": "stacking"}),
]


def data_of(folder, seed, count=COUNT):
    """An index of `count` images of three classes, one of them rare; its configuration and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, count, p=[0.55, 0.35, 0.1])
    folder.mkdir(parents=True, exist_ok=True)
    pixels = rng.integers(0, 256, (count, 12, 12), np.uint8)
    np.savez(folder / "data.npz", train_images=pixels, train_labels=labels)
    source = {"kind": "npz", "file": folder / "data.npz", "classes": list(CLASSES)}
    settings = {"out": folder / "work", "source": source, "workers": {"kind": "none"}}
    config = validate(DatasetConfig, settings | {"index": {"duplicate_distance": None}})
    index.run(config)
    return config, labels


def predictions(path, labels, seed, noise, folds=None, keep=None):
    """A member's table: log-odds of the truth with noise of its own, rows in another order than the index."""
    rng = np.random.default_rng(seed)
    odds = 2 * np.eye(3)[labels] + noise * rng.standard_normal((len(labels), 3))
    values = np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
    keys = pd.DataFrame({"image_id": [f"train_{row:06d}" for row in range(len(labels))]})
    table = class_table(keys, values.astype(np.float32), ClassList(names=CLASSES, multi_label=False))
    if folds is not None:
        table.insert(1, "fold", folds)
    order = rng.permutation(len(labels))[: keep or len(labels)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table(path, table.iloc[order].reset_index(drop=True))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two good members with errors of their own and a useless one, on training and test images."""
    folder = tmp_path_factory.mktemp("ensemble")
    for part, seed in (("train", 0), ("test", 1)):
        _config, labels = data_of(folder / part, seed)
        for number, (name, noise) in enumerate((("first", 1.2), ("second", 1.3), ("noise", 9.0))):
            # Members with different folds.
            folds = (np.arange(COUNT) + number) % (3 + number) if part == "train" else None
            file = "out_of_fold.parquet" if part == "train" else "probabilities.parquet"
            predictions(folder / part / name / file, labels, 10 * seed + number, noise, folds)
    return folder


def config_of(folder, out, part="train", names=("first", "second", "noise"), **more):
    members = [{"name": name, "paths": [folder / part / name]} for name in names]
    source = {"kind": "npz", "file": folder / part / "data.npz", "classes": list(CLASSES)}
    data = {"out": folder / part / "work", "source": source, "index": {"duplicate_distance": None}}
    return validate(EnsembleConfig, {"members": members, "data": data, "out": out, "rounds": 50, "compared": []} | more)


def labels_of(folder, part):
    table = read_table(folder / part / "work" / "index" / "labels.parquet")
    return table["image_id"].tolist(), class_values(table, ClassList(names=CLASSES, multi_label=False))


def test_a_mean_is_the_mean_of_the_members_by_image(made, tmp_path):
    out = ensemble.run(config_of(made, tmp_path / "mean"))
    found = read_table(out / "out_of_fold.parquet").set_index("image_id")
    tables = [
        read_table(made / "train" / name / "out_of_fold.parquet").set_index("image_id").loc[found.index, list(CLASSES)]
        for name in ("first", "second", "noise")
    ]
    np.testing.assert_allclose(found[list(CLASSES)], sum(tables) / 3, atol=1e-6)
    decided = read_table(out / "decided.parquet").set_index("image_id").loc[found.index, list(CLASSES)].to_numpy()
    assert (decided.argmax(axis=1) == found[list(CLASSES)].to_numpy().argmax(axis=1)).all()
    assert ensemble.run(config_of(made, tmp_path / "mean")) == out


def test_the_report_tells_what_members_add(made, tmp_path):
    out = ensemble.run(config_of(made, tmp_path / "stack", rule={"kind": "stacking"}, compared=EVERY, rounds=200))
    table = pd.read_csv(out / "table.csv").set_index("name")
    assert table.loc["stacking (own)", "kind"] == "ensemble"
    assert table.loc["stacking (own)", "accuracy"] > table.loc[["first", "second", "noise"], "accuracy"].max()
    assert (table["accuracy_low"] <= table["accuracy"]).all()
    assert (table["accuracy"] <= table["accuracy_high"]).all()
    assert np.isnan(table.loc["rank", "log_loss"])
    assert table.loc["weights (log_loss)", "log_loss"] < table.loc["mean", "log_loss"]
    added = pd.read_csv(out / "added.csv")
    by_member = added[added["statistic"] == "accuracy"].set_index("name")["difference"]
    assert by_member["first"] > by_member["noise"]
    overlap = pd.read_csv(out / "overlap.csv")
    assert overlap["correlation"].abs().max() < 0.35, "errors were drawn independently"
    page = (out / "report.html").read_text()
    assert "What each member adds" in page
    assert "<script" not in page
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["oracle"] >= table.loc[["first", "second", "noise"], "accuracy"].max()


def test_fitted_rules_are_measured_out_of_fold(made, tmp_path):
    """What is written of an image must not depend on its own label."""
    config = config_of(made, tmp_path / "one", rule={"kind": "stacking", "penalty": 0.01, "features": "all"})
    one = read_table(ensemble.run(config) / "out_of_fold.parquet")
    assert one["fold"].nunique() == 5, "members with different folds are fitted across folds dealt anew"
    fitted = json.loads((config.out / "fitted.json").read_text())
    assert set(fitted["rules"]) == {"stacking (all)"}
    ids, targets = labels_of(made, "train")
    own = one.set_index("image_id").loc[ids, list(CLASSES)].to_numpy()
    members = [
        read_table(made / "train" / name / "out_of_fold.parquet").set_index("image_id").loc[ids, list(CLASSES)]
        for name in ("first", "second", "noise")
    ]
    everything = combine(
        Combination.model_validate(fitted["rules"]["stacking (all)"]),
        [member.to_numpy(np.float32) for member in members],
    )
    loss_own, loss_fitted = (-np.log((targets * p).sum(axis=1)).mean() for p in (own, everything))
    assert loss_own > loss_fitted + 0.01, "the fit on all images is better on them than what is written"


@pytest.mark.parametrize("rule", [{"kind": "stacking"}, {"kind": "weights", "objective": "average_precision"}])
def test_a_fit_is_applied_to_new_images(made, tmp_path, rule):
    fit = ensemble.run(config_of(made, tmp_path / "fit", rule=rule, moving="macro_recall"))
    out = ensemble.run(config_of(made, tmp_path / "new", "test", fitted=fit))
    assert not (out / "out_of_fold.parquet").exists()
    new = read_table(out / "probabilities.parquet")
    np.testing.assert_allclose(new[list(CLASSES)].sum(axis=1), 1, atol=1e-5)
    table = pd.read_csv(out / "table.csv").set_index("name")
    assert table["kind"].eq("ensemble").sum() == 2, "with thresholds as they are and moved"
    moved = table.loc["ensemble, moved thresholds"]
    ids, targets = labels_of(made, "test")
    decided = read_table(out / "decided.parquet").set_index("image_id").loc[ids, list(CLASSES)].to_numpy()
    recalls = (decided * targets).sum(axis=0) / targets.sum(axis=0)
    assert moved["macro_recall"] == pytest.approx(recalls.mean())
    assert json.loads((out / "fitted.json").read_text()) == json.loads((fit / "fitted.json").read_text())


def test_members_from_random_weights_are_told(made, tmp_path):
    for name, told in (("first", "hub: resnet50"), ("second", "random weights")):
        folder = tmp_path / name
        folder.mkdir()
        write_table(folder / "out_of_fold.parquet", read_table(made / "train" / name / "out_of_fold.parquet"))
        (folder / "metrics.json").write_text(json.dumps({"initial_weights": told}))
    # A folder, and a table in one.
    members = [
        {"name": "pretrained", "paths": [tmp_path / "first"]},
        {"name": "scratch", "paths": [tmp_path / "second" / "out_of_fold.parquet"]},
    ]
    out = ensemble.run(config_of(made, tmp_path / "out", members=members))
    assert "other images: scratch." in (out / "report.html").read_text()
    assert json.loads((out / "metrics.json").read_text())["initial_weights"] == "random weights (scratch)"


def test_images_that_not_all_have_predicted(made, tmp_path):
    _, labels = labels_of(made, "train")
    predictions(made / "train" / "part" / "out_of_fold.parquet", labels.argmax(axis=1), 5, 1.0, keep=100)
    names = ("first", "part")
    with pytest.raises(ValueError, match="part: 20 of 120 images are not predicted.*common=true"):
        ensemble.run(config_of(made, tmp_path / "out", names=names))
    out = ensemble.run(config_of(made, tmp_path / "common", names=names, common=True))
    assert len(read_table(out / "out_of_fold.parquet")) == 100
    assert "20 images left out" in (out / "report.html").read_text()


def test_what_cannot_be_combined(made, tmp_path):
    with pytest.raises(ArtifactError, match="expected a parquet table"):
        ensemble.run(config_of(made, tmp_path / "out", names=("first", "absent")))
    other = config_of(made, tmp_path / "out", "test", names=("first",))
    fit = ensemble.run(config_of(made, tmp_path / "fit", names=("first", "second")))
    with pytest.raises(ValueError, match=r"expected the members \['first', 'second'\]"):
        ensemble.run(config_of(made, tmp_path / "out", "test", names=("second", "first"), fitted=fit))
    cells = pd.DataFrame({"image_id": ["train_000000"], "cell_id": [1], **{name: [0.5] for name in CLASSES}})
    write_table(made / "test" / "cells.parquet", cells)
    bad = other.model_copy(
        update={"members": (other.members[0].model_copy(update={"paths": (made / "test" / "cells.parquet",)}),)}
    )
    with pytest.raises(ValueError, match="`hpa fuse` takes cells"):
        ensemble.run(bad)
    wide = pd.DataFrame({"image_id": ["other"], **{name: [0.5] for name in CLASSES}})
    write_table(made / "test" / "wide.parquet", wide)
    bad = other.model_copy(
        update={"members": (other.members[0].model_copy(update={"paths": (made / "test" / "wide.parquet",)}),)}
    )
    with pytest.raises(ValueError, match="1 images of .* are not in the data set, such as other"):
        ensemble.run(bad)
    with pytest.raises(ConfigError, match="every member's name once"):
        config_of(made, tmp_path / "out", names=("first", "first"))
    with pytest.raises(ConfigError, match="not those of rules"):
        config_of(made, tmp_path / "out", names=("mean",))


def test_unlabelled_images_take_rules_that_need_no_labels(made, tmp_path):
    with np.load(made / "test" / "data.npz") as arrays:
        np.savez(tmp_path / "data.npz", train_images=arrays["train_images"])
    source = {"kind": "npz", "file": tmp_path / "data.npz", "classes": list(CLASSES)}
    data = {"out": tmp_path / "work", "source": source, "index": {"duplicate_distance": None}}
    index.run(validate(DatasetConfig, data | {"workers": {"kind": "none"}}))
    out = ensemble.run(config_of(made, tmp_path / "out", "test", data=data))
    assert not (out / "table.csv").exists()
    with pytest.raises(ValueError, match="expected labels of the 120 items to fit 'stacking'"):
        ensemble.run(config_of(made, tmp_path / "stack", "test", data=data, rule={"kind": "stacking"}))
