import base64
import re
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hpa import masks
from hpa.labels import HPA2021, ClassList
from hpa.submission import Problem, check_submission
from hpa.submission.checking import _check_masks
from hpa.submission.reading import ImageSize

HEADER = "ID,ImageWidth,ImageHeight,PredictionString\n"
CLASSES = ClassList(names=("a", "b", "c"))
LABEL_MAP = np.array([[1, 1, 0, 2], [1, 0, 2, 2], [0, 0, 3, 3]], np.uint16)
TEXTS = masks.encode_cells(LABEL_MAP)
GOOD = f"0 0.5 {TEXTS[1]} 1 1 {TEXTS[1]} 0 0 {TEXTS[2]}"
OVERLAPPING = masks.encode_mask(LABEL_MAP <= 1)
EMPTY = masks.encode_mask(LABEL_MAP > 3)
SAMPLE = HEADER + f"x,4,3,0 1 {EMPTY}\ny,4,3,0 1 {EMPTY}\n"


@pytest.fixture
def check(tmp_path):
    def _check(rows, header=HEADER, sample=SAMPLE):
        path, sample_path = tmp_path / "submission.csv", tmp_path / "sample.csv"
        text = header + rows
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        if sample is not None:
            sample_path.write_text(sample)
        return check_submission(path, CLASSES, None if sample is None else sample_path)

    return _check


def brief(problems):
    return [(problem.row, problem.image_id, problem.kind) for problem in problems]


def test_a_right_submission_has_no_problems(check):
    assert check(f"x,4,3,{GOOD}\ny,4,3,{GOOD}\n") == []
    assert check(f"y,4,3,{GOOD}\nx,4,3,{GOOD}\n") == []  # the order is free
    assert check(f"z,4,3,{GOOD}\n", sample=None) == []


@pytest.mark.parametrize(
    ("row", "kind", "detail"),
    [
        (f"x,4,3,0 0.5 {TEXTS[1]} 1\n", "truncated", "4 parts"),
        ("x,4,3,0 0.5\n", "truncated", "2 parts"),
        (f"x,4,3,{GOOD[:-5]}\n", "mask", "detection 3: expected base64|detection 3: the compressed data"),
        ("x,4,3,0 0.5 AAAA\n", "mask", "detection 1: expected data compressed by zlib"),
        (f"x,4,3,0 0.5 {masks.to_text(b'1')}\n", "mask", "sum to 1"),
        (f"x,4,3,0 0.5 {masks.to_text(bytes(10_000_000))}\n", "mask", "decompresses to more"),
        (f"x,4,3,0 0.5 {EMPTY}\n", "empty_mask", "detection 1"),
        (f"x,4,3,{GOOD} 2 0.5 {OVERLAPPING}\n", "overlap", "detections 1 and 4 share at least 3 pixels"),
        (f"x,4,3,0 nan {TEXTS[1]}\n", "confidence", "detection 1: .* but found nan"),
        (f"x,4,3,{GOOD} 0 -0.1 {TEXTS[3]}\n", "confidence", "detection 4: .* but found -0.1"),
        (f"x,4,3,0 inf {TEXTS[1]}\n", "confidence", "inf"),
        (f"x,4,3,0 high {TEXTS[1]}\n", "confidence", "high"),
        (f"x,4,3,3 0.5 {TEXTS[1]}\n", "class", "from 0 to 2, but found 3"),
        (f"x,4,3,-1 0.5 {TEXTS[1]}\n", "class", "found -1"),
        (f"x,4,3,0.0 0.5 {TEXTS[1]}\n", "class", "found 0.0"),
        (f"x,3,4,{GOOD}\n", "size", "expected 4 × 3 as in the sample, but found 3 × 4"),
        (f"x,0,3,{GOOD}\n", "size", "found 0 × 3"),
        (f"x,four,3,{GOOD}\n", "size", "found four × 3"),
        (f"x,999999999,999999999,{GOOD}\n", "size", "expected width and height"),
        ("x,4,3\n", "fields", "expected 4 fields, but found 3"),
        (f"x,4,3,{GOOD},\n", "fields", "found 5"),
    ],
)
def test_errors_of_a_row(check, row, kind, detail):
    problems = check(f"y,4,3,{GOOD}\n{row}")
    assert brief(problems) == [(3, "x", kind)]
    assert problems[0].severity == "error"
    assert re.search(detail, problems[0].detail)


@pytest.mark.parametrize(
    ("row", "kind", "detail"),
    [
        (
            f"x,4,3,0 1.5 {TEXTS[1]} 1 7 {TEXTS[1]}\n",
            "confidence_above_one",
            "2 confidences are above 1, the largest 7",
        ),
        ("x,4,3,\n", "no_detections", "no detections"),
        (f"x,4,3,{GOOD} 1 0.2 {TEXTS[1]}\n", "repeated_detection", "detection 4: class 1 again .* of detection 1"),
    ],
)
def test_notes_of_a_row(check, row, kind, detail):
    problems = check(f"y,4,3,{GOOD}\n{row}")
    assert brief(problems) == [(3, "x", kind)]
    assert problems[0].severity == "note"
    assert re.search(detail, problems[0].detail)


