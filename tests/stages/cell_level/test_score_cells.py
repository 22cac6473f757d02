"""Scores of cells through the command line, on a simulated atlas of a few small images whose cells are known."""

import json
import pickle
import shutil

import numpy as np
import pandas as pd
import pytest
import scipy.special
import torch

from hpa import cli
from hpa.cache import PixelCache
from hpa.classification.cam import CamConfig, LocalProbability
from hpa.images import write_png
from hpa.segmentation import read_label_map
from hpa.stages.cell_level import cell_scoring
from hpa.stages.image_level.trained_run import open_run
from hpa.tables import read_table, write_table

DATA = (
    *("data.source.simulation.images=24", "data.source.simulation.size=64", "data.source.simulation.field=60"),
    *("data.fold.folds=2", "data.workers.kind=none"),
)
TRAINING = (
    *("data.cache.size=32", "folds=all", "tta=2", "model.name=test_resnet", "model.pretrained.kind=none"),
    *("loop.epochs=1", "loop.batch_size=8", "machine.loaders=0"),
)


def run(*arguments):
    """Exit status of a command."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return ended.value.code


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """Folder with a data set (work), a run of two folds (run) and the true label maps as cells (cells)."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("house")
    data = [*DATA, f"data.out={folder}/work"]
    assert run("train_image_level", *data, *TRAINING, f"out={folder}/run") == 0
    truth = f"segmenter.cells={folder}/work/simulate/truth/cell_maps"
    assert run("segment_cells", *data, "segmenter.kind=labels", truth, "examples=0", f"out={folder}/cells") == 0
    return folder


def score(house, out, *more):
    """Exit status of the stage on the images that the run was trained on."""
    data = [*DATA, f"data.out={house}/work", "machine.loaders=0"]
    return run("score_cells", *data, f"run={house}/run", f"cells={house}/cells", f"out={out}", *more)


def class_names(table):
    return [name for name in table.columns if name not in ("image_id", "cell_id", "fold")]


def test_copies_are_the_out_of_fold_probabilities_of_the_image(house, tmp_path):
    assert score(house, tmp_path / "copy", "method.kind=copy") == 0
    scores = read_table(tmp_path / "copy" / "cell_scores.parquet")
    cells = read_table(house / "cells" / "cells.parquet")
    assert scores[["image_id", "cell_id"]].equals(cells[["image_id", "cell_id"]])
    images = read_table(house / "run" / "out_of_fold.parquet").set_index("image_id").loc[scores["image_id"]]
    names = class_names(scores)
    assert len(names) == 19
    assert np.array_equal(scores[names].to_numpy(), images[names].to_numpy())
    assert np.array_equal(scores["fold"].to_numpy(), images["fold"].to_numpy())


@torch.no_grad()
def test_cam_is_the_images_probability_times_the_cells_own_by_the_network_that_held_it_out(house, tmp_path):
    settings = ["method.kind=cam", "tta=1", "method.magnification=1", "method.resolution=64"]
    assert score(house, tmp_path / "cam", *settings, "method.normalisation.temperature=1") == 0
    scores = read_table(tmp_path / "cam" / "cell_scores.parquet")
    names = class_names(scores)
    assert scores[names].dtypes.eq(np.float32).all()
    images = read_table(house / "run" / "out_of_fold.parquet").set_index("image_id")
    cache = PixelCache.open(house / "work" / "cache-32")
    networks = dict(enumerate(open_run(house / "run", "train_image_level").networks()))
    for image_id in images.index[::5]:
        row = images.loc[image_id]
        network = networks[int(row["fold"])]
        pixels = torch.from_numpy(np.array(cache.pixels[cache.rows([image_id])]))
        features = network.forward_features(pixels)
        # Each location of the map alone, as if it were the whole image.
        logits = network.head(features.movedim(1, 3)).movedim(3, 1)
        fine = torch.nn.functional.interpolate(logits, (64, 64), mode="bilinear")[0].numpy()
        cell_map = read_label_map(house / "cells" / "cells" / f"{image_id}.png")
        own = scores[scores["image_id"] == image_id]
        for _, cell in own.iterrows():
            local = scipy.special.expit(fine[:, cell_map == cell["cell_id"]].mean(axis=1))
            np.testing.assert_allclose(
                cell[names].to_numpy(float), local * row[names].to_numpy(float), rtol=1e-4, atol=1e-6
            )


