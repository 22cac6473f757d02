"""Evidence against labels: images whose truth is drawn, so that every figure is known."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hpa.anomaly.confident_learning import confident_issues
from hpa.anomaly.label_evidence import MOST_NOISE, weigh_evidence

SHARES = np.array([0.4, 0.2, 0.1, 0.05, 0.02])


def atlas(noise, kind="replaced", images=1500, sharpness=3.0, seed=0):
    """Given labels, what is wrong, the truth, and probabilities that know the truth but for a normal error."""
    rng = np.random.default_rng(seed)
    true = (rng.random((images, 5)) < SHARES).astype(np.float32)
    true[np.flatnonzero(true.sum(axis=1) == 0), rng.integers(0, 2, (true.sum(axis=1) == 0).sum())] = 1
    logits = np.log(SHARES / (1 - SHARES)) + sharpness * (2 * true - 1) / 2 + rng.normal(0, 1, true.shape)
    known = (1 / (1 + np.exp(-logits))).astype(np.float32)
    wrong = rng.random(images) < noise
    given = true.copy()
    for row in np.flatnonzero(wrong):
        if kind == "replaced":
            others = np.flatnonzero(~(true * true[row]).any(axis=1))
            given[row] = true[rng.choice(others)]
        elif kind == "added":
            given[row, rng.choice(np.flatnonzero(true[row] == 0))] = 1
        else:
            has = np.flatnonzero(true[row])
            if len(has) > 1:
                given[row, rng.choice(has)] = 0
    return given, (given != true).any(axis=1), true, known


def one_class(noise, images=1500, seed=0):
    rng = np.random.default_rng(seed)
    shares = SHARES / SHARES.sum()
    true = rng.choice(5, images, p=shares)
    logits = np.log(shares) + 2.5 * np.eye(5)[true] + rng.normal(0, 1, (images, 5))
    known = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    wrong = rng.random(images) < noise
    given = np.where(wrong, (true + rng.integers(1, 5, images)) % 5, true)
    return np.eye(5, dtype=np.float32)[given], wrong, np.eye(5, dtype=np.float32)[true], known.astype(np.float32)


@pytest.mark.parametrize("kind", ["replaced", "added", "removed"])
@pytest.mark.parametrize("noise", [0.1, 0.4])
def test_wrong_labels_are_ranked_above_those_that_cleanlab_ranks(kind, noise):
    given, wrong, _, known = atlas(noise, kind)
    evidence = weigh_evidence(given, [known], multi_label=True)
    ours = roc_auc_score(wrong, evidence.log_odds)
    theirs = roc_auc_score(wrong, confident_issues(given, known, True)[0])
    assert ours > theirs - 0.01
    assert ours > {"replaced": 0.99, "added": 0.96, "removed": 0.85}[kind]


@pytest.mark.parametrize("noise", [0.1, 0.2, 0.4])
def test_noise_is_estimated_and_flags_are_mostly_right(noise):
    given, wrong, true, known = atlas(noise)
    evidence = weigh_evidence(given, [known], multi_label=True)
    assert 0.6 * noise < evidence.noise < noise + 0.1
    flagged = evidence.log_odds > 0
    assert wrong[flagged].mean() > 0.7
    assert wrong[flagged].sum() > 0.4 * wrong.sum()
    assert np.square(evidence.corrected - true).sum() < 0.7 * np.square(given - true).sum()


@pytest.mark.parametrize("noise", [0.1, 0.2, 0.4])
def test_single_labels_are_no_worse_than_by_cleanlab(noise):
    given, wrong, true, known = one_class(noise)
    evidence = weigh_evidence(given, [known], multi_label=False)
    ours = roc_auc_score(wrong, evidence.log_odds)
    assert ours >= roc_auc_score(wrong, confident_issues(given, known, False)[0]) - 0.005
    np.testing.assert_allclose(evidence.corrected.sum(axis=1), 1, rtol=1e-5)
    assert (evidence.corrected.argmax(axis=1) == true.argmax(axis=1)).mean() > (given * true).sum(axis=1).mean() + 0.02
    assert 0.6 * noise < evidence.noise < noise + 0.1


@pytest.mark.parametrize("multi_label", [True, False])
def test_order_of_images_and_classes_does_not_matter(multi_label):
    given, _, _, known = atlas(0.2, images=300) if multi_label else one_class(0.2, images=300)
    evidence = weigh_evidence(given, [known], multi_label)
    rows, columns = np.random.default_rng(0).permutation(300), np.array([3, 1, 4, 0, 2])
    moved = weigh_evidence(given[rows][:, columns], [known[rows][:, columns]], multi_label)
    np.testing.assert_allclose(moved.log_odds, evidence.log_odds[rows], atol=0.02)
    np.testing.assert_allclose(moved.corrected, evidence.corrected[rows][:, columns], atol=0.01)


def test_two_sources_say_more_than_one():
    given, wrong, true, known = atlas(0.2, sharpness=1.5)
    rng = np.random.default_rng(9)
    again = 1 / (1 + np.exp(-(np.log(SHARES / (1 - SHARES)) + 0.75 * (2 * true - 1) + rng.normal(0, 1, true.shape))))
    one = roc_auc_score(wrong, weigh_evidence(given, [known], True).log_odds)
    both = weigh_evidence(given, [known, again.astype(np.float32)], True)
    assert roc_auc_score(wrong, both.log_odds) > one + 0.02
    assert min(both.weights) > 0.2


@pytest.mark.parametrize("multi_label", [True, False])
def test_sources_that_know_nothing_flag_nothing_and_change_little(multi_label):
    given, _, _, _ = atlas(0.2, images=400) if multi_label else one_class(0.2, images=400)
    for said in (np.full(given.shape, 0.2), np.random.default_rng(0).random(given.shape)):
        evidence = weigh_evidence(given, [said.astype(np.float32)], multi_label)
        assert np.isfinite(evidence.log_odds).all()
        assert np.isfinite(evidence.corrected).all()
        assert (evidence.log_odds > 0).mean() < 0.1
        assert evidence.noise <= MOST_NOISE + 1e-6


def test_certain_and_absent_classes_have_finite_evidence():
    given = np.zeros((50, 4), np.float32)
    given[:, 0] = 1  # every image has it
    given[0, 2] = 1  # one image has it; none has class 1 or 3
    said = given.copy()
    said[7] = [0, 1, 0, 0]
    evidence = weigh_evidence(given, [said], multi_label=True)
    assert np.isfinite(evidence.log_odds).all()
    assert evidence.log_odds.argmax() == 7
    one = weigh_evidence(given[:, [0, 1]], [said[:, [0, 1]]], multi_label=False)
    assert np.isfinite(one.log_odds).all()
    assert one.log_odds.argmax() == 7


def test_an_image_without_labels_can_be_judged():
    given, _, _, known = atlas(0.0, images=200)
    given[3], known[3] = 0, [0.01, 0.01, 0.99, 0.01, 0.01]
    evidence = weigh_evidence(given, [known], multi_label=True)
    assert evidence.wrong[3].argmax() == 2
    assert np.isfinite(evidence.log_odds).all()


@pytest.mark.parametrize(
    ("targets", "source", "multi_label", "said"),
    [
        ([[1, 0]], [[0.5, np.nan]], True, "row 0"),
        ([[1, 0]], [[0.5, 1.5]], True, "probabilities in"),
        ([[1, 0]], [[0.5]], True, "shape"),
        ([[0.5, 0]], [[0.5, 0.5]], True, "0 and 1"),
        ([[1, 1]], [[0.5, 0.5]], False, "one class"),
        ([[0, 0]], [[0.5, 0.5]], False, "one class"),
    ],
)
def test_what_cannot_be_weighed_is_refused(targets, source, multi_label, said):
    with pytest.raises(ValueError, match=said):
        weigh_evidence(np.array(targets, np.float32), [np.array(source, np.float32)], multi_label)
    with pytest.raises(ValueError, match="at least one source"):
        weigh_evidence(np.ones((1, 2), np.float32), [], True)
