"""Explanations of a small simulated atlas by networks of images and of cells."""

import hashlib
import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from hpa import cli
from hpa.artifacts import ArtifactError
from hpa.config import ConfigError, load_config
from hpa.explain.attribution import attribute
from hpa.explain.gradient_config import GradCam, PlainGradient
from hpa.explain.saved_maps import read_maps
from hpa.segmentation import read_label_map
from hpa.stages.cell_level.cell_networks import open_cell_run
from hpa.stages.explanation import explain, explained_parts
from hpa.stages.explanation.explain_config import ExplainConfig
from hpa.stages.explanation.explained_items import open_explainable
from hpa.stages.explanation.explained_questions import choose
from hpa.stages.image_level.trained_run import open_run
from hpa.tables import class_values, read_table

DATA = (
    *("data.source.simulation.images=24", "data.source.simulation.size=64", "data.source.simulation.field=60"),
    *("data.fold.folds=2", "data.workers.kind=none"),
)
NETWORK = (
    *("model.name=test_resnet", "model.pretrained.kind=none", "loop.epochs=1", "loop.batch_size=8"),
    *("machine.loaders=0", "folds=all", "tta=1"),
)
QUICK = (
    *("images=3", "background=4", "methods=[{kind: grad_cam},{kind: gradient}]"),
    *("judging.faithfulness.steps=3", "judging.levels=1", "judging.random_orders=1", "pages.longest=64"),
)


def run(*arguments):
    """Run a command."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 0


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """An atlas (work), its run (run), label maps (cells), crops (cache), their labels, a run on cells (cell_run)."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("house")
    data = [*DATA, f"data.out={folder}/work"]
    run("train_image_level", *data, "data.cache.size=32", *NETWORK, f"out={folder}/run")
    truth = f"{folder}/work/simulate/truth"
    run(
        "segment_cells",
        *data,
        "segmenter.kind=labels",
        f"segmenter.cells={truth}/cell_maps",
        "examples=0",
        f"out={folder}/cells",
    )
    run("cache_cells", *data, f"cells={folder}/cells", "crops.size=24", f"out={folder}/cache")
    known = [f"label_maps={truth}/cell_maps", f"labels={truth}/cells.parquet", "workers.kind=none"]
    run("true_labels", f"cells={folder}/cells", *known, f"out={folder}/labels")
    cells = [f"cells_cache={folder}/cache", f"labels={folder}/labels", f"out={folder}/cell_run"]
    run("train_cell_level", *data, *NETWORK, *cells)
    return folder


def settings(house, *more):
    common = [*DATA, f"data.out={house}/work", f"run={house}/run", f"cells_cache={house}/cache"]
    return load_config(ExplainConfig, overrides=[*common, *QUICK, *more])


@pytest.fixture(scope="module")
def explained(house, tmp_path_factory):
    """Folder of explanations of images."""
    return explain.run(settings(house, f"out={tmp_path_factory.mktemp('explained') / 'out'}"))


def items_of(folder):
    return json.loads((folder / "items.json").read_text())


def digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("maps/*.npz"))}


def test_everything_is_there_and_nothing_else(explained):
    assert sorted(path.name for path in explained.iterdir()) == sorted(
        [
            *("agreement.parquet", "comparison.csv", "config.yaml", "explanations.json", "figures", "items.json"),
            *("maps", "metrics.json", "pages", "questions.parquet", "randomization.parquet", "record.json"),
            *("report.html", "scores.parquet"),
        ]
    )
    names = {item["file"] for item in items_of(explained)}
    assert len(names) == 3
    assert {path.stem for path in (explained / "maps").iterdir()} == names
    assert {path.stem for path in (explained / "pages").glob("*.html")} == names


def test_saved_maps_are_those_of_the_network_that_held_the_image_out(house, explained):
    assert_maps_are_those_of(open_run(house / "run", "train_image_level").networks(), explained)


