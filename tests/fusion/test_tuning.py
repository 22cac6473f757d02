"""Tuned weights: against the competition's metric of label maps, on planted members, and honest on other folds."""

import json

import numpy as np
import pandas as pd
import pytest

from hpa.evaluation import match_instances, score_label_maps
from hpa.evaluation.detection_summary import average_precision_of_ranking
from hpa.fusion import Matches, SearchConfig, fuse_values, tune_weights
from hpa.labels import ClassList
from hpa.tables import class_table

CLASSES = ClassList(names=("x", "y", "z"))


def draw_maps(rng, cells=9, side=36):
    """True cells on a grid of 12 x 12 blocks, and predicted ones: shifted, missing, or with other numbers."""
    truth, found = np.zeros((side, side), np.uint16), np.zeros((side, side), np.uint16)
    numbers = rng.permutation(cells) + 1
    for cell in range(cells):
        top, left = 12 * (cell // 3) + 1, 12 * (cell % 3) + 1
        truth[top : top + 9, left : left + 9] = cell + 1
        shift = int(rng.integers(0, 3))  # IoU 1, 0.8 or 0.64
        if rng.random() < 0.85:
            shift = 4 if rng.random() < 0.15 else shift  # IoU 0.38: no match
            block = found[top : top + 9, left + shift : left + 9 + shift]
            block[block == 0] = numbers[cell]
    return truth, found


@pytest.fixture(scope="module")
def scene():
    """Label maps of 12 images, labels of the true cells, keys of the found ones, and what a matching says."""
    rng = np.random.default_rng(0)
    names = [f"i{number}" for number in range(12)]
    maps = {name: draw_maps(rng) for name in names}
    truth_keys = [(name, cell) for name in names for cell in range(1, 10)]
    labels = (rng.random((len(truth_keys), 3)) < [0.5, 0.3, 0.1]).astype(np.float32)
    truth = class_table(pd.DataFrame(truth_keys, columns=["image_id", "cell_id"]), labels, CLASSES)
    rows, found_labels = [], []
    for name in rng.permutation(names):  # the table's order of images is not the metric's
        pairs = match_instances(*maps[name], 0.6)
        partner = dict(zip(pairs.predicted_ids.tolist(), pairs.true_ids.tolist(), strict=True))
        for cell in np.unique(maps[name][1])[1:].tolist():
            rows.append((name, cell))
            index = truth_keys.index((name, partner[cell])) if cell in partner else None
            found_labels.append(np.zeros(3) if index is None else labels[index])
    keys = pd.DataFrame(rows, columns=["image_id", "cell_id"])
    found = class_table(keys, np.float32(found_labels), CLASSES)
    return maps, truth, keys, Matches.of_labels(found, truth, sorted(names), CLASSES)


def tune(values, matches, start=None, how="arithmetic", folds=None, **search):
    start = np.ones((len(values), matches.hits.shape[1])) if start is None else start
    config = SearchConfig(**({"least_objects": 1} | search))
    return tune_weights(values, matches, start, how, CLASSES, average_precision_of_ranking, config, folds)


def metric(maps, truth, keys, values):
    """By the whole way: masks, run lengths, matching, ranking."""
    true, found = ({name: pair[k] for name, pair in maps.items()} for k in (0, 1))
    score = score_label_maps(true, truth, found, class_table(keys, values, CLASSES), CLASSES)
    return np.array([score.average_precision[number] for number in range(3)])


@pytest.mark.parametrize("digits", [1, 6])
@pytest.mark.parametrize("how", ["arithmetic", "geometric", "product"])
def test_reranking_gives_the_competitions_metric(scene, digits, how):
    maps, truth, keys, matches = scene
    # With one digit most scores are tied, and the metric's order of equals decides.
    one = np.random.default_rng(1).random((len(keys), 3)).round(digits).astype(np.float32)
    found = tune([one], matches, how=how).report
    np.testing.assert_allclose(found["ap_start"], metric(maps, truth, keys, one), atol=1e-12)
    assert found["objects"].tolist() == truth[list(CLASSES.names)].sum().astype(int).tolist()


def test_tuned_weights_give_the_reported_metric(scene):
    maps, truth, keys, matches = scene
    rng = np.random.default_rng(2)
    pair = [
        np.clip(matches.hits * s + rng.random(matches.hits.shape), 0, 1.9).astype(np.float32) / 2 for s in (0.4, 0.2)
    ]
    start = np.array([[0.2] * 3, [0.8] * 3])
    tuning = tune(pair, matches, start)
    before, after = (fuse_values(pair, weights, "arithmetic") for weights in (start, tuning.weights))
    np.testing.assert_allclose(tuning.report["ap_start"], metric(maps, truth, keys, before), atol=1e-9)
    np.testing.assert_allclose(tuning.report["ap_tuned"], metric(maps, truth, keys, after), atol=1e-9)
    # No other pair of shares on the grid is better.
    for share in np.linspace(0, 1, 11):
        other = metric(maps, truth, keys, fuse_values(pair, np.array([[share] * 3, [1 - share] * 3]), "arithmetic"))
        assert (other <= tuning.report["ap_tuned"] + 0.0011).all()


def planted(cells=600, images=60, seed=0):
    """Two members, of which the first knows class x and the second class y; class z is rare."""
    rng = np.random.default_rng(seed)
    hits = rng.random((cells, 3)) < [0.4, 0.4, 0.01]
    of_image = rng.integers(0, images, cells)
    objects = np.zeros((images, 3), np.int64)
    np.add.at(objects, of_image, hits)
    noise = rng.random((2, cells, 3))
    knows = np.array([[1, 0, 0], [0, 1, 0]])[:, None, :]
    values = np.where(knows == 1, 0.6 * hits + 0.4 * noise, noise).astype(np.float32)
    return list(values), Matches(of_image.astype(np.int64), hits, objects)


@pytest.mark.parametrize("how", ["arithmetic", "geometric", "product"])
def test_each_class_finds_the_member_that_knows_it(how):
    values, matches = planted()
    folds = np.arange(60) % 5
    tuning = tune(values, matches, how=how, folds=folds, least_objects=20)
    assert tuning.weights[0, 0] > 1.3  # of a sum of 2
    assert tuning.weights[1, 1] > 1.3
    assert tuning.weights[:, 2].tolist() == [1, 1]  # too rare to tell
    np.testing.assert_allclose(tuning.weights.sum(axis=0), 2)
    report = tuning.report.set_index("class")
    assert (report["cross_fit_tuned"] > report["cross_fit_start"] + 0.02)[["x", "y"]].all()
    assert report.loc["z", "cross_fit_tuned"] == report.loc["z", "cross_fit_start"]


def test_order_of_cells_and_members_does_not_matter():
    values, matches = planted(200, 20)
    order = np.random.default_rng(3).permutation(200)
    shuffled = Matches(matches.images[order], matches.hits[order], matches.objects)
    first = tune(values, matches).weights
    np.testing.assert_allclose(tune([one[order] for one in values], shuffled).weights, first)
    np.testing.assert_allclose(tune(values[::-1], matches).weights, first[::-1], atol=0.21)


def test_cross_fit_is_tuning_on_the_other_folds():
    values, matches = planted(300, 30, seed=4)
    folds = (np.arange(30) % 3).astype(np.int64)
    found = tune(values, matches, folds=folds).report
    sums, total = np.zeros((2, 3)), np.zeros(3)
    for fold in range(3):
        parts = []
        for chosen in (folds != fold, folds == fold):
            cells = chosen[matches.images]
            objects = np.where(chosen[:, None], matches.objects, 0)
            part = Matches(matches.images[cells], matches.hits[cells], objects)
            parts.append(([one[cells] for one in values], part))
        weights = tune(*parts[0]).weights
        held_out = tune(*parts[1]).report["ap_start"], tune(*parts[1], start=weights).report["ap_start"]
        count = parts[1][1].objects.sum(axis=0)
        sums += count * np.nan_to_num(np.array(held_out))  # a fold may lack the rare class
        total += count
    np.testing.assert_allclose(found["cross_fit_start"], sums[0] / total)
    np.testing.assert_allclose(found["cross_fit_tuned"], sums[1] / total)


def test_chance_gains_little_on_other_folds():
    rng = np.random.default_rng(5)
    _, matches = planted(400, 40)
    noise = [rng.random((400, 3), np.float32) for _ in range(3)]
    report = tune(noise, matches, folds=(np.arange(40) % 4).astype(np.int64)).report
    optimistic = (report["ap_tuned"] - report["ap_start"])[:2].mean()
    honest = (report["cross_fit_tuned"] - report["cross_fit_start"])[:2].mean()
    assert optimistic > 0.01
    assert honest < optimistic


def test_a_class_without_objects_keeps_its_weights():
    values, matches = planted(100, 10)
    nothing = Matches(matches.images, matches.hits & [True, False, True], matches.objects * [1, 0, 1])
    tuning = tune(values, nothing, folds=(np.arange(10) % 2).astype(np.int64))
    assert tuning.weights[:, 1].tolist() == [1, 1]
    assert tuning.report.loc[1, ["ap_start", "ap_tuned", "cross_fit_start"]].isna().all()
    content = json.loads(json.dumps(tuning.to_json(), allow_nan=False))
    assert content["per_class"][1]["ap_tuned"] is None
    assert content["map_tuned"] == pytest.approx(tuning.report["ap_tuned"].mean())
    assert "within other folds" in tuning.summary()
    assert "within other folds" not in tune(values, nothing).summary()


def test_matches_from_tables_of_labels():
    found = pd.DataFrame({"image_id": ["b", "a"], "x": [1.0, 0.0], "y": [0.5, 0.0], "z": [0.0, 0.0]})
    truth = pd.DataFrame({"image_id": ["a", "b", "b", "q"], "x": 1.0, "y": 0.0, "z": [0.0, 0.0, 1.0, 0.0]})
    matches = Matches.of_labels(found, truth, ["a", "b"], CLASSES)
    assert matches.images.tolist() == [1, 0]
    assert matches.hits.tolist() == [[True, True, False], [False] * 3]
    assert matches.objects.tolist() == [[1, 0, 0], [2, 0, 1]]
    with pytest.raises(ValueError, match="cells of the 1 images that are scored, but got one of b"):
        Matches.of_labels(found, truth, ["a"], CLASSES)
    with pytest.raises(ValueError, match="true cells of the images"):
        Matches.of_labels(found, truth[3:], ["a", "b"], CLASSES)


def test_what_does_not_fit_is_refused():
    values, matches = planted(50, 5)
    with pytest.raises(ValueError, match=r"values of member 1 of shape \(50, 3\)"):
        tune([values[0], values[1][:9]], matches)
    with pytest.raises(ValueError, match="some above 0 for every class"):
        tune(values, matches, np.array([[1.0, 1, 0], [1, 1, 0]]))
    with pytest.raises(ValueError, match="at least two folds"):
        tune(values, matches, folds=np.zeros(5, np.int64))
    with pytest.raises(ValueError, match="a fold for each of 5 images"):
        tune(values, matches, folds=np.arange(4))
    with pytest.raises(ValueError, match="objects of every image and class"):
        tune(values, Matches(matches.images, matches.hits, matches.objects[:2]))
