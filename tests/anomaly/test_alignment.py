"""Rotations between embeddings."""

import numpy as np
from scipy.spatial.distance import pdist
from scipy.stats import special_ortho_group

from hpa.anomaly.alignment import fit_rotation


def test_a_rotation_with_a_shift_is_undone():
    draws = np.random.default_rng(0)
    values = draws.normal(size=(50, 8)).astype(np.float32)
    turned = (values @ special_ortho_group.rvs(8, random_state=1) + 5).astype(np.float32)
    rotation = fit_rotation(turned[:20], values[:20])
    np.testing.assert_allclose(rotation(turned), values, atol=1e-4)


def test_the_fit_is_better_than_none_and_keeps_distances():
    draws = np.random.default_rng(0)
    values = draws.normal(size=(40, 6)).astype(np.float32)
    target = (values[:, ::-1] * 2 + draws.normal(size=(40, 6)) * 0.3).astype(np.float32)
    rotation = fit_rotation(values, target)
    found = rotation(values)
    np.testing.assert_allclose(pdist(found), pdist(values), rtol=1e-4)
    assert np.linalg.norm(found - target) < 0.7 * np.linalg.norm(values - target)


def test_fewer_anchors_than_features_give_a_rotation_all_the_same():
    draws = np.random.default_rng(0)
    values, target = draws.normal(size=(2, 5, 30)).astype(np.float32)
    rotation = fit_rotation(values, target)
    np.testing.assert_allclose(rotation.matrix @ rotation.matrix.T, np.eye(30), atol=1e-5)
    assert np.array_equal(fit_rotation(values, target).matrix, rotation.matrix)
