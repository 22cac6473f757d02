import cv2
import numpy as np
import pytest
import tifffile

from hpa.config import ConfigError, validate
from hpa.images import ImageError
from hpa.segmentation.unet_config import UnetSamplesConfig
from hpa.segmentation.unet_dataset import Pair, Pairs, PreparedPairs, SegmentationDataset
from hpa.segmentation.unet_folder import FolderPairs, FolderPairsConfig, StoredPairs, store_pairs

CHANNELS = ("red", "green", "blue", "yellow")
CONFIG = UnetSamplesConfig(pixel_size=0.16, size=32)


def planes(seed, height=24, width=32, count=4):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width), dtype=np.uint8)


def label_map(seed, height=24, width=32):
    return np.random.default_rng(seed).integers(0, 400, (height, width)).astype(np.uint16)


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array)


@pytest.fixture
def folder(tmp_path):
    """Images a, b and c; cells of a (PNG) and b (TIFF), nuclei of a alone (npz)."""
    for seed, name in enumerate("abc"):
        for channel, plane in zip(CHANNELS, planes(seed), strict=True):
            write(tmp_path / "images" / f"{name}_{channel}.png", plane)
    write(tmp_path / "cells" / "a.png", label_map(10))
    tifffile.imwrite(tmp_path / "cells" / "b.tif", label_map(11))
    (tmp_path / "nuclei").mkdir()
    np.savez(tmp_path / "nuclei" / "a.npz", labels=label_map(12))
    return tmp_path


def folder_config(folder, **settings):
    return FolderPairsConfig(
        **{"images": folder / "images", "cells": folder / "cells", "nuclei": folder / "nuclei", **settings}
    )


def test_images_and_label_maps_are_paired_by_name(folder):
    pairs = FolderPairs(folder_config(folder))
    assert isinstance(pairs, Pairs)
    assert (pairs.image_ids, pairs.unlabelled, len(pairs)) == (["a", "b"], ["c"], 2)
    assert (pairs.channels, pairs.pixel_size, pairs.targets) == (CHANNELS, 0.08, ("nuclei", "cells"))
    first, second = pairs.read(0), pairs.read(1)
    for seed, found in enumerate((first, second)):
        np.testing.assert_array_equal(found.pixels, planes(seed))
        np.testing.assert_array_equal(found.cells, label_map(10 + seed))
    np.testing.assert_array_equal(first.nuclei, label_map(12))
    assert second.nuclei is None


def test_one_folder_of_label_maps_is_enough(folder):
    assert FolderPairs(folder_config(folder, cells=None)).targets == ("nuclei",)
    assert FolderPairs(folder_config(folder, nuclei=None)).targets == ("cells",)


def test_grey_images_and_label_maps_of_other_programs_by_patterns(tmp_path):
    write(tmp_path / "images" / "x (1).v2.tif", planes(0)[0])
    write(tmp_path / "images" / "x (1).v2_cp_masks.png", label_map(1))
    config = FolderPairsConfig(
        images=tmp_path / "images",
        nuclei=tmp_path / "images",
        image_pattern="{image_id}",
        nuclei_pattern="{image_id}_cp_masks",
        channels=("grey",),
    )
    pairs = FolderPairs(config)
    assert pairs.image_ids == ["x (1).v2"]
    assert pairs.unlabelled == ["x (1).v2_cp_masks"]
    np.testing.assert_array_equal(pairs.read(0).pixels, planes(0)[:1])
    np.testing.assert_array_equal(pairs.read(0).nuclei, label_map(1))


def test_one_colour_file_holds_all_channels(tmp_path):
    write(tmp_path / "images" / "x.png", planes(0, count=3).transpose(1, 2, 0)[:, :, ::-1])
    write(tmp_path / "labels" / "x.png", label_map(1))
    settings = {"image_pattern": "{image_id}", "channels": ("red", "green", "blue")}
    pairs = FolderPairs(FolderPairsConfig(images=tmp_path / "images", nuclei=tmp_path / "labels", **settings))
    np.testing.assert_array_equal(pairs.read(0).pixels, planes(0, count=3))


