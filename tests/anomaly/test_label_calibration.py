"""Sources of probabilities made into one, against an independent fit."""

import numpy as np
import pytest
from scipy.optimize import minimize

from hpa.anomaly.label_calibration import RIDGE, calibrate, class_shares


def drawn(multi_label, items=400, classes=3, seed=0):
    """Labels drawn from known probabilities, which are skewed: rare classes are rare."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (items, classes)) - np.linspace(0, 2, classes)
    if multi_label:
        known = 1 / (1 + np.exp(-logits))
        return (rng.random(known.shape) < known).astype(np.float32), known
    known = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return np.eye(classes, dtype=np.float32)[[rng.choice(classes, p=row) for row in known]], known


def log_loss(targets, known, multi_label):
    with np.errstate(divide="ignore"):
        each = targets * np.log(known) + ((1 - targets) * np.log(1 - known) if multi_label else 0)
    return -np.nan_to_num(each).sum()


@pytest.mark.parametrize("multi_label", [True, False])
def test_too_sure_sources_are_taken_at_half_their_word(multi_label):
    targets, known = drawn(multi_label, 4000)
    sure = known**2 / (known**2 + (1 - known) ** 2) if multi_label else known**2 / (known**2).sum(axis=1, keepdims=True)
    found = calibrate([sure.astype(np.float32)], targets, targets.astype(float), np.ones(len(targets)), multi_label)
    assert found.weights[0] == pytest.approx(0.5, abs=0.05)
    assert log_loss(targets, found.probabilities, multi_label) < 1.01 * log_loss(targets, known, multi_label)
    np.testing.assert_allclose(found.probabilities.mean(axis=0), targets.mean(axis=0), atol=0.02)
    if not multi_label:
        np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)


def test_a_source_that_knows_nothing_has_no_weight():
    targets, known = drawn(True, 2000)
    noise = np.random.default_rng(1).random(targets.shape).astype(np.float32)
    opposite = (1 - known).astype(np.float32)
    found = calibrate([known.astype(np.float32), noise], targets, targets.astype(float), np.ones(2000), True)
    assert found.weights[0] == pytest.approx(1, abs=0.1)
    assert found.weights[1] < 0.05
    assert calibrate([opposite], targets, targets.astype(float), np.ones(2000), True).weights[0] == 0


def test_fit_is_that_of_a_minimizer_without_slopes():
    targets, known = drawn(True, 80, 2)
    counts = np.random.default_rng(2).random(80)
    believed = np.clip(targets * 0.9 + 0.05, 0, 1).astype(float)
    shares = (targets.sum(axis=0) + 0.5) / 81

    def loss(values):
        weight, offsets = values[0], values[1:]
        logits = weight * (np.log(known / (1 - known)) - np.log(shares / (1 - shares)))
        p = 1 / (1 + np.exp(-(logits + np.log(shares / (1 - shares)) + offsets)))
        each = -(believed * np.log(p) + (1 - believed) * np.log(1 - p)).sum(axis=1)
        return counts @ each + RIDGE * (offsets**2).sum() / 2

    expected = minimize(
        loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-9, "maxiter": 5000}
    )
    found = calibrate([known.astype(np.float32)], targets, believed, counts, True)
    assert loss(np.array([found.weights[0], *found.offsets])) == pytest.approx(expected.fun, abs=1e-3)
    np.testing.assert_allclose([found.weights[0], *found.offsets], expected.x, atol=0.02)


def test_shares_are_never_certain():
    shares = class_shares(np.array([[1, 0], [1, 0]], np.float32))
    assert (shares > 0).all()
    assert (shares < 1).all()
