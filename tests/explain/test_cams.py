import numpy as np
import pytest
import torch
from torch import nn

from hpa.classification import ModelConfig, build_model
from hpa.explain.cams import class_activation_maps, eigen_cam, grad_cam_plus_plus, hires_cam, layer_cam
from hpa.explain.feature_maps import Features
from hpa.labels import ClassList

IMAGES = torch.rand(2, 4, 64, 96, generator=torch.Generator().manual_seed(0)) * 255
CLASSES = torch.tensor([[0, 2], [1, 0]])


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return build_model(ModelConfig(name="test_efficientnet"), 4, ClassList(names=tuple("abc"))).eval()


def _features(seed=0, features=5, height=3, width=4):
    draws = torch.Generator().manual_seed(seed)
    shape = (2, features, height, width)
    return Features(torch.randn(shape, generator=draws).relu(), torch.randn(shape, generator=draws))


def _enlarged(coarse):
    return nn.functional.interpolate(coarse, (64, 96), mode="bilinear", align_corners=False)


@torch.no_grad()
def test_with_a_linear_head_on_averages_maps_are_known(model):
    activation = model.activation(model.forward_features(IMAGES))  # w · A, whose mean is the logit less the bias
    picked = torch.stack([activation[row, CLASSES[row]] for row in range(2)])
    places = picked.shape[2] * picked.shape[3]
    assert places > 1
    for kind in ("grad_cam", "hires_cam"):
        signed = class_activation_maps(model, IMAGES, CLASSES, kind, rectify=False)
        rounding = 1e-5 * float(signed.abs().max())
        torch.testing.assert_close(signed[:, :, 0], _enlarged(picked) / places, rtol=1e-4, atol=rounding)
        positive = class_activation_maps(model, IMAGES, CLASSES, kind)
        torch.testing.assert_close(positive[:, :, 0], _enlarged(picked.clamp(min=0)) / places, rtol=1e-4, atol=rounding)


@torch.no_grad()
def test_hires_cam_sums_to_the_logit_less_the_bias(model):
    coarse = class_activation_maps(model, IMAGES, CLASSES, "hires_cam", rectify=False, size=(2, 3))
    logits = (model(IMAGES) - model.head.bias).gather(1, CLASSES)
    torch.testing.assert_close(coarse.sum(dim=(2, 3, 4)), logits, rtol=1e-4, atol=1e-7)


def test_grad_cam_plus_plus_by_hand():
    maps, gradients = _features()
    expected = np.zeros((2, 3, 4))
    for n in range(2):
        for k in range(5):
            weight = 0.0
            for i in range(3):
                for j in range(4):
                    g = float(gradients[n, k, i, j])
                    below = 2 * g**2 + float(maps[n, k].sum()) * g**3
                    weight += g**2 / below * max(g, 0)
            expected[n] += weight * maps[n, k].numpy()
    np.testing.assert_allclose(grad_cam_plus_plus(Features(maps, gradients)), expected, rtol=1e-4)


def test_grad_cam_plus_plus_without_gradients_is_empty():
    maps, gradients = _features()
    assert not grad_cam_plus_plus(Features(maps, torch.zeros_like(gradients))).any()


def test_layer_and_hires_cam_by_hand():
    maps, gradients = (values.numpy() for values in _features())
    found = _features()
    np.testing.assert_allclose(hires_cam(found), np.einsum("bchw,bchw->bhw", maps, gradients), rtol=1e-4, atol=1e-6)
    positive = np.where(gradients > 0, gradients, 0)
    np.testing.assert_allclose(layer_cam(found), np.einsum("bchw,bchw->bhw", maps, positive), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("features", [5, 40])  # fewer and more features than places
def test_eigen_cam_is_the_first_singular_vectors_part(features):
    found = _features(features=features)
    for row, projected in enumerate(eigen_cam(found)):
        places = found.maps[row].flatten(1).T.numpy()
        left, values, _ = np.linalg.svd(places)
        expected = left[:, 0] * values[0] * np.sign(left[:, 0].sum())
        np.testing.assert_allclose(projected.flatten(), expected, rtol=1e-4, atol=1e-5)


def test_eigen_cam_knows_no_class(model):
    maps = class_activation_maps(model, IMAGES, CLASSES, "eigen_cam")
    assert torch.equal(maps[:, 0], maps[:, 1])
    assert maps.sum() > 0
    maps, gradients = _features()
    with pytest.raises(ValueError, match="finite feature maps"):
        eigen_cam(Features(maps / 0, gradients))


@pytest.mark.parametrize("kind", ["grad_cam", "grad_cam_plus_plus", "hires_cam", "layer_cam"])
def test_maps_of_an_early_layer_are_finer_and_of_the_class(model, kind):
    maps = class_activation_maps(model, IMAGES, CLASSES, kind, layer="backbone.blocks.0")
    assert maps.shape == (2, 2, 1, 64, 96)
    assert (maps >= 0).all()
    assert not torch.allclose(maps[:, 0], maps[:, 1])


def test_a_randomised_network_gives_other_maps(model):
    torch.manual_seed(1)
    other = build_model(ModelConfig(name="test_efficientnet"), 4, ClassList(names=tuple("abc"))).eval()
    ours, theirs = (class_activation_maps(each, IMAGES, CLASSES).flatten() for each in (model, other))
    assert torch.corrcoef(torch.stack([ours, theirs]))[0, 1] < 0.9
