import numpy as np
import pytest

from hpa.anomaly.combined import CombinedConfig, combined
from hpa.anomaly.findings import Finding, ShareDecision, ValueDecision, decide, ranks


def make(name: str, scores, share: float = 0.05) -> Finding:
    values = np.asarray(scores, np.float32)
    return Finding(name, values, decide(values, ShareDecision(share=share)))


@pytest.fixture
def three() -> list[Finding]:
    generator = np.random.default_rng(0)
    noise = [generator.normal(size=100) for _ in range(3)]
    noise[1][7] = 50.0  # one detector alone is alarmed by row 7
    for column in noise:
        column[8] = np.quantile(column, 0.9)  # all of them find row 8 a little odd
    return [make(name, column) for name, column in zip("abc", noise, strict=True)]


def test_one_alarming_detector_is_enough_by_the_maximum(three) -> None:
    scores = {rule: combined(three, CombinedConfig(rule=rule)).scores for rule in ("maximum", "fisher", "mean")}
    assert ranks(scores["maximum"])[7] > 0.95
    assert ranks(scores["maximum"])[8] < ranks(scores["maximum"])[7]
    assert ranks(scores["mean"])[8] > ranks(scores["mean"])[7]
    assert ranks(scores["fisher"])[8] > ranks(scores["maximum"])[8]


def test_scores_by_their_formulas(three) -> None:
    shares = np.stack([ranks(found.scores) for found in three], axis=1).astype(float)
    flags = np.stack([found.flags for found in three], axis=1)
    surprise = -np.log(1 - shares) * np.where(flags, 1, 0.5) * [1, 2, 1]
    config = CombinedConfig(weights={"b": 2})
    np.testing.assert_allclose(combined(three, config).scores, surprise.max(axis=1), rtol=1e-4)
    config = CombinedConfig(rule="fisher", weights={"b": 2})
    np.testing.assert_allclose(combined(three, config).scores, surprise.sum(axis=1), rtol=1e-4)
    config = CombinedConfig(rule="mean", weights={"b": 2})
    np.testing.assert_allclose(combined(three, config).scores, shares @ [1, 2, 1] / 4, rtol=1e-4)


def test_any_monotone_change_of_a_detectors_scale_changes_nothing(three) -> None:
    stretched = [
        three[0],
        Finding("b", np.exp(three[1].scores / 10).astype(np.float32), three[1].flags),
        three[2],
    ]
    np.testing.assert_array_equal(
        combined(three, CombinedConfig()).scores, combined(stretched, CombinedConfig()).scores
    )


def test_it_flags_what_any_detector_flags_and_says_which(three) -> None:
    found = combined(three, CombinedConfig())
    assert found.flags.tolist() == np.any([one.flags for one in three], axis=0).tolist()
    assert found.details is not None
    assert found.details["combined_because"].iloc[7] == "b"
    assert (found.details["combined_because"] == "").tolist() == (~found.flags).tolist()
    both = [make("low", [0, 1, 2, 3], 0.5), make("high", [0, 1, 3, 2], 0.5)]
    assert combined(both, CombinedConfig()).details["combined_because"].tolist() == ["", "", "high, low", "low, high"]


def test_a_detector_of_weight_0_neither_scores_nor_flags(three) -> None:
    found = combined(three, CombinedConfig(weights={"b": 0}))
    without = combined([three[0], three[2]], CombinedConfig())
    np.testing.assert_array_equal(found.scores, without.scores)
    assert found.flags.tolist() == without.flags.tolist()


def test_a_decision_of_its_own(three) -> None:
    found = combined(three, CombinedConfig(decision=ValueDecision(threshold=4.0)))
    assert found.flags.tolist() == (found.scores >= 4).tolist()


@pytest.mark.parametrize("rule", ["maximum", "fisher", "mean"])
def test_rows_that_some_could_not_judge(rule) -> None:
    nan = float("nan")
    found = combined([make("a", [1, nan, nan, 2]), make("b", [1, 5, nan, nan])], CombinedConfig(rule=rule))
    assert np.isnan(found.scores).tolist() == [False, False, True, False]
    assert not found.flags[2]


def test_wrong_weights_are_refused(three) -> None:
    with pytest.raises(ValueError, match=r"no detector is called \['d'\].*'a', 'b', 'c'"):
        combined(three, CombinedConfig(weights={"d": 1}))
    with pytest.raises(ValueError, match="weights of 0 or more"):
        CombinedConfig(weights={"a": -1})
    with pytest.raises(ValueError, match="at least one detector"):
        combined(three, CombinedConfig(weights={"a": 0, "b": 0, "c": 0}))
