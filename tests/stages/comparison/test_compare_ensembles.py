import numpy as np
import pandas as pd
import pytest

from hpa.evaluation.paired import Predictor
from hpa.fusion.combination_config import MeanRule, RankRule, StackingRule
from hpa.labels import ClassList
from hpa.stages.comparison.compare_config import BootstrapConfig
from hpa.stages.comparison.compare_ensembles import ensemble_rows, with_ensembles, with_ensembles_of_test
from hpa.stages.comparison.compare_tables import HeldOut, figure_table, fold_table, interval_table, resampled_figures

CLASSES = ClassList(names=("a", "b"), multi_label=False)
RULES = {"ensemble: mean": MeanRule(), "ensemble: stacking (own)": StackingRule(), "ensemble: rank": RankRule()}


def made(items=60, seed=0):
    """Two variants, the second of which knows the answer, the first nothing."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 2, items)
    targets = np.eye(2, dtype=np.float32)[truth]

    def predictor(share):
        values = np.stack([1 - share, share], axis=1).astype(np.float32)
        return Predictor(values, np.eye(2, dtype=bool)[values.argmax(axis=1)])

    blind = predictor(generator.uniform(0.05, 0.95, items))
    seeing = predictor(np.clip(truth * 0.5 + generator.uniform(0.2, 0.35, items), 0, 1))
    keys = pd.DataFrame({"image_id": [f"i{k}" for k in range(items)], "fold": np.arange(items) % 2, "group": "g"})
    keys["group"] = keys["image_id"]
    return HeldOut(keys, targets, {"blind": blind, "seeing": seeing})


def test_ensembles_stand_beside_their_members():
    found = made()
    joined = with_ensembles(found, RULES, CLASSES, "cross_fitted")
    assert list(joined.predictors) == ["blind", "seeing", *RULES]
    mean = joined.predictors["ensemble: mean"]
    expected = (found.predictors["blind"].probabilities + found.predictors["seeing"].probabilities) / 2
    np.testing.assert_allclose(mean.probabilities, expected, atol=1e-6)
    assert (mean.decisions.argmax(axis=1) == expected.argmax(axis=1)).all()
    stacked = joined.predictors["ensemble: stacking (own)"]
    assert (stacked.decisions == (found.targets > 0)).all(), "it learns whom to believe"
    assert list(found.predictors) == ["blind", "seeing"], "what was given stays"


def test_a_fitted_rule_does_not_see_the_labels_of_its_own_fold():
    found = made()
    first = found.keys["fold"].to_numpy() == 0
    targets = found.targets.copy()
    targets[first] = targets[first][:, ::-1]
    other = HeldOut(found.keys, targets, found.predictors)
    rule = {"s": StackingRule()}
    one, two = (with_ensembles(f, rule, CLASSES, "half").predictors["s"].probabilities for f in (found, other))
    np.testing.assert_array_equal(one[first], two[first])
    assert not np.allclose(one[~first], two[~first])


def test_test_images_are_combined_by_what_the_held_out_ones_taught():
    found, new = made(), made(seed=1)
    test = {name: one.probabilities for name, one in new.predictors.items()}
    joined = with_ensembles_of_test(test, found, RULES, CLASSES)
    assert list(joined) == ["blind", "seeing", *RULES]
    assert (joined["ensemble: stacking (own)"].argmax(axis=1) == new.targets.argmax(axis=1)).all()


def test_a_row_of_an_ensemble_costs_what_its_members_cost():
    joined = with_ensembles(made(), RULES, CLASSES, "half")
    folds = fold_table(joined, CLASSES, ["ensemble: rank"])
    assert folds.loc[folds["variant"] == "ensemble: rank", ["ece", "brier"]].isna().all(axis=None)
    assert folds.loc[folds["variant"] == "ensemble: mean", ["ece", "brier"]].notna().all(axis=None)
    config = BootstrapConfig(statistic="accuracy", figures=("macro_auc",), rounds=20)
    numbers = joined.keys["fold"].to_numpy()
    drawn = resampled_figures(joined.targets, joined.predictors, joined.keys["group"].to_numpy(), numbers, config)
    assert list(drawn) == ["accuracy", "macro_auc"]
    figures = figure_table(folds, interval_table(drawn, 0.95), "accuracy")
    assert figures.loc["seeing", ["value", "low", "high"]].tolist() == [1, 1, 1]
    variants = pd.DataFrame(
        {
            "variant": ["blind", "seeing", "hopeless"],
            "kind": "variant",
            "failure": ["", "", "diverged"],
            "folds": 2,
            "parameters": [1e6, 3e6, np.nan],
            "training_seconds": [5.0, 6.0, np.nan],
            "images_per_second": [100.0, 25.0, np.nan],
            "training_memory_gb": [1.0, 2.0, np.nan],
            "accuracy": [0.5, 1.0, np.nan],
        }
    )
    row = ensemble_rows(["ensemble: mean"], variants, figures).iloc[0]
    assert row["kind"] == "ensemble"
    assert (row["parameters"], row["training_seconds"], row["training_memory_gb"]) == (4e6, 11.0, 2.0)
    assert row["images_per_second"] == pytest.approx(20)
    assert row["accuracy"] == pytest.approx(figures.loc["ensemble: mean", "accuracy"])
    assert not len(ensemble_rows([], variants, figures))
