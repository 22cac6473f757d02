import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa import masks
from hpa.labels import HPA2021, ClassList
from hpa.submission import Detection, cell_detections, parse_prediction_string, write_prediction_string

CLASSES = ClassList(names=("a", "b", "c"))
detections = st.lists(
    st.builds(
        Detection,
        st.integers(0, 18),
        st.floats(0, allow_nan=False, allow_infinity=False),
        st.from_regex(r"[A-Za-z0-9+/]{1,8}={0,2}", fullmatch=True),
    )
)


@settings(deadline=None)
@given(detections)
def test_parsing_undoes_writing(rows):
    assert parse_prediction_string(write_prediction_string(rows)) == rows


def test_a_real_row_is_written_as_it_was_read(sample_data):
    line = (sample_data / "hpa2021" / "real_submission_row.csv").read_text().splitlines()[1]
    text = line.split(",")[3]
    rows = parse_prediction_string(text)
    assert len(rows) == 304
    assert len({id(row.mask) for row in rows}) == 16  # repeated masks are one object
    assert write_prediction_string(rows) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0.5", "2 parts are not a multiple of 3"),
        ("0 0.5 AAAA 1", "4 parts"),
        ("x 0.5 AAAA", "detection 1: expected a class number, but got 'x'"),
        ("0 0.5 AAAA 1.5 0.5 AAAA", "detection 2: expected a class number"),
        ("1_0 0.5 AAAA", "class number"),
        ("² 0.5 AAAA", "class number"),
        ("9" * 5000 + " 0.5 AAAA", "class number"),
        ("0 half AAAA", "detection 1: expected a confidence, but got 'half'"),
        ("0 1_0 AAAA", "confidence"),
        ("0 0x10 AAAA", "confidence"),
        ("0 . AAAA", "confidence"),
    ],
)
def test_malformed_text_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_prediction_string(text)


@pytest.mark.parametrize("text", ["0 1 A", " 0  1 A ", "0 1. A", "0 1e0 A", "0 +1.0 A"])
def test_numbers_in_other_forms(text):
    assert parse_prediction_string(text) == [Detection(0, 1.0, "A")]


def test_values_are_not_judged():
    (first, second) = parse_prediction_string("-1 nan A 99 -inf A")
    assert (first.class_number, second.class_number, second.confidence) == (-1, 99, -math.inf)
    assert math.isnan(first.confidence)
    assert parse_prediction_string("") == parse_prediction_string("  ") == []


@pytest.mark.parametrize(
    ("detection", "message"),
    [
        (Detection(-1, 0.5, "A"), "expected a class"),
        (Detection(0, -0.5, "A"), "at least 0"),
        (Detection(0, math.nan, "A"), "finite"),
        (Detection(0, math.inf, "A"), "finite"),
        (Detection(0, 0.5, ""), "base64"),
        (Detection(0, 0.5, "A B"), "base64"),
        (Detection(0, 0.5, "A\n"), "base64"),
        (Detection(0, 0.5, 'A,"'), "base64"),
    ],
)
def test_what_no_reader_could_use_is_not_written(detection, message):
    with pytest.raises(ValueError, match=message):
        write_prediction_string([Detection(0, 0.5, "A"), detection])


def table(cell_ids, values):
    return pd.DataFrame({"cell_id": cell_ids, **dict(zip("abc", np.array(values, np.float32).T, strict=True))})


def test_every_class_of_every_cell():
    label_map = np.array([[1, 1, 0], [0, 7, 7]], np.uint16)
    texts = masks.encode_cells(label_map)
    rows = list(cell_detections(texts, table([7, 1], [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]), CLASSES))
    assert [row.class_number for row in rows] == [0, 1, 2, 0, 1, 2]
    assert [row.confidence for row in rows] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]  # float32 in its shortest form
    assert [row.mask for row in rows] == [texts[7]] * 3 + [texts[1]] * 3
    np.testing.assert_array_equal(masks.decode(rows[0].mask, 2, 3), label_map == 7)


def test_cells_that_the_table_leaves_out_are_left_out():
    assert {row.mask for row in cell_detections({1: "A", 2: "B"}, table([2], [[0, 0, 1]]), CLASSES)} == {"B"}
    assert list(cell_detections({}, table([], np.zeros((0, 3))), CLASSES)) == []


@settings(deadline=None)
@given(st.floats(0, 1, width=32))
def test_float32_is_kept_exactly(value):
    (first, *_) = cell_detections({1: "A"}, table([1], [[value, 0, 0]]), CLASSES)
    assert np.float32(parse_prediction_string(write_prediction_string([first]))[0].confidence) == np.float32(value)


@pytest.mark.parametrize(
    ("cell_ids", "values", "message"),
    [
        ([3], [[0, 0, 0]], r"no cells \[3\]"),
        ([1, 1], [[0, 0, 0]] * 2, "repeat"),
        ([1], [[0, math.nan, 0]], "finite"),
    ],
)
def test_tables_that_do_not_fit_the_masks(cell_ids, values, message):
    with pytest.raises(ValueError, match=message):
        list(cell_detections({1: "A", 2: "B"}, table(cell_ids, values), CLASSES))


def test_a_missing_class_is_an_error():
    with pytest.raises(ValueError, match="one column per class"):
        list(cell_detections({1: "A"}, table([1], [[0, 0, 0]]), HPA2021))
