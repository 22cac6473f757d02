"""Maps are deterministic, keep clusters together, place new rows, and have defined results for few rows."""

import sys

import numpy as np
import pytest
from sklearn.decomposition import PCA

from hpa.anomaly.projection import LearnedProjection, TsneProjection, build_projection
from hpa.anomaly.projection_config import PcaConfig, ProjectionConfig, TsneConfig, UmapConfig
from hpa.config import Config, ConfigError, validate

ALL = [PcaConfig(), TsneConfig(), UmapConfig()]
NAMES = [config.kind for config in ALL]


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def clusters(rows=120, features=12, seed=0):
    """Three far clusters, and which each row is of."""
    draws = np.random.default_rng(seed)
    number = np.arange(rows) % 3
    centres = 20 * np.eye(3, features)
    return (centres[number] + draws.normal(size=(rows, features))).astype(np.float32), number


def share_of_neighbours_alike(places, number):
    distances = np.linalg.norm(places[:, None] - places[None], axis=2) + 1e9 * np.eye(len(places))
    return (number[distances.argmin(axis=1)] == number).mean()


@pytest.mark.parametrize("config", ALL, ids=NAMES)
def test_same_seed_same_bytes_and_clusters_stay_together(config):
    values, number = clusters()
    places = build_projection(config).fit_transform(values)
    assert places.shape == (120, 2)
    assert places.dtype == np.float32
    assert places.tobytes() == build_projection(config).fit_transform(values).tobytes()
    assert share_of_neighbours_alike(places, number) > 0.97


@pytest.mark.parametrize("config", [UmapConfig(sample=80), TsneConfig(sample=80)], ids=["umap", "tsne"])
def test_the_rest_is_placed_in_the_map_of_a_sample(config):
    values, number = clusters()
    projection = build_projection(config)
    assert isinstance(projection, LearnedProjection)
    places = projection.fit_transform(values)
    np.testing.assert_array_equal(places[projection.rows_], projection.coordinates_)
    assert len(projection.rows_) == 80
    rest = np.setdiff1d(np.arange(120), projection.rows_)
    centres = np.stack([projection.coordinates_[number[projection.rows_] == k].mean(axis=0) for k in range(3)])
    nearest = np.linalg.norm(places[rest][:, None] - centres, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, number[rest])
    np.testing.assert_array_equal(projection.transform(values[rest]), places[rest])


def test_tsne_places_at_the_weighted_mean_of_neighbours():
    values, _ = clusters()
    projection = TsneProjection(TsneConfig(components=None, placed_by=2)).fit(values)
    middle = 0.25 * values[0] + 0.75 * values[3]
    others = np.linalg.norm(values - middle, axis=1).argsort()[:2]
    weights = 1 / np.linalg.norm(values[others] - middle, axis=1)
    expected = (projection.coordinates_[others] * weights[:, None]).sum(axis=0) / weights.sum()
    np.testing.assert_allclose(projection.transform(middle[None])[0], expected, rtol=1e-4)
    np.testing.assert_allclose(projection.transform(values[5:6])[0], projection.coordinates_[5], rtol=1e-3, atol=1e-3)


def test_pca_is_that_of_scikit_learn():
    values, _ = clusters()
    expected = PCA(2).fit_transform(values)
    found = build_projection(PcaConfig()).fit_transform(values)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-2)


def test_cosine_forgets_lengths():
    values, _ = clusters()
    lengths = np.random.default_rng(0).uniform(0.2, 5, (120, 1)).astype(np.float32)
    config = TsneConfig(metric="cosine", components=None, sample=60)
    places = build_projection(config).fit_transform(values)
    scaled = build_projection(config).fit_transform(values * np.float32(4))  # a power of two: the same bits
    np.testing.assert_array_equal(places, scaled)
    assert build_projection(PcaConfig(metric="cosine")).fit_transform(values * lengths).std() < 2


@pytest.mark.parametrize("config", ALL, ids=NAMES)
def test_few_rows_have_defined_places(config):
    values, _ = clusters()
    assert build_projection(config).fit_transform(values[:1]).tolist() == [[0, 0]]
    for rows in (2, 4):
        expected = build_projection(PcaConfig()).fit_transform(values[:rows])
        np.testing.assert_array_equal(build_projection(config).fit_transform(values[:rows]), expected)
    places = build_projection(config).fit_transform(values[:6])  # fewer rows than neighbours
    assert np.isfinite(places).all()
    assert len(np.unique(places, axis=0)) == 6


@pytest.mark.parametrize("config", ALL, ids=NAMES)
def test_what_cannot_be_mapped_is_refused(config):
    values, _ = clusters()
    with pytest.raises(ValueError, match="are the same"):
        build_projection(config).fit(np.ones((20, 3), np.float32))
    bad = values.copy()
    bad[7, 2] = np.nan
    with pytest.raises(ValueError, match="7"):
        build_projection(config).fit_transform(bad)
    fitted = build_projection(config).fit(values[:4])
    with pytest.raises(ValueError, match="expected 12 features"):
        fitted.transform(values[:, :5])
    with pytest.raises(ValueError, match=r"such as|finite"):
        fitted.transform(bad)


def test_sample_of_equal_rows_is_not_an_error():
    values = np.zeros((200, 3), np.float32)
    values[:2] = 1
    config = TsneConfig(sample=5, seed=0)
    projection = TsneProjection(config)
    places = projection.fit_transform(values)
    assert not np.isin(projection.rows_, [0, 1]).any()  # else the test says nothing
    assert (places == 0).all()


def test_umap_is_optional(monkeypatch):
    values, _ = clusters()
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ValueError, match=r"pip install '\.\[anomaly\]'"):
        build_projection(UmapConfig()).fit(values)
    build_projection(PcaConfig()).fit(values)


def test_kinds_are_checked():
    class Holder(Config):
        method: ProjectionConfig = UmapConfig()

    assert validate(Holder, {"method": {"kind": "pca"}}).method == PcaConfig()
    with pytest.raises(ConfigError, match="did you mean 'umap'"):
        validate(Holder, {"method": {"kind": "umpa"}})