def assert_maps_are_those_of(networks, folder):
    """Compare saved maps with ones made here by the network of the item's fold."""
    networks = dict(enumerate(networks))
    questions = read_table(folder / "questions.parquet")
    for item in items_of(folder):
        saved = read_maps(folder / "maps" / f"{item['file']}.npz")
        own = questions[questions["item"] == item["item"]]
        images = torch.from_numpy(saved.pixels)[None].repeat(len(own), 1, 1, 1)
        numbers = torch.tensor(own["number"].to_numpy())
        for config in (GradCam(), PlainGradient()):
            expected = attribute(networks[item["fold"]], images, numbers, config).maps
            # Not to the last digit: a unit at 0 may be on or off with the images that stand beside.
            for ours, theirs in zip(saved.maps[config.kind], expected, strict=True):
                assert np.linalg.norm(ours - theirs) <= 0.05 * np.linalg.norm(theirs)


def test_items_are_told_as_the_run_predicted_them(house, explained):
    out_of_fold = read_table(house / "run" / "out_of_fold.parquet").set_index("image_id")
    labels = read_table(house / "work" / "index" / "labels.parquet").set_index("image_id")
    for item in items_of(explained):
        likely, value = next(iter(item["likely"].items()))
        assert value == pytest.approx(float(out_of_fold.loc[item["image_id"], likely]), abs=1e-4)
        assert out_of_fold.loc[item["image_id"], "fold"] == item["fold"]
        row = labels.loc[item["image_id"]]
        assert item["labelled"] == [name for name in labels.columns if row[name] == 1]


def test_missed_classes_are_explained_too(explained):
    questions = read_table(explained / "questions.parquet")
    for item in items_of(explained):
        own = questions[questions["item"] == item["item"]].set_index("name")["status"]
        assert next(iter(item["likely"])) in own.index
        for name in set(item["labelled"]) - set(item["predicted"]):
            assert own[name] == "missed"
        # One that is wrong, if any is.
        assert ("wrong" in set(own)) == bool(set(item["predicted"]) - set(item["labelled"]))
        for name in own.index:
            assert (own[name] in ("right", "wrong")) == (name in item["predicted"])
            assert (own[name] in ("right", "missed")) == (name in item["labelled"])


def test_channels_bring_the_probability_less_that_of_a_black_image(house, explained):
    questions = read_table(explained / "questions.parquet")
    networks = dict(enumerate(open_run(house / "run", "train_image_level").networks()))
    folds = {item["item"]: item["fold"] for item in items_of(explained)}
    values = questions[[f"value_{channel}" for channel in ("red", "green", "blue", "yellow")]].sum(axis=1)
    for row, value in zip(questions.itertuples(), values, strict=True):
        with torch.no_grad():
            network = networks[folds[row.item]]
            black = network.probabilities(network(torch.zeros(1, 4, 32, 32)))[0, row.number]
        assert value == pytest.approx(row.probability - float(black), abs=1e-4)


def test_regions_are_the_true_cells_and_their_part(house, explained):
    truth = house / "work" / "simulate" / "truth"
    cells = read_table(truth / "cells.parquet")
    questions = read_table(explained / "questions.parquet")
    for item in items_of(explained):
        saved = read_maps(explained / "maps" / f"{item['file']}.npz")
        full = read_label_map(truth / "cell_maps" / f"{item['image_id']}.png")
        nuclei = read_label_map(truth / "nucleus_maps" / f"{item['image_id']}.png")
        assert np.array_equal(saved.cells, full[1::2, 1::2])
        known = cells[cells["image_id"] == item["image_id"]]
        for place, name in enumerate(questions.loc[questions["item"] == item["item"], "name"]):
            shown = np.isin(full, known.loc[known[name] == 1, "cell_id"])[1::2, 1::2]
            assert np.array_equal(saved.regions["true_cells"][place], shown)
            if name == "Nucleoli":
                assert np.array_equal(saved.regions["true_part"][place], shown & (nuclei > 0)[1::2, 1::2])
            if name == "Cytosol":
                assert np.array_equal(saved.regions["true_part"][place], shown & (nuclei == 0)[1::2, 1::2])


