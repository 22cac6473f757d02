import numpy as np
import pandas as pd

from hpa.report.search import SHOWN, search_report


def written(folder, trials, importances, is_higher_better=True):
    path = search_report(
        folder / "report.html",
        title="Search",
        metric="macro_ap",
        is_higher_better=is_higher_better,
        trials=trials,
        best=int(trials.loc[trials["value"].idxmax() if is_higher_better else trials["value"].idxmin(), "number"]),
        importances=importances,
        logarithmic=["loop.learning_rate"],
        config={"out": "runs/x"},
        command="hpa train_image_level --config best.yaml",
        warnings=["<i>Simulated</i>."],
    )
    return path.read_text()


def made_trials(values):
    count = len(values)
    return pd.DataFrame(
        {
            "number": range(count),
            "folder": [f"{k:04d}" for k in range(count)],
            "outcome": ["finished" if np.isfinite(value) else "cut short" for value in values],
            "value": values,
            "epochs": 3,
            "seconds": 60.0,
            "loop.learning_rate": np.geomspace(1e-4, 1, count),
            "loss": ["{kind: <bce>}" if k % 2 else "{kind: focal}" for k in range(count)],
        }
    )


def test_a_page_of_trials(tmp_path):
    page = written(tmp_path, made_trials([0.25, 0.5, np.nan, 0.375]), {"loop.learning_rate": 0.75, "loss": 0.25})
    assert "trial 2; chosen on these images, so optimistic" in page
    assert "1 cut short" in page
    assert "&lt;bce&gt;" in page
    assert "<bce>" not in page
    assert "&lt;i&gt;Simulated" in page
    assert page.index(">0.500<") < page.index(">0.375<") < page.index(">0.250<") < page.index(">cut short<")
    assert {path.name for path in (tmp_path / "figures").glob("*.png")} >= {
        "course.png",
        "importances.png",
        "values.png",
    }


def test_lower_may_be_better(tmp_path):
    page = written(tmp_path, made_trials([0.25, 0.5]), {}, is_higher_better=False)
    assert "trial 1; chosen" in page
    assert "too few finished trials" in page


def test_a_long_table_is_cut(tmp_path):
    page = written(tmp_path, made_trials(list(np.linspace(0.1, 0.9, SHOWN + 3))), {})
    assert f"The first {SHOWN}; 3 trials more in trials.csv." in page
