"""Every label method on an atlas with planted wrong labels, and each score against its formula."""

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from hpa.anomaly.findings import ValueDecision, findings_table
from hpa.anomaly.label_issues import LabelInputs, find_label_issues, label_finding, suggestions, turned_over
from hpa.anomaly.label_methods import (
    AreaUnderMargin,
    Cleanlab,
    Combination,
    LabelLoss,
    LabelMargin,
    NeighbourVote,
    SelfConfidence,
)
from hpa.labels import ClassList

SEVERAL = ClassList(names=("a", "b", "c", "d", "none"), exclusive="none")
ONE = ClassList(names=("a", "b", "c", "d", "none"), multi_label=False)
METHODS = [SelfConfidence(), LabelMargin(), LabelLoss(), Cleanlab(), NeighbourVote(), AreaUnderMargin(), Combination()]


def atlas(classes, images=400, seed=0):
    """Inputs of all kinds that know the truth but for noise, and which labels are wrong."""
    rng = np.random.default_rng(seed)
    true = np.eye(5, dtype=np.float32)[np.arange(images) % 5]
    if classes.multi_label:
        true[::2, 1] = 1
        true[true[:, 4] > 0, :4] = 0
    wrong = rng.random(images) < 0.15
    given = true.copy()
    given[wrong] = np.roll(true, 3, axis=1)[wrong]
    said = 1.5 * (2 * true - 1) + rng.normal(0, 1, true.shape)
    known = 1 / (1 + np.exp(-said)) if classes.multi_label else np.exp(said) / np.exp(said).sum(axis=1, keepdims=True)
    points = true + rng.normal(0, 0.3, true.shape)
    apart = np.linalg.norm(points[:, None] - points, axis=2) + np.diag(np.full(images, np.inf))
    rows = np.argsort(apart, axis=1)[:, :40]
    neighbours = (np.take_along_axis(apart, rows, axis=1).astype(np.float32), rows.astype(np.int64))
    # Training has come halfway to believing the given labels.
    margins = (said + (2 * given - 1)).astype(np.float32)
    if not classes.multi_label:
        others = np.where(np.eye(5, dtype=bool), -np.inf, margins[:, None, :]).max(axis=2)
        margins = (margins - others).astype(np.float32)
    groups = [f"g{i // 2}" for i in range(images)]
    return LabelInputs(given, classes, known.astype(np.float32), neighbours, margins, groups), wrong


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.kind)
@pytest.mark.parametrize("classes", [SEVERAL, ONE], ids=["several", "one"])
def test_every_method_finds_planted_errors(method, classes):
    inputs, wrong = atlas(classes)
    issues = find_label_issues(method, inputs)
    assert roc_auc_score(wrong, issues.scores) > 0.85
    assert issues.scores.dtype == np.float32
    assert wrong[issues.flags].mean() > 0.5
    assert issues.wrong.min() >= 0
    assert issues.wrong.max() <= 1
    turned = turned_over(inputs.targets, issues.wrong, classes)
    true = np.where(wrong[:, None], np.roll(inputs.targets, -3, axis=1), inputs.targets)
    flagged = issues.flags & wrong
    assert np.abs(turned - true)[flagged].mean() < np.abs(inputs.targets - true)[flagged].mean()
    name = f"label_{method.kind}"
    finding = label_finding(name, method, inputs)
    assert finding.details.columns.tolist() == [f"{name}_suggested"]
    assert len(findings_table(finding.details.assign(image_id="x")[["image_id"]], [finding])) == len(wrong)


def test_combination_beats_each_of_its_parts():
    inputs, wrong = atlas(SEVERAL, 1000)
    scores = {method.kind: roc_auc_score(wrong, find_label_issues(method, inputs).scores) for method in METHODS}
    assert max(scores, key=scores.get) == "combination"
    without = LabelInputs(inputs.targets, SEVERAL, inputs.probabilities)
    assert find_label_issues(Combination(), without).evidence.weights != ()
    assert roc_auc_score(wrong, find_label_issues(Combination(), without).scores) > scores["cleanlab"]


@pytest.mark.parametrize("classes", [SEVERAL, ONE], ids=["several", "one"])
def test_other_images_of_a_group_vote_where_groups_bear_the_same_labels(classes):
    inputs, wrong = atlas(classes)
    number = np.arange(len(wrong))
    likeness = number % 10  # true labels go by these
    groups = [f"g{k}-{i // 50}" for k, i in zip(likeness, number, strict=True)]
    method = Combination(group_votes=True)
    without = LabelInputs(inputs.targets, classes, inputs.probabilities)
    alone = roc_auc_score(wrong, find_label_issues(Combination(), without).scores)
    found = find_label_issues(method, LabelInputs(inputs.targets, classes, inputs.probabilities, groups=groups))
    assert roc_auc_score(wrong, found.scores) > max(alone, 0.99)
    mixed = np.random.default_rng(1).permutation(groups).tolist()
    lost = find_label_issues(method, LabelInputs(inputs.targets, classes, inputs.probabilities, groups=mixed))
    assert lost.evidence.weights[1] < 0.1  # groups without a common label are not trusted
    assert roc_auc_score(wrong, lost.scores) > alone - 0.02
    with pytest.raises(ValueError, match="group_votes needs the groups"):
        find_label_issues(method, without)


