import numpy as np
import pytest
import torch

from hpa.explain.faithfulness import FaithfulnessConfig, faithfulness

BLACK = FaithfulnessConfig(steps=4, square=1, insertion="black")


def brightness(images):
    """Two classes: mean of the first channel's left half, and a constant; in units of 255."""
    left = images[:, 0, :, : images.shape[3] // 2].mean(dim=(1, 2)) / 255
    return torch.stack([left, torch.full_like(left, 0.25)], dim=1)


@pytest.fixture
def images():
    return torch.full((2, 3, 8, 8), 255.0)


def left_first(items=2):
    planes = np.zeros((items, 8, 8), np.float32)
    planes[:, :, :4] = 1
    return planes


def test_curves_of_a_map_that_is_right_and_of_one_that_is_wrong(images):
    found = faithfulness(brightness, images, [0, 0], np.stack([left_first(1)[0], -left_first(1)[0]]), BLACK)
    assert found.parts.tolist() == [0, 0.25, 0.5, 0.75, 1]
    # All that counts is gone when half of the pixels are, or only then begins to go.
    np.testing.assert_allclose(found.deletion, [[1, 0.5, 0, 0, 0], [1, 1, 1, 0.5, 0]], atol=1e-6)
    np.testing.assert_allclose(found.insertion, [[0, 0.5, 1, 1, 1], [0, 0, 0, 0.5, 1]], atol=1e-6)
    np.testing.assert_allclose(found.deletion_area, [0.25, 0.75])
    np.testing.assert_allclose(found.insertion_area, [0.75, 0.25])


def test_each_item_is_asked_for_its_own_class(images):
    found = faithfulness(brightness, images, [0, 1], left_first(), BLACK)
    assert found.deletion[0, 0] == 1
    assert (found.deletion[1] == 0.25).all()


def test_squares_go_as_a_whole(images):
    planes = np.zeros((1, 8, 8), np.float32)
    planes[0, 0, 0] = 1  # its square is the greatest
    config = FaithfulnessConfig(steps=4, square=4, insertion="black")
    asked = []

    def answers(batch):
        asked.append(batch.clone())
        return brightness(batch)

    faithfulness(answers, images[:1], [0], planes, config)
    first = asked[0][1, 0]
    assert (first[:4, :4] == 0).all()
    assert (first[4:] == 255).all()
    assert (first[:4, 4:] == 255).all()


def test_insertion_begins_with_the_blurred_image():
    images = torch.rand(1, 3, 16, 16) * 255
    asked = []

    def answers(batch):
        asked.append(batch.clone())
        return brightness(batch)

    faithfulness(answers, images, [0], np.ones((1, 16, 16), np.float32), FaithfulnessConfig(steps=2, square=2))
    deletion, insertion = asked
    assert torch.equal(deletion[0], images[0])
    assert (deletion[-1] == 0).all()
    assert torch.equal(insertion[-1], images[0])
    assert 0 < insertion[0].std() < images.std() / 2
    torch.testing.assert_close(insertion[0].mean(), images.mean(), rtol=0.05, atol=1)


def test_the_batch_size_changes_nothing(images):
    images = images * torch.rand(2, 3, 8, 8)
    planes = np.random.default_rng(0).random((2, 8, 8), np.float32)
    whole = faithfulness(brightness, images, [0, 0], planes, BLACK)
    parts = faithfulness(brightness, images, [0, 0], planes, BLACK, batch_size=2)
    np.testing.assert_array_equal(whole.insertion, parts.insertion)


def test_what_cannot_be_judged_is_refused(images):
    with pytest.raises(ValueError, match="one class and one map of the image's size"):
        faithfulness(brightness, images, [0], left_first(), BLACK)
    with pytest.raises(ValueError, match="one class and one map of the image's size"):
        faithfulness(brightness, images, [0, 0], np.zeros((2, 4, 4), np.float32), BLACK)
    with pytest.raises(ValueError, match="expected finite maps"):
        faithfulness(brightness, images, [0, 0], left_first() * np.nan, BLACK)
