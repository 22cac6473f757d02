import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

from hpa.folds import ALL_IMAGES, fold_gaps, fold_report, make_folds
from hpa.labels import HPA2021, ClassList

THREE = ClassList(names=("a", "b", "c"))


def random_task(seed, images=600, classes=6, group_size=5):
    """Targets with rare classes, images of a group alike but for noise."""
    rng = np.random.default_rng(seed)
    rates = np.geomspace(0.5, 0.01, classes)
    groups = np.repeat(np.arange(images), rng.integers(1, 2 * group_size, images))[:images]
    kinds = rng.random((groups.max() + 1, classes)) < rates
    targets = kinds[groups] & (rng.random((images, classes)) < 0.95)
    return targets.astype(np.float32), [f"g{number}" for number in groups]


@given(st.integers(0, 10_000), st.integers(2, 6))
@settings(max_examples=20, deadline=None)
def test_groups_stay_whole_and_every_image_has_a_fold(seed, folds):
    targets, groups = random_task(seed, images=120)
    assignment = make_folds(targets, groups, folds, seed)
    assert set(assignment.tolist()) == set(range(folds))
    for group in set(groups):
        assert len(set(assignment[[name == group for name in groups]])) == 1


def test_the_seed_decides():
    targets, groups = random_task(0)
    first = make_folds(targets, groups, 5, 1)
    assert np.array_equal(first, make_folds(targets, groups, 5, 1))
    assert not np.array_equal(first, make_folds(targets, groups, 5, 2))


def test_without_groups_it_is_iterative_stratification():
    targets, _ = random_task(3)
    ours = make_folds(targets, [str(number) for number in range(len(targets))], 4, 7)
    library = MultilabelStratifiedKFold(n_splits=4, shuffle=True, random_state=7)
    for fold, (_, held_out) in enumerate(library.split(np.zeros(len(targets)), targets.astype(int))):
        assert np.array_equal(np.flatnonzero(ours == fold), held_out)


def worst(report):
    enough = report[report["expected"] >= 10]
    return enough["deviation"].abs().max()


@pytest.mark.parametrize("seed", range(3))
def test_weighing_groups_beats_stratifying_them_as_items(seed):
    targets, groups = random_task(seed, images=2000)
    classes = ClassList(names=tuple("abcdef"))
    ours = worst(fold_report(targets, groups, make_folds(targets, groups, 5, seed), classes, seed))
    names, members = np.unique(groups, return_inverse=True)
    by_group = np.zeros((len(names), targets.shape[1]), int)
    np.maximum.at(by_group, members, targets.astype(int))
    assignment = np.zeros(len(names), np.int64)
    splitter = MultilabelStratifiedKFold(n_splits=5, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(np.zeros(len(names)), by_group)):
        assignment[held_out] = fold
    theirs = worst(fold_report(targets, groups, assignment[members], classes, seed))
    assert ours < 0.15
    assert ours < theirs


def test_a_rare_class_is_spread_as_far_as_its_groups_go():
    targets, groups = random_task(1, images=400)
    rare = np.zeros((400, 1), np.float32)
    chosen = list(dict.fromkeys(groups))[::20][:5]
    rare[[name in chosen for name in groups]] = 1
    assignment = make_folds(np.hstack([targets, rare]), groups, 5, 0)
    assert set(assignment[rare[:, 0] > 0].tolist()) == set(range(5))


def test_single_label_tasks_and_images_without_a_class():
    rng = np.random.default_rng(0)
    targets = np.eye(3, dtype=np.float32)[rng.choice(3, 300, p=[0.8, 0.15, 0.05])]
    targets[:30] = 0
    groups = [f"g{number // 3}" for number in range(300)]
    report = fold_report(targets, groups, make_folds(targets, groups, 5, 0), THREE, 0)
    sizes = report[report["class"] == ALL_IMAGES]["count"]
    assert sizes.max() - sizes.min() <= 6
    assert report[report["class"] == "a"]["deviation"].abs().max() < 0.1


def test_fewer_groups_than_folds():
    with pytest.raises(ValueError, match=r"in 2 \(x, y\); set fold\.folds to at most 2"):
        make_folds(np.ones((4, 2), np.float32), ["x", "x", "y", "y"], 3, 0)
    with pytest.raises(ValueError, match="at least 2"):
        make_folds(np.ones((4, 2), np.float32), list("abcd"), 1, 0)
    with pytest.raises(ValueError, match="a group for each"):
        make_folds(np.ones((4, 2), np.float32), list("abc"), 2, 0)


def test_as_many_groups_as_folds_leaves_none_empty():
    targets = np.eye(3, dtype=np.float32)[[0] * 50 + [1] * 2 + [2]]
    groups = ["big"] * 50 + ["small"] * 2 + ["single"]
    assert set(make_folds(targets, groups, 3, 0).tolist()) == {0, 1, 2}


def test_report_counts_by_hand():
    targets = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
    assignment = np.array([0, 0, 0, 1])
    report = fold_report(targets, list("xxyz"), assignment, THREE, 0).set_index(["class", "fold"])
    assert report.loc[("a", 0), ["groups", "count", "expected", "deviation"]].tolist() == [2, 3, 1.5, 1.0]
    assert report.loc[("a", 1), ["groups", "count", "expected", "deviation"]].tolist() == [0, 0, 1.5, -1.0]
    assert report.loc[("c", 0), ["count", "expected", "deviation"]].tolist() == [0, 0, 0]
    assert report.loc[(ALL_IMAGES, 0), ["count", "expected", "deviation"]].tolist() == [3, 2, 0.5]
    assert report.groupby("class")["ungrouped_count"].sum().to_dict() == {"a": 3, "b": 2, "c": 0, ALL_IMAGES: 4}


def test_gaps_by_hand():
    targets = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0]], np.float32)
    not_inside, not_outside = fold_gaps(targets, np.array([0, 1, 1]))
    assert not_inside.tolist() == [[False, True, False], [False, False, False]]
    assert not_outside.tolist() == [[False, False, False], [False, True, False]]


def test_the_real_labels_in_groups(sample_data):
    rows = (sample_data / "hpa2021" / "train.csv").read_text().splitlines()[1:]
    labels = sorted(row.split(",")[1] for row in rows)
    targets = HPA2021.encode([HPA2021.parse(label) for label in labels])
    # Images of one antibody share their label; here 6 in a row of the same label stand for them.
    groups = [f"{label}-{number // 6}" for number, label in enumerate(labels)]
    report = fold_report(targets, groups, make_folds(targets, groups, 5, 0), HPA2021, 0)
    assert (report["count"] > 0).all()
    common = report[report["expected"] > 50]
    assert common["deviation"].abs().max() < 0.05