def test_methods_and_controls_stand_beside_each_other(explained):
    comparison = pd.read_csv(explained / "comparison.csv")
    assert comparison["method"].tolist() == ["grad_cam", "gradient", "bright protein", "random places"]
    scores = read_table(explained / "scores.parquet")
    assert comparison["seconds"].notna().tolist() == [True, True, False, False]
    random = comparison.set_index("method").loc["random places"]
    assert random["insertion_gain"] == 0
    np.testing.assert_allclose(random["energy_any_cell"], random["area_any_cell"], rtol=1e-5)
    own = scores[(scores["method"] == "gradient")]
    np.testing.assert_allclose(comparison["seconds"][1], own["seconds"].mean())
    np.testing.assert_allclose(own[[f"share_{c}" for c in ("red", "green", "blue", "yellow")]].sum(axis=1), 1)
    metrics = json.loads((explained / "metrics.json").read_text())
    assert metrics["items"] == 3
    assert metrics["methods"][0]["method"] == "grad_cam"


def test_curves_end_where_the_image_does(explained):
    questions = read_table(explained / "questions.parquet")
    for item in items_of(explained):
        saved = read_maps(explained / "maps" / f"{item['file']}.npz")
        own = questions.loc[questions["item"] == item["item"], "probability"]
        for name in ("grad_cam", "random places"):
            np.testing.assert_allclose(saved.deletion[name][:, 0], own, atol=1e-4)
            np.testing.assert_allclose(saved.insertion[name][:, -1], own, atol=1e-4)


def test_a_killed_stage_goes_on_and_ends_with_the_same_maps(house, explained, tmp_path, monkeypatch):
    written = []

    def dying(path, rows):
        if len(written) == 1:
            raise KeyboardInterrupt
        written.append(path.name)
        explain.write_json(path, rows)

    monkeypatch.setattr(explained_parts, "write_json", dying)
    config = settings(house, f"out={tmp_path}/out")
    with pytest.raises(KeyboardInterrupt):
        explain.run(config)
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    explain.run(config)
    assert digests(tmp_path / "out") == digests(explained)
    same = ("insertion", "deletion", "energy_true_cells", "share_green")
    ours, theirs = (read_table(folder / "scores.parquet") for folder in (tmp_path / "out", explained))
    pd.testing.assert_frame_equal(ours[list(same)], theirs[list(same)])


def test_a_second_call_changes_nothing_but_pages_that_are_to_look_otherwise(house, explained, tmp_path):
    out = shutil.copytree(explained, tmp_path / "out")
    page = out / "pages" / f"{items_of(out)[0]['file']}.html"
    before, maps = page.read_text(), digests(out)
    explain.run(settings(house, f"out={out}"))
    assert page.read_text() == before
    explain.run(settings(house, f"out={out}", "pages.longest=96"))
    assert page.read_text() != before
    assert digests(out) == maps
    with pytest.raises(ArtifactError, match="was made from something else"):
        explain.run(settings(house, f"out={out}", "images=2"))


def test_pages_say_what_is_wrong(explained):
    for item in items_of(explained):
        text = (explained / "pages" / f"{item['file']}.html").read_text()
        assert ("answer is wrong" in text) == (set(item["labelled"]) != set(item["predicted"]))
        assert "Grad-CAM" in text
    report = (explained / "report.html").read_text()
    assert f'href="pages/{items_of(explained)[0]["file"]}.html"' in report
    assert "simulated cells" in report


