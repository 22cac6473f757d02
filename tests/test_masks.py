import base64
import csv
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from hpa import masks

PRINTED = [
    (1118, 1600, "eNqLi8xJM7BOTjS08DT2NfI38DfyM/Q3NMAJgJJ+RkBs7JecF5tnAADw+Q9I"),
    (1600, 1066, "eNqLiYrLN7DNCjDMMIj0N/Iz9DcwBEIDfyN/QyA2AAsBRfxMPcKTA1MMADVADIo="),
]


def by_coco(mask):
    return coco.encode(np.asfortranarray(mask, np.uint8))["counts"]


def packed(counts, level=9):
    return base64.b64encode(zlib.compress(counts, level)).decode()


def digits(*values):
    """COCO's digits of whole numbers, without the differences that `lengths` of a mask are written as."""
    text = bytearray()
    for value in values:
        more = True
        while more:
            digit, value = value & 31, value >> 5
            more = value != (-1 if digit & 16 else 0)
            text.append(digit + 32 * more + 48)
    return bytes(text)


label_maps = hnp.arrays(
    np.uint16,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=24),
    elements=st.sampled_from([0, 1, 2, 3, 255, 256, 65535]),
)


@settings(max_examples=200, deadline=None)
@given(label_maps)
def test_cells_equal_pycocotools(label_map):
    runs = masks.cell_runs(label_map)
    texts = masks.encode_cells(label_map)
    assert runs.cell_ids.tolist() == list(texts) == [value for value in np.unique(label_map).tolist() if value]
    for cell_id, counts, area, box in zip(
        runs.cell_ids.tolist(), runs.counts, runs.areas.tolist(), runs.boxes.tolist(), strict=True
    ):
        mask = label_map == cell_id
        rows, columns = np.nonzero(mask)
        assert counts == by_coco(mask)
        assert texts[cell_id] == packed(counts) == masks.encode_mask(mask)
        assert area == mask.sum()
        assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert masks.area_and_box(counts, *mask.shape) == (area, tuple(box))


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_decoding_undoes_encoding(mask):
    text = masks.encode_mask(mask)
    assert text == packed(by_coco(mask))
    np.testing.assert_array_equal(masks.decode(text, *mask.shape), mask)
    counts = masks.to_counts(text, *mask.shape)
    assert counts == by_coco(mask)
    flat = np.zeros(mask.size, bool)
    for start, end in zip(*masks.object_runs(counts, *mask.shape), strict=True):
        assert not flat[start:end].any()
        flat[start:end] = True
    np.testing.assert_array_equal(flat, mask.ravel(order="F"))


def test_large_cells_of_many_digits_equal_pycocotools():
    label_map = np.zeros((1728, 3072), np.uint16)
    rows, columns = np.ogrid[:1728, :3072]
    for number in range(300):  # more than 255
        centre = (number * 37 % 1728, number * 211 % 3072)
        label_map[(rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < (20 + number % 60) ** 2] = number + 1
    label_map[-1, -1] = 65535
    runs = masks.cell_runs(label_map)
    assert len(runs.cell_ids) > 255
    for cell_id, counts in list(zip(runs.cell_ids.tolist(), runs.counts, strict=True))[::40]:
        assert counts == by_coco(label_map == cell_id)
    assert runs.counts[-1] == by_coco(label_map == 65535)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (5, 5)])
@pytest.mark.parametrize("value", [False, True])
def test_uniform_masks(shape, value):
    mask = np.full(shape, value)
    assert masks.encode_mask(mask) == packed(by_coco(mask))
    area, box = masks.area_and_box(by_coco(mask), *shape)
    assert (area, box) == ((mask.size, (0, 0, shape[1], shape[0])) if value else (0, (0, 0, 0, 0)))


def test_a_map_that_is_not_contiguous():
    label_map = np.arange(24, dtype=np.uint16).reshape(4, 6)
    view = label_map[::2, 1:]
    assert masks.encode_cells(view) == masks.encode_cells(view.copy())


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (4, 4)])
def test_maps_without_cells(shape):
    runs = masks.cell_runs(np.zeros(shape, np.uint16))
    assert (len(runs.cell_ids), runs.counts, len(runs.areas), runs.boxes.shape) == (0, (), 0, (0, 4))
    assert masks.encode_cells(np.zeros(shape, np.uint16)) == {}


@pytest.mark.parametrize(("width", "height", "text"), PRINTED)
def test_the_printed_masks(width, height, text):
    mask = masks.decode(text, height, width)
    assert mask.shape == (height, width)
    assert mask.any()
    assert masks.encode_mask(mask) == text
    assert masks.to_text(masks.to_counts(text, height, width)) == text
    with pytest.raises(masks.MaskError, match="sum to"):
        masks.to_counts(text, height, width + 1)


