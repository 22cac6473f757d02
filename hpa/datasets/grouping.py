"""Which images belong together: near duplicates, and those that a column says."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import UInt64

from hpa.phash import connected, near_duplicates, parse_hashes


def usual_distance(hashes: UInt64[np.ndarray, "images channels"]) -> int:
    """Bits per channel within which two images are taken for the same: 6, or 3 where all channels are alike.

    Measured: recompression, half the size, other noise or brightness change up to 6 bits of a channel. Different
    images differ, in the channel that differs most, in 26 bits or more (50 HPA fields, four channels; 60 simulated
    ones), 12 (85 colour pictures of single cells; 21 X-rays). Grey images of 28 x 28 pixels, 3,882 X-rays, are told
    apart at 3 bits, but chain into sets of eight at 4 and of hundreds at 6.
    """
    return 3 if (hashes == hashes[:, :1]).all() else 6


def duplicate_sets(image_ids: Sequence[str], hashes: Sequence[str], distance: int | Literal["auto"]) -> list[str]:
    """For each image the first id of its set of near duplicates, or an empty text where it has none.

    Args:
        image_ids: names.
        hashes: perceptual hashes as `hash_text` writes them.
        distance: bits that may differ in each channel; `auto` for `usual_distance`.
    """
    parsed = parse_hashes(hashes)
    within = usual_distance(parsed) if distance == "auto" else distance
    sets = connected(len(image_ids), near_duplicates(parsed, within))
    first = np.unique(sets, return_index=True)[1]
    sizes = np.bincount(sets)
    return [image_ids[first[number]] if sizes[number] > 1 else "" for number in sets]


def group_names(images: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """One group per image: images that share a value in any of the columns, directly or through others, are together.

    Args:
        images: with `image_id` and the columns, as text; an empty text says nothing.
        columns: such as antibody, plate, patient, or a set of near duplicates.

    Returns:
        For each image the name of its group: the first value of the first column that has one in the group (with the
        column's name before it where values of several columns could be confused), or its image_id.

    >>> table = pd.DataFrame({"image_id": list("abc"), "dish": ["x", "", ""], "same": ["", "b", "b"]})
    >>> group_names(table, ["dish", "same"])
    ['x', 'b', 'b']
    """
    count = len(images)
    image_ids = images["image_id"].tolist()
    pairs = [np.zeros((0, 2), np.int64)]
    values = {name: images[name].fillna("").astype(str).to_numpy() for name in columns}
    for column in values.values():
        rows = np.flatnonzero(column != "")
        order = rows[np.argsort(column[rows], kind="stable")]
        same = column[order[1:]] == column[order[:-1]]
        pairs.append(np.stack([order[:-1][same], order[1:][same]], axis=1))
    components = connected(count, np.concatenate(pairs))
    names: dict[int, tuple[str, str]] = {}
    for column, texts in values.items():
        for component, text in zip(components.tolist(), texts.tolist(), strict=True):
            known = names.get(component)
            if text and (known is None or (known[0] == column and text < known[1])):
                names[component] = (column, text)
    for component, image_id in zip(components.tolist(), image_ids, strict=True):
        names.setdefault(component, ("image_id", image_id))
    texts_used = [text for _, text in names.values()]
    is_clear = len(set(texts_used)) == len(texts_used)
    return [names[c][1] if is_clear else "=".join(names[c]) for c in components.tolist()]
