import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from hpa import progress
from hpa.artifacts import ArtifactError
from hpa.config import validate
from hpa.images import CHANNELS
from hpa.stages.data import index
from hpa.stages.data.dataset_config import DatasetConfig
from hpa.tables import IMAGE_COLUMNS


def draw(seed, side=32):
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (4, 8, 8)).astype(np.uint8)
    return np.stack([np.asarray(Image.fromarray(plane).resize((side, side))) for plane in small])


def write_image(folder, name, pixels):
    for channel, plane in zip(CHANNELS, pixels, strict=True):
        Image.fromarray(plane).save(folder / f"{name}_{channel}.png")


@pytest.fixture
def source(tmp_path):
    """Twelve images of the 2021 layout, i05 being i04 again, a little brighter."""
    folder = tmp_path / "train"
    folder.mkdir()
    for seed in range(12):
        pixels = draw(4)[:, :, :] // 2 + 20 if seed == 5 else draw(seed)
        write_image(folder, f"i{seed:02d}", pixels)
    lines = [f"i{seed:02d},{seed % 3}" for seed in range(12)]
    (tmp_path / "train.csv").write_text("\n".join(["ID,Label", *lines]) + "\n")
    return tmp_path


def config_of(source, out="out", **more):
    data = {
        "out": str(source / out),
        "source": {"kind": "kaggle2021", "folder": str(source / "train"), "csv": str(source / "train.csv")},
        "workers": {"kind": "none"},
    }
    return validate(DatasetConfig, {**data, **more})


@pytest.fixture
def said(monkeypatch):
    texts = []

    class Reporter(progress.Silent):
        def say(self, text):
            texts.append(text)

    monkeypatch.setattr(progress, "_reporter", Reporter())
    return texts


def test_the_tables(source, said):
    folder = index.run(config_of(source))
    images = pd.read_parquet(folder / "images.parquet")
    assert list(images.columns[: len(IMAGE_COLUMNS)]) == list(IMAGE_COLUMNS)
    assert images["image_id"].tolist() == [f"i{seed:02d}" for seed in range(12)]
    first = images.iloc[0]
    assert (first["width"], first["height"], first["bit_depth"]) == (32, 32, 8)
    for channel, plane in zip(CHANNELS, draw(0), strict=True):
        assert np.isclose(first[f"mean_{channel}"], plane.mean())
        assert np.isclose(first[f"std_{channel}"], plane.std())
        assert list(first[f"hist_{channel}"]) == np.histogram(plane, 32, (0, 256))[0].tolist()
    assert images["group"].tolist() == [*(f"i{n:02d}" for n in range(5)), "i04", *(f"i{n:02d}" for n in range(6, 12))]
    assert images["duplicate_set"].tolist() == ["i04" if n in (4, 5) else "" for n in range(12)]
    labels = pd.read_parquet(folder / "labels.parquet")
    assert labels.iloc[:, 1:].to_numpy().argmax(axis=1).tolist() == [n % 3 for n in range(12)]
    content = json.loads((folder / "dataset.json").read_text())
    assert content["channels"] == list(CHANNELS)
    assert len(content["classes"]["names"]) == 19
    assert sorted(path.name for path in folder.iterdir()) == [
        "dataset.json",
        "images.parquet",
        "labels.parquet",
        "problems.csv",
        "record.json",
    ]
    assert said == [f"{folder}: 12 images in 11 groups, 2 of them near duplicates in 1 sets"]


def test_bad_images_are_listed_and_left_out(source, said):
    train = source / "train"
    (train / "i01_red.png").write_bytes((train / "i01_red.png").read_bytes()[:-30])
    (train / "i02_blue.png").unlink()
    (train / "i03_green.png").write_text("<html>404</html>")
    Image.fromarray(np.zeros((30, 32), np.uint8)).save(train / "i06_yellow.png")
    Image.fromarray(np.zeros((1, 5000), np.uint8)).save(train / "i07_red.png")
    text = (source / "train.csv").read_text().replace("i08,2", "i08,18|2").replace("i09,0", "../i09,0") + "i10,5\n"
    (source / "train.csv").write_text(text)
    folder = index.run(config_of(source))
    problems = pd.read_csv(folder / "problems.csv")
    assert dict(zip(problems["image_id"], problems["problem"], strict=True)) == {
        "i01": "truncated",
        "i02": "missing_channel",
        "i03": "not_an_image",
        "i06": "size_mismatch",
        "i07": "too_large",
        "i08": "bad_label",
        "../i09": "unsafe_id",
        "i10": "duplicate_id",
    }
    assert problems.set_index("image_id").loc["i08", "row"] == 10
    kept = pd.read_parquet(folder / "images.parquet")["image_id"].tolist()
    assert kept == ["i00", "i04", "i05", "i11"]
    assert pd.read_parquet(folder / "labels.parquet")["image_id"].tolist() == kept
    assert "9 entries left out (1 bad_label, 2 duplicate_id" in said[0]


