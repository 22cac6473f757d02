"""Outliers in embeddings: against formulas, planted rows, and sets that leave little to compare with."""

import sys

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

from hpa.anomaly import embedding_rows
from hpa.anomaly.findings import ValueDecision
from hpa.anomaly.neighbours import ExactSearch, IvfSearch
from hpa.anomaly.outliers import (
    ClassCentreConfig,
    IsolationForestConfig,
    LocalOutlierFactorConfig,
    MahalanobisConfig,
    NeighboursConfig,
    find_outliers,
)

ALL = [
    NeighboursConfig(),
    ClassCentreConfig(),
    MahalanobisConfig(),
    LocalOutlierFactorConfig(neighbours=10),
    IsolationForestConfig(trees=50),
]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(embedding_rows, "BLOCK_BYTES", 6 * 4 * 50)


def classes_of_rows(rows=240, features=6, seed=0):
    """Three classes around their centres, on correlated axes, and their one-hot targets."""
    draws = np.random.default_rng(seed)
    labels = np.arange(rows) % 3
    spread = draws.normal(0, 1, (features, features))
    values = draws.normal(0, 6, (3, features))[labels] + draws.normal(0, 1, (rows, features)) @ spread
    return values.astype(np.float32), np.eye(3, dtype=np.float32)[labels]


@pytest.mark.parametrize("config", ALL, ids=lambda config: config.kind)
def test_planted_rows_score_highest(config):
    values, targets = classes_of_rows()
    planted = np.random.default_rng(1).choice(len(values), 12, replace=False)
    values[planted] += np.random.default_rng(2).normal(0, 25, (12, 6)).astype(np.float32)
    found = find_outliers(values, targets, config)
    assert found.name == config.kind
    assert found.scores.dtype == np.float32
    truth = np.isin(np.arange(len(values)), planted)
    assert roc_auc_score(truth, found.scores) > 0.95
    assert found.flags.sum() == 12  # the worst 5 %
    assert found.flags[planted].mean() > 0.7
    again = find_outliers(values, targets, config, name="twice")
    assert again.name == "twice"
    assert np.array_equal(again.scores, found.scores)


def test_a_row_among_another_class_is_found_by_its_class_alone():
    values, targets = classes_of_rows()
    moved = [0, 3, 6]  # of class 0, and now like class 1
    values[moved] = values[[1, 4, 7]] + 0.1
    for config in (ClassCentreConfig(), MahalanobisConfig(), ClassCentreConfig(metric="cosine")):
        labelled = find_outliers(values, targets, config)
        assert set(np.argsort(labelled.scores)[-3:]) == set(moved)
        assert np.array_equal(labelled.details[f"{config.kind}_class"], targets.argmax(axis=1))
        blind = find_outliers(values, None, config)
        assert not set(np.argsort(blind.scores)[-3:]) & set(moved)
        assert (blind.details[f"{config.kind}_class"] == -1).all()


@pytest.mark.parametrize("reduce", ["mean", "farthest"])
def test_neighbours_give_their_mean_or_farthest_distance(reduce):
    values, _ = classes_of_rows()
    found = find_outliers(values, None, NeighboursConfig(neighbours=7, reduce=reduce))
    distances, _ = NearestNeighbors(n_neighbors=7).fit(values).kneighbors()
    expected = distances.mean(axis=1) if reduce == "mean" else distances[:, -1]
    np.testing.assert_allclose(found.scores, expected, rtol=1e-5)


@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_class_centres_are_those_of_the_other_rows(metric, relative):
    values, targets = classes_of_rows(60)
    targets[::4, 1] = 1  # some rows of two classes
    targets[5] = 0  # and one of none
    config = ClassCentreConfig(metric=metric, relative=relative)
    found = find_outliers(values, targets, config)
    exact = values.astype(np.float64)
    if metric == "cosine":
        exact /= np.linalg.norm(exact, axis=1, keepdims=True)

    def distance(row, among):
        others = exact[[other for other in among if other != row]].mean(axis=0)
        if metric == "cosine":
            return 1 - exact[row] @ others / np.linalg.norm(others)
        return np.linalg.norm(exact[row] - others)

    own = {name: np.flatnonzero(targets[:, name]) for name in range(3)} | {-1: np.arange(60)}
    usual = {name: np.median([distance(row, rows) for row in rows]) if relative else 1 for name, rows in own.items()}
    for row in range(60):
        names = [name for name in range(3) if targets[row, name]] or [-1]
        fits = {name: distance(row, own[name]) / usual[name] for name in names}
        assert found.scores[row] == pytest.approx(min(fits.values()), rel=1e-4)
        assert found.details["class_centre_class"][row] == min(fits, key=fits.get)


