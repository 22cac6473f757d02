import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hpa.segmentation.maps import BACKGROUND, BORDER, OBJECT
from hpa.segmentation.unet_config import UnetAugmentationConfig, UnetSamplesConfig
from hpa.segmentation.unet_dataset import (
    IGNORED,
    Pair,
    Pairs,
    PreparedPairs,
    SegmentationDataset,
    collate,
    prepare_pair,
    targets_from_label_map,
)
from hpa.segmentation.unet_input import prepare_pixels

PLAIN = UnetAugmentationConfig(dihedral=False, warp=0, intensity=0, blur=0, noise=0)


class ListedPairs:
    """Pairs in memory."""

    targets = ("nuclei", "cells")

    def __init__(self, pairs, channels=("red", "green", "blue", "yellow"), pixel_size=0.08):
        self.pairs, self.channels, self.pixel_size = pairs, channels, pixel_size

    def __len__(self):
        return len(self.pairs)

    def read(self, index):
        return self.pairs[index]


def pair(seed=0, height=80, width=96, channels=4, cells=True, nuclei=True):
    draws = np.random.default_rng(seed)
    cell_map = np.zeros((height, width), np.uint16)
    cell_map[8:40, 8:44], cell_map[8:40, 44:80], cell_map[48:72, 8:60] = 1, 2, 300
    nucleus_map = np.zeros_like(cell_map)
    nucleus_map[16:30, 16:30], nucleus_map[16:30, 52:66] = 1, 2
    pixels = draws.integers(0, 60, (channels, height, width)) + 150 * (cell_map > 0)
    return Pair(pixels.astype(np.uint8), cell_map if cells else None, nucleus_map if nuclei else None)


def dataset(pairs, seed=0, **settings):
    config = UnetSamplesConfig(**{"size": 32, "pixel_size": 0.16, **settings})
    return SegmentationDataset(PreparedPairs(ListedPairs(pairs), config), config, seed=seed)


def brute_force_targets(label_map, border):
    reach = max(1, border / 2)
    result = np.where(label_map > 0, OBJECT, BACKGROUND)
    rows, columns = np.indices(label_map.shape)
    for row, column in np.ndindex(label_map.shape):
        near = (rows - row) ** 2 + (columns - column) ** 2 <= reach**2
        if len(set(label_map[near].tolist()) - {0}) > 1:
            result[row, column] = BORDER
    return result


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        np.uint16,
        st.tuples(st.integers(1, 12), st.integers(1, 12)),
        elements=st.sampled_from([0, 0, 0, 1, 2, 255, 65535]),
    ),
    st.sampled_from([0.3, 2.0, 3.0, 4.0, 5.7]),
)
def test_borders_are_where_two_objects_are_near(label_map, border):
    found = targets_from_label_map(label_map, border)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, brute_force_targets(label_map, border))


def test_touching_objects_have_a_band_of_the_width_and_free_edges_have_none():
    label_map = np.zeros((20, 30), np.uint16)
    label_map[4:16, 4:15], label_map[4:16, 15:26] = 1, 2
    classes = targets_from_label_map(label_map, 4.0)
    np.testing.assert_array_equal(np.flatnonzero(classes[10] == BORDER), [13, 14, 15, 16])
    np.testing.assert_array_equal(np.flatnonzero(classes[10] == OBJECT), [*range(4, 13), *range(17, 26)])


def test_a_pair_is_brought_to_the_networks_channels_and_resolution():
    source = pair()
    config = UnetSamplesConfig(pixel_size=0.32, channels=("yellow", "blue"))
    found = prepare_pair(ListedPairs([source]), 0, config)
    np.testing.assert_array_equal(found.pixels, prepare_pixels(source.pixels[[3, 2]], 20, 24))
    # Every fourth pixel, from the middle of each block: no numbers are mixed.
    np.testing.assert_array_equal(found.cells, source.cells[2::4, 2::4])
    np.testing.assert_array_equal(found.nuclei, source.nuclei[2::4, 2::4])
    assert found.cells.dtype == np.uint16


def test_prepared_pairs_say_what_they_are():
    config = UnetSamplesConfig(pixel_size=0.16)
    prepared = PreparedPairs(ListedPairs([pair(cells=False)] * 3), config)
    assert isinstance(prepared, Pairs)
    assert (prepared.channels, prepared.pixel_size, len(prepared)) == (config.channels, 0.16, 3)
    assert prepared.read(2).cells is None
    assert prepared.read(2).nuclei.shape == (40, 48)


