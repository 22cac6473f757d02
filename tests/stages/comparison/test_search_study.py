"""The study by itself, with made-up values in the place of trainings."""

import threading
from datetime import timedelta

import numpy as np
import pytest

from hpa.artifacts import ArtifactError
from hpa.config import load_config
from hpa.stages.comparison import search_study
from hpa.stages.comparison.search_config import SearchConfig
from hpa.stages.comparison.search_study import PrunedError, Study, alone

SPACE = (
    "space={loop.learning_rate: {kind: float, low: 0.001, high: 1, log: true}, "
    "loss: {kind: choice, values: [{kind: bce}, {kind: focal}]}, loop.batch_size: {kind: int, low: 2, high: 8}}"
)


def settings(folder, *more):
    return load_config(SearchConfig, overrides=[SPACE, f"out={folder}", "trials=6", "pruning.kind=none", *more])


def quality(changes):
    """Best at a learning rate of .1 with focal loss; the batch size does not matter."""
    return -abs(np.log10(changes["loop.learning_rate"]) + 1) - (changes["loss"]["kind"] == "bce")


def work(study):
    trials = []
    while (trial := study.begin()) is not None:
        trials.append(trial)
        study.finish(trial, quality(trial.changes), "finished")
    return trials


def test_it_finds_the_best_and_what_mattered(tmp_path):
    study = Study(settings(tmp_path, "trials=30"), "same")
    trials = work(study)
    assert len(trials) == 30
    number, value, changes = study.best()
    assert value == max(quality(one.changes) for one in trials)
    assert changes == dict(trials[number].changes)
    assert changes["loss"] == {"kind": "focal"}
    assert abs(np.log10(changes["loop.learning_rate"]) + 1) < 0.2
    shares = study.importances()
    assert shares["loop.batch_size"] == min(shares.values())
    assert sum(shares.values()) == pytest.approx(1)
    table = study.table()
    assert table["value"].tolist() == pytest.approx([quality(one.changes) for one in trials])
    assert study.begin() is None


def test_the_same_seed_gives_the_same_trials(tmp_path):
    first, second = ([trial.changes for trial in work(Study(settings(tmp_path / name), "same"))] for name in ("a", "b"))
    other = [trial.changes for trial in work(Study(settings(tmp_path / "c", "seed=1"), "same"))]
    assert first == second
    assert first != other
    assert len({str(one) for one in first}) == 6


def test_less_can_be_better(tmp_path):
    study = Study(settings(tmp_path, "base.loop.mode=min"), "same")
    trials = work(study)
    assert study.best()[1] == min(quality(one.changes) for one in trials)


def test_poor_trials_are_cut_short(tmp_path):
    study = Study(settings(tmp_path, "pruning.kind=median", "pruning.first_trials=3", "pruning.first_epochs=1"), "same")
    for place in range(6):
        trial = study.begin()
        try:
            for epoch in range(1, 5):
                study.report(trial, epoch, 1.0 - 0.1 * place)
            study.finish(trial, 1.0 - 0.1 * place, "finished")
        except PrunedError:
            assert place >= 3
            assert epoch == 2
            study.finish(trial, None, "cut short")
    table = study.table()
    assert table["outcome"].tolist() == ["finished"] * 3 + ["cut short"] * 3
    assert table["epochs"].tolist() == [4] * 3 + [2] * 3
    assert table["value"].isna().tolist() == [False] * 3 + [True] * 3


def test_a_killed_process_leaves_its_trial_to_the_next(tmp_path):
    killed = Study(settings(tmp_path), "same")
    left = killed.begin()
    killed.report(left, 1, 0.25)
    with Study(settings(tmp_path), "same") as other:
        assert other.begin().folder == "0001"  # while the first is alive, its trial is its own
    killed.close()  # what the end of its process does
    study = Study(settings(tmp_path), "same")
    trial = study.begin()
    assert (trial.folder, trial.changes) == (left.folder, left.changes)
    study.report(trial, 1, 0.25)  # told before; the epochs that follow are new
    study.report(trial, 2, 0.5)
    study.finish(trial, 0.5, "finished")
    table = study.table()
    assert table[["folder", "epochs"]].to_numpy().tolist() == [["0000", 2]]
    assert len(work(study)) == 5  # the killed trial does not count


def test_processes_share_the_budget_and_draw_different_values(tmp_path):
    one, other = Study(settings(tmp_path), "same"), Study(settings(tmp_path), "same")
    pairs = [one.begin(), other.begin()]
    assert pairs[0].changes != pairs[1].changes
    for study, trial in zip((one, other), pairs, strict=True):
        study.finish(trial, quality(trial.changes), "finished")
    assert len(work(one)) == 4
    assert other.begin() is None
    assert other.best() == one.best()


def test_hours_end_a_search_too(tmp_path, monkeypatch):
    study = Study(settings(tmp_path, "hours=1"), "same")
    trial = study.begin()

    class Later(search_study.datetime):
        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + timedelta(hours=2)

    monkeypatch.setattr(search_study, "datetime", Later)
    assert study.begin() is None
    study.finish(trial, 1.0, "finished")
    assert study.begin() is not None  # it ended at once, by the clock of the study
    study.close()


def test_another_study_is_refused(tmp_path):
    Study(settings(tmp_path), "same")
    with pytest.raises(ArtifactError, match="another base, space or data"):
        Study(settings(tmp_path), "other")


def test_nothing_is_known_without_trials(tmp_path):
    study = Study(settings(tmp_path), "same")
    assert study.best() is None
    assert study.importances() == {}
    assert study.table().empty


def test_only_one_process_is_inside_and_others_wait(tmp_path):
    order = []

    def other():
        with alone(tmp_path / "new" / "lock"):
            order.append("other")

    with alone(tmp_path / "new" / "lock"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "other"]
