import pickle

import numpy as np
import pytest
import torch

from hpa.cell_cache import CellCache, split_masks, write_cell_cache
from hpa.classification.augmentation import AugmentationConfig, build_augmentation
from hpa.classification.cell_dataset import CellDataset, MaskingConfig
from hpa.config import ConfigError, load_config
from hpa.images import resize

COUNT, SIZE = 12, 16
NOTHING = AugmentationConfig(dihedral="none", warp=0, intensity=0, blur=0, noise=0, cutout=0, downscale=0)
TARGETS = np.eye(5, dtype=np.float32)
ROWS = np.array([7, 0, 3, 3, 11])


@pytest.fixture(scope="module", params=[1, 2])
def cache(request, tmp_path_factory):
    """Cells with 1 to 255 outside and inside, so that 0 is masked."""
    scales = request.param
    draws = np.random.default_rng(0)
    crops = draws.integers(1, 256, (COUNT, scales * 5, SIZE, SIZE)).astype(np.uint8)
    crops[:, 4::5] = np.where(draws.random((COUNT, scales, SIZE, SIZE)) < 0.5, 255, 0)
    folder = tmp_path_factory.mktemp("cache")
    write_cell_cache(folder, {"a": list(range(COUNT))}, [0], lambda key: crops, ("r", "g", "b", "y"), scales, SIZE)
    return CellCache.open(folder)


def expected(cache, row, masked):
    return split_masks(np.array(cache.pixels[row : row + 1]), cache.scales, masked)[0]


@pytest.mark.parametrize(("neighbours", "masked"), [("masked", True), ("kept", False), ("random", True)])
def test_validation_is_always_the_same(cache, neighbours, masked):
    data = CellDataset(cache, ROWS, TARGETS, masking=MaskingConfig(neighbours=neighbours))
    assert len(data) == 5
    for index in range(5):
        for epoch in range(4):
            sample = data.sample(index, epoch)
            np.testing.assert_array_equal(sample["images"], expected(cache, ROWS[index], masked))
            assert sample["images"].shape == (4 * cache.scales, SIZE, SIZE)
        np.testing.assert_array_equal(sample["targets"], TARGETS[index])
        assert sample["weights"] == 1
        assert sample["index"] == index


def test_training_masks_a_part_of_the_samples(cache):
    """Without any augmentation, each training sample is one of the two."""
    masking = MaskingConfig(neighbours="random", probability=0.25)
    data = CellDataset(cache, augmentation=build_augmentation(NOTHING), masking=masking, seed=3)
    seen = []
    for index in range(COUNT):
        for epoch in range(40):
            image = data.sample(index, epoch)["images"]
            is_masked = bool((image == 0).any())
            np.testing.assert_array_equal(image, expected(cache, index, is_masked))
            seen.append(is_masked)
    assert np.mean(seen) == pytest.approx(0.25, abs=0.06)
    per_cell, per_epoch = np.array(seen).reshape(COUNT, 40).mean(axis=1), np.array(seen).reshape(COUNT, 40).mean(axis=0)
    assert 0 < per_cell.min() <= per_cell.max() < 1
    assert len(np.unique(per_epoch)) > 1


@pytest.mark.parametrize(("probability", "masked"), [(0.0, False), (1.0, True)])
def test_never_and_always(cache, probability, masked):
    masking = MaskingConfig(neighbours="random", probability=probability)
    data = CellDataset(cache, augmentation=build_augmentation(NOTHING), masking=masking)
    for index in range(COUNT):
        np.testing.assert_array_equal(data.sample(index, 1)["images"], expected(cache, index, masked))


def test_samples_are_functions_of_seed_epoch_and_index(cache):
    def make(seed):
        augmentation = build_augmentation(AugmentationConfig())
        return CellDataset(
            cache, ROWS, augmentation=augmentation, masking=MaskingConfig(neighbours="random"), seed=seed
        )

    first, second = make(1), pickle.loads(pickle.dumps(make(1)))
    keys = [(index, epoch) for index in range(10) for epoch in range(3)]
    images = {key: first.sample(*key)["images"] for key in keys}
    for key in reversed(keys):
        np.testing.assert_array_equal(second.sample(*key)["images"], images[key])
    assert len({image.tobytes() for image in images.values()}) == len(keys)
    assert any((make(2).sample(*key)["images"] != images[key]).any() for key in keys)


def test_masking_comes_before_augmentation(cache):
    """Brightness lifts what was masked too, all of it by the same."""
    lift = NOTHING.model_copy(update={"intensity": 1.0, "brightness": 0.2, "contrast": 0.0})
    data = CellDataset(cache, augmentation=build_augmentation(lift))
    lifted = []
    for index in range(4):
        image = data.sample(index, 0)["images"]
        for plane, before in zip(image, expected(cache, index, True), strict=True):
            (outside,) = np.unique(plane[before == 0])
            lifted.append(outside)
    assert max(lifted) > 10


@pytest.mark.parametrize("size", [None, 8, 24])
@pytest.mark.parametrize("neighbours", ["masked", "kept", "random"])
def test_a_batch_is_what_the_samples_are(cache, size, neighbours):
    data = CellDataset(cache, ROWS, masking=MaskingConfig(neighbours=neighbours), size=size)
    indices = np.array([4, 2, 2, 0, 1])
    batch = data.read_batch(indices)
    np.testing.assert_array_equal(batch, [data.sample(index)["images"] for index in indices.tolist()])
    if size is not None:
        original = expected(cache, ROWS[4], neighbours != "kept")
        np.testing.assert_array_equal(batch[0], resize(original, size))
    collated = data.collate([data.key(index, 0) for index in (4, 2, 2, 5, 1)])  # 5 is 0 again
    assert collated["images"].dtype == torch.uint8
    np.testing.assert_array_equal(collated["images"].numpy(), batch)
    assert collated["index"].tolist() == indices.tolist()


def test_a_batch_may_be_written_to(cache):
    data = CellDataset(cache)
    before = data.read_batch(np.arange(3))
    changed = data.read_batch(np.arange(3))
    changed[:] = 0
    np.testing.assert_array_equal(data.read_batch(np.arange(3)), before)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"rows": np.array([0, COUNT])}, "rows from 0 to 11, but got 0 to 12"),
        ({"targets": TARGETS}, "targets for 12 images, but got 5"),
        ({"weights": np.ones(3, np.float32)}, "weights for 12 images, but got 3"),
    ],
)
def test_what_does_not_fit_together_is_an_error(cache, settings, problem):
    with pytest.raises(ValueError, match=problem):
        CellDataset(cache, **settings)


def test_configuration():
    assert load_config(MaskingConfig, overrides=["neighbours=random", "probability=1"]).probability == 1
    for override in ("neighbours=hidden", "probability=1.1", "probability=-0.1"):
        with pytest.raises(ConfigError):
            load_config(MaskingConfig, overrides=[override])