def test_errors_of_ids(check):
    problems = check(f"y,4,3,{GOOD}\nz,4,3,{GOOD}\ny,4,3,{GOOD}\n,4,3,{GOOD}\n")
    assert brief(problems) == [
        (3, "z", "extra_id"),
        (4, "y", "repeated_id"),
        (5, None, "id"),
        (None, "x", "missing_id"),
    ]
    assert "row 2" in problems[1].detail
    assert all(problem.severity == "error" for problem in problems)
    assert brief(check(f"z,4,3,{GOOD}\nz,4,3,{GOOD}\n", sample=None)) == [(3, "z", "repeated_id")]


@pytest.mark.parametrize("header", ["ID,ImageHeight,ImageWidth,PredictionString\n", "Id,Target\n", "id,a,b,c\n"])
def test_another_header(check, header):
    assert brief(check(f"x,4,3,{GOOD}\ny,4,3,{GOOD}\n", header)) == [(1, None, "header")]


def test_no_header(check):
    rows = f"x,4,3,{GOOD}\ny,4,3,{GOOD} 0\n"
    assert brief(check(rows, "")) == [(1, None, "header"), (2, "y", "truncated")]


@pytest.mark.parametrize(("header", "kinds"), [("", ["unreadable"]), (HEADER, ["unreadable"])])
def test_no_rows(check, header, kinds):
    assert [problem.kind for problem in check("", header, None)] == kinds


def test_every_image_of_the_sample_is_missed_in_an_empty_file(check):
    assert brief(check(""))[-2:] == [(None, "x", "missing_id"), (None, "y", "missing_id")]


def test_text_that_is_no_csv_names_its_row(check):
    assert brief(check(f'x,4,3,{GOOD}\ny,4,3,"{GOOD}\n')) == [(3, None, "unreadable")]
    assert brief(check(b"x,4,3,\xff\n", HEADER.encode()))[0][2] == "unreadable"


def test_all_problems_of_one_row(check):
    rows = f"x,3,4,0 nan {TEXTS[1]} 9 2 AAAA 1 0.5 {EMPTY} 1\ny,4,3,{GOOD}\n"
    kinds = [problem.kind for problem in check(rows)]
    assert sorted(kinds) == ["class", "confidence", "confidence_above_one", "empty_mask", "mask", "size", "truncated"]


def test_repetitions_in_one_row_are_counted(check):
    rows = (
        "x,4,3,"
        + " ".join(f"9 0.5 {TEXTS[1]}" for _ in range(1))
        + "".join(f" {10 + number} 0.5 {TEXTS[1]}" for number in range(30))
    )
    problems = check(f"{rows}\ny,4,3,{GOOD}\n")
    assert [problem.kind for problem in problems] == ["class"] * 10
    assert problems[-1].detail.endswith("and 21 more")


def test_a_sample_that_cannot_be_read_is_an_error(check):
    with pytest.raises(ValueError, match="expected the header"):
        check(f"x,4,3,{GOOD}\n", sample="nothing\n")


def test_other_text_of_the_same_mask_does_not_overlap(check):
    other = base64.b64encode(zlib.compress(masks.to_counts(TEXTS[1], 3, 4), 1)).decode()
    assert other != TEXTS[1]
    assert check(f"x,4,3,{GOOD} 2 0.5 {other}\ny,4,3,{GOOD}\n") == []


@settings(max_examples=200, deadline=None)
@given(hnp.arrays(bool, st.tuples(st.integers(2, 5), st.integers(1, 6), st.integers(1, 6)), elements=st.booleans()))
def test_overlaps_equal_those_of_pixels(grids):
    grids = np.array(list({grid.tobytes(): grid for grid in grids if grid.any()}.values()))
    if not len(grids):
        return
    height, width = grids.shape[1:]
    texts = [masks.encode_mask(grid) for grid in grids]
    problems = list(_check_masks(["0"] * len(texts), texts, ImageSize("x", height, width)))
    assert {kind for kind, _ in problems} <= {"overlap"}
    found = {}
    for _, detail in problems:
        words = detail.split()
        found[int(words[4]) - 1, int(words[6]) - 1] = int(words[-2])
    assert len(found) == len(problems)
    true = {
        (one, other): int((grids[one] & grids[other]).sum())
        for one in range(len(grids))
        for other in range(one + 1, len(grids))
        if (grids[one] & grids[other]).any()
    }
    assert all(0 < pixels <= true[pair] for pair, pixels in found.items())
    assert {place for pair in found for place in pair} == {place for pair in true for place in pair}
    if len(grids) == 2:
        assert found == true


def test_real_files(sample_data):
    folder = sample_data / "hpa2021"
    (problem,) = check_submission(folder / "real_submission_row.csv", HPA2021)
    assert problem == Problem(
        2,
        "0040581b-f1f2-4fbe-b043-b6bfea5404bb",
        "confidence_above_one",
        "80 confidences are above 1, the largest 6.82498; they are scored as usual",
    )
    sample = folder / "sample_submission.csv"
    problems = check_submission(sample, HPA2021, sample)
    assert [problem.kind for problem in problems] == ["empty_mask"] * 559
    missing = check_submission(folder / "real_submission_row.csv", HPA2021, sample)
    assert [problem.kind for problem in missing[1:]] == ["missing_id"] * 558
    for path in sorted((sample_data.parent / "metric").glob("*.truth.csv")):
        assert {problem.kind for problem in check_submission(path, HPA2021)} <= {"no_detections"}
