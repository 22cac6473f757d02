"""Maps of embeddings of a small simulated atlas, as page, figures and tables."""

import base64
import json
import re

import numpy as np
import pandas as pd
import pytest

from hpa.anomaly.projection_config import PcaConfig, TsneConfig
from hpa.anomaly.separation import SeparationConfig
from hpa.artifacts import ArtifactError
from hpa.crops import CropShape
from hpa.parallel import WorkersConfig
from hpa.segmentation import LabelMapsConfig
from hpa.simulation import SimulationConfig
from hpa.stages.anomalies import project
from hpa.stages.anomalies.project_config import PageSettings, ProjectConfig
from hpa.stages.cells import cache_cells, segment_cells
from hpa.stages.cells.cache_cells import CacheCellsConfig
from hpa.stages.cells.cells_config import SegmentCellsConfig
from hpa.stages.data import index
from hpa.stages.data.dataset_config import CacheSettings, DatasetConfig, FoldSettings, SimulatedSource
from hpa.tables import read_table, write_embeddings, write_table

IMAGES = 16


def atlas(folder):
    return DatasetConfig(
        out=folder / "work",
        source=SimulatedSource(simulation=SimulationConfig(images=IMAGES, size=96, field=60, images_per_antibody=2)),
        fold=FoldSettings(folds=2),
        cache=CacheSettings(size=32),
        workers=WorkersConfig(kind="none"),
    )


