import pytest
import torch
from torch import nn

from hpa.explain.items import chosen, prepare

IMAGES = torch.arange(2 * 4 * 3 * 5, dtype=torch.uint8).reshape(2, 4, 3, 5)
LOGITS = torch.arange(6.0).reshape(2, 3)


def test_one_class_or_several_per_image():
    floats, one = prepare(nn.Identity(), IMAGES, torch.tensor([2, 0]))
    _, several = prepare(nn.Identity(), IMAGES, torch.tensor([[2, 0], [1, 1]], dtype=torch.int32))
    assert floats.dtype == torch.float32
    assert torch.equal(floats, IMAGES.float())
    assert chosen(LOGITS, one).tolist() == [[2.0], [3.0]]
    assert chosen(LOGITS, several).tolist() == [[2.0, 0.0], [4.0, 4.0]]


def test_the_callers_images_are_copied():
    images = IMAGES.float()
    floats, _ = prepare(nn.Identity(), images, torch.tensor([0, 0]))
    floats += 1
    assert torch.equal(images, IMAGES.float())


@pytest.mark.parametrize("classes", [torch.tensor([0]), torch.zeros(2, 0).long(), torch.zeros(2, 1, 1).long()])
def test_classes_of_another_shape_are_an_error(classes):
    with pytest.raises(ValueError, match="one class number per image, or one row of them, for 2 images"):
        prepare(nn.Identity(), IMAGES, classes)


@pytest.mark.parametrize("number", [-1, 3])
def test_a_class_that_the_network_lacks_is_an_error(number):
    with pytest.raises(ValueError, match="class numbers from 0 to 2"):
        chosen(LOGITS, torch.tensor([[0], [number]]))


def test_a_network_that_gives_no_logits_is_an_error():
    with pytest.raises(ValueError, match=r"gives logits \(2, classes\), but got \(3, 3\)"):
        chosen(torch.zeros(3, 3), torch.tensor([[0], [0]]))
