import pytest
import scipy.ndimage
import torch

from hpa.explain.replacement import replaced


@pytest.fixture
def images():
    return torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(0)) * 255


def test_black_and_mean(images):
    assert (replaced(images, "black") == 0).all()
    mean = replaced(images, "mean")
    assert mean.shape == images.shape
    torch.testing.assert_close(mean[1, 2, 5, 5], images[1, 2].mean())


def test_blurred_is_a_gaussian_of_a_part_of_the_longer_side(images):
    found = replaced(images, "blurred", 0.05)
    expected = scipy.ndimage.gaussian_filter(images[1, 2].numpy(), 0.05 * 32, mode="nearest", truncate=5 / 1.6)
    torch.testing.assert_close(found[1, 2], torch.from_numpy(expected), rtol=1e-3, atol=0.05)


def test_images_are_left_as_they_are(images):
    before = images.clone()
    for kind in ("black", "mean", "blurred"):
        replaced(images, kind).add_(1)
    assert torch.equal(images, before)
