import numpy as np
import pydantic
import pytest
import torch
from scipy import ndimage

from hpa.classification.corruptions import (
    Blur,
    Brightness,
    Corruption,
    MissingChannel,
    Noise,
    corrupt,
    describe,
    usual_corruptions,
)

CHANNELS = ("red", "green")
IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 2, 24, 31), np.uint8))
NUMBERS = torch.tensor([5, 6, 7])


def changed(corruption, images=IMAGES, numbers=NUMBERS, channels=CHANNELS):
    before = images.clone()
    found = corrupt(images, corruption, channels, numbers)
    assert torch.equal(images, before)
    assert found.shape == images.shape
    assert found.dtype == torch.uint8
    return found.numpy()


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.3])
def test_blur_is_scipys(sigma):
    expected = ndimage.gaussian_filter(IMAGES.numpy().astype(float), (0, 0, sigma, sigma), mode="mirror")
    np.testing.assert_allclose(changed(Blur(sigma=sigma)), expected, atol=0.501)


def test_a_blur_wider_than_the_image_is_refused():
    with pytest.raises(ValueError, match="lower sigma"):
        changed(Blur(sigma=9))


def test_noise_has_its_strength_and_belongs_to_the_image():
    grey = torch.full((2, 2, 200, 200), 128, dtype=torch.uint8)
    noise = changed(Noise(sigma=0.05), grey, torch.tensor([1, 2])).astype(float) - 128
    assert noise.std() == pytest.approx(255 * 0.05, rel=0.01)
    assert abs(noise.mean()) < 0.1
    assert not np.array_equal(noise[0], noise[1])
    assert not np.array_equal(noise[0, 0], noise[0, 1])
    whole = changed(Noise())
    alone = changed(Noise(), IMAGES[1:2], NUMBERS[1:2])
    np.testing.assert_array_equal(whole[1:2], alone)
    assert not np.array_equal(whole, changed(Noise(seed=1)))


@pytest.mark.parametrize("factor", [0.6, 1.4])
def test_brightness_multiplies_and_saturates(factor):
    expected = np.clip(IMAGES.numpy() * factor, 0, 255)
    np.testing.assert_allclose(changed(Brightness(factor=factor)), expected, atol=0.501)


@pytest.mark.parametrize("channel", ["green", 1])
def test_a_missing_channel_is_black_and_the_others_stay(channel):
    found = changed(MissingChannel(channel=channel))
    assert not found[:, 1].any()
    np.testing.assert_array_equal(found[:, 0], IMAGES[:, 0])


@pytest.mark.parametrize("channel", ["blue", 2, -1])
def test_a_channel_that_is_not_there(channel):
    with pytest.raises(ValueError, match="expected one of red, green"):
        changed(MissingChannel(channel=channel))


def test_names_must_fit_the_planes():
    with pytest.raises(ValueError, match="names of 2 channels"):
        changed(Blur(), channels=("red",))


def test_the_usual_ones():
    names = [describe(one) for one in usual_corruptions(("red", "green"))]
    assert names == [
        "blur 1.5 px",
        "noise 0.05",
        "brightness x 0.6",
        "brightness x 1.4",
        "without red",
        "without green",
    ]
    assert len(usual_corruptions(("grey",))) == 4
    assert describe(MissingChannel(channel=3)) == "without channel 3"


def test_they_are_chosen_by_kind():
    adapter = pydantic.TypeAdapter(Corruption)
    assert adapter.validate_python({"kind": "missing_channel", "channel": 2}) == MissingChannel(channel=2)
    assert adapter.validate_python({"kind": "missing_channel", "channel": "red"}) == MissingChannel(channel="red")
    with pytest.raises(pydantic.ValidationError):
        Noise(sigma=0)
