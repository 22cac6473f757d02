"""What `score` accepts: tables of true objects, of detections, and of the images that were annotated."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hpa.arrays import Bool, Int64
from hpa.labels import ClassList

IMAGE_COLUMNS = ("image_id", "height", "width")
TRUTH_COLUMNS = (*IMAGE_COLUMNS, "class_number", "counts")
PREDICTION_COLUMNS = (*TRUTH_COLUMNS, "confidence")


def check_images(truth: pd.DataFrame, images: pd.DataFrame | None) -> pd.DataFrame:
    """The annotated images, each once, in rising order of their IDs.

    Args:
        truth: TRUTH_COLUMNS.
        images: IMAGE_COLUMNS; None for those of `truth`.

    Returns:
        IMAGE_COLUMNS, with a fresh index.

    Raises:
        ValueError: no image, an image of two sizes, an object on an image that the table lacks.
    """
    table = truth if images is None else images
    if images is not None:
        _check_columns("images", images, IMAGE_COLUMNS)
        lacking = ~truth["image_id"].isin(images["image_id"])
        if lacking.any():
            raise ValueError(
                f"expected every object on one of the {len(images)} images, but "
                f"{_place('truth', truth, lacking)} is on none of them; give the table of all annotated images"
            )
    table = table[list(IMAGE_COLUMNS)].drop_duplicates()
    if table.empty:
        raise ValueError("expected at least one image to score, but the truth has none")
    twice = table["image_id"].duplicated(keep=False)
    if twice.any():
        name = table["image_id"][twice].iloc[0]
        sizes = [f"{row.width} × {row.height}" for row in table[table["image_id"] == name].itertuples()]
        raise ValueError(f"expected one size per image, but {name!r} has {' and '.join(sizes)}")
    # Sorted as Python sorts text, by code point: ties in the ranking are broken by this order.
    order = sorted(range(len(table)), key=table["image_id"].tolist().__getitem__)
    return table.iloc[order].reset_index(drop=True)


def check_truth(truth: pd.DataFrame, classes: ClassList) -> None:
    """Refuse what cannot be the objects of the truth.

    Raises:
        ValueError: a column is missing or of a wrong type, or a class is outside the list; names the first such row.
    """
    _check_columns("truth", truth, TRUTH_COLUMNS)
    _check_values("truth", truth, classes)


def check_predictions(predictions: pd.DataFrame, classes: ClassList) -> None:
    """Refuse what cannot be detections.

    Raises:
        ValueError: as `check_truth`, or a confidence is not a finite number.
    """
    _check_columns("predictions", predictions, PREDICTION_COLUMNS)
    _check_values("predictions", predictions, classes)
    if len(predictions) and not pd.api.types.is_numeric_dtype(predictions["confidence"]):
        raise ValueError(f"expected numbers in `confidence`, but it holds {predictions['confidence'].dtype}")
    odd = ~np.isfinite(predictions["confidence"].to_numpy(np.float64))
    if odd.any():
        raise ValueError(
            f"expected finite confidences, but {_place('predictions', predictions, odd)} has "
            f"{predictions['confidence'].to_numpy()[odd][0]}"
        )


def find_images(name: str, table: pd.DataFrame, images: pd.DataFrame) -> Int64[np.ndarray, " rows"]:
    """The image of each row as its position in `images`, -1 where it is not there.

    Raises:
        ValueError: a row gives another size than `images`; names the first one.
    """
    positions: Int64[np.ndarray, " rows"]
    positions = pd.Index(images["image_id"]).get_indexer(pd.Index(table["image_id"])).astype(np.int64)
    known = positions >= 0
    for side in ("height", "width"):
        differs = known.copy()
        differs[known] = table[side].to_numpy()[known] != images[side].to_numpy()[positions[known]]
        if differs.any():
            first = int(np.flatnonzero(differs)[0])
            found, wanted = table[side].iloc[first], images[side].iloc[int(positions[first])]
            raise ValueError(
                f"expected masks of the image's size, but {_place(name, table, differs)} has {side} {found} instead of "
                f"{wanted}; masks must be of the original image, neither scaled nor with rows and columns swapped"
            )
    return positions


def _check_columns(name: str, table: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(f"expected the columns {list(columns)} in `{name}`, but {missing} are missing")


def _check_values(name: str, table: pd.DataFrame, classes: ClassList) -> None:
    if table.empty:
        return
    for column, kind in (("image_id", "string"), ("counts", "bytes")):
        found = pd.api.types.infer_dtype(table[column], skipna=False)
        if found != kind or table[column].hasnans:
            found = "missing values too" if found == kind else found
            raise ValueError(f"expected `{column}` of `{name}` to hold {kind} alone, but it holds {found}")
    for column in ("height", "width", "class_number"):
        if not pd.api.types.is_integer_dtype(table[column]) or table[column].hasnans:
            raise ValueError(f"expected whole numbers in `{column}` of `{name}`, but it holds {table[column].dtype}")
    outside = ~table["class_number"].between(0, len(classes) - 1).to_numpy()
    if outside.any():
        raise ValueError(
            f"expected classes from 0 to {len(classes) - 1}, but {_place(name, table, outside)} has class "
            f"{table['class_number'].to_numpy()[outside][0]}"
        )


def _place(name: str, table: pd.DataFrame, found: Bool[np.ndarray, " rows"] | pd.Series) -> str:
    """Where the first row is that `found` marks."""
    first = int(np.flatnonzero(np.asarray(found))[0])
    return f"row {first} of `{name}` (image {table['image_id'].iloc[first]!r})"
