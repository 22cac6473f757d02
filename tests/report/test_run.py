"""The report of a run holds what it was given, for several and for single labels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hpa.evaluation import confused_pairs, evaluate
from hpa.labels import ClassList
from hpa.report import Example, run_report

HISTORY = pd.DataFrame(
    {
        "epoch": [1, 2, 1, 2],
        "fold": [0, 0, 1, 1],
        "train_loss": [0.7, 0.5, 0.7, 0.4],
        "learning_rate": 1e-3,
        "macro_ap": 0.4,
    }
)


def multi():
    classes = ClassList(names=("Nucleoplasm", "<b>Golgi</b>", "never"))
    generator = np.random.default_rng(0)
    targets = (generator.random((80, 3)) < [0.5, 0.1, 0]).astype(np.float32)
    probabilities = (0.3 * targets + 0.7 * generator.random((80, 3))).astype(np.float32)
    return evaluate(targets, probabilities, classes, folds=np.arange(80) % 4)


def single():
    generator = np.random.default_rng(0)
    targets = np.eye(2, dtype=np.float32)[generator.integers(0, 2, 60)]
    probabilities = generator.dirichlet([1, 1], 60).astype(np.float32)
    return evaluate(targets, probabilities, ClassList(names=("healthy", "metastatic"), multi_label=False))


def report(path: Path, found, **more) -> str:
    """Everything an evaluation gives, in the form a stage hands it on."""
    run_report(
        path,
        title="Run: demo",
        metrics={**found.metrics, "seconds": 192.0, "peak_memory_gb": 3.25},
        per_class=found.per_class,
        multi_label=found.classes.multi_label,
        rule=found.rule,
        confusion=found.confusion,
        reliability=found.reliability,
        precision_recall=found.precision_recall,
        history=HISTORY,
        **more,
    )
    return path.read_text(encoding="utf-8")


def test_multi_label(tmp_path: Path) -> None:
    found = multi()
    example = Example("<i>id</i>", np.zeros((8, 8, 3), np.uint8), ("Nucleoplasm",), ("<b>Golgi</b>",))
    html = report(
        tmp_path / "report.html",
        found,
        examples=[example],
        summary={"Model": "lite0 <4 channels>"},
        config={"model": {"name": "lite0", "head": {}}, "seed": 3},
        figures=tmp_path / "figures",
    )
    assert "<b>" not in html
    assert "<i>" not in html
    assert "&lt;b&gt;Golgi&lt;/b&gt;" in html
    for text in (
        f"{found.metrics['macro_ap']:.3f}",
        f"{found.metrics['macro_ap_constant']:.3f}",
        f"{found.metrics['macro_f1_cross_fitted']:.3f}",
        "Measured on 80 images",
        "No image has never",
        "Fewer than 20 images",
        "3 min 12 s",
        "at most 3.2 GB of memory",
        "lite0 &lt;4 channels&gt;",
        "model.name",
        "✗ wrong",
        "tuned on the other folds",
    ):
        assert text in html, text
    assert "random weights" not in html
    names = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert names == {"average_precision", "precision_recall", "confusion", "calibration", "history"}


def test_single_label(tmp_path: Path) -> None:
    found = single()
    html = report(tmp_path / "report.html", found)
    assert f"{found.metrics['accuracy']:.3f}" in html
    assert "the diagonal holds the images decided right" in html
    assert "<th>threshold</th>" not in html
    assert 'class="right">threshold' not in html


def test_the_pairs_most_confused_are_named_in_order(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    names = tuple(f"line {number}" for number in range(7))
    targets = np.eye(7, dtype=np.float32)[generator.integers(0, 5, 80)]  # two classes that no image has
    probabilities = (generator.dirichlet(np.ones(7), 80) * 0.9 + 0.1 * targets).astype(np.float32)
    found = evaluate(targets, probabilities, ClassList(names=names, multi_label=False))
    pairs = confused_pairs(found.confusion)
    html = report(tmp_path / "report.html", found, confused=pairs)
    first, last = (f"<td>{row.first} / {row.second}</td>" for row in pairs.iloc[[0, 9]].itertuples())
    assert html.index("The pairs most confused") < html.index(first) < html.index(last)
    assert f"{len(pairs) - 10} more pairs" in html


@pytest.mark.parametrize("told", ["none", "random weights"])
def test_random_weights_are_told_first(tmp_path: Path, told: str) -> None:
    html = report(
        tmp_path / "report.html",
        multi(),
        initial_weights=told,
        random_weights=True,
        warnings=["mind the gap"],
    )
    assert html.index('role="alert"') < html.index("<h2>")
    assert "started from random weights, not from" in html
    assert "mind the gap" in html


def test_bare_minimum(tmp_path: Path) -> None:
    found = multi()
    path = run_report(
        tmp_path / "r.html", title="t", metrics={}, per_class=found.per_class, multi_label=True, rule="unknown"
    )
    html = path.read_text(encoding="utf-8")
    assert "How well each class is recognised" in html
    assert "What is mistaken for what" not in html


def test_one_class(tmp_path: Path) -> None:
    classes = 1
    per_class = pd.DataFrame(
        {
            "class": [f"class {number}" for number in range(classes)],
            "positives": np.arange(classes) + 1,
            **{
                name: np.linspace(0.1, 1, classes) for name in ("ap", "ap_constant", "auc", "f1", "precision", "recall")
            },
            "threshold": 0.5,
            "ece": 0.1,
            "missed": 1,
        }
    )
    names = per_class["class"].tolist()
    confusion = pd.DataFrame(np.full((classes, classes), np.nan), names, names)
    path = run_report(
        tmp_path / "r.html",
        title="t",
        metrics={"macro_ap": 0.5},
        per_class=per_class,
        multi_label=True,
        rule="threshold 0.5",
        confusion=confusion,
    )
    assert path.read_text(encoding="utf-8").count("class 0") == 2  # in the table, and as one with few images
