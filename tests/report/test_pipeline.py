import numpy as np
import pandas as pd

from hpa.report import LabelledCells, pipeline_report

METHODS = pd.DataFrame(
    {"method": ["copy", "bag", "fused"], "map": [0.2, 0.35, 0.4], "low": [0.15, 0.3, 0.36], "high": [0.25, 0.4, 0.45]}
)
PER_CLASS = pd.DataFrame(
    {"copy": [0.1, 0.3, np.nan], "bag": [0.3, 0.4, np.nan], "fused": [0.4, 0.4, np.nan]},
    index=["Nucleoplasm", "Cytosol", "Negative"],
)


def example():
    cells = np.zeros((60, 60), np.uint16)
    cells[5:30, 5:30], cells[35:55, 30:55] = 1, 2
    picture = np.zeros((60, 60, 3), np.uint8)
    return LabelledCells("a<b>", picture, cells, {1: "Cytosol 0.9", 2: "Golgi 0.4"}, {1: True, 2: False}, ["Cytosol"])


def write(tmp_path, **changes):
    settings = {
        "methods": METHODS,
        "per_class": PER_CLASS,
        "examples": [example()],
        "steps": {"train": 61.0, "segment": 2.0},
        "summary": {"Images": "4 images"},
        "config": {"out": "runs/x"},
    }
    return pipeline_report(tmp_path / "report.html", **(settings | changes)).read_text()


def test_the_page_tells_what_each_step_gained(tmp_path):
    text = write(tmp_path, warnings=["Simulated."])
    for words in (
        "0.400",
        "+0.200",
        "+0.150",
        "0.300 to 0.400",
        "1 of 2 cells",
        "1 min 1 s",
        "a&lt;b&gt;",
        "Simulated.",
    ):
        assert words in text, words
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["classes.png", "methods.png"]


def test_without_a_truth_there_is_nothing_to_score_but_cells_to_look_at(tmp_path):
    unknown = LabelledCells("c", np.zeros((9, 9, 3), np.uint8), np.ones((9, 9), np.uint16), {1: "Cytosol 0.5"})
    text = write(tmp_path, methods=METHODS.iloc[:0], per_class=PER_CLASS.iloc[:, :0], examples=[unknown])
    assert "The truth of these cells is unknown" in text
    assert "Likeliest class right" not in text


def test_the_upper_bound_is_no_step_of_the_chain(tmp_path):
    bound = pd.DataFrame({"method": ["supervised"], "map": [0.5], "low": [0.4], "high": [0.6]})
    methods = pd.concat([METHODS.iloc[:2], bound, METHODS.iloc[2:]])
    text = write(tmp_path, methods=methods, per_class=PER_CLASS.assign(supervised=0.5))
    for words in ("+0.200", "80 %", "upper bound", "+0.050"):  # fused is the best, and is measured against bag
        assert words in text, words
    assert "-0.100" not in text
    assert text.rindex(">supervised<") > text.rindex(">fused<")
