"""cleanlab's answer, passed on."""

import sys

import numpy as np
import pytest
from cleanlab.filter import find_label_issues
from cleanlab.multilabel_classification import get_label_quality_scores
from cleanlab.rank import get_label_quality_scores as single_scores

from hpa.anomaly.confident_learning import confident_issues


@pytest.fixture
def labels():
    rng = np.random.default_rng(0)
    targets = np.eye(4, dtype=np.float32)[rng.integers(0, 4, 200)]
    logits = 2 * targets + rng.normal(0, 1, targets.shape)
    return targets, (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("quality", ["self_confidence", "normalized_margin"])
def test_scores_and_flags_are_those_of_the_package(labels, quality):
    targets, said = labels
    given = targets.argmax(axis=1)
    scores, flags = confident_issues(targets, said, False, quality)
    np.testing.assert_allclose(scores, 1 - single_scores(given, said.astype(float), method=quality), rtol=1e-5)
    np.testing.assert_array_equal(flags, find_label_issues(given, said.astype(float), n_jobs=1))
    assert 0 < flags.sum() < 100
    several = np.maximum(targets, np.roll(targets, 1, axis=0))
    listed = [np.flatnonzero(row).tolist() for row in several]
    scores, flags = confident_issues(several, said, True, quality)
    np.testing.assert_allclose(
        scores, 1 - get_label_quality_scores(listed, said.astype(float), method=quality), rtol=1e-5, atol=1e-6
    )
    assert flags.any()


def test_classes_without_images_and_images_without_classes_are_no_error(labels):
    targets, said = labels
    targets[:, 3] = 0
    scores, flags = confident_issues(targets, said, True)
    assert np.isfinite(scores).all()
    assert len(flags) == 200


def test_missing_package_is_named(labels, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "cleanlab"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=r"needs cleanlab.*\.\[anomaly\]"):
        confident_issues(*labels, False)
