"""Annotators of a made-up Chaoyang set, up to a training on their soft labels."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest

from hpa.config import validate
from hpa.stages.anomalies import annotators
from hpa.stages.anomalies.annotators_config import AnnotatorsConfig
from hpa.stages.image_level import train_image_level
from hpa.stages.image_level.train_image_level import TrainImageLevelConfig
from hpa.tables import read_table

CLASSES = ["normal", "serrated", "adenocarcinoma", "adenoma"]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Forty tiles of eight slides; the third annotator takes adenoma for serrated."""
    folder = tmp_path_factory.mktemp("chaoyang")
    rng = np.random.default_rng(0)
    (folder / "train").mkdir()
    items = []
    for number in range(40):
        truth = number % 4
        name = f"train/{300 + number % 8}_1-IMG{number:03d}-{truth}.JPG"
        cv2.imwrite(str(folder / name), (60 * truth + rng.integers(0, 40, (24, 24, 3))).astype(np.uint8))
        votes = {"label_A": truth, "label_B": truth if number % 5 else (truth + 1) % 4}
        votes["label_C"] = 1 if truth == 3 else truth
        items.append({"name": name, "label": truth, **votes})
    items[7]["label_B"] = items[7]["label_C"] = None
    (folder / "train_label.json").write_text(json.dumps(items))
    return {"kind": "chaoyang", "folder": folder}


def config_of(source, folder, **more):
    data = {"out": folder / "work", "source": source, "workers": {"kind": "none"}, "cache": {"size": 16}}
    data |= {"index": {"duplicate_distance": None}, "fold": {"folds": 2}}
    return validate(AnnotatorsConfig, {"data": data, "out": folder / "annotators"} | more)


def test_agreement_soft_labels_and_hard_images(source, tmp_path):
    out = annotators.run(config_of(source, tmp_path))
    decisions = read_table(out / "decisions.parquet")
    np.testing.assert_allclose(decisions[CLASSES].sum(axis=1), 1, atol=1e-5)
    assert set(decisions["action"]) == {"keep", "relabel"}
    findings = read_table(out / "findings.parquet").set_index("image_id")
    # Tile 3 is an adenoma, which the third annotator takes for serrated; tile 5 was shifted by the second.
    hard = findings.loc["train_303_1-IMG003-3"]
    assert hard["is_annotators"]
    assert hard["annotators_score"] == pytest.approx(0.58, abs=0.01)
    row = decisions.set_index("image_id").loc["train_303_1-IMG003-3"]
    assert row[CLASSES].tolist() == pytest.approx([0, 1 / 3, 0, 2 / 3], abs=1e-5)
    assert "label_C: serrated" in row["reason"]
    lonely = decisions.set_index("image_id").loc["train_307_1-IMG007-3"]
    assert (lonely["action"], lonely["adenoma"]) == ("keep", 1)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["items"] == 39
    assert metrics["votes_of_annotators"] == {"label_A": 40, "label_B": 39, "label_C": 39}
    assert metrics["relabelled"] == (decisions["action"] == "relabel").sum()
    # Adenomas 15 and 35 get a vote for each of three classes: the given one is as likely as the others.
    assert metrics["corrected"] == 0
    assert 0.4 < metrics["fleiss_kappa"] < 0.9
    pairs = pd.read_csv(out / "pairs.csv").set_index(["first", "second"])
    assert pairs.loc[("label_A", "given label"), "kappa"] == 1
    assert pairs.loc[("label_A", "label_C"), "agree"] == pytest.approx(30 / 39)
    per_class = pd.read_csv(out / "per_class.csv").set_index("class")
    assert per_class.loc["normal", "kappa"] > per_class.loc["adenoma", "kappa"]
    page = (out / "report.html").read_text()
    assert "Hard images" in page
    assert "label_C: serrated" in page
    assert annotators.run(config_of(source, tmp_path)) == out


def test_near_certain_soft_labels_are_the_given_ones(source, tmp_path):
    """Dawid and Skene's are never quite 0 and 1; that is no reason to call every label changed."""
    out = annotators.run(config_of(source, tmp_path, labels={"kind": "dawid_skene"}))
    decisions = read_table(out / "decisions.parquet")
    kept = decisions.loc[decisions["action"] == "keep", CLASSES].to_numpy()
    assert 0 < len(kept) < len(decisions)
    assert set(np.unique(kept)) == {0, 1}
    # Without the first annotator, some labels move to another class than the given one.
    pair = annotators.run(config_of(source, tmp_path, columns=["label_C", "label_B"], out=tmp_path / "pair"))
    decisions = read_table(pair / "decisions.parquet")
    labels = read_table(config_of(source, tmp_path).data.index_folder / "labels.parquet").set_index("image_id")
    given = labels.loc[decisions["image_id"], CLASSES].to_numpy().argmax(axis=1)
    soft = decisions[CLASSES].to_numpy()
    moved = (soft.max(axis=1) > soft[np.arange(len(soft)), given]).sum()
    assert json.loads((pair / "metrics.json").read_text())["corrected"] == moved > 0


def test_hard_images_may_count_less_or_nothing(source, tmp_path):
    out = annotators.run(config_of(source, tmp_path, hard=0.5, hard_weight=0, labels={"kind": "dawid_skene"}))
    decisions = read_table(out / "decisions.parquet")
    hard = read_table(out / "findings.parquet")["is_annotators"].to_numpy()
    assert ((decisions["weight"] == 0).to_numpy() == hard).all()
    assert (decisions.loc[hard, "action"] == "drop").all()


def test_a_training_reads_the_soft_labels(source, tmp_path):
    config = config_of(source, tmp_path)
    out = annotators.run(config)
    settings = {
        "data": config.data.model_dump(mode="json"),
        "decisions": out / "decisions.parquet",
        "model": {"name": "test_resnet", "pretrained": {"kind": "none"}},
        "loop": {"epochs": 1, "batch_size": 8, "monitor": None},
        "machine": {"loaders": 0},
        "out": tmp_path / "run",
        "tta": 1,
    }
    run = train_image_level.run(validate(TrainImageLevelConfig, settings))
    assert len(read_table(run / "out_of_fold.parquet")) == 20
    images = read_table(config.data.index_folder / "images.parquet").set_index("image_id")
    folds = read_table(config.data.fold_folder / "folds.parquet").set_index("image_id")["fold"]
    assert folds.groupby(images["slide"].loc[folds.index]).nunique().max() == 1, "slides stay whole"


def test_what_is_no_vote(source, tmp_path):
    with pytest.raises(ValueError, match=r"columns: \['label_D'\] are not in the image table"):
        annotators.run(config_of(source, tmp_path, columns=["label_A", "label_D"]))
    with pytest.raises(ValueError, match="columns: slide holds '300_1', which is no class"):
        annotators.run(config_of(source, tmp_path, columns=["label_A", "slide"]))