def test_cam_tells_the_cells_of_an_image_apart(house, tmp_path):
    assert score(house, tmp_path / "cam") == 0
    scores = read_table(tmp_path / "cam" / "cell_scores.parquet")
    names = class_names(scores)
    values = scores[names].to_numpy()
    assert ((values >= 0) & (values <= 1)).all()
    images = read_table(house / "run" / "out_of_fold.parquet").set_index("image_id").loc[scores["image_id"], names]
    assert (values <= images.to_numpy() + 1e-6).all()
    assert scores.groupby("image_id")[names].nunique().to_numpy().max() > 1


def new_images(house, folder):
    """Settings of the same pixels as images that no run has seen."""
    source = ["data.source.kind=kaggle2021", f"data.source.folder={house}/work/simulate/train"]
    return [*source, f"data.out={folder}/work", "data.workers.kind=none", "machine.loaders=0"]


def test_new_images_are_scored_by_all_networks(house, tmp_path):
    data = new_images(house, tmp_path)
    cells = [f"run={house}/run", f"cells={house}/cells", "out_of_fold=false"]
    assert run("score_cells", *data, *cells, f"out={tmp_path}/copy", "method.kind=copy") == 0
    assert run("predict", f"runs=[{house}/run]", *data, f"out={tmp_path}/predicted") == 0
    copied = read_table(tmp_path / "copy" / "cell_scores.parquet")
    names = class_names(copied)
    assert "fold" not in copied
    predicted = read_table(tmp_path / "predicted" / "probabilities.parquet").set_index("image_id")
    np.testing.assert_allclose(copied[names], predicted.loc[copied["image_id"], names], rtol=1e-5, atol=1e-7)
    assert run("score_cells", *data, *cells, f"out={tmp_path}/cam") == 0
    cam = read_table(tmp_path / "cam" / "cell_scores.parquet")
    assert cam[["image_id", "cell_id"]].equals(copied[["image_id", "cell_id"]])
    assert (cam[names].to_numpy() <= copied[names].to_numpy() + 1e-6).all()


def test_a_killed_stage_goes_on_and_ends_with_the_same_bytes(house, tmp_path, monkeypatch):
    monkeypatch.setattr(cell_scoring, "IMAGES_PER_PART", 5)
    assert score(house, tmp_path / "unbroken") == 0
    written = []

    def dying(path, table):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path.name)
        write_table(path, table)

    monkeypatch.setattr(cell_scoring, "write_table", dying)
    score(house, tmp_path / "broken")
    assert not (tmp_path / "broken").exists()
    assert written == ["fold0-0.parquet", "fold0-1.parquet", "fold0-2.parquet"]
    again = []
    monkeypatch.setattr(
        cell_scoring, "write_table", lambda path, table: (again.append(path.name), write_table(path, table))
    )
    assert score(house, tmp_path / "broken") == 0
    assert again == ["fold1-0.parquet", "fold1-1.parquet", "fold1-2.parquet"]
    unbroken, broken = (tmp_path / name / "cell_scores.parquet" for name in ("unbroken", "broken"))
    assert unbroken.read_bytes() == broken.read_bytes()
    assert sorted(path.name for path in (tmp_path / "broken").iterdir()) == ["cell_scores.parquet", "record.json"]


def test_the_same_settings_are_not_computed_twice_and_others_do_not_overwrite(house, tmp_path, capsys):
    assert score(house, tmp_path / "copy", "method.kind=copy") == 0
    assert score(house, tmp_path / "copy", "method.kind=copy") == 0
    captured = capsys.readouterr()
    assert "nothing to do" in captured.err
    assert captured.out.splitlines()[-1] == str(tmp_path / "copy")
    assert score(house, tmp_path / "copy") == 1
    assert "method.kind: there 'copy', now 'cam'" in capsys.readouterr().err
    record = json.loads((tmp_path / "copy" / "record.json").read_text())
    assert set(record["inputs"]) == {"run", "cells", "index", "fold", "cache"}


def other_run(house, folder, change):
    """A copy of the run that describes itself differently."""
    shutil.copytree(house / "run", folder)
    content = json.loads((folder / "run.json").read_text())
    change(content)
    (folder / "run.json").write_text(json.dumps(content))


