"""A whole comparison on a simulated atlas of a few small images."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from hpa.artifacts import ArtifactError
from hpa.config import load_config
from hpa.evaluation import average_precision
from hpa.stages.comparison import compare
from hpa.stages.comparison.compare_config import CompareConfig
from hpa.stages.data.dataset import open_dataset
from hpa.stages.image_level import train_image_level
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig
from hpa.tables import align, class_values, read_table

DATA = (
    *("source.simulation.images=24", "source.simulation.size=64", "source.simulation.field=60"),
    *("fold.folds=2", "cache.size=32", "workers.kind=none"),
)
SMALL = (
    *(f"base.data.{one}" for one in DATA),
    *("base.folds=all", "base.tta=1", "base.model.name=test_resnet", "base.model.pretrained.kind=none"),
    *("base.loop.epochs=2", "base.loop.batch_size=8", "base.machine.loaders=0"),
    *("costs.seconds=0.01", "costs.batch_size=4", "bootstrap.rounds=30"),
    "robustness.corruptions=[{kind: blur}, {kind: missing_channel, channel: green}]",
)
VARIANTS = (
    "variants={usual: {}, hopeless: {loop.learning_rate: 1.0e+30, loop.clip: null}, "
    "relu: {model.output: relu, data.cache.size: 24}}"
)


ENSEMBLES = ["ensemble: mean", "ensemble: stacking (own)"]


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def settings(folder, *more):
    """All tests read one atlas, beside their folders."""
    return load_config(
        CompareConfig, overrides=[*SMALL, f"base.data.out={folder.parent}/compare_atlas", f"out={folder}/out", *more]
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    # The kind comes first: it would drop what was said of the source before.
    test = [f"test.{one}" for one in DATA if not one.startswith("cache")]
    own = (
        "test.source.kind=simulated",
        *test,
        "test.source.simulation.images=12",
        "test.source.simulation.seed=9",
        f"test.out={folder}/test",
    )
    return settings(folder, VARIANTS, "ensembles=[{kind: mean}, {kind: stacking}]", *own)


@pytest.fixture(scope="module")
def finished(whole):
    return compare.run(whole)


def test_one_row_per_variant_with_mean_and_spread_over_the_folds(finished, whole):
    table = pd.read_csv(finished / "table.csv").set_index("variant")
    assert table.index.tolist() == ["usual", "hopeless", "relu", *ENSEMBLES]
    assert table["kind"].tolist() == ["variant"] * 3 + ["ensemble"] * 2
    data = open_dataset(whole.base.data)
    rows = pd.Index(data.images["image_id"])
    for name in ("usual", "relu"):
        each = []
        for fold in (0, 1):
            predicted = read_table(finished / "runs" / name / f"fold{fold}" / "out_of_fold.parquet")
            targets = data.targets[rows.get_indexer(predicted["image_id"])]
            each.append(np.nanmean(average_precision(targets, class_values(predicted, data.classes))))
        assert table.loc[name, "macro_ap"] == pytest.approx(np.mean(each))
        assert table.loc[name, "macro_ap_spread"] == pytest.approx(np.std(each, ddof=1))
        assert table.loc[name, "value"] == pytest.approx(np.mean(each))
        assert table.loc[name, "low"] <= table.loc[name, "value"] <= table.loc[name, "high"]
        assert table.loc[name, "parameters"] > 1e5
        assert table.loc[name, "images_per_second"] > 0
        assert table.loc[name, "training_memory_gb"] >= 0
        assert (table.loc[name, "epochs"], table.loc[name, "steps"]) == (2, 4)
    folds = pd.read_csv(finished / "folds.csv")
    assert folds.groupby("variant").size().to_dict() == dict.fromkeys(("usual", "relu", *ENSEMBLES), 2)


def test_an_ensemble_is_a_row_beside_its_members(finished, whole):
    members = ("usual", "relu")
    data = open_dataset(whole.base.data)
    tables = [read_table(finished / "runs" / name / "out_of_fold.parquet") for name in members]
    mean = np.mean([class_values(align(tables[0], one), data.classes) for one in tables], axis=0)
    targets = data.targets[pd.Index(data.images["image_id"]).get_indexer(tables[0]["image_id"])]
    each = [
        np.nanmean(average_precision(targets[here], mean[here]))
        for here in (tables[0]["fold"].to_numpy() == fold for fold in (0, 1))
    ]
    table = pd.read_csv(finished / "table.csv").set_index("variant")
    row, own = table.loc["ensemble: mean"], table.loc[list(members)]
    assert row["macro_ap"] == pytest.approx(np.mean(each), abs=1e-6)
    assert row["parameters"] == own["parameters"].sum()
    assert row["images_per_second"] < own["images_per_second"].min()
    assert row["macro_ap_low"] <= row["macro_ap"] <= row["macro_ap_high"]


def test_test_images_have_intervals_of_several_figures(finished, whole):
    test = pd.read_csv(finished / "test.csv").set_index("variant")
    assert test.index.tolist() == ["usual", "relu", *ENSEMBLES]
    data = open_dataset(whole.test.model_copy(update={"cache": whole.base.data.cache}), needs_folds=False)
    table = read_table(finished / "test" / "usual" / "probabilities.parquet")
    expected = np.nanmean(average_precision(data.targets, class_values(align(data.images, table), data.classes)))
    assert test.loc["usual", "macro_ap"] == pytest.approx(expected)
    for figure in ("macro_ap", "macro_auc", "macro_f1", "micro_f1", "accuracy"):
        assert (test[f"{figure}_low"] <= test[figure]).all()
        assert (test[figure] <= test[f"{figure}_high"]).all()
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["test_images"] == 12
    assert metrics["test"]["ensemble: mean"]["macro_auc"] == pytest.approx(test.loc["ensemble: mean", "macro_auc"])


def test_a_variant_that_diverges_is_told_of_and_not_tried_again(finished, whole, monkeypatch):
    row = pd.read_csv(finished / "table.csv").set_index("variant").loc["hopeless"]
    assert row["failure"].startswith("diverged in epoch 1")
    assert "hopeless could not be trained" in (finished / "report.html").read_text()
    before = (finished / "table.csv").read_bytes()

    def never(config):
        assert config.out.name != "hopeless"
        return config.out

    monkeypatch.setattr(train_image_level, "run", never)
    compare.run(whole)
    assert (finished / "table.csv").read_bytes() == before


def test_robustness_of_the_networks_that_did_not_see_the_images(finished):
    table = pd.read_csv(finished / "robustness.csv")
    assert table["corruption"].unique().tolist() == ["as they are", "blur 1.5 px", "without green"]
    clean = table[table["corruption"] == "as they are"].set_index("variant")["macro_ap"]
    own = pd.read_csv(finished / "table.csv").set_index("variant")["macro_ap"]
    pd.testing.assert_series_equal(clean, own.loc[clean.index], check_names=False)  # one view here and there
    blind = read_table(finished / "measures" / "usual" / "robustness.parquet")
    blurred = blind[blind["corruption"] == "blur 1.5 px"]
    assert (blurred["macro_ap"] != blind.loc[blind["corruption"] == "as they are", "macro_ap"].to_numpy()).all()


def test_which_is_better(finished):
    for name in ("pairs.csv", "test_pairs.csv"):
        pairs = pd.read_csv(finished / name)
        assert len(pairs) == 6
        assert (pairs["difference"] >= 0).all()
        assert (pairs["p_corrected"] >= pairs["p"]).all()
    metrics = json.loads((finished / "metrics.json").read_text())
    table = pd.read_csv(finished / "table.csv").set_index("variant")
    assert metrics["best"] == table["value"].idxmax()
    assert metrics["variants"]["hopeless"]["macro_ap"] is None


def test_the_page_says_what_may_mislead(finished):
    page = (finished / "report.html").read_text()
    assert "Trained from random weights: usual, relu." in page
    assert "simulated images" in page
    assert "2 epochs in each fold" in page
    assert "The ensembles are without it." in page


def test_a_variant_can_be_trained_by_its_own_file(finished, whole):
    config = load_config(TrainImageLevelConfig, finished / "configs" / "relu.yaml")
    assert config.model.output == "relu"
    assert train_image_level.run(config) == finished / "runs" / "relu"


def test_what_cannot_be_trained_is_found_before_anything_is(tmp_path):
    config = settings(tmp_path, "variants={usual: {}, two: {loss.kind: cross_entropy}}")
    with pytest.raises(ValueError, match=r"variant two: loss\.kind=cross_entropy needs"):
        compare.run(config)
    assert not (tmp_path / "out" / "runs").exists()


def test_another_base_does_not_mix_with_what_stands(finished, whole):
    with pytest.raises(ArtifactError, match=r"loop\.seed"):
        base = whole.base.model_copy(update={"loop": whole.base.loop.model_copy(update={"seed": 1})})
        compare.run(whole.model_copy(update={"base": base}))


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (("kind=simulated", "simulation.images=24", "simulation.size=64", "simulation.field=60"), "24 of 24 images"),
        (("kind=class_folders", "folder={folder}/sorted"), "expected the classes"),
    ],
)
def test_unfit_test_images_are_found_before_any_training(finished, whole, tmp_path, test, expected):
    for name in ("one", "two"):
        path = tmp_path / "sorted" / name / f"{name}.png"
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), np.full((8, 8, 3), 99, np.uint8))
    out = whole.base.data.out if "kind=simulated" in test else tmp_path / "test"
    given = [f"test.source.{one.format(folder=tmp_path)}" for one in test]
    config = settings(
        whole.out.parent, VARIANTS, *given, f"test.out={out}", f"out={tmp_path}/out", "test.workers.kind=none"
    )
    with pytest.raises(ValueError, match=expected):
        compare.run(config)
    assert not (tmp_path / "out" / "runs").exists()
