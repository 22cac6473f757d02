"""Decisions about a simulated atlas with planted wrong labels."""

import json

import numpy as np
import pandas as pd
import pytest

from hpa.artifacts import ArtifactError
from hpa.config import ConfigError, validate
from hpa.labels import HPA2021
from hpa.parallel import WorkersConfig
from hpa.simulation import SimulationConfig
from hpa.stages.anomalies import denoise
from hpa.stages.anomalies.denoise_config import DenoiseConfig
from hpa.stages.data import index
from hpa.stages.data.dataset_config import DatasetConfig, SimulatedSource
from hpa.tables import class_table, class_values, read_table, write_embeddings, write_table

SIMULATION = SimulationConfig(
    images=24, size=64, field=40.96, images_per_antibody=2, defects={"wrong_label": 0.25}, seed=1
)


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    """An index; findings that know the wrong labels, probabilities and an embedding that know the right ones."""
    folder = tmp_path_factory.mktemp("atlas")
    data = DatasetConfig(out=folder, source=SimulatedSource(simulation=SIMULATION), workers=WorkersConfig(kind="none"))
    index.run(data)
    truth = read_table(folder / "simulate" / "truth" / "images.parquet")
    wrong = (truth["defect"] == "wrong_label").to_numpy()
    assert 3 <= wrong.sum() <= 12
    keys = truth[["image_id"]]
    true = HPA2021.encode([HPA2021.parse(text) for text in truth["true_label"]])
    found = keys.assign(
        label_score=wrong.astype(np.float32), is_label=wrong, focus_score=np.float32(0), is_focus=np.arange(24) == 0
    )
    write_table(folder / "findings.parquet", found.sample(frac=1, random_state=0))  # order does not matter
    write_table(folder / "out_of_fold.parquet", class_table(keys, 0.05 + 0.9 * true, HPA2021).assign(fold=0))
    rng = np.random.default_rng(0)
    write_embeddings(folder / "embedding", keys, (true + rng.normal(0, 0.05, true.shape)).astype(np.float32))
    return data, wrong, true


def config(data, out, **more):
    given = {"data": data.model_dump(), "findings": data.out / "findings.parquet", "out": out, "examples": 2}
    given |= {"limits": {"share": 1, "least": 0}, "policy": {"kind": "drop", "detectors": ["label"]}}
    return validate(DenoiseConfig, given | more)


def test_flagged_images_are_dropped(atlas, tmp_path):
    data, wrong, _ = atlas
    out = denoise.run(config(data, tmp_path / "out"))
    decisions = read_table(out / "decisions.parquet")
    assert decisions["image_id"].tolist() == read_table(data.index_folder / "images.parquet")["image_id"].tolist()
    assert ((decisions["action"] == "drop") == wrong).all()
    assert ((decisions["weight"] == 0) == wrong).all()
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["drop"] == metrics["truth"]["wrong"] == metrics["truth"]["wrong_changed"] == wrong.sum()
    assert metrics["truth"]["right_changed"] == 0
    assert metrics["truth"]["squared_error_after"] == 0
    assert metrics["truth"]["squared_error_before"] > 0
    labels = read_table(data.index_folder / "labels.parquet")[list(HPA2021.names)].to_numpy()
    dropped = [row["dropped"] for row in metrics["per_class"]]
    assert dropped == labels[wrong].sum(axis=0).tolist()
    page = (out / "report.html").read_text()
    assert page.count("because of") >= 2
    assert "Not learned from" in page
    again = denoise.run(config(data, tmp_path / "out"))
    assert again == out


