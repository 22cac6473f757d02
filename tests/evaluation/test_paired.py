import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from hpa.evaluation import paired
from hpa.evaluation.measures import measure
from hpa.evaluation.paired import Predictor, compare, holm, intervals, resample


def task(items=300, classes=3, seed=0):
    generator = np.random.default_rng(seed)
    return (generator.random((items, classes)) < 0.3).astype(np.float32), generator


def predictor(targets, generator, skill):
    """Probabilities that follow the truth as far as the skill goes."""
    values = skill * targets + generator.normal(0, 1, targets.shape)
    probabilities = (1 / (1 + np.exp(-values))).astype(np.float32)
    return Predictor(probabilities, probabilities >= 0.5)


def test_the_observed_figure_is_the_usual_one():
    targets, generator = task()
    one = predictor(targets, generator, 1.0)
    folds = np.arange(300) % 3
    pooled = resample(targets, {"a": one}, rounds=2)
    assert pooled.observed["a"] == pytest.approx(
        measure(targets, one.probabilities, one.decisions).summary()["macro_ap"]
    )
    by_fold = resample(targets, {"a": one}, folds=folds, rounds=2)
    each = [
        measure(targets[folds == k], one.probabilities[folds == k], one.decisions[folds == k]).summary()["macro_ap"]
        for k in range(3)
    ]
    assert by_fold.observed["a"] == pytest.approx(np.mean(each))


def test_a_better_predictor_is_found_and_an_equal_one_is_not():
    targets, generator = task(600)
    found = compare(
        resample(
            targets,
            {
                "weak": predictor(targets, generator, 0.3),
                "strong": predictor(targets, generator, 2.0),
                "as weak": predictor(targets, generator, 0.3),
            },
            rounds=400,
        )
    ).set_index(["first", "second"])
    assert found.index[0][0] == "strong"
    strong = found.loc["strong"]
    assert (strong["low"] > 0).all()
    assert (strong["probability"] == 1).all()
    assert strong["is_different"].all()
    rest = found.drop("strong", level="first")
    assert not rest["is_different"].any()
    assert (rest["low"] < 0).all()


def test_the_same_predictor_twice_is_a_tie():
    targets, generator = task()
    one = predictor(targets, generator, 1.0)
    row = compare(resample(targets, {"a": one, "b": one}, rounds=50)).iloc[0]
    assert (row["difference"], row["low"], row["high"], row["probability"], row["p"]) == (0, 0, 0, 0.5, 1)
    assert not row["is_different"]


def test_false_alarms_are_about_as_rare_as_promised():
    """Two predictors of equal skill, many times over: 5 % of the tests may say that they differ."""
    alarms = 0
    for seed in range(100):
        targets, generator = task(120, 2, seed)
        pair = {name: predictor(targets, generator, 1.0) for name in "ab"}
        alarms += compare(resample(targets, pair, "accuracy", rounds=200, seed=seed))["is_different"].iloc[0]
    assert alarms <= 13  # a binomial with 100 draws of .05 exceeds it once in 10,000


def test_pairing_is_sharper_than_two_intervals():
    targets, generator = task(400)
    values = targets + generator.normal(0, 1, targets.shape)
    better = values + 0.15 * targets
    pair = {
        name: Predictor((1 / (1 + np.exp(-v))).astype(np.float32), v > 0) for name, v in (("a", better), ("b", values))
    }
    resampled = resample(targets, pair, rounds=300)
    row, own = compare(resampled).iloc[0], intervals(resampled)
    assert row["low"] > 0
    assert own["low"][0] < own["high"][1]  # although their own intervals overlap
    assert row["high"] - row["low"] < (own["high"] - own["low"]).min()


def test_groups_are_drawn_whole():
    targets, generator = task(200)
    one = predictor(targets, generator, 1.0)
    repeated = Predictor(np.repeat(one.probabilities, 10, axis=0), np.repeat(one.decisions, 10, axis=0))
    names = np.repeat([f"patient {k}" for k in range(200)], 10)
    many = np.repeat(targets, 10, axis=0)
    grouped = intervals(resample(many, {"a": repeated}, groups=names, rounds=400)).iloc[0]
    single = intervals(resample(targets, {"a": one}, rounds=400)).iloc[0]
    alone = intervals(resample(many, {"a": repeated}, rounds=400)).iloc[0]
    assert grouped["high"] - grouped["low"] == pytest.approx(single["high"] - single["low"], rel=0.25)
    assert alone["high"] - alone["low"] < 0.5 * (grouped["high"] - grouped["low"])


def test_the_interval_holds_the_truth_about_as_often_as_promised():
    large, generator = task(20_000, 2, 99)
    skill = 0.8
    true = resample(large, {"a": predictor(large, generator, skill)}, "macro_auc", rounds=1).observed["a"]
    inside = 0
    for seed in range(60):
        targets, generator = task(150, 2, seed)
        one = predictor(targets, generator, skill)
        row = intervals(resample(targets, {"a": one}, "macro_auc", rounds=200, seed=seed), level=0.9).iloc[0]
        inside += row["low"] <= true <= row["high"]
    assert 46 <= inside <= 60


def test_batches_of_rounds_change_nothing(monkeypatch):
    targets, generator = task(50)
    one = predictor(targets, generator, 1.0)
    whole = resample(targets, {"a": one}, rounds=20).rounds["a"]
    monkeypatch.setattr(paired, "MEMORY", 8 * 50 * 3)
    np.testing.assert_allclose(resample(targets, {"a": one}, rounds=20).rounds["a"], whole, rtol=1e-12)
    assert not np.allclose(resample(targets, {"a": one}, rounds=20, seed=1).rounds["a"], whole)


def test_all_against_one():
    targets, generator = task()
    three = {name: predictor(targets, generator, 1.0) for name in ("a", "b", "c")}
    resampled = resample(targets, three, rounds=50)
    found = compare(resampled, baseline="b", correction="none")
    assert found[["first", "second"]].to_numpy().tolist() == [["a", "b"], ["c", "b"]]
    assert (found["p"] == found["p_corrected"]).all()
    both = compare(resampled, baseline="b")
    assert (both["p_corrected"] >= both["p"]).all()
    assert len(compare(resample(targets, {"a": three["a"]}, rounds=5))) == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_its_definition(values):
    p = np.array(values)
    corrected = holm(p)
    for level in (0.01, 0.05, 0.2):
        rejected = np.zeros(len(p), bool)
        for step, number in enumerate(np.argsort(p, kind="stable")):
            if p[number] * (len(p) - step) > level:
                break
            rejected[number] = True
        np.testing.assert_array_equal(corrected <= level, rejected)
    assert (corrected >= false_discovery_control(p, method="bh") - 1e-12).all()


def test_what_cannot_be_compared():
    targets, generator = task(10)
    one = predictor(targets, generator, 1.0)
    with pytest.raises(ValueError, match="at least one round"):
        resample(targets, {"a": one}, rounds=0)
    with pytest.raises(ValueError, match="predictors"):
        resample(targets, {})
    with pytest.raises(ValueError, match="a: expected probabilities of shape"):
        resample(targets, {"a": Predictor(one.probabilities[:5], one.decisions[:5])})
    with pytest.raises(ValueError, match="groups: one for each of 10"):
        resample(targets, {"a": one}, groups=["x"])
    resampled = resample(targets, {"a": one}, rounds=3)
    with pytest.raises(ValueError, match="level"):
        intervals(resampled, 1.0)
    with pytest.raises(ValueError, match="baseline: expected one of"):
        compare(resampled, baseline="b")