def test_scores_are_those_of_their_formulas():
    inputs, _ = atlas(SEVERAL, 30)
    given, said = inputs.targets, inputs.probabilities.astype(float)
    likely = np.where(given > 0, said, 1 - said)
    np.testing.assert_allclose(find_label_issues(SelfConfidence(), inputs).scores, 1 - likely.min(axis=1), rtol=1e-5)
    plain = find_label_issues(LabelLoss(relative=False), inputs).scores
    expected = [np.mean([log_loss([g], [p], labels=[0, 1]) for g, p in zip(*rows)]) for rows in zip(given, said)]  # noqa: B905
    np.testing.assert_allclose(plain, expected, rtol=1e-5)
    margins = find_label_issues(LabelMargin(adjusted=False), inputs).scores
    for row in range(30):
        has = given[row] > 0
        assert margins[row] == pytest.approx(said[row][~has].max() - said[row][has].min(), rel=1e-5)
    inputs, _ = atlas(ONE, 30)
    given, said = inputs.targets, inputs.probabilities.astype(float)
    np.testing.assert_allclose(
        find_label_issues(SelfConfidence(), inputs).scores, 1 - (given * said).sum(axis=1), rtol=1e-5
    )
    plain = find_label_issues(LabelLoss(relative=False), inputs).scores
    np.testing.assert_allclose(plain, -np.log((given * said).sum(axis=1)), rtol=1e-5)


def test_a_decision_can_be_chosen():
    inputs, _ = atlas(SEVERAL)
    for method in METHODS:
        decided = method.model_copy(update={"decision": ValueDecision(threshold=1e9)})
        assert not find_label_issues(decided, inputs).flags.any()


def test_an_image_that_was_never_learned_from_keeps_its_evidence():
    inputs, _ = atlas(SEVERAL, 50)
    inputs.margins[7] = np.nan
    assert np.isnan(find_label_issues(AreaUnderMargin(), inputs).scores[7])
    without = find_label_issues(Combination(margin_weight=0), inputs).scores
    assert find_label_issues(Combination(), inputs).scores[7] == without[7]


def test_extreme_images_have_finite_scores():
    classes = ClassList(names=("a", "b", "c"))
    given = np.array([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0]], np.float32)  # none, all; c has no other image
    said = np.array([[0, 0, 0], [1, 1, 1], [0, 1, 1], [0, 1, 0]], np.float32)
    for method in (SelfConfidence(), LabelMargin(), LabelLoss(), Combination()):
        scores = find_label_issues(method, LabelInputs(given, classes, said)).scores
        assert np.isfinite(scores).all()
        assert scores.argmax() == 2


def test_suggestions_keep_labels_possible():
    given = np.array([[1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1], [1, 1, 0, 0, 0], [0, 1, 0, 0, 0]], np.float32)
    wrong = np.full((5, 5), 0.1, np.float32)
    wrong[0, 4] = 0.8  # the exclusive class is new: it drives the other out
    wrong[1, 0] = 0.8  # nothing would be left: the likeliest other comes in
    wrong[1, 2] = 0.3
    wrong[2, 3] = 0.9  # a new class drives the exclusive one out
    wrong[3, 0] = 0.7
    assert suggestions(given, wrong, SEVERAL) == [
        "remove a; add none",
        "remove a; add c",
        "remove none; add d",
        "remove a",
        "",
    ]
    wrong = np.where(given > 0, 0.9, 0.1).astype(np.float32)
    wrong[0, 3] = 0.4
    assert turned_over(given[[0, 1]], wrong[[0, 1]], ONE)[0].tolist() == [0, 0, 0, 1, 0]


def test_what_is_missing_is_named():
    inputs = LabelInputs(np.eye(5, dtype=np.float32), SEVERAL)
    for method, said in (
        (SelfConfidence(), "probabilities"),
        (Cleanlab(), "probabilities"),
        (NeighbourVote(), "embedding"),
        (AreaUnderMargin(), "margins"),
        (Combination(), "probabilities"),
    ):
        with pytest.raises(ValueError, match=said):
            find_label_issues(method, inputs)
    neighbours = (np.ones((5, 1), np.float32), np.array([[1], [2], [3], [4], [0]]))
    with pytest.raises(ValueError, match="groups"):
        find_label_issues(
            NeighbourVote(other_groups=True), LabelInputs(np.eye(5, dtype=np.float32), SEVERAL, neighbours=neighbours)
        )