@pytest.mark.parametrize("source", ["probabilities", "embedding", "group_votes"])
def test_labels_are_corrected(atlas, tmp_path, source):
    data, wrong, true = atlas
    given = {"probabilities": data.out, "embedding": data.out / "embedding", "group_votes": True}
    out = denoise.run(
        config(
            data,
            tmp_path / "out",
            policy={"kind": "relabel", "detectors": ["label"]},
            vote={"kind": "neighbour_vote", "neighbours": 3},
            **{source: given[source]},
        )
    )
    decisions = read_table(out / "decisions.parquet")
    labels = class_values(decisions, HPA2021)
    given = read_table(data.index_folder / "labels.parquet")[list(HPA2021.names)].to_numpy(np.float32)
    np.testing.assert_array_equal(labels[~wrong], given[~wrong])
    if source == "probabilities":
        assert np.square(labels - true)[wrong].sum() < 0.5 * np.square(given - true)[wrong].sum()
        assert "Learned with other labels" in (out / "report.html").read_text()
    metrics = json.loads((out / "metrics.json").read_text())
    assert len(metrics["weights_of_sources"]) == 1
    assert 0 <= metrics["estimated_noise"] <= 0.6


def test_limits_keep_classes(atlas, tmp_path):
    data, wrong, _ = atlas
    out = denoise.run(config(data, tmp_path / "out", limits={"share": 1, "least": 100}))
    decisions = read_table(out / "decisions.parquet")
    assert (decisions["weight"] == 1).all()
    assert json.loads((out / "metrics.json").read_text())["limited"] == wrong.sum()
    assert "Held back by a limit" in (out / "report.html").read_text()


def test_settings_that_play_no_part_leave_the_record(atlas, tmp_path):
    data, _, _ = atlas
    out = denoise.run(config(data, tmp_path / "out"))
    assert denoise.run(config(data, tmp_path / "out", probabilities=data.out, vote={"kind": "neighbour_vote"})) == out
    with pytest.raises(ArtifactError, match=r"policy\.detectors"):
        denoise.run(config(data, tmp_path / "out", policy={"kind": "drop", "detectors": ["focus"]}))


def test_what_does_not_fit_is_an_error(atlas, tmp_path):
    data, _, _ = atlas
    relabel = {"policy": {"kind": "relabel", "detectors": ["label"]}}
    with pytest.raises(ConfigError, match="relabelling needs corrected labels"):
        config(data, tmp_path / "out", **relabel)
    with pytest.raises(ValueError, match="no image would be left"):
        all_flagged = read_table(data.out / "findings.parquet").assign(is_label=True)
        write_table(tmp_path / "all.parquet", all_flagged)
        denoise.run(config(data, tmp_path / "out", findings=tmp_path / "all.parquet"))
    with pytest.raises(ValueError, match="called 'blur'"):
        denoise.run(config(data, tmp_path / "out", policy={"kind": "drop", "detectors": ["blur"]}))
    with pytest.raises(ArtifactError, match="detect_anomalies"):
        denoise.run(config(data, tmp_path / "out", findings=tmp_path / "nothing"))
    table = read_table(data.out / "findings.parquet")
    write_table(tmp_path / "cells.parquet", table.assign(cell_id=1))
    with pytest.raises(ValueError, match="of cells"):
        denoise.run(config(data, tmp_path / "out", findings=tmp_path / "cells.parquet"))
    write_table(tmp_path / "fewer.parquet", table.iloc[:5])
    with pytest.raises(ValueError, match="does not belong to the images"):
        denoise.run(config(data, tmp_path / "out", findings=tmp_path / "fewer.parquet"))
    write_table(tmp_path / "scores.parquet", pd.DataFrame({"image_id": ["a"], **dict.fromkeys(HPA2021.names, 0.5)}))
    with pytest.raises(ValueError, match=r"scores\.parquet: does not belong"):
        denoise.run(config(data, tmp_path / "out", probabilities=tmp_path / "scores.parquet", **relabel))
    with pytest.raises(ArtifactError, match=r"values\.npy"):
        denoise.run(config(data, tmp_path / "out", embedding=tmp_path / "nowhere", **relabel))
    write_embeddings(tmp_path / "few", pd.DataFrame({"image_id": ["a"]}), np.zeros((1, 3), np.float32))
    with pytest.raises(ValueError, match="one embedding for every image"):
        denoise.run(config(data, tmp_path / "out", embedding=tmp_path / "few", **relabel))
    assert not (tmp_path / "out").exists()
