"""Tables keyed by `image_id` or `(image_id, cell_id)`: reading, writing, checking and joining by key."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpa.arrays import EmbeddingArray, Targets
from hpa.artifacts import atomic_write
from hpa.labels import ClassList

IMAGE_KEY = ("image_id",)
CELL_KEY = ("image_id", "cell_id")

IMAGE_COLUMNS = (
    "image_id",  # str
    "paths",  # list[str]: one file per channel, or one file that holds them all
    "width",  # int, pixels
    "height",  # int, pixels
    "bit_depth",  # int: 8 or 16, of the values, not of the file
    "group",  # str: images of one group share a fold
    "source",  # str: kind of the source
)
"""Columns that every ImageTable has; sources may add their own (antibody, plate, patient, ...)."""


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table as parquet, atomically; the index is left out."""
    with atomic_write(path, "wb") as stream:
        table.to_parquet(stream, index=False)


def read_table(path: Path, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Read a parquet table and check that the columns are there.

    Raises:
        ValueError: not a parquet file, or a column is missing.
        OSError: the file cannot be opened.
    """
    with path.open("rb") as stream:
        try:
            table = pd.read_parquet(stream)
        except (ValueError, OSError) as error:
            raise ValueError(f"{path}: is not a readable parquet table ({error})") from None
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(f"{path}: expected the columns {list(columns)}, but {missing} are missing")
    return table


def align(table: pd.DataFrame, other: pd.DataFrame, key: Sequence[str] = IMAGE_KEY) -> pd.DataFrame:
    """The rows of `other` in the order of `table`'s keys.

    Raises:
        ValueError: a key repeats, or the two tables do not hold the same keys; names some of them.

    >>> left, right = pd.DataFrame({"image_id": ["a", "b"]}), pd.DataFrame({"image_id": ["b", "a"], "x": [1, 2]})
    >>> align(left, right)["x"].tolist()
    [2, 1]
    """
    wanted = pd.MultiIndex.from_frame(table[list(key)])
    found = pd.MultiIndex.from_frame(other[list(key)])
    for name, index in (("first", wanted), ("second", found)):
        if not index.is_unique:
            example = index[index.duplicated()][0]
            raise ValueError(f"expected every {'+'.join(key)} once in the {name} table, but {example} repeats")
    positions = found.get_indexer(wanted)
    extra = found.difference(wanted)
    if (positions < 0).any() or len(extra):
        missing = wanted[positions < 0]
        raise ValueError(
            f"expected two tables with the same keys, but {len(missing)} are missing from the second "
            f"({list(missing[:3])}) and {len(extra)} are only there ({list(extra[:3])})"
        )
    return other.iloc[positions].reset_index(drop=True)


def class_table(keys: pd.DataFrame, values: Targets, classes: ClassList) -> pd.DataFrame:
    """A table of labels or probabilities: the key columns, then one float32 column per class."""
    if values.shape != (len(keys), len(classes)):
        raise ValueError(f"expected values of shape {(len(keys), len(classes))}, but got {values.shape}")
    columns = pd.DataFrame(np.asarray(values, np.float32), columns=list(classes.names))
    return pd.concat([keys.reset_index(drop=True), columns], axis=1)


def class_values(table: pd.DataFrame, classes: ClassList) -> Targets:
    """The float32 values of a labels or probabilities table, one column per class, in the list's order.

    Raises:
        ValueError: a class has no column, or a value is not finite.
    """
    missing = [name for name in classes.names if name not in table.columns]
    if missing:
        raise ValueError(f"expected one column per class, but {missing} are missing")
    values: Targets = table[list(classes.names)].to_numpy(np.float32)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise ValueError(f"expected finite values, but row {row} is {values[row].tolist()}")
    return values


def write_embeddings(folder: Path, keys: pd.DataFrame, values: EmbeddingArray) -> None:
    """Write embeddings as `values.npy` (can be memory-mapped) and `keys.parquet`, row by row the same."""
    with atomic_write(folder / "values.npy", "wb") as stream:
        np.save(stream, np.asarray(values, np.float32), allow_pickle=False)
    write_table(folder / "keys.parquet", keys)


def read_embeddings(folder: Path) -> tuple[pd.DataFrame, EmbeddingArray]:
    """Keys and memory-mapped values.

    Raises:
        ValueError: the two files do not belong together.
    """
    values = np.load(folder / "values.npy", mmap_mode="r", allow_pickle=False)
    keys = read_table(folder / "keys.parquet")
    if len(keys) != len(values):
        raise ValueError(f"{folder}: {len(values)} embeddings, but {len(keys)} keys")
    return keys, values


def json_value(value: Any) -> Any:
    """A cell of a table as JSON knows it: None for NaN and infinity, Python's numbers for NumPy's, others as they are.

    >>> json_value(float("nan")), json_value(np.int64(3)), json_value("none")
    (None, 3, 'none')
    """
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def as_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table, ready for JSON: see `json_value`."""
    return [{str(name): json_value(value) for name, value in row.items()} for row in table.to_dict("records")]
