"""Principal components agree with scikit-learn's, whatever the size of the chunks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA

from hpa.anomaly import principal_components, projection_rows
from hpa.anomaly.principal_components import PrincipalComponents
from hpa.anomaly.projection_rows import unit_rows


def embedding(rows, features, seed=0):
    draws = np.random.default_rng(seed)
    scale = np.linspace(3, 0.2, features)
    return (draws.normal(5, 1, (rows, features)) * scale @ draws.normal(size=(features, features))).astype(np.float32)


def assert_same_up_to_sign(found, expected):
    scale = np.abs(expected).max()
    for one, other in zip(found.T, expected.T, strict=True):
        assert min(np.abs(one - other).max(), np.abs(one + other).max()) < 2e-3 * scale


@settings(max_examples=10, deadline=None)
@given(rows=st.integers(8, 60), features=st.integers(3, 12), seed=st.integers(0, 1000))
def test_agrees_with_scikit_learn(rows, features, seed):
    values = embedding(rows, features, seed)
    ours, theirs = PrincipalComponents(3).fit(values), PCA(3, svd_solver="full").fit(values)
    assert_same_up_to_sign(ours.transform(values), theirs.transform(values))
    np.testing.assert_allclose(ours.explained_variance_ratio_, theirs.explained_variance_ratio_, atol=1e-4)


def test_chunks_and_memory_maps_change_nothing(monkeypatch, tmp_path):
    values = embedding(500, 20)
    whole = PrincipalComponents(4).fit(values).transform(values)
    np.save(tmp_path / "values.npy", values)
    monkeypatch.setattr(projection_rows, "CHUNK_BYTES", 20 * 4 * 7)
    mapped = np.load(tmp_path / "values.npy", mmap_mode="r")
    np.testing.assert_allclose(PrincipalComponents(4).fit(mapped).transform(mapped), whole, atol=1e-3)


def test_wide_embeddings_by_their_rows(monkeypatch):
    values = embedding(40, 30)
    by_features = PrincipalComponents(3).fit(values)
    monkeypatch.setattr(principal_components, "_WIDEST", 29)
    by_rows = PrincipalComponents(3).fit(values[:29])  # no row is left out
    np.testing.assert_allclose(
        by_rows.explained_variance_ratio_, PCA(3).fit(values[:29]).explained_variance_ratio_, atol=1e-4
    )
    assert by_rows.components_.shape == by_features.components_.shape
    sampled = PrincipalComponents(3).fit(values)  # every second row
    np.testing.assert_allclose(sampled.mean_, values[::2].mean(axis=0), rtol=1e-4)


def test_directions_without_variance_give_zero_and_not_noise():
    line = np.linspace(0, 1, 50, dtype=np.float32)[:, None] @ np.array([[3, 4, 0]], np.float32) + np.float32(100)
    fitted = PrincipalComponents(3).fit(line)
    places = fitted.transform(line)
    assert np.ptp(places[:, 0]) == pytest.approx(5, rel=1e-4)
    assert (places[:, 1:] == 0).all()
    assert (PrincipalComponents(2).fit(np.ones((4, 3), np.float32)).explained_variance_ratio_ == 0).all()


def test_signs_are_fixed():
    values = embedding(100, 6)
    components = PrincipalComponents(4).fit(values).components_
    assert (components[np.arange(4), np.abs(components).argmax(axis=1)] > 0).all()
    np.testing.assert_allclose(PrincipalComponents(4).fit(values[::-1]).components_, components, atol=1e-3)


def test_unit_length_forgets_lengths():
    values = embedding(60, 5)
    scaled = values * np.random.default_rng(1).uniform(0.1, 9, (60, 1)).astype(np.float32)
    ours = PrincipalComponents(2, unit_length=True)
    np.testing.assert_allclose(ours.fit(values).transform(values), ours.fit(scaled).transform(scaled), atol=1e-3)
    assert (unit_rows(np.zeros((1, 3), np.float32)) == 0).all()
