import pytest
import torch
from torch import nn

from hpa.explain.scoring import build_score, check_classes, chosen_classes


class Means(nn.Module):
    def forward(self, images):
        return images.mean(dim=(2, 3))


class Softmax(Means):
    def probabilities(self, logits):
        return logits.softmax(dim=1)


IMAGES = torch.arange(12.0).reshape(1, 3, 2, 2)


def test_gives_the_chosen_classes_in_their_order():
    score = build_score(Means(), "logit", torch.tensor([2, 0]))
    assert score(IMAGES).tolist() == [[9.5, 1.5]]


def test_probabilities_are_those_of_all_classes():
    score = build_score(Softmax(), "probability", torch.tensor([1]))
    expected = torch.tensor([1.5, 5.5, 9.5]).softmax(0)[1].item()
    assert score(IMAGES).tolist() == [[pytest.approx(expected)]]
    assert build_score(Softmax(), "logit", torch.tensor([1]))(IMAGES).tolist() == [[5.5]]


def test_probabilities_of_a_network_that_has_none():
    with pytest.raises(ValueError, match=r"Means has no `probabilities`.*output=logit"):
        build_score(Means(), "probability", torch.tensor([0]))


def test_a_class_that_the_network_does_not_have():
    with pytest.raises(ValueError, match=r"from 0 to 2.*\[3\]"):
        build_score(Means(), "logit", torch.tensor([0, 3]))(IMAGES)
    with pytest.raises(ValueError, match=r"\[-1\]"):
        check_classes(torch.tensor([-1]), 3)


def test_one_class_per_image_or_several():
    assert chosen_classes(torch.tensor([4, 5]), 2).tolist() == [[4], [5]]
    assert chosen_classes(torch.tensor([[4, 5]]), 1).tolist() == [[4, 5]]
    with pytest.raises(ValueError, match="for 3 images"):
        chosen_classes(torch.tensor([4, 5]), 3)
