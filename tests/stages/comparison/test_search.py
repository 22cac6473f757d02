"""A whole search on a simulated atlas of a few small images."""

import json

import pandas as pd
import pytest
import torch

from hpa.config import load_config
from hpa.stages.comparison import search
from hpa.stages.comparison.search_config import SearchConfig
from hpa.stages.image_level.image_level_config import TrainImageLevelConfig
from hpa.training import History

SMALL = (
    *("base.data.source.simulation.images=24", "base.data.source.simulation.size=64"),
    *("base.data.source.simulation.field=60", "base.data.fold.folds=2", "base.data.cache.size=32"),
    *("base.data.workers.kind=none", "base.tta=1", "base.model.name=test_resnet", "base.model.pretrained.kind=none"),
    *("base.loop.epochs=3", "base.loop.batch_size=8", "base.machine.loaders=0", "base.folds=all"),
    *("trials=5", "first_random=2", "pruning.first_trials=2"),
    "space={loop.learning_rate: {kind: float, low: 0.0001, high: 1, log: true}, "
    "loss: {kind: choice, values: [{kind: bce}, {kind: focal}]}}",
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def settings(folder, *more):
    """All tests read one atlas, beside their folders."""
    return load_config(
        SearchConfig, overrides=[*SMALL, f"base.data.out={folder.parent}/search_atlas", f"out={folder}/out", *more]
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    return search.run(settings(folder))


def test_every_trial_is_in_the_table(finished):
    table = pd.read_csv(finished / "trials.csv", dtype={"folder": str})
    assert len(table) == 5
    done = table[table["outcome"] == "finished"]
    assert len(done) >= 2
    for row in done.itertuples():
        histories = [History.read(finished / "trials" / row.folder / f"fold{fold}") for fold in (0, 1)]
        best = [max(epoch.metrics["macro_ap"] for epoch in history.epochs) for history in histories]
        assert row.value == pytest.approx(sum(best) / 2)
    assert not list(finished.rglob("*.safetensors"))
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["best"] == done["value"].max()
    assert metrics["trials"] == 5


def test_the_best_values_are_a_configuration(finished):
    best = load_config(TrainImageLevelConfig, finished / "best.yaml")
    metrics = json.loads((finished / "metrics.json").read_text())
    assert best.loop.learning_rate == metrics["best_values"]["loop.learning_rate"]
    assert best.loss.kind == metrics["best_values"]["loss"]["kind"]
    assert best.out == finished / "best"
    assert f"hpa train_image_level --config {finished}/best.yaml" in (finished / "best.yaml").read_text()


def test_the_page(finished):
    page = (finished / "report.html").read_text()
    assert "Best macro_ap" in page
    assert "loop.learning_rate" in page
    assert (finished / "figures" / "course.png").is_file()


def test_a_search_that_is_done_does_nothing(finished, monkeypatch):
    monkeypatch.setattr(search, "train", None)
    before = (finished / "trials.csv").read_bytes()
    search.run(settings(finished.parent))
    assert (finished / "trials.csv").read_bytes() == before


def test_an_interrupted_trial_goes_on_from_its_checkpoint(tmp_path, monkeypatch):
    real, seen = search.train, []

    def interrupted(model, task, *rest):
        watch = task._watch

        def stop(epoch, metrics):
            watch(epoch, metrics)
            if epoch == 2:
                raise KeyboardInterrupt

        task._watch = stop
        return real(model, task, *rest)

    config = settings(tmp_path, "trials=1", "base.folds=[0]")
    monkeypatch.setattr(search, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search.run(config)

    def noted(model, task, *rest):
        watch = task._watch
        task._watch = lambda epoch, metrics: (seen.append(epoch), watch(epoch, metrics))
        return real(model, task, *rest)

    monkeypatch.setattr(search, "train", noted)
    search.run(config)
    assert seen == [2, 3]  # the first epoch's checkpoint stood
    assert pd.read_csv(config.out / "trials.csv")["epochs"].tolist() == [3]


def test_values_that_cannot_be_trained_end_their_trial_alone(tmp_path):
    space = "space={loop.learning_rate: {kind: choice, values: [1.0e+30]}}"
    config = settings(tmp_path, space, "trials=2", "base.loop.clip=null", "base.folds=[0]")
    with pytest.raises(ValueError, match=r"no trial could be finished; .*trials\.csv says why"):
        search.run(config)
    table = pd.read_csv(config.out / "trials.csv")
    assert table["outcome"].str.startswith("diverged in epoch").tolist() == [True, True]
