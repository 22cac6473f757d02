"""What `score` refuses, and that the message says where."""

import pandas as pd
import pytest

from hpa.evaluation import score
from hpa.labels import ClassList

TWO = ClassList(names=("x", "y"))


def table(**changes: object) -> pd.DataFrame:
    columns = {"image_id": ["a", "b"], "height": 2, "width": 2, "class_number": [0, 1], "counts": [b"13", b"13"]}
    return pd.DataFrame({**columns, "confidence": [0.5, 0.6], **changes})


def test_accepts() -> None:
    assert score(table(), table(), TWO).map == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"confidence": [0.5, float("nan")]}, r"finite confidences, but row 1 of `predictions` \(image 'b'\) has nan"),
        ({"confidence": [float("inf"), 0.1]}, r"row 0 of `predictions`"),
        ({"confidence": ["0.5", "high"]}, r"numbers in `confidence`"),
        ({"class_number": [0, 2]}, r"classes from 0 to 1, but row 1 of `predictions` \(image 'b'\) has class 2"),
        ({"class_number": [-1, 0]}, r"has class -1"),
        ({"class_number": [0.5, 1]}, r"whole numbers in `class_number` of `predictions`, but it holds float64"),
        ({"class_number": pd.Series([0, None], dtype="Int64")}, r"whole numbers in `class_number`"),
        ({"height": [2, 3]}, r"row 1 of `predictions` \(image 'b'\) has height 3 instead of 2"),
        ({"width": [4, 2]}, r"has width 4 instead of 2"),
        ({"counts": ["13", "13"]}, r"`counts` of `predictions` to hold bytes alone, but it holds string"),
        ({"image_id": [1, 2]}, r"`image_id` of `predictions` to hold string alone, but it holds integer"),
        ({"image_id": ["a", None]}, r"`image_id` of `predictions`"),
    ],
)
def test_predictions_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(table(), table(**changes), TWO)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_number": [0, 9]}, r"row 1 of `truth` \(image 'b'\) has class 9"),
        ({"counts": [b"13", None]}, r"`counts` of `truth`"),
        ({"image_id": ["a", "a"], "height": [2, 4]}, r"one size per image, but 'a' has 2 × 2 and 2 × 4"),
    ],
)
def test_truth_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(table(**changes), table(), TWO)


def test_columns_refused() -> None:
    with pytest.raises(ValueError, match=r"in `predictions`, but \['confidence'\] are missing"):
        score(table(), table().drop(columns="confidence"), TWO)
    with pytest.raises(ValueError, match=r"in `truth`, but \['counts'\] are missing"):
        score(table().drop(columns="counts"), table(), TWO)
    with pytest.raises(ValueError, match=r"in `images`, but \['width'\] are missing"):
        score(table(), table(), TWO, images=table()[["image_id", "height"]])


def test_images_refused() -> None:
    sizes = table()[["image_id", "height", "width"]]
    with pytest.raises(ValueError, match=r"every object on one of the 1 images, but row 1 of `truth` \(image 'b'\)"):
        score(table(), table(), TWO, images=sizes[:1])
    with pytest.raises(ValueError, match="truth"):
        score(table(), table(), TWO, images=sizes.assign(height=3))
    with pytest.raises(ValueError, match="at least one image"):
        score(table()[:0], table(), TWO)


def test_a_repeated_image_is_one_image() -> None:
    sizes = pd.concat([table()[["image_id", "height", "width"]]] * 2)
    assert len(score(table(), table(), TWO, images=sizes).images) == 2


def test_sizes_outside_the_truth_do_not_matter() -> None:
    predictions = table(image_id=["a", "elsewhere"], height=[2, 99])
    assert score(table(), predictions, TWO).left_out["outside"] == 1