def test_items_and_classes_by_name_unjudged(house, tmp_path):
    more = ["images=[sim0-000003,sim0-000001]", "classes=[Nucleoli,Cytosol]", "judge=false", f"cells={house}/cells"]
    folder = explain.run(settings(house, f"out={tmp_path}/out", *more))
    questions = read_table(folder / "questions.parquet")
    assert questions["item"].tolist() == ["sim0-000003"] * 2 + ["sim0-000001"] * 2
    assert questions["name"].tolist() == ["Nucleoli", "Cytosol"] * 2
    assert "insertion" not in pd.read_csv(folder / "comparison.csv")
    assert not (folder / "agreement.parquet").exists()
    assert "Methods compared" not in (folder / "report.html").read_text()


def test_new_images_are_explained_by_the_first_network(house, tmp_path):
    source = ["data.source.kind=kaggle2021", f"data.source.folder={house}/work/simulate/train"]
    new = ["data.workers.kind=none", f"data.out={tmp_path}/work", f"run={house}/run", "out_of_fold=false"]
    config = load_config(
        ExplainConfig, overrides=[*source, *new, *QUICK, "images=1", "judging.levels=0", f"out={tmp_path}/out"]
    )
    folder = explain.run(config)
    assert {item["fold"] for item in items_of(folder)} == {0}
    assert {item["labelled"] for item in items_of(folder)} == {None}
    assert set(read_table(folder / "questions.parquet")["status"]) <= {"predicted", "not predicted"}
    # Nobody knows where cells are.
    assert not [name for name in pd.read_csv(folder / "comparison.csv") if name.startswith("energy")]


def test_half_of_the_items_were_answered_wrong(house):
    found = open_explainable(settings(house))
    scores, targets = found.scores, found.targets
    wrong = (found.decide(scores) != (targets > 0)).any(axis=1)
    for count in (4, 24):
        rows = [subject.row for subject in choose(settings(house, f"images={count}"), found)]
        assert len(set(rows)) == len(rows) == count
        expected = min(wrong.sum(), max(count // 2, count - (~wrong).sum()))
        assert wrong[rows].sum() == expected


def test_cells_are_explained_with_their_own_labels(house, tmp_path):
    more = ["level=cell", f"run={house}/cell_run", f"labels={house}/labels", "images=2", "judging.levels=0"]
    folder = explain.run(settings(house, f"out={tmp_path}/out", *more))
    labels = read_table(house / "labels" / "cell_labels.parquet").set_index(["image_id", "cell_id"])
    found = open_explainable(settings(house, *more))
    scores = read_table(house / "cell_run" / "cell_scores.parquet").set_index(["image_id", "cell_id"])
    for item in items_of(folder):
        key = (item["image_id"], item["cell_id"])
        assert item["item"] == f"{key[0]}/{key[1]}"
        assert item["labelled"] == [name for name in found.classes.names if labels.loc[key, name] == 1]
        likely, value = next(iter(item["likely"].items()))
        assert value == pytest.approx(float(scores.loc[key, likely]), abs=1e-4)
        saved = read_maps(folder / "maps" / f"{item['file']}.npz")
        assert saved.pixels.shape == (4, 24, 24)
        # The networks saw the cell alone.
        assert not saved.pixels[:, saved.cells == 0].any()
        assert np.array_equal(saved.regions["own_cell"][0], saved.cells > 0)


def test_cells_without_labels(house, tmp_path):
    more = ["level=cell", f"run={house}/cell_run", "images=1", "judge=false"]
    folder = explain.run(settings(house, f"out={tmp_path}/out", *more))
    assert {item["labelled"] for item in items_of(folder)} == {None}


def test_networks_of_bags_are_explained_cell_by_cell(house, tmp_path):
    network = [setting.replace("model.", "model.backbone.") for setting in NETWORK]
    run("train_bags", *DATA, f"data.out={house}/work", *network, f"cells_cache={house}/cache", f"out={tmp_path}/bags")
    more = ["level=cell", f"run={tmp_path}/bags", f"labels={house}/labels", "images=2", "judging.levels=0"]
    folder = explain.run(settings(house, *more, f"out={tmp_path}/out"))
    scores = read_table(tmp_path / "bags" / "cell_scores.parquet").set_index(["image_id", "cell_id"])
    for item in items_of(folder):
        likely, value = next(iter(item["likely"].items()))
        assert value == pytest.approx(float(scores.loc[(item["image_id"], item["cell_id"]), likely]), abs=1e-4)
    assert_maps_are_those_of(open_cell_run(tmp_path / "bags").networks(), folder)


def test_out_of_fold_scores_are_those_of_the_run(house):
    found = open_explainable(settings(house))
    known = read_table(house / "run" / "out_of_fold.parquet")
    rows = [found.names.index(name) for name in known["image_id"]]
    np.testing.assert_array_equal(found.scores[rows], class_values(known, found.classes))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["images=[nobody]"], "'nobody'. are not among the 24 images"),
        (["classes=[Nucleolus]"], "'Nucleolus'. are not classes of"),
        (["out_of_fold=false"], "was trained on these images"),
        (["data.fold.seed=1"], "was trained on another fold"),
        (["data.source.simulation.images=20"], "was made from something else"),
    ],
)
def test_what_does_not_fit_is_refused(house, tmp_path, more, message):
    if more[0].startswith("data.fold"):
        more = [*more, f"data.out={shutil.copytree(house / 'work', tmp_path / 'work')}"]
        shutil.rmtree(tmp_path / "work" / "fold")
    with pytest.raises(ValueError, match=message):
        explain.run(settings(house, f"out={tmp_path}/out", *more))


