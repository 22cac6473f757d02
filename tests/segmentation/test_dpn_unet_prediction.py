import numpy as np
import pytest
import skimage.transform
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hpa.segmentation import dpn_unet_prediction
from hpa.segmentation.dpn_unet import DpnUnetConfig
from hpa.segmentation.dpn_unet_prediction import DpnUnetSegmenter, rescale

PLAIN = DpnUnetConfig(scale=1, margin=0)


class Recorder(nn.Module):
    """Gives its input as logits, and keeps it."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, images):
        self.seen.append(images.clone())
        return images


def images(*sizes, channels=4):
    draws = np.random.default_rng(0)
    return [draws.integers(0, 256, (channels, *size), np.uint8) for size in sizes]


def expected(planes):
    """Softmax × 255 of three planes under DPN's normalisation, as hpacellseg states it."""
    mean, deviation = np.array([124, 117, 104]) / 255, 1 / (0.0167 * 255)
    logits = (np.stack(planes) / 255 - mean[:, None, None]) / deviation
    powers = np.exp(logits - logits.max(axis=0))
    return powers / powers.sum(axis=0) * 255


def assert_close(found, planes, within=0.51):
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found.astype(float), expected(planes), rtol=0, atol=within)


def segmenter(config=PLAIN, cells=True, **options):
    return DpnUnetSegmenter(Recorder(), Recorder() if cells else None, config, device="cpu", **options)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from([0, 32, 64]))
def test_any_size_gives_maps_in_place_from_the_channels_of_each_network(height, width, margin):
    (pixels,) = images((height, width))
    red, _, blue, yellow = pixels
    found = segmenter(DpnUnetConfig(scale=1, margin=margin))
    (maps,) = found.predict([pixels])
    assert (maps.height, maps.width) == (height, width)
    assert_close(maps.nuclei, [blue] * 3)
    assert_close(maps.cells, [red, yellow, blue])
    (seen,) = found._cells.seen
    assert seen.shape[2] % 32 == 0
    assert seen.shape[3] % 32 == 0
    assert seen.shape[2] - height - 2 * margin in range(32)


def test_edges_are_continued_by_reflection():
    (pixels,) = images((40, 50))
    found = segmenter(DpnUnetConfig(scale=1, margin=32))
    found.predict([pixels])
    seen = found._cells.seen[0][0, 2] / 0.0167 + 104
    np.testing.assert_allclose(seen, np.pad(pixels[2], ((32, 56), (32, 46)), mode="symmetric"), atol=1e-3)


def test_without_yellow_the_two_channel_network_sees_zeros():
    (pixels,) = images((32, 32), channels=3)
    config = DpnUnetConfig(scale=1, margin=0, variant="2ch")
    (maps,) = segmenter(config, channels=("blue", "green", "red")).predict([pixels])
    assert_close(maps.cells, [pixels[2], np.zeros((32, 32)), pixels[0]])
    assert_close(maps.nuclei, [pixels[0]] * 3)


def test_nuclei_alone_need_blue_alone():
    (pixels,) = images((20, 20), channels=1)
    (maps,) = segmenter(cells=False, channels=("blue",)).predict([pixels])
    assert maps.cells is None
    assert_close(maps.nuclei, [pixels[0]] * 3)


def test_batches_share_a_size_and_the_order_stays():
    sizes = [(32, 64), (64, 32), (32, 64), (32, 64), (64, 32), (32, 64), (32, 64)]
    several = images(*sizes)
    found = segmenter(PLAIN.model_copy(update={"batch_size": 2}))
    maps = found.predict(several)
    for pixels, item in zip(several, maps, strict=True):
        assert_close(item.cells, [pixels[0], pixels[3], pixels[2]])
    assert [tuple(seen.shape) for seen in found._nuclei.seen] == [
        (2, 3, 32, 64),
        (2, 3, 32, 64),
        (1, 3, 32, 64),
        (2, 3, 64, 32),
    ]
    assert all(seen.is_contiguous(memory_format=torch.channels_last) for seen in found._nuclei.seen)
    assert found.predict([]) == []