def test_a_sample_without_augmentation_is_a_window():
    data = dataset([pair()], augmentation=PLAIN)
    whole, sample = data.whole(0), data.sample(0, 0)
    windows = [
        (row, column)
        for row in range(40 - 32 + 1)
        for column in range(48 - 32 + 1)
        if (whole["images"][:, row : row + 32, column : column + 32] == sample["images"]).all()
    ]
    assert len(windows) == 1
    row, column = windows[0]
    known = whole["instances"][:, row : row + 32, column : column + 32].astype(np.uint16)
    for found, label_map in zip(sample["targets"], known, strict=True):
        np.testing.assert_array_equal(found, targets_from_label_map(label_map, 1.28 / 0.16))


def test_samples_are_functions_of_seed_epoch_and_index():
    data = dataset([pair(0), pair(1)], seed=1)
    again = pickle.loads(pickle.dumps(data))
    keys = [(index, epoch) for index in range(4) for epoch in range(3)]
    first = {key: data.sample(*key) for key in keys}
    for key in reversed(keys):
        for name, value in again.sample(*key).items():
            np.testing.assert_array_equal(value, first[key][name])
    assert len({sample["images"].tobytes() for sample in first.values()}) == len(keys)
    other = dataset([pair(0), pair(1)], seed=2)
    assert all((other.sample(*key)["images"] != first[key]["images"]).any() for key in keys)


def test_nothing_is_known_outside_the_image_or_without_a_label_map():
    small = dataset([pair(height=20, width=20)._replace(cells=np.ones((20, 20), np.uint16), nuclei=None)])
    for epoch in range(5):
        nuclei, cells = small.sample(0, epoch)["targets"]
        assert (nuclei == IGNORED).all()
        assert set(np.unique(cells)) == {OBJECT, IGNORED}
    whole = small.whole(0)
    assert (whole["instances"][0] == 0).all()
    assert (whole["targets"][1] == OBJECT).all()


def test_one_target_alone():
    config = UnetSamplesConfig(size=32)
    data = SegmentationDataset(PreparedPairs(ListedPairs([pair()]), config), config, ("nuclei",))
    assert data.sample(0, 0)["targets"].shape == (1, 32, 32)
    assert data.whole(0)["instances"].max() == 2


def test_batches_of_whole_images_are_filled_up_to_what_the_network_takes():
    data = dataset([pair(height=80, width=96), pair(1, height=120, width=60)])
    batch = collate([data.whole(0), data.whole(1)])
    assert batch["images"].shape == (2, 3, 64, 64)
    assert batch["images"].dtype == batch["targets"].dtype == torch.uint8
    for index, (height, width) in enumerate([(40, 48), (60, 30)]):
        whole = data.whole(index)
        for name, outside in (("targets", IGNORED), ("instances", 0)):
            found = batch[name][index].numpy()
            np.testing.assert_array_equal(found[:, :height, :width], whole[name])
            assert (found[:, height:] == outside).all()
            assert (found[:, :, width:] == outside).all()
        edges = ((0, 0), (0, 64 - height), (0, 64 - width))
        np.testing.assert_array_equal(batch["images"][index].numpy(), np.pad(whole["images"], edges, mode="reflect"))
    assert "instances" not in collate([data.sample(0, 0), data.sample(1, 0)])


def test_errors_say_what_to_do():
    config = UnetSamplesConfig(channels=("red", "grey"))
    with pytest.raises(ValueError, match=r"\['grey'\]; set `channels`"):
        prepare_pair(ListedPairs([pair()]), 0, config)
    odd = pair()._replace(nuclei=np.zeros((3, 4), np.uint16))
    with pytest.raises(ValueError, match=r"image 0: .* nuclei .*\(80, 96\), but got \(3, 4\)"):
        prepare_pair(ListedPairs([odd]), 0, UnetSamplesConfig())
    with pytest.raises(ValueError, match="PreparedPairs"):
        SegmentationDataset(ListedPairs([pair()]), UnetSamplesConfig())
    with pytest.raises(ValueError, match="at least one image"):
        dataset([])
