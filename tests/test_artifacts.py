import errno
import json
import subprocess
import sys

import pytest

from hpa import artifacts
from hpa.artifacts import ArtifactError, build, is_finished, make_record, read_record
from hpa.config import Config


class Settings(Config):
    size: int = 3


def record(size=3, inputs=None):
    return make_record("index", {"settings": Settings(size=size)}, inputs)


def test_a_finished_artifact_is_recognised(tmp_path):
    out = tmp_path / "a" / "index"
    assert not is_finished(out, record())
    with build(out, record()) as folder:
        (folder / "x.txt").write_text("x")
    assert is_finished(out, record())
    assert sorted(path.name for path in out.iterdir()) == ["record.json", "x.txt"]
    assert list(out.parent.iterdir()) == [out]
    assert read_record(out, "index").fingerprint == record().fingerprint


def test_another_record_is_an_error_that_names_the_difference(tmp_path):
    out = tmp_path / "index"
    with build(out, record(3, {"images": "aaa"})):
        pass
    with pytest.raises(ArtifactError) as caught:
        is_finished(out, record(4, {"images": "bbb"}))
    assert "settings.size: there 3, now 4" in str(caught.value)
    assert "inputs.images: there 'aaa', now 'bbb'" in str(caught.value)


def test_versions_are_recorded_but_not_compared(tmp_path):
    out = tmp_path / "index"
    with build(out, record()):
        pass
    stored = json.loads((out / "record.json").read_text())
    assert stored["made_by"]["torch"]
    stored["made_by"]["torch"] = "0.1"
    (out / "record.json").write_text(json.dumps(stored))
    assert is_finished(out, record())


def test_a_failed_build_is_continued(tmp_path):
    out = tmp_path / "index"
    with pytest.raises(RuntimeError), build(out, record()) as folder:
        (folder / "half").write_text("kept")
        raise RuntimeError
    assert not out.exists()
    with pytest.raises(ArtifactError, match="unfinished"):
        read_record(out, "index")
    with build(out, record()) as folder:
        assert (folder / "half").read_text() == "kept"
    assert is_finished(out, record())


def test_an_unfinished_build_of_another_record_is_kept(tmp_path):
    out = tmp_path / "index"
    with pytest.raises(RuntimeError), build(out, record()) as folder:
        (folder / "half").write_text("kept")
        raise RuntimeError
    with pytest.raises(ArtifactError, match="size"), build(out, record(4)):
        pass
    assert (tmp_path / "index.partial" / "half").read_text() == "kept"


@pytest.mark.parametrize("killed", [False, True])
def test_a_build_that_wrote_nothing_holds_nobody_up(tmp_path, killed):
    out = tmp_path / "index"
    with pytest.raises(RuntimeError), build(out, record()) as folder:
        (folder / "empty" / "folders").mkdir(parents=True)
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    if killed:
        (tmp_path / "index.partial").mkdir()
        artifacts.write_json(tmp_path / "index.partial" / "record.json", record().model_dump(mode="json"))
        (tmp_path / "index.partial" / ".lock").touch()
    with build(out, record(4)):
        pass
    assert is_finished(out, record(4))


HOLD = """
import sys, time
from pathlib import Path
from hpa.artifacts import build, make_record
with build(Path(sys.argv[1]), make_record("index", {"settings": {"size": 3}})):
    print("started", flush=True)
    time.sleep(60)
"""


def test_two_processes_do_not_build_the_same_and_a_killed_one_leaves_no_lock(tmp_path):
    out = tmp_path / "index"
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "started\n"
    with pytest.raises(ArtifactError, match="another process"), build(out, record()):
        pass
    process.kill()
    process.communicate()
    with build(out, record()):
        pass
    assert is_finished(out, record())


def test_foreign_folders_are_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ArtifactError, match="not made by hpa"):
        is_finished(tmp_path, record())
    (tmp_path / "empty").mkdir()
    assert not is_finished(tmp_path / "empty", record())


@pytest.mark.parametrize("content", ["", "{}", "[1]", "{", '{"stage": 3}'])
def test_a_damaged_record_is_an_error(tmp_path, content):
    (tmp_path / "record.json").write_text(content)
    with pytest.raises(ArtifactError, match="not a record"):
        is_finished(tmp_path, record())


def test_a_record_of_another_stage(tmp_path):
    with build(tmp_path / "x", make_record("fold", {})):
        pass
    with pytest.raises(ArtifactError, match="expected an artifact of `hpa index`"):
        read_record(tmp_path / "x", "index")
    with pytest.raises(ArtifactError, match="`hpa index` makes it"):
        read_record(tmp_path / "y", "index")


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    artifacts.write_json(path, {"a": 1})

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(artifacts.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        artifacts.write_json(path, {"a": 2})
    assert artifacts.read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_json_without_nan(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        artifacts.write_json(tmp_path / "a.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


def test_work_that_the_disk_cannot_hold_is_refused(tmp_path):
    artifacts.require_space(tmp_path / "a" / "b", 1000, "the cache")
    with pytest.raises(ArtifactError, match="the cache needs 1000000000.00 GB"):
        artifacts.require_space(tmp_path / "a" / "b", 10**18, "the cache")
