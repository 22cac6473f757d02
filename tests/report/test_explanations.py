"""The page of an explained image: hostile names, wrong answers, maps of nothing."""

from dataclasses import replace

import numpy as np
import pandas as pd

from hpa.report.explanations import ExplainedClass, ExplainedItem, item_page

CHANNELS = ("red", "green", "blue", "yellow")
KINDS = {"grad_cam": "grad_cam", "lime cells": "lime"}


def example() -> ExplainedItem:
    """Two cells, one of which shows the class."""
    draws = np.random.default_rng(0)
    cells = np.zeros((32, 32), np.uint16)
    cells[2:12, 2:12], cells[18:30, 18:30] = 1, 2
    figures = pd.DataFrame(
        {"insertion": [0.8, 0.7, 0.4], "deletion": [0.2, 0.3, 0.5], "seconds": [0.01, 2.0, np.nan]},
        index=["grad_cam", "lime cells", "random places"],
    ).assign(energy_true_cells=[0.75, np.nan, 0.1], area_true_cells=0.1)
    curves = {name: np.linspace(0, 1, 3, dtype=np.float32) for name in figures.index}
    one = ExplainedClass(
        name="<b>Nucleoli</b>",
        status="wrong",
        probability=0.75,
        planes={
            "grad_cam": draws.random((32, 32)).astype(np.float32),
            "lime cells": -np.ones((32, 32), np.float32),
        },
        shown=(1,),
        brought=dict.fromkeys(CHANNELS, 0.1),
        figures=figures,
        parts=np.linspace(0, 1, 3),
        deletion=curves,
        insertion=curves,
    )
    pixels = draws.integers(0, 256, (4, 32, 32)).astype(np.uint8)
    return ExplainedItem(
        name="a/1 <script>",
        level="cell",
        pixels=pixels,
        channels=CHANNELS,
        cells=cells,
        labelled=("Cytosol",),
        predicted=(one.name,),
        likely={one.name: 0.75},
        classes=[one],
        network="A network.",
    )


def test_a_wrong_answer_is_said_to_be_wrong(tmp_path) -> None:
    page = item_page(tmp_path / "a.html", example(), KINDS, 64, True, 0.005).read_text()
    assert "a/1 &lt;script&gt;" in page
    assert "a/1 <script>" not in page
    assert "<b>Nucleoli" not in page
    assert "answer is wrong: labelled Cytosol" in page
    assert "75 %" in page
    assert "(area 10 %)" in page
    assert "LIME (cells)" in page
    assert page.count("no place speaks for it") == 1
    assert "Green outlines" in page


def test_an_unjudged_item_without_labels_or_cells(tmp_path) -> None:
    item = example()
    bare = replace(
        item.classes[0],
        shown=(),
        figures=pd.DataFrame({"seconds": [0.1, 0.2]}, index=list(KINDS)),
        parts=np.empty(0),
        deletion={},
        insertion={},
        status="predicted",
    )
    unknown = replace(item, cells=None, labelled=None, classes=[bare])
    page = item_page(tmp_path / "a.html", unknown, KINDS, 64, True, 0.005).read_text()
    assert "answer is wrong" not in page
    assert "Does the answer follow the map" not in page
    assert "Green outlines" not in page
    assert "unknown" in page
    assert "Which channel matters?" in page
    only = replace(unknown, pixels=item.pixels[:1], channels=("grey",), classes=[replace(bare, brought={"grey": 0.1})])
    assert "Which channel" not in item_page(tmp_path / "c.html", only, KINDS, 64, True, 0.005).read_text()
    photograph = replace(unknown, pixels=item.pixels[:3], channels=CHANNELS[:3])
    photograph.classes[0].brought.pop("yellow")
    told = item_page(tmp_path / "d.html", photograph, KINDS, 64, True, 0.005).read_text()
    assert "Colour on the image in grey" in told
    assert "Protein" not in told, "the green of a photograph is no protein"
    renamed = replace(item, labelled=item.predicted)
    assert "answer is wrong" not in item_page(tmp_path / "b.html", renamed, KINDS, 64, True, 0.005).read_text()
