import pytest

from hpa.datasets.csv_file import Row
from hpa.datasets.listing import Problems
from hpa.datasets.rows import labelled_rows, own_columns
from hpa.labels import HPA2021


def sort(*cells):
    problems = Problems()
    rows = [Row(line, {"ID": name, "Label": label}) for line, (name, label) in enumerate(cells, 2)]
    good = labelled_rows(rows, lambda row: row.cells["ID"], "Label", HPA2021.parse, problems)
    return {row.image_id: row.classes for row in good}, problems.table()


def test_good_rows_pass():
    good, problems = sort(("a", "8|5|0"), ("b", "18"))
    assert good == {"a": (0, 5, 8), "b": (18,)}
    assert problems.empty


@pytest.mark.parametrize("label", ["", "19", "-1", "3.0", "Golgi", "0|18", "1||2", "1|x"])
def test_bad_labels(label):
    good, problems = sort(("a", "1"), ("b", label))
    assert good == {"a": (1,)}
    assert problems[["image_id", "problem", "row"]].to_numpy().tolist() == [["b", "bad_label", 3]]


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", ""])
def test_unsafe_ids(name):
    good, problems = sort((name, "1"), ("b", "1"))
    assert set(good) == {"b"}
    assert problems["problem"].tolist() == ["unsafe_id"]
    assert problems["row"].tolist() == [2]


def test_repeats_with_the_same_label_count_once():
    good, problems = sort(("a", "1"), ("b", "2"), ("a", "1"), ("a", "1"))
    assert good == {"a": (1,), "b": (2,)}
    assert problems["problem"].tolist() == ["duplicate_id"] * 2
    assert problems["row"].tolist() == [4, 5]
    assert "line 2" in problems["detail"][0]


def test_repeats_with_different_labels_are_all_left_out():
    good, problems = sort(("a", "1"), ("b", "2"), ("a", "3"))
    assert good == {"b": (2,)}
    assert problems["row"].tolist() == [2, 4]
    assert "line 4" in problems["detail"][0]
    assert "line 2" in problems["detail"][1]


def test_columns_of_the_users_own():
    columns = ("ID", "Label", "plate", "width", "group")
    assert own_columns(columns, ("ID", "Label"), ()) == ("plate",)
    assert own_columns(columns, ("ID", None), ("plate",)) == ("Label", "plate")
    with pytest.raises(ValueError, match=r"\['dish'\] are not in the table"):
        own_columns(columns, (), ("dish",))
    with pytest.raises(ValueError, match="rename"):
        own_columns(columns, (), ("width",))
