"""Policies and limits: what becomes of every image and every class."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa.anomaly.denoising import decisions_table, limit, moves_table, propose
from hpa.anomaly.denoising_policy import DropPolicy, LimitsConfig, RelabelPolicy, Rule, RulesPolicy, WeightPolicy
from hpa.labels import ClassList
from hpa.tables import class_values

CLASSES = ClassList(names=("common", "rare", "absent"))
NO_LIMITS = LimitsConfig(share=1, least=0)


def findings(scores, flags, name="blur"):
    return pd.DataFrame({f"{name}_score": np.asarray(scores, np.float32), f"is_{name}": flags})


def table(policy, found, targets, corrected=None, limits=NO_LIMITS, classes=CLASSES):
    proposal = limit(propose(policy, found, targets, corrected), targets, limits, classes)
    keys = pd.DataFrame({"image_id": [f"i{row}" for row in range(len(targets))]})
    return decisions_table(keys, proposal, classes)


@pytest.fixture
def six():
    targets = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0]], np.float32)
    found = findings([0.9, 0.1, 0.8, np.nan, 0.2, 0.3], [True, False, True, False, False, False])
    return targets, found


def test_flagged_images_are_dropped_and_stay_in_the_table(six):
    targets, found = six
    decisions = table(DropPolicy(detectors=("blur",)), found, targets)
    assert decisions["action"].tolist() == ["drop", "keep", "drop", "keep", "keep", "keep"]
    assert decisions["weight"].tolist() == [0, 1, 0, 1, 1, 1]
    assert decisions["weight"].dtype == np.float32
    assert decisions.columns.tolist() == ["image_id", "action", "weight", *CLASSES.names, "reason"]
    assert decisions["reason"].tolist() == ["blur", "", "blur", "", "", ""]
    np.testing.assert_array_equal(class_values(decisions, CLASSES), targets)


def test_any_of_several_detectors_drops(six):
    targets, found = six
    other = findings([0] * 6, [False, True, True, False, False, False], "odd")
    decisions = table(DropPolicy(detectors=("blur", "odd")), pd.concat([found, other], axis=1), targets)
    assert decisions["reason"].tolist() == ["blur", "odd", "blur", "", "", ""]


def test_weights_fall_with_the_rank_or_with_the_odds(six):
    targets, found = six
    weights = table(WeightPolicy(detector="blur", share=0.5, least=0.2), found, targets)["weight"]
    # Of five scores the ranks are 0.9, 0.1, 0.7, none, 0.3, 0.5; the worst half begins at 0.5.
    np.testing.assert_allclose(weights, [1 - 0.8 * 0.8, 1, 1 - 0.8 * 0.4, 1, 1, 1], rtol=1e-5)
    odds = findings([np.log(3), -50, 50, np.nan, 0, -np.log(3)], [False] * 6)
    decisions = table(WeightPolicy(detector="blur", doubt="log_odds"), odds, targets)
    np.testing.assert_allclose(decisions["weight"], [0.25, 1, 0, 1, 0.5, 0.75], rtol=1e-5)
    assert decisions["action"].tolist() == ["weight", "keep", "drop", "keep", "weight", "weight"]


def test_labels_are_mixed_with_corrected_ones(six):
    targets, found = six
    corrected = np.full(targets.shape, 0.4, np.float32)
    corrected[2] = [0.1, 0.9, 0.7]
    soft = class_values(table(RelabelPolicy(detectors=("blur",), strength=0.5), found, targets, corrected), CLASSES)
    np.testing.assert_allclose(soft[0], [0.7, 0.2, 0.2], rtol=1e-5)
    np.testing.assert_allclose(soft[2], [0.55, 0.95, 0.35], rtol=1e-5)
    np.testing.assert_array_equal(soft[[1, 3, 4, 5]], targets[[1, 3, 4, 5]])
    hard = class_values(table(RelabelPolicy(detectors=("blur",), hard=True), found, targets, corrected), CLASSES)
    assert hard[0].tolist() == [1, 0, 0]  # nothing reaches 0.5: the likeliest, and the first of equals
    assert hard[2].tolist() == [0, 1, 1]
    everywhere = table(RelabelPolicy(detectors=("blur",), everywhere=True), found, targets, corrected)
    np.testing.assert_allclose(class_values(everywhere, CLASSES), corrected)
    assert set(everywhere["action"]) == {"relabel"}


def test_agreeing_corrections_keep_the_image(six):
    targets, found = six
    decisions = table(RelabelPolicy(detectors=("blur",)), found, targets, targets.copy())
    assert set(decisions["action"]) == {"keep"}
    assert decisions["reason"][0] == "blur; the evidence agrees with the label"


def test_the_first_rule_that_applies_decides(six):
    targets, found = six
    odd = findings([0] * 6, [True, True, False, False, False, False], "odd")
    label = findings([0] * 6, [False, False, False, True, False, True], "label")
    rules = (
        Rule(detector="odd", action="weight", weight=0.3),
        Rule(detector="blur", action="drop"),
        Rule(detector="label", action="relabel"),
    )
    corrected = np.roll(targets, 1, axis=1)
    decisions = table(RulesPolicy(rules=rules), pd.concat([found, odd, label], axis=1), targets, corrected)
    assert decisions["action"].tolist() == ["weight", "weight", "drop", "relabel", "keep", "relabel"]
    np.testing.assert_allclose(decisions["weight"], [0.3, 0.3, 0, 1, 1, 1])
    np.testing.assert_array_equal(class_values(decisions, CLASSES)[3], corrected[3])


def test_the_worst_images_go_first_and_rare_classes_stay(six):
    targets, _ = six
    found = findings([1, 2, 9, 4, 5, 6], [True] * 6)
    decisions = table(DropPolicy(detectors=("blur",)), found, targets, limits=LimitsConfig(share=0.6, least=2))
    # The rare class has two images, both of which are kept; the common class may lose 3 of 5, of which 2 stays too.
    assert decisions["action"].tolist() == ["keep", "drop", "keep", "drop", "keep", "drop"]
    assert "rare has lost enough" in decisions["reason"][2]
    assert "common has lost enough" in decisions["reason"][0]


POLICIES = [
    DropPolicy(detectors=("blur",)),
    WeightPolicy(detector="blur", share=0.9),
    RelabelPolicy(detectors=("blur",), everywhere=True),
    RulesPolicy(rules=(Rule(detector="blur", action="relabel", weight=0.2),)),
]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.kind)
@given(seed=st.integers(0, 10_000), share=st.floats(0, 1), least=st.integers(0, 12))
@settings(max_examples=15, deadline=None)
def test_no_class_loses_more_than_its_limit(policy, seed, share, least):
    rng = np.random.default_rng(seed)
    targets = (rng.random((40, 3)) < [0.6, 0.1, 0]).astype(np.float32)
    found = findings(rng.random(40), rng.random(40) < 0.7)
    corrected = rng.random((40, 3)).astype(np.float32)
    decisions = table(policy, found, targets, corrected, LimitsConfig(share=share, least=least))
    labels, weights = class_values(decisions, CLASSES), decisions["weight"].to_numpy()[:, None]
    left = (np.minimum(weights * labels, 1) * targets).sum(axis=0)
    counts = targets.sum(axis=0)
    assert (left >= np.maximum((1 - share) * counts, np.minimum(least, counts)) - 1e-3).all()
    assert labels.min() >= 0
    assert labels.max() <= 1
    assert ((decisions["action"] == "drop") == (decisions["weight"] == 0)).all()
    free = table(policy, found, targets, corrected)
    proposal = propose(policy, found, targets, corrected)
    np.testing.assert_array_equal(class_values(free, CLASSES), proposal.labels)  # without limits nothing is held back
    np.testing.assert_array_equal(free["weight"], proposal.weights)


def test_single_labels_still_sum_to_one_where_limits_hold_them():
    classes = ClassList(names=("a", "b"), multi_label=False)
    targets = np.eye(2, dtype=np.float32)[[0, 0, 0, 1]]
    found = findings([1, 2, 3, 4], [True] * 4)
    corrected = np.full((4, 2), 0.5, np.float32)
    decisions = table(
        RelabelPolicy(detectors=("blur",)), found, targets, corrected, LimitsConfig(share=0.3, least=1), classes
    )
    labels = class_values(decisions, classes)
    np.testing.assert_allclose(labels.sum(axis=1), 1)
    assert labels[3].tolist() == [0, 1]  # the only image of b
    np.testing.assert_allclose(labels[:3, 0], [1, 0.6, 0.5], rtol=1e-5)  # 0.9 of three images may go


def test_moves_are_counted_per_class(six):
    targets, found = six
    corrected = targets.copy()
    corrected[0] = [0.25, 0.75, 0]
    rules = (Rule(detector="label", action="relabel"), Rule(detector="blur", action="drop"))
    label = findings([0] * 6, [True, False, False, False, False, False], "label")
    decisions = table(RulesPolicy(rules=rules), pd.concat([found, label], axis=1), targets, corrected)
    moves = moves_table(decisions, targets, CLASSES).set_index("class")
    assert moves.loc["common", ["given", "kept", "dropped", "lighter", "relabelled"]].tolist() == [5, 3, 1, 0, 1]
    assert moves.loc["rare", ["given", "kept", "dropped"]].tolist() == [2, 1, 1]
    np.testing.assert_allclose(moves.loc["common", ["removed", "added", "learned"]].astype(float), [0.75, 0, 3.25])
    np.testing.assert_allclose(moves.loc["rare", ["removed", "added", "learned"]].astype(float), [0, 0.75, 1.75])
    assert moves.loc["absent"].tolist() == [0] * 9


def test_what_cannot_be_decided_is_refused(six):
    targets, found = six
    with pytest.raises(ValueError, match=r"called 'focus', but there are those of \['blur'\]"):
        propose(DropPolicy(detectors=("focus",)), found, targets, None)
    with pytest.raises(ValueError, match="corrected labels; give `probabilities`"):
        propose(RelabelPolicy(detectors=("blur",)), found, targets, None)
    with pytest.raises(ValueError, match="as many findings"):
        propose(DropPolicy(detectors=("blur",)), found.iloc[:3], targets, None)
