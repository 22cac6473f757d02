"""Masks of a submission's table from text to run lengths: each different text once."""

import numpy as np
import pandas as pd

from hpa.masks import MaskError, to_counts


def counts_from_texts(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose `mask` (text as in a PredictionString) is replaced by `counts` (COCO's compressed run lengths).

    Args:
        table: image_id, height, width, mask, and any other columns; a mask that repeats for several classes is read and
            checked once. A column `row` is the row of the file, for messages.

    Returns:
        The same rows in the same order, ready for `score`.

    Raises:
        ValueError: a mask cannot be read or does not fit its image; names the row and the image.
    """
    codes, texts = pd.factorize(table["mask"])
    sizes, size_values = pd.factorize(pd.MultiIndex.from_frame(table[["height", "width"]]))
    # One number per different (text, size); a text fits one number of pixels, yet 2 × 3 and 3 × 2 both have six.
    pairs, first, inverse = np.unique(
        codes * np.int64(len(size_values)) + sizes, return_index=True, return_inverse=True
    )
    counts = np.empty(len(pairs), object)
    for place, row in enumerate(first.tolist()):
        height, width = size_values[sizes[row]]
        try:
            if codes[row] < 0:
                raise MaskError("it is missing")
            counts[place] = to_counts(str(texts[codes[row]]), int(height), int(width))
        except MaskError as error:
            line = table["row"].iloc[row] if "row" in table else row
            raise ValueError(
                f"row {line} (image {table['image_id'].iloc[row]!r}): the mask cannot be read: {error}"
            ) from None
    return table.drop(columns="mask").assign(counts=counts[inverse])