def test_groups_of_a_column_and_duplicates_join(source):
    lines = [f"i{n:02d},{n % 3},plate{n // 3}" for n in range(12)]
    (source / "train.csv").write_text("\n".join(["ID,Label,plate", *lines]))
    config = config_of(source)
    config = config.model_copy(update={"source": config.source.model_copy(update={"group_columns": ("plate",)})})
    images = pd.read_parquet(index.run(config) / "images.parquet")
    assert images["group"].tolist() == [f"plate{n // 3}" for n in range(12)]
    assert images["plate"].tolist() == images["group"].tolist()
    without = config_of(source, "plain", index={"duplicate_distance": None})
    assert pd.read_parquet(index.run(without) / "images.parquet")["group"].nunique() == 12


def test_a_second_run_does_nothing(source, said):
    folder = index.run(config_of(source))
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    index.run(config_of(source))
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert "nothing to do" in said[-1]


def test_a_changed_folder_is_noticed(source):
    index.run(config_of(source))
    write_image(source / "train", "i03", draw(3, side=40))
    with pytest.raises(ArtifactError, match=r"inputs\.images"):
        index.run(config_of(source))


def test_other_settings_are_noticed_and_workers_are_none(source):
    index.run(config_of(source))
    with pytest.raises(ArtifactError, match=r"index\.duplicate_distance: there 'auto', now 5"):
        index.run(config_of(source, index={"duplicate_distance": 5}))
    index.run(config_of(source, workers={"kind": "processes", "count": 0}, cache={"size": 64}))


def test_the_index_stands_when_its_images_are_gone(source, said):
    config = config_of(source)
    folder = index.run(config)
    (source / "train").rename(source / "elsewhere")
    assert index.run(config) == folder
    assert "no longer where they were" in said[-1]
    with pytest.raises(ValueError, match=r"set source\.folder"):
        index.run(config_of(source, "other"))


def test_nothing_left_is_an_error(source):
    for path in (source / "train").iterdir():
        path.write_bytes(b"junk")
    with pytest.raises(ValueError, match="none of the 12 images can be used; the first: .*expected a PNG"):
        index.run(config_of(source))
    assert not (source / "out" / "index").exists()


def test_processes_give_the_same_bytes(source):
    alone = index.run(config_of(source))
    together = index.run(config_of(source, "two", workers={"kind": "processes", "count": 1}))
    for path in alone.iterdir():
        if path.name != "record.json":
            assert path.read_bytes() == (together / path.name).read_bytes(), path.name


KILLED = """
import os, signal, sys
from hpa.config import load_config
from hpa.stages.data import index
from hpa.stages.data.dataset_config import DatasetConfig
from pathlib import Path
real, seen = index._Check.__call__, []
def check(self, key):
    seen.append(key)
    if len(seen) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, key)
index._Check.__call__ = check
index.run(load_config(DatasetConfig, Path(sys.argv[1])))
"""


def test_kill_9_and_the_same_command_finishes_with_the_same_bytes(source, monkeypatch):
    expected = index.run(config_of(source, "unbroken"))
    config = config_of(source)
    file = source / "config.yaml"
    file.write_text(config.model_dump_json())
    killed = subprocess.run([sys.executable, "-c", KILLED, file], cwd=Path(__file__).parents[3], check=False)
    assert killed.returncode == -signal.SIGKILL
    partial = source / "out" / "index.partial" / "checked.jsonl"
    lines = partial.read_bytes()
    assert lines.count(b"\n") == 7
    partial.write_bytes(lines[:-40])  # as if the kill had come while a line was written
    read = []
    real = index._Check.__call__
    monkeypatch.setattr(index._Check, "__call__", lambda self, key: read.append(key[0]) or real(self, key))
    folder = index.run(config)
    assert read == [f"i{n:02d}" for n in range(6, 12)]
    assert {path.name for path in folder.iterdir()} == {path.name for path in expected.iterdir()}
    for path in expected.iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes(), path.name


def test_real_images_of_two_competitions(sample_data, tmp_path):
    folder = sample_data / "hpa2021" / "train"
    source = {"kind": "kaggle2021", "folder": str(folder)}
    config = validate(DatasetConfig, {"out": str(tmp_path), "source": source, "workers": {"kind": "none"}})
    images = pd.read_parquet(index.run(config) / "images.parquet")
    assert images[["width", "height", "bit_depth"]].to_numpy().tolist() == [[2048, 2048, 8]] * 2
    assert pd.read_parquet(tmp_path / "index" / "labels.parquet").empty


def test_real_pictures_in_class_folders(sample_data, tmp_path):
    source = {"kind": "class_folders", "folder": str(sample_data / "chest_xray3"), "channels": ["grey"]}
    config = validate(DatasetConfig, {"out": str(tmp_path), "source": source, "workers": {"kind": "none"}})
    images = pd.read_parquet(index.run(config) / "images.parquet")
    assert len(images) == 21
    assert (images["duplicate_set"] == "").all()
    assert images["width"].min() >= 439
