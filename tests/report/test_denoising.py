"""The page about decisions."""

import numpy as np
import pandas as pd

from hpa.report.denoising import DecidedExample, denoising_report
from hpa.report.gallery import make_example

MOVES = {
    "class": ["<b>Golgi</b>", "Cytosol"],
    "given": [10, 2],
    "kept": [6, 0],
    "dropped": [2, 2],
    "lighter": [1, 0],
    "relabelled": [1, 0],
    "removed": [0.5, 0.0],
    "added": [0.25, 0.0],
    "learned": [8.25, 0.0],
    "limited": [1, 0],
}


def page(tmp_path, examples=(), truth=None, moves=MOVES):
    decisions = pd.DataFrame(
        {"action": ["keep", "drop", "relabel"], "weight": [1.0, 0.0, 1.0], "reason": ["", "blur; kept, as", "label"]}
    )
    path = denoising_report(
        tmp_path / "report.html",
        decisions=decisions,
        moves=pd.DataFrame(moves),
        classes=["<b>Golgi</b>", "Cytosol"],
        channels=("red", "green", "blue", "yellow"),
        examples=examples,
        truth=truth,
        summary={"policy": "drop"},
    )
    return path.read_text()


def test_pictures_say_what_is_learned_and_why(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (4, 32, 32), dtype=np.uint8)
    example = make_example("<script>x", pixels, ("red", "green", "blue", "yellow"), ["Cytosol"])
    examples = [
        DecidedExample("relabel", example, {"<b>Golgi</b>": 0.81}, 0.5, "label"),
        DecidedExample("drop", example, {}, 0.0, "blur"),
    ]
    text = page(tmp_path, examples)
    assert "&lt;b&gt;Golgi&lt;/b&gt; 0.81" in text
    assert "<script" not in text
    assert "Not learned from" in text
    assert "Held back" not in text.split("<h2>Pictures")[1]
    assert text.count("data:image/jpeg") == 4  # composite and protein of both
    assert (tmp_path / "figures" / "moves.png").is_file()


def test_emptied_classes_are_a_warning(tmp_path):
    text = page(tmp_path)
    assert "Nothing is left to learn of Cytosol" in text
    assert "No image was changed" in text
    assert "Against the truth" not in text


def test_grown_classes_are_a_warning_and_the_truth_is_shown(tmp_path):
    truth = {
        "wrong": 5,
        "wrong_changed": 3,
        "right_changed": 1,
        "squared_error_before": 0.5,
        "squared_error_after": 0.2,
    }
    moves = MOVES | {"added": [30.0, 0.0], "learned": [40.0, 2.0]}
    text = page(tmp_path, truth=truth, moves=moves)
    assert "More labels were added than there were: &lt;b&gt;Golgi" in text
    assert "of 5 that were planted" in text
