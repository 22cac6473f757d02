import pytest
import torch

from hpa.classification import ModelConfig, build_model
from hpa.explain.cams import class_activation_maps
from hpa.explain.guided import guided_backpropagation
from hpa.explain.guided_cams import guided_grad_cam, high_resolution_grad_cam, high_resolution_guided_grad_cam
from hpa.labels import ClassList

IMAGES = torch.rand(2, 4, 64, 64, generator=torch.Generator().manual_seed(0)) * 255
CLASSES = torch.tensor([[0, 2], [1, 0]])
ABC = ClassList(names=tuple("abc"))


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return build_model(ModelConfig(name="test_efficientnet"), 4, ABC).eval()


def _to_one(maps):
    greatest = maps.amax(dim=(2, 3, 4), keepdim=True)
    return torch.where(greatest > 0, maps / greatest, 0)


def test_guided_grad_cam_is_the_product(model):
    product = guided_backpropagation(model, IMAGES, CLASSES) * class_activation_maps(model, IMAGES, CLASSES)
    assert product.any()
    torch.testing.assert_close(guided_grad_cam(model, IMAGES, CLASSES), product)


@pytest.mark.parametrize("merge", ["mean", "max"])
def test_a_pyramid_merges_the_maps_of_its_images(model, merge):
    double = torch.nn.functional.interpolate(IMAGES, scale_factor=2, mode="bilinear", align_corners=False)
    single = _to_one(class_activation_maps(model, IMAGES, CLASSES))
    larger = _to_one(class_activation_maps(model, double, CLASSES, size=(64, 64)))
    assert not torch.allclose(single, larger, atol=0.1)
    expected = torch.maximum(single, larger) if merge == "max" else (single + larger) / 2
    found = high_resolution_grad_cam(model, IMAGES, CLASSES, (1.0, 2.0), merge)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    guided = guided_backpropagation(model, IMAGES, CLASSES)
    torch.testing.assert_close(
        high_resolution_guided_grad_cam(model, IMAGES, CLASSES, (1.0, 2.0), merge),
        guided * expected,
        rtol=1e-3,
        atol=1e-9,
    )


def test_a_class_without_a_positive_place_stays_empty(model):
    single = class_activation_maps(model, IMAGES, CLASSES)
    with torch.no_grad():
        model.head.weight.neg_()
    try:
        found = torch.stack([single, class_activation_maps(model, IMAGES, CLASSES)])
        merged = high_resolution_grad_cam(model, IMAGES, CLASSES, (1.0,))
    finally:
        with torch.no_grad():
            model.head.weight.neg_()
    empty = ~found[1].flatten(2).any(dim=2)
    assert torch.equal(~merged.flatten(2).any(dim=2), empty)
    assert merged.isfinite().all()


@pytest.mark.parametrize("scales", [(), (0.5, 1.0)])
def test_scales_that_make_no_pyramid(model, scales):
    with pytest.raises(ValueError, match="at least one scale, each 1 or more"):
        high_resolution_grad_cam(model, IMAGES, CLASSES, scales)


def test_a_network_of_one_size_has_no_pyramid():
    torch.manual_seed(0)
    model = build_model(ModelConfig(name="test_vit2"), 4, ABC, 160).eval()
    images = torch.rand(1, 4, 160, 160) * 255
    with pytest.raises(ValueError, match=r"refused an image of 320 × 320 pixels, 2\.0 times the given size"):
        high_resolution_guided_grad_cam(model, images, CLASSES[:1], (1.0, 2.0))
    assert high_resolution_grad_cam(model, images, CLASSES[:1], (1.0,)).shape == (1, 2, 1, 160, 160)
