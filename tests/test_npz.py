import zipfile

import numpy as np
import pytest

from hpa.images import ImageError
from hpa.npz import array_shapes, member_path, read_array, read_member

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 28, 30), np.uint8)
LABELS = np.arange(5).reshape(-1, 1)


@pytest.fixture(params=[np.savez, np.savez_compressed], ids=["plain", "compressed"])
def file(request, tmp_path):
    path = tmp_path / "data.npz"
    request.param(path, train_images=IMAGES, train_labels=LABELS, colour=np.stack([IMAGES] * 3, axis=-1))
    return path


def test_every_image_is_as_written(file):
    for row, image in enumerate(IMAGES):
        assert np.array_equal(read_member(member_path(file, "train_images", row))[:, :, 0], image)
    assert np.array_equal(read_member(member_path(file, "colour", 2)), np.stack([IMAGES[2]] * 3, axis=-1))


def test_plain_arrays_are_mapped_and_compressed_ones_are_not(file):
    array = read_array(file, "train_images")
    with zipfile.ZipFile(file) as archive:
        is_plain = archive.getinfo("train_images.npy").compress_type == zipfile.ZIP_STORED
    assert isinstance(array, np.memmap) == is_plain
    assert np.array_equal(array, IMAGES)
    assert np.array_equal(read_array(file, "train_labels"), LABELS)


def test_shapes_come_from_the_headers(file):
    assert array_shapes(file) == {"train_images": (5, 28, 30), "train_labels": (5, 1), "colour": (5, 28, 30, 3)}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("values", [np.asfortranarray(IMAGES), np.zeros((0, 28, 28), np.uint8)], ids=["F", "empty"])
def test_fortran_order_and_no_images(tmp_path, save, values):
    save(tmp_path / "x.npz", a=values)
    assert np.array_equal(read_array(tmp_path / "x.npz", "a"), values)


def problem_of(path):
    with pytest.raises(ImageError) as caught:
        read_member(path)
    return caught.value.problem


def test_what_is_not_there(file, tmp_path):
    assert problem_of(f"{file}::train_images/5") == "missing_file"
    assert problem_of(f"{file}::train_images/x") == "missing_file"
    assert problem_of(f"{tmp_path}/none.npz::train_images/0") == "missing_file"
    assert problem_of(f"{file}::none/0") == "corrupt"
    assert problem_of(f"{file}::train_labels/0") == "channel_count"
    with pytest.raises(ValueError, match="there are"):
        read_array(file, "none")


def test_pixels_of_another_type(tmp_path):
    np.savez(tmp_path / "x.npz", a=IMAGES.astype(np.float32))
    assert problem_of(f"{tmp_path}/x.npz::a/0") == "pixel_type"


def test_images_too_large(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros((1, 2, 5000), np.uint8))
    assert problem_of(f"{tmp_path}/x.npz::a/0") == "too_large"


def test_objects_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.array([print, "b"], object))
    with pytest.raises(ValueError, match="never unpickled"):
        read_array(tmp_path / "x.npz", "a")
    with pytest.raises(ValueError, match="never unpickled"):
        array_shapes(tmp_path / "x.npz")


def test_a_truncated_file(file):
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match="not a readable npz"):
        array_shapes(file)
    assert problem_of(f"{file}::train_images/0") == "corrupt"


def test_damaged_compressed_data(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, a=IMAGES)
    data = bytearray(path.read_bytes())
    data[1000:1040] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(ValueError, match="not a readable npz"):
        read_array(path, "a")


def test_a_header_that_promises_more_than_there_is(tmp_path):
    header = (
        b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 28, 28), }".ljust(117)
    )
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", header + b"\n" + bytes(100))
    with pytest.raises(ValueError, match="should have"):
        read_array(tmp_path / "x.npz", "a")


def test_a_compressed_array_too_large_for_memory(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "x.npz", a=IMAGES)
    monkeypatch.setattr("hpa.npz.MAX_UNPACKED", IMAGES.nbytes - 1)
    with pytest.raises(ValueError, match="without compression"):
        read_array(tmp_path / "x.npz", "a")


def test_a_file_that_changes_is_read_anew(file):
    path = member_path(file, "train_images", 0)
    read_member(path)
    np.savez(file, train_images=IMAGES[::-1, :-1])
    assert np.array_equal(read_member(path)[:, :, 0], IMAGES[-1, :-1])
