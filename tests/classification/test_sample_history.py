import numpy as np
import pytest

from hpa.classification.sample_history import (
    CATEGORIES,
    TwoPhaseConfig,
    judge_history,
    limit_per_class,
    split_history,
    usual_confidence,
)

EASY, HARD, NOISY = range(3)


def single_label(seed, count=600, noise=0.2, hard=0.2, epochs=8):
    """Histories as trainings leave them: sure of easy images, unsure and changing its mind about hard ones."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 4, count)
    kind = rng.choice(3, count, p=[1 - noise - hard, hard, noise])
    given = np.where(kind == NOISY, (true + rng.integers(1, 4, count)) % 4, true)
    centre = np.where(kind == HARD, 0.3, 2.5)[:, None, None]
    logits = np.eye(4)[true][:, None] * centre
    logits = logits + rng.normal(size=(count, 1, 4)) * 0.3 + rng.normal(size=(count, epochs, 4)) * 0.6
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    targets = np.eye(4, dtype=np.float32)[given]
    return probabilities.mean(axis=1), (probabilities**2).mean(axis=1), targets, np.eye(4)[true], kind


def several_labels(seed, count=900, noise=0.2, epochs=8):
    """Five classes, the last ones rare and answered with low probabilities throughout."""
    rng = np.random.default_rng(seed)
    frequencies, heights = np.array([0.4, 0.3, 0.2, 0.06, 0.04]), np.array([0.9, 0.8, 0.7, 0.35, 0.3])
    true = np.eye(5)[rng.choice(5, count, p=frequencies)]
    second = rng.random(count) < 0.3
    true[second] = np.maximum(true[second], np.eye(5)[rng.choice(5, second.sum(), p=frequencies)])
    is_noisy = rng.random(count) < noise
    given = true.copy()
    for row in np.flatnonzero(is_noisy):
        others = np.flatnonzero(true[row] == 0)
        given[row] = np.eye(5)[rng.choice(others)]
    probabilities = true[:, None] * heights + 0.03 + rng.normal(size=(count, epochs, 5)) * 0.05
    probabilities = probabilities.clip(0.001, 0.999)
    return (
        probabilities.mean(axis=1),
        (probabilities**2).mean(axis=1),
        given.astype(np.float32),
        true,
        is_noisy,
    )


@pytest.mark.parametrize("seed", range(3))
def test_noisy_images_are_found_and_their_labels_corrected(seed):
    means, squares, targets, true, kind = single_label(seed)
    found = judge_history(means, squares, targets, False, TwoPhaseConfig())
    is_noisy = found.categories == NOISY
    assert is_noisy[kind == NOISY].mean() > 0.9
    assert is_noisy[kind == EASY].mean() < 0.01
    assert is_noisy[kind == HARD].mean() < 0.3
    assert (found.categories[kind == EASY] == EASY).mean() > 0.8
    assert (found.categories[kind == HARD] != EASY).mean() > 0.8
    np.testing.assert_allclose(found.targets.sum(axis=1), 1, atol=1e-5)
    before = np.abs(targets - true).sum()
    assert np.abs(found.targets - true).sum() < 0.5 * before
    assert (found.targets[~is_noisy] == targets[~is_noisy]).all()


@pytest.mark.parametrize("seed", range(3))
def test_with_several_classes_rare_ones_are_not_doubted_for_their_low_probabilities(seed):
    means, squares, targets, true, is_noisy = several_labels(seed)
    found = judge_history(means, squares, targets, True, TwoPhaseConfig())
    judged = found.categories == NOISY
    assert judged[is_noisy].mean() > 0.8
    assert judged[~is_noisy].mean() < 0.05
    rare = true[:, 3:].any(axis=1) & ~is_noisy
    assert judged[rare].mean() < 0.1
    assert np.abs(found.targets - true).sum() < 0.6 * np.abs(targets - true).sum()
    assert found.targets.min() >= 0
    assert found.targets.max() <= 1


@pytest.mark.parametrize("multi_label", [True, False])
def test_a_clean_set_keeps_its_labels(multi_label):
    make = several_labels if multi_label else single_label
    means, squares, targets, *_ = make(5, noise=0.0)
    found = judge_history(means, squares, targets, multi_label, TwoPhaseConfig())
    assert (found.categories == NOISY).mean() < 0.02


def test_weights_and_correction_are_the_configurations():
    means, squares, targets, _, _ = single_label(1)
    config = TwoPhaseConfig(noisy_weight=0.0, hard_weight=2.0, correction=0.0)
    found = judge_history(means, squares, targets, False, config)
    assert (found.weights == np.array([1, 2, 0])[found.categories]).all()
    assert (found.targets == targets).all()
    assert {CATEGORIES[number] for number in found.categories} == {"easy", "hard", "noisy"}


def test_no_class_loses_more_than_its_share():
    means, squares, targets, _, _ = single_label(2, noise=0.4, hard=0.1)
    found = judge_history(means, squares, targets, False, TwoPhaseConfig(most=0.1))
    is_noisy = found.categories == NOISY
    for members in targets.T == 1:
        assert 0 < is_noisy[members].sum() <= 0.1 * members.sum()
    given = np.array([[True, True], [True, False], [False, True]])
    everyone = np.ones(3, bool)
    assert not limit_per_class(everyone, np.array([0.9, 0.8, 0.7]), given, 0.0).any()
    assert limit_per_class(everyone, np.array([0.9, 0.8, 0.7]), given, 1.0).all()


@pytest.mark.parametrize("count", [1, 5, 200])
def test_few_images_and_constant_histories_are_all_easy(count):
    means = np.full((count, 3), 1 / 3)
    targets = np.eye(3, dtype=np.float32)[np.arange(count) % 3]
    for multi_label in (True, False):
        found = judge_history(means, means**2, targets, multi_label, TwoPhaseConfig())
        assert (found.categories == EASY).all()
        assert (found.targets == targets).all()


def test_an_image_without_a_class_and_all_classes_of_an_image():
    means, squares, targets, *_ = several_labels(3)
    targets[0], targets[1] = 0, 1
    found = judge_history(means, squares, targets, True, TwoPhaseConfig())
    for values in (found.doubt, found.margin, found.targets):
        assert np.isfinite(values).all()


def test_one_cloud_of_images_is_easy():
    rng = np.random.default_rng(0)
    is_easy, doubt = split_history(rng.normal(0.5, 0.1, 300), rng.normal(0.1, 0.01, 300), 0)
    assert is_easy.all()
    assert not doubt.any()


def test_the_usual_confidence_of_few_labels_is_drawn_to_all():
    means = np.array([[0.9, 0.1]] * 100 + [[0.1, 0.0]])
    given = np.array([[True, False]] * 100 + [[False, True]])
    found = usual_confidence(means, given)
    assert found[0] == pytest.approx(0.9, abs=0.01)
    assert 0.5 < found[1] < 0.9


def test_the_same_seed_judges_the_same():
    means, squares, targets, _, _ = single_label(4)
    first, second = (judge_history(means, squares, targets, False, TwoPhaseConfig(), seed=3) for _ in range(2))
    assert (first.doubt == second.doubt).all()


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="at least one image"):
        judge_history(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3), np.float32), True, TwoPhaseConfig())
