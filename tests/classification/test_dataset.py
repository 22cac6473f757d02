import pickle
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from hpa.classification.augmentation import AugmentationConfig, build_augmentation
from hpa.classification.dataset import ImageDataset

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 4, 32, 32), dtype=np.uint8)
SOURCE = SimpleNamespace(pixels=PIXELS)
ROWS = np.array([4, 0, 2])
TARGETS = np.eye(3, dtype=np.float32)


def training(**settings):
    return ImageDataset(SOURCE, ROWS, TARGETS, augmentation=build_augmentation(AugmentationConfig()), **settings)


def test_without_augmentation_a_sample_is_a_copy_of_the_cached_pixels():
    data = ImageDataset(SOURCE, ROWS, TARGETS, weights=np.array([1, 0.5, 0], np.float32))
    assert len(data) == 3
    for index in range(3):
        sample = data.sample(index, epoch=index)
        np.testing.assert_array_equal(sample["images"], PIXELS[ROWS[index]])
        assert not np.shares_memory(sample["images"], PIXELS)
        np.testing.assert_array_equal(sample["targets"], TARGETS[index])
        assert (sample["weights"], sample["index"]) == ([1, 0.5, 0][index], index)


def test_samples_are_functions_of_seed_epoch_and_index():
    first, second = training(seed=1), pickle.loads(pickle.dumps(training(seed=1)))
    keys = [(index, epoch) for index in range(6) for epoch in range(3)]
    images = {key: first.sample(*key)["images"] for key in keys}
    for key in reversed(keys):
        np.testing.assert_array_equal(second.sample(*key)["images"], images[key])
    assert len({image.tobytes() for image in images.values()}) == len(keys)
    assert any((training(seed=2).sample(*key)["images"] != images[key]).any() for key in keys)


def test_repetitions_are_the_same_image_changed_anew():
    data = training()
    again = data.sample(1 + 2 * len(data), 0)
    assert again["index"] == 1
    np.testing.assert_array_equal(again["targets"], TARGETS[1])
    assert (again["images"] != data.sample(1, 0)["images"]).any()


def test_samples_stack_to_a_batch():
    data = training()
    batch = default_collate([data.sample(index, 0) for index in range(3)])
    assert batch["images"].shape == (3, 4, 32, 32)
    assert batch["images"].dtype == torch.uint8
    assert torch.equal(batch["targets"], torch.eye(3))
    assert torch.equal(batch["weights"], torch.ones(3))
    assert batch["weights"].dtype == torch.float32
    assert batch["index"].tolist() == [0, 1, 2]


def test_images_without_labels_have_none():
    data = ImageDataset(SOURCE)
    assert len(data) == 5
    assert set(data.sample(0)) == {"images", "index"}


def test_a_map_of_a_file_is_read_and_its_pixels_may_be_written(tmp_path):
    np.save(tmp_path / "pixels.npy", PIXELS)
    mapped = SimpleNamespace(pixels=np.load(tmp_path / "pixels.npy", mmap_mode="r"))
    image = ImageDataset(mapped).sample(3)["images"]
    np.testing.assert_array_equal(image, PIXELS[3])
    assert image.flags.writeable
    assert type(image) is np.ndarray


@pytest.mark.parametrize(("size", "method"), [(16, cv2.INTER_AREA), (48, cv2.INTER_LINEAR)])
def test_another_size_is_cv2s(size, method):
    image = ImageDataset(SOURCE, size=size).sample(2)["images"]
    for plane, original in zip(image, PIXELS[2], strict=True):
        np.testing.assert_array_equal(plane, cv2.resize(original, (size, size), interpolation=method))
    assert training(size=size).sample(0, 0)["images"].shape == (4, size, size)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"rows": np.array([0, 5])}, "rows from 0 to 4, but got 0 to 5"),
        ({"rows": np.array([-1, 2])}, "rows from 0 to 4"),
        ({"targets": TARGETS}, "targets for 5 images, but got 3"),
        ({"weights": np.ones(6, np.float32)}, "weights for 5 images, but got 6"),
    ],
)
def test_what_does_not_fit_together_is_an_error(settings, problem):
    with pytest.raises(ValueError, match=problem):
        ImageDataset(SOURCE, **settings)