def test_mahalanobis_is_the_shrunk_covariance_around_the_centre_of_the_others():
    values, targets = classes_of_rows(90)
    found = find_outliers(values, targets, MahalanobisConfig())
    exact, labels = values.astype(np.float64), targets.argmax(axis=1)
    means = np.stack([exact[labels == name].mean(axis=0) for name in range(3)])
    precision = LedoitWolf(assume_centered=True).fit(exact - means[labels]).precision_
    for row in range(90):
        others = exact[(labels == labels[row]) & (np.arange(90) != row)]
        apart = exact[row] - others.mean(axis=0)
        assert found.scores[row] == pytest.approx((apart @ precision @ apart) ** 0.5, rel=1e-3)


def test_the_local_outlier_factor_is_that_of_scikit_learn():
    values, _ = classes_of_rows()
    found = find_outliers(values, None, LocalOutlierFactorConfig(neighbours=15))
    expected = LocalOutlierFactor(n_neighbors=15, algorithm="brute").fit(values.astype(np.float64))
    np.testing.assert_allclose(found.scores, -expected.negative_outlier_factor_, rtol=1e-4)
    near = find_outliers(values, None, LocalOutlierFactorConfig(neighbours=15, search=IvfSearch(recall=1.0)))
    np.testing.assert_allclose(near.scores, found.scores, rtol=1e-4)


def test_the_forest_depends_on_its_seed_alone():
    values, _ = classes_of_rows()
    first, other = (find_outliers(values, None, IsolationForestConfig(trees=20, seed=seed)) for seed in (0, 1))
    assert not np.array_equal(first.scores, other.scores)
    np.random.default_rng().random(5)
    again = find_outliers(values, None, IsolationForestConfig(trees=20, seed=0))
    assert np.array_equal(first.scores, again.scores)
    assert ((first.scores > 0) & (first.scores < 1)).all()


@pytest.mark.parametrize("config", ALL, ids=lambda config: config.kind)
def test_constant_embeddings_score_alike_and_flag_nothing(config):
    values = np.full((40, 6), 3.5, np.float32)
    targets = np.eye(2, dtype=np.float32)[np.arange(40) % 2]
    found = find_outliers(values, targets, config)
    assert np.ptp(found.scores) < 1e-6
    assert np.isfinite(found.scores).all()
    assert not found.flags.any()


@pytest.mark.parametrize("config", ALL, ids=lambda config: config.kind)
def test_values_that_are_not_finite_are_named_by_their_rows(config):
    values, targets = classes_of_rows()
    values[7, 1] = np.nan
    with pytest.raises(ValueError, match=r"finite values.*such as the rows \[7\]"):
        find_outliers(values, targets, config)


@pytest.mark.parametrize("config", [NeighboursConfig(), LocalOutlierFactorConfig()], ids=lambda config: config.kind)
def test_fewer_rows_than_neighbours_are_refused(config):
    with pytest.raises(ValueError, match=f"expected 1 to 9 neighbours.*got {config.neighbours}; ask for fewer"):
        find_outliers(classes_of_rows(10)[0], None, config)


def test_a_class_with_one_image_is_compared_with_all_others():
    values, targets = classes_of_rows(120)
    targets = np.concatenate([targets, np.zeros((120, 1), np.float32)], axis=1)
    targets[4] = [0, 0, 0, 1]
    values[4] = 1000
    for config in (ClassCentreConfig(), ClassCentreConfig(metric="cosine"), MahalanobisConfig()):
        found = find_outliers(values, targets, config)
        assert found.details[f"{config.kind}_class"][4] == -1
        assert np.isfinite(found.scores).all()
    # Beside what is usual in the whole set, not beside itself.
    assert find_outliers(values, targets, ClassCentreConfig()).scores[4] > 5


@pytest.mark.parametrize("config", [ClassCentreConfig(), MahalanobisConfig()], ids=lambda config: config.kind)
def test_the_only_row_of_a_set_cannot_be_judged(config):
    found = find_outliers(np.ones((1, 6), np.float32), None, config)
    assert np.isnan(found.scores).all()
    assert not found.flags.any()


def test_the_forest_judges_a_single_row():
    assert find_outliers(np.ones((1, 6), np.float32), None, IsolationForestConfig(trees=5)).scores.shape == (1,)


def test_more_features_than_rows_have_a_mahalanobis_distance():
    values = np.random.default_rng(0).normal(size=(30, 200)).astype(np.float32)
    values[3] *= 3
    found = find_outliers(values, None, MahalanobisConfig())
    assert np.isfinite(found.scores).all()
    assert found.scores.argmax() == 3


def test_a_decision_is_that_of_the_configuration():
    values, _ = classes_of_rows()
    found = find_outliers(values, None, NeighboursConfig(decision=ValueDecision(threshold=2.0), search=ExactSearch()))
    assert np.array_equal(found.flags, found.scores >= 2.0)
    assert 0 < found.flags.sum() < len(values)


def test_only_the_search_needs_faiss(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    values, targets = classes_of_rows()
    for config in ALL:
        if isinstance(config, NeighboursConfig | LocalOutlierFactorConfig):
            with pytest.raises(ValueError, match="pip install"):
                find_outliers(values, targets, config)
        else:
            find_outliers(values, targets, config)
