"""Embeddings that a person made elsewhere: read, checked, and brought into the order of the items by key."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hpa.anomaly.embedding_rows import require_finite
from hpa.arrays import EmbeddingArray, Int64
from hpa.stages.anomalies.embed_config import TableMethod
from hpa.tables import IMAGE_KEY, read_table

NOT_FEATURES = ("image_id", "cell_id", "fold")


def open_table(method: TableMethod, keys: pd.DataFrame) -> Callable[[Int64[np.ndarray, " rows"]], EmbeddingArray]:
    """What reads embeddings of some items from a table.

    Args:
        method: where the table is.
        keys: of the items; the table may hold others, which are not used.

    Returns:
        A function from numbers of items to float32 (rows, features); it raises a ValueError for values that are not
        finite.

    Raises:
        ValueError: the file cannot be read or has no numbers, a key repeats, or an item is not in it.
        OSError: the file cannot be opened.
    """
    key = list(keys.columns)
    if method.path.suffix == ".npy":
        assert method.keys is not None
        values, names = _read_array(method.path), _read(method.keys)
        source = method.keys
        if len(values) != len(names):
            raise ValueError(f"{method.path}: {len(values)} rows, but {method.keys} names {len(names)}")
    else:
        names = _read(method.path)
        values, source = _features(method, names), method.path
    places = _places(source, names, keys, key)

    def read(rows: Int64[np.ndarray, " rows"]) -> EmbeddingArray:
        found: EmbeddingArray = np.asarray(values[places[rows]], np.float32)
        try:
            require_finite(found)
        except ValueError as error:
            wrong = np.flatnonzero(~np.isfinite(found).all(axis=1))
            named = f" (the first is {_shown(keys, int(rows[wrong[0]]))})" if len(wrong) else ""
            raise ValueError(f"{method.path}{named}: {error}") from None
        return found

    return read


def _places(path: Path, names: pd.DataFrame, keys: pd.DataFrame, key: Sequence[str]) -> Int64[np.ndarray, " items"]:
    """Row of each item in the table."""
    missing = [name for name in key if name not in names.columns]
    if missing:
        raise ValueError(f"{path}: expected the key columns {list(key)}, but {missing} are missing")
    columns = names[list(key)].astype({name: keys[name].dtype for name in key if name not in IMAGE_KEY})
    found = pd.MultiIndex.from_frame(columns.assign(image_id=columns["image_id"].astype(str)))
    if not found.is_unique:
        raise ValueError(f"{path}: expected every key once, but {found[found.duplicated()][0]} repeats")
    places = found.get_indexer(pd.MultiIndex.from_frame(keys.assign(image_id=keys["image_id"].astype(str))))
    if (places < 0).any():
        absent = [_shown(keys, int(row)) for row in np.flatnonzero(places < 0)[:3]]
        raise ValueError(
            f"{path}: {int((places < 0).sum())} of {len(keys)} items have no embedding, such as {absent}; add them, or "
            "give `data` that holds the others alone"
        )
    return np.asarray(places, np.int64)


def _features(method: TableMethod, table: pd.DataFrame) -> EmbeddingArray:
    columns = list(method.columns or [name for name in table.columns if name not in NOT_FEATURES])
    missing = [name for name in columns if name not in table.columns]
    if missing or not columns:
        raise ValueError(f"{method.path}: expected columns of numbers, but {missing or 'there are none'}")
    text = [name for name in columns if not pd.api.types.is_numeric_dtype(table[name])]
    if text:
        raise ValueError(
            f"{method.path}: expected columns of numbers, but {text[:3]} hold something else; name the columns of the "
            "embedding in `columns`"
        )
    return np.asarray(table[columns].to_numpy(np.float32, na_value=np.nan))


def _read(path: Path) -> pd.DataFrame:
    if path.suffix == ".csv":
        try:
            return pd.read_csv(path, dtype={"image_id": str})
        except ValueError as error:
            raise ValueError(f"{path}: is not a readable CSV ({error})") from None
    return read_table(path)


def _read_array(path: Path) -> np.ndarray:
    try:
        values: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: is not a readable npy array ({error})") from None
    if values.ndim != 2 or values.dtype.kind not in "fiu" or 0 in values.shape:
        raise ValueError(f"{path}: expected numbers of shape (rows, features), but got {values.dtype} {values.shape}")
    return values


def _shown(keys: pd.DataFrame, row: int) -> str:
    return " cell ".join(str(part) for part in keys.iloc[row])
