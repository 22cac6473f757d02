import numpy as np
import pandas as pd
import pytest

from hpa.config import ConfigError, load_config
from hpa.labels import ClassList
from hpa.submission import ConfidenceConfig, confidences

CLASSES = ClassList(names=("a", "b", "Negative"), exclusive="Negative")
VALUES = np.array([[0.5, 0.2, 0.1], [0.0, 0.0, 0.9], [1.0, 0.3, 0.0], [0.4, 0.4, 0.4]], np.float32)
PROBABILITIES = pd.DataFrame(
    {"image_id": ["x", "x", "y", "y"], "cell_id": [1, 2, 1, 2], **dict(zip(CLASSES.names, VALUES.T, strict=True))}
)
QUALITY = pd.DataFrame(
    {
        "image_id": ["y", "y", "x", "x"],  # another order than the probabilities
        "cell_id": [2, 1, 2, 1],
        "area": [8000, 160_000, 16_000, 40_000],
        "touches_border": [False, True, False, True],
        "visible_nucleus": [np.nan, np.nan, 0.9, 0.25],
    }
)
IMAGES = pd.DataFrame({"image_id": ["y", "x"], "height": [2048, 1024], "width": [2048, 1024]})


def config(*overrides):
    return load_config(ConfidenceConfig, overrides=overrides)


def run(*overrides, quality=QUALITY, images=None):
    return confidences(PROBABILITIES, quality, CLASSES, config(*overrides), images)


def values(table):
    return table[list(CLASSES.names)].to_numpy()


def test_by_default_only_the_floor_is_set():
    table = run(quality=None)
    assert table[["image_id", "cell_id"]].equals(PROBABILITIES[["image_id", "cell_id"]])
    assert (table.dtypes[list(CLASSES.names)] == np.float32).all()
    np.testing.assert_array_equal(values(table), np.maximum(VALUES, np.float32(1e-6)))
    assert (values(table) > 0).all()
    np.testing.assert_array_equal(values(run("floor=0", quality=None)), VALUES)
    np.testing.assert_array_equal(values(run("floor=0.3")), np.maximum(VALUES, np.float32(0.3)))


@pytest.mark.parametrize(
    ("kind", "negative"),
    [("predicted", [0.1, 0.9, 0, 0.4]), ("maximum", [0.5, 1, 0, 0.6]), ("product", [0.4, 1, 0, 0.36])],
)
@pytest.mark.parametrize("without", [False, True])
def test_negative(kind, negative, without):
    table = run(f"negative.kind={kind}", f"others_without_negative={without}", "floor=0")
    np.testing.assert_allclose(table["Negative"], negative, atol=1e-6)
    factor = 1 - np.array(negative) if without else np.ones(4)
    np.testing.assert_allclose(values(table)[:, :2], VALUES[:, :2] * factor[:, None], atol=1e-6)


def test_border_by_visible_nucleus():
    table = run("border.kind=visible_nucleus", "floor=0")
    # x1 shows a quarter; x2 and y2 are inside; y1 is at the border and shows nothing
    np.testing.assert_allclose(values(table), VALUES * np.array([[0.25], [1], [0], [1]]), rtol=1e-6)


def test_border_by_area():
    table = run("border.kind=area", "border.image_side=null", "floor=0")
    np.testing.assert_allclose(values(table), VALUES * np.array([[0.5], [0.5], [1], [0.25]]), rtol=1e-6)


def test_areas_are_measured_at_the_reference_size():
    table = run("border.kind=area", "floor=0", images=IMAGES)
    # x is 1024², where a quarter of the area is as much
    np.testing.assert_allclose(values(table), VALUES * np.array([[1], [1], [1], [0.25]]), rtol=1e-6)


def test_the_floor_holds_after_the_border():
    assert values(run("border.kind=visible_nucleus", "floor=0.01")).min() == np.float32(0.01)


def test_annotators_rule_leaves_out_cells_at_the_border():
    table = run("smallest_visible=0.5", "floor=0")
    assert list(zip(table["image_id"], table["cell_id"], strict=True)) == [("x", 2), ("y", 2)]
    np.testing.assert_array_equal(values(table), VALUES[[1, 3]])
    assert len(run("smallest_visible=0.25")) == 3  # x1 shows exactly that much


def test_no_cells():
    for rule in ("none", "visible_nucleus", "area"):
        table = confidences(
            PROBABILITIES[:0], QUALITY[:0], CLASSES, config(f"border.kind={rule}", "negative.kind=maximum"), IMAGES
        )
        assert len(table) == 0
        assert list(table.columns) == list(PROBABILITIES.columns)


def test_the_input_stays_as_it_is():
    before = PROBABILITIES.copy()
    run("negative.kind=maximum", "others_without_negative=true", "border.kind=visible_nucleus")
    pd.testing.assert_frame_equal(PROBABILITIES, before)


@pytest.mark.parametrize("rule", ["border.kind=visible_nucleus", "border.kind=area", "smallest_visible=0.5"])
def test_rules_that_read_the_cell_table_need_it(rule):
    with pytest.raises(ValueError, match="expected a cell table with the columns"):
        run(rule, quality=None)
    with pytest.raises(ValueError, match="'touches_border'.* are missing"):
        run(rule, quality=QUALITY.drop(columns="touches_border"))
    with pytest.raises(ValueError, match="same keys"):
        run(rule, quality=QUALITY[1:])


def test_what_areas_need():
    with pytest.raises(ValueError, match="needs the sizes of the images"):
        run("border.kind=area")
    with pytest.raises(ValueError, match="that of x is missing"):
        run("border.kind=area", images=IMAGES[:1])
    with pytest.raises(ValueError, match="expected the area of every cell"):
        run("border.kind=area", quality=QUALITY.assign(area=[1, np.nan, 1, 1]), images=IMAGES)


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
def test_probabilities_are_required(value):
    with pytest.raises(ValueError, match=r"expected (finite values|probabilities from 0 to 1.*image y, cell 2)"):
        confidences(PROBABILITIES.assign(b=[0, 0, 0, value]), None, CLASSES, config())


@pytest.mark.parametrize("rule", ["negative.kind=maximum", "negative.kind=product", "others_without_negative=true"])
def test_negative_rules_need_such_a_class(rule):
    with pytest.raises(ValueError, match="class list with `exclusive`"):
        confidences(PROBABILITIES, None, ClassList(names=("a", "b")), config(rule))


def test_quality_columns():
    assert config().quality_columns == ()
    assert config("border.kind=area").quality_columns == ("area", "touches_border")
    assert config("smallest_visible=0.5").quality_columns == ("touches_border", "visible_nucleus")


@pytest.mark.parametrize(
    "override", ["floor=1", "floor=-1", "negative.kind=other", "border.kind=area border.edge_area=0"]
)
def test_configurations_without_sense(override):
    with pytest.raises(ConfigError):
        config(*override.split())