def embed(folder, keys, features=6, seed=0):
    values = np.random.default_rng(seed).normal(size=(len(keys), features)).astype(np.float32)
    write_embeddings(folder, keys, values)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An atlas, two embeddings of it (one in another order and without an image) and findings."""
    made = tmp_path_factory.mktemp("atlas")
    images = read_table(index.run(atlas(made)) / "images.parquet")
    keys = images[["image_id"]]
    embed(made / "run" / "embeddings", keys.assign(fold=0))
    embed(made / "short", keys.iloc[::-1].iloc[:-1].reset_index(drop=True), 3, 1)
    scores = np.arange(IMAGES, dtype=np.float32)
    scores[0] = np.nan
    findings = {
        "image_id": keys["image_id"],
        "blur_score": scores,
        "is_blur": scores > 12,
        "blur_text_score": scores,
        "is_blur_text": scores > 14,
        "blur_text_why": ["<b>"] * IMAGES,
        "blur_sigma": scores / 3,
    }
    write_table(made / "findings" / "findings.parquet", pd.DataFrame(findings).sample(frac=1, random_state=0))
    return made


def config(folder, out, **settings):
    both = {"run": folder / "run", "short one": folder / "short"}
    return ProjectConfig(**{"data": atlas(folder), "embeddings": both, "method": PcaConfig(), "out": out, **settings})


@pytest.fixture(scope="module")
def finished(folder):
    out = folder / "maps"
    assert project.run(config(folder, out, findings=folder / "findings")) == out
    return out


def data_of(out):
    text = re.search(r'id="data">(.*?)</script>', (out / "project.html").read_text(encoding="utf-8"), re.S)
    assert text is not None
    return json.loads(text[1])


def test_coordinates_are_keyed_by_the_embedding(folder, finished):
    table = read_table(finished / "coordinates" / "run.parquet")
    assert list(table.columns) == ["image_id", "x", "y"]
    values = np.load(folder / "run" / "embeddings" / "values.npy")
    centred = values - values.mean(axis=0)
    expected = np.abs(centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T)
    np.testing.assert_allclose(np.abs(table[["x", "y"]].to_numpy()), expected, atol=1e-4)
    short = read_table(finished / "coordinates" / "short one.parquet")
    assert len(short) == IMAGES - 1
    assert short["image_id"].iloc[0] == table["image_id"].iloc[-1]


def test_the_page_shows_what_all_embeddings_hold(folder, finished):
    data = data_of(finished)
    images = read_table(folder / "work" / "index" / "images.parquet")["image_id"].tolist()
    assert data["ids"] == images[1:]  # the first is not in the short one
    assert [panel["name"] for panel in data["panels"]] == ["run", "short one"]
    assert data["panels"][0]["note"] == "principal components of 6 features"
    assert dict(data["panels"][0]["facts"]).keys() == {"silhouette", "neighbours right"}
    from_page = np.frombuffer(base64.b64decode(data["panels"][1]["places"]), "<f4").reshape(-1, 2)
    short = read_table(finished / "coordinates" / "short one.parquet").set_index("image_id").loc[images[1:]]
    np.testing.assert_array_equal(from_page, short[["x", "y"]].to_numpy())
    assert data["thumbnails"]["side"] == 32


def test_properties_and_findings_can_be_coloured_by(finished):
    data = data_of(finished)
    names = [column["name"] for column in data["columns"]]
    assert names[:3] == ["fold", "group", "source"]
    assert {"mean green", "antibody", "cell_line", "blur score", "blur flagged", "blur text score"} <= set(names)
    assert not any(name.startswith(("phash", "hist", "std")) for name in names)
    details = {(one["about"], one["name"]): one["texts"] for one in data["details"]}
    assert details[("blur", "sigma")] == {"12": "4.333", "13": "4.667", "14": "5"}
    assert details[("blur text", "why")] == {"14": "<b>"}


def test_figures_and_metrics(finished):
    for name in ("classes", "anomaly"):
        assert (finished / "figures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    metrics = json.loads((finished / "metrics.json").read_text())
    assert (metrics["shared_items"], metrics["shown_items"]) == (IMAGES - 1, IMAGES - 1)
    run = metrics["embeddings"]["run"]
    assert (run["items"], run["features"]) == (IMAGES, 6)
    for of in ("embedding", "map"):
        assert 0 <= run[of]["accuracy"] <= 1
        assert run[of]["items"] == IMAGES - 1
        assert len(run[of]["per_class"]) == 19


def test_stands_already_and_another_record_is_refused(folder, finished):
    before = (finished / "project.html").stat().st_mtime_ns
    project.run(config(folder, finished, findings=folder / "findings"))
    assert (finished / "project.html").stat().st_mtime_ns == before
    with pytest.raises(ArtifactError, match="inputs"):
        project.run(config(folder, finished))


def test_same_bytes_and_goes_on_after_a_kill(folder, finished, monkeypatch):
    out = folder / "again"
    settings = config(folder, out, findings=folder / "findings")

    def stop(*arguments, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(project, "write_scatter_page", stop)
        with pytest.raises(KeyboardInterrupt):
            project.run(settings)
    assert not out.exists()
    with monkeypatch.context() as patch:
        patch.setattr(project, "build_projection", stop)  # both maps stand
        project.run(settings)
    for path in finished.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (out / path.relative_to(finished)).read_bytes(), path


def test_items_are_drawn_at_random_above_a_number(folder, tmp_path):
    page = PageSettings(items=5, thumbnail=None)
    one = {"run": folder / "run"}
    settings = config(folder, tmp_path / "maps", embeddings=one, page=page, method=TsneConfig(sample=10))
    data = data_of(project.run(settings))
    assert len(data["ids"]) == 5
    assert data["thumbnails"] is None
    assert data["panels"][0]["note"] == "t-SNE of 6 features, learned from 10 of 16"
    assert len(read_table(tmp_path / "maps" / "coordinates" / "run.parquet")) == IMAGES
    assert not (tmp_path / "maps" / "figures" / "anomaly.png").exists()


def test_cells_with_labels_of_their_images_or_their_own(folder, tmp_path):
    data = atlas(folder)
    truth = folder / "work" / "simulate" / "truth"
    maps = LabelMapsConfig(cells=truth / "cell_maps", nuclei=truth / "nucleus_maps")
    segment_cells.run(SegmentCellsConfig(data=data, segmenter=maps, out=tmp_path / "cells", examples=0))
    cache_cells.run(
        CacheCellsConfig(data=data, cells=tmp_path / "cells", crops=CropShape(size=24), out=tmp_path / "crops")
    )
    keys = read_table(tmp_path / "crops" / "keys.parquet")
    embed(tmp_path / "embedding", keys)
    settings = {
        "level": "cell",
        "cells_cache": tmp_path / "crops",
        "embeddings": {"cells": tmp_path / "embedding"},
        "separation": SeparationConfig(neighbours=3),
    }
    out = project.run(config(folder, tmp_path / "maps", **settings))
    data_page = data_of(out)
    assert len(data_page["ids"]) == len(keys)
    assert data_page["cells"] is not None
    labels = read_table(folder / "work" / "index" / "labels.parquet").set_index("image_id")
    write_table(
        tmp_path / "own.parquet",
        pd.concat([keys, (labels.loc[keys["image_id"]] * np.float32(0.4)).reset_index(drop=True)], axis=1),
    )
    out = project.run(config(folder, tmp_path / "own", cell_labels=tmp_path / "own.parquet", **settings))
    metrics = json.loads((out / "metrics.json").read_text())["embeddings"]["cells"]
    assert metrics["embedding"]["items"] == 0  # no label is certain enough
    with pytest.raises(ValueError, match="set `level`"):
        project.run(config(folder, tmp_path / "x", **(settings | {"embeddings": {"images": folder / "run"}})))
    with pytest.raises(ArtifactError, match="are not those of the images"):
        other = atlas(tmp_path).model_copy(
            update={"source": SimulatedSource(simulation=SimulationConfig(images=4, size=64, field=60))}
        )
        project.run(config(folder, tmp_path / "x", **(settings | {"data": other})))


def test_what_does_not_fit_is_refused(folder, tmp_path):
    keys = read_table(folder / "run" / "embeddings" / "keys.parquet")[["image_id"]]

    def refused(error, match, **settings):
        with pytest.raises(error, match=match):
            project.run(config(folder, tmp_path / "maps", **settings))

    refused(ArtifactError, "`hpa embed` makes one", embeddings={"a": tmp_path / "nothing"})
    other = embed(tmp_path / "other", keys.assign(image_id=[f"x{number}" for number in range(IMAGES)]))
    refused(ValueError, "16 of its images are not in the data set, such as", embeddings={"a": other})
    twice = embed(tmp_path / "twice", pd.concat([keys, keys.iloc[:1]]))
    refused(ValueError, "repeats", embeddings={"a": twice})
    left, right = embed(tmp_path / "left", keys.iloc[:8]), embed(tmp_path / "right", keys.iloc[8:])
    refused(ValueError, "no image in common", embeddings={"a": left, "b": right})
    write_embeddings(tmp_path / "same", keys, np.ones((IMAGES, 2), np.float32))
    refused(ValueError, r"embeddings\.flat: .* are the same", embeddings={"flat": tmp_path / "same"})
    refused(ArtifactError, "`hpa detect_anomalies` makes them", findings=tmp_path / "nothing")
    write_table(tmp_path / "plain.parquet", keys.assign(x=1))
    refused(ValueError, "is_<name>", findings=tmp_path / "plain.parquet")
    write_table(tmp_path / "few.parquet", keys.iloc[:3].assign(a_score=1.0, is_a=True))
    refused(ValueError, "same keys", findings=tmp_path / "few.parquet")
    assert not (tmp_path / "maps").exists()
