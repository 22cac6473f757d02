import csv

import numpy as np
import pytest

from hpa.submission import ImageSize, read_images, read_submission
from hpa.submission.reading import raw_rows

HEADER = "ID,ImageWidth,ImageHeight,PredictionString\n"


@pytest.fixture
def write(tmp_path):
    def _write(text):
        path = tmp_path / "submission.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return _write


def test_two_tables_in_file_order(write):
    path = write(HEADER + "b,30,20,3 0.5 AA 4 1e-3 AA\na,10,10,\n\nb,30,20,1 2 BB\n")
    submission = read_submission(path)
    assert submission.images.to_dict("list") == {
        "row": [2, 3, 5],
        "image_id": ["b", "a", "b"],
        "height": [20, 10, 20],
        "width": [30, 10, 30],
    }
    assert submission.detections.to_dict("list") == {
        "row": [2, 2, 5],
        "image_id": ["b", "b", "b"],
        "height": [20, 20, 20],
        "width": [30, 30, 30],
        "class_number": [3, 4, 1],
        "confidence": [0.5, 0.001, 2.0],
        "mask": ["AA", "AA", "BB"],
    }
    assert submission.detections.dtypes["confidence"] == np.float64
    assert submission.detections["mask"].iloc[0] is submission.detections["mask"].iloc[1]


@pytest.mark.parametrize("text", [HEADER, HEADER + "a,1,1,\n"])
def test_tables_without_detections_have_the_same_columns_and_types(write, text):
    filled = read_submission(write(HEADER + "a,1,1,0 1 A\n"))
    empty = read_submission(write(text))
    assert empty.images.columns.tolist() == filled.images.columns.tolist()
    assert empty.detections.columns.tolist() == filled.detections.columns.tolist()
    assert len(empty.detections) == 0
    for name in ("row", "height", "width", "class_number", "confidence", "mask"):
        assert empty.detections.dtypes[name] == filled.detections.dtypes[name]


def test_other_ways_of_writing_csv(write):
    text = "\ufeff" + HEADER.replace("\n", "\r\n") + '"a","1","2","0 1 A"\r\n"b, c",3,4,'
    submission = read_submission(write(text))
    assert submission.images["image_id"].tolist() == ["a", "b, c"]
    assert submission.detections["mask"].tolist() == ["A"]


def test_rows_of_megabytes(write):
    limit = csv.field_size_limit()
    text = " ".join(f"{number % 19} 0.{number} {'A' * 800}" for number in range(4000))
    assert len(text) > 3_000_000
    submission = read_submission(write(f"{HEADER}a,2048,2048,{text}\nb,2048,2048,{text}\n"))
    assert len(submission.detections) == 8000
    assert csv.field_size_limit() == limit


def test_real_files(sample_data):
    row = read_submission(sample_data / "hpa2021" / "real_submission_row.csv")
    assert len(row.detections) == 304
    assert row.detections["mask"].nunique() == 16
    images = read_images(sample_data / "hpa2021" / "sample_submission.csv")
    assert len(images) == 559
    assert images[0] == ImageSize("0040581b-f1f2-4fbe-b043-b6bfea5404bb", 2048, 2048)
    for path in sorted((sample_data.parent / "metric").glob("*.csv")):
        assert len(read_submission(path).images)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the header ID,.*found nothing"),
        ("ID,Label\n", "expected the header ID,.*found ID,Label"),
        ("ID,ImageHeight,ImageWidth,PredictionString\n", "expected the header"),
        (HEADER + "a,1,1\n", "row 2: expected 4 fields, but found 3"),
        (HEADER + "a,1,1,\nb,1,1,0 1 A,\n", "row 3: expected 4 fields, but found 5"),
        (HEADER + ",1,1,\n", "row 2: expected an ID"),
        (HEADER + "a,0,1,\n", "row 2, image a: expected width and height"),
        (HEADER + "a,1,-1,\n", "expected width and height"),
        (HEADER + "a,1.5,1,\n", "found '1.5' and '1'"),
        (HEADER + "a,²,1,\n", "expected width and height"),
        (HEADER + f"a,{'9' * 5000},1,\n", "expected width and height"),
        (HEADER + "a,1,1,0 1\n", "row 2, image a: expected `class confidence mask`"),
        (HEADER + "a,1,1,\nb,1,1,0 x A\n", "row 3, image b: detection 1: expected a confidence"),
        (HEADER + "a,1,1,0 nan A\n", "row 2, image a: expected finite confidences"),
        (HEADER + "a,1,1,0 inf A\n", "expected finite confidences"),
        (HEADER + 'a,1,1,"0 1 A\n', "row 2: cannot be read as CSV"),
        (HEADER + 'a,1,1,\nb,1,1,"0"1 A\n', "row 3: cannot be read as CSV"),
        (HEADER.encode() + b"a,1,1,\xff\n", "cannot be read as CSV"),
    ],
)
def test_malformed_files_are_refused_with_the_row(write, text, message):
    with pytest.raises(ValueError, match=message):
        read_submission(write(text))


def test_the_field_limit_is_put_back_after_an_error(write):
    limit = csv.field_size_limit()
    with pytest.raises(ValueError, match="CSV"):
        list(raw_rows(write('"')))
    assert csv.field_size_limit() == limit


def test_a_sample_names_every_image_once(write):
    assert read_images(write(HEADER + "a,3,2,anything\n")) == [ImageSize("a", 2, 3)]
    with pytest.raises(ValueError, match="row 3: the ID a repeats"):
        read_images(write(HEADER + "a,3,2,\na,3,2,\n"))
