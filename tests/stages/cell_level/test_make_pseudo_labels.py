"""Pseudo-labels of found cells of a simulated atlas, whose truth is known."""

import json

import numpy as np
import pandas as pd
import pytest

from hpa import progress
from hpa.artifacts import ArtifactError
from hpa.config import ConfigError, validate
from hpa.images import write_png
from hpa.labels import HPA2021
from hpa.parallel import WorkersConfig
from hpa.segmentation import LabelMapsConfig, read_label_map
from hpa.simulation import SimulationConfig
from hpa.stages.cell_level import make_pseudo_labels
from hpa.stages.cells import segment_cells, true_labels
from hpa.stages.data import fold
from hpa.stages.data.dataset_config import DatasetConfig, FoldSettings, SimulatedSource
from hpa.tables import CELL_KEY, align, class_table, class_values, read_table, write_table

NONE = WorkersConfig(kind="none")
SIMULATION = SimulationConfig(images=10, size=96, field=81.92, images_per_antibody=1)
DATA = {"source": {"kind": "simulated", "simulation": SIMULATION.model_dump()}, "fold": {"folds": 2}}
NEGATIVE = HPA2021.names.index("Negative")


@pytest.fixture(scope="module")
def atlas(tmp_path_factory):
    """Found cells numbered backwards, `true_labels` of them, and scores that know the truth but for noise."""
    folder = tmp_path_factory.mktemp("atlas")
    data = DatasetConfig(
        out=folder, source=SimulatedSource(simulation=SIMULATION), fold=FoldSettings(folds=2), workers=NONE
    )
    folds = read_table(fold.run(data) / "folds.parquet").set_index("image_id")["fold"]
    truth = folder / "simulate" / "truth"
    (folder / "maps").mkdir()
    for path in sorted((truth / "cell_maps").iterdir()):
        cell_map = read_label_map(path)
        turned = np.where(cell_map > 0, cell_map.max() + 1 - cell_map, 0).astype(np.uint16)
        turned[cell_map == 1] = 0  # one cell of every image is not found
        write_png(folder / "maps" / path.name, turned)
    segmenter = LabelMapsConfig(cells=folder / "maps", nuclei=truth / "nucleus_maps")
    segment_cells.run(
        segment_cells.SegmentCellsConfig(data=data, out=folder / "cells", segmenter=segmenter, examples=0)
    )
    true_labels.run(
        true_labels.TrueLabelsConfig(
            cells=folder / "cells",
            label_maps=truth / "cell_maps",
            labels=truth / "cells.parquet",
            out=folder / "true_labels",
            workers=NONE,
        )
    )
    true = read_table(folder / "true_labels" / "cell_labels.parquet")
    keys, rng = true[list(CELL_KEY)], np.random.default_rng(0)
    values = 0.6 * class_values(true, HPA2021) + 0.4 * rng.random((len(true), 19), np.float32)
    table = class_table(keys, values, HPA2021)
    table.insert(2, "fold", folds[keys["image_id"]].to_numpy())
    write_table(folder / "cell_scores.parquet", table.sample(frac=1, random_state=0))  # order does not matter
    images = class_table(pd.DataFrame({"image_id": folds.index}), rng.random((len(folds), 19), np.float32), HPA2021)
    images.insert(1, "fold", folds.to_numpy())
    write_table(folder / "out_of_fold.parquet", images)
    return folder


def config(folder, out, **more):
    data = {
        "data": DATA | {"out": folder, "workers": {"kind": "none"}},
        "cells": folder / "cells",
        "cell_scores": [{"path": folder / "cell_scores.parquet"}],
        "truth": folder / "true_labels",
        "out": out,
    }
    return validate(make_pseudo_labels.MakePseudoLabelsConfig, data | more)


def labels_of(folder):
    table = read_table(folder / "cell_labels.parquet")
    return table, class_values(table, HPA2021)


def image_labels(folder, table):
    labels = read_table(folder / "index" / "labels.parquet").set_index("image_id")
    return labels.loc[table["image_id"], list(HPA2021.names)].to_numpy()


def write_ratings(path, rows):
    path.write_text("image_id,cell_index_from_0,class,rating_1_to_5\n" + "".join(f"{row}\n" for row in rows))
    return path


def test_every_found_cell_is_labelled(atlas, tmp_path):
    out = make_pseudo_labels.run(config(atlas, tmp_path / "labels"))
    table, values = labels_of(out)
    cells = read_table(atlas / "cells" / "cells.parquet")
    assert table[list(CELL_KEY)].equals(cells[list(CELL_KEY)])
    assert table.columns.tolist() == ["image_id", "cell_id", *HPA2021.names, "weight"]
    assert table["weight"].dtype == np.float32
    assert 0 <= values.min() <= values.max() <= 1
    of_images = image_labels(atlas, table)
    others = np.delete(np.arange(19), NEGATIVE)
    assert not values[:, others][of_images[:, others] == 0].any()
    for _, rows in table.groupby("image_id").groups.items():
        assert (values[rows].max(axis=0)[of_images[rows[0]] > 0] == 1).all()  # a cell for each label of the image
    assert ((table["weight"] < 1) >= cells["touches_border"] * (cells["visible_nucleus"] < 1)).all()


