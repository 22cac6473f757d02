import numpy as np
import pandas as pd

from hpa.datasets.grouping import duplicate_sets, group_names, usual_distance


def table(**columns):
    count = len(next(iter(columns.values())))
    return pd.DataFrame({"image_id": [f"i{number}" for number in range(count)], **columns})


def test_without_columns_every_image_is_its_own_group():
    assert group_names(table(x=["a", "a"]), []) == ["i0", "i1"]


def test_values_join_and_empty_ones_do_not():
    assert group_names(table(plate=["p", "", "p", "", None]), ["plate"]) == ["p", "i1", "p", "i3", "i4"]


def test_groups_grow_through_several_columns():
    images = table(plate=["p", "p", "q", "", "r"], duplicate_set=["", "i1", "i1", "i1", ""])
    assert group_names(images, ["plate", "duplicate_set"]) == ["p", "p", "p", "p", "r"]


def test_equal_values_of_different_columns_are_told_apart():
    images = table(plate=["1", "1", "", "i3", ""], patient=["", "", "1", "", "i4"])
    names = group_names(images, ["plate", "patient"])
    assert names == ["plate=1", "plate=1", "patient=1", "plate=i3", "patient=i4"]


def test_an_image_id_that_looks_like_a_group():
    images = pd.DataFrame({"image_id": ["x", "y"], "plate": ["", "x"]})
    assert len(set(group_names(images, ["plate"]))) == 2


def test_duplicate_sets_are_named_by_their_first_image():
    hashes = ["00000000000000ff", "ff00000000000000", "00000000000000fe", "ffffffffffffffff"]
    assert duplicate_sets(["a", "b", "c", "d"], hashes, 1) == ["a", "", "a", ""]
    assert duplicate_sets(["a", "b", "c", "d"], hashes, 0) == ["", "", "", ""]


def test_the_usual_distance_is_smaller_where_the_channels_say_the_same():
    one = np.array([[5], [9]], np.uint64)
    assert usual_distance(one) == 3
    assert usual_distance(np.repeat(one, 3, axis=1)) == 3
    assert usual_distance(np.array([[5, 5], [9, 8]], np.uint64)) == 6
    assert duplicate_sets(["a", "b"], ["00000000000000ff", "000000000000000f"], "auto") == ["", ""]
    assert duplicate_sets(["a", "b"], ["00000000000000ff", "000000000000001f"], "auto") == ["a", "a"]
