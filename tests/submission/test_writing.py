import csv
import errno
import subprocess
import sys
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpa.submission import Detection, ImageSize, SubmissionWriter, read_submission, write_prediction_string, writing

IMAGES = [ImageSize("b", 3, 4), ImageSize("a", 30, 40), ImageSize("c, d", 5, 6)]
ONE = [Detection(0, 0.5, "AAAA"), Detection(3, 0.25, "AAAA")]
TWO = [Detection(1, 0.125, "BBBB")]


def rows(path):
    with path.open(newline="") as stream:
        header, *content = csv.reader(stream)
    assert header == ["ID", "ImageWidth", "ImageHeight", "PredictionString"]
    return content


def expected(finished):
    return [
        [image.image_id, str(image.width), str(image.height), write_prediction_string(finished.get(image.image_id, []))]
        for image in IMAGES
    ]


def test_the_file_has_every_image_at_every_moment(tmp_path):
    path = tmp_path / "new" / "submission.csv"
    with SubmissionWriter(path, IMAGES) as writer:
        assert rows(path) == expected({})
        assert writer.remaining == ["b", "a", "c, d"]
        writer.add("c, d", ONE)
        writer.write()
        assert rows(path) == expected({"c, d": ONE})
        writer.add("b", [])
        writer.add("a", iter(TWO))
        assert writer.remaining == []
    assert rows(path) == expected({"c, d": ONE, "a": TWO})
    assert read_submission(path).images["image_id"].tolist() == ["b", "a", "c, d"]
    writer.remove_rows()
    assert sorted(file.name for file in path.parent.iterdir()) == ["submission.csv"]


def test_the_file_is_replaced_at_intervals_and_at_the_end(tmp_path, monkeypatch):
    now = 0.0
    monkeypatch.setattr(writing.time, "monotonic", lambda: now)
    path = tmp_path / "submission.csv"
    with SubmissionWriter(path, IMAGES, every=60.0) as writer:
        now = 59
        writer.add("b", ONE)
        assert rows(path) == expected({})
        now = 61
        writer.add("a", ONE)
        assert rows(path) == expected({"b": ONE, "a": ONE})
        now = 100
        writer.add("c, d", TWO)
        assert rows(path) == expected({"b": ONE, "a": ONE})
    assert rows(path) == expected({"b": ONE, "a": ONE, "c, d": TWO})


def test_a_slow_disk_is_written_less_often(tmp_path, monkeypatch):
    now = [0.0]

    def passes():
        now[0] += 20  # writing takes 20 seconds
        return now[0]

    monkeypatch.setattr(writing.time, "monotonic", passes)
    with SubmissionWriter(tmp_path / "s.csv", IMAGES, every=1.0) as writer:
        writer.add("b", ONE)
        assert rows(tmp_path / "s.csv") == expected({})
        now[0] = 300
        writer.add("a", ONE)
        assert rows(tmp_path / "s.csv") == expected({"b": ONE, "a": ONE})


def test_an_error_in_the_block_leaves_what_is_finished(tmp_path):
    path = tmp_path / "submission.csv"
    with pytest.raises(KeyboardInterrupt), SubmissionWriter(path, IMAGES) as writer:
        writer.add("a", ONE)
        raise KeyboardInterrupt
    assert rows(path) == expected({"a": ONE})


