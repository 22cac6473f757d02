"""Masks from texts: the right mask on every row, each text read once, errors that say where."""

import base64
import zlib

import numpy as np
import pandas as pd
import pytest
from pycocotools import mask as coco

from hpa.evaluation import counts_from_texts, mask_texts


def counts_of(mask: np.ndarray) -> bytes:
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]


def text_of(counts: bytes) -> str:
    return base64.b64encode(zlib.compress(counts, 9)).decode()


def table(rows: list[tuple[str, int, int, str | None]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["image_id", "height", "width", "mask"]).assign(class_number=3)


def test_every_row_gets_its_mask_and_each_text_is_read_once(monkeypatch) -> None:
    read = []
    to_counts = mask_texts.to_counts

    def counted(text: str, height: int, width: int) -> bytes:
        read.append(text)
        return to_counts(text, height, width)

    monkeypatch.setattr(mask_texts, "to_counts", counted)
    generator = np.random.default_rng(0)
    masks = [generator.random((5, 7)) < 0.5 for _ in range(4)]
    order = generator.integers(0, 4, 30)
    found = counts_from_texts(table([("a", 5, 7, text_of(counts_of(masks[index]))) for index in order]))
    assert found["counts"].tolist() == [counts_of(masks[index]) for index in order]
    assert list(found.columns) == ["image_id", "height", "width", "class_number", "counts"]
    assert len(read) == len(set(read)) == 4


def test_one_text_in_images_of_two_sizes_is_checked_for_each() -> None:
    text = text_of(counts_of(np.eye(6, dtype=bool)))
    assert (
        counts_from_texts(table([("a", 6, 6, text), ("b", 4, 9, text)]))["counts"].tolist()
        == [counts_of(np.eye(6, dtype=bool))] * 2
    )
    with pytest.raises(ValueError, match=r"row 1 \(image 'b'\)"):
        counts_from_texts(table([("a", 6, 6, text), ("b", 6, 7, text)]))


@pytest.mark.parametrize("text", ["", "no mask!", None, text_of(b"~~~"), text_of(counts_of(np.ones((3, 3))))])
def test_a_bad_mask_is_refused(text: str | None) -> None:
    good = text_of(counts_of(np.ones((2, 2))))
    with pytest.raises(ValueError, match=r"row 2 \(image 'c'\): the mask cannot be read"):
        counts_from_texts(table([("a", 2, 2, good), ("b", 2, 2, good), ("c", 2, 2, text)]))


def test_no_rows() -> None:
    found = counts_from_texts(table([]).astype({"image_id": str, "mask": str, "height": int, "width": int}))
    assert len(found) == 0
    assert "counts" in found
