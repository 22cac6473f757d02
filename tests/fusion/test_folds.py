"""Folds that tables of scores are out of."""

import pandas as pd
import pytest

from hpa.fusion import folds_of_images, require_folds

CELLS = pd.DataFrame({"image_id": ["a", "a", "b"], "cell_id": [1, 2, 1], "fold": [0, 0, 1]})
IMAGES = pd.DataFrame({"image_id": ["b", "c"], "fold": [1, 2]})


def test_folds_of_all_tables_together():
    assert folds_of_images([CELLS, IMAGES, IMAGES.drop(columns="fold")]).to_dict() == {"a": 0, "b": 1, "c": 2}
    assert folds_of_images([IMAGES.drop(columns="fold")]) is None
    assert folds_of_images([]) is None


def test_scores_out_of_different_folds_do_not_meet():
    with pytest.raises(ValueError, match=r"image b is in the folds \[0, 1\]"):
        folds_of_images([CELLS, IMAGES.assign(fold=0)])


def test_scores_must_be_out_of_the_data_sets_folds():
    folds = pd.Series({"a": 0, "b": 1, "c": 2})
    require_folds([CELLS, IMAGES], folds)
    require_folds([IMAGES.drop(columns="fold")], folds)
    with pytest.raises(ValueError, match="image b is in fold 1 there and 3 in the scores"):
        require_folds([IMAGES.assign(fold=3)], folds)
