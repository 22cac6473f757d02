"""Graded cells: the file, soft labels, other numbers, rank correlation."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hpa.labels import HPA2021, ClassList
from hpa.pseudolabels import (
    RATING_COLUMNS,
    carry_ratings,
    rank_agreement,
    rated_labels,
    read_ratings,
    require_rated_cells,
)

CLASSES = ClassList(names=("a", "b"))
HEAD = "image_id,cell_index_from_0,class,rating_1_to_5,set\n"
ROWS = "x,0,1,5,relabel\nx,1,b,2,relabel\nx,0,1,2,validation\ny,3,a,1,relabel\n"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text(HEAD + ROWS)
    return path


def test_cells_count_from_one_and_repeated_grades_are_averaged(path):
    found = read_ratings(path, CLASSES)
    expected = [("x", 1, 1, 3.5, 2), ("x", 2, 1, 2.0, 1), ("y", 4, 0, 1.0, 1)]
    assert list(found.columns) == list(RATING_COLUMNS)
    assert [tuple(row) for row in found.itertuples(index=False)] == expected


def test_sets_are_chosen(path):
    assert read_ratings(path, CLASSES, ["validation"])["rating"].tolist() == [2.0]
    with pytest.raises(ValueError, match=r"of the sets \['test'\]; the file has \['relabel', 'validation'\]"):
        read_ratings(path, CLASSES, ["test"])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("x,0,1,6,relabel", "line 2: expected a rating from 1 to 5, but got '6'"),
        ("x,0,1,3.5,relabel", "expected a rating from 1 to 5"),
        ("x,-1,1,3,relabel", "expected a cell's index from 0 on, but got '-1'"),
        (",0,1,3,relabel", "expected an image_id"),
        ("x,0,7,3,relabel", "expected one class: class 7 is outside"),
        ("x,0,0|1,3,relabel", "expected one class, but got '0|1'"),
        ("x,0", "expected a rating from 1 to 5, but got None"),
    ],
)
def test_wrong_rows_are_named(tmp_path, row, message):
    path = tmp_path / "ratings.csv"
    path.write_text(HEAD + row + "\n")
    with pytest.raises(ValueError, match=re.escape(message)):
        read_ratings(path, CLASSES)


def test_missing_columns_and_rows_are_named(tmp_path):
    path = tmp_path / "ratings.csv"
    path.write_text("image_id,class\n")
    with pytest.raises(ValueError, match=r"\['cell_index_from_0', 'rating_1_to_5'\] are missing"):
        read_ratings(path, CLASSES)
    path.write_text("image_id,cell_index_from_0,class,rating_1_to_5\nx,0,1,5\n")
    assert len(read_ratings(path, CLASSES)) == 1  # `set` is needed only to choose by it
    with pytest.raises(ValueError, match=r"\['set'\] are missing"):
        read_ratings(path, CLASSES, ["relabel"])
    path.write_text(HEAD)
    with pytest.raises(ValueError, match="at least one rating"):
        read_ratings(path, CLASSES)


def test_ratings_become_soft_labels(path):
    keys = pd.DataFrame({"image_id": ["y", "x", "x"], "cell_id": [4, 2, 1]})
    found = rated_labels(read_ratings(path, CLASSES), keys, CLASSES)
    np.testing.assert_array_equal(found, [[0, np.nan], [np.nan, 0.25], [np.nan, 0.625]])
    steep = rated_labels(read_ratings(path, CLASSES), keys, CLASSES, (0.0, 0.0, 0.5, 1.0, 1.0))
    np.testing.assert_array_equal(steep, [[0, np.nan], [np.nan, 0], [np.nan, 0.75]])
    for wrong in ((0.0, 1.0), (1.0, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0, 2.0)):
        with pytest.raises(ValueError, match="five labels from 0 to 1 that do not fall"):
            rated_labels(read_ratings(path, CLASSES), keys, CLASSES, wrong)


def test_ratings_follow_their_cells_to_other_numbers(path):
    found = carry_ratings(read_ratings(path, CLASSES), {"x": {1: 9}, "z": {4: 4}})
    assert found[["image_id", "cell_id", "rating"]].to_numpy().tolist() == [["x", 9, 3.5]]
    assert list(found.columns) == list(RATING_COLUMNS)
    assert carry_ratings(read_ratings(path, CLASSES), {}).empty


def test_ratings_of_absent_cells_tell_of_other_label_maps(path):
    ratings = read_ratings(path, CLASSES)
    keys = pd.DataFrame({"image_id": ["x", "x"], "cell_id": [1, 2]})
    assert require_rated_cells(ratings, keys)["image_id"].tolist() == ["x", "x"]  # image y is not in the data
    with pytest.raises(ValueError, match=r"cell 1 \(from 0\) of image x was graded, but .* ratings.label_maps"):
        require_rated_cells(ratings, keys[:1])


def test_rank_agreement_is_spearmans():
    keys = pd.DataFrame({"image_id": "x", "cell_id": np.arange(1, 9)})
    rating = np.array([1, 2, 3, 4, 5, 2, 3, 4.0])
    ratings = pd.DataFrame({"image_id": "x", "cell_id": np.arange(1, 9), "class_number": 0, "rating": rating})
    extra = pd.DataFrame({"image_id": ["x", "x", "q"], "cell_id": [1, 2, 1], "class_number": 1, "rating": 3.0})
    scores = np.random.default_rng(0).random((8, 2), np.float32)
    found = rank_agreement(pd.concat([ratings, extra]), keys, scores, CLASSES)
    assert found["class"].tolist() == ["a", "b"]
    assert found["cells"].tolist() == [8, 2]
    assert found["spearman"][0] == pytest.approx(stats.spearmanr(rating, scores[:, 0]).statistic)
    assert np.isnan(found["spearman"][1])


def test_a_winning_teams_file(sample_data):
    found = read_ratings(sample_data / "hpa2021" / "cell_ratings.csv", HPA2021)
    assert found["grades"].sum() == 54
    spindle = found[found["class_number"] == 11]
    assert spindle["rating"].tolist() == [1.0] * 9 + [5.0]  # one dividing cell among ten
    assert spindle["cell_id"].tolist() == list(range(1, 11))
    validation = read_ratings(sample_data / "hpa2021" / "cell_ratings.csv", HPA2021, ["validation"])
    assert validation["grades"].sum() == 6