LIME_OF_CELLS = "methods=[{kind: lime, samples: 8, segments: {kind: cells, background: kept}}]"


def test_methods_on_cells_need_cells(house, tmp_path):
    source = ["data.source.kind=kaggle2021", f"data.source.folder={house}/work/simulate/train"]
    new = [*source, "data.workers.kind=none", f"data.out={tmp_path}/work", f"run={house}/run", "out_of_fold=false"]
    config = load_config(ExplainConfig, overrides=[*new, "images=1", LIME_OF_CELLS, f"out={tmp_path}/out"])
    with pytest.raises(ValueError, match="lime cells hides cells, but nobody knows where they are; give `cells`"):
        explain.run(config)
    assert not list(tmp_path.glob("out*"))


def test_an_image_without_cells_is_named_before_any_work(house, tmp_path):
    cells = shutil.copytree(house / "cells", tmp_path / "cells")
    empty = cells / "cells" / "sim0-000003.png"
    cv2.imwrite(str(empty), np.zeros_like(read_label_map(empty)))
    more = ["images=[sim0-000001,sim0-000003]", f"cells={cells}", "judge=false", f"out={tmp_path}/out"]
    with pytest.raises(ValueError, match=r"\['sim0-000003'\] have no cell"):
        explain.run(settings(house, *more, LIME_OF_CELLS))
    assert not list(tmp_path.glob("out*"))
    folder = explain.run(settings(house, *more, LIME_OF_CELLS.replace("kept", "one")))
    assert pd.read_csv(folder / "comparison.csv")["method"].tolist() == ["lime cells"]


def test_a_method_that_fails_can_be_replaced(house, tmp_path):
    more = ["images=1", "judge=false", f"out={tmp_path}/out"]
    with pytest.raises(ValueError, match="nowhere"):
        explain.run(settings(house, *more, "methods=[{kind: grad_cam, layer: nowhere}]"))
    assert explain.run(settings(house, *more, "methods=[{kind: grad_cam}]")).is_dir()


@pytest.mark.parametrize("wrong", ["images=[]", "classes=[]", "images=[a,a]", "labels=x", "methods=[]"])
def test_a_configuration_that_asks_for_nothing_is_refused(house, wrong):
    with pytest.raises(ConfigError):
        settings(house, wrong)
