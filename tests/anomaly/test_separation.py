"""Separation scores against brute force and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, silhouette_score
from sklearn.neighbors import KNeighborsClassifier

from hpa.anomaly.separation import SeparationConfig, measure_separation


def one_hot(number, classes=3):
    return np.eye(classes, dtype=np.float32)[number]


def blobs(rows=90, spread=1.0, seed=0):
    draws = np.random.default_rng(seed)
    number = np.arange(rows) % 3
    return (4 * np.eye(3, 6)[number] + spread * draws.normal(size=(rows, 6))).astype(np.float32), number


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), spread=st.floats(0.5, 4), metric=st.sampled_from(["euclidean", "cosine"]))
def test_single_labels_agree_with_scikit_learn(seed, spread, metric):
    values, number = blobs(spread=spread, seed=seed)
    found = measure_separation(values, one_hot(number), SeparationConfig(neighbours=1, metric=metric))
    scaled = values / np.linalg.norm(values, axis=1, keepdims=True) if metric == "cosine" else values
    assert found.silhouette == pytest.approx(silhouette_score(scaled, number), abs=1e-4)
    right = [
        KNeighborsClassifier(1).fit(np.delete(scaled, row, 0), np.delete(number, row)).predict(scaled[row : row + 1])[0]
        == number[row]
        for row in range(len(values))
    ]
    assert found.accuracy == pytest.approx(np.mean(right))
    assert found.accuracy_by_chance == pytest.approx(1 / 3)


def brute_votes(values, has, k, groups=None):
    votes = np.zeros(has.shape)
    for row in range(len(values)):
        distances = np.linalg.norm(values - values[row], axis=1)
        own = np.arange(len(values)) == row if groups is None else np.array(groups) == groups[row]
        distances[own] = np.inf
        nearest = [other for other in np.argsort(distances, kind="stable")[:k] if np.isfinite(distances[other])]
        for rank, other in enumerate(nearest):
            votes[row] += has[other] * (1 + 1e-3 * (k - rank) / k)
    return votes


@pytest.mark.parametrize("grouped", [False, True])
def test_several_labels_agree_with_brute_force(grouped):
    values, number = blobs(spread=2)
    has = one_hot(number) > 0
    has[::4, 0] = True
    groups = [f"g{row // 5}" for row in range(len(values))] if grouped else None
    found = measure_separation(values, has.astype(np.float32), SeparationConfig(neighbours=7), groups)
    votes = brute_votes(values, has, 7, groups)
    assert found.accuracy == pytest.approx(has[np.arange(90), votes.argmax(axis=1)].mean())
    expected = [average_precision_score(has[:, k], votes[:, k]) for k in range(3)]
    np.testing.assert_allclose(found.per_class["average_precision"], expected, rtol=1e-6)
    assert found.macro_ap == pytest.approx(np.mean(expected))
    single = has.sum(axis=1) == 1
    assert found.silhouette_items == single.sum()
    assert found.silhouette == pytest.approx(silhouette_score(values[single], has[single].argmax(axis=1)), abs=1e-4)


def test_items_of_a_group_do_not_vote_for_one_another():
    draws = np.random.default_rng(0)
    places = np.repeat(draws.normal(size=(40, 4)), 3, axis=0).astype(np.float32)  # three copies of each
    number = np.repeat(draws.integers(0, 3, 40), 3)  # and labels that mean nothing
    groups = [f"g{row // 3}" for row in range(120)]
    config = SeparationConfig(neighbours=2)
    assert measure_separation(places, one_hot(number), config).accuracy == 1
    assert measure_separation(places, one_hot(number), config, groups).accuracy < 0.6


def test_noise_is_near_chance_and_far_from_zero_does_not_matter():
    values, number = blobs()
    assert measure_separation(values + np.float32(1e4), one_hot(number)).accuracy > 0.9
    noise = np.random.default_rng(1).normal(size=(600, 5)).astype(np.float32)
    found = measure_separation(noise, one_hot(np.arange(600) % 3))
    assert abs(found.accuracy - found.accuracy_by_chance) < 0.08
    assert abs(found.macro_ap - found.macro_ap_by_chance) < 0.08
    assert abs(found.silhouette) < 0.03


def test_the_sample_is_of_labelled_items_and_fixed_by_the_seed():
    values, number = blobs(300, spread=3)
    targets = one_hot(number)
    targets[100:] = 0
    values[200:] = np.nan  # unlabelled rows are not looked at
    whole = measure_separation(values, targets)
    assert whole.items == 100
    some = measure_separation(values, targets, SeparationConfig(sample=40))
    assert some.items == 40
    assert some.metrics == measure_separation(values, targets, SeparationConfig(sample=40)).metrics


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_too_little_to_measure_has_defined_results(rows):
    values, number = blobs()
    found = measure_separation(values[:rows], one_hot(number[:rows]))
    assert np.isnan(found.silhouette)
    assert found.metrics["silhouette"] is None
    assert found.items == (2 if rows == 2 else 0)  # one item has no neighbour
    unlabelled = measure_separation(values, np.zeros((90, 3), np.float32))
    assert unlabelled.items == 0
    assert np.isnan(unlabelled.accuracy)


def test_class_with_one_item_and_class_with_none():
    values, number = blobs(30)
    number[number == 2] = 0
    number[0] = 2
    found = measure_separation(values, one_hot(number, 4))
    assert found.per_class["items"].tolist() == [19, 10, 1, 0]
    assert np.isnan(found.per_class["average_precision"][3])
    assert 0 <= found.per_class["average_precision"][2] <= 1


def test_all_in_one_group_or_one_class():
    values, number = blobs(30)
    assert measure_separation(values, one_hot(number), groups=["g"] * 30).items == 0
    same = measure_separation(values, one_hot(np.zeros(30, int)))
    assert same.accuracy == 1
    assert np.isnan(same.silhouette)
    assert np.isnan(same.macro_ap)


def test_bad_input_is_refused():
    values, number = blobs(30)
    with pytest.raises(ValueError, match="as many targets"):
        measure_separation(values, one_hot(number), groups=["a"])
    values[3, 0] = np.inf
    with pytest.raises(ValueError, match="finite"):
        measure_separation(values, one_hot(number))
