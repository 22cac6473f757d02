"""Fused scores, against the formulas written out, and joined by key."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa.fusion import FusionConfig, MemberConfig, ensemble, fuse, fuse_values
from hpa.labels import ClassList
from hpa.tables import class_table

CLASSES = ClassList(names=("x", "y"))
KEYS = pd.DataFrame({"image_id": ["b", "a", "a"], "cell_id": [1, 1, 2]})
CELL = class_table(KEYS, np.float32([[0.9, 0.1], [0.5, 0.2], [0.0, 0.6]]), CLASSES)
IMAGE = class_table(pd.DataFrame({"image_id": ["a", "b", "c"]}), np.float32([[0.4, 0.8], [0.1, 1.0], [1, 1]]), CLASSES)


def config(how="arithmetic", image=0.3, cell=0.7, **class_weights):
    return FusionConfig(
        members=(
            MemberConfig(name="image", level="image", paths=("i",), weight=image, class_weights=class_weights),
            MemberConfig(name="cell", paths=("c",), weight=cell),
        ),
        how=how,
    )


def values(table):
    return table[["x", "y"]].to_numpy()


def test_arithmetic_with_weights_of_a_class():
    found = fuse({"image": [IMAGE], "cell": [CELL]}, KEYS, CLASSES, config(y=0))
    assert found[["image_id", "cell_id"]].equals(KEYS)
    expected = [[0.3 * 0.1 + 0.7 * 0.9, 0.1], [0.3 * 0.4 + 0.7 * 0.5, 0.2], [0.3 * 0.4, 0.6]]
    np.testing.assert_allclose(values(found), expected, rtol=1e-6)
    assert values(found).dtype == np.float32


def test_geometric():
    found = values(fuse({"image": [IMAGE], "cell": [CELL]}, KEYS, CLASSES, config("geometric", 1, 3)))
    np.testing.assert_allclose(found[0], [0.1**0.25 * 0.9**0.75, 1.0**0.25 * 0.1**0.75], rtol=1e-5)
    np.testing.assert_allclose(found[2, 0], 0.4**0.25 * 1e-7**0.75, rtol=1e-5)  # a 0 hides the other member no more


def test_product_of_cam_and_image():
    found = values(fuse({"image": [IMAGE], "cell": [CELL]}, KEYS, CLASSES, config("product", 1, 1)))
    np.testing.assert_allclose(found[:2], [[0.09, 0.1], [0.2, 0.16]], rtol=1e-5)


def test_runs_of_a_member_become_one_first():
    runs = [CELL, CELL.assign(x=CELL["x"] / 2)]
    member = MemberConfig(name="cell", paths=("a", "b"), ensemble="confidence_weighted")
    found = fuse({"cell": runs}, KEYS, CLASSES, FusionConfig(members=(member,)))
    np.testing.assert_allclose(values(found), ensemble([values(run) for run in runs], "confidence_weighted"), rtol=1e-6)


def test_scores_of_images_alone():
    keys = IMAGE[["image_id"]].iloc[::-1]
    member = MemberConfig(name="image", level="image", paths=("a", "b"))
    found = fuse({"image": [IMAGE, IMAGE]}, keys, CLASSES, FusionConfig(members=(member,)))
    assert found.columns.tolist() == ["image_id", "x", "y"]
    assert found["image_id"].tolist() == ["c", "b", "a"]
    np.testing.assert_allclose(values(found), values(IMAGE)[::-1])


def test_given_weights_stand_in_place_of_the_configured():
    found = fuse({"image": [IMAGE], "cell": [CELL]}, KEYS, CLASSES, config(), np.float64([[1, 0], [0, 2]]))
    np.testing.assert_allclose(values(found), [[0.1, 0.1], [0.4, 0.2], [0.4, 0.6]], rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(rows=st.permutations(range(3)), images=st.permutations(range(3)), how=st.sampled_from(("arithmetic", "product")))
def test_order_of_rows_does_not_matter(rows, images, how):
    shuffled = {"image": [IMAGE.iloc[images]], "cell": [CELL.iloc[rows]]}
    expected = fuse({"image": [IMAGE], "cell": [CELL]}, KEYS, CLASSES, config(how))
    pd.testing.assert_frame_equal(fuse(shuffled, KEYS, CLASSES, config(how)), expected)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6), factor=st.floats(0.1, 10), how=st.sampled_from(("arithmetic", "geometric", "product"))
)
def test_geometric_and_product_rank_alike_and_results_are_probabilities(seed, factor, how):
    rng = np.random.default_rng(seed)
    members = [rng.random((20, 1), np.float32) for _ in range(3)]
    weights = rng.random((3, 1)) + 0.01
    found = fuse_values(members, weights, how)
    assert found.min() >= 0
    assert found.max() <= 1
    if how != "product":  # only the proportions of weights matter
        np.testing.assert_allclose(found, fuse_values(members, weights * factor, how), rtol=1e-5)
    else:
        geometric = fuse_values(members, weights, "geometric").astype(np.float64)
        np.testing.assert_allclose(geometric ** weights.sum(), found, rtol=1e-4)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"image": [IMAGE]}, r"table of every member, but \['cell'\] have none"),
        ({"image": [CELL], "cell": [CELL]}, "image: expected scores of images, .* has the column cell_id"),
        ({"image": [IMAGE], "cell": [IMAGE]}, "cell: expected scores of cells, .* lacks the column cell_id"),
        (
            {"image": [IMAGE[:1]], "cell": [CELL]},
            r"image: expected a row for every image, but 1 are missing \(\['b'\]\)",
        ),
        ({"image": [pd.concat([IMAGE, IMAGE])], "cell": [CELL]}, "image: expected every image once, but a repeats"),
        ({"image": [IMAGE], "cell": [CELL[:2]]}, "cell: expected a row for every cell and no others .*need all folds"),
        ({"image": [IMAGE], "cell": [CELL.assign(x=1.5)]}, "cell: expected scores from 0 to 1"),
        ({"image": [IMAGE], "cell": [CELL.assign(x=np.nan)]}, "expected finite values"),
        ({"image": [IMAGE], "cell": [CELL.drop(columns="y")]}, r"\['y'\] are missing"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tables, message):
    with pytest.raises(ValueError, match=message):
        fuse(tables, KEYS, CLASSES, config())


def test_cells_cannot_be_fused_into_images_and_classes_need_a_member():
    with pytest.raises(ValueError, match="scores of cells cannot be fused into scores of images"):
        fuse({"image": [IMAGE], "cell": [CELL]}, KEYS[["image_id"]], CLASSES, config())
    with pytest.raises(ValueError, match=r"for every class, but \['y'\] have none"):
        fuse({"image": [IMAGE], "cell": [CELL]}, KEYS, CLASSES, config(), np.float64([[1, 0], [0, 0]]))
