import numpy as np
import pandas as pd
import pytest

from hpa.report.comparison import NAMES, ComparedTest, comparison_report


def made_table(names, kinds, failed=()):
    table = pd.DataFrame(
        {"variant": names, "kind": kinds, "failure": ["diverged" if n in failed else "" for n in names]}
    )
    for place, figure in enumerate(NAMES):
        table[figure] = np.linspace(0.5, 0.7, len(names)) + place / 100
        table[f"{figure}_spread"] = 0.01
    for figure in ("accuracy", "macro_auc"):
        table[f"{figure}_low"], table[f"{figure}_high"] = table[figure] - 0.1, table[figure] + 0.1
    table["value"], table["low"], table["high"] = table["accuracy"], table["accuracy_low"], table["accuracy_high"]
    is_ensemble = table["kind"] == "ensemble"
    table["folds"], table["corrupted_ap"] = 2, 0.4
    table["epochs"] = table["steps"] = np.where(is_ensemble, np.nan, 1234.0)
    table["training_seconds"], table["initial_weights"] = 90.0, "random weights"
    table["parameters"], table["training_memory_gb"] = 2_500_000, np.nan
    table["images_per_second"] = np.where(is_ensemble, 50.0, 100.0)
    return table


def made_pairs(first, second):
    row = {"first": first, "second": second, "difference": -0.2, "low": -0.3, "high": -0.1, "probability": 0.01}
    return pd.DataFrame([row | {"p_corrected": 0.004, "is_different": True}])


def written(folder, table, pairs, *, test=None, robustness=None, multi_label=False):
    trained = table[table["failure"] == ""]
    folds = pd.concat([trained.assign(fold=0), trained.assign(fold=1)])[["variant", "fold", *NAMES]]
    if robustness is None:
        robustness = pd.DataFrame(columns=["variant", "corruption", "macro_ap", "drop", "constant"])
    path = comparison_report(
        folder / "report.html",
        title="Comparison",
        statistic="accuracy",
        level=0.95,
        table=table,
        folds=folds,
        pairs=pairs,
        robustness=robustness,
        multi_label=multi_label,
        test=test,
        summary={"Data": "made up"},
        config={"out": "runs/x"},
        warnings=["A <warning>."],
    )
    return path.read_text()


def test_a_page_of_any_names(tmp_path):
    names = ["<first>", "$second$", "ensemble: mean"]
    table = made_table(names, ["variant", "variant", "ensemble"])
    test = ComparedTest(77, table[["variant", "accuracy", "accuracy_low", "accuracy_high"]], made_pairs(*names[:2]))
    robustness = pd.DataFrame(
        {"variant": ["<first>", "<first>"], "corruption": ["as they are", "blur 2 px"], "macro_ap": [0.5, np.nan]}
    ).assign(drop=0.1, constant=0.25)
    page = written(tmp_path, table, made_pairs(*names[:2]), test=test, robustness=robustness)
    assert "&lt;first&gt;" in page
    assert "<first>" not in page
    assert "A &lt;warning&gt;." in page
    assert "$second$ is better" in page, "a negative difference speaks for the second"
    assert "77 images that no variant learned from" in page
    assert "1 of 1" in page
    assert "trained under one budget; 1 ensemble of them" in page
    assert "1,234" in page
    assert "nan GB" not in page
    assert "A constant predictor has 0.250" in page.replace("\n", " ")
    assert {path.name for path in (tmp_path / "figures").glob("*.png")} >= {"variants.png", "pairs.png", "costs.png"}


def test_intervals_are_of_the_figures_that_were_resampled(tmp_path):
    table = made_table(["a", "b"], ["variant", "variant"])
    page = written(tmp_path, table, made_pairs("a", "b"))
    own = table.iloc[0]
    assert f"{own['accuracy']:.3f} ({own['accuracy_low']:.3f} to {own['accuracy_high']:.3f})" in page
    assert f"{own['macro_f1']:.3f} ± 0.010" in page
    assert f"{own['macro_f1']:.3f} (" not in page


def test_what_failed_is_not_measured(tmp_path):
    table = made_table(["a", "b", "hopeless"], ["variant"] * 3, failed=["hopeless"])
    assert "hopeless" not in written(tmp_path, table, made_pairs("a", "b"))


@pytest.mark.parametrize("multi_label", [False, True])
def test_accuracy_is_a_figure_of_single_label_tasks(tmp_path, multi_label):
    table = made_table(["a", "b"], ["variant", "variant"])
    page = written(tmp_path, table, made_pairs("a", "b"), multi_label=multi_label)
    assert (f"{table['accuracy'].iloc[0]:.3f} ± 0.010" in page) is not multi_label


def test_one_variant_is_left(tmp_path):
    table = made_table(["a", "b"], ["variant", "variant"], failed=["b"])
    assert "nothing to compare it with" in written(tmp_path, table, made_pairs("a", "b").iloc[:0])
