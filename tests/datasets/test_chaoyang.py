import json

import cv2
import numpy as np
import pytest

from hpa.datasets import Chaoyang, MissingSourceError, list_images

ITEMS = [
    {"name": "train/353042_4-IMG005x014-1.JPG", "label": 1, "label_A": 1, "label_B": 1, "label_C": 1},
    {"label": 0, "name": "train/353042_4-IMG008x014-0.JPG", "label_B": 0, "label_A": 1, "label_C": 0},
    {"name": "train/535940-IMG014x009-2.JPG", "label": 2, "label_A": 2, "label_B": 0, "label_C": 2},
    {"name": "train/535941-IMG014x009-3.JPG", "label": 3, "label_A": 3, "label_C": None},
]


def folder_of(tmp_path, items=ITEMS, name="train_label.json"):
    (tmp_path / "train").mkdir(exist_ok=True)
    for item in items:
        if str(item.get("name")).startswith("train/"):
            cv2.imwrite(str(tmp_path / item["name"]), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / name).write_text(json.dumps(items))
    return tmp_path


def test_tiles_labels_slides_and_annotators(tmp_path):
    listing = list_images(Chaoyang(folder=folder_of(tmp_path)))
    assert listing.classes.names == ("normal", "serrated", "adenocarcinoma", "adenoma")
    assert not listing.classes.multi_label
    images = listing.images.set_index("image_id")
    assert images.index.tolist()[0] == "train_353042_4-IMG005x014-1"
    assert images["slide"].tolist() == ["353042_4", "353042_4", "535940", "535941"]
    assert listing.group_columns == ("slide",)
    labels = listing.labels.set_index("image_id").loc[images.index].to_numpy()
    assert labels.argmax(axis=1).tolist() == [1, 0, 2, 3]
    assert images["label_A"].tolist() == ["serrated", "serrated", "adenocarcinoma", "adenoma"]
    assert images["label_B"].tolist() == ["serrated", "normal", "normal", ""]
    assert images["label_C"].tolist() == ["serrated", "normal", "adenocarcinoma", ""]
    assert listing.problems.empty


def test_the_label_may_be_one_annotators(tmp_path):
    listing = list_images(Chaoyang(folder=folder_of(tmp_path), label="label_B"))
    assert len(listing.images) == 3
    assert listing.problems["problem"].tolist() == ["bad_label"]
    assert listing.labels.iloc[:, 1:].to_numpy().argmax(axis=1).tolist() == [1, 0, 0]


def test_several_lists(tmp_path):
    folder_of(tmp_path, ITEMS[:2])
    folder_of(tmp_path, ITEMS[2:], "test_label.json")
    assert len(list_images(Chaoyang(folder=tmp_path)).images) == 2
    both = Chaoyang(folder=tmp_path, lists=("train_label.json", "test_label.json"))
    assert len(list_images(both).images) == 4


def test_damaged_items_are_problems(tmp_path):
    bad = [
        {"name": "train/absent-1.JPG", "label": 1},
        {"name": "../outside-1.JPG", "label": 1},
        {"name": "train/535940-IMG014x010-9.JPG", "label": 9},
        {"name": "train/535940-IMG014x011-9.JPG", "label": True},
        ITEMS[0],
    ]
    folder = folder_of(tmp_path, [*ITEMS, *bad])
    (folder / "train" / "absent-1.JPG").unlink()
    listing = list_images(Chaoyang(folder=folder))
    assert len(listing.images) == 4
    found = dict(zip(listing.problems["image_id"], listing.problems["problem"], strict=True))
    assert found == {
        "train_absent-1": "missing_file",
        ".._outside-1": "unsafe_path",
        "train_535940-IMG014x010-9": "bad_label",
        "train_535940-IMG014x011-9": "bad_label",
        "train_353042_4-IMG005x014-1": "duplicate_id",
    }


def test_a_change_of_votes_changes_the_fingerprint(tmp_path):
    first = list_images(Chaoyang(folder=folder_of(tmp_path))).fingerprint
    changed = [{**ITEMS[0], "label_C": 0}, *ITEMS[1:]]
    assert list_images(Chaoyang(folder=folder_of(tmp_path, changed))).fingerprint != first


@pytest.mark.parametrize("content", ["[1, 2]", '{"name": "a"}', '[{"label": 1}]', "no json", '[{"name": 3}]'])
def test_lists_that_are_none(tmp_path, content):
    (tmp_path / "train_label.json").write_text(content)
    with pytest.raises(ValueError, match=r"train_label\.json: expected (JSON|a list of objects)"):
        list_images(Chaoyang(folder=tmp_path))


def test_missing_things(tmp_path):
    with pytest.raises(MissingSourceError, match=r"set source\.folder and source\.lists"):
        list_images(Chaoyang(folder=tmp_path))
    with pytest.raises(MissingSourceError):
        list_images(Chaoyang(folder=tmp_path / "absent"))