def test_a_real_row(sample_data):
    line = (sample_data / "hpa2021" / "real_submission_row.csv").read_text().splitlines()[1]
    (_, width, height, prediction) = line.split(",")
    texts = set(prediction.split(" ")[2::3])
    assert len(texts) == 16
    for text in texts:
        mask = masks.decode(text, int(height), int(width))
        assert masks.encode_mask(mask) == text
        assert masks.to_text(masks.to_counts(text, int(height), int(width))) == text


def test_placeholders_of_the_sample_submission_are_empty(sample_data):
    with (sample_data / "hpa2021" / "sample_submission.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows[:50]:
        height, width = int(row["ImageHeight"]), int(row["ImageWidth"])
        counts = masks.to_counts(row["PredictionString"].split(" ")[2], height, width)
        assert counts == masks.empty_counts(height, width)
        assert masks.area_and_box(counts, height, width)[0] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "zlib|cut off"),
        ("no base64!", "expected base64"),
        ("eNq", "expected base64"),
        ("eNozNAYAAJcAZQ==\n", "expected base64"),
        ("é", "expected base64"),
        ("AAAA", "expected data compressed by zlib"),
        (packed(b"13")[:8], "cut off"),
        (base64.b64encode(zlib.compress(b"13") + b"x").decode(), "goes on after the end"),
        (packed(b""), "there are none"),
        (packed(b"1 3"), "character ' '"),
        (packed(b"1\x7f"), "character"),
        (packed(b"1\xff"), "character"),
        (packed(b"1P"), "cut off inside a number"),
        (packed(b"P" * 8 + b"3"), "9 digits"),
        (packed(digits(1, 4)), "sum to 5"),
        (packed(digits(1, 2)), "sum to 3"),
        (packed(digits(-1, 5)), "one is -1"),
        (packed(digits(1, 1, 1, -2)), "one is -1"),
        (packed(digits(2**33, 2**33)), f"one is {2**33}"),
        (packed(b"0" * 1_000_000), "decompresses to more"),
    ],
)
def test_malformed_masks_are_refused(text, message):
    for function in (masks.to_counts, masks.decode):
        with pytest.raises(masks.MaskError, match=message):
            function(text, 2, 2)


def test_a_bomb_is_not_unpacked(monkeypatch):
    seen = []
    unpack = zlib.decompressobj

    class Watched:
        def __init__(self):
            self.inner = unpack()

        def decompress(self, data, limit=0):
            result = self.inner.decompress(data, limit)
            seen.append(len(result))
            return result

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    with pytest.raises(masks.MaskError, match="more than a mask of 100 × 100"):
        masks.to_counts(packed(bytes(50_000_000)), 100, 100)
    assert seen == [100 * 100 + 65]


@pytest.mark.parametrize(("height", "width"), [(0, 5), (5, 0), (-2, -2), (2**16, 2**16)])
def test_sizes_without_sense_are_refused(height, width):
    with pytest.raises(masks.MaskError, match="expected an image of"):
        masks.to_counts(packed(b"13"), height, width)


@pytest.mark.parametrize(
    "counts",
    [
        digits(1, 1, 0, 1),  # 1, 1, 0, 2: an empty run inside the object
        digits(1, 3, 0),  # an empty run at the end
        digits(0, 0, 1, 3),  # empty runs at the beginning
        b"Q03",  # 1 in two digits
    ],
)
def test_other_spellings_come_back_as_pycocotools_writes_them(counts):
    mask = np.array([[0, 1], [1, 1]], bool)
    assert masks.to_counts(packed(counts), 2, 2) == by_coco(mask) == b"13"
    np.testing.assert_array_equal(masks.decode(packed(counts), 2, 2), mask)
    assert masks.area_and_box(counts, 2, 2) == (3, (0, 0, 2, 2))


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")  # pycocotools' decode
@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=12), st.integers(1, 5), st.integers(1, 5))
@example(b"4", 2, 2)
def test_any_counts_are_refused_or_decode(counts, height, width):
    try:
        canonical = masks.to_counts(packed(counts), height, width)
    except masks.MaskError:
        return
    mask = masks.decode(packed(counts), height, width)
    assert canonical == by_coco(mask)
    np.testing.assert_array_equal(coco.decode({"size": [height, width], "counts": canonical}), mask)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=8), st.integers(1, 4))
def test_any_run_lengths_decode(lengths, height):
    if sum(lengths) == 0 or sum(lengths) % height:
        return
    differences = [length - (lengths[place - 2] if place > 2 else 0) for place, length in enumerate(lengths)]
    width = sum(lengths) // height
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    mask = flat.reshape(width, height).T
    text = packed(digits(*differences))
    np.testing.assert_array_equal(masks.decode(text, height, width), mask)
    assert masks.to_counts(text, height, width) == by_coco(mask)