def test_maps_are_at_the_networks_resolution_or_at_full_size():
    (pixels,) = images((216, 120))
    (small,) = segmenter(DpnUnetConfig()).predict([pixels])
    assert small.nuclei.shape == small.cells.shape == (3, 54, 30)
    assert (small.height, small.width) == (216, 120)
    red, _, blue, yellow = (rescale(plane, 0.25) for plane in pixels)
    assert_close(small.cells, [red, yellow, blue], within=0.52)
    (full,) = segmenter(DpnUnetConfig(full_size=True)).predict([pixels])
    assert full.nuclei.shape == full.cells.shape == (3, 216, 120)
    assert full.cells.flags.c_contiguous
    # What is at (i, j) of the small map is around (4 i + 1.5, 4 j + 1.5) of the full one.
    np.testing.assert_array_equal(full.cells[:, 1::4, 1::4], small.cells)


def test_hpacellsegs_networks_see_1728_pixels_in_whole_steps():
    found = segmenter(DpnUnetConfig(), cells=False, channels=("blue",))
    (maps,) = found.predict(images((1728, 1728), channels=1))
    assert found._nuclei.seen[0].shape == (1, 3, 512, 512)
    assert maps.nuclei.shape == (3, 432, 432)


@pytest.mark.parametrize("scale", [0.25, 0.3, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("size", [(64, 64), (101, 67), (9, 40)])
def test_rescaling_is_that_of_scikit_image(scale, size):
    plane = images(size, channels=1)[0][0]
    wanted = skimage.transform.rescale(plane.astype(float), scale, order=1, anti_aliasing=scale < 1)
    found = rescale(plane, scale)
    assert found.dtype == np.float32
    assert found.shape == wanted.shape
    inner = slice(2, -2) if scale > 1 else slice(None)  # beyond the outermost pixels' middles they continue otherwise
    np.testing.assert_allclose(found[inner, inner], wanted[inner, inner], atol=0.02)


def test_a_single_pixel_is_an_image():
    (maps,) = segmenter(DpnUnetConfig()).predict([np.full((4, 1, 1), 200, np.uint8)])
    assert maps.cells.shape == (3, 1, 1)
    (maps,) = segmenter(DpnUnetConfig(full_size=True)).predict([np.full((4, 1, 7), 200, np.uint8)])
    assert maps.cells.shape == (3, 1, 7)


def test_half_precision_changes_little():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1))
    several = images((64, 64))
    exact = DpnUnetSegmenter(network, None, PLAIN, device="cpu").predict(several)
    half = DpnUnetSegmenter(network, None, PLAIN.model_copy(update={"precision": "bf16"}), device="cpu").predict(
        several
    )
    difference = np.abs(exact[0].nuclei.astype(int) - half[0].nuclei)
    assert 0 < difference.max() <= 6


def test_networks_judge_and_do_not_train():
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Dropout(0.9), nn.BatchNorm2d(3)).train()
    found = DpnUnetSegmenter(network, None, PLAIN, device="cpu")
    first, second = found.predict(images((32, 32)) * 2)
    np.testing.assert_array_equal(first.nuclei, second.nuclei)
    assert network[2].num_batches_tracked == 0


def test_images_and_settings_that_do_not_fit_are_errors():
    with pytest.raises(ValueError, match=r"\['yellow'\] are missing.*variant=2ch"):
        segmenter(channels=("red", "green", "blue"))
    with pytest.raises(ValueError, match=r"\['blue'\] are missing"):
        segmenter(cells=False, channels=("grey",))
    with pytest.raises(ValueError, match="image 1 has 3 planes"):
        segmenter().predict([*images((8, 8)), *images((8, 8), channels=3)])
    with pytest.raises(ValueError, match="fp16 needs a GPU"):
        segmenter(PLAIN.model_copy(update={"precision": "fp16"}))


def test_loading_obtains_the_weights_first(tmp_path, monkeypatch):
    config = DpnUnetConfig(folder=tmp_path)
    with pytest.raises(ValueError, match="4665863"):
        DpnUnetSegmenter.load(config, device="cpu")
    loaded = []
    monkeypatch.setattr(dpn_unet_prediction, "obtain_weights", loaded.append)
    monkeypatch.setattr(dpn_unet_prediction, "load_dpn_unet", lambda path: loaded.append(path.name) or Recorder())
    found = DpnUnetSegmenter.load(config, device="cpu")
    assert loaded == [
        config.weight_files(),
        "dpn_unet_nuclei_v1.safetensors",
        "dpn_unet_cell_3ch_v1.safetensors",
    ]
    assert found._cells is not None
    assert DpnUnetSegmenter.load(DpnUnetConfig(nuclei_only=True), ("blue",), "cpu")._cells is None
