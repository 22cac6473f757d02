import pytest
import timm
import torch

from hpa.backbones.timm_models import normalization, take_classifier


def test_a_classifier_by_convolution_becomes_a_linear_layer_with_the_same_answers():
    model = timm.create_model("resnetv2_18", num_classes=3).eval()
    assert isinstance(model.get_classifier(), torch.nn.Conv2d)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        before = model(images)
        head = take_classifier(model, "resnetv2_18")
        torch.testing.assert_close(head(model(images).flatten(1)), before)


def test_the_normalisation_of_yellow_is_between_red_and_green():
    mean, std = normalization("resnet18", 4)
    assert mean[3] == pytest.approx(float(mean[0] + mean[1]) / 2)
    assert std[3] == pytest.approx(float(std[0] + std[1]) / 2)
    mean, _ = normalization("resnet18", 1)
    assert mean.tolist() == pytest.approx([(0.485 + 0.456 + 0.406) / 3 * 255])