def test_labels_agree_better_with_the_truth_than_copies_of_image_labels(atlas, tmp_path):
    out = make_pseudo_labels.run(config(atlas, tmp_path / "labels"))
    metrics = json.loads((out / "metrics.json").read_text())
    agreement = {name: metrics["agreement"][name]["macro"] for name in ("labels", "evidence", "image_labels")}
    assert agreement["labels"]["precision"] > agreement["image_labels"]["precision"]
    assert agreement["labels"]["auc"] > agreement["image_labels"]["auc"]
    table, values = labels_of(out)
    truth = align(table, read_table(atlas / "true_labels" / "cell_labels.parquet"), CELL_KEY)
    matched = truth["weight"].to_numpy() > 0
    assert metrics["agreement"]["cells"] == matched.sum()
    true = class_values(truth, HPA2021)[matched] > 0
    for number, row in enumerate(metrics["agreement"]["labels"]["per_class"]):
        hard = values[matched, number] >= 0.5
        if true[:, number].any():
            assert row["recall"] == pytest.approx((hard & true[:, number]).sum() / true[:, number].sum())
        else:
            assert row["recall"] is None
    assert [row["positives"] for row in metrics["per_class"]] == (values >= 0.5).sum(axis=0).tolist()
    assert metrics["cells"] == len(table)


def test_images_scores_alone_are_a_beginning(atlas, tmp_path):
    out = make_pseudo_labels.run(
        config(atlas, tmp_path / "labels", cell_scores=[], image_scores=atlas / "out_of_fold.parquet")
    )
    table, values = labels_of(out)
    of_images = image_labels(atlas, table)
    np.testing.assert_array_equal(values, of_images)  # nothing tells an image's cells apart
    doubting = make_pseudo_labels.run(
        config(
            atlas,
            tmp_path / "doubting",
            cell_scores=[],
            image_scores=atlas / "out_of_fold.parquet",
            rule={"doubt": 1.0, "negative": {"kind": "image"}},
        )
    )
    scores = read_table(atlas / "out_of_fold.parquet").set_index("image_id")
    expected = of_images * scores.loc[table["image_id"], list(HPA2021.names)].to_numpy()
    np.testing.assert_allclose(labels_of(doubting)[1], expected, rtol=1e-6)


def test_evidence_is_the_weighted_mean(atlas, tmp_path):
    table = read_table(atlas / "cell_scores.parquet")
    halved = table.copy()
    halved[list(HPA2021.names)] /= 2
    write_table(tmp_path / "halved.parquet", halved)
    plain = {"rescaling": {"kind": "none"}, "negative": {"kind": "image"}}
    sources = [{"path": atlas / "cell_scores.parquet"}, {"path": tmp_path / "halved.parquet", "weight": 3}]
    two = labels_of(make_pseudo_labels.run(config(atlas, tmp_path / "two", cell_scores=sources, rule=plain)))[1]
    one = labels_of(make_pseudo_labels.run(config(atlas, tmp_path / "one", rule=plain)))[1]
    expected = one * 0.625
    expected[:, NEGATIVE] = one[:, NEGATIVE]
    np.testing.assert_allclose(two, expected, rtol=1e-5)


def test_ratings_of_other_label_maps_follow_their_cells(atlas, tmp_path):
    """The true maps are graded; the found cells have other numbers, and the first true cell is not found."""
    image_id = read_table(atlas / "cells" / "images.parquet")["image_id"][0]
    true_map = read_label_map(atlas / "simulate" / "truth" / "cell_maps" / f"{image_id}.png")
    found_map = read_label_map(atlas / "cells" / "cells" / f"{image_id}.png")
    others = np.unique(true_map)[2:].tolist()
    partner = {number: int(found_map[true_map == number][0]) for number in others}
    rows = [f"{image_id},0,3,5", *(f"{image_id},{number - 1},3,{1 + i % 5}" for i, number in enumerate(others))]
    ratings = {
        "path": write_ratings(tmp_path / "ratings.csv", [*rows, "unknown,0,3,5"]),
        "label_maps": atlas / "simulate" / "truth" / "cell_maps",
        "weight": 2,
    }
    out = make_pseudo_labels.run(config(atlas, tmp_path / "labels", ratings=ratings))
    table, values = labels_of(out)
    for i, number in enumerate(others):
        row = table.index[(table["image_id"] == image_id) & (table["cell_id"] == partner[number])][0]
        assert values[row, 3] == [0, 0.25, 0.5, 0.75, 1][i % 5]
        assert table["weight"][row] == 2
    plain = labels_of(make_pseudo_labels.run(config(atlas, tmp_path / "plain")))
    elsewhere = table["image_id"] != image_id
    pd.testing.assert_frame_equal(table[elsewhere], plain[0][elsewhere])
    metrics = json.loads((out / "metrics.json").read_text())["ratings"]
    assert (metrics["graded"], metrics["used"]) == (len(others) + 2, len(others))
    assert metrics["rank_agreement"][0]["cells"] == len(others)