def test_a_folder_that_cannot_be_used_is_refused(folder):
    with pytest.raises(ValueError, match="nuclei: expected a folder at .*gone"):
        FolderPairs(folder_config(folder, nuclei=folder / "gone"))
    with pytest.raises(ValueError, match="12 images fit the name and none has a label map"):
        FolderPairs(folder_config(folder, image_pattern="{image_id}"))
    with pytest.raises(ValueError, match="0 images fit the name"):
        FolderPairs(folder_config(folder, images=folder / "nuclei"))
    (folder / "images" / "b_blue.png").unlink()
    with pytest.raises(ImageError, match=r"b has no file of the channels \['blue'\]"):
        FolderPairs(folder_config(folder))
    (folder / "images" / "a_red.png").write_bytes(b"damaged")
    (folder / "images" / "b_blue.png").write_bytes(b"damaged")
    with pytest.raises(ImageError, match="a_red"):
        FolderPairs(folder_config(folder)).read(0)


def test_a_configuration_without_label_maps_or_names_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="`cells` or `nuclei`"):
        validate(FolderPairsConfig, {"images": str(tmp_path)})
    with pytest.raises(ConfigError, match=r"image_pattern.*\{image_id\}"):
        validate(FolderPairsConfig, {"images": "a", "cells": "b", "image_pattern": "{channel}"})


def same(first, second):
    for one, other in zip(first, second, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


def test_stored_images_are_those_prepared_on_the_fly(folder):
    pairs = FolderPairs(folder_config(folder))
    stored, prepared = store_pairs(pairs, CONFIG, folder / "stored"), PreparedPairs(pairs, CONFIG)
    assert isinstance(stored, Pairs)
    assert (stored.channels, stored.pixel_size, stored.targets) == (CONFIG.channels, 0.16, ("nuclei", "cells"))
    assert len(stored) == 2
    for index in range(2):
        same(stored.read(index), prepared.read(index))
        same(StoredPairs(folder / "stored").read(index), prepared.read(index))
    assert SegmentationDataset(stored, CONFIG).sample(0, 0)["images"].shape == (3, 32, 32)


class CountedPairs:
    """Pairs in memory that count how often they are read, and may fail."""

    channels, pixel_size, targets = CHANNELS, 0.16, ("cells",)

    def __init__(self, fails_at=None):
        self.fails_at, self.reads = fails_at, []

    def __len__(self):
        return 4

    def read(self, index):
        if index == self.fails_at:
            raise ImageError("corrupt", "image 2 is damaged")
        self.reads.append(index)
        return Pair(planes(index), label_map(index), None)


def test_an_interrupted_preparation_goes_on(tmp_path):
    with pytest.raises(ImageError, match="image 2"):
        store_pairs(CountedPairs(fails_at=2), CONFIG, tmp_path / "stored")
    with pytest.raises(ValueError, match="store_pairs"):
        StoredPairs(tmp_path / "stored")
    pairs = CountedPairs()
    stored = store_pairs(pairs, CONFIG, tmp_path / "stored")
    assert pairs.reads == [2, 3]
    store_pairs(pairs, CONFIG, tmp_path / "stored")
    assert pairs.reads == [2, 3]
    same(stored.read(1), PreparedPairs(CountedPairs(), CONFIG).read(1))


def test_images_of_other_settings_are_not_mixed(tmp_path):
    store_pairs(CountedPairs(), CONFIG, tmp_path / "stored")
    with pytest.raises(ValueError, match="other settings"):
        store_pairs(CountedPairs(), CONFIG.model_copy(update={"pixel_size": 0.32}), tmp_path / "stored")


def test_damaged_stored_images_say_so(tmp_path):
    stored = store_pairs(CountedPairs(), CONFIG, tmp_path / "stored")
    (tmp_path / "stored" / "000001.npz").write_bytes(b"PK no more")
    with pytest.raises(ValueError, match=r"000001.npz: cannot be read"):
        stored.read(1)
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "objects.npy").replace(tmp_path / "stored" / "000002.npz")
    with pytest.raises(ValueError, match="cannot be read"):
        stored.read(2)


def test_real_images_with_their_masks(sample_data):
    folder = sample_data / "hpa2021"
    pairs = FolderPairs(FolderPairsConfig(images=folder / "train", cells=folder / "masks"))
    assert len(pairs) == 2
    pair = pairs.read(0)
    assert pair.pixels.shape == (4, 2048, 2048)
    assert pair.cells.max() == 19
    nuclei = FolderPairsConfig(
        images=sample_data / "dsb2018" / "images",
        nuclei=sample_data / "dsb2018" / "labels",
        image_pattern="{image_id}",
        channels=("grey",),
    )
    assert len(FolderPairs(nuclei)) == 40
    assert FolderPairs(nuclei).read(3).pixels.shape[0] == 1