def test_a_killed_build_goes_on_and_ends_with_the_same_bytes(tmp_path):
    whole, path = tmp_path / "whole.csv", tmp_path / "killed.csv"
    with SubmissionWriter(whole, IMAGES) as writer:
        for image_id, detections in (("b", TWO), ("c, d", ONE), ("a", TWO)):
            writer.add(image_id, detections)
    program = f"""
import os
from pathlib import Path
from hpa.submission import Detection, ImageSize, SubmissionWriter
writer = SubmissionWriter(Path({str(path)!r}), {IMAGES!r})
writer.add("c, d", {ONE!r})
(Path({str(path)!r}).parent / ".killed.csv.abcd").write_text("what an atomic write leaves")
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    assert rows(path) == expected({})
    with SubmissionWriter(path, IMAGES) as writer:
        assert rows(path) == expected({"c, d": ONE})
        assert writer.remaining == ["b", "a"]
        writer.add("a", TWO)
        writer.add("b", TWO)
    assert path.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob(".killed.csv.*"))


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(0, 200))
def test_a_row_cut_off_anywhere_is_made_again(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "submission.csv"
    with SubmissionWriter(path, IMAGES) as writer:
        writer.add("c, d", ONE)
        writer.add("b", TWO)
        writer.add("a", [])
    log = path.with_name("submission.csv.rows")
    kept = log.read_bytes()[:cut]
    log.write_bytes(kept)
    with SubmissionWriter(path, IMAGES) as writer:
        assert len(writer.remaining) == 3 - kept.count(b"\n")
        for image_id in writer.remaining:
            writer.add(image_id, {"c, d": ONE, "b": TWO, "a": []}[image_id])
    assert rows(path) == expected({"c, d": ONE, "b": TWO})


def test_rows_of_other_images_are_refused(tmp_path):
    path = tmp_path / "submission.csv"
    with SubmissionWriter(path, IMAGES) as writer:
        writer.add("a", ONE)
    before = path.read_bytes()
    for images in ([ImageSize("e", 1, 1)], [ImageSize("a", 40, 30)]):
        with pytest.raises(ValueError, match=r"submission\.csv\.rows: holds rows of other images"):
            SubmissionWriter(path, images)
    path.with_name("submission.csv.rows").write_text("nonsense\n")
    with pytest.raises(ValueError, match="remove it to start anew"):
        SubmissionWriter(path, IMAGES)
    assert path.read_bytes() == before


def test_nothing_is_stored_of_an_image_that_cannot_be_written(tmp_path):
    path = tmp_path / "submission.csv"
    with SubmissionWriter(path, IMAGES) as writer:
        with pytest.raises(ValueError, match="'z' is none"):
            writer.add("z", ONE)
        with pytest.raises(ValueError, match="base64"):
            writer.add("a", [*ONE, Detection(0, 0.5, "A B")])
        writer.add("a", ONE)
        with pytest.raises(ValueError, match="a is finished already"):
            writer.add("a", TWO)
        with pytest.raises(ValueError, match="2 are not"):
            writer.remove_rows()
    assert rows(path) == expected({"a": ONE})


def test_a_full_disk_loses_no_finished_row(tmp_path, monkeypatch):
    path = tmp_path / "submission.csv"
    with SubmissionWriter(path, IMAGES) as writer:
        writer.add("a", ONE)

        def full(_):
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(writing.os, "fsync", full)
            with pytest.raises(OSError, match="No space left"):
                writer.add("b", TWO)
        assert writer.remaining == ["b", "c, d"]
        writer.add("c, d", TWO)
        writer.add("b", ONE)
    assert rows(path) == expected({"a": ONE, "b": ONE, "c, d": TWO})


@pytest.mark.parametrize(
    ("images", "message"),
    [([IMAGES[0]] * 2, "repeat"), ([ImageSize("", 1, 1)], "one line"), ([ImageSize("a\nb", 1, 1)], "one line")],
)
def test_images_without_sense(tmp_path, images, message):
    with pytest.raises(ValueError, match=message):
        SubmissionWriter(tmp_path / "s.csv", images)


def test_memory_is_that_of_one_row(tmp_path):
    images = [ImageSize(str(number), 10, 10) for number in range(40)]
    megabyte = [Detection(0, 0.5, "A" * 1_000_000)]
    tracemalloc.start()
    with SubmissionWriter(tmp_path / "s.csv", images, every=0.05) as writer:
        for image in images:
            writer.add(image.image_id, megabyte)
    with SubmissionWriter(tmp_path / "s.csv", images) as writer:
        assert writer.remaining == []
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (tmp_path / "s.csv").stat().st_size > 40_000_000
    assert peak < 12_000_000