def test_a_run_of_some_folds_scores_what_it_held_out(house, tmp_path, capsys):
    other_run(house, tmp_path / "run", lambda content: content.update(folds=[1]))
    capsys.readouterr()
    assert score(house, tmp_path / "cam", f"run={tmp_path}/run") == 0
    assert "12 of 24 images were not held out" in capsys.readouterr().err
    scores = read_table(tmp_path / "cam" / "cell_scores.parquet")
    folds = read_table(house / "work" / "fold" / "folds.parquet").set_index("image_id")["fold"]
    cells = read_table(house / "cells" / "cells.parquet")
    assert (scores["fold"] == 1).all()
    assert scores["image_id"].tolist() == [image for image in cells["image_id"] if folds[image] == 1]


def copy_of_cells(house, folder):
    shutil.copytree(house / "cells", folder)
    return folder


def test_images_without_cells_have_no_rows(house, tmp_path):
    cells = copy_of_cells(house, tmp_path / "cells")
    table = read_table(cells / "cells.parquet")
    empty = table["image_id"].iloc[0]
    write_table(cells / "cells.parquet", table[table["image_id"] != empty])
    write_png(cells / "cells" / f"{empty}.png", np.zeros((64, 64), np.uint16))
    assert score(house, tmp_path / "cam", f"cells={cells}") == 0
    assert empty not in set(read_table(tmp_path / "cam" / "cell_scores.parquet")["image_id"])


def test_cells_outside_a_cropped_image_have_the_evidence_of_the_whole(tmp_path):
    activation = np.tile(np.linspace(-3, 3, 8, dtype=np.float32), (2, 8, 1))
    method = CamConfig(resolution=120, normalisation=LocalProbability(temperature=1))
    cell_map = np.zeros((40, 120), np.uint16)
    cell_map[:, :20], cell_map[:, 45:60], cell_map[:, 60:75] = 7, 2, 9
    write_png(tmp_path / "cells" / "image.png", cell_map)

    def evidence(fit):
        job = cell_scoring._Evidence(tmp_path, fit, method, np.zeros(2, np.float32), True)
        # Pickled, as the worker processes get it.
        return pickle.loads(pickle.dumps(job))(("image", activation, np.array([9, 7, 2])))[:, 0]

    right, left, middle = evidence("pad")
    assert left < 0.1 < middle < 0.5 < right < 0.9
    right, outside, middle = evidence("crop")
    assert middle < 0.3 < 0.7 < right
    assert outside == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["out_of_fold=false"], "was trained on these images"),
        (["data.source.simulation.seed=1", "data.out={tmp}/work"], "was trained on another index and another fold"),
        (["run={tmp}/none"], "`hpa train_image_level` makes it"),
        (["cells={tmp}/none"], "`hpa segment_cells` makes it"),
    ],
)
def test_what_does_not_belong_together_is_told(house, tmp_path, capsys, settings, expected):
    assert score(house, tmp_path / "out", *(item.replace("{tmp}", str(tmp_path)) for item in settings)) == 1
    error = capsys.readouterr().err
    assert expected in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_images_that_are_not_segmented_are_told(house, tmp_path, capsys):
    cells = copy_of_cells(house, tmp_path / "cells")
    images = read_table(cells / "images.parquet")
    write_table(cells / "images.parquet", images.iloc[1:])
    assert score(house, tmp_path / "out", f"cells={cells}") == 1
    assert "1 of 24 images are not segmented" in capsys.readouterr().err


def test_a_label_map_that_is_not_that_of_the_table_is_told(house, tmp_path, capsys):
    cells = copy_of_cells(house, tmp_path / "cells")
    image_id = read_table(cells / "cells.parquet")["image_id"].iloc[0]
    write_png(cells / "cells" / f"{image_id}.png", np.full((64, 64), 77, np.uint16))
    assert score(house, tmp_path / "out", f"cells={cells}") == 1
    error = capsys.readouterr().err
    assert "remove it and run `hpa segment_cells` again" in error


def test_a_network_without_maps_is_told_what_to_choose(house, tmp_path, capsys):
    other_run(house, tmp_path / "run", lambda content: content["model"].update(pooling="max"))
    assert score(house, tmp_path / "out", f"run={tmp_path}/run") == 1
    assert "choose a convolutional backbone" in capsys.readouterr().err
    assert score(house, tmp_path / "out2", f"run={tmp_path}/run", "method.kind=copy") == 0


def test_missing_probabilities_are_told():
    table = pd.DataFrame({"image_id": ["a", "b"]})
    assert cell_scoring.image_rows(table, pd.Series(["b", "a", "b"])).tolist() == [1, 0, 1]
    with pytest.raises(ValueError, match="lacks c"):
        cell_scoring.image_rows(table, pd.Series(["a", "c"]))