def test_ratings_of_the_found_cells_and_of_cells_that_are_not_there(atlas, tmp_path):
    image_id = read_table(atlas / "cells" / "images.parquet")["image_id"][0]
    ratings = {"path": write_ratings(tmp_path / "ratings.csv", [f"{image_id},0,Golgi apparatus,5", "unknown,9,1,1"])}
    table, values = labels_of(make_pseudo_labels.run(config(atlas, tmp_path / "labels", ratings=ratings)))
    row = table.index[(table["image_id"] == image_id) & (table["cell_id"] == 1)][0]
    assert values[row, 7] == 1
    assert values[row, NEGATIVE] == 0
    ratings = {"path": write_ratings(tmp_path / "wrong.csv", [f"{image_id},999,7,5"])}
    with pytest.raises(ValueError, match=r"cell 999 \(from 0\) of image .* ratings.label_maps"):
        make_pseudo_labels.run(config(atlas, tmp_path / "wrong", ratings=ratings))


def test_the_same_again_is_nothing_and_something_else_an_error(atlas, tmp_path):
    out = make_pseudo_labels.run(config(atlas, tmp_path / "labels"))
    before = (out / "cell_labels.parquet").stat().st_mtime_ns
    make_pseudo_labels.run(config(atlas, tmp_path / "labels"))
    assert (out / "cell_labels.parquet").stat().st_mtime_ns == before
    with pytest.raises(ArtifactError, match="rule.levels: there None, now 5"):
        make_pseudo_labels.run(config(atlas, tmp_path / "labels", rule={"levels": 5}))


def test_a_killed_run_ends_with_the_same_bytes(atlas, tmp_path, monkeypatch):
    whole = make_pseudo_labels.run(config(atlas, tmp_path / "whole"))

    def killed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(make_pseudo_labels, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        make_pseudo_labels.run(config(atlas, tmp_path / "killed"))
    monkeypatch.undo()
    assert (tmp_path / "killed.partial").is_dir()
    resumed = make_pseudo_labels.run(config(atlas, tmp_path / "killed"))
    for name in ("cell_labels.parquet", "metrics.json", "record.json"):
        assert (resumed / name).read_bytes() == (whole / name).read_bytes()


def test_scores_must_be_out_of_fold_and_complete(atlas, tmp_path, monkeypatch):
    table = read_table(atlas / "cell_scores.parquet")

    def run(changed, **more):
        write_table(tmp_path / "scores.parquet", changed)
        sources = [{"path": tmp_path / "scores.parquet"}]
        return make_pseudo_labels.run(config(atlas, tmp_path / "labels", cell_scores=sources, **more))

    with pytest.raises(ValueError, match=r"out of the data set's folds, but image \S+ is in fold"):
        run(table.assign(fold=1 - table["fold"]))
    with pytest.raises(ValueError, match="cell scores 0: expected a row for every cell .*need all folds"):
        run(table[table["fold"] == 0])
    texts = []
    monkeypatch.setattr(progress.Silent, "say", lambda self, text: texts.append(text))
    run(table.drop(columns="fold"))
    assert any("make sure that they are out of fold" in text for text in texts)


def test_mistakes_are_named(atlas, tmp_path):
    with pytest.raises(ConfigError, match="give `cell_scores`, or `image_scores`"):
        config(atlas, tmp_path, cell_scores=[])
    with pytest.raises(ConfigError, match="rule.doubt needs `image_scores`"):
        config(atlas, tmp_path, rule={"doubt": 0.5})
    with pytest.raises(ValueError, match="every cell has weight 0"):
        weights = {"flagged": {"area": 0}, "by_visible_nucleus": False}
        make_pseudo_labels.run(config(atlas, tmp_path / "x", weights=weights))
    cells = tmp_path / "cells"
    cells.mkdir()
    (cells / "record.json").write_bytes((atlas / "cells" / "record.json").read_bytes())
    table = read_table(atlas / "cells" / "cells.parquet")
    write_table(cells / "cells.parquet", table.assign(image_id=table["image_id"].str.replace("0", "q")))
    with pytest.raises(ValueError, match="has cells of image .*, which .*index does not have"):
        make_pseudo_labels.run(config(atlas, tmp_path / "x", cells=cells))
    assert not (tmp_path / "x").exists()
