import numpy as np
import pandas as pd

from hpa.report import TrueAndFound, segmentation_training_report

METRICS = {"cells_f1": 0.91, "epoch": 2, "seconds": 65.0, "peak_memory_gb": 1.234}
HISTORY = pd.DataFrame({"epoch": [1, 2], "train_loss": [1.0, 0.5], "loss": [0.9, 0.6], "cells_f1": [0.2, np.nan]})


def write(tmp_path, **changes):
    settings = {
        "metrics": METRICS,
        "history": HISTORY,
        "examples": [],
        "config": {"loop": {"epochs": 2}},
        "initial_weights": "random weights",
        "match_iou": 0.6,
    }
    return segmentation_training_report(tmp_path / "report.html", **(settings | changes)).read_text()


def test_the_page_shows_figures_history_and_settings(tmp_path):
    text = write(tmp_path, warnings=["Simulated."])
    for words in ("0.910", "1 min 5 s", "random weights", "loop.epochs", "Simulated.", "No examples"):
        assert words in text, words
    assert "Nuclei found" not in text  # nothing is known about them
    assert (tmp_path / "figures" / "history.png").is_file()


def test_examples_stand_beside_their_truth(tmp_path):
    found = np.ones((30, 30), np.uint16)
    example = TrueAndFound(
        "image 7", np.zeros((3, 30, 30), np.uint8), ("red", "yellow", "blue"), None, found, {"cells": 1.0}
    )
    text = write(tmp_path, examples=[example])
    assert "image 7" in text
    assert text.count("data:image/jpeg") == 2
