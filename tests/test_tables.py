import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpa import tables
from hpa.labels import ClassList

CLASSES = ClassList(names=("a", "b"))


@given(st.permutations(range(6)))
def test_align_joins_by_key(order):
    table = pd.DataFrame({"image_id": list("xxyyzz"), "cell_id": [1, 2, 1, 2, 1, 2], "value": range(6)})
    other = table.iloc[order]
    assert tables.align(table, other, tables.CELL_KEY)["value"].tolist() == list(range(6))


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        (["a", "b"], ["a"], "1 are missing from the second"),
        (["a"], ["a", "b"], "1 are only there"),
        (["a", "a"], ["a"], "repeats"),
        (["a"], ["a", "a"], "repeats"),
    ],
)
def test_differing_keys_are_errors(left, right, message):
    with pytest.raises(ValueError, match=message):
        tables.align(pd.DataFrame({"image_id": left}), pd.DataFrame({"image_id": right}))


def test_class_tables_hold_float32(tmp_path):
    values = np.array([[0.25, 1], [0, 0.5]], np.float32)
    table = tables.class_table(pd.DataFrame({"image_id": ["x", "y"]}, index=[5, 6]), values, CLASSES)
    tables.write_table(tmp_path / "t.parquet", table)
    read = tables.read_table(tmp_path / "t.parquet", ["image_id", "a"])
    assert read.dtypes["a"] == np.float32
    np.testing.assert_array_equal(tables.class_values(read, CLASSES), values)


def test_class_values_are_checked():
    with pytest.raises(ValueError, match=r"\['b'\] are missing"):
        tables.class_values(pd.DataFrame({"a": [1.0]}), CLASSES)
    with pytest.raises(ValueError, match="row 1"):
        tables.class_values(pd.DataFrame({"a": [1.0, np.nan], "b": [0.0, 0.0]}), CLASSES)
    with pytest.raises(ValueError, match="shape"):
        tables.class_table(pd.DataFrame({"image_id": ["x"]}), np.zeros((2, 2), np.float32), CLASSES)


def test_a_file_that_is_no_table(tmp_path):
    path = tmp_path / "t.parquet"
    path.write_bytes(b"not parquet at all")
    with pytest.raises(ValueError, match="not a readable parquet table"):
        tables.read_table(path)
    with pytest.raises(FileNotFoundError):
        tables.read_table(tmp_path / "none.parquet")
    tables.write_table(path, pd.DataFrame({"a": [1]}))
    with pytest.raises(ValueError, match=r"\['image_id'\] are missing"):
        tables.read_table(path, ["image_id"])


def test_embeddings(tmp_path):
    keys = pd.DataFrame({"image_id": ["x", "y"]})
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    tables.write_embeddings(tmp_path, keys, values)
    read_keys, read_values = tables.read_embeddings(tmp_path)
    assert isinstance(read_values, np.memmap)
    np.testing.assert_array_equal(read_values, values)
    assert read_keys["image_id"].tolist() == ["x", "y"]
    tables.write_table(tmp_path / "keys.parquet", keys.iloc[:1])
    with pytest.raises(ValueError, match="2 embeddings, but 1 keys"):
        tables.read_embeddings(tmp_path)
