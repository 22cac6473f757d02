import numpy as np
import pytest

from hpa.datasets import MissingSourceError, Npz, list_images

IMAGES = np.zeros((4, 28, 28), np.uint8)


def save(tmp_path, **arrays):
    np.savez_compressed(tmp_path / "data.npz", **arrays)
    return tmp_path / "data.npz"


def test_single_label(tmp_path):
    file = save(tmp_path, train_images=IMAGES, train_labels=np.array([[0], [2], [1], [2]]), test_images=IMAGES[:1])
    listing = list_images(Npz(file=file, classes=("a", "b", "c")))
    assert listing.images["image_id"].tolist() == [f"train_{row:06d}" for row in range(4)]
    assert listing.images["paths"][3] == [f"{file}::train_images/3"]
    assert listing.images["split"].unique().tolist() == ["train"]
    assert listing.labels[["a", "b", "c"]].to_numpy().argmax(axis=1).tolist() == [0, 2, 1, 2]
    assert listing.channels == ("grey",)
    assert not listing.classes.multi_label


def test_several_splits_and_numbers_as_names(tmp_path):
    labels = np.array([0, 1, 1, 0])
    file = save(tmp_path, train_images=IMAGES, train_labels=labels, val_images=IMAGES[:2], val_labels=labels[:2] * 2)
    listing = list_images(Npz(file=file, splits=("train", "val")))
    assert len(listing.images) == 6
    assert listing.classes.names == ("0", "1", "2")


def test_multi_label_and_colour(tmp_path):
    labels = np.array([[0, 1], [1, 1], [0, 0], [0, 2]])
    file = save(tmp_path, train_images=np.zeros((4, 28, 28, 3), np.uint8), train_labels=labels)
    listing = list_images(Npz(file=file))
    assert listing.channels == ("red", "green", "blue")
    assert listing.classes.multi_label
    assert listing.labels[["0", "1"]].to_numpy().tolist() == [[0, 1], [1, 1], [0, 0]]
    assert listing.problems[["image_id", "problem", "row"]].to_numpy().tolist() == [["train_000003", "bad_label", 3]]


def test_labels_outside_the_list(tmp_path):
    file = save(tmp_path, train_images=IMAGES, train_labels=np.array([0, 5, -1, 1]))
    listing = list_images(Npz(file=file, classes=("a", "b")))
    assert listing.images["image_id"].tolist() == ["train_000000", "train_000003"]
    assert listing.problems["row"].tolist() == [1, 2]


def test_images_without_labels(tmp_path):
    file = save(tmp_path, test_images=IMAGES, train_images=IMAGES, train_labels=np.zeros(4, int))
    assert list_images(Npz(file=file, splits=("test",), classes=("a", "b"))).labels.empty
    with pytest.raises(ValueError, match=r"need source\.classes"):
        list_images(Npz(file=file, splits=("test",)))
    with pytest.raises(ValueError, match="take them apart"):
        list_images(Npz(file=file, splits=("train", "test"), classes=("a", "b")))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"val_images": IMAGES}, r"no array 'train_images' for source\.splits; there are \['val_images'\]"),
        ({"train_images": IMAGES, "train_labels": np.zeros(3, int)}, "for 4 images"),
        ({"train_images": IMAGES, "train_labels": np.zeros(4)}, "whole numbers"),
        ({"train_images": IMAGES[0], "train_labels": np.zeros(28, int)}, "height x width"),
        ({"train_images": IMAGES, "train_labels": np.array([0, 1, 2, 10**9])}, "too many classes"),
        ({"train_images": IMAGES[:0], "train_labels": np.zeros(0, int)}, "no image that can be used"),
    ],
)
def test_errors_that_stop(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message):
        list_images(Npz(file=save(tmp_path, **arrays)))


def test_a_missing_file_and_one_that_is_no_npz(tmp_path):
    with pytest.raises(MissingSourceError, match=r"set source\.file"):
        list_images(Npz(file=tmp_path / "none.npz"))
    (tmp_path / "x.npz").write_text("x")
    with pytest.raises(ValueError, match="not a readable npz"):
        list_images(Npz(file=tmp_path / "x.npz"))


def test_the_fingerprint_follows_the_values(tmp_path):
    labels = np.array([0, 1, 1, 0])
    first = list_images(Npz(file=save(tmp_path, train_images=IMAGES, train_labels=labels))).fingerprint
    changed = IMAGES.copy()
    changed[3, 4, 5] = 1
    second = list_images(Npz(file=save(tmp_path, train_images=changed, train_labels=labels))).fingerprint
    assert first != second


def test_the_real_file(sample_data):
    listing = list_images(Npz(file=sample_data / "pneumonia28" / "pneumoniamnist_longtail.npz"))
    assert listing.labels[["0", "1"]].sum().tolist() == [388, 3494]
